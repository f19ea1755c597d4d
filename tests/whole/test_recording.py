"""A recorded call: what stands in the file is what was said and heard, and nobody is recorded against his will."""

from __future__ import annotations

import asyncio
import io
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from heard_calls import LONG
from recorded_calls import TOKEN, Settings, post
from test_bad_input import CALL_SID, FORM, Carrier, closed_with
from whole_calls import Staging, greeted, lateness, nothing_is_left, payloads, record_of, says, speech

from voice_gateway import app, config
from voice_gateway.agent.cast import Cast
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.audio import wav
from voice_gateway.cli.stage import Stage, stage
from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar, When
from voice_gateway.emulator.weather import Weather


async def files_of(running: Stage, folder: Path, count: int = 1) -> list[Path]:
    """The finished files, once their entries are written."""
    async with asyncio.timeout(15):
        while _ended(running) < count:  # noqa: ASYNC110 - a counter, looked at as an operator would
            await asyncio.sleep(0.01)
    return sorted(folder.rglob("*.wav"))  # noqa: ASYNC240 - a folder of a test


def _ended(running: Stage) -> float:
    text = running.gateway.metrics.render()[0].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("voice_recordings_total"))


def sounds(samples: np.ndarray) -> np.ndarray:
    """Per 10 ms: does it sound?"""
    whole = samples[: len(samples) // 80 * 80].astype(float).reshape(-1, 80)
    return np.sqrt((whole**2).mean(axis=1)) > 300


def unlike(one: np.ndarray, other: np.ndarray) -> int:
    """Milliseconds in which one sounds and the other does not."""
    length = max(len(one), len(other))
    first, second = (sounds(np.pad(each, (0, length - len(each)))) for each in (one, other))
    return 10 * int((first != second).sum())


async def test_a_recording_is_what_was_said_and_what_was_heard(
    staging: Staging, recorded: Settings, tmp_path: Path
) -> None:
    ear = TypedEar(["What is on the menu?", "Just a juice."])
    replies = ["Welcome!", When("menu", (Say(LONG),)), When("juice", (Say("One juice."),))]
    weather = Weather(one_way_s=0.03, jitter_buffer_s=0.06)
    async with staging(replies, ear=ear, weather=weather, settings=recorded()) as running, lateness() as late:
        call = await greeted(running)
        await call.say(speech(1.0), 8000)
        await call.until_heard(1.0)
        await call.say(speech(0.8), 8000)
        await call.until_quiet(0.6)
        await call.hang_up()
        truth = call.recording()
        row, _ = await record_of(running, call)
        (path,) = await files_of(running, tmp_path / "recordings")
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(call.call_sid)
    assert call.said == ["This call is recorded."]
    samples, rate_hz = wav.read(path)
    assert rate_hz == 8000
    left, right = samples[:, 0], samples[:, 1]
    length = min(len(left), len(truth))
    assert abs(len(left) - len(truth)) <= 8 * (300 + late.worst_ms), "a frame on its way, and the time to hang up"
    assert np.array_equal(left[: length - 800], truth[: length - 800, 0]), "to the sample"
    assert unlike(right, truth[:, 1]) <= 80 + late.total_ms, "four beginnings and ends, each within 20 ms"
    assert float(np.abs(right).max()) == float(np.abs(truth[:, 1]).max())
    types = [event["event_type"] for event in events]
    assert types.index("CONSENT_GIVEN") + 1 == types.index("RECORDING_STARTED")
    (given,), (finished,) = payloads(events, "CONSENT_GIVEN"), payloads(events, "RECORDING_FINISHED")
    assert (given["method"], given["wording"]) == ("notice", "This call is recorded.")
    assert finished["path"] == str(path.relative_to(tmp_path / "recordings"))
    assert finished["duration_ms"] == len(left) // 8
    assert row["status"] == "completed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_without_the_setting_nothing_is_said_asked_or_kept(staging: Staging, tmp_path: Path) -> None:
    async with staging(settings={"RECORDINGS_DIR": str(tmp_path / "none")}) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.hang_up()
        _, events = await record_of(running, call)
    assert call.said == []
    assert not {"CONSENT_GIVEN", "RECORDING_STARTED"} & {event["event_type"] for event in events}
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("key", ["1", "2", "#"])
async def test_a_caller_who_is_asked_decides_by_a_key(
    staging: Staging, recorded: Settings, tmp_path: Path, key: str
) -> None:
    given = key == "1"
    async with staging(settings=recorded(RECORDING_CONSENT="keypress")) as running:
        call = await running.carrier.dial(running.webhook_url)
        call.press(key)
        await call.answered()
        await call.until_heard(0.2)
        await call.hang_up()
        _, events = await record_of(running, call)
        if given:
            await files_of(running, tmp_path / "recordings")
    (said,) = call.said
    assert said.startswith("May we record this call?")
    (consent,) = payloads(events, "CONSENT_GIVEN" if given else "CONSENT_REFUSED")
    assert (consent["method"], consent["wording"], consent["evidence"]) == ("keypress", said, key)
    assert len(list((tmp_path / "recordings").rglob("*.wav"))) == given
    assert bool(payloads(events, "RECORDING_STARTED")) is given
    assert len(payloads(events, "CONSENT_GIVEN") + payloads(events, "CONSENT_REFUSED")) == 1


async def test_a_caller_who_lets_the_question_pass_is_not_recorded(
    staging: Staging, recorded: Settings, tmp_path: Path
) -> None:
    """The document goes on to the stream by itself; here it is opened at once, without waiting for the question."""
    async with staging(settings=recorded(RECORDING_CONSENT="keypress")) as running:
        async with Carrier(running).stream() as ws:
            await ws.recv()
            await ws.send('{"event":"stop","streamSid":"MZ1"}')
            await closed_with(ws)
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(CALL_SID)
    (refused,) = payloads(events, "CONSENT_REFUSED")
    assert refused["evidence"] == ""
    assert not list((tmp_path / "recordings").rglob("*.wav"))


async def test_a_webhook_that_comes_again_asks_only_who_has_not_answered(staging: Staging, recorded: Settings) -> None:
    async with staging(settings=recorded(RECORDING_CONSENT="keypress")) as running:
        carrier = Carrier(running)
        assert "<Gather" in (await carrier.post("/twilio/answer", FORM)).text
        assert "<Gather" in (await carrier.post("/twilio/answer", FORM)).text
        for digit in "12":
            answered = (await carrier.post("/twilio/consent", FORM | {"Digits": digit})).text
            assert "<Gather" not in answered
            assert "<Stream" in answered
        assert "<Gather" not in (await carrier.post("/twilio/answer", FORM)).text
        unknown = await carrier.post("/twilio/consent", FORM | {"CallSid": "CA" + "9" * 32, "Digits": "1"})
        assert "<Hangup" in unknown.text
        unsigned = await carrier.post("/twilio/consent", FORM | {"Digits": "1"}, {})
        assert unsigned.status_code == 403
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(CALL_SID)
        await carrier.post("/twilio/status", FORM | {"CallStatus": "completed"})
    assert [each["evidence"] for each in payloads(events, "CONSENT_GIVEN")] == ["1"]
    assert not payloads(events, "CONSENT_REFUSED")


async def test_a_rule_for_a_country_goes_before_the_default(
    staging: Staging, recorded: Settings, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nfrom = "+49"\nconsent = "never"\n\n[[rule]]\nfrom = "+250"\nconsent = "none"\n')
    async with staging(settings=recorded(RECORDING_RULES=str(rules))) as running:
        said = []
        for number in ("+4930123456", "+250788123456", "+15550001111"):
            call = await running.carrier.dial(running.webhook_url, from_number=number)
            await call.answered()
            await call.until_heard(0.1)
            await call.hang_up()
            said.append(call.said)
            _, events = await record_of(running, call)
            consents = [each["consent"] for each in payloads(events, "RECORDING_STARTED")]
            assert consents == {"+49": [], "+25": ["none"], "+15": ["notice"]}[number[:3]], number
        assert len(await files_of(running, tmp_path / "recordings", 2)) == 2
    assert said == [[], [], ["This call is recorded."]]


async def test_a_pause_by_the_api_is_silence_in_both_ears_and_a_gap_in_the_words(
    staging: Staging, recorded: Settings, tmp_path: Path
) -> None:
    card = "My card is 4111 1111 1111 1111."
    ear = TypedEar([card])
    replies = ["Welcome!", When("card", (Say("Noted: 4111."),))]
    async with staging(replies, ear=ear, settings=recorded(API_TOKEN=TOKEN)) as running, lateness() as late:
        call = await greeted(running)
        assert (await post(running, call, {"paused": True})).json() == {"paused": True}
        paused_at = call.length_s
        await says(call)
        resumed_at = call.length_s
        assert (await post(running, call, {"paused": False})).json() == {"paused": False}
        await call.say(speech(0.5), 8000)
        await call.hang_up()
        truth = call.recording()
        row, _ = await record_of(running, call)
        (path,) = await files_of(running, tmp_path / "recordings")
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(call.call_sid)
    samples, _ = wav.read(path)
    paused = slice(round((paused_at + 0.1) * 8000), round((resumed_at - 0.1) * 8000))
    assert not samples[paused].any()
    assert np.abs(truth[paused]).max(axis=0).min() > 3000, "both spoke meanwhile"
    assert np.abs(samples[paused.stop :, 0]).max() > 3000, "and it went on afterwards"
    assert abs(len(samples) - len(truth)) <= 8 * (300 + late.worst_ms), "the clock went on"
    assert "4111" not in str(events)
    assert "4111" not in str(row)
    assert "Caller: [not recorded]" in row["transcript"]
    assert [entry["by"] for entry in payloads(events, "RECORDING_PAUSED")] == ["api"]


async def test_a_persona_pauses_and_a_caller_takes_his_consent_back_by_tools(
    recorded: Settings, tmp_path: Path, log: io.StringIO
) -> None:
    persona = Persona(
        "clerk",
        "Clerk",
        "Take payments.",
        greeting="Hello!",
        tools=("pause_recording", "resume_recording", "stop_recording"),
    )

    def make(settings: config.Settings) -> app.Gateway:
        return app.Gateway(settings, Cast.alone(persona, house_toolbox().pick(persona.tools)))

    replies: list[Any] = [
        "Hello!",
        When("pay", (UseTool("pause_recording", {}),)),
        When("paused", (Say("Go on."),), tool="pause_recording"),
        When("record", (UseTool("stop_recording", {}),)),
        When("recorded", (Say("It is removed."),), tool="stop_recording"),
    ]
    ear = TypedEar(["I want to pay.", "Do not record me."])
    model = RealtimeServer(mind=ScriptedMind(replies), voice=ToneVoice(), ear=ear, latency=INSTANT)
    before = asyncio.all_tasks()
    async with stage(model, tmp_path / "calls.sqlite3", settings=recorded(), make=make) as running:
        call = await greeted(running)
        await says(call)
        await says(call)
        await call.hang_up()
        await record_of(running, call)
        assert await files_of(running, tmp_path / "recordings") == []
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(call.call_sid)
    await nothing_is_left(before)
    assert [entry["by"] for entry in payloads(events, "RECORDING_PAUSED")] == ["tool"]
    assert [entry["ok"] for entry in payloads(events, "TOOL_RESULT")] == [True, True]
    assert [entry["method"] for entry in payloads(events, "CONSENT_REFUSED")] == ["spoken"]
    assert [entry["reason"] for entry in payloads(events, "RECORDING_DISCARDED")] == [
        "the caller took his consent back"
    ]
    assert '"msg":"recording.fault"' not in log.getvalue()


async def test_two_calls_at_once_are_two_recordings(staging: Staging, recorded: Settings, tmp_path: Path) -> None:
    async with staging(settings=recorded()) as running:
        calls = [await running.carrier.dial(running.webhook_url) for _ in range(2)]
        for call in calls:
            await call.answered()
        await calls[0].say(speech(0.6), 8000)
        for call in calls:
            await call.hang_up()
        files = await files_of(running, tmp_path / "recordings", 2)
    left = {path.name.split("_")[0]: np.abs(wav.read(path)[0][:, 0]).max() for path in files}
    assert left[calls[0].call_sid] > 3000
    assert left[calls[1].call_sid] == 0


async def test_a_folder_that_is_gone_costs_the_recording_and_not_the_call(
    staging: Staging, recorded: Settings, tmp_path: Path, log: io.StringIO
) -> None:
    settings = recorded()
    (tmp_path / "recordings").rmdir()
    async with staging(settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(1.0)
        await call.hang_up()
        row, _ = await record_of(running, call)
        await files_of(running, tmp_path / "recordings")
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(call.call_sid)
        metrics = running.gateway.metrics.render()[0].decode()
    assert row["status"] == "completed"
    (failed,) = payloads(events, "RECORDING_FAILED")
    assert failed["reason"] == "No such file or directory"
    assert 'voice_recordings_total{outcome="failed"} 1.0' in metrics
    assert '"msg":"recording.failed"' in log.getvalue()


async def test_the_door_of_the_api_opens_to_its_token_alone(staging: Staging, log: io.StringIO) -> None:
    async with staging(settings={"API_TOKEN": TOKEN}) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.1)
        for wrong in ("", "x", TOKEN[:-1], TOKEN + "0", f"{TOKEN} {TOKEN}"):
            assert (await post(running, call, {"paused": True}, wrong)).status_code == 401
        for body, problem in (
            *(
                (each, (422, "invalid"))
                for each in ({}, {"paused": "yes"}, [], {"paused": 1}, {"paused": True, "x": 1})
            ),
            (None, (400, "invalid_json")),
            ({"paused": True, "pad": "x" * 70_000}, (413, "too_large")),
        ):
            refused = await post(running, call, body)
            assert (refused.status_code, refused.json()["code"]) == problem
        assert (await post(running, call, {"paused": True})).status_code == 200
        await call.hang_up()
        _, events = await record_of(running, call)
        assert (await post(running, call, {"paused": True})).status_code == 404
        text = running.gateway.metrics.render()[0].decode()
    assert 'voice_refusals_total{door="api",reason="token"} 5.0' in text
    assert TOKEN not in log.getvalue()
    assert len(payloads(events, "RECORDING_PAUSED")) == 1, "the words are not kept, though no sound is recorded"


async def test_without_a_token_there_is_no_door(staging: Staging) -> None:
    async with staging() as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        assert (await post(running, call, {"paused": True}, "")).status_code == 404
        await call.hang_up()
