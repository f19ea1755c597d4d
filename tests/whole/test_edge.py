"""Edge barge-in in whole calls: a caller who means it, a voice that nobody confirms, and a room that is merely loud."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray
from whole_calls import Staging, lateness, payloads, record_of

from voice_gateway.agent.cast import Cast
from voice_gateway.agent.personas import Interruptions, Persona
from voice_gateway.agent.tools import Toolbox
from voice_gateway.app import Gateway
from voice_gateway.cli.stage import Stage
from voice_gateway.config import Settings
from voice_gateway.emulator.faculties import Samples
from voice_gateway.emulator.scenarios import TypedEar
from voice_gateway.emulator.speech import HibariVoice, missing
from voice_gateway.emulator.weather import Weather
from voice_gateway.model.settings import ServerVad
from voice_gateway.trace.notes import read
from voice_gateway.trace.replay import first_difference

LONG = "We have coffee, juice, grilled tilapia, and brochettes today."
LONG_MS = 60 * len(LONG)
HARD_OF_HEARING = ServerVad(threshold=1.0)
"""The emulated model then takes for speech what is louder than -30 dBFS."""

pytestmark = pytest.mark.speech


def host(settings: Settings, *, wish: Interruptions | None = None) -> Gateway:
    persona = Persona("host", "Host", "You serve coffee.", greeting=LONG, turn_detection=HARD_OF_HEARING)
    if wish is not None:
        persona = Persona("host", "Host", "You serve.", greeting=LONG, turn_detection=HARD_OF_HEARING, barge_in=wish)
    return Gateway(settings, Cast.alone(persona, Toolbox([])))


@pytest.fixture
def on_the_edge(staging: Staging) -> Staging:
    weather = Weather(one_way_s=0.02, jitter_buffer_s=0.04, noise_dbfs=-65)
    edge = {"BARGE_IN_MODE": "edge", "BARGE_IN_CONFIRM_MS": "600"}
    return partial(staging, [LONG, "Yes?"], ear=TypedEar(["Stop."]), weather=weather, settings=edge, make=host)


@pytest.fixture(scope="module")
def voice() -> NDArray[np.float64]:
    """A caller, 2 s at 8 kHz, loudest sample 1."""
    if missing():
        pytest.skip("THE OFFLINE VOICE IS NOT INSTALLED: pip install 'voice-gateway[local]'")
    spoken = np.concatenate(list(HibariVoice(seed=4).speak("Please tell me about the other drinks.")))
    sound = soxr.resample(spoken.astype(np.float64), 24_000, 8000)
    return sound[np.argmax(np.abs(sound) > 1000) :][:16_000] / np.abs(sound).max()


def as_loud_as(sound: NDArray[np.float64], peak: float) -> Samples:
    return np.rint(sound * peak).astype(np.int16)


def holds(running: Stage, outcome: str) -> float | None:
    return running.gateway.metrics.registry.get_sample_value("voice_hold_seconds_count", {"outcome": outcome})


async def test_a_caller_is_heard_at_once_and_the_model_confirms_him(
    on_the_edge: Staging, voice: NDArray[np.float64]
) -> None:
    rising = voice * np.clip(np.arange(len(voice)) / 8000 - 0.25, 0.1, 1.0)  # his first words are soft
    async with on_the_edge() as running, lateness() as late:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(1.8)
        await call.say(as_loud_as(rising, 20_000), 8000)
        await call.hang_up()
        _, events = await record_of(running, call)
        assert (holds(running, "confirmed"), holds(running, "in_vain")) == (1, 0)
        (session,) = running.model.sessions
    (barge_in,) = payloads(events, "BARGE_IN")
    assert session.truncations == [(barge_in["item_id"], barge_in["heard_ms"])]
    assert 1800 < barge_in["heard_ms"] < 2500 + late.worst_ms, "where it was held, not where the model noticed"
    assert payloads(events, "HELD_IN_VAIN") == []


async def test_a_voice_that_the_model_does_not_confirm_only_holds_ours(
    on_the_edge: Staging, voice: NDArray[np.float64]
) -> None:
    async with on_the_edge() as running, lateness() as late:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(1.8)
        await call.say(as_loud_as(voice[:8000], 2200), 8000)
        await call.until_heard(0.8)  # it goes on
        await call.until_quiet(0.5)
        heard_ms = sum(segment.length for segment in call.played if segment.audible) / 8
        await call.hang_up()
        _, events = await record_of(running, call)
        assert (holds(running, "confirmed"), holds(running, "in_vain")) == (0, 1)
        assert running.model.sessions[0].truncations == []
    (held,) = payloads(events, "HELD_IN_VAIN")
    assert 590 <= held["held_ms"] <= 800 + late.worst_ms
    (turn,) = payloads(events, "TRANSCRIPT_ASSISTANT")
    assert (turn["heard_ms"], turn["interrupted"]) == (turn["total_ms"], False)
    assert abs(heard_ms - LONG_MS) <= 60 + late.worst_ms, "nothing is lost and nothing heard twice"
    assert payloads(events, "BARGE_IN") == []


async def test_a_traced_call_with_holds_is_led_again_as_it_was(
    on_the_edge: Staging, voice: NDArray[np.float64], tmp_path: Path
) -> None:
    traces = tmp_path / "traces"
    settings = {"BARGE_IN_MODE": "edge", "BARGE_IN_CONFIRM_MS": "300", "TRACE_DIR": str(traces)}
    async with on_the_edge(settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(1.8)
        await call.say(as_loud_as(voice[:8000], 2200), 8000)
        await call.hang_up()
        await record_of(running, call)
        assert holds(running, "in_vain") == 1
    (path,) = traces.iterdir()
    assert first_difference(read(path)) is None


async def test_a_cough_does_not_even_hold(on_the_edge: Staging) -> None:
    chance = np.random.default_rng(0)
    cough = chance.normal(0, 1, 2400) * np.exp(-np.arange(2400) / 600)
    room = np.tile(np.concatenate((cough, np.zeros(4000))), 3)
    async with on_the_edge() as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(1.8)
        await call.say(as_loud_as(room, 900), 8000)
        await call.until_quiet(0.5)
        await call.hang_up()
        _, events = await record_of(running, call)
        assert (holds(running, "confirmed"), holds(running, "in_vain")) == (0, 0)
    (turn,) = payloads(events, "TRANSCRIPT_ASSISTANT")
    assert not turn["interrupted"]


@pytest.mark.parametrize("mode", ["server", "edge"])
async def test_a_protected_greeting_is_said_to_its_end_and_the_caller_answered_after_it(
    staging: Staging, voice: NDArray[np.float64], mode: str
) -> None:
    make = partial(host, wish=Interruptions(protect_greeting=True))
    settings = {"BARGE_IN_MODE": mode}
    async with staging([LONG, "Yes?"], ear=TypedEar(["Stop."]), settings=settings, make=make) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(2.0)
        await call.say(as_loud_as(voice[:8000], 20_000), 8000)
        await call.until_quiet(1.0)
        async with asyncio.timeout(10):
            while len(running.model.sessions[0].responses) < 2:  # noqa: ASYNC110 - looked at, as the model would tell it
                await asyncio.sleep(0.05)
        await call.until_quiet(0.5)
        await call.hang_up()
        _, events = await record_of(running, call)
        detection = running.model.sessions[0].settings["audio"]["input"]["turn_detection"]
    assert detection["interrupt_response"] is False
    turns = payloads(events, "TRANSCRIPT_ASSISTANT")
    assert [(turn["text"], turn["interrupted"]) for turn in turns] == [(LONG, False), ("Yes?", False)]
