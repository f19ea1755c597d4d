"""The voice asks its supervisor; see `agent/supervisor.py`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.supervision import LONGEST_DEADLINE_S
from voice_gateway.agent.tools import ToolContext, ToolFailed, tool


@tool(timeout_s=LONGEST_DEADLINE_S + 5, filler="I am still looking into it, one moment please.", in_call=True)
async def get_next_response_from_supervisor(
    relevant_context_from_last_user_message: Annotated[
        str,
        Field(
            description="What matters of what the caller said last, in a few words: what they want, names, dates, "
            "numbers. The supervisor may not have their last words yet. Empty if nothing does."
        ),
    ] = "",
    *,
    context: ToolContext,
) -> dict[str, Any]:
    """Ask your supervisor what to say next; it knows the conversation, looks things up and gets them done.

    Say a short filler to the caller first, such as "Let me see." Then say what comes back under "say", word for word.
    """
    if context.consult is None:
        raise ToolFailed("No supervisor can be asked. Answer from what you know, or offer to take a message.")
    return await context.consult(relevant_context_from_last_user_message)
