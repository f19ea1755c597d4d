"""One live call: carries every event of both legs into the bridge and every command out. Decides nothing about meaning.

Whatever arrives is handled in the very step of the event loop that read it, and what is to be done about it is done in
that step: no queue, no other task. The clock is a timer. Two tasks stand: the media stream's own, which waits for the
caller's end, and one that waits for what comes from inside the house. Beside them run the tools and, while the caller's
side reads too slowly, one that waits for it. All end with the call, and the call always ends as a whole: with either
leg's loss, a hang-up or a limit.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from voice_gateway.audio.g711 import SILENCE
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.clip import Clip
from voice_gateway.caller.farewells import Farewell
from voice_gateway.caller.media_stream import MediaStreamDialect, StreamRefused, StreamStarted
from voice_gateway.caller.socket import CallerSocket
from voice_gateway.journal import CallRecord
from voice_gateway.model.socket import ModelSocket
from voice_gateway.ops import logs
from voice_gateway.relay import Casting, Relay
from voice_gateway.summary import Summaries

_OF_THE_STREAM = (StreamStarted, StreamRefused)

LOOK_EVERY_S = 1.0
SEND_PATIENCE_S = 2.0
END_PATIENCE_S = 10.0
TOOLS_PATIENCE_S = 2.0


class Tools(Protocol):
    """The toolbox as a call sees it."""

    async def run(self, call: ev.CallFacts, name: str, arguments: str) -> tuple[str, bool]:
        """The output for the model (JSON text) and whether the tool worked. Never raises for a tool's own fault."""


def _keep_none(_call: ev.CallFacts, _clip: Clip) -> None:
    """Where no greetings are kept."""


class Core(Protocol):
    """The bridge, or one whose call is traced."""

    def handle(self, event: ev.Event, now: float) -> list[do.Command]: ...

    def deadline(self) -> float | None: ...


class Over(Exception):  # noqa: N818 - no error: the way out of a task group
    """The call has ended; leaves the task group and takes the other tasks along."""


@dataclass(frozen=True, slots=True)
class Service:
    """What every call of a process shares.

    observe: takes figures by name, in seconds. clock: monotonic seconds. keep_greeting: takes a greeting that may be
    played to later callers; must not wait. failed_sentence: for a caller whose call could not even begin.
    summaries: what has a call summed up once it is over, if anything. personas: the keys of those there are now.
    casting: what a handoff needs of them; None: nothing is handed over.
    """

    tools: Tools
    observe: Callable[[ev.CallFacts, str, float], None]
    clock: Callable[[], float]
    keep_greeting: Callable[[ev.CallFacts, Clip], None] = _keep_none
    failed_sentence: str = ""
    summaries: Summaries | None = None
    personas: Callable[[], Collection[str]] = tuple
    casting: Casting | None = None


class Outlet:
    """The way out to the caller. A message leaves at once, unless the far side does not read or others wait before it.

    So the bridge's order is kept however long the far side takes, and a message costs no task and no queue hop.
    waiting: messages that somebody has to `flush`.
    """

    def __init__(self, write: Callable[[str], bool], send: Callable[[str], Awaitable[None]]) -> None:
        """write: takes a message, or does not because the far side is behind. send: waits until it does."""
        self._write = write
        self._send = send
        self.waiting: deque[str] = deque()

    def put(self, message: str) -> None:
        if self.waiting or not self._write(message):
            self.waiting.append(message)

    async def flush(self) -> None:
        """Send what waits, and what comes while it does. For one at a time."""
        while self.waiting:
            await self._send(self.waiting[0])
            self.waiting.popleft()


class Session:
    def __init__(
        self,
        *,
        bridge: Core,
        caller: CallerSocket,
        dialect: MediaStreamDialect,
        model: asyncio.Task[ModelSocket],
        record: CallRecord,
        service: Service,
    ) -> None:
        """model: a session on its way, prepared when the webhook was answered."""
        self._bridge = bridge
        self._caller = caller
        self._dialect = dialect
        self.models = Relay(model, service.casting, take=self._take, ask=self._ask_first, leave=self._count_oddities)
        self._record = record
        self._tools = service.tools
        self._service = service
        self._clock = service.clock
        self._keep = service.keep_greeting
        self._to_caller = Outlet(caller.write, caller.send)
        self._group = asyncio.TaskGroup()
        self._flushing = False
        self._handled_since = 0.0
        self._uncleared_since: float | None = None
        self._written: list[entries.Entry] = []
        self._running: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = 0.0
        self._over = False
        self._fault: Exception | None = None
        self._joined_at = 0.0
        self._asked: deque[ev.Event] = deque()
        self._behind_since: dict[str, float] = {}
        self._task: asyncio.Task[Any] | None = None
        self._last_patience: asyncio.TimerHandle | None = None
        self._performers: dict[type, Callable[[Any], None]] = {
            do.PlayAudio: self._play_first,
            do.SendMark: self._mark,
            do.ClearPlayout: self._clear,
            do.AppendAudio: self._tell_model,
            do.CreateResponse: self._tell_model,
            do.CancelResponse: self._tell_model,
            do.TruncateItem: self._tell_model,
            do.DeleteItem: self._tell_model,
            do.SendToolOutput: self._tell_model,
            do.AddNote: self._tell_model,
            do.AddFirstWords: self._tell_model,
            do.AddLine: self._tell_model,
            do.AddToolCall: self._tell_model,
            do.PrepareHandoff: self._prepare_handoff,
            do.DropHandoff: lambda _: self.models.drop(),
            do.UpdateSession: lambda _: self.models.update(),
            do.SetLanguage: self._set_language,
            do.SwapModel: lambda _: self.models.swap(held=self._flushing),
            do.CheckTurn: self._tell_model,
            do.KeepGreeting: self._keep_greeting,
            do.RunTool: self._run_tool,
            do.WriteEntry: self._write_entry,
            do.Observe: self._note_figure,
            do.EndCall: self._end,
        }
        self._log = logs.get("session", call_sid=record.facts.call_sid, correlation_id=record.facts.correlation_id)
        self.farewell = Farewell()
        self.end_reason = ""

    # --- the call -----------------------------------------------------------------------------------------------

    async def run(self, stream_sid: str) -> None:
        """Carry the call from its media stream's start to its end. Whatever happens, its record is closed."""
        self._task = asyncio.current_task()
        try:
            async with self._group:
                self._group.create_task(self.models.meet())
                self._group.create_task(self._keep_watch())
                self._joined_at = self._clock()
                self._take(ev.CallerJoined(stream_sid))
                await self._hear_out()
        except* Over:
            pass
        except* Exception as faults:  # noqa: BLE001 - a fault of ours ends this call alone, politely and on record
            self._log.error("call.fault", exc_info=faults)
            self._observe("internal_fault", 1.0)
        finally:
            self._finish()
            await self._leave()
            if self._last_patience is not None:
                self._last_patience.cancel()

    def hang_up(self, reason: str) -> None:
        """End the call from outside, at once."""
        self._lose_patience_later()
        self.ask(ev.HangUpAsked(reason))

    def ask(self, event: ev.InnerEvent) -> None:
        """Tell the bridge something from outside, from the event loop's own thread."""
        self._asked.append(event)
        self._wake()

    def _ask_first(self, event: ev.InnerEvent) -> None:
        """The same, and before all else that waits."""
        self._asked.appendleft(event)
        self._wake()

    def _lose_patience_later(self) -> None:
        if self._last_patience is None:
            loop = asyncio.get_running_loop()
            self._last_patience = loop.call_later(END_PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        """The call should long be over, and something holds it: break off whatever that is."""
        self._log.error("call.does_not_end", waited_seconds=END_PATIENCE_S, reason=self.end_reason)
        self._observe("end_stuck", END_PATIENCE_S)
        self._caller.drop()
        if self._task is not None:
            self._task.cancel()

    async def _leave(self) -> None:
        """Close the caller leg; the carrier then asks what comes next. Tools still at work are given up."""
        self.models.end()
        self._caller.listen(None)
        for task in self._running:
            task.cancel()
        if self._running:
            _, stuck = await asyncio.wait(self._running, timeout=TOOLS_PATIENCE_S)
            if stuck:  # one that does not heed its cancellation must not hold the call
                self._log.error("call.tools_left", tools=len(stuck))
        await self._caller.close(1000, "the call is over")

    def _count_oddities(self, model: ModelSocket) -> None:
        self._observe("unknown_model_events", model.dialect.unknown.total())
        self._observe("malformed_model_events", model.dialect.malformed.total())

    def _finish(self) -> None:
        """Close the record of a call that was broken off, so that `CallEnded` is never missing."""
        try:
            commands = self._bridge.handle(ev.HangUpAsked("internal_error", failed=True), self._clock())
        except Exception:  # noqa: BLE001 - the last resort of a call: its record is closed whatever happens
            self._log.exception("call.fault_at_end")
            commands = [do.WriteEntry(entries.CallEnded("internal_error", "failed", 0))]
        for command in commands:
            if isinstance(command, do.WriteEntry):
                self._record.write(command.entry)
            elif isinstance(command, do.EndCall):
                self._note_end(command)

    # --- events in ----------------------------------------------------------------------------------------------

    def _take(self, event: ev.Event) -> None:
        """Act on what happened, unless the call is over."""
        self._carefully(self._act, event)

    def _carefully(self, handle: Callable[[Any], bool], what: Any) -> None:
        """A fault ends the call, and not the step of the event loop that brought us what has happened."""
        if self._over or self._fault is not None:
            return
        deadline = None
        try:
            if handle(what):
                deadline = self._bridge.deadline()
        except Exception as fault:  # noqa: BLE001 - raised again where it ends the call
            self._fault = fault
        if self._is_ending():
            self._wake()
        elif deadline is not None and deadline < self._wakes_at:
            self._set_timer(deadline)

    def _is_ending(self) -> bool:
        return self._over or self._fault is not None

    def _act(self, event: ev.Event) -> bool:
        """Do what the bridge says. What the caller and the model get goes before what is written down about it.

        Returns False when the bridge cannot want to be woken sooner than before: a frame that was just passed on.
        """
        self._handled_since = self._clock()
        commands = self._bridge.handle(event, self._handled_since)
        try:
            for command in commands:
                self._performers[type(command)](command)
        finally:
            for entry in self._written:
                self._record.write(entry)
                self._tell_log(entry)
            self._written.clear()
        if self._to_caller.waiting and not self._flushing:
            self._flushing = True
            self._group.create_task(self._flush())
        return len(commands) > 1 or type(event) is not ev.CallerAudio

    def _tell_log(self, entry: entries.Entry) -> None:
        match entry:
            case entries.FaultSeen():
                self._log.warning("call.trouble", where=entry.where, code=entry.code, detail=entry.message)
            case entries.HandedOff():
                self._log.info(
                    "call.handed_over",
                    persona=entry.to_persona,
                    before=entry.from_persona,
                    by=entry.by,
                    another_session=entry.another_session,
                    milliseconds=entry.waited_ms,
                )

    async def _flush(self) -> None:
        """The caller's side is behind: wait for it, and let the model wait meanwhile."""
        self._hold_model(held=True)
        try:
            await self._to_caller.flush()
        finally:
            self._flushing = False
            self._hold_model(held=False)
        if self._uncleared_since is not None:
            self._observe("barge_in_stop", self._clock() - self._uncleared_since)
            self._uncleared_since = None

    def _hold_model(self, *, held: bool) -> None:
        if self.models.in_use is not None:
            self.models.in_use.hold_back(held=held)

    def _hear(self, message: str | bytes) -> bool:
        """Take a message of the caller's. False once the call is over: then nobody does."""
        self._carefully(self._read_caller, message)
        return not self._is_ending()

    def _read_caller(self, message: str | bytes) -> bool:
        event = self._dialect.read(message)
        if event is not None and not isinstance(event, _OF_THE_STREAM):
            return self._act(event)
        return False

    async def _hear_out(self) -> None:
        """Listen until the caller is gone; on a server that lends no ear, read."""
        self._caller.listen(self._hear)
        while (message := await self._caller.read()) is not None:
            self._hear(message)
        self._take(ev.CallerLeft("stalled" if self._caller.stalled else "lost"))

    async def _keep_watch(self) -> None:
        """Tell the bridge what comes from tools and from outside, and leave when the call is over."""
        self._tick()
        try:
            while True:
                while self._asked:
                    self._take(self._asked.popleft())
                if self._fault is not None:
                    raise self._fault
                if self._over:
                    raise Over
                self._alarm = self._loop.create_future()
                await self._alarm
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def _wake(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    def _set_timer(self, at: float) -> None:
        """Tick at this time, and not at the one that was set before."""
        if self._timer is not None:
            self._timer.cancel()
        self._wakes_at = at
        self._timer = self._loop.call_later(max(0.0, at - self._clock()), self._tick)

    def _tick(self) -> None:
        """Wake the bridge if it asked for it, in this very step: a task's way there costs more than most wakings."""
        self._wakes_at = math.inf
        self._look_at_sends()
        self._carefully(self._wake_bridge, self._clock())
        soon = self._clock() + LOOK_EVERY_S
        if self._wakes_at > soon and not self._is_ending():
            self._set_timer(soon)

    def _wake_bridge(self, now: float) -> bool:
        deadline = self._bridge.deadline()
        if deadline is not None and deadline <= now:
            self._act(ev.Woke())
        return True

    def _look_at_sends(self) -> None:
        """Does a leg not take what we send? Told once for each time that it falls behind."""
        self._look_at_send("caller", behind=self._caller.blocked_since is not None)
        if self.models.in_use is not None:
            self._look_at_send("model", behind=self.models.in_use.unsent_bytes > 0)

    def _observe(self, figure: str, value: float) -> None:
        self._service.observe(self._record.facts, figure, value)

    def _look_at_send(self, leg: Literal["caller", "model"], *, behind: bool) -> None:
        if not behind:
            self._behind_since.pop(leg, None)
            return
        now = self._clock()
        waited_s = now - self._behind_since.setdefault(leg, now)
        if waited_s >= SEND_PATIENCE_S:
            self._behind_since[leg] = float("inf")
            self._take(ev.SendBlocked(leg, waited_s))

    # --- commands out -------------------------------------------------------------------------------------------

    def _play_first(self, command: do.PlayAudio) -> None:
        if command.ulaw.strip(SILENCE):  # and not the silence that measures the line
            self._observe("first_sound", self._clock() - self._joined_at)
            self._performers[do.PlayAudio] = self._play
        self._play(command)

    def _play(self, command: do.PlayAudio) -> None:
        self._to_caller.put(self._dialect.media(command.ulaw))

    def _mark(self, command: do.SendMark) -> None:
        self._to_caller.put(self._dialect.mark(command.name))

    def _clear(self, _command: do.ClearPlayout) -> None:
        self._to_caller.put(self._dialect.clear())
        if self._to_caller.waiting:
            self._uncleared_since = self._handled_since
        else:
            self._observe("barge_in_stop", self._clock() - self._handled_since)

    def _tell_model(self, command: do.ModelCommand) -> None:
        model = self.models.in_use
        if model is not None:
            model.send(model.dialect.write(command))

    def _prepare_handoff(self, command: do.PrepareHandoff) -> None:
        facts = self._record.facts
        self.models.prepare(replace(facts, language=command.language or facts.language), command.persona)

    def _set_language(self, command: do.SetLanguage) -> None:
        """Who leads is on the record only after all that leads to it."""
        self.models.speak(replace(self._record.facts, language=command.language, persona=command.persona))

    def _keep_greeting(self, command: do.KeepGreeting) -> None:
        self._keep(self._record.facts, Clip(command.ulaw, command.text))

    def _write_entry(self, command: do.WriteEntry) -> None:
        self._written.append(command.entry)

    def _note_figure(self, command: do.Observe) -> None:
        self._observe(command.figure, command.value)

    def _run_tool(self, command: do.RunTool) -> None:
        task = asyncio.ensure_future(self._use_tool(command))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _use_tool(self, command: do.RunTool) -> None:
        began = self._clock()
        facts = self._record.facts
        if command.digits:
            facts = replace(facts, digits=command.digits)
        output, worked = await self._tools.run(facts, command.name, command.arguments)
        self._log.info(
            "tool.finished", tool=command.name, ok=worked, milliseconds=round((self._clock() - began) * 1000)
        )
        finished = ev.ToolFinished(command.call_id, output, worked)
        if self._asked:  # what it told the call while it worked goes first
            self.ask(finished)
        else:
            self._take(finished)

    def _end(self, command: do.EndCall) -> None:
        self._note_end(command)
        self._over = True
        self._lose_patience_later()

    def _note_end(self, command: do.EndCall) -> None:
        self.end_reason = command.reason
        self.farewell = Farewell(command.say, command.transfer_number)
