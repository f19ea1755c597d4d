"""The outbox: the facts in the SQLite file that Supabase has not confirmed yet, in the order they were written.

Each fact has its row in the outbox from the very transaction that wrote it, so whatever was committed is told, after
any crash. A row goes when Supabase has the fact; a fact that Supabase refuses stays, with the reason, and holds up no
other. The webhook has an outbox of its own in the same file: neither destination ever waits for the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import orjson

from voice_gateway.store.database import fetch
from voice_gateway.store.records import Row
from voice_gateway.store.statements import Statement

_EVENT_COLUMNS: Final = (
    "id", "call_sid", "event_type", "payload", "created_at", "occurred_at", "leg", "seq", "instance_id",
    "schema_version",
)  # fmt: skip


class Waiting(NamedTuple):
    """A row of an outbox. n: its place."""

    n: int
    event_id: str
    call_sid: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """Facts to be sent together. text: a JSON array of them. more: others may wait behind them."""

    facts: tuple[Waiting, ...]
    text: str
    more: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """depth: facts that wait. oldest: when the first of them was written, seconds since 1970. refused: set aside."""

    depth: int = 0
    oldest: float | None = None
    refused: int = 0

    @classmethod
    def of(cls, row: Row) -> Backlog:
        """row: total, refused and oldest."""
        return cls(row["total"] - row["refused"], row["oldest"], row["refused"])


class Outbox:
    """One destination's facts: a table that the store fills, and what is asked of it and done to it."""

    def __init__(self, name: str, table: str) -> None:
        """name: what the log calls it. table: one of sqlite.sql, with the columns of `outbox`."""
        self.name = name
        self._waiting = f"""
            select o.n, o.changes, o.event_id, o.call_sid as told_of, {", ".join(f"e.{c}" for c in _EVENT_COLUMNS)}
              from {table} o left join call_events e on e.id = o.event_id
              where o.refused is null order by o.n limit ?"""  # noqa: S608 - our own names
        self._backlog = f"""
            select (select count(*) from {table}) as total,
              (select count(*) from {table} where refused is not null) as refused,
              (select since from {table} where refused is null order by n limit 1) as oldest"""  # noqa: S608 - as above
        # An n is given anew once the row is gone, so the row must still be about the same: others may remove rows too.
        same = "n = :n and event_id = :event_id and call_sid = :call_sid"
        self._cross_off = f"delete from {table} where {same}"  # noqa: S608 - as above
        self._set_aside = f"update {table} set refused = :why where {same}"  # noqa: S608 - as above
        self.once_more = Statement(f"update {table} set refused = null where refused is not null", {})  # noqa: S608
        """What was refused waits again."""

    def read_parcel(self, path: Path, most: int, most_bytes: int) -> Parcel:
        """The facts that are next: one or more while any wait, at most so many. Blocks. Raises `sqlite3.Error`."""
        facts: list[Waiting] = []
        parts: list[bytes] = []
        size = 0
        rows = fetch(path, self._waiting, [most])
        for row in rows:
            part = _told(row)
            size += len(part) + 1
            if parts and size > most_bytes:
                break
            facts.append(Waiting(row["n"], row["event_id"], row["told_of"]))
            parts.append(part)
        more = len(rows) == most or len(facts) < len(rows)
        return Parcel(tuple(facts), (b"[%s]" % b",".join(parts)).decode(), more)

    def read_backlog(self, path: Path) -> Backlog:
        """How much is waiting. Blocks for some milliseconds where it is very much. Raises `sqlite3.Error`."""
        for row in fetch(path, self._backlog):
            return Backlog.of(row)
        return Backlog()

    def settled(self, parcel: Parcel, refused: Mapping[int, str]) -> list[Statement]:
        """What to write once a parcel was taken. refused: by index in the parcel, why a fact was not."""
        rows = [each._asdict() for each in parcel.facts]
        arrived = [Statement(self._cross_off, row) for index, row in enumerate(rows) if index not in refused]
        aside = [
            Statement(self._set_aside, rows[index] | {"why": why})
            for index, why in refused.items()
            if index < len(rows)
        ]
        return [*arrived, *aside]


def _told(row: Row) -> bytes:
    """A fact as `ingest_call_events` takes it; stored JSON goes out as it is, unread."""
    changes = (row["changes"] or "").strip()
    if row["id"] is None:  # the event was refused when it was written; what it changes was not
        return changes.encode() or b"{}"
    event = {column: row[column] for column in _EVENT_COLUMNS if row[column] is not None}
    event["payload"] = orjson.Fragment(row["payload"] or "{}")
    told = orjson.dumps(event)
    return told[:-1] + b"," + changes[1:].encode() if changes else told


SUPABASE: Final = Outbox("outbox", "outbox")
WEBHOOK: Final = Outbox("webhook", "webhook_outbox")
read_parcel = SUPABASE.read_parcel
read_backlog = SUPABASE.read_backlog


def collecting(events: Sequence[str] | None) -> str:
    """The script that has a store's file collect for the webhook from now on. None: no more; what waits stays.

    events: the types that are wanted, all where none is named. Each is a word of A-Z, 0-9 and _.
    """
    if events is None:
        return "drop trigger if exists tell_webhook;"
    if not all(each.replace("_", "").isalnum() and each.isascii() for each in events):
        raise ValueError(f"not the names of events: {events}")
    listed = ", ".join(f"'{each}'" for each in events)
    kind = "(select event_type from call_events where id = new.event_id)"
    return f"""
begin immediate;
drop trigger if exists tell_webhook;
create trigger tell_webhook after insert on outbox {f"when {kind} in ({listed})" if events else ""} begin
  insert into webhook_outbox (event_id, call_sid, since, changes)
    values (new.event_id, new.call_sid, new.since, new.changes);
end;
commit;
"""  # noqa: S608 - the names were looked at above
