"""Tools that do nothing, for bench/tools.py: what is measured is all that is not theirs. Found by TOOLS_MODULES."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field

from voice_gateway.agent.tools import ToolContext, tool

ARGUMENTS = (
    '{"item":"rw-cap","quantity":2,"day":"2026-12-01","size":"large","note":"with oat milk, and not too hot please"}'
)
"""What a model would send to each of them."""

Item = Annotated[str, Field(description="The item's id.", max_length=80)]
Quantity = Annotated[int, Field(description="How many.", ge=1, le=99)]
Size = Literal["small", "large"]
Note = Annotated[str, Field(max_length=500)]


@tool
async def on_the_loop(
    item: Item, quantity: Quantity, day: date, size: Size, note: Note = "", *, context: ToolContext
) -> dict[str, Any]:
    """Do nothing, on the event loop."""
    return _answer(item, quantity, day, size + note, context)


@tool
def in_a_thread(
    item: Item, quantity: Quantity, day: date, size: Size, note: Note = "", *, context: ToolContext
) -> dict[str, Any]:
    """Do nothing, in a thread."""
    return _answer(item, quantity, day, size + note, context)


@tool(effect=True, limit=50)
async def once(
    item: Item, quantity: Quantity, day: date, size: Size, note: Note = "", *, context: ToolContext
) -> dict[str, Any]:
    """Do nothing, but do it once."""
    return _answer(item, quantity, day, size + note, context)


def _answer(item: str, quantity: int, day: date, note: str, context: ToolContext) -> dict[str, Any]:
    """Some 600 bytes, as a search has."""
    found = [{"id": f"{item}-{n}", "name": "Cappuccino", "price": 3000, "currency": "RWF"} for n in range(8)]
    return {"items": found, "quantity": quantity, "day": day, "note": note, "call": context.call_sid}
