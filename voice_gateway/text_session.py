"""A text session: a conversation in writing, with a model's session of its own that stays open between turns.

Rules
-----
1. One turn at a time; `MOST_WAITING` more may wait for theirs. A turn that takes longer than it may is broken off.
   test_turns_come_one_after_the_other
   test_a_turn_that_takes_too_long_is_broken_off_and_the_next_one_is_answered
2. Whatever the model does by tools is done for real, and once; then it goes on writing, `MOST_ROUNDS` times.
   test_tools_work_for_real_and_the_model_speaks_of_what_they_said
3. A model's session that was lost is opened anew and given the conversation so far, tools included; what was being
   written when it died is written again, once.
   test_a_lost_session_is_opened_anew_with_the_conversation
   test_what_was_being_written_when_the_session_died_is_written_again
4. Whoever leaves in the midst of an answer stops it: the response is cancelled, and what it used is billed.
   test_who_leaves_stops_the_answer
5. It is on the record like a call, on the channel `api`, from its first turn to its end.
   test_a_session_is_on_the_record_like_a_call
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeAlias

from voice_gateway.agent.cast import Role
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.costs import Meter
from voice_gateway.call.usage import Tariff
from voice_gateway.errors import GatewayError
from voice_gateway.journal import CallRecord, Journal
from voice_gateway.model.settings import ModelSettings
from voice_gateway.model.socket import ModelRefused, ModelSocket
from voice_gateway.ops import logs

MOST_WAITING: Final = 4
MOST_ROUNDS: Final = 10
MOST_ITEMS: Final = 200
MOST_CHARACTERS: Final = 100_000
"""So much of a conversation is given to a new session of the model's."""
WIND_DOWN_S: Final = 3.0

IN_WRITING: Final = (
    "\n\nThis conversation is in writing, not on the telephone: nobody hears you, and what you write is read."
)
INTERRUPTED: Final = (
    '{"error":"interrupted","message":"Nobody waited for the answer. It may have been done all the same: look before '
    'you do it again."}'
)

_WRONG_KEY: Final = "the model's server does not take the OPENAI_API_KEY of the gateway; put a valid one there"
_REPAIRS: Final = {
    "no_key": "set OPENAI_API_KEY on the gateway, the key of the model's server, and start it again",
    "invalid_api_key": _WRONG_KEY,
    "http_401": _WRONG_KEY,
}
"""What no waiting mends, by the code of a refusal."""


class TextError(GatewayError):
    """A turn that had no answer. The text says what to do.

    code: `busy`, `budget`, `ended`, `not_configured`, `model_unavailable`, `model_lost`, `reply_timeout`,
    `too_many_tools`, `sessions_full`.
    """

    def __init__(self, code: str, advice: str) -> None:
        super().__init__(advice)
        self.code = code


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer, as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """A tool has worked, or failed."""

    name: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Restarted:
    """The model was lost: what came of the answer since the last tool is void and begins anew."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer, the last piece of a turn."""

    text: str
    persona: str
    tools: tuple[ToolUsed, ...]


Piece: TypeAlias = Delta | ToolUsed | Restarted | Answer
Tell: TypeAlias = Callable[[Piece], None]


class Tools(Protocol):
    """The toolbox as a session sees it: `session.Tools`."""

    async def run(self, call: ev.CallFacts, name: str, arguments: str) -> tuple[str, bool]: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What all text sessions share.

    settings: a role's, for a session in writing. open_model: opens one; raises `ModelRefused`. tariff: of a model.
    clock: monotonic seconds. reply_s: the longest turn. limit_usd: what a session may cost, 0 for no limit.
    """

    journal: Journal
    tools: Tools
    settings: Callable[[Role], ModelSettings]
    open_model: Callable[[ModelSettings, ev.CallFacts], Awaitable[ModelSocket]]
    tariff: Callable[[str], Tariff | None]
    clock: Callable[[], float]
    reply_s: float = 60.0
    limit_usd: float = 0.0


class _LostError(Exception):
    """What was being written will not be finished. A session that is `gone` must be opened anew."""

    def __init__(self, code: str, *, gone: bool) -> None:
        super().__init__(code)
        self.gone = gone


@dataclass(slots=True)
class _Response:
    texts: dict[str, str] = field(default_factory=dict)
    calls: list[ev.ToolCalled] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(text for text in self.texts.values() if text)


class TextSession:
    """facts.from_number: the client, as `api:shop`; tools are not told it, for it is no number to call back.

    used_at: when the last turn began or ended.
    """

    def __init__(self, facts: ev.CallFacts, role: Role, means: Means) -> None:
        self._means = means
        self._role = role
        self._record: CallRecord = means.journal.open(facts)
        self._began_at = means.clock()
        self._meter = Meter(self._began_at, limit_usd=means.limit_usd)
        self._history: list[do.AddLine | do.AddToolCall | do.SendToolOutput] = []
        self._known = 0
        self._model: ModelSocket | None = None
        self._events: asyncio.Queue[ev.ModelEvent] = asyncio.Queue()
        self._open_response = False
        self._turn = asyncio.Lock()
        self._turns: set[asyncio.Task[None]] = set()
        self._winding: asyncio.Task[None] | None = None
        self._is_on_record = False
        self._lines: list[str] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.has_ended = False
        self.used_at = self._began_at
        self._log = logs.get("text_session", call_sid=facts.call_sid)

    @property
    def record_id(self) -> str:
        """Its name in the table `calls`."""
        return self._record.facts.call_sid

    @property
    def persona(self) -> str:
        return self._role.persona.key

    @property
    def busy(self) -> bool:
        return bool(self._turns)

    # --- turns ------------------------------------------------------------------------------------------------------

    async def converse(self, text: str) -> AsyncIterator[Piece]:
        """Say something, and have the answer piece by piece; `Answer` is the last. Raises `TextError`.

        Whoever stops iterating stops the answer.
        """
        if self.has_ended:
            raise TextError("ended", "this session is over; send the text again to begin a new one")
        if self._meter.is_over(self._means.clock()):
            raise TextError("budget", "this session has cost what it may; end it, or use another session_id")
        if len(self._turns) > MOST_WAITING:
            raise TextError("busy", "this session answers other texts first; wait for them, or use another session_id")
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        turn = asyncio.ensure_future(self._lead(text, pieces.put_nowait))
        self._turns.add(turn)
        turn.add_done_callback(lambda _: pieces.put_nowait(None))
        turn.add_done_callback(_look)
        turn.add_done_callback(self._turns.discard)
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            if turn.cancelled():
                raise TextError("ended", "this session was ended meanwhile; send the text again to begin a new one")
            turn.result()
        finally:
            if not turn.done():
                turn.cancel()
                await asyncio.wait({turn})

    async def change_role(self, role: Role) -> None:
        """Have another persona answer from the next turn on; it knows the conversation so far."""
        async with self._turn:
            await self._wound_down()
            if role.persona.key == self._role.persona.key:
                self._role = role
                return
            before, self._role = self._means.settings(self._role), self._hand_over(role)
            settings = self._means.settings(role)
            self._meter.tariff = self._means.tariff(settings.model)
            if self._model is None or not self._model.alive or settings.model != before.model:
                self._drop()
                return
            self._model.dialect.settings = settings
            self._model.send(self._model.dialect.configure())

    def _hand_over(self, role: Role) -> Role:
        """On record, once there is one."""
        former, key = self._role.persona.key, role.persona.key
        self._record.facts = replace(self._record.facts, persona=key)
        if self._is_on_record:
            self._lines.append(f"[Handed over from {former} to {key}]")
            self._record.write(entries.HandedOff(former, key, "api"))
        return role

    async def end(self, reason: str) -> None:
        """End it, whatever is under way."""
        if self.has_ended:
            return
        self.has_ended = True
        for turn in list(self._turns):
            turn.cancel()
        if self._turns:
            await asyncio.wait(self._turns, timeout=WIND_DOWN_S)
        await self._wound_down()
        self._drop()
        if self._closing:
            await asyncio.wait(self._closing)
        if self._is_on_record:
            duration_ms = round((self._means.clock() - self._began_at) * 1000)
            cost_usd = round(self._meter.total_usd(self._means.clock()), 6)
            transcript = "\n".join(self._lines)
            self._record.write(entries.CallEnded(reason, "completed", duration_ms, transcript, cost_usd=cost_usd))

    async def _lead(self, text: str, tell: Tell) -> None:
        async with self._turn:
            await self._wound_down()
            self.used_at = self._means.clock()
            self._begin_record()
            self._add(do.AddLine("caller", text))
            self._record.write(entries.UserSpoke(self._next_item("Caller", text), text, None, None))
            try:
                async with asyncio.timeout(self._means.reply_s):
                    answer = await self._answer(tell)
            except TimeoutError:
                self._break_off()
                advice = f"there was no whole answer within {self._means.reply_s:g} s; ask for less, or try again"
                raise TextError("reply_timeout", advice) from None
            except BaseException:
                self._break_off()
                raise
            finally:
                took_s, self.used_at = self._means.clock() - self.used_at, self._means.clock()
            told = {"persona": self.persona, "tools": len(answer.tools), "milliseconds": round(took_s * 1000)}
            self._log.info("text_session.answered", **told)
            tell(answer)

    async def _answer(self, tell: Tell) -> Answer:
        used: list[ToolUsed] = []
        texts: list[str] = []
        for _ in range(MOST_ROUNDS):
            response = await self._respond(tell)
            texts += [response.text] if response.text else []
            if not response.calls:
                return Answer("\n".join(texts), self.persona, tuple(used))
            used += await asyncio.gather(*(self._use(call, tell) for call in response.calls))
        raise TextError(
            "too_many_tools", f"the model asked for tools {MOST_ROUNDS} times and had no answer; ask for less"
        )

    async def _use(self, call: ev.ToolCalled, tell: Tell) -> ToolUsed:
        began = self._means.clock()
        output, worked = INTERRUPTED, False
        self._record.write(entries.ToolAsked(call.call_id, call.name, call.arguments))
        try:
            facts = replace(self._record.facts, from_number="")
            output, worked = await self._means.tools.run(facts, call.name, call.arguments)
        finally:
            self._add(do.SendToolOutput(call.call_id, output))
            took_ms = round((self._means.clock() - began) * 1000)
            self._record.write(entries.ToolAnswered(call.call_id, call.name, output, worked, took_ms))
        self._log.info("tool.finished", tool=call.name, ok=worked, milliseconds=took_ms)
        used = ToolUsed(call.name, worked)
        tell(used)
        return used

    # --- the model's session ----------------------------------------------------------------------------------------

    async def _respond(self, tell: Tell) -> _Response:
        """Have it write once; a second time where it was lost or failed."""
        for last in (False, True):
            model = await self._connected()
            self._catch_up(model)
            model.send(model.dialect.write(do.CreateResponse()))
            self._open_response = True
            try:
                return await self._read(tell)
            except _LostError as lost:
                self._record.write(entries.FaultSeen("model", str(lost), "an answer was broken off"))
                self._log.warning("text_session.model_lost", reason=str(lost))
                if lost.gone:
                    self._drop()
                if not last:
                    tell(Restarted())
        raise TextError("model_lost", "the model broke off twice; try again")

    async def _connected(self) -> ModelSocket:
        if self._model is not None and self._model.alive:
            return self._model
        self._drop()
        settings = self._means.settings(self._role)
        try:
            model = await self._means.open_model(settings, self._record.facts)
        except ModelRefused as refused:
            self._record.write(entries.FaultSeen("model", refused.code, refused.message))
            advice = _REPAIRS.get(refused.code, f"the model cannot be had ({refused.code}); try again later")
            raise TextError("not_configured" if refused.code == "no_key" else "model_unavailable", advice) from None
        self._model, self._events = model, asyncio.Queue()
        self._meter.model, self._meter.tariff = model.ready.model, self._means.tariff(settings.model)
        model.listen(self._events.put_nowait)
        self._record.write(entries.ModelJoined(model.ready.session_id, model.ready.model, 0))
        return model

    def _catch_up(self, model: ModelSocket) -> None:
        """Tell it what of the conversation it does not know."""
        for command in self._history[self._known :]:
            model.send(model.dialect.write(command))
        self._known = len(self._history)

    async def _read(self, tell: Tell) -> _Response:
        response = _Response()
        while True:
            event = await self._events.get()
            match event:
                case ev.TextReceived():
                    response.texts[event.item_id] = response.texts.get(event.item_id, "") + event.text
                    tell(Delta(event.text))
                case ev.TextFinished():
                    response.texts[event.item_id] = event.text
                case ev.ToolCalled():
                    response.calls.append(event)
                case ev.ResponseFinished():
                    self._finish(event)
                    if event.status == "failed":
                        raise _LostError(event.reason or "response_failed", gone=False)
                    self._keep(response)
                    return response
                case ev.ModelLost():
                    self._open_response = False
                    raise _LostError(event.code, gone=True)
                case ev.ModelErred():
                    self._record.write(entries.FaultSeen("model", event.code, event.message))
                    if (event.event_id or "").startswith("response.create:"):
                        self._open_response = False
                        raise _LostError(event.code, gone=True)

    def _finish(self, event: ev.ResponseFinished) -> None:
        self._open_response = False
        self._record.write(self._meter.book(event, 0.0, self._means.clock()))

    def _keep(self, response: _Response) -> None:
        """What the model wrote and asked for, which it knows."""
        if response.text:
            self._add(do.AddLine("assistant", response.text))
            item_id = self._next_item("Assistant", response.text)
            self._record.write(entries.AssistantSpoke(item_id, response.text, response.text, 0, 0, interrupted=False))
        for call in response.calls:
            self._add(do.AddToolCall(call.call_id, call.name, call.arguments))
        self._known = len(self._history)

    # --- breaking off -----------------------------------------------------------------------------------------------

    def _break_off(self) -> None:
        """Nobody waits for this answer any more."""
        answered = {each.call_id for each in self._history if isinstance(each, do.SendToolOutput)}
        asked = [each.call_id for each in self._history if isinstance(each, do.AddToolCall)]
        for call_id in asked:
            if call_id not in answered:
                self._add(do.SendToolOutput(call_id, INTERRUPTED))
        if self._open_response and self._model is not None:
            self._winding = asyncio.ensure_future(self._wind_down(self._model))

    async def _wind_down(self, model: ModelSocket) -> None:
        """Stop the response that is under way, and wait for what it has used."""
        active = model.dialect.active
        if active is not None:
            model.send(model.dialect.write(do.CancelResponse(active)))
        with suppress(TimeoutError):
            async with asyncio.timeout(WIND_DOWN_S):
                while self._open_response:
                    match await self._events.get():
                        case ev.ResponseStarted(response_id=response_id) if response_id != active:
                            model.send(model.dialect.write(do.CancelResponse(response_id)))
                        case ev.ResponseFinished() as finished:
                            self._finish(finished)
                        case ev.ModelLost():
                            break
        if self._open_response:
            self._drop()

    async def _wound_down(self) -> None:
        if self._winding is not None:
            await asyncio.wait({self._winding})
            self._winding = None

    def _drop(self) -> None:
        """Let go of the model's session; the next one is told the whole conversation."""
        self._open_response, self._known = False, 0
        if self._model is not None:
            self._model.listen(None)
            closing = asyncio.ensure_future(self._model.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._model = None

    # --- the conversation -------------------------------------------------------------------------------------------

    def _begin_record(self) -> None:
        if self._is_on_record:
            return
        self._is_on_record = True
        facts = self._record.facts
        self._record.write(entries.CallStarted(facts.from_number, "", facts.direction, facts.persona))

    def _next_item(self, speaker: str, text: str) -> str:
        self._lines.append(f"{speaker}: {text}")
        return f"text_{len(self._lines)}"

    def _add(self, item: do.AddLine | do.AddToolCall | do.SendToolOutput) -> None:
        """Keep it for the model's next session, and let go of what is too old for that."""
        self._history.append(item)
        while len(self._history) > MOST_ITEMS or sum(map(_length, self._history)) > MOST_CHARACTERS:
            turns = [at for at, each in enumerate(self._history) if isinstance(each, do.AddLine) and _is_theirs(each)]
            cut = next((at for at in turns if at), None)
            if cut is None:
                return
            del self._history[:cut]
            self._known = max(0, self._known - cut)


def _is_theirs(line: do.AddLine) -> bool:
    return line.speaker == "caller"


def _look(turn: asyncio.Task[None]) -> None:
    """Nobody may be waiting any more for what is told here; asyncio would complain of that."""
    if not turn.cancelled():
        turn.exception()


def _length(item: do.AddLine | do.AddToolCall | do.SendToolOutput) -> int:
    match item:
        case do.AddLine():
            return len(item.text)
        case do.AddToolCall():
            return len(item.arguments)
        case do.SendToolOutput():
            return len(item.output)
