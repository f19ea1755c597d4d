"""The menu of an older SQLite file: it knew two markets and two currencies, and prices as SQLite's own numbers.

SQLite changes no check of a table, so the table is made anew, with whatever columns, indices and triggers its owner
added.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Final

from voice_gateway.store.writing import transaction

_OLDER: Final = (
    ("market", "check (market in ('RW', 'MT'))", "check (market glob '[A-Z][A-Z]')"),
    ("currency", "check (currency in ('RWF', 'EUR'))", "check (currency glob '[A-Z][A-Z][A-Z]')"),
    (
        "price",
        "price numeric not null check (price >= 0)",
        (
            "price text not null check (price glob '[0-9]*' and price not glob '*[^0-9.]*' and price not glob '*.*.*'\n"
            "    and price not glob '*.?????*' and length(price) <= 17)"
        ),
    ),
)
"""What stood in the table, and what stands there now in `sqlite.sql`."""

_NAME: Final = re.compile(r"""create table\s+["`\[]?menu_items["`\]]?""", re.IGNORECASE)
_EXACT: Final = (
    "case typeof(price) when 'integer' then cast(price as text) else rtrim(rtrim(printf('%.4f', price), '0'), '.') end"
)


def widen_menu(db: sqlite3.Connection) -> None:
    """Let an older table take every market and currency. What is not as this program made it stays as it is."""
    # While the table is away nothing that refers to it may be taken along; this can be said outside transactions alone.
    db.execute("pragma foreign_keys = off")
    db.execute("pragma legacy_alter_table = on")  # nor may a view that reads it be in the way
    try:
        with transaction(db):
            _widen(db)
    finally:
        db.execute("pragma legacy_alter_table = off")
        db.execute("pragma foreign_keys = on")


def _widen(db: sqlite3.Connection) -> None:
    row = db.execute("select sql from sqlite_schema where type = 'table' and name = 'menu_items'").fetchone()
    older: str = "" if row is None else row[0]
    changed = [column for column, was, _ in _OLDER if was in older]
    if not changed or not _NAME.search(older):
        return
    wider = older
    for _, was, now in _OLDER:
        wider = wider.replace(was, now)
    if "price" in changed:
        # The older check let pass what no tool could read as a price; what has none is not sold.
        db.execute(
            "update menu_items set price = 0, available = false "
            "where typeof(price) not in ('integer', 'real') or price >= 1e12"
        )
    beside = (
        "select sql from sqlite_schema where tbl_name = 'menu_items' and type in ('index', 'trigger') and sql <> ''"
    )
    kept = [each[0] for each in db.execute(beside)]
    names = [each[1] for each in db.execute("pragma table_info(menu_items)")]
    columns = ", ".join(f'"{name}"' for name in names)
    read = ", ".join(_EXACT if name == "price" and "price" in changed else f'"{name}"' for name in names)
    db.execute(_NAME.sub("create table menu_items_wider", wider, count=1))
    db.execute(f"insert into menu_items_wider ({columns}) select {read} from menu_items")  # noqa: S608 - the file's names
    db.execute("drop table menu_items")
    db.execute("alter table menu_items_wider rename to menu_items")
    for statement in kept:
        db.execute(statement)
