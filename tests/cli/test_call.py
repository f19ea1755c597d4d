"""Callers: the verb `call`, and whoever plays a scenario on a telephone, against a real gateway in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from typer.testing import CliRunner, Result
from whole_calls import lateness

from voice_gateway import config
from voice_gateway.audio import wav
from voice_gateway.cli.judging import Record, judge, record_of
from voice_gateway.cli.stage import PUBLIC_HOST, Stage, stage
from voice_gateway.cli.stopwatch import measure
from voice_gateway.cli.verbs import app
from voice_gateway.emulator.faculties import Mind
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.performance import Cue, learn, perform
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenario import Expected
from voice_gateway.emulator.scenarios import (
    SCENARIOS,
    HangUp,
    InterruptAfter,
    Press,
    SayText,
    Scenario,
    ScriptedMind,
    Step,
    ToneVoice,
    TypedEar,
    Use,
    WaitForAnswer,
)
from voice_gateway.emulator.verdict import Happened, Used

LONG = "We have cappuccino, african coffee, passion fruit juice, grilled tilapia and more."

Gateway = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    @asynccontextmanager
    async def running(
        replies: list[Any], typed: list[str] | None = None, *, mind: Mind | None = None, **settings: str
    ) -> AsyncIterator[Stage]:
        model = RealtimeServer(
            mind=mind or ScriptedMind(replies), voice=QuickVoice(), ear=TypedEar(typed or []), latency=INSTANT
        )
        async with stage(model, tmp_path / "calls.sqlite3", settings=settings) as world:
            yield world

    return running


async def call(*options: str) -> Result:
    """The verb, in a thread of its own."""
    invoke = partial(CliRunner().invoke, app, ["call", *options], catch_exceptions=False)
    return await asyncio.to_thread(invoke)


class QuickVoice(ToneVoice):
    """A voice that hums long texts no longer than others."""

    def length_ms(self, text: str) -> int:
        return min(super().length_ms(text), 1500)


def scenario_call(world: Stage, name: str, *options: str) -> Coroutine[Any, Any, Result]:
    return call(
        world.base_url, "--auth-token", world.carrier.auth_token, "--public-url", f"https://{PUBLIC_HOST}",
        "--scenario", name, *options,
    )  # fmt: skip


def hum(path: Path, seconds: float) -> Path:
    at = np.arange(int(16000 * seconds)) / 16000
    wav.write(path, (9000 * np.sin(2 * np.pi * 220 * at)).astype(np.int16), 16000)
    return path


async def test_a_wav_file_is_played_answered_and_measured(gateway: Gateway, tmp_path: Path) -> None:
    question, out = hum(tmp_path / "question.wav", 0.8), tmp_path / "call.wav"
    async with gateway(["Welcome!", "One coffee."], ["A coffee, please."]) as world:
        result = await call(
            world.base_url, "--auth-token", world.carrier.auth_token, "--public-url", f"https://{PUBLIC_HOST}",
            "--wav-in", str(question), "--wav-out", str(out),
        )  # fmt: skip
        (row,) = await world.gateway.store.recent_calls()
    assert result.exit_code == 0, result.output
    assert row["transcript"].splitlines() == [
        "Assistant: Welcome!",
        "Caller: A coffee, please.",
        "Assistant: One coffee.",
    ]
    assert f"caller     {question}" in result.output
    assert result.output.count("  heard  ") == 2
    assert "turn 1: his last sound to the answer" in result.output
    assert "+15550100001" not in result.output
    samples, rate_hz = wav.read(out)
    assert rate_hz == 8000
    assert abs(np.count_nonzero(np.abs(samples[:, 0].astype(int)) > 100) / 8000 - 0.8) < 0.05
    heard_s = np.count_nonzero(np.abs(samples[:, 1].astype(int)) > 100) / 8000
    assert abs(heard_s - 0.06 * len("Welcome!One coffee.")) < 0.15


async def test_a_gateway_that_refuses_the_signature_is_no_conversation(gateway: Gateway, tmp_path: Path) -> None:
    async with gateway(["Welcome!"]) as world:
        result = await call(
            world.base_url, "--auth-token", "wrong", "--public-url", f"https://{PUBLIC_HOST}",
            "--wav-out", str(tmp_path / "call.wav"),
        )  # fmt: skip
    assert result.exit_code == 1
    assert "No conversation came about: HTTP 403" in result.output
    assert not (tmp_path / "call.wav").exists()


@pytest.fixture
def hummed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers hum, and nobody listens in, as without the extra `local`."""
    monkeypatch.setattr("voice_gateway.cli.cast.missing", lambda: ["voices"])
    monkeypatch.setattr("voice_gateway.cli.hearing.missing", lambda: ["ears"])


KNOWN = SCENARIOS["known-caller"]


@pytest.mark.usefixtures("hummed")
async def test_a_scenario_is_played_and_held_against_the_gateways_record(gateway: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "calls.sqlite3"
    lines = list(KNOWN.lines)
    async with gateway([], lines, mind=RuleMind(), DEFAULT_PERSONA="receptionist") as world:
        result = await scenario_call(
            world, "known-caller", "--record", str(file), "--wav-out", str(tmp_path / "call.wav")
        )
        (row,) = await world.gateway.store.recent_calls()
        record = await record_of(file, row["call_sid"])
    assert result.exit_code == 0, result.output
    assert "The scenario known-caller came out: lookup_customer called as it should be" in result.output
    assert "+35699000111" not in result.output
    assert record is not None
    day = record.day(None)
    assert judge(KNOWN, record.happened("completed"), day) == []
    wrong = replace(
        KNOWN, expected=replace(KNOWN.expected, uses=(Use("lookup_customer", answer="Eric"),), ends="caller")
    )
    assert [told.partition(",")[0] for told in judge(wrong, record.happened("completed"), day)] == [
        "lookup_customer was called",
        "the call was to be ended by the caller",
    ]
    (other,) = judge(SCENARIOS["ebitda"], record.happened("completed"), day)
    assert "receptionist answered, and ebitda is for cfo: start the gateway with DEFAULT_PERSONA=cfo" in other


def test_a_calls_day_is_the_one_that_its_gateway_was_told() -> None:
    late = Record({"created_at": "2026-11-24T22:30:00.000Z"}, [])  # Tuesday in London, Wednesday in Kigali
    assert late.day(ZoneInfo("Africa/Kigali")) == date(2026, 11, 25)
    assert config.load({"DIARY_ZONE": "Africa/Kigali"}, None).zone == ZoneInfo("Africa/Kigali")
    assert config.load({}, None).zone is None
    expected = replace(KNOWN, persona="", expected=Expected(uses=(Use("book_appointment", {"date": "{wednesday}"}),)))
    booked = Happened(uses=[Used("book_appointment", {"date": "2026-12-02"})])
    assert judge(expected, booked, late.day(ZoneInfo("Africa/Kigali"))) == []
    assert judge(expected, booked, late.day(ZoneInfo("Europe/London"))) != []


@pytest.mark.usefixtures("hummed")
async def test_a_scenario_whose_record_cannot_be_read_is_not_taken_for_right(gateway: Gateway, tmp_path: Path) -> None:
    options = ("--record", str(tmp_path / "nowhere.sqlite3"), "--wav-out", str(tmp_path / "call.wav"))
    scenario = replace(KNOWN, name="hurried", steps=(WaitForAnswer(), HangUp()))
    async with gateway(["Hello."]) as world:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(SCENARIOS, "hurried", scenario)
            patch.setattr("voice_gateway.cli.judging.PATIENCE_S", 0.0)
            result = await scenario_call(world, "hurried", *options)
    assert result.exit_code == 1
    assert "cannot be judged: which tools were called cannot be checked: no closed record" in result.output


@pytest.mark.usefixtures("hummed")
async def test_the_consent_that_is_asked_for_by_key_is_given(gateway: Gateway, tmp_path: Path) -> None:
    recordings = {"RECORDING_ENABLED": "true", "RECORDING_CONSENT": "keypress", "RECORDINGS_DIR": str(tmp_path / "wav")}
    async with gateway(["Hello.", "Thank you."], **recordings) as world:
        part = learn(Scenario("keys", "", (WaitForAnswer(), HangUp()), keys_first="1"), ToneVoice())
        cues: list[Cue] = []
        phone_call = await world.carrier.dial(world.webhook_url)
        await perform(phone_call, part, tell=cues.append, pause_s=0.4)
        while world.gateway.switchboard.find(phone_call.call_sid) is not None:  # noqa: ASYNC110 - a gauge, not an event
            await asyncio.sleep(0.01)
        await world.gateway.store.flush()
        events = await world.gateway.store.read_events(phone_call.call_sid)
    assert [(cue.act, cue.text) for cue in cues] == [("presses", "1"), ("hangs up", "")]
    assert "CONSENT_GIVEN" in [event["event_type"] for event in events]


async def play(world: Stage, *steps: Step, tell: Callable[[Cue], None] = lambda _: None) -> tuple[Any, list[Cue]]:
    scenario = Scenario("test", "for a test", steps)
    cues: list[Cue] = []
    phone_call = await world.carrier.dial(world.webhook_url)

    def cue(cue: Cue) -> None:
        cues.append(cue)
        tell(cue)

    await perform(phone_call, learn(scenario, ToneVoice()), tell=cue, pause_s=0.4)
    return phone_call, cues


async def test_a_caller_cuts_in_and_the_ledger_tells_how_soon_it_was_silent(gateway: Gateway) -> None:
    async with gateway(["Welcome!", LONG, "Yes?"], ["Coffee?", "Stop."]) as world, lateness() as late:
        steps = (
            WaitForAnswer(),
            SayText("What is there?"),
            InterruptAfter(1.0, "Stop, please!"),
            WaitForAnswer(),
            HangUp(),
        )
        phone_call, cues = await play(world, *steps)
        ((_, heard_ms),) = world.model.sessions[0].truncations
    assert [cue.act for cue in cues] == ["speaks", "cuts in", "hangs up"]
    assert phone_call.outcome == "caller-hung-up"
    waits, about_s = measure(phone_call), 0.1 + late.worst_ms / 1000
    first, second = waits.turns
    assert first.quiet_s is None
    assert second.from_s == pytest.approx(cues[1].at_s - phone_call.stream_at_s, abs=about_s)
    assert first.answer_s is not None
    assert second.quiet_s is not None
    assert second.quiet_s - first.answer_s == pytest.approx(heard_ms / 1000, abs=about_s)
    assert 0.05 < (second.stopped_after_s or 0.0) < 0.4 + about_s
    assert (second.answered_after_s or 0.0) > 0.5, "the silence of the turn's end is part of it"
    assert waits.first_heard_s is not None
    assert 0 < (waits.twiml_s or 0.0) < (waits.stream_s or 0.0) < waits.first_heard_s


async def test_an_answer_too_short_to_cut_in_is_answered_as_any_other(gateway: Gateway) -> None:
    async with gateway(["Hi."], ["x"]) as world:
        _, cues = await play(world, InterruptAfter(3.0, "Now me."), HangUp())
    assert [cue.act for cue in cues] == ["speaks", "hangs up"]


async def test_a_caller_who_hears_nothing_goes_on_with_his_part(gateway: Gateway) -> None:
    async with gateway(["Hello."]) as world:
        _, cues = await play(world, WaitForAnswer(), WaitForAnswer(0.2), Press("1#"), HangUp())
    assert [(cue.act, cue.text) for cue in cues] == [("hears nothing", ""), ("presses", "1#"), ("hangs up", "")]


async def test_a_caller_says_no_more_when_the_other_side_has_hung_up(gateway: Gateway) -> None:
    async with gateway(["Welcome!", "Goodbye."]) as world:

        def end(_: Cue) -> None:
            asyncio.get_running_loop().call_soon(world.carrier.end, next(iter(world.carrier.calls)))

        phone_call, cues = await play(world, WaitForAnswer(), SayText("A very long story indeed."), HangUp(), tell=end)
    assert phone_call.outcome == "completed"
    assert [cue.act for cue in cues] == ["speaks"]
