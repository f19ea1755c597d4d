"""The switchboard: which calls are live, whether another may come in, and where each one's model waits.

The life of a call here
-----------------------
admitted   The carrier's webhook was answered. From now on the call counts, its record is open and its model session is
           being prepared, so that the caller does not wait for it.
live       Its media stream came, with the right token: exactly one session owns it. A model session that died while it
           was parked is opened anew.
released   It is over and written down. Its farewell is kept for a while, because the carrier asks what to do next. Its
           model session is asked what the call was about, and closed.

A call that is admitted and never gets a media stream is released after `stream_patience_s`. While draining, no call is
admitted and live calls go on until the deadline; summaries are waited for until then, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts, GoodbyeAsked, HandoffAsked, InnerEvent
from voice_gateway.caller.consent import Consent
from voice_gateway.caller.farewells import Farewell, Farewells
from voice_gateway.caller.media_stream import MediaStreamDialect
from voice_gateway.caller.socket import CallerSocket
from voice_gateway.errors import GatewayError, there_are
from voice_gateway.journal import CallRecord, Journal
from voice_gateway.model.socket import ModelSocket
from voice_gateway.ops import logs
from voice_gateway.relay import put_away
from voice_gateway.session import Core, Service, Session
from voice_gateway.transfers import Away, Transfers

NO_FAREWELL = Farewell()


class Refusal(Enum):
    """Why a call or a media stream was not taken. The value is the reason that is counted."""

    FULL = "full"
    DRAINING = "draining"
    ENDED = "replayed"
    UNKNOWN = "unknown_call"
    CALLER_BUDGET = "caller_budget"
    DAY_BUDGET = "day_budget"
    SECOND_STREAM = "second_stream"


class UnknownPersonaError(GatewayError):
    """A call was to be handed to somebody who is not there. The text names those who are."""


@dataclass(slots=True)
class LiveCall:
    """A call between its admission and its release. consent: to its recording, where calls are recorded.

    earlier: what was of it before its caller was put through and came back.
    """

    admitted_at: float
    record: CallRecord
    model: asyncio.Task[ModelSocket]
    session: Session | None = None
    expiry: asyncio.TimerHandle | None = field(default=None, repr=False)
    consent: Consent | None = None
    earlier: Away | None = None

    @property
    def facts(self) -> CallFacts:
        """As of now: a handoff changes who answers."""
        return self.record.facts

    @property
    def persona(self) -> str:
        """The key of who leads the call now."""
        return self.record.facts.persona


class Switchboard:
    def __init__(
        self,
        *,
        journal: Journal,
        prepare_model: Callable[[CallFacts], Awaitable[ModelSocket]],
        new_bridge: Callable[[LiveCall], Core],
        service: Service,
        max_calls: int,
        stream_patience_s: float = 30.0,
        exceeded: Callable[[str], str | None] = lambda _number: None,
        farewells: Farewells | None = None,
    ) -> None:
        """prepare_model: opens and configures a model session; may fail with `ModelRefused`.

        new_bridge: the core of a call. service: what all calls share.
        exceeded: the limit that stands against a caller's number now, as a Refusal's value; None to let him in.
        farewells: see to it that calls which ended here do end.
        """
        self._journal = journal
        self._prepare_model = prepare_model
        self._new_bridge = new_bridge
        self._service = service
        self._clock = service.clock
        self._max_calls = max_calls
        self._stream_patience = stream_patience_s
        self._exceeded = exceeded
        self._calls: dict[str, LiveCall] = {}
        self._farewells = Farewells() if farewells is None else farewells
        self.transfers = Transfers()
        self._summaries = service.summaries
        self._all_released = asyncio.Event()
        self._all_released.set()
        self._closing: set[asyncio.Task[None]] = set()
        self.draining = False
        self._log = logs.get("switchboard")

    @property
    def live(self) -> int:
        """Calls admitted and not yet released."""
        return len(self._calls)

    @property
    def closing(self) -> int:
        """Model sessions that are being closed, those of released calls after their summary."""
        return len(self._closing)

    @property
    def is_full(self) -> bool:
        return self.live >= self._max_calls

    @property
    def is_available(self) -> bool:
        """True while a new call would be taken."""
        return not self.draining and not self.is_full

    @property
    def calls(self) -> tuple[LiveCall, ...]:
        """In the order in which they came."""
        return tuple(self._calls.values())

    def find(self, call_sid: str) -> LiveCall | None:
        return self._calls.get(call_sid)

    # --- admission ----------------------------------------------------------------------------------------------

    def admit(self, facts: CallFacts) -> LiveCall | Refusal:
        """Take a call in. Idempotent: the carrier may post the same CallSid twice and gets the same call."""
        known = self._calls.get(facts.call_sid)
        if known is not None:
            return known
        if facts.call_sid in self._farewells:
            return Refusal.ENDED
        if self.draining:
            return Refusal.DRAINING
        if self.is_full:
            return Refusal.FULL
        limit = self._exceeded(facts.from_number)
        if limit is not None:
            return Refusal(limit)
        record = self._journal.open(facts)
        record.write(entries.CallStarted(facts.from_number, facts.to_number, facts.direction, facts.persona))
        return self._open(LiveCall(self._clock(), record, asyncio.ensure_future(self._prepare(facts))))

    def _open(self, call: LiveCall) -> LiveCall:
        call_sid = call.facts.call_sid
        call.expiry = asyncio.get_running_loop().call_later(self._stream_patience, self.give_up, call_sid)
        self._calls[call_sid] = call
        self._all_released.clear()
        return call

    def take_back(self, call_sid: str, outcome: str) -> LiveCall | Refusal:
        """Go on with a call whose caller was put through in vain. Idempotent, as `admit` is."""
        known = self._calls.get(call_sid)
        if known is not None:
            return known
        away = self.transfers.find(call_sid)
        if away is None or not away.may_return:
            return Refusal.UNKNOWN
        facts = away.record.facts
        limit = self._exceeded(facts.from_number)
        if self.draining or self.is_full or limit is not None:
            return Refusal.DRAINING if self.draining else Refusal.FULL if limit is None else Refusal(limit)
        self.transfers.take(call_sid)
        self._farewells.forget(call_sid)
        away.record.write(entries.CallResumed(outcome, away.cost_usd))
        model = asyncio.ensure_future(self._prepare(facts))
        return self._open(LiveCall(away.admitted_at, away.record, model, consent=away.consent, earlier=away))

    def turn_away(self, facts: CallFacts, reason: str, farewell: Farewell) -> None:
        """Put on record a call that nobody takes, such as outside business hours. Idempotent, as `admit` is."""
        if facts.call_sid in self._farewells:
            return
        record = self._journal.open(facts)
        record.write(entries.CallStarted(facts.from_number, facts.to_number, facts.direction, facts.persona))
        record.write(entries.CallEnded(reason, "completed", 0))
        self._farewells.keep(facts.call_sid, farewell, over=True)
        if farewell.transfer_number:
            self.transfers.begin(Away(record, self._clock(), farewell.transfer_number, may_return=False))

    async def _prepare(self, facts: CallFacts) -> ModelSocket:
        return await self._prepare_model(facts)

    def claim(self, call_sid: str) -> LiveCall | Refusal:
        """Give an admitted call to the media stream that came for it; a second stream is refused."""
        call = self._calls.get(call_sid)
        if call is None:
            return Refusal.UNKNOWN
        if call.expiry is None:
            return Refusal.SECOND_STREAM
        call.expiry.cancel()
        call.expiry = None
        if _has_died(call.model):
            self._log.warning("call.parked_model_lost", call_sid=call_sid)
            self._put_away(call.model)
            call.model = asyncio.ensure_future(self._prepare(call.facts))
        return call

    async def carry(self, call: LiveCall, caller: CallerSocket, dialect: MediaStreamDialect, stream_sid: str) -> None:
        """Lead a claimed call over its media stream to its end, and release it."""
        try:
            bridge = self._new_bridge(call)
        except Exception:  # noqa: BLE001 - told in the log, on record and to the caller
            self._log.exception("call.fault", call_sid=call.facts.call_sid)
            await self._fail(call, caller)
            return
        call.session = Session(
            bridge=bridge,
            caller=caller,
            dialect=dialect,
            model=call.model,
            record=call.record,
            service=self._service,
        )
        try:
            await call.session.run(stream_sid)
        finally:
            call.model = call.session.models.task
            self.release(call.facts.call_sid, call.session.farewell, over=_is_over(call.session.end_reason))

    async def _fail(self, call: LiveCall, caller: CallerSocket) -> None:
        """A fault of ours before the call could begin: it ends, on record and in words, and holds no place."""
        self._service.observe(call.facts, "internal_fault", 1.0)
        duration_ms = round((self._clock() - call.admitted_at) * 1000)
        call.record.write(entries.CallEnded("internal_error", "failed", duration_ms))
        self.release(call.facts.call_sid, Farewell(self._service.failed_sentence), over=False)
        await caller.close(1011, "a fault of ours")

    # --- release ------------------------------------------------------------------------------------------------

    def release(self, call_sid: str, farewell: Farewell = NO_FAREWELL, *, over: bool = True) -> None:
        """The call is over here. farewell: what the carrier is to do when it asks. over: it told us so itself."""
        call = self._calls.pop(call_sid, None)
        if call is None:
            return
        if call.expiry is not None:
            call.expiry.cancel()
        self._farewells.keep(call_sid, farewell, over=over)
        if farewell.transfer_number and not over:
            self.transfers.begin(Away(call.record, call.admitted_at, farewell.transfer_number, call.consent))
        else:
            self.transfers.forget(call_sid)
        self._put_away(call.model, call.record)
        if not self._calls:
            self._all_released.set()

    def _put_away(self, model: asyncio.Task[ModelSocket], record: CallRecord | None = None) -> None:
        """Close a model session, and before, where a record is given, have its call summed up. Nobody waits for it."""
        closing = asyncio.ensure_future(self._close_model(model, record))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close_model(self, model: asyncio.Task[ModelSocket], record: CallRecord | None) -> None:
        try:
            if record is not None and self._summaries is not None:
                await self._summaries.sum_up(record, model)
        except Exception:  # noqa: BLE001 - the call is over and on record; a fault here costs its summary alone
            self._log.exception("call.not_summarised")
        finally:
            await put_away(model)

    def farewell(self, call_sid: str) -> Farewell:
        """What to do with a caller whose media stream has ended: the carrier asks."""
        return self._farewells.ask(call_sid)

    def end(self, call_sid: str, reason: str) -> None:
        """End a call from outside: the carrier reported its end, or an operator wants it. Unknown calls are ignored."""
        if _is_over(reason):
            self._farewells.confirm(call_sid)
            self.transfers.close(call_sid)
        call = self._calls.get(call_sid)
        if call is None:
            return
        if call.session is not None:
            call.session.hang_up(reason)
        elif call.expiry is not None:
            self._close_unstreamed(call, reason, "canceled")

    def say_goodbye(self, call_sid: str, asked: GoodbyeAsked) -> bool:
        """End a live call politely: its last word is heard first. Returns False when there is no such call."""
        return self.tell(call_sid, asked)

    def tell(self, call_sid: str, event: InnerEvent) -> bool:
        """Tell a call something from inside the house. Returns False when no such call has its media stream."""
        call = self._calls.get(call_sid)
        if call is None or call.session is None:
            return False
        call.session.ask(event)
        return True

    def hand_over(self, call_sid: str, persona: str, by: str, *, reason: str = "", cut: bool = False) -> bool:
        """Have another persona lead a live call, from the next quiet moment on; `LiveCall.persona` tells who does.

        by: who wants it: `api`, `tool`, `keypad`. cut: what we are saying is broken off for it. Returns False when no
        such call has its media stream. Raises `UnknownPersonaError`.
        """
        known = self._service.personas()
        if persona not in known:
            raise UnknownPersonaError(f"there is no persona {persona[:64]!r}; {there_are(sorted(known), persona)}")
        return self.tell(call_sid, HandoffAsked(persona, by, reason, cut))

    def give_up(self, call_sid: str) -> bool:
        """Close a call that was admitted and has no media stream. Returns False when there is no such call."""
        call = self._calls.get(call_sid)
        if call is None or call.expiry is None:
            return False
        self._log.warning("call.stream_missing", call_sid=call_sid, waited_seconds=self._clock() - call.admitted_at)
        self._close_unstreamed(call, "no_media_stream", "failed")
        return True

    def _close_unstreamed(self, call: LiveCall, reason: str, status: str) -> None:
        duration_ms = round((self._clock() - call.admitted_at) * 1000)
        call.record.write(entries.CallEnded(reason, status, duration_ms))
        self.release(call.facts.call_sid)

    # --- drain --------------------------------------------------------------------------------------------------

    def start_drain(self) -> None:
        """Admit no more calls; live ones go on."""
        self.draining = True

    async def drained(self, deadline_s: float) -> bool:
        """Wait until no call is live. At the deadline the rest is ended. Returns True when none had to be."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                await self._all_released.wait()
        except TimeoutError:
            for call_sid in list(self._calls):
                self.end(call_sid, "draining")
            await self._settle(0.0)
            return False
        await self._settle(max(0.0, ends_at - loop.time()))
        return True

    async def _settle(self, summaries_s: float) -> None:
        """Let what is left come to its end. summaries_s: how long calls may still be summed up by their models."""
        try:
            async with asyncio.timeout(5.0):
                await self._all_released.wait()
        except TimeoutError:
            self._log.error("switchboard.calls_left", calls=self.live)
        if self._closing and summaries_s:
            await asyncio.wait(self._closing, timeout=summaries_s)
        if self._summaries is not None:
            self._summaries.hurry()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)


def _is_over(end_reason: str) -> bool:
    """Does the carrier know of this end, because it told us?"""
    return end_reason == "hangup" or end_reason.startswith("carrier_")


def _has_died(model: asyncio.Task[ModelSocket]) -> bool:
    """Was this session ready, and is its connection gone since? It had not heard or said anything yet."""
    return model.done() and not model.cancelled() and model.exception() is None and not model.result().alive
