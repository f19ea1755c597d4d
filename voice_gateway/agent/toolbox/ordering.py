"""What a waiter and a bartender write down."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.toolbox.at_hand import tables
from voice_gateway.agent.tools import ToolContext, ToolFailed, tool
from voice_gateway.store.orders import Message, OrderLine
from voice_gateway.store.records import whole

ADULT_YEARS = 18


async def get_menu(
    category: Annotated[
        str, Field(description="Only this kind: coffee, beer, cocktail, food ... Empty for all.", max_length=60)
    ] = "",
    *,
    context: ToolContext,
) -> dict[str, Any]:
    """Read the menu: every item with its price, by kind. To find one thing, lookup_menu is quicker."""
    wanted = category.strip().lower()
    menu = await tables(context).menu(context.market)
    chosen = [item for item in menu if not wanted or wanted in (item.category.lower(), *item.tags)]
    items = [
        {"id": each.id, "name": each.name, "price": each.price, "currency": each.currency, "category": each.category}
        for each in chosen
    ]
    return {"items": items, "categories": sorted({item.category for item in menu})}


@tool(effect=True)
async def place_order(
    item: Annotated[str, Field(description="The item's id as lookup_menu gave it, or its name.", max_length=120)],
    quantity: Annotated[int, Field(description="How many.", ge=1, le=99)] = 1,
    *,
    context: ToolContext,
) -> dict[str, Any]:
    """Place an order for one item, after the caller has confirmed it. For several items, call this once for each."""
    at_hand = tables(context)
    found = next((each for each in await at_hand.menu(context.market) if each.id == item.strip()), None)
    if found is None:
        matches = await at_hand.lookup_menu(item, context.market, limit=3)
        if not matches:
            raise ToolFailed(
                f"There is no {item[:60]!r} on the menu. Look it up with lookup_menu and offer what is near."
            )
        found = matches[0]
        if len(matches) > 1 and found.name.lower() != item.strip().lower():
            choices = ", ".join(f"{each.name} ({each.id})" for each in matches)
            raise ToolFailed(f"That may be {choices}. Ask which one, then order it by its id.")
    order_id = await at_hand.orders.place(found.id, quantity, context.call_sid, context.key or None)
    placed = await at_hand.orders.of_call(context.call_sid) if context.call_sid else []
    totals = {found.currency: whole(Decimal(str(found.price)) * quantity)} | _totals(placed)
    return {
        "success": True,
        "orderId": order_id,
        "item": {"id": found.id, "name": found.name, "price": found.price, "currency": found.currency},
        "quantity": quantity,
        "order": [{"name": line.name, "quantity": line.quantity} for line in placed],
        "total": totals[found.currency],
        "currency": found.currency,
        **({"totals": totals} if len(totals) > 1 else {}),
    }


def _totals(placed: Iterable[OrderLine]) -> dict[str, float]:
    """What an order costs, by currency. In decimals: three of 0.1 are 0.3, whatever the digits of the currency."""
    sums: dict[str, Decimal] = {}
    for line in placed:
        sums[line.currency] = sums.get(line.currency, Decimal(0)) + Decimal(str(line.price)) * line.quantity
    return {currency: whole(total) for currency, total in sums.items()}


def check_id(
    id_number: Annotated[
        str, Field(description="The number as the caller reads it out, spaces or not.", max_length=60)
    ],
    context: ToolContext,
) -> dict[str, Any]:
    """Check the number of an identity document before alcohol is ordered. Never repeat the number aloud in full."""
    number = re.sub(r"[\s.\-/]", "", id_number).upper()
    valid, note = _judge(number, context.now.date())
    return {"status": "id_checked", "valid": valid, "note": note}


@tool(effect=True)
async def take_message(
    name: Annotated[str, Field(description="Who leaves the message.", min_length=1, max_length=120)],
    message: Annotated[
        str, Field(description="What is to be told, in the caller's words.", min_length=1, max_length=2000)
    ],
    phone: Annotated[
        str, Field(description="The number to call back; empty for the one they call from.", max_length=40)
    ] = "",
    for_whom: Annotated[
        str, Field(description="Whom it is for; empty if for nobody in particular.", max_length=120)
    ] = "",
    *,
    urgent: Annotated[bool, Field(description="Whether it cannot wait until tomorrow.")] = False,
    context: ToolContext,
) -> dict[str, Any]:
    """Take a message for a person who is not here. Read it back to the caller before you send it."""
    taken = Message(name, message, phone.strip() or context.from_number, for_whom, urgent)
    message_id = await tables(context).orders.take_message(taken, context.call_sid, context.key or None)
    return {"success": True, "messageId": message_id}


def _judge(number: str, today: date) -> tuple[bool, str]:
    """Whether a number can be one of a grown-up's document; of most documents only the form can be seen.

    Rwanda's national ID has 16 digits: the holder's status, four digits of the year of birth, the sex, a serial number
    and a check. Other documents are numbered as their states like.
    """
    if re.fullmatch(r"[123]\d{15}", number):
        born = int(number[1:5])
        if not 1900 <= born <= today.year:
            return False, "The year of birth in this number cannot be right. Ask for it again."
        if today.year - born < ADULT_YEARS:
            return False, f"The holder is younger than {ADULT_YEARS}: no alcohol."
        return True, "The holder is old enough by the year of birth in the number."
    if re.fullmatch(r"(?=.*\d)[A-Z0-9]{6,15}", number):
        return True, "Only the form of the number was checked: the document must be shown on arrival."
    return False, "This is not the number of an identity document. Ask for it again."
