"""A session carries; what it is told from outside is never left lying."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.caller.media_stream import MediaStreamDialect
from voice_gateway.caller.socket import LISTEN_EXTENSION, WRITE_EXTENSION, CallerSocket
from voice_gateway.journal import Journal
from voice_gateway.model.settings import ModelSettings
from voice_gateway.model.socket import ModelSocket
from voice_gateway.session import Service, Session
from voice_gateway.store.records import CallPatch, EventRecord

START = {
    "event": "start",
    "streamSid": "MZ1",
    "start": {
        "streamSid": "MZ1",
        "callSid": "CA1",
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    },
}


class Shelf:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[EventRecord] = []

    def write(self, event: EventRecord, patch: CallPatch | None = None, rows: object = ()) -> None:  # noqa: ARG002 - the Protocol's shape
        self.events.append(event)


class NoTools:
    async def run(self, call: ev.CallFacts, name: str, arguments: str) -> tuple[str, bool]:  # noqa: ARG002 - the Protocol's shape
        return "{}", True


async def test_a_hang_up_before_the_clock_runs_ends_the_call_at_once() -> None:
    loop = asyncio.get_running_loop()
    sent: list[dict[str, Any]] = []
    silence: asyncio.Future[Any] = loop.create_future()

    async def receive() -> Any:
        return await silence

    async def send(message: Any) -> None:
        sent.append(message)

    dialect = MediaStreamDialect()
    dialect.read(orjson.dumps(START).decode())
    model: asyncio.Task[ModelSocket] = asyncio.ensure_future(asyncio.Event().wait())  # type: ignore[arg-type]  # on its way for ever
    shelf = Shelf()
    session = Session(
        bridge=Bridge(Policy(), loop.time()),
        caller=CallerSocket({"type": "websocket"}, receive, send),
        dialect=dialect,
        model=model,
        record=Journal(shelf, wall_clock=lambda: datetime.now(UTC), new_id=lambda: "id").open(ev.CallFacts("CA1")),
        service=Service(tools=NoTools(), observe=lambda _call, _figure, _value: None, clock=loop.time),
    )
    session.hang_up("operator")
    await asyncio.wait_for(session.run("MZ1"), 5)
    assert session.end_reason == "operator"
    assert [event.event_type for event in shelf.events].count(entries.CallEnded.event_type) == 1
    assert model.cancelled()


async def test_a_fault_while_hearing_ends_this_call_on_record() -> None:
    """Sound is taken within the event loop's own step, where an exception would only break the connection."""
    loop = asyncio.get_running_loop()
    ears: list[Any] = []
    listens = asyncio.Event()
    silence: asyncio.Future[Any] = loop.create_future()

    class Deaf(Bridge):
        def handle(self, event: ev.Event, now: float) -> Any:
            if isinstance(event, ev.CallerAudio):
                raise ZeroDivisionError
            return super().handle(event, now)

    async def receive() -> Any:
        return await silence

    async def send(message: Any) -> None:
        """To nobody."""

    def listen(listener: Any) -> None:
        ears.append(listener)
        listens.set()

    dialect = MediaStreamDialect()
    dialect.read(orjson.dumps(START).decode())
    figures: list[str] = []
    shelf = Shelf()
    scope = {"type": "websocket", "extensions": {LISTEN_EXTENSION: {"listen": listen}}}
    session = Session(
        bridge=Deaf(Policy(), loop.time()),
        caller=CallerSocket(scope, receive, send),
        dialect=dialect,
        model=asyncio.ensure_future(asyncio.Event().wait()),  # type: ignore[arg-type]  # on its way for ever
        record=Journal(shelf, wall_clock=lambda: datetime.now(UTC), new_id=lambda: "id").open(ev.CallFacts("CA1")),
        service=Service(tools=NoTools(), observe=lambda _call, figure, _value: figures.append(figure), clock=loop.time),
    )
    running = asyncio.ensure_future(session.run("MZ1"))
    await asyncio.wait_for(listens.wait(), 5)
    sound = '{"event":"media","streamSid":"MZ1","media":{"timestamp":"0","payload":"////"}}'
    assert ears[0]('{"event":"mark","streamSid":"MZ1","mark":{"name":"m"}}')
    ears[0](sound)
    assert not ears[0](sound), "after its end a call takes nothing"
    await asyncio.wait_for(running, 5)
    assert "internal_fault" in figures
    assert ears[-1] is None, "nobody listens to a call that is over"
    assert [event.event_type for event in shelf.events].count(entries.CallEnded.event_type) == 1


class Script:
    """A core that answers each kind of event with the same commands."""

    def __init__(self, answers: dict[type, Callable[[Any], list[do.Command]]]) -> None:
        self._answers = answers

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:  # noqa: ARG002 - the Protocol's shape
        answer = self._answers.get(type(event))
        return answer(event) if answer is not None else []

    def deadline(self) -> float | None:
        return None


class Diary(Shelf):
    """Writes into a list that others write into as well."""

    def __init__(self, happened: list[str]) -> None:
        super().__init__()
        self._happened = happened

    def write(self, event: EventRecord, patch: CallPatch | None = None, rows: object = ()) -> None:
        super().write(event, patch, rows)
        self._happened.append(event.event_type)


async def test_what_the_caller_hears_goes_before_what_is_written_down_about_it() -> None:
    loop = asyncio.get_running_loop()
    happened: list[str] = []
    mark = '{"event":"mark","streamSid":"MZ1","mark":{"name":"m"}}'
    stop = '{"event":"stop","streamSid":"MZ1","stop":{}}'
    messages = deque(({"text": mark}, {"text": stop}))
    ended = do.WriteEntry(entries.CallEnded("hangup", "completed", 0))

    async def receive() -> Any:
        return {"type": "websocket.receive", **(messages.popleft() if messages else await loop.create_future())}

    async def send(message: Any) -> None:
        """To nobody."""

    def write(text: str) -> bool:
        happened.append(orjson.loads(text)["event"])
        return True

    dialect = MediaStreamDialect()
    dialect.read(orjson.dumps(START).decode())
    script = Script(
        {
            ev.MarkReached: lambda _event: [
                do.WriteEntry(entries.BargedIn("item_1", 340, 60, "resp_1")),
                do.ClearPlayout(),
            ],
            ev.CallerLeft: lambda _event: [ended, do.EndCall("hangup")],
        }
    )
    session = Session(
        bridge=script,
        caller=CallerSocket({"type": "websocket", "extensions": {WRITE_EXTENSION: {"write": write}}}, receive, send),
        dialect=dialect,
        model=asyncio.ensure_future(asyncio.Event().wait()),  # type: ignore[arg-type]  # on its way for ever
        record=Journal(Diary(happened), wall_clock=lambda: datetime.now(UTC), new_id=lambda: "id").open(
            ev.CallFacts("CA1")
        ),
        service=Service(
            tools=NoTools(), observe=lambda _call, figure, _value: happened.append(figure), clock=loop.time
        ),
    )
    await asyncio.wait_for(session.run("MZ1"), 5)
    assert happened == ["clear", "barge_in_stop", entries.BargedIn.event_type, entries.CallEnded.event_type]


async def test_a_caller_who_reads_slowly_holds_the_model_back_and_misses_nothing() -> None:
    loop = asyncio.get_running_loop()
    total, told = 3000, 0
    filler = "x" * 2**14
    may_go_on = asyncio.Event()
    got: list[str] = []
    gone = asyncio.Event()

    async def talk(ws: ServerConnection) -> None:
        nonlocal told
        await ws.send('{"type":"session.created","session":{"id":"s"}}')
        session = orjson.loads(await ws.recv())["session"]
        await ws.send(orjson.dumps({"type": "session.updated", "session": session}))
        wire = {"type": "response.output_audio_transcript.delta", "item_id": "a", "content_index": 0, "delta": filler}
        for number in range(total):
            await ws.send(orjson.dumps(wire | {"response_id": f"m{number}"}))
            told += 1
        await ws.wait_closed()

    async def receive() -> Any:
        await gone.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def send(message: Any) -> None:
        await may_go_on.wait()
        if "text" in message:
            got.append(orjson.loads(message["text"])["mark"]["name"])
        if len(got) == total:
            gone.set()

    dialect = MediaStreamDialect()
    dialect.read(orjson.dumps(START).decode())
    script = Script(
        {
            ev.TextReceived: lambda event: [do.SendMark(event.response_id)],
            ev.CallerLeft: lambda _event: [do.EndCall("hangup")],
        }
    )
    async with serve(talk, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        model = await ModelSocket.open(url, api_key="", settings=ModelSettings())
        session = Session(
            bridge=script,
            caller=CallerSocket({"type": "websocket"}, receive, send, stall_limit_s=30.0),
            dialect=dialect,
            model=asyncio.ensure_future(asyncio.sleep(0, model)),
            record=Journal(Shelf(), wall_clock=lambda: datetime.now(UTC), new_id=lambda: "id").open(
                ev.CallFacts("CA1")
            ),
            service=Service(tools=NoTools(), observe=lambda _call, _figure, _value: None, clock=loop.time),
        )
        running = asyncio.ensure_future(session.run("MZ1"))
        before = -1
        while before < told:
            before = told
            await asyncio.sleep(0.1)
        assert told < total * 0.8, "48 MB wanted to come; what did is in the sockets' own buffers"
        may_go_on.set()
        await asyncio.wait_for(running, 20)
        await model.close()
    assert got == [f"m{number}" for number in range(total)]


class Keys:
    """A tool that tells which keys it was told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def run(self, call: ev.CallFacts, name: str, arguments: str) -> tuple[str, bool]:  # noqa: ARG002 - the Protocol's shape
        self.told.append(call.digits)
        return "{}", True


class Deafness:
    """A tool that does not heed its cancellation until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()

    async def run(self, call: ev.CallFacts, name: str, arguments: str) -> tuple[str, bool]:  # noqa: ARG002 - the Protocol's shape
        self.begun.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        return "{}", True


class Stand:
    """A session with nobody at either end: the test says what happens."""

    def __init__(self, tools: Any = None, receive: Any = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.figures: list[str] = []
        self.shelf = Shelf()
        self.silence: asyncio.Future[Any] = self.loop.create_future()
        dialect = MediaStreamDialect()
        dialect.read(orjson.dumps(START).decode())
        self.caller = CallerSocket({"type": "websocket"}, receive or self._receive, self._send)
        self.session = Session(
            bridge=Bridge(Policy(), self.loop.time()),
            caller=self.caller,
            dialect=dialect,
            model=asyncio.ensure_future(asyncio.Event().wait()),  # type: ignore[arg-type]  # on its way for ever
            record=Journal(self.shelf, wall_clock=lambda: datetime.now(UTC), new_id=lambda: "id").open(
                ev.CallFacts("CA1")
            ),
            service=Service(
                tools=tools or NoTools(),
                observe=lambda _call, figure, _v: self.figures.append(figure),
                clock=self.loop.time,
            ),
        )

    async def _receive(self) -> Any:
        return await self.silence

    async def _send(self, message: Any) -> None:
        """To nobody."""

    def codes(self) -> list[str]:
        return [event.payload["code"] for event in self.shelf.events if event.event_type == "ERROR"]


async def test_a_tool_is_told_the_keys_through_the_calls_facts() -> None:
    tools = Keys()
    stand = Stand(tools)
    running = asyncio.ensure_future(stand.session.run("MZ1"))
    await asyncio.sleep(0)
    stand.session._take(ev.DigitPressed("4"))
    stand.session._take(ev.ToolCalled("resp_1", "item_1", "call_1", "check_pin", "{}"))
    stand.session.hang_up("operator")
    await asyncio.wait_for(running, 5)
    assert tools.told == ["4"]


class Talker:
    """A tool that tells the call something just before it ends, or some time before."""

    def __init__(self, *, pauses: bool) -> None:
        self.tell: Callable[[ev.InnerEvent], None] | None = None
        self._pauses = pauses

    async def run(self, call: ev.CallFacts, name: str, arguments: str) -> tuple[str, bool]:  # noqa: ARG002 - the Protocol's shape
        assert self.tell is not None
        await asyncio.sleep(0)
        self.tell(ev.SupervisorCalledTool("call_2", "look_up", "{}"))
        if self._pauses:
            await asyncio.sleep(0.01)
        return "{}", True


@pytest.mark.parametrize("pauses", [False, True])
async def test_what_a_tool_told_the_call_goes_before_what_it_answers(*, pauses: bool) -> None:
    tools = Talker(pauses=pauses)
    stand = Stand(tools)
    tools.tell = stand.session.ask
    running = asyncio.ensure_future(stand.session.run("MZ1"))
    await asyncio.sleep(0)
    stand.session._take(ev.ToolCalled("resp_1", "item_1", "call_1", "ask_supervisor", "{}"))
    (at_work,) = stand.session._running
    await at_work
    stand.session.hang_up("operator")
    await asyncio.wait_for(running, 5)
    told = [(event.event_type, event.payload["call_id"]) for event in stand.shelf.events if "TOOL" in event.event_type]
    assert told[:3] == [("TOOL_CALL", "call_1"), ("TOOL_CALL", "call_2"), ("TOOL_RESULT", "call_1")]


async def test_the_silence_that_measures_the_line_is_not_the_first_sound() -> None:
    stand = Stand()
    stand.session._bridge = Script(
        {
            ev.CallerJoined: lambda _: [do.PlayAudio(b"\xff" * 160)] * 3,
            ev.DigitPressed: lambda _: [do.PlayAudio(b"\x10" * 160)],
            ev.HangUpAsked: lambda _: [do.EndCall("operator")],
        }
    )
    running = asyncio.ensure_future(stand.session.run("MZ1"))
    await asyncio.sleep(0)
    assert "first_sound" not in stand.figures
    stand.session._take(ev.DigitPressed("1"))
    stand.session._take(ev.DigitPressed("2"))
    assert stand.figures.count("first_sound") == 1
    stand.session.hang_up("operator")
    await asyncio.wait_for(running, 5)


async def test_a_goodbye_from_outside_reaches_the_bridge() -> None:
    stand = Stand()
    running = asyncio.ensure_future(stand.session.run("MZ1"))
    await asyncio.sleep(0)
    stand.session.ask(ev.GoodbyeAsked("transfer", transfer_number="+15551230009"))
    stand.session.hang_up("operator")
    await asyncio.wait_for(running, 5)
    assert [event.payload["reason"] for event in stand.shelf.events if event.event_type == "GOODBYE"] == ["transfer"]


async def test_a_leg_that_takes_nothing_is_told_once_and_again_after_it_recovered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand = Stand()
    monkeypatch.setattr("voice_gateway.session.SEND_PATIENCE_S", 0.0)
    for blocked_since in (1.0, 1.0, None, 1.0):
        stand.caller.blocked_since = blocked_since
        stand.session._look_at_sends()
    assert stand.codes() == ["send_blocked"] * 2
    assert stand.figures == ["send_blocked"] * 2


async def test_a_tool_that_heeds_nothing_does_not_hold_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voice_gateway.session.TOOLS_PATIENCE_S", 0.01)
    tools = Deafness()
    stand = Stand(tools)
    running = asyncio.ensure_future(stand.session.run("MZ1"))
    await asyncio.sleep(0)
    stand.session._take(ev.ToolCalled("resp_1", "item_1", "call_1", "stubborn", "{}"))
    await tools.begun.wait()
    stand.session.hang_up("operator")
    await asyncio.wait_for(running, 5)
    tools.let_go.set()
    await asyncio.gather(*stand.session._running)


async def test_a_call_that_does_not_end_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever holds it: here a read that swallows its first cancellation."""
    monkeypatch.setattr("voice_gateway.session.END_PATIENCE_S", 0.05)
    swallowed: list[bool] = []

    async def receive() -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append(True)
        await asyncio.Event().wait()

    stand = Stand(receive=receive)
    running = asyncio.ensure_future(stand.session.run("MZ1"))
    await asyncio.sleep(0)
    stand.session.hang_up("operator")
    await asyncio.wait_for(asyncio.wait({running}), 5)
    assert swallowed == [True]
    assert stand.figures.count("end_stuck") == 1
    assert [event.event_type for event in stand.shelf.events].count(entries.CallEnded.event_type) == 1
