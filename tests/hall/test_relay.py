"""The model sessions of one call, over real connections: one is changed, another is opened beside it, none is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.emulator.faculties import Samples
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind
from voice_gateway.errors import GatewayError
from voice_gateway.model.settings import ModelSettings
from voice_gateway.model.socket import ModelRefused, ModelSocket
from voice_gateway.relay import Relay

KEY = "sk-relay"
WAITER = ModelSettings(instructions="You wait.")
CAST = {
    "waiter": WAITER,
    "cfo": replace(WAITER, instructions="You count."),
    "singer": replace(WAITER, instructions="You sing.", voice="cedar"),
}
FACTS = ev.CallFacts("CA1", persona="waiter")


class Hum:
    rate_hz = 24_000

    def speak(self, text: str) -> Iterator[Samples]:
        assert text
        yield np.full(4800, 9000, np.int16)


@dataclass
class House:
    """The casting of a test. gate: an opening waits for it. refusal: what it fails with."""

    url: str
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: Exception | None = None
    opened: list[ModelSocket] = field(default_factory=list)

    def settings(self, facts: ev.CallFacts) -> ModelSettings:
        if facts.persona not in CAST:
            raise GatewayError(f"there is no persona {facts.persona}")
        return CAST[facts.persona]

    def policy(self, facts: ev.CallFacts) -> Policy:
        return Policy(persona=facts.persona)

    async def open(self, facts: ev.CallFacts) -> ModelSocket:
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        self.opened.append(await ModelSocket.open(self.url, api_key=KEY, settings=CAST[facts.persona]))
        return self.opened[-1]


@dataclass
class Line:
    """A relay with all that it tells."""

    relay: Relay
    house: House
    server: RealtimeServer
    told: list[ev.Event]
    left: list[ModelSocket]
    news: asyncio.Event

    async def until(self, kind: type[ev.Event]) -> ev.Event:
        async with asyncio.timeout(10):
            while not (found := [event for event in self.told if isinstance(event, kind)]):
                self.news.clear()
                await self.news.wait()
        return found[-1]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with RealtimeServer(mind=ScriptedMind(), voice=Hum(), api_key=KEY, latency=INSTANT, speed=50) as server:
        told: list[ev.Event] = []
        left: list[ModelSocket] = []
        news = asyncio.Event()

        def take(event: ev.Event) -> None:
            told.append(event)
            news.set()

        house = House(server.url)
        first = asyncio.ensure_future(ModelSocket.open(server.url, api_key=KEY, settings=WAITER))
        relay = Relay(first, house, take=take, ask=take, leave=left.append)
        await relay.meet()
        yield Line(relay, house, server, told, left, news)
        relay.end()
        await relay.task.result().close()
        await asyncio.wait_for(server.emptied(), 10)  # nothing is left open, whatever happened


async def test_the_same_voice_takes_a_change_of_its_session(line: Line) -> None:
    line.relay.prepare(FACTS, "cfo")
    assert line.told[-1] == ev.HandoffReady("cfo", Policy(persona="cfo"))
    line.relay.update()
    assert await line.until(ev.SessionUpdated) == ev.SessionUpdated("cfo")
    (session,) = line.server.sessions
    assert session.settings["instructions"] == "You count."
    assert session.settings["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24000},
        "voice": "marin",
        "speed": 1.0,
    }


async def test_another_voice_has_a_session_of_its_own_which_takes_the_place_of_the_first(line: Line) -> None:
    first = line.relay.in_use
    assert first is not None
    first.send(first.dialect.write(do.AppendAudio(b"\x00\x10" * 480)))
    line.house.gate.set()
    line.relay.prepare(FACTS, "singer")
    ready = await line.until(ev.HandoffReady)
    assert isinstance(ready, ev.HandoffReady)
    assert ready.session_id.startswith("sess_")
    assert line.relay.in_use is first, "nothing has changed yet"
    line.relay.swap(held=False)
    second = line.relay.in_use
    assert second is line.house.opened[0]
    assert line.relay.task.result() is second
    line.told.clear()
    first.send(first.dialect.write(do.CreateResponse()))
    second.send(second.dialect.write(do.CreateResponse()))
    await line.until(ev.ResponseFinished)
    assert len([event for event in line.told if isinstance(event, ev.ResponseStarted)]) == 1, (
        "the first one is not heard"
    )
    assert line.left == []
    line.relay.end()
    assert set(line.left) == {first, second}, "each is counted once"


async def test_what_the_first_session_still_writes_down_is_told(line: Line) -> None:
    first = line.relay.in_use
    assert first is not None
    line.house.gate.set()
    line.relay.prepare(FACTS, "singer")
    await line.until(ev.HandoffReady)
    line.relay.swap(held=False)
    line.told.clear()
    written, checked = ev.UserTranscribed("item_1", "Hello"), ev.AsideFinished("resp_9", "guardrail:1", "completed", "")
    first._tell((written, ev.SpeechStarted("item_2", 0), checked, ev.ModelLost("closed_1006", "")))
    assert line.told == [written, checked], "nor what a check has cost; its end is no loss any more"


@pytest.mark.parametrize(
    ("refusal", "code"), [(ModelRefused("timeout", "nothing"), "timeout"), (ZeroDivisionError(), "internal_error")]
)
async def test_a_session_that_cannot_be_had_is_told_and_the_first_one_goes_on(
    line: Line, refusal: Exception, code: str
) -> None:
    line.house.refusal = refusal
    line.house.gate.set()
    line.relay.prepare(FACTS, "singer")
    failed = await line.until(ev.HandoffFailed)
    assert isinstance(failed, ev.HandoffFailed)
    assert (failed.persona, failed.code) == ("singer", code)
    model = line.relay.in_use
    assert model is not None
    assert model.alive


async def test_a_persona_that_is_not_there_is_told(line: Line) -> None:
    line.relay.prepare(FACTS, "nobody")
    assert line.told[-1] == ev.HandoffFailed("nobody", "not_there", "there is no persona nobody")


async def test_a_session_that_is_lost_while_it_stands_ready_is_told(line: Line) -> None:
    line.house.gate.set()
    line.relay.prepare(FACTS, "singer")
    await line.until(ev.HandoffReady)
    await line.server.drop(line.server.sessions[1], 1011)
    failed = await line.until(ev.HandoffFailed)
    assert isinstance(failed, ev.HandoffFailed)
    assert failed.code == "closed_1011"
    line.relay.swap(held=False)
    assert len(line.server.sessions) == 2
    model = line.relay.in_use
    assert model is not None
    assert model.dialect.settings == WAITER


async def test_what_is_not_needed_any_more_is_closed_even_on_its_way(line: Line) -> None:
    line.relay.prepare(FACTS, "singer")
    await asyncio.sleep(0)
    line.relay.drop()
    line.house.gate.set()
    line.relay.prepare(FACTS, "singer")
    await line.until(ev.HandoffReady)
    line.relay.prepare(FACTS, "cfo")
    await asyncio.wait_for(_until(lambda: line.server.connected == 1), 10)


async def test_a_session_that_is_dropped_in_the_step_in_which_it_is_there_is_not_told(line: Line) -> None:
    line.relay.prepare(FACTS, "singer")
    prepared = line.relay._prepared
    assert prepared is not None
    assert prepared.task is not None
    prepared.task.add_done_callback(lambda _: line.relay.prepare(FACTS, "cfo"))  # before whoever waits for it is woken
    line.house.gate.set()
    await asyncio.wait_for(_until(lambda: len(line.server.sessions) == 2 and line.server.connected == 1), 10)
    assert [event for event in line.told if isinstance(event, ev.HandoffReady)] == [
        ev.HandoffReady("cfo", Policy(persona="cfo"))
    ]


async def test_a_call_that_ends_during_a_handoff_leaves_nothing_open(line: Line) -> None:
    line.relay.prepare(FACTS, "singer")
    await asyncio.sleep(0)
    line.relay.end()
    line.house.gate.set()
    await asyncio.wait_for(_until(lambda: line.server.connected == 1), 10)
    assert not [event for event in line.told if isinstance(event, ev.HandoffReady | ev.HandoffFailed)]


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - a gauge, not an event
        await asyncio.sleep(0.01)
