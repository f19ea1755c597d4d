"""The rows of the record as values, and what a store is.

An event is written once and never changed. A call has one row; a patch names what changes in it. Patches fold, so that
they may be repeated and may come late:

- the patch with the higher `last_seq` wins, field by field; a late one only fills what is still empty;
- `meta` is merged key by key under the same rule;
- who called whom, and when it was answered, stay as first known; so does the row's beginning, the earliest told;
- a status that is final is never replaced by one that is not: an ended call stays ended.

The same rule stands in `migrations/` (the function `upsert_call`) and in `statements.py`; a test runs both on the same
patches. Turns, usage and consents are rows of their own, folded from one
event each and never changed; a recording's row follows its events.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, Literal, Protocol, TypeAlias

import orjson
import uuid_utils

from voice_gateway.call import entries
from voice_gateway.call.usage import Usage

Row: TypeAlias = dict[str, Any]

_TIMES = frozenset(
    {"answered_at", "created_at", "decided_at", "delete_after", "ended_at", "purge_after", "uploaded_at"}
)

KEEPING_LEG: Final = 32_767
"""The leg of events that come of keeping a call's record, such as the upload of a recording.

Nobody counts a call's entries any more then, so their seq is the time they are told, in thousandths of a millisecond;
the last three digits are a count, for several may be told at once.
"""
_count = itertools.count()


def new_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7) as text: unique without asking anyone, and rising with time."""
    return str(uuid_utils.uuid7())


def order_in_call(leg: int, seq: int) -> int:
    """`last_seq` for entry number seq of a leg: rises over a whole call, however often it is resumed. Leg 1 is seq."""
    return ((leg - 1) << 32) + seq


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A row of `call_events`.

    id: a UUIDv7; a second event with the same id is the same event and is stored once. payload: anything JSON; must not
    be changed after it was handed to a store. occurred_at: UTC; text is ISO 8601. seq: counts from 1 within a leg, but
    for `KEEPING_LEG`.
    """

    id: str
    call_sid: str
    event_type: str
    payload: Mapping[str, Any] = field(repr=False)
    occurred_at: datetime | str
    seq: int
    leg: int = 1
    instance_id: str = ""
    schema_version: int = 1


def keeping_event(call_sid: str, entry: entries.Entry, at: datetime) -> EventRecord:
    """What is told of a call's record once the call is over. at: when it happened."""
    seq = int(time.time() * 1000) * 1000 + next(_count) % 1000
    return EventRecord(new_id(), call_sid, entry.event_type, payload_of(entry), at, seq, leg=KEEPING_LEG)


@dataclass(frozen=True, slots=True)
class CallPatch:
    """What changes in a row of `calls`: the fields that are not None and not an empty text.

    last_seq: of the event that brings the change, see `order_in_call`. cost_usd: the call's cost so far, it only grows.
    """

    call_sid: str
    last_seq: int = 0
    from_number: str | None = field(default=None, repr=False)
    to_number: str | None = field(default=None, repr=False)
    direction: str | None = None
    transcript: str | None = field(default=None, repr=False)
    intent: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)
    status: str | None = None
    channel: str | None = None
    persona: str | None = None
    language: str | None = None
    model: str | None = None
    correlation_id: str | None = None
    stream_sid: str | None = None
    parent_call_sid: str | None = None
    instance_id: str | None = None
    answered_at: datetime | str | None = None
    ended_at: datetime | str | None = None
    duration_ms: int | None = None
    end_reason: str | None = None
    summary: str | None = field(default=None, repr=False)
    cost_usd: float | None = None
    purge_after: datetime | str | None = None
    created_at: datetime | str | None = None


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A row of `call_turns`; id, leg, seq and time are those of the event that told it.

    text: as heard. generated: all that the model had written, None where that is no more. Times are milliseconds of the
    call's audio; heard_ms and total_ms of ours alone.
    """

    id: str
    call_sid: str
    seq: int
    speaker: Literal["user", "assistant"]
    text: str = field(repr=False)
    created_at: datetime | str
    leg: int = 1
    item_id: str | None = None
    persona: str | None = None
    generated: str | None = field(default=None, repr=False)
    start_ms: int | None = None
    end_ms: int | None = None
    heard_ms: int | None = None
    total_ms: int | None = None
    interrupted: bool = False
    latency_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """A row of `call_usage`: tokens of one response by modality, cached ones a part of the input's. id: its event's.

    price_book: the list of prices it was reckoned by, and since when they count; None where no price is known.
    """

    id: str
    call_sid: str
    response_id: str
    created_at: datetime | str
    model: str | None = None
    input_text_tokens: int = 0
    input_audio_tokens: int = 0
    cached_text_tokens: int = 0
    cached_audio_tokens: int = 0
    output_text_tokens: int = 0
    output_audio_tokens: int = 0
    cost_usd: float = 0.0
    price_book: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentRecord:
    """A row of `call_consents`: what the caller decided, and in which words he was asked. id: its event's."""

    id: str
    call_sid: str
    kind: str
    decision: Literal["granted", "denied", "withdrawn"]
    method: str
    decided_at: datetime | str
    wording: str | None = None
    language: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class RecordingRecord:
    """What is told of a row of `call_recordings`, id being the recording's own. What is None stays as it is known.

    created_at: when this was told; the earliest stays. A recording that is over does not begin again. path: below the
    folder of recordings, and in the bucket. bucket: of the storage where it lies as well, since uploaded_at. local:
    whether the gateway that made it has the file still.
    """

    id: str
    call_sid: str
    status: Literal["recording", "stored", "failed", "deleted"]
    created_at: datetime | str
    consent: str | None = None
    path: str | None = None
    duration_ms: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    delete_after: datetime | str | None = None
    bucket: str | None = None
    uploaded_at: datetime | str | None = None
    local: bool | None = None


def recording_on_disk(
    call_sid: str,
    status: Literal["stored", "failed"],
    told: entries.RecordingFinished | entries.RecordingFailed,
    at: datetime,
) -> RecordingRecord:
    """What is told of a recording that has a file, whole or as far as it came. at: when it ended."""
    return RecordingRecord(
        told.recording_id, call_sid, status, at, path=told.path, duration_ms=told.duration_ms, bytes=told.size,
        sha256=told.sha256, delete_after=at + timedelta(days=told.keep_days) if told.keep_days else None,
    )  # fmt: skip


FoldedRow: TypeAlias = TurnRecord | UsageRecord | ConsentRecord | RecordingRecord


class Store(Protocol):
    """Where the record goes. Nothing that happens to a store is ever raised into a call."""

    @property
    def last_error(self) -> str:
        """What keeps the store from writing, in words for the operator; empty while all is well."""

    async def start(self) -> None:
        """Make ready to write. Raises `StoreError` when that cannot succeed without someone's help."""

    def write(self, event: EventRecord, patch: CallPatch | None = None, rows: Sequence[FoldedRow] = ()) -> None:
        """Put an event on the record, with what it changes in its call's row and the rows folded from it.

        All in one transaction, without waiting.
        """

    async def write_durably(
        self,
        event: EventRecord,
        patch: CallPatch | None = None,
        rows: Sequence[FoldedRow] = (),
        *,
        timeout_s: float = 5.0,
    ) -> bool:
        """As `write`, and wait until it would survive this process. False: not yet (it is still being tried)."""

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything written before is stored. False when it was not within timeout_s."""

    async def close(self, timeout_s: float = 5.0) -> int:
        """Store what is still waiting and stop. Returns how many records were lost, normally 0."""

    @property
    def depth(self) -> int:
        """Records that wait to be stored."""

    def oldest_age_s(self, now: float) -> float:
        """For how long the oldest of them has been waiting."""

    def stuck(self, now: float) -> bool:
        """True when this process should take no more calls, because their record would not be kept."""

    async def read_call(self, call_sid: str) -> Row | None:
        """A row of `calls`, `meta` as a dict."""

    async def read_events(self, call_sid: str) -> list[Row]:
        """A call's rows of `call_events` in their order, `payload` as a dict."""

    async def spent_since(self, at: datetime) -> list[tuple[str, float]]:
        """What the calls that began since then have cost: (from_number, US dollars), once for each number."""

    async def recent_calls(self, limit: int = 20) -> list[Row]:
        """Rows of `calls`, newest first."""


# --- values as they are stored ----------------------------------------------------------------------------------


def payload_of(entry: entries.Entry) -> dict[str, Any]:
    """An entry's fields by name: what `asdict` gives, without its walk through every value."""
    told: dict[str, Any] = {}
    for name in _fields_of(type(entry)):
        value = getattr(entry, name)
        told[name] = asdict(value) if isinstance(value, Usage) else value
    return told


_fields_of: Final[Callable[[Any], tuple[str, ...]]] = cache(lambda kind: tuple(each.name for each in fields(kind)))


def event_row(event: EventRecord) -> Row:
    """An event's columns with values that every database takes; payload is JSON text. ValueError: no such time."""
    return {
        "id": event.id,
        "call_sid": clean_text(event.call_sid),
        "event_type": clean_text(event.event_type),
        "payload": json_text(event.payload),
        "occurred_at": iso_utc(event.occurred_at),
        "leg": event.leg,
        "seq": event.seq,
        "instance_id": clean_text(event.instance_id) or None,
        "schema_version": event.schema_version,
    }


def call_row(patch: CallPatch) -> Row:
    """A patch's columns with values that every database takes; meta is JSON text, None is unchanged."""
    row: Row = {}
    for column in COLUMNS[CallPatch]:
        value = getattr(patch, column)
        if value is not None and column in _TIMES:
            value = iso_utc(value) if value else None
        elif isinstance(value, str):
            value = clean_text(value) or None
        row[column] = value
    row["meta"] = json_text(patch.meta) if patch.meta else "{}"
    if patch.cost_usd is not None:
        row["cost_usd"] = round(patch.cost_usd, 6) if math.isfinite(patch.cost_usd) else None
    return row


def folded_row(record: FoldedRow) -> Row:
    """A folded row's columns with values that every database takes."""
    row: Row = {}
    for column in COLUMNS[type(record)]:
        value = getattr(record, column)
        if column in _TIMES and value is not None:
            value = iso_utc(value)
        elif isinstance(value, str):
            value = clean_text(value)
        elif isinstance(value, float):
            value = round(value, 6) if math.isfinite(value) else 0.0
        elif isinstance(value, Mapping):
            value = json_text(value)
        row[column] = value
    return row


COLUMNS = {
    kind: tuple(each.name for each in fields(kind))
    for kind in (CallPatch, TurnRecord, UsageRecord, ConsentRecord, RecordingRecord)
}
"""The columns that each kind of row may hold, in order."""


def iso_utc(at: datetime | str) -> str:
    """A time as `2026-11-21T20:00:00.000Z`. Without a zone it is taken as UTC. ValueError: the text is no time."""
    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def clean_text(text: str) -> str:
    """Text that UTF-8 and PostgreSQL can hold: NUL and lone surrogates become U+FFFD."""
    if text.isascii() and "\0" not in text:
        return text
    text = text.replace("\0", "\ufffd")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def whole(amount: float | Decimal) -> int | float:
    """Whole amounts as whole numbers: a voice reads `3000.0` badly."""
    exact = Decimal(str(amount))
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def json_text(value: Any) -> str:
    """JSON that PostgreSQL's jsonb takes, whatever the value: what JSON cannot hold becomes null or a text.

    NaN and infinities become null, NUL and lone surrogates U+FFFD, integers beyond 64 bits and unknown types texts.
    """
    try:
        data = orjson.dumps(value, default=_plain)
    except TypeError:  # a lone surrogate, an enormous integer, a key that is no text, or too deep
        data = b""
    if data and b"\\u0000" not in data:
        return data.decode()
    try:
        return orjson.dumps(_clean(value), default=_plain).decode()
    except (TypeError, RecursionError):
        return '{"unstorable":true}'


def _plain(value: Any) -> Any:
    """What orjson does not know itself."""
    match value:
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return list(value)
        case _:
            return clean_text(str(value))


def _clean(value: Any) -> Any:
    match value:
        case str():
            return clean_text(value)
        case bool():
            return value
        case int() if not -(2**63) <= value < 2**63:
            return str(value)
        case Mapping():
            return {clean_text(str(key)): _clean(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(each) for each in value]
        case _:
            return value
