"""What waits to be told or brought, for the operator: how much there is, what is set aside, and what to do to it.

The gateway may be running: every change is one short transaction, like those of any other writer of the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from voice_gateway.errors import GatewayError
from voice_gateway.store.database import fetch
from voice_gateway.store.records import Row
from voice_gateway.store.writing import transaction

PATIENCE_S: Final = 30.0
LISTED: Final = 100

QUEUES: Final[Mapping[str, str]] = {"supabase": "outbox", "webhook": "webhook_outbox", "storage": "uploads"}
"""The tables, by where what stands in them is to go."""

_OURS: Final = {"uploads": "not given_up", "outbox": "true", "webhook_outbox": "true"}
_GIVEN_UP: Final = {
    "uploads": "update uploads set given_up = true",
    "outbox": "delete from outbox",
    "webhook_outbox": "delete from webhook_outbox",
}
_WHAT: Final = {
    "uploads": "path",
    **dict.fromkeys(
        ("outbox", "webhook_outbox"),
        "coalesce((select event_type from call_events e where e.id = event_id), 'an event that is no more')",
    ),
}


class NotSetAsideError(GatewayError):
    """What was named is not set aside."""


@dataclass(frozen=True, slots=True)
class Queue:
    """name: where it leads. oldest: of what waits, seconds since 1970. refused: how many are set aside."""

    name: str
    depth: int
    oldest: float | None
    refused: int


@dataclass(frozen=True, slots=True)
class Aside:
    """Something that is set aside. id: what it is called here. since: seconds since 1970. what: a type or a path."""

    id: str
    call_sid: str
    since: float
    what: str
    reason: str


def queues(path: Path) -> list[Queue]:
    """How much waits for each destination. Raises `sqlite3.Error`."""
    sql = (
        "select count(*) as total, coalesce(sum(refused is not null), 0) as refused, "
        "min(since) filter (where refused is null) as oldest from {} where {}"
    )
    rows = {name: fetch(path, sql.format(table, _OURS[table]))[0] for name, table in _tables(path)}
    return [Queue(name, row["total"] - row["refused"], row["oldest"], row["refused"]) for name, row in rows.items()]


def set_aside(path: Path, limit: int = LISTED) -> list[Aside]:
    """What is set aside, the oldest of each destination first, at most so many of each. Raises `sqlite3.Error`."""
    found: list[Aside] = []
    for name, table in _tables(path):
        sql = (
            f"select n, call_sid, since, refused, {_WHAT[table]} as what from {table} "  # noqa: S608 - our own names
            f"where refused is not null and {_OURS[table]} order by n limit ?"
        )
        found += [_aside(name, row) for row in fetch(path, sql, [limit])]
    return found


def retry(path: Path) -> int:
    """Have all that is set aside wait again. Returns how much it was. Raises `sqlite3.Error`."""
    with _changing(path) as db:
        return sum(
            db.execute(f"update {table} set refused = null where refused is not null and {_OURS[table]}").rowcount  # noqa: S608
            for _, table in _tables(path)
        )


def drop(path: Path, asides: Sequence[Aside]) -> int:
    """Give these up for good; what was put right meanwhile stays. Returns how many went. Raises `sqlite3.Error`."""
    with _changing(path) as db:
        return sum(
            db.execute(
                f"{_GIVEN_UP[QUEUES[name]]} where n = ? and call_sid = ? and since = ? and refused is not null",
                [int(n), each.call_sid, each.since],
            ).rowcount
            for each in asides
            for name, n in [each.id.split(":")]
        )


def named(path: Path, ids: Sequence[str]) -> list[Aside]:
    """Those of these ids; `all` is every one. Raises `NotSetAsideError`."""
    there = {each.id: each for each in set_aside(path, limit=-1)}
    if "all" in ids:
        return list(there.values())
    unknown = [each for each in ids if each not in there]
    if unknown:
        raise NotSetAsideError(f"{', '.join(unknown)}: not set aside. `voice-gateway outbox` lists what is.")
    return [there[each] for each in dict.fromkeys(ids)]


def _aside(name: str, row: Row) -> Aside:
    return Aside(f"{name}:{row['n']}", row["call_sid"], row["since"], row["what"], row["refused"])


def _tables(path: Path) -> list[tuple[str, str]]:
    """Those that the file has: an older one may lack some."""
    there = {row["name"] for row in fetch(path, "select name from sqlite_master where type = 'table'")}
    return [(name, table) for name, table in QUEUES.items() if table in there]


@contextmanager
def _changing(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)) as db, transaction(db):
        yield db
