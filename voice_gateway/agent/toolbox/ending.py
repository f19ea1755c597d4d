"""The way out, for the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from voice_gateway.agent.tools import tool


@tool(in_call=True)
def end_call(
    reason: Annotated[str, Field(description="Why the call ends, in a few words.", max_length=200)] = "",
) -> None:
    """Hang up: the caller took his leave, or nothing is left to be done for him.

    Say goodbye in the same breath; the line is closed when your words were heard, and not if he goes on speaking.
    """
    # The call's own tool: the bridge answers for it (`call/goodbye.py`), for only the call knows what was heard.
