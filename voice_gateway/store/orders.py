"""What callers order and leave word of. The same key is the same order: asked for twice, it is written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voice_gateway.store.database import fetch
from voice_gateway.store.records import clean_text, new_id
from voice_gateway.store.writing import transaction


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
    """Every method blocks for a moment: call it in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def place(self, item_id: str, quantity: int, call_sid: str, key: str | None) -> str:
        """Write an order down, once for each key; returns its id. KeyError: no such item."""
        with transaction(self._path) as db:
            known = db.execute("select id from orders where idempotency_key = ?", [key]).fetchone() if key else None
            if known is not None:
                return str(known["id"])
            if db.execute("select 1 from menu_items where id = ? and available", [item_id]).fetchone() is None:
                raise KeyError(item_id)
            order_id = new_id()
            db.execute(
                "insert into orders (id, call_sid, item_id, quantity, idempotency_key) values (?, ?, ?, ?, ?)",
                [order_id, call_sid or None, item_id, quantity, key],
            )
        return order_id

    def of_call(self, call_sid: str) -> list[OrderLine]:
        """All that a call has ordered, in the order it was said."""
        sql = (
            "select o.id as order_id, o.item_id, m.name, o.quantity, m.price, m.currency from orders o "
            "join menu_items m on m.id = o.item_id where o.call_sid = ? and o.status <> 'canceled' order by o.rowid"
        )
        return [OrderLine(**row) for row in fetch(self._path, sql, [call_sid])]

    def take_message(self, message: Message, call_sid: str, key: str | None) -> str:
        """Write a message down, once for each key; returns its id."""
        with transaction(self._path) as db:
            known = db.execute("select id from messages where idempotency_key = ?", [key]).fetchone() if key else None
            if known is not None:
                return str(known["id"])
            message_id = new_id()
            db.execute(
                "insert into messages (id, call_sid, from_name, from_phone, for_whom, text, urgent, idempotency_key) "
                "values (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    message_id,
                    call_sid or None,
                    clean_text(message.from_name),
                    clean_text(message.from_phone) or None,
                    clean_text(message.for_whom) or None,
                    clean_text(message.text),
                    message.urgent,
                    key,
                ],
            )
        return message_id
