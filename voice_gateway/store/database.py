"""An SQLite file: opening it, bringing an older one up to date, reading it, setting a broken one aside."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from voice_gateway.errors import GatewayError
from voice_gateway.store.older_menu import widen_menu
from voice_gateway.store.records import Row, json_text
from voice_gateway.store.statements import FILL_OUTBOX

SCHEMA_VERSION = 7
FIRST_WITH_OUTBOX = 2
_ADDED: Final = (
    ("call_recordings", "bucket", "text"), ("call_recordings", "uploaded_at", "text"),
    ("call_recordings", "local", "integer not null default true"),
    ("uploads", "given_up", "integer not null default false"),
)  # fmt: skip
"""Columns that tables of an older file lack."""

BUSY_TIMEOUT_S = 0.25
ALWAYS_CHECKED_BYTES = 64 << 20
"""Up to here a file is read through at every start (about 0.2 s); a larger one only after an unclean end."""


class StoreError(GatewayError):
    """The store's file cannot be used, and no retry will change that. The text says what to do."""


def open_database(path: Path, *, max_bytes: int | None = None) -> sqlite3.Connection:
    """A connection for writing, in autocommit mode, its tables in place; to be used by one thread at a time.

    WAL with synchronous=NORMAL: what is committed survives the death of the process; only a power failure can take the
    last commits. max_bytes: the file grows no further; writing then fails with SQLITE_FULL. Raises `sqlite3.Error`, and
    `StoreError` for a file made by a later version of this program.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file holds phone numbers and what people said: only its owner may read it. -wal and -shm get the same mode.
    # One that is there must not be opened here: closing it would drop the locks that this process's other connections
    # have on it (POSIX, fcntl), and the next program that has a look at the file would take its log away with it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    unclean = _size(_beside(path, "-wal")) > 0
    db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        version = _version(db, path)
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = normal")
        db.execute("pragma foreign_keys = on")
        db.create_function("merged", 2, _merged, deterministic=True)
        db.execute(f"pragma journal_size_limit = {64 << 20}")
        if unclean or _size(path) <= ALWAYS_CHECKED_BYTES:
            _check(db)
        _create_tables(db, version)
        if max_bytes is not None:
            page_bytes = db.execute("pragma page_size").fetchone()[0]
            db.execute(f"pragma max_page_count = {max(1, max_bytes // page_bytes)}")
    except BaseException:
        db.close()
        raise
    return db


def open_sound_database(path: Path, *, max_bytes: int | None = None) -> sqlite3.Connection:
    """As `open_database`; a broken file is set aside and a new one begun. Raises `StoreError` for all that remains."""
    try:
        try:
            return open_database(path, max_bytes=max_bytes)
        except sqlite3.DatabaseError as error:
            if not is_corrupt(error):
                raise
            set_aside(path, str(error))
            return open_database(path, max_bytes=max_bytes)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"the store {path} cannot be opened ({error}): check that its folder can be written to, "
            "that the disk has room, and that no other program holds the file locked"
        ) from error


def is_corrupt(error: BaseException) -> bool:
    """True when the file itself is broken (SQLITE_CORRUPT, SQLITE_NOTADB), so that a retry is pointless."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path, reason: str) -> Path:
    """Rename a broken file, with what belongs to it, so that it can be examined later. Returns its new name."""
    aside = _beside(path, f".corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    for suffix in ("", "-wal", "-shm"):
        part = _beside(path, suffix)
        if part.exists():
            part.rename(_beside(aside, suffix))
    structlog.get_logger().error("store.corrupt", reason=reason, path=str(path), setAside=str(aside))
    return aside


def fetch(path: Path, sql: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> list[Row]:
    """The rows of a query, through a connection of its own. Blocks: call it in a thread. No file holds no rows."""
    if not path.exists():
        return []
    uri = f"{path.absolute().as_uri()}?mode=rw"  # a read-only connection could not open a WAL file nobody has open
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S)) as db:
        db.execute("pragma query_only = on")
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(sql, parameters)]


def _check(db: sqlite3.Connection) -> None:
    finding = db.execute("pragma quick_check(1)").fetchone()[0]
    if finding != "ok":
        error = sqlite3.DatabaseError(finding)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Of the file's schema. Looked at before anything is written to it: one of a later version stays as it is."""
    version: int = db.execute("pragma user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the store {path} was made by a later version (its schema is {version}, this program knows "
            f"{SCHEMA_VERSION}): upgrade, or name another file"
        )
    return version


def _create_tables(db: sqlite3.Connection, version: int) -> None:
    if version < SCHEMA_VERSION:
        widen_menu(db)
        tables = Path(__file__).with_name("sqlite.sql").read_text(encoding="utf-8")
        fill = FILL_OUTBOX if version < FIRST_WITH_OUTBOX else ""
        steps = f"{_added_columns(db)}\n{tables}\n{fill}\npragma user_version = {SCHEMA_VERSION};"
        db.executescript(f"begin immediate;\n{steps}\ncommit;")


def _added_columns(db: sqlite3.Connection) -> str:
    """The statements that add what the tables there are lack."""
    there = {table: {row[1] for row in db.execute(f"pragma table_info({table})")} for table, _, _ in _ADDED}
    return "".join(
        f"alter table {table} add column {name} {kind};"
        for table, name, kind in _ADDED
        if there[table] and name not in there[table]
    )


def _merged(older: str | None, newer: str | None) -> str:
    """SQL's `merged(a, b)`: two JSON objects as one, b's keys over a's; PostgreSQL's `a || b`."""
    return json_text({**_loaded(older), **_loaded(newer)})


def _loaded(text: str | None) -> dict[str, Any]:
    try:
        value = orjson.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
