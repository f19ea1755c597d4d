"""The ways out, for the model: the end of the call, and a human."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from voice_gateway.agent.tools import ToolFailed, tool


@tool(in_call=True)
def end_call(
    reason: Annotated[str, Field(description="Why the call ends, in a few words.", max_length=200)] = "",
) -> None:
    """Hang up: the caller took his leave, or nothing is left to be done for him.

    Say goodbye in the same breath; the line is closed when your words were heard, and not if he goes on speaking.
    """
    # The call's own tool: the bridge answers for it (`call/goodbye.py`), for only the call knows what was heard.


@tool(in_call=True)
def transfer_to_human(
    reason: Annotated[
        str, Field(description="What the caller wants of the human, in one short sentence.", max_length=300)
    ],
) -> None:
    """Put the caller through to a human colleague: he asks for one, or you cannot help him.

    Tell him so in the same breath; he is put through when your words were heard, and not if he goes on speaking.
    """
    # The call's own tool, as above. It comes here only where the call has nobody to put anyone through to.
    raise ToolFailed(
        f"There is nobody to whom a caller could be put through ({reason}). Offer to take a message instead."
    )
