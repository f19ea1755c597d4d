"""What the tools know and write down: the menu right here, the rest by subject; `rows.Rows` has the rows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from voice_gateway.store.diary import Diary, Hours
from voice_gateway.store.finance import Books
from voice_gateway.store.menu import MenuFile
from voice_gateway.store.orders import Orders
from voice_gateway.store.records import Row, clean_text, whole
from voice_gateway.store.rows import Rows
from voice_gateway.store.savings import Savings
from voice_gateway.store.search import rank

if TYPE_CHECKING:
    from voice_gateway.store.calendars import Calendars


@dataclass(frozen=True, slots=True)
class MenuItem:
    """A row of `menu_items`. price: in whole units of currency (ISO 4217), 3000 RWF, 3.5 EUR or 1.25 KWD."""

    id: str
    market: str
    name: str
    category: str
    price: float
    currency: str
    description: str
    image_url: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pairing:
    """What goes well with an item. upsell: the sentence to offer it with."""

    item: MenuItem
    upsell: str


class Tables:
    """Every method may raise `TablesAway`."""

    def __init__(self, rows: Rows, hours: Hours | None = None, elsewhere: Calendars | None = None) -> None:
        """hours: when appointments are given; without it Monday to Friday from 9 to 17 o'clock, UTC.

        elsewhere: calendars whose busy times are not given away.
        """
        self._rows = rows
        self._elsewhere = elsewhere
        self.orders = Orders(rows)
        self.books = Books(rows)
        self.savings = Savings(rows)
        self.diary = Diary(rows, hours or Hours(ZoneInfo("UTC")), elsewhere=elsewhere)

    async def start(self) -> None:
        """Make ready. Raises `StoreError` for what no retry will change."""
        await self._rows.start()
        if self._elsewhere is not None:
            self._elsewhere.start()

    async def close(self) -> None:
        if self._elsewhere is not None:
            await self._elsewhere.close()
        await self._rows.close()

    async def menu(self, market: str | None = None) -> list[MenuItem]:
        """All that is to be had, by category and name. market: a country, ISO 3166-1 alpha-2; None for all."""
        return [_item(row) for row in await self._rows.menu(market)]

    async def put_menu(self, menu: MenuFile, *, replace: bool = False, dry_run: bool = False) -> Row:
        """Put an operator's menu in; see `Rows.put_menu`."""
        return await self._rows.put_menu(menu.market, menu.items, replace=replace, dry_run=dry_run)

    async def lookup_menu(self, query: str, market: str | None = None, limit: int = 10) -> list[MenuItem]:
        """The items that a spoken query may mean, best first; see `search.rank`. An empty one means the whole menu."""
        menu = await self.menu(market)
        if not query.strip():
            return menu[:limit]
        # In a thread: comparing words takes a millisecond for a small menu, and the event loop carries every call.
        return await asyncio.to_thread(rank, query, menu, _fields, limit)

    async def pairings(self, item_id: str) -> list[Pairing]:
        """What goes well with an item, best first; empty when nothing is known or there is no such item."""
        return [Pairing(_item(row), row["upsell"]) for row in await self._rows.pairings(clean_text(item_id))]


def _item(row: Row) -> MenuItem:
    return MenuItem(
        id=row["id"],
        market=row["market"],
        name=row["name"],
        category=row["category"],
        price=whole(row["price"]),
        currency=row["currency"],
        description=row["description"],
        image_url=row["image_url"],
        tags=tuple(row["tags"]),
    )


def _fields(item: MenuItem) -> tuple[tuple[str, float], ...]:
    """What of an item is searched, and how much a word found there counts."""
    return (item.name, 1.0), (item.category, 0.8), (" ".join(item.tags), 0.7), (item.description, 0.3)
