"""Tools of one's own: what a delivery costs, when it comes, and a courier who is asked to come.

    TOOLS_MODULES=examples/delivery.py

Then name them in a persona (`tools = ["delivery_quote", "order_courier", "lookup_menu", "end_call"]`).
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Annotated, Any, Literal

import httpx
from pydantic import Field

from voice_gateway.agent.tools import ToolContext, ToolFailed, tool

District = Literal["centre", "north", "south"]
FEES = {"centre": 1000, "north": 2500, "south": 2000}
MINUTES = {"centre": 20, "north": 45, "south": 35}

http = httpx.AsyncClient(timeout=5)  # one for all calls: its connections are used again


@tool
def delivery_quote(district: District, context: ToolContext) -> dict[str, Any]:
    """Tell what a delivery costs and when it would arrive.

    Args:
        district: Which part of town the caller lives in.
        context: Given by the house, and hidden from the model.
    """
    arrives = context.now + timedelta(minutes=MINUTES[district])
    return {"fee": FEES[district], "currency": "RWF", "minutes": MINUTES[district], "arrives": f"{arrives:%H:%M} UTC"}


@tool(effect=True, timeout_s=8, limit=5, filler="One moment, I am asking our couriers.")
async def order_courier(
    district: District,
    street: Annotated[str, Field(description="Street and house number.", min_length=3, max_length=200)],
    context: ToolContext,
) -> dict[str, Any]:
    """Ask a courier to come, after the caller has confirmed street and fee."""
    address = os.environ.get("COURIER_URL", "http://127.0.0.1:9000/orders")
    order = {"district": district, "street": street, "phone": context.from_number}
    # The same key for the same wish: a courier who is asked twice comes once.
    try:
        answer = await http.post(address, json=order, headers={"Idempotency-Key": context.key})
    except httpx.HTTPError:
        raise ToolFailed("No courier can be reached. Offer to call back, or to collect the order.") from None
    if answer.status_code == 409:
        return {"success": False, "error": "nobody_free", "message": "All couriers are out. Offer to collect it."}
    answer.raise_for_status()  # any other fault is in the log, and the model is told that the tool does not work
    return {"success": True, "courier": answer.json()["courier"], "minutes": MINUTES[district]}
