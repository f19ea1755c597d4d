"""The way to another persona, for the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from voice_gateway.agent.tools import ToolContext, ToolFailed, ToolFunction, tool
from voice_gateway.call.events import HandoffAsked

BY = "tool"


@tool(in_call=True)
async def handoff_to(
    persona: Annotated[str, Field(description="Who takes over the call, by key.", max_length=32)],
    context: ToolContext,
    reason: Annotated[str, Field(description="In a few words: what the caller wants there.", max_length=400)] = "",
) -> dict[str, Any]:
    """Hand the caller over to a colleague, who knows all that was said. Use it when the matter is the colleague's."""
    if context.tell is None or not context.tell(HandoffAsked(persona, BY, reason)):
        raise ToolFailed("The call cannot be handed over at the moment. Help the caller yourself as far as you can.")
    return {"say": "One moment, I am handing you over."}


def handoff_among(colleagues: Mapping[str, str]) -> ToolFunction:
    """The tool of a persona that may hand over to these alone: their names by their keys."""
    who = "; ".join(f"{key}: {name}" for key, name in colleagues.items())
    field = Field(description=f"Who takes over the call. {who}.", json_schema_extra=_enumerate)
    chosen = Annotated[Literal[tuple(colleagues)], field]  # type: ignore[valid-type]  # made of data

    async def bound(persona: str, context: ToolContext, reason: str = "") -> dict[str, Any]:
        return await handoff_to(persona, context, reason)

    bound.__name__ = handoff_to.__name__
    bound.__qualname__ = handoff_to.__qualname__
    bound.__module__ = handoff_to.__module__
    bound.__doc__ = handoff_to.__doc__
    bound.__annotations__ = {**handoff_to.__annotations__, "persona": chosen}
    return tool(in_call=True)(bound)


def _enumerate(schema: dict[str, Any]) -> None:
    """A single choice is a list of choices, too."""
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
