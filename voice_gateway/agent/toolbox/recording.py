"""What keeps words out of the record: a persona that takes card numbers offers these."""

from __future__ import annotations

from typing import Any

from voice_gateway.agent.tools import ToolContext, ToolFailed, tool
from voice_gateway.call.events import ConsentWithdrawn, InnerEvent, PauseAsked, ResumeAsked

BY = "tool"


@tool(in_call=True)
async def pause_recording(context: ToolContext) -> dict[str, Any]:
    """Stop keeping what is said. Use it before the caller says a card number, a PIN or a password."""
    _tell(context, PauseAsked(BY))
    return {"paused": True, "next": "Let the caller speak now, and call resume_recording as soon as he is done."}


@tool(in_call=True)
async def resume_recording(context: ToolContext) -> dict[str, Any]:
    """Keep what is said again. Use it as soon as what had to stay secret was said."""
    _tell(context, ResumeAsked(BY))
    return {"paused": False}


@tool(in_call=True)
async def stop_recording(context: ToolContext) -> dict[str, Any]:
    """Record nothing more of this call and remove what was recorded. Use it when the caller does not want it."""
    _tell(context, ConsentWithdrawn(BY))
    return {"recorded": False}


def _tell(context: ToolContext, event: InnerEvent) -> None:
    if context.tell is None or not context.tell(event):
        raise ToolFailed("This cannot be done at the moment. Tell the caller so, and do not ask for secret numbers.")
