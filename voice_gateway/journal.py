"""The journal: an entry becomes a row of the record the moment it happens.

The bridge says what happened; the journal adds who (the call), when (wall clock, UTC) and in which order (seq), folds
the entry into the call's own row and into a turn or a response's usage, and hands all of it to the store, which never
makes the call wait. Where card or ID numbers are not to be kept, they are taken out of the entry before all that. A
call that was on record when this process began, and comes again, goes on as its next leg.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeAlias

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.ops.redaction import Redactor
from voice_gateway.store.earlier import Earlier
from voice_gateway.store.records import (
    CallPatch,
    ConsentRecord,
    EventRecord,
    FoldedRow,
    RecordingRecord,
    TurnRecord,
    UsageRecord,
    order_in_call,
    payload_of,
    recording_on_disk,
)

Listener: TypeAlias = Callable[[CallFacts, entries.Entry], None]
"""Told of every entry, on the event loop: must be quick and must not raise."""


class Store(Protocol):
    def write(self, event: EventRecord, patch: CallPatch | None = None, rows: Sequence[FoldedRow] = ()) -> None:
        """Put an event and what is folded from it on the record, in one transaction, without waiting."""


@dataclass(slots=True)
class CallRecord:
    """The record of one call. seq counts its entries from 1. earlier: what was on record of it when it came.

    facts: as of now: a handoff changes who answers, and the language may change, too.
    """

    facts: CallFacts
    _journal: Journal
    earlier: Earlier | None = None
    _seq: int = field(default=0)
    _keys: int = field(default=0)
    """How many keys were pressed in a row."""

    def write(self, entry: entries.Entry) -> None:
        self._seq += 1
        if isinstance(entry, entries.HandedOff):
            self.facts = replace(self.facts, persona=entry.to_persona)
        if isinstance(entry, entries.LanguageSet):
            self.facts = replace(self.facts, language=entry.language)
        self._keys = self._keys + 1 if isinstance(entry, entries.DigitReceived) else 0
        self._journal.write(self.facts, self._seq, entry, self.earlier, keys_in_a_row=self._keys)


class Journal:
    def __init__(
        self,
        store: Store,
        *,
        wall_clock: Callable[[], datetime],
        new_id: Callable[[], str],
        instance_id: str = "",
        listeners: Sequence[Listener] = (),
        redactor: Redactor | None = None,
        earlier: Callable[[str], Earlier | None] = lambda _call_sid: None,
    ) -> None:
        """wall_clock: the time in UTC. new_id: a fresh UUIDv7 as text. instance_id: which process wrote this.

        redactor: takes numbers out of what people said; without it all of it is kept.

        earlier: what is on record of a CallSid from a process before this one.
        """
        self._store = store
        self._wall_clock = wall_clock
        self._new_id = new_id
        self._instance_id = instance_id
        self._listeners = tuple(listeners)
        self._redactor = redactor
        self._earlier = earlier

    def open(self, facts: CallFacts) -> CallRecord:
        return CallRecord(facts, self, self._earlier(facts.call_sid))

    def write(
        self,
        facts: CallFacts,
        seq: int,
        entry: entries.Entry,
        earlier: Earlier | None = None,
        *,
        keys_in_a_row: int = 0,
    ) -> None:
        at = self._wall_clock()
        leg = 1 if earlier is None else earlier.leg + 1
        if self._redactor is not None:
            entry = _redacted(self._redactor, entry, keys_in_a_row)
        event = EventRecord(
            id=self._new_id(),
            call_sid=facts.call_sid,
            event_type=entry.event_type,
            payload=payload_of(entry),
            occurred_at=at,
            seq=seq,
            leg=leg,
            instance_id=self._instance_id,
        )
        self._store.write(event, self._fold(facts, event, entry, at, earlier), _rows(facts, event, entry, at))
        for listener in self._listeners:
            listener(facts, entry)

    def _fold(
        self, facts: CallFacts, event: EventRecord, entry: entries.Entry, at: datetime, earlier: Earlier | None
    ) -> CallPatch | None:
        """What an entry changes in the call's own row."""
        changes = {name: value for name, value in _changes(facts, entry, at).items() if value is not None}
        if not changes:
            return None
        if earlier is not None:
            changes |= _continued(changes, at, earlier)
        last_seq = order_in_call(event.leg, event.seq)
        return CallPatch(call_sid=facts.call_sid, last_seq=last_seq, instance_id=self._instance_id, **changes)


_SAID: Final = (
    "text", "generated", "unsaid", "transcript", "message", "summary", "intent", "caller_name", "reason", "wording",
)  # fmt: skip
_JSON: Final = ("arguments", "output")
KEYS_KEPT: Final = 6
"""Of keys pressed in a row: a menu's choice is shorter, and so much of a card number names no card."""


def _redacted(redactor: Redactor, entry: entries.Entry, keys_in_a_row: int) -> entries.Entry:
    """The entry as it may be kept."""
    if isinstance(entry, entries.DigitReceived):
        return replace(entry, digit="*") if redactor.hides_cards and keys_in_a_row > KEYS_KEPT else entry
    said = (*_SAID, "reason") if isinstance(entry, entries.CallSummarised) else _SAID
    found = {name: redactor.text(value) for name in said if isinstance(value := getattr(entry, name, None), str)}
    found |= {name: redactor.json(value) for name in _JSON if isinstance(value := getattr(entry, name, None), str)}
    changes = {name: value for name, value in found.items() if value != getattr(entry, name)}
    return replace(entry, **changes) if changes else entry  # type: ignore[arg-type]  # each has the fields asked for


def _changes(facts: CallFacts, entry: entries.Entry, at: datetime) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind
    match entry:
        case entries.CallStarted():
            return {
                "from_number": entry.from_number,
                "to_number": entry.to_number,
                "direction": entry.direction,
                "persona": entry.persona,
                "correlation_id": facts.correlation_id,
                "status": "in_progress",
                "channel": facts.channel,
                "created_at": at,
            }
        case entries.MediaStarted():
            return {"stream_sid": entry.stream_sid, "answered_at": at}
        case entries.LanguageSet():
            return {"language": entry.language}
        case entries.ModelJoined():
            return {"model": entry.model}
        case entries.HandedOff():
            return {"persona": entry.to_persona}
        case entries.ResponseMetered():
            return {"cost_usd": entry.total_usd or None}
        case entries.CallEnded():
            return {
                "cost_usd": entry.cost_usd or None,
                "status": entry.status,
                "ended_at": at,
                "end_reason": entry.reason,
                "duration_ms": entry.duration_ms,
                "transcript": entry.transcript,
            }
        case entries.CallSummarised():
            told = {name: getattr(entry, name) for name in ("summary_by", "caller_name", "reason")}
            return {
                "summary": entry.summary or None,
                "intent": entry.intent or None,
                "meta": {name: value for name, value in told.items() if value},
                "cost_usd": entry.total_usd or None,
            }
        case _:
            return {}


def _continued(changes: dict[str, Any], at: datetime, earlier: Earlier) -> dict[str, Any]:
    """What a call's row is told of a later leg: cost, length and transcript of the whole call."""
    whole: dict[str, Any] = {}
    if "cost_usd" in changes:
        whole["cost_usd"] = earlier.cost_usd + changes["cost_usd"]
    if "duration_ms" in changes:
        whole["duration_ms"] = round((at - earlier.began_at) / timedelta(milliseconds=1))
    if "transcript" in changes:
        whole["transcript"] = "\n".join(part for part in (earlier.transcript, changes["transcript"]) if part)
    return whole


def _rows(facts: CallFacts, event: EventRecord, entry: entries.Entry, at: datetime) -> Sequence[FoldedRow]:
    """What an entry is besides an event: a turn, what a response used, a decision, what becomes of a recording."""
    match entry:
        case entries.UserSpoke():
            turn = TurnRecord(
                event.id, event.call_sid, event.seq, "user", entry.text, at,
                leg=event.leg, item_id=entry.item_id, start_ms=entry.start_ms, end_ms=entry.end_ms,
            )  # fmt: skip
            return (turn,)
        case entries.AssistantSpoke():
            turn = TurnRecord(
                event.id, event.call_sid, event.seq, "assistant", entry.text, at,
                leg=event.leg,
                item_id=entry.item_id,
                persona=entry.persona or facts.persona or None,
                generated=entry.generated if entry.generated != entry.text else None,
                start_ms=entry.start_ms,
                end_ms=None if entry.start_ms is None else entry.start_ms + entry.heard_ms,
                heard_ms=entry.heard_ms,
                total_ms=entry.total_ms,
                interrupted=entry.interrupted,
                latency_ms=entry.latency_ms,
            )  # fmt: skip
            return (turn,)
        case entries.ResponseMetered() | entries.CallSummarised() if entry.usage is not None:
            used = {f"{name}_tokens": getattr(entry.usage, name) for name in _MODALITIES}
            usage = UsageRecord(
                event.id, event.call_sid, entry.response_id, at,
                model=entry.model or None,
                cost_usd=entry.cost_usd or 0.0,
                price_book=entry.price_book or None,
                **used,
            )  # fmt: skip
            return (usage,)
        case entries.ConsentGiven() | entries.ConsentRefused():
            return (_consent(event, entry, at),)
        case _:
            recording = _recording(event, entry, at)
            return () if recording is None else (recording,)


def _consent(event: EventRecord, entry: entries.ConsentGiven | entries.ConsentRefused, at: datetime) -> ConsentRecord:
    refusal: Literal["denied", "withdrawn"] = "withdrawn" if entry.method == "spoken" else "denied"
    return ConsentRecord(
        event.id, event.call_sid, entry.kind,
        "granted" if isinstance(entry, entries.ConsentGiven) else refusal,
        entry.method, at, wording=entry.wording or None, language=entry.language or None,
        evidence={"key": entry.evidence} if entry.evidence else {},
    )  # fmt: skip


def _recording(event: EventRecord, entry: entries.Entry, at: datetime) -> RecordingRecord | None:
    """What an entry tells of a recording."""
    match entry:
        case entries.RecordingStarted():
            return RecordingRecord(
                entry.recording_id, event.call_sid, "recording", at, consent=entry.consent, path=entry.path
            )
        case entries.RecordingFinished():
            return recording_on_disk(event.call_sid, "stored", entry, at)
        case entries.RecordingFailed() if entry.size:
            return recording_on_disk(event.call_sid, "failed", entry, at)
        case entries.RecordingFailed() if entry.recording_id:
            return RecordingRecord(entry.recording_id, event.call_sid, "failed", at, path=entry.path)
        case entries.RecordingDiscarded() if entry.recording_id:
            return RecordingRecord(entry.recording_id, event.call_sid, "deleted", at, path=entry.path)
        case _:
            return None


_MODALITIES = ("input_text", "input_audio", "cached_text", "cached_audio", "output_text", "output_audio")
