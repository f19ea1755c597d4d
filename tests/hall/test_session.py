"""A session carries; what it is told from outside is never left lying."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import orjson

from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.caller.media_stream import MediaStreamDialect
from voice_gateway.caller.socket import LISTEN_EXTENSION, CallerSocket
from voice_gateway.journal import Journal
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

    def write(self, event: EventRecord, patch: CallPatch | None = None) -> None:  # noqa: ARG002 - the Protocol's shape
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
        service=Service(tools=NoTools(), observe=lambda _figure, _value: None, clock=loop.time),
    )
    session.hang_up("operator")
    began = loop.time()
    await session.run("MZ1")
    assert loop.time() - began < 0.5
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
        service=Service(tools=NoTools(), observe=lambda figure, _value: figures.append(figure), clock=loop.time),
    )
    running = asyncio.ensure_future(session.run("MZ1"))
    await asyncio.wait_for(listens.wait(), 5)
    assert not ears[0]('{"event":"mark","streamSid":"MZ1","mark":{"name":"m"}}'), "only sound is taken at once"
    assert ears[0]('{"event":"media","streamSid":"MZ1","media":{"timestamp":"0","payload":"////"}}')
    await asyncio.wait_for(running, 5)
    assert "internal_fault" in figures
    assert ears[-1] is None, "nobody listens to a call that is over"
    assert [event.event_type for event in shelf.events].count(entries.CallEnded.event_type) == 1
