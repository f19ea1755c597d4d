"""Telephone keys that the model presses, such as in another house's menu."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.tools import ToolContext, ToolFailed, tool
from voice_gateway.audio.dtmf import read_digits
from voice_gateway.call.events import KeysAsked


@tool(in_call=True)
async def send_dtmf(
    digits: Annotated[str, Field(description="0-9, *, #, A-D; w waits half a second.", max_length=100)],
    context: ToolContext,
) -> dict[str, Any]:
    """Press telephone keys for the other side to hear: to choose from its menu, or to give it a number it asks for.

    They are heard when your own words were heard to their end; say nothing more until then.
    """
    try:
        keys = read_digits(digits)
    except ValueError as problem:
        raise ToolFailed(f"{problem}. Correct them and try again.") from None
    if context.tell is None or not context.tell(KeysAsked(keys)):
        raise ToolFailed("No keys can be pressed at the moment: the call is not on the line.")
    return {"ok": True, "pressed": keys}
