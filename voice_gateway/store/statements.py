"""What is written to the SQLite file: an event, what it changes, and the outbox's row that will tell Supabase both."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
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
        fact.changes["call"] = Statement(UPSERT_CALL, row)
    for each in rows:
        name, sql = FOLDED[type(each)]
        if row := _attempt(partial(folded_row, each), refuse):
            fact.changes[name] = Statement(sql, row)
    return fact


def in_order(facts: Iterable[Fact]) -> list[Statement]:
    """The statements of many facts, the same ones together, so that few are prepared: each is run for many rows."""
    statements = [each for fact in facts for each in (*fact.statements(), *fact.outbox())]
    places = {sql: place for place, sql in enumerate(_ORDER)}
    return sorted(statements, key=lambda each: places[each.sql])  # stable: rows of a table keep their order


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


def _upsert_call() -> str:
    """The folding rule of `records` as one statement; see `upsert_call` in migrations/ for the same in PostgreSQL."""
    columns = (*_FIRST_KNOWN, *_NEWEST)
    first = "".join(f"  {c} = coalesce(calls.{c}, excluded.{c}),\n" for c in _FIRST_KNOWN)
    newest = "".join(
        f"  {c} = iif(excluded.last_seq >= calls.last_seq, coalesce(excluded.{c}, calls.{c}), "
        f"coalesce(calls.{c}, excluded.{c})),\n"
        for c in _NEWEST
    )
    return f"""
insert into calls (call_sid, {", ".join(columns)}, meta, status, channel, cost_usd, last_seq, created_at)
values (:call_sid, {", ".join(f":{c}" for c in columns)}, :meta,
  coalesce(:status, 'in_progress'), coalesce(:channel, 'twilio'), coalesce(:cost_usd, 0), :last_seq,
  coalesce(:created_at, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')))
on conflict (call_sid) do update set
  created_at = min(calls.created_at, coalesce(:created_at, calls.created_at)),
{first}{newest}  meta = iif(excluded.last_seq >= calls.last_seq,
    merged(calls.meta, excluded.meta), merged(excluded.meta, calls.meta)),
  channel = iif(:channel is not null and excluded.last_seq >= calls.last_seq, excluded.channel, calls.channel),
  status = case
    when :status is null then calls.status
    when (excluded.status in {_FINAL}) <> (calls.status in {_FINAL})
      then iif(excluded.status in {_FINAL}, excluded.status, calls.status)
    when excluded.last_seq >= calls.last_seq then excluded.status
    else calls.status end,
  cost_usd = max(excluded.cost_usd, calls.cost_usd),
  last_seq = max(excluded.last_seq, calls.last_seq),
  updated_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')
"""  # noqa: S608 - put together from this module's own constants


UPSERT_CALL = _upsert_call()


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
_ORDER: Final = (INSERT_EVENT, UPSERT_CALL, *(sql for _, sql in FOLDED.values()), INSERT_OUTBOX)

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
