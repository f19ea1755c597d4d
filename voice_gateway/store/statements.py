"""What is written to the SQLite file: an event, what it changes, and the outbox's row that will tell Supabase both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Final, NamedTuple

import orjson

from voice_gateway.store.records import (
    COLUMNS,
    CallPatch,
    ConsentRecord,
    EventRecord,
    FoldedRow,
    RecordingRecord,
    Row,
    TurnRecord,
    UsageRecord,
    call_row,
    clean_text,
    event_row,
    folded_row,
)

# What a row can be refused for; everything else is the fault of the file or the disk, and is tried again.
REFUSALS: Final = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    OverflowError, TypeError, ValueError, AttributeError,
)  # fmt: skip


class Statement(NamedTuple):
    sql: str
    row: Row


@dataclass(frozen=True, slots=True)
class Fact:
    """An event with all that it changes, as statements. `changes` has them by the names that Supabase takes them by.

    since: seconds since 1970. event: None where it was refused; what it changes may hold even so.
    """

    call_sid: str
    since: float
    event: Statement | None
    changes: dict[str, Statement] = field(default_factory=dict)

    def statements(self) -> Iterator[Statement]:
        """Everything but the outbox, the event first."""
        if self.event is not None:
            yield self.event
        yield from self.changes.values()

    def outbox(self) -> Iterator[Statement]:
        """The row that will tell Supabase, where there is anything to tell."""
        if self.event is None and not self.changes:
            return
        row = {
            "event_id": "" if self.event is None else self.event.row["id"],
            "call_sid": self.call_sid,
            "since": self.since,
            "changes": _json(self.changes) if self.changes else None,
        }
        yield Statement(INSERT_OUTBOX, row)


def as_fact(
    event: EventRecord,
    patch: CallPatch | None,
    rows: Sequence[FoldedRow],
    since: float,
    refuse: Callable[[Exception], None],
) -> Fact:
    """Turn records into statements. A part that cannot be a row is left out and told to `refuse`."""
    row = _attempt(partial(event_row, event), refuse)
    fact = Fact(clean_text(event.call_sid), since, Statement(INSERT_EVENT, row) if row else None)
    if patch is not None and (row := _attempt(partial(call_row, patch), refuse)):
        fact.changes["call"] = upsert_call(row)
    for each in rows:
        name, sql = FOLDED[type(each)]
        if row := _attempt(partial(folded_row, each), refuse):
            fact.changes[name] = Statement(sql, row)
    return fact


def in_order(facts: Iterable[Fact]) -> list[Statement]:
    """The statements of many facts, the same ones together, so that few are prepared: each is run for many rows."""
    statements = [each for fact in facts for each in (*fact.statements(), *fact.outbox())]
    return sorted(statements, key=lambda each: _PLACES.get(each.sql, _OF_A_CALL))  # stable: rows of a table keep order


_JSON_COLUMNS: Final = (("call", "meta"), ("consent", "evidence"))


def _attempt(make: Callable[[], Row], refuse: Callable[[Exception], None]) -> Row | None:
    try:
        return make()
    except REFUSALS as refusal:
        refuse(refusal)
        return None


def _json(changes: dict[str, Statement]) -> str:
    told = {name: {k: v for k, v in each.row.items() if v is not None} for name, each in changes.items()}
    for name, column in _JSON_COLUMNS:
        if name in told:
            told[name][column] = orjson.Fragment(told[name][column])
    return orjson.dumps(told).decode()


# --- the text of the statements ---------------------------------------------------------------------------------

INSERT_EVENT = """
insert into call_events (id, call_sid, event_type, payload, occurred_at, leg, seq, instance_id, schema_version)
values (:id, :call_sid, :event_type, :payload, :occurred_at, :leg, :seq, :instance_id, :schema_version)
on conflict (id) do nothing
"""

_FIRST_KNOWN = ("from_number", "to_number", "direction", "correlation_id", "parent_call_sid", "answered_at")
_NEWEST = (
    "transcript", "intent", "persona", "language", "model", "stream_sid", "instance_id", "ended_at", "duration_ms",
    "end_reason", "summary", "purge_after",
)  # fmt: skip
_FINAL = "('completed', 'failed', 'busy', 'no_answer', 'canceled', 'transferred')"


_CALL_SAID: Final = {
    "meta": "iif(excluded.last_seq >= calls.last_seq, merged(calls.meta, excluded.meta), "
    "merged(excluded.meta, calls.meta))",
    "channel": "iif(excluded.last_seq >= calls.last_seq, excluded.channel, calls.channel)",
    "status": f"""case
    when (excluded.status in {_FINAL}) <> (calls.status in {_FINAL})
      then iif(excluded.status in {_FINAL}, excluded.status, calls.status)
    when excluded.last_seq >= calls.last_seq then excluded.status
    else calls.status end""",
    "cost_usd": "max(excluded.cost_usd, calls.cost_usd)",
    "created_at": "min(calls.created_at, excluded.created_at)",
    **{column: f"coalesce(calls.{column}, excluded.{column})" for column in _FIRST_KNOWN},
    **{
        column: f"iif(excluded.last_seq >= calls.last_seq, excluded.{column}, "
        f"coalesce(calls.{column}, excluded.{column}))"
        for column in _NEWEST
    },
}
"""How a call's row takes what is said of a column. What is not said changes nothing, and leaves the indexes alone."""


def upsert_call(row: Row) -> Statement:
    """The folding rule of `records` for what a row says; see `upsert_call` in migrations/ for the same in PostgreSQL.

    row: as `call_row` makes it.
    """
    said = tuple(
        column for column in _CALL_SAID if row[column] is not None and (column != "meta" or row["meta"] != "{}")
    )
    return Statement(_upsert_call(said), row)


@cache
def _upsert_call(said: tuple[str, ...]) -> str:
    changes = "".join(f"  {column} = {_CALL_SAID[column]},\n" for column in said)
    return f"""
insert into calls ({", ".join(("call_sid", "last_seq", *said))})
values ({", ".join(f":{column}" for column in ("call_sid", "last_seq", *said))})
on conflict (call_sid) do update set
{changes}  last_seq = max(excluded.last_seq, calls.last_seq),
  updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
"""  # noqa: S608 - put together from this module's own constants


def _insert(table: str, columns: Sequence[str], on_conflict: str) -> str:
    values = ", ".join(f":{column}" for column in columns)
    return f"insert into {table} ({', '.join(columns)}) values ({values}) on conflict {on_conflict} do nothing"  # noqa: S608 - our own names


INSERT_TURN = _insert("call_turns", COLUMNS[TurnRecord], "(id)")
INSERT_USAGE = _insert("call_usage", COLUMNS[UsageRecord], "")
INSERT_CONSENT = _insert("call_consents", COLUMNS[ConsentRecord], "(id)")
UPSERT_RECORDING: Final = """
insert into call_recordings (id, call_sid, consent, path, duration_ms, bytes, sha256, status, delete_after, bucket,
  uploaded_at, local, created_at)
values (:id, :call_sid, :consent, :path, :duration_ms, :bytes, :sha256, :status, :delete_after, :bucket,
  :uploaded_at, coalesce(:local, true), :created_at)
on conflict (id) do update set
  consent = coalesce(call_recordings.consent, excluded.consent),
  path = coalesce(call_recordings.path, excluded.path),
  duration_ms = coalesce(excluded.duration_ms, call_recordings.duration_ms),
  bytes = coalesce(excluded.bytes, call_recordings.bytes),
  sha256 = coalesce(excluded.sha256, call_recordings.sha256),
  status = iif(excluded.status = 'recording' or call_recordings.status = 'deleted',
    call_recordings.status, excluded.status),
  delete_after = coalesce(excluded.delete_after, call_recordings.delete_after),
  bucket = coalesce(excluded.bucket, call_recordings.bucket),
  uploaded_at = coalesce(excluded.uploaded_at, call_recordings.uploaded_at),
  local = coalesce(:local, call_recordings.local),
  created_at = min(call_recordings.created_at, excluded.created_at)
"""
FOLDED: Final = {
    TurnRecord: ("turn", INSERT_TURN),
    UsageRecord: ("usage", INSERT_USAGE),
    ConsentRecord: ("consent", INSERT_CONSENT),
    RecordingRecord: ("recording", UPSERT_RECORDING),
}
"""Under which name Supabase takes a folded row, and how it is written here."""

INSERT_OUTBOX: Final = """
insert into outbox (event_id, call_sid, since, changes) values (:event_id, :call_sid, :since, :changes)
"""
_OF_A_CALL: Final = 1
_PLACES: Final = {
    INSERT_EVENT: 0,
    **{sql: place for place, (_, sql) in enumerate(FOLDED.values(), 2)},
    INSERT_OUTBOX: 9,
}
"""In which order the statements of many facts are run; those of a call's own row are after its events."""

# A file from before there was an outbox: all its events are still to be told, each call's row with its last one.
FILL_OUTBOX: Final = f"""
insert into outbox (event_id, call_sid, since, changes)
select e.id, e.call_sid, cast(strftime('%s', e.created_at) as real), case
    when e.rowid = (select max(rowid) from call_events where call_sid = e.call_sid) then (
      select json_object('call', json_object('meta', json(coalesce(nullif(c.meta, ''), '{{}}')),
        {", ".join(f"'{c}', c.{c}" for c in COLUMNS[CallPatch] if c != "meta")}))
      from calls c where c.call_sid = e.call_sid)
  end from call_events e order by e.rowid;
"""  # noqa: S608 - put together from this module's own constants
