"""Whole calls: the real gateway over real HTTP and WebSockets between the two emulated far sides."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from voice_gateway import app
from voice_gateway.cli.stage import Stage, stage
from voice_gateway.config import Settings
from voice_gateway.emulator.faculties import Ear, Mind, Samples, Voice
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.phone_call import PhoneCall
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar
from voice_gateway.emulator.weather import Weather
from voice_gateway.ops import logs

Staging = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything the process logs, as JSON lines."""
    stream = io.StringIO()
    logs.configure("debug", stream=stream, color=False)
    yield stream
    logs.configure("warning", stream=io.StringIO(), color=False)


@pytest.fixture
def staging(tmp_path: Path, log: io.StringIO) -> Staging:
    @asynccontextmanager
    async def staged(
        replies: list[Any] | None = None,
        *,
        mind: Mind | None = None,
        voice: Voice | None = None,
        ear: Ear | None = None,
        faults: Faults | None = None,
        weather: Weather | None = None,
        settings: dict[str, str] | None = None,
        make: Callable[[Settings], app.Gateway] = app.build,
    ) -> AsyncIterator[Stage]:
        model = RealtimeServer(
            mind=mind or ScriptedMind(replies or ["Hello, what can I do for you today?"]),
            voice=voice or ToneVoice(),
            ear=ear or TypedEar(),
            latency=INSTANT,
            faults=faults,
        )
        before = asyncio.all_tasks()
        database = tmp_path / "calls.sqlite3"
        settings = {"SUMMARY_ENABLED": "false"} | (settings or {})  # or else a record is not at its end with the call
        async with stage(model, database, weather=weather, settings=settings, make=make) as running:
            yield running
        await nothing_is_left(before)

    return staged


async def nothing_is_left(before: set[asyncio.Task[Any]]) -> None:
    """Every task that a call began has ended with it."""
    try:
        async with asyncio.timeout(10):
            while asyncio.all_tasks() - before:  # noqa: ASYNC110 - a gauge, not an event
                await asyncio.sleep(0.01)
    except TimeoutError:
        pytest.fail(f"left behind: {asyncio.all_tasks() - before}")


def speech(seconds: float) -> Samples:
    """A loud syllabic hum at 8 kHz that a voice activity detector takes for speech."""
    t = np.arange(int(seconds * 8000)) / 8000
    return (9000 * np.sin(2 * np.pi * 220 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 5 * t))).astype(np.int16)


async def greeted(running: Stage) -> PhoneCall:
    """A caller who has heard the greeting to its end."""
    call = await running.carrier.dial(running.webhook_url)
    await call.answered()
    await call.until_heard(0.1)
    await call.until_quiet(0.4)
    return call


async def says(call: PhoneCall, seconds: float = 0.8) -> None:
    """He says something, and hears the answer to its end."""
    await call.say(speech(seconds), 8000)
    await call.until_heard(0.1)
    await call.until_quiet(0.4)


@dataclass
class Lateness:
    """How late this machine came to what was due while it was watched: what is measured in a call is off by as much."""

    worst_ms: float = 0.0
    total_ms: float = 0.0

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + 0.005
            await asyncio.sleep(0.005)
            late_ms = 1000 * (loop.time() - due_s)
            if late_ms > 10:  # a turn of a loop that is not idle
                self.worst_ms = max(self.worst_ms, late_ms)
                self.total_ms += late_ms


@asynccontextmanager
async def lateness() -> AsyncIterator[Lateness]:
    late = Lateness()
    watching = asyncio.create_task(late.watch())
    try:
        yield late
    finally:
        watching.cancel()
        await asyncio.wait({watching})


async def record_of(running: Stage, call: PhoneCall) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The call's row and its events, once the call is closed."""
    async with asyncio.timeout(10):
        while running.gateway.switchboard.live:  # noqa: ASYNC110 - a gauge, not an event: looked at as an operator would
            await asyncio.sleep(0.01)
    await running.gateway.store.flush()
    row = await running.gateway.store.read_call(call.call_sid)
    assert row is not None
    return row, await running.gateway.store.read_events(call.call_sid)


def payloads(events: list[dict[str, Any]], event_type: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in events if event["event_type"] == event_type]
