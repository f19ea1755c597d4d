"""What a waiter looks up."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.toolbox.at_hand import tables
from voice_gateway.agent.tools import ToolContext
from voice_gateway.store.tables import MenuItem


async def lookup_menu(
    query: Annotated[
        str,
        Field(
            description="The food or drink as the caller said it, or a kind: cappuccino, goat brochette, cold beer. "
            "Empty for the whole menu.",
            max_length=200,
        ),
    ],
    context: ToolContext,
) -> dict[str, Any]:
    """Find food and drinks on the menu, with their prices. Use it before you name an item, a price or an ingredient."""
    at_hand = tables(context)
    found = await at_hand.lookup_menu(query, context.market)
    answer: dict[str, Any] = {"items": [_told(item) for item in found]}
    if not found:
        answer["categories"] = sorted({item.category for item in await at_hand.menu(context.market)})
    return answer


async def recommend_pairing(
    item_id: Annotated[
        str, Field(alias="itemId", description="The id of an item, as lookup_menu gave it.", max_length=80)
    ],
    context: ToolContext,
) -> dict[str, Any]:
    """Find what goes well with an item that the caller has chosen, with a sentence to offer it."""
    pairings = await tables(context).pairings(item_id)
    return {"pairings": [{"item": _told(each.item), "upsell": each.upsell} for each in pairings]}


def _told(item: MenuItem) -> dict[str, Any]:
    return {
        "id": item.id,
        "name": item.name,
        "price": item.price,
        "currency": item.currency,
        "description": item.description,
        "image_url": item.image_url,
        "category": item.category,
    }
