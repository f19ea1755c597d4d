"""The language of a call, for a model that speaks several."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.tools import ToolContext, ToolFailed, tool
from voice_gateway.call.events import LanguageAsked


@tool(in_call=True)
async def set_language(
    language: Annotated[str, Field(description="ISO 639 code of one of the languages of this call.", max_length=20)],
    context: ToolContext,
) -> dict[str, Any]:
    """Go on in another language: the caller speaks it, or asks for it. What he says is written down in it then."""
    chosen = language.strip().lower().replace("_", "-").partition("-")[0]
    if chosen not in context.languages:
        spoken = ", ".join(context.languages) or context.language or "none but that of your instructions"
        raise ToolFailed(f"The languages of this call are: {spoken}. Tell the caller so.")
    if context.tell is None or not context.tell(LanguageAsked(chosen)):
        raise ToolFailed("The language cannot be changed at the moment. Go on as well as you can.")
    return {"ok": True, "language": chosen, "next": "Answer in this language from now on."}
