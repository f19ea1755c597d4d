"""One live call: carries every event of both legs into the bridge and every command out. Decides nothing about meaning.

Three standing tasks: the caller leg (the media stream's own), the model leg, and the clock. Tools run beside them. All
end with the call, and the call always ends as a whole: with either leg's loss, a hang-up or a limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.greeting import Clip
from voice_gateway.caller.media_stream import MediaStreamDialect, StreamRefused, StreamStarted
from voice_gateway.caller.socket import CallerSocket
from voice_gateway.journal import CallRecord
from voice_gateway.model.socket import ModelRefused, ModelSocket
from voice_gateway.ops import logs

_OF_THE_STREAM = (StreamStarted, StreamRefused)
_SOUND = '{"event":"media"'


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
    played to later callers; must not wait.
    """

    tools: Tools
    observe: Callable[[str, float], None]
    clock: Callable[[], float]
    keep_greeting: Callable[[ev.CallFacts, Clip], None] = _keep_none


class Outlet:
    """The way out to the caller: first all messages of an answer are put in, then whoever finds it idle sends.

    So the bridge's order is kept however long the far side takes, and a message costs no task and no queue hop.
    """

    def __init__(self, write: Callable[[str], Awaitable[None]]) -> None:
        self._write = write
        self._busy = False
        self.waiting: deque[str] = deque()

    async def flush(self) -> None:
        """Send what waits, unless somebody is already at it."""
        if self._busy:
            return
        self._busy = True
        try:
            while self.waiting:
                await self._write(self.waiting.popleft())
        finally:
            self._busy = False


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
        self._model_task = model
        self._model: ModelSocket | None = None
        self._record = record
        self._tools = service.tools
        self._observe = service.observe
        self._clock = service.clock
        self._keep = service.keep_greeting
        self._to_caller = Outlet(caller.send)
        self._running: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.Future[None] | None = None
        self._wakes_at = 0.0
        self._over = False
        self._fault: Exception | None = None
        self._clear_asked_at: float | None = None
        self._asked: deque[ev.Event] = deque()
        self._performers: dict[type, Callable[[Any], None]] = {
            do.PlayAudio: self._play,
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
            do.KeepGreeting: self._keep_greeting,
            do.RunTool: self._run_tool,
            do.WriteEntry: self._write_entry,
            do.Observe: self._note_figure,
            do.EndCall: self._end,
        }
        self._log = logs.get("session", call_sid=record.facts.call_sid, correlation_id=record.facts.correlation_id)
        self.farewell = ""
        self.end_reason = ""

    # --- the call -----------------------------------------------------------------------------------------------

    async def run(self, stream_sid: str) -> None:
        """Carry the call from its media stream's start to its end. Whatever happens, its record is closed."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry_model())
                group.create_task(self._keep_time())
                await self._tell(ev.CallerJoined(stream_sid))
                await self._carry_caller()
        except* Over:
            pass
        except* Exception as faults:  # noqa: BLE001 - a fault of ours ends this call alone, politely and on record
            self._log.error("call.fault", exc_info=faults)
            self._observe("internal_fault", 1.0)
        finally:
            self._finish()
            await self._leave()

    def hang_up(self, reason: str) -> None:
        """End the call from outside, from the event loop's own thread."""
        self._asked.append(ev.HangUpAsked(reason))
        self._wake()

    async def _leave(self) -> None:
        """Close the caller leg; the carrier then asks what comes next. Tools still at work are given up."""
        if self._model is not None:
            self._observe("unknown_model_events", self._model.dialect.unknown.total())
            self._observe("malformed_model_events", self._model.dialect.malformed.total())
        self._caller.listen(None)
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.gather(*self._running, return_exceptions=True)
        await self._caller.close(1000, "the call is over")

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
                self.end_reason, self.farewell = command.reason, command.say

    # --- events in ----------------------------------------------------------------------------------------------

    async def _tell(self, event: ev.Event) -> None:
        self._act(event)
        await self._send_out()
        self._watch_deadline()

    def _act(self, event: ev.Event) -> None:
        for command in self._bridge.handle(event, self._clock()):
            self._performers[type(command)](command)

    def _watch_deadline(self) -> None:
        deadline = self._bridge.deadline()
        if deadline is not None and deadline < self._wakes_at:
            self._wake()

    async def _send_out(self) -> None:
        if self._to_caller.waiting:
            await self._to_caller.flush()
            if self._clear_asked_at is not None:
                self._observe("barge_in_stop", self._clock() - self._clear_asked_at)
                self._clear_asked_at = None
        if self._over:
            raise Over

    def _hear(self, message: str) -> bool:
        """Take the caller's sound right where it arrives: no task wakes for it. All else comes by `read`, in its turn.

        Sound is for the model. Should more come of it, the task that keeps the time takes that on.
        """
        if not message.startswith(_SOUND):
            return False
        try:
            event = self._dialect.read(message)
            if event is not None and not isinstance(event, _OF_THE_STREAM):
                self._act(event)
            self._watch_deadline()
        except Exception as fault:  # noqa: BLE001 - raised again where it ends the call and not the event loop's step
            self._fault = fault
        if self._fault is not None or self._over or self._to_caller.waiting:
            self._wake()
        return True

    async def _carry_caller(self) -> None:
        self._caller.listen(self._hear)
        while True:
            message = await self._caller.read()
            if message is None:
                await self._tell(ev.CallerLeft("stalled" if self._caller.stalled else "lost"))
                return
            event = self._dialect.read(message)
            if event is not None and not isinstance(event, _OF_THE_STREAM):
                await self._tell(event)

    async def _carry_model(self) -> None:
        try:
            model = await self._model_task
        except ModelRefused as refused:
            await self._tell(ev.ModelUnavailable(refused.code, refused.message))
            return
        self._model = model
        await self._tell(model.ready)
        async with aclosing(model.events()) as events:
            async for event in events:
                await self._tell(event)

    async def _keep_time(self) -> None:
        """Wake the bridge when it asked for it, and tell it what comes from tools and from outside."""
        while True:
            await self._sleep()
            if self._fault is not None:
                raise self._fault
            await self._send_out()
            while self._asked:
                await self._tell(self._asked.popleft())
            deadline = self._bridge.deadline()
            if deadline is not None and deadline <= self._clock():
                await self._tell(ev.Woke())

    async def _sleep(self) -> None:
        """Until the bridge's deadline, a second at most, or until woken; not at all when something was asked since."""
        if self._asked or self._fault is not None:
            return
        now = self._clock()
        deadline = self._bridge.deadline()
        self._wakes_at = now + 1.0 if deadline is None else min(now + 1.0, deadline)
        loop = asyncio.get_running_loop()
        self._alarm = loop.create_future()
        timer = loop.call_later(max(0.0, self._wakes_at - now), self._wake)
        try:
            await self._alarm
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    # --- commands out -------------------------------------------------------------------------------------------

    def _play(self, command: do.PlayAudio) -> None:
        self._to_caller.waiting.append(self._dialect.media(command.ulaw))

    def _mark(self, command: do.SendMark) -> None:
        self._to_caller.waiting.append(self._dialect.mark(command.name))

    def _clear(self, _command: do.ClearPlayout) -> None:
        self._clear_asked_at = self._clock()
        self._to_caller.waiting.append(self._dialect.clear())

    def _tell_model(self, command: do.ModelCommand) -> None:
        if self._model is not None:
            self._model.send(self._model.dialect.write(command))

    def _keep_greeting(self, command: do.KeepGreeting) -> None:
        self._keep(self._record.facts, Clip(command.ulaw, command.text))

    def _write_entry(self, command: do.WriteEntry) -> None:
        self._record.write(command.entry)

    def _note_figure(self, command: do.Observe) -> None:
        self._observe(command.figure, command.value)

    def _run_tool(self, command: do.RunTool) -> None:
        task = asyncio.ensure_future(self._use_tool(command))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _use_tool(self, command: do.RunTool) -> None:
        began = self._clock()
        output, worked = await self._tools.run(self._record.facts, command.name, command.arguments)
        self._log.info(
            "tool.finished", tool=command.name, ok=worked, milliseconds=round((self._clock() - began) * 1000)
        )
        self._asked.append(ev.ToolFinished(command.call_id, output, worked))
        self._wake()

    def _end(self, command: do.EndCall) -> None:
        self.end_reason, self.farewell = command.reason, command.say
        self._over = True
