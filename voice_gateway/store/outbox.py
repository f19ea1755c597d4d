"""The outbox: the facts in the SQLite file that Supabase has not confirmed yet, in the order they were written.

Each fact has its row in the outbox from the very transaction that wrote it, so whatever was committed is told, after
any crash. A row goes when Supabase has the fact; a fact that Supabase refuses stays, with the reason, and holds up no
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from voice_gateway.store.database import fetch
from voice_gateway.store.records import Row
from voice_gateway.store.statements import Statement

_EVENT_COLUMNS: Final = (
    "id", "call_sid", "event_type", "payload", "created_at", "occurred_at", "leg", "seq", "instance_id",
    "schema_version",
)  # fmt: skip
_WAITING: Final = f"""
select o.n, o.changes, o.call_sid as told_of, {", ".join(f"e.{column}" for column in _EVENT_COLUMNS)}
  from outbox o left join call_events e on e.id = o.event_id
  where o.refused is null order by o.n limit ?
"""  # noqa: S608 - our own names
_BACKLOG: Final = """
select (select count(*) from outbox) as total,
  (select count(*) from outbox where refused is not null) as refused,
  (select since from outbox where refused is null order by n limit 1) as oldest
"""


@dataclass(frozen=True, slots=True)
class Parcel:
    """Facts to be sent together. text: a JSON array of them.

    ns: their places in the outbox. call_sids: whose they are. more: others may wait behind them.
    """

    ns: tuple[int, ...]
    call_sids: tuple[str, ...]
    text: str
    more: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """depth: facts that wait. oldest: when the first of them was written, seconds since 1970. refused: set aside."""

    depth: int = 0
    oldest: float | None = None
    refused: int = 0


def read_parcel(path: Path, most: int, most_bytes: int) -> Parcel:
    """The facts that are next: one or more as long as any wait, at most so many. Blocks. Raises `sqlite3.Error`."""
    ns: list[int] = []
    call_sids: list[str] = []
    parts: list[bytes] = []
    size = 0
    rows = fetch(path, _WAITING, [most])
    for row in rows:
        part = _told(row)
        size += len(part) + 1
        if parts and size > most_bytes:
            break
        ns.append(row["n"])
        call_sids.append(row["told_of"])
        parts.append(part)
    more = len(rows) == most or len(ns) < len(rows)
    return Parcel(tuple(ns), tuple(call_sids), (b"[%s]" % b",".join(parts)).decode(), more)


def _told(row: Row) -> bytes:
    """A fact as `ingest_call_events` takes it; stored JSON goes out as it is, unread."""
    changes = (row["changes"] or "").strip()
    if row["id"] is None:  # the event was refused when it was written; what it changes was not
        return changes.encode() or b"{}"
    event = {column: row[column] for column in _EVENT_COLUMNS if row[column] is not None}
    event["payload"] = orjson.Fragment(row["payload"] or "{}")
    told = orjson.dumps(event)
    return told[:-1] + b"," + changes[1:].encode() if changes else told


def read_backlog(path: Path) -> Backlog:
    """How much is waiting. Blocks for some milliseconds where it is very much. Raises `sqlite3.Error`."""
    for row in fetch(path, _BACKLOG):
        return Backlog(row["total"] - row["refused"], row["oldest"], row["refused"])
    return Backlog()


def settled(parcel: Parcel, refused: Mapping[int, str]) -> list[Statement]:
    """What to write once a parcel was taken. refused: by index in the parcel, why a fact was not."""
    arrived = [Statement(_CROSS_OFF, {"n": n}) for index, n in enumerate(parcel.ns) if index not in refused]
    aside = [Statement(_SET_ASIDE, {"n": parcel.ns[index], "why": reason}) for index, reason in refused.items()]
    return [*arrived, *aside]


_CROSS_OFF: Final = "delete from outbox where n = :n"
_SET_ASIDE: Final = "update outbox set refused = :why where n = :n"
ONCE_MORE: Final = Statement("update outbox set refused = null where refused is not null", {})
"""What was refused waits again."""
