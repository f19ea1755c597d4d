"""The tools' tables in an SQLite file. Queries run in a few threads, each with a connection that it keeps."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import orjson

from voice_gateway.store.database import StoreError, is_corrupt, open_sound_database
from voice_gateway.store.menu import put_menu
from voice_gateway.store.records import Row, new_id
from voice_gateway.store.rows import TablesAway
from voice_gateway.store.writing import PATIENCE_S, transaction

T = TypeVar("T")
THREADS = 8
"""A query takes a millisecond; one that waits for the file's lock takes up to three seconds."""

EXAMPLES = frozenset({"MT", "RW"})
"""The markets of the demonstration's menu, which fills an empty one."""


class LocalRows:
    """`rows.Rows` in a file."""

    def __init__(self, path: Path | str, *, seed: bool = True) -> None:
        """path: the SQLite file, which may be the store's own. seed: fill empty tables with a demonstration's rows."""
        self._path = Path(path)
        self._seed = seed
        self._threads = ThreadPoolExecutor(THREADS, "tables")
        self._own = threading.local()
        self._open: set[sqlite3.Connection] = set()

    async def start(self) -> None:
        """Make the tables where they are missing, and fill those that are empty. Raises `StoreError`."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._make)

    async def close(self) -> None:
        threads, self._threads = self._threads, ThreadPoolExecutor(THREADS, "tables")
        await asyncio.to_thread(threads.shutdown)
        while self._open:
            self._open.pop().close()

    # --- the menu -----------------------------------------------------------------------------------------------

    async def menu(self, market: str | None) -> list[Row]:
        sql = (
            "select * from menu_items where available and (:market is null or market = :market) order by category, name"
        )

        def read() -> list[Row]:
            rows = self._read(sql, {"market": market})
            # The file may have been found broken and begun anew under us. A market without a menu is no sign of that.
            if not rows and self._seed and not self._read("select 1 from menu_items limit 1", ()):
                self._make()
                rows = self._read(sql, {"market": market})
            return [_with_tags(row) for row in rows]

        return await self._have(read)

    async def put_menu(self, market: str, items: Sequence[Row], *, replace: bool, dry_run: bool) -> Row:
        return await self._write(lambda db: put_menu(db, market, items, replace=replace, dry_run=dry_run))

    async def pairings(self, item_id: str) -> list[Row]:
        sql = (
            "select m.*, p.upsell from pairings p join menu_items m on m.id = p.paired_item_id "
            "where p.item_id = ? and m.available order by p.priority desc, m.name"
        )
        return [_with_tags(row) for row in await self._fetch(sql, item_id)]

    async def order_of(self, call_sid: str) -> list[Row]:
        sql = (
            "select o.id as order_id, o.item_id, m.name, o.quantity, m.price, m.currency from orders o "
            "join menu_items m on m.id = o.item_id where o.call_sid = ? and o.status <> 'canceled' order by o.rowid"
        )
        return await self._fetch(sql, call_sid)

    async def place_order(self, item_id: str, quantity: int, call_sid: str | None, key: str | None) -> str | None:
        def place(db: sqlite3.Connection) -> str | None:
            if (known := _known(db, "orders", key)) is not None:
                return str(known["id"])
            if db.execute("select 1 from menu_items where id = ? and available", [item_id]).fetchone() is None:
                return None
            order_id = new_id()
            db.execute(
                "insert into orders (id, call_sid, item_id, quantity, idempotency_key) values (?, ?, ?, ?, ?)",
                [order_id, call_sid, item_id, quantity, key],
            )
            return order_id

        return await self._write(place)

    async def take_message(self, message: Row, call_sid: str | None, key: str | None) -> str:
        def take(db: sqlite3.Connection) -> str:
            if (known := _known(db, "messages", key)) is not None:
                return str(known["id"])
            row = message | {"id": new_id(), "call_sid": call_sid, "idempotency_key": key}
            db.execute(
                "insert into messages (id, call_sid, from_name, from_phone, for_whom, text, urgent, idempotency_key) "
                "values (:id, :call_sid, :from_name, :from_phone, :for_whom, :text, :urgent, :idempotency_key)",
                row,
            )
            return str(row["id"])

        return await self._write(take)

    # --- books and rules ----------------------------------------------------------------------------------------

    async def profit_and_loss(self, entity: str, first: str, last: str) -> list[Row]:
        sql = (
            "select account, min(account_name) as name, class as kind, currency, sum(amount) as amount from gl_lines "
            "where entity = ? and period between ? and ? group by account, class, currency order by account"
        )
        return await self._fetch(sql, entity, first, last)

    async def periods(self, entity: str) -> list[str]:
        sql = "select distinct period from gl_lines where entity = ? order by period"
        return [row["period"] for row in await self._fetch(sql, entity)]

    async def tax_rules(self, jurisdiction: str, on: str) -> list[Row]:
        sql = (
            "select id, jurisdiction, topic, rule, rate, authority, notes from tax_rules where jurisdiction = ? "
            "and effective_from <= ? and (effective_to is null or effective_to >= ?) "
            "order by topic, effective_from desc"
        )
        return await self._fetch(sql, jurisdiction, on, on)

    async def jurisdictions(self) -> list[str]:
        rows = await self._fetch("select distinct jurisdiction from tax_rules order by 1")
        return [row["jurisdiction"] for row in rows]

    # --- savings ------------------------------------------------------------------------------------------------

    async def account(self, member: str) -> Row | None:
        sql = (
            "select m.id as member_id, m.full_name, s.balance, s.currency, m.status from members m "
            "join savings_accounts s on s.member_id = m.id where m.id = ? or m.phone = ? order by m.id = ? desc limit 1"
        )
        return _first(await self._fetch(sql, member, member, member))

    async def redeem(self, code: str, call_sid: str | None, now: str) -> Row:
        def redeem(db: sqlite3.Connection) -> Row:
            row = db.execute("select * from vouchers where code = ?", [code]).fetchone()
            if row is None:
                return {"success": False, "error": "not_found"}
            told = {name: row[name] for name in ("id", "value", "type", "currency")}
            done = {"success": True, "code": row["code"], "voucher": told}
            if row["redeemed_at"] is not None:
                own = call_sid is not None and row["redeemed_call_sid"] == call_sid
                return done | {"repeat": True} if own else {"success": False, "error": "already_redeemed"}
            if row["expires_at"] is not None and row["expires_at"] <= now:
                return {"success": False, "error": "expired"}
            sql = "update vouchers set redeemed_at = ?, redeemed_call_sid = ? where id = ?"
            db.execute(sql, [now, call_sid, row["id"]])
            return done

        return await self._write(redeem)

    # --- the diary ----------------------------------------------------------------------------------------------

    async def booked(self, calendar: str, begins: str, ends: str) -> list[Row]:
        sql = (
            "select * from appointments where calendar = ? and status = 'booked' and starts_at < ? and ends_at > ? "
            "order by starts_at"
        )
        return await self._fetch(sql, calendar, ends, begins)

    async def upcoming(self, calendar: str, phone: str, after: str) -> list[Row]:
        sql = (
            "select * from appointments where calendar = ? and status = 'booked' and customer_phone = ? "
            "and starts_at > ? order by starts_at"
        )
        return await self._fetch(sql, calendar, phone, after)

    async def book(self, appointment: Row, key: str | None) -> Row | None:
        def book(db: sqlite3.Connection) -> Row | None:
            if (known := _known(db, "appointments", key)) is not None:
                return known
            taken = db.execute(
                "select 1 from appointments where calendar = :calendar and status = 'booked' "
                "and starts_at < :ends_at and ends_at > :starts_at",
                appointment,
            ).fetchone()
            if taken is not None:
                return None
            row = appointment | {"id": new_id(), "idempotency_key": key}
            db.execute(
                "insert into appointments (id, calendar, starts_at, ends_at, customer_name, customer_phone, reason, "
                "call_sid, idempotency_key) values (:id, :calendar, :starts_at, :ends_at, :customer_name, "
                ":customer_phone, :reason, :call_sid, :idempotency_key)",
                row,
            )
            return row

        return await self._write(book)

    async def cancel(self, appointment_id: str, calendar: str, phone: str) -> bool:
        sql = (
            "update appointments set status = 'canceled', idempotency_key = null "
            "where id = ? and calendar = ? and customer_phone = ? and status in ('booked', 'canceled')"
        )
        return await self._write(lambda db: db.execute(sql, [appointment_id, calendar, phone]).rowcount > 0)

    async def customer(self, phone: str) -> Row | None:
        return _first(await self._fetch("select * from customers where phone = ?", phone))

    # --- asking the file ----------------------------------------------------------------------------------------

    async def _fetch(self, sql: str, *values: str) -> list[Row]:
        return await self._have(lambda: self._read(sql, values))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """All of it or nothing, and no other writer in between."""

        def write() -> T:
            with transaction(self._connection()) as db:
                return work(db)

        return await self._have(write)

    async def _have(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except FileNotFoundError as error:
            raise TablesAway(f"{self._path} is not there") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) or is_corrupt(error):
                raise TablesAway(f"{self._path}: {error}") from error
            raise

    # --- in a thread --------------------------------------------------------------------------------------------

    def _read(self, sql: str, values: Mapping[str, Any] | Sequence[Any]) -> list[Row]:
        """The rows of a query. No file holds no rows."""
        try:
            return [dict(row) for row in self._connection().execute(sql, values)]
        except FileNotFoundError:
            return []

    def _connection(self) -> sqlite3.Connection:
        """This thread's own; another one when the file at the path is not the one that it was opened on."""
        stat = self._path.stat()
        file = (stat.st_dev, stat.st_ino)
        known: tuple[tuple[int, int], sqlite3.Connection] | None = getattr(self._own, "known", None)
        if known is not None and known[0] == file and known[1] in self._open:
            return known[1]
        if known is not None and known[1] in self._open:
            self._open.discard(known[1])
            known[1].close()
        uri = f"{self._path.absolute().as_uri()}?mode=rw"  # not made here: that is what `_make` does
        db = sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("pragma foreign_keys = on")
        self._open.add(db)
        self._own.known = (file, db)
        return db

    def _make(self) -> None:
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


def _script(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _known(db: sqlite3.Connection, table: str, key: str | None) -> Row | None:
    """What was written under a key."""
    sql = f"select * from {table} where idempotency_key = ?"  # noqa: S608 - our names
    row = None if key is None else db.execute(sql, [key]).fetchone()
    return None if row is None else dict(row)


def _with_tags(row: Row) -> Row:
    return row | {"tags": orjson.loads(row["tags"])}


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None
