"""The rows that tools read and write, in SQLite; migrations/ has the same for PostgreSQL. The menu is kept right here.

All methods block for a moment, which is right for a tool: synchronous tools run in a thread.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson

from voice_gateway.store.database import StoreError, fetch, open_sound_database
from voice_gateway.store.diary import Diary, Hours
from voice_gateway.store.finance import Books
from voice_gateway.store.orders import Orders
from voice_gateway.store.records import Row
from voice_gateway.store.savings import Savings
from voice_gateway.store.search import rank

MARKETS = frozenset({"MT", "RW"})
"""The countries that the menu has prices for; the tables know no other."""


class TablesAway(Exception):  # noqa: N818 - as it is said
    """The tables cannot be reached now; what was to be written may be or not. The text is for the log."""


@dataclass(frozen=True, slots=True)
class MenuItem:
    """A row of `menu_items`. price: in whole units of currency (ISO 4217), 3000 RWF or 3.5 EUR."""

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
    def __init__(self, path: Path | str, *, seed: bool = True, hours: Hours | None = None) -> None:
        """path: the SQLite file, which may be the store's own. seed: fill empty tables with a demonstration's rows.

        hours: when appointments are given; without it Monday to Friday from 9 to 17 o'clock, UTC.
        """
        self._path = Path(path)
        self._seed = seed
        self.orders = Orders(self._path)
        self.books = Books(self._path)
        self.savings = Savings(self._path)
        self.diary = Diary(self._path, hours or Hours(ZoneInfo("UTC")))

    def start(self) -> None:
        """Make the tables where they are missing, and fill those that are empty. Raises `StoreError`."""
        with closing(open_sound_database(self._path)) as db:
            self._run(db, _script("tools.sql"))
            for first, script in (("menu_items", "seed.sql"), ("gl_lines", "tools_seed.sql")):
                empty = db.execute(f"select not exists (select 1 from {first})").fetchone()[0]  # noqa: S608 - our names
                if empty and self._seed:
                    self._run(db, _script(script))

    def _run(self, db: sqlite3.Connection, script: str) -> None:
        try:
            db.executescript(f"begin immediate;\n{script}\ncommit;")
        except sqlite3.Error as error:
            raise StoreError(
                f"the tables in {self._path} cannot be filled ({error}): try again, or name another file"
            ) from error

    def menu(self, market: str | None = None) -> list[MenuItem]:
        """All that is to be had, by category and name. market: one of `MARKETS`; None for all."""
        sql = (
            "select * from menu_items where available and (:market is null or market = :market) order by category, name"
        )
        rows = fetch(self._path, sql, {"market": market})
        if not rows and self._seed:  # the file may have been found broken and begun anew under us
            self.start()
            rows = fetch(self._path, sql, {"market": market})
        return [_item(row) for row in rows]

    def lookup_menu(self, query: str, market: str | None = None, limit: int = 10) -> list[MenuItem]:
        """The items that a spoken query may mean, best first; see `search.rank`. An empty one means the whole menu."""
        menu = self.menu(market)
        return rank(query, menu, _fields, limit) if query.strip() else menu[:limit]

    def pairings(self, item_id: str) -> list[Pairing]:
        """What goes well with an item, best first; empty when nothing is known or there is no such item."""
        sql = (
            "select m.*, p.upsell from pairings p join menu_items m on m.id = p.paired_item_id "
            "where p.item_id = ? and m.available order by p.priority desc, m.name"
        )
        return [Pairing(_item(row), row["upsell"]) for row in fetch(self._path, sql, [item_id])]


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _item(row: Row) -> MenuItem:
    price = Decimal(str(row["price"]))
    return MenuItem(
        id=row["id"],
        market=row["market"],
        name=row["name"],
        category=row["category"],
        price=int(price) if price == price.to_integral_value() else float(price),
        currency=row["currency"],
        description=row["description"],
        image_url=row["image_url"],
        tags=tuple(orjson.loads(row["tags"])),
    )


def _fields(item: MenuItem) -> tuple[tuple[str, float], ...]:
    """What of an item is searched, and how much a word found there counts."""
    return (item.name, 1.0), (item.category, 0.8), (" ".join(item.tags), 0.7), (item.description, 0.3)
