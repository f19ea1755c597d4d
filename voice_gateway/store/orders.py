"""What callers order and leave word of. The same key is the same order: asked for twice, it is written once."""

from __future__ import annotations

from dataclasses import dataclass

from voice_gateway.store.records import clean_text, whole
from voice_gateway.store.rows import Rows


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One item of a call's order."""

    order_id: str
    item_id: str
    name: str
    quantity: int
    price: float
    currency: str


@dataclass(frozen=True, slots=True)
class Message:
    """What a caller asks to be told to somebody. for_whom: empty for whoever reads it."""

    from_name: str
    text: str
    from_phone: str = ""
    for_whom: str = ""
    urgent: bool = False


class Orders:
    """Every method may raise `TablesAway`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def place(self, item_id: str, quantity: int, call_sid: str, key: str | None) -> str:
        """Write an order down, once for each key; returns its id. KeyError: no such item."""
        order_id = await self._rows.place_order(clean_text(item_id), quantity, call_sid or None, key)
        if order_id is None:
            raise KeyError(item_id)
        return order_id

    async def of_call(self, call_sid: str) -> list[OrderLine]:
        """All that a call has ordered, in the order it was said."""
        return [OrderLine(**row | {"price": whole(row["price"])}) for row in await self._rows.order_of(call_sid)]

    async def take_message(self, message: Message, call_sid: str, key: str | None) -> str:
        """Write a message down, once for each key; returns its id."""
        row = {
            "from_name": clean_text(message.from_name),
            "text": clean_text(message.text),
            "from_phone": clean_text(message.from_phone) or None,
            "for_whom": clean_text(message.for_whom) or None,
            "urgent": message.urgent,
        }
        return await self._rows.take_message(row, call_sid or None, key)
