"""Callers who are being put through to somebody else: what is kept of their calls until it is known how that went.

Rules
-----
1. A call whose stream ended with a transfer is kept, with its record, until the carrier tells the outcome; the newest
   `MOST_KEPT` of them.
   test_what_became_of_a_transfer_is_on_the_record
2. Where nobody answered, the caller comes back to the model, which is told what was said before; his call goes on where
   it was, on the same record, with the same consent, and with what it had cost by then.
   test_a_caller_whom_nobody_answered_comes_back_to_the_model
3. He comes back only while calls are taken, and not from a transfer outside business hours. Otherwise he hears a
   sentence.
   test_where_he_cannot_come_back_he_hears_a_sentence
4. Who was answered, or has hung up, does not come back, in whatever order and however often that is told.
   test_what_is_told_late_or_twice_brings_nobody_back
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import orjson

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.call.goodbye import TRANSFER
from voice_gateway.caller.consent import Consent
from voice_gateway.journal import CallRecord

Kept = TypeVar("Kept")

MOST_KEPT = 500


UNANSWERED: Final = frozenset({"busy", "no-answer", "failed"})
"""What the carrier tells of a colleague who did not take the call."""


@dataclass(slots=True)
class Away:
    """A call whose caller is being put through. may_return: to the model. admitted_at: monotonic seconds.

    reason: what the model gave for it. transcript, cost_usd, duration_ms: of the call until then. summary: once there
    is one.
    """

    record: CallRecord
    admitted_at: float
    transfer_number: str = field(repr=False)
    consent: Consent | None = None
    may_return: bool = True
    reason: str = ""
    transcript: str = field(default="", repr=False)
    summary: str = field(default="", repr=False)
    cost_usd: float = 0.0
    duration_ms: int = 0
    told: bool = False


@dataclass(frozen=True, slots=True)
class PutThrough:
    """How a caller is put through. caller_id, rings_s: as in `twiml.Ringing`. language: of the carrier's voice.

    whispers: what the colleague hears first, of a reason and a summary; None for nothing. unanswered: what a caller
    hears whom nobody answered and who cannot come back.
    """

    caller_id: str = ""
    rings_s: int = 30
    language: str = ""
    whispers: Callable[[str, str], str] | None = None
    unanswered: str = "I am sorry, nobody answers at the moment. Please call again later. Goodbye."


class Transfers:
    """Those who are away, by the CallSid."""

    def __init__(self) -> None:
        self._away: OrderedDict[str, Away] = OrderedDict()
        self._reasons: OrderedDict[str, str] = OrderedDict()
        self._ends: OrderedDict[str, entries.CallEnded] = OrderedDict()

    def note(self, facts: CallFacts, entry: entries.Entry) -> None:
        """Keep what may be told of a transfer: `journal.Listener`."""
        match entry:
            case entries.ToolAsked() if entry.name == TRANSFER:
                _keep(self._reasons, facts.call_sid, _reason_in(entry.arguments))
            case entries.CallEnded() if facts.channel != "api":
                _keep(self._ends, facts.call_sid, entry)
            case entries.CallSummarised() if facts.call_sid in self._away:
                self._away[facts.call_sid].summary = entry.summary

    def begin(self, away: Away) -> None:
        """The stream of a call has ended, and its caller goes on to somebody else."""
        call_sid = away.record.facts.call_sid
        away.reason = self._reasons.pop(call_sid, "")
        ended = self._ends.pop(call_sid, None)
        if ended is not None:
            away.transcript, away.cost_usd, away.duration_ms = ended.transcript, ended.cost_usd, ended.duration_ms
        _keep(self._away, call_sid, away)

    def forget(self, call_sid: str) -> None:
        """The call is over, and nobody was put through."""
        self._reasons.pop(call_sid, None)
        self._ends.pop(call_sid, None)

    def find(self, call_sid: str) -> Away | None:
        return self._away.get(call_sid)

    def finish(self, call_sid: str, outcome: str, duration_s: int) -> Away | None:
        """The carrier tells how it went, maybe more than once: it is on the record once. None for an unknown call."""
        away = self._away.get(call_sid)
        if away is not None and not away.told:
            away.told = True
            away.record.write(entries.TransferEnded(outcome, duration_s))
        if away is not None and outcome not in UNANSWERED:
            self.close(call_sid)
        return away

    def close(self, call_sid: str) -> None:
        """Nobody comes back, whatever is told of the call later: what was said is on the record and not kept here."""
        away = self._away.get(call_sid)
        if away is not None:
            away.may_return, away.transcript, away.summary = False, "", ""

    def take(self, call_sid: str) -> Away | None:
        """The caller comes back."""
        return self._away.pop(call_sid, None)


def _keep(kept: OrderedDict[str, Kept], call_sid: str, value: Kept) -> None:
    kept[call_sid] = value
    while len(kept) > MOST_KEPT:
        kept.popitem(last=False)


def _reason_in(arguments: str) -> str:
    """What the model gave, as one line; empty where its arguments cannot be read."""
    try:
        reason = orjson.loads(arguments).get("reason", "")
    except (ValueError, AttributeError):
        return ""
    return " ".join(reason.split())[:300] if isinstance(reason, str) else ""
