"""Erasing a person from the SQLite file: the rows, the words in other rows, and the bytes.

The tables are those that the file has, whoever made them. Rows of the person's calls, and rows that hold the number in
a column for it, go; a member's savings stay without name and number, for they are in the books; in all other text the
number is replaced. Then the file is written anew (VACUUM) and its log cut off, so that nothing is left in the free
parts of either. Others may go on writing: they wait for this as for any other writer.
"""

from __future__ import annotations

import mmap
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from voice_gateway.store.person import ERASED, Person, is_theirs
from voice_gateway.store.writing import transaction

PATIENCE_S: Final = 30.0
AFTERWARDS_S: Final = 30
"""So long after its end more may be written of a call: its recording, its summary."""

LIVE_S: Final = 14_400
"""A call without an end may go on for as long as a call may last (MAX_CALL_SECONDS); after that its process is dead."""

SIDS: Final = ("call_sid", "parent_call_sid")
NUMBERS: Final = ("from_number", "to_number", "phone", "customer_phone", "from_phone")
EMPTIED: Final = {
    "members": (("full_name", f"'{ERASED}'"), ("phone", "null")),
    "vouchers": (("redeemed_call_sid", "null"),),
}
"""Rows that stay, and what of them does not."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What the record knows of a person's calls. live: they may not have ended yet, or just now.

    lines: how many came in on the number, which is then a line of ours and no person.
    """

    sids: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()
    lines: int = 0


class LocalErasure:
    """Every method blocks: call it in a thread. Raises `sqlite3.Error` where the file cannot be had."""

    def __init__(self, path: Path, wall_clock: float | None = None) -> None:
        self.path = path
        self._now = time.time() if wall_clock is None else wall_clock

    @property
    def exists(self) -> bool:
        return self.path.exists()

    # --- finding ------------------------------------------------------------------------------------------------

    def calls(self, person: Person) -> Calls:
        """The person's calls, by their rows and by the events that began them."""
        if not self.exists:
            return Calls()
        with self._open() as db:
            tables = _tables(db)
            told = list(_told(db, tables))
        sids = {sid for sid, way, caller, called, _ in told if is_theirs(person, way, caller, called)}
        sids |= person.call_sids
        sids |= {sid for sid, *_, parent in told if parent in sids}
        ours = {
            sid for sid, way, _, called, _ in told if person.is_this(called) and not (way or "").startswith("outbound")
        }
        with self._open() as db:
            live = {sid for sid in sids if "calls" in tables and self._is_live(db, sid)}
        return Calls(frozenset(sids), frozenset(live), len(ours))

    def _is_live(self, db: sqlite3.Connection, sid: str) -> bool:
        sql = (
            "select 1 from calls where call_sid = ? and (julianday(ended_at) > julianday(?, 'unixepoch') or "
            "ended_at is null and status = 'in_progress' and julianday(created_at) > julianday(?, 'unixepoch'))"
        )
        return db.execute(sql, [sid, self._now - AFTERWARDS_S, self._now - LIVE_S]).fetchone() is not None

    def found(self, person: Person) -> dict[str, int]:
        """In each table, how many rows have anything of the person."""
        if not self.exists:
            return {}
        with self._open() as db:
            return {
                table: len(_rows(db, table, columns, person) | _mentions(db, table, columns, person))
                for table, columns in _tables(db).items()
            }

    def buckets(self, person: Person) -> set[str]:
        """The buckets in which the rows of the person's calls say that recordings lie."""
        if not self.exists:
            return set()
        with self._open() as db:
            if "bucket" not in _tables(db).get("call_recordings", {}):
                return set()
            sql = "select distinct bucket from call_recordings where call_sid = ? and bucket is not null"
            return {row[0] for sid in person.call_sids for row in db.execute(sql, [sid])}

    def bytes_left(self, person: Person) -> dict[str, int]:
        """In each file of the store's, how often the number or a call's id stands in its bytes."""
        pattern = person.in_bytes
        counts: dict[str, int] = {}
        for path in sorted(self.path.parent.glob(f"{self.path.name}*")):
            if path.is_file() and pattern is not None:
                counts[path.name] = 0
                if path.stat().st_size:
                    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                        counts[path.name] = sum(1 for _ in pattern.finditer(content))
        return counts

    # --- erasing ------------------------------------------------------------------------------------------------

    def erase(self, person: Person) -> dict[str, int]:
        """Remove and replace, and write the file anew. Returns how many rows of each table were concerned."""
        if not self.exists:
            return {}
        done: Counter[str] = Counter()
        with self._open() as db:
            db.execute("pragma secure_delete = on")
            tables = _tables(db)
            mentions = {table: _mentions(db, table, columns, person) for table, columns in tables.items()}
            with transaction(db):
                for table in sorted(tables, key=_children_first):
                    done[table] += _remove(db, table, tables[table], person)
                    done[table] += _replace(db, table, tables[table], person, mentions[table])
            db.execute("vacuum")
            self._cut_log(db)
        return dict(done)

    def _cut_log(self, db: sqlite3.Connection) -> None:
        """Have everything in the file itself, and nothing in the log beside it."""
        deadline = time.monotonic() + PATIENCE_S
        while db.execute("pragma wal_checkpoint(truncate)").fetchone()[0] and time.monotonic() < deadline:
            time.sleep(0.05)  # somebody reads; a busy log is told by `bytes_left`

    def _open(self) -> closing[sqlite3.Connection]:
        db = sqlite3.connect(self.path, timeout=PATIENCE_S, isolation_level=None)
        db.execute("pragma foreign_keys = on")
        return closing(db)


Columns = Mapping[str, str]
"""The columns of a table, by name, with their declared type."""


def _tables(db: sqlite3.Connection) -> dict[str, Columns]:
    names = [
        row[0] for row in db.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    ]
    return {
        name: {row[1]: row[2].lower() for row in db.execute(f"pragma table_info({_quoted(name)})")} for name in names
    }


def _told(
    db: sqlite3.Connection, tables: Iterable[str]
) -> Iterator[tuple[str, str | None, str | None, str | None, str | None]]:
    """Every call: id, direction, caller, called, parent."""
    if "calls" in tables:
        yield from db.execute("select call_sid, direction, from_number, to_number, parent_call_sid from calls")
    if "call_events" in tables:
        for sid, payload in db.execute("select call_sid, payload from call_events where event_type = 'CALL_STARTED'"):
            try:
                started = orjson.loads(payload or "{}")
                yield sid, started.get("direction"), started.get("from_number"), started.get("to_number"), None
            except (orjson.JSONDecodeError, AttributeError):
                continue


def _rows(db: sqlite3.Connection, table: str, columns: Columns, person: Person) -> set[int]:
    """Rows of the person's calls, and rows with the number in a column for it."""
    found: set[int] = set()
    for column in (*SIDS, "redeemed_call_sid"):
        if column in columns:
            sql = f"select rowid from {_quoted(table)} where {column} = ?"  # noqa: S608 - the file's own names
            for sid in person.call_sids:
                found.update(row[0] for row in db.execute(sql, [sid]))
    for column in NUMBERS:
        if column in columns and table != "calls":
            sql = f"select rowid, {column} from {_quoted(table)} where {column} is not null"  # noqa: S608 - as above
            found.update(row[0] for row in db.execute(sql) if person.is_this(row[1]))
    if table == "appointments" and "customer_id" in columns:
        sql = "select a.rowid, c.phone from appointments a join customers c on c.id = a.customer_id"
        found.update(row[0] for row in db.execute(sql) if person.is_this(row[1]))
    return found


def _mentions(db: sqlite3.Connection, table: str, columns: Columns, person: Person) -> set[int]:
    """Rows with the number in any text."""
    if not person.digits:
        return set()
    texts = ", ".join(_quoted(name) for name, kind in columns.items() if "text" in kind)
    if not texts:
        return set()
    rows = db.execute(f"select rowid, {texts} from {_quoted(table)}")  # noqa: S608 - the file's own names
    return {row[0] for row in rows if any(person.mentioned(each) or person.is_this(each) for each in row[1:])}


def _remove(db: sqlite3.Connection, table: str, columns: Columns, person: Person) -> int:
    rows = [[rowid] for rowid in _rows(db, table, columns, person)]
    if table in EMPTIED:
        changes = ", ".join(f"{name} = {value}" for name, value in EMPTIED[table])
        db.executemany(f"update {table} set {changes} where rowid = ?", rows)  # noqa: S608 - our own names
    else:
        db.executemany(f"delete from {_quoted(table)} where rowid = ?", rows)  # noqa: S608 - the file's own names
    return len(rows)


def _replace(db: sqlite3.Connection, table: str, columns: Columns, person: Person, rows: Iterable[int]) -> int:
    done = 0
    for name in [name for name, kind in columns.items() if "text" in kind]:
        column = _quoted(name)
        for rowid in rows:
            found = db.execute(f"select {column} from {_quoted(table)} where rowid = ?", [rowid]).fetchone()  # noqa: S608
            text = found[0] if found else None
            if isinstance(text, str) and (person.mentioned(text) or person.is_this(text)):
                erased = ERASED if person.is_this(text) else person.erased_from(text)
                with suppress(sqlite3.IntegrityError):  # a key that other rows name: it stays, and is found again
                    db.execute(f"update {_quoted(table)} set {column} = ? where rowid = ?", [erased, rowid])  # noqa: S608
                    done += 1
    return done


def _children_first(table: str) -> tuple[int, str]:
    """Rows that name others go before these."""
    order = ("vouchers", "appointments", "members", "customers", "calls")
    return (order.index(table) + 1 if table in order else 0), table


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
