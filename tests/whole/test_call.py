"""One phone call, end to end."""

from __future__ import annotations

import io
from itertools import pairwise

from heard_calls import LONG, interrupt
from log_guard import find_leaks
from test_bad_input import CALL_SID, Carrier, closed_with, heard_by
from whole_calls import Staging, greeted, lateness, payloads, record_of, says, speech

from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.scenarios import TypedEar, When
from voice_gateway.emulator.weather import Weather


async def test_a_caller_is_greeted_understood_answered_interrupted_and_remembered(staging: Staging) -> None:
    replies = ["Welcome!", When("menu", (Say(LONG),)), When("juice", (Say("One juice."),))]
    ear = TypedEar(["What is on the menu?", "Just a juice."])
    async with staging(replies, ear=ear) as running:
        call = await greeted(running)
        await call.say(speech(1.0), 8000)
        await call.until_heard(1.5)
        await call.say(speech(1.0), 8000)
        await call.until_quiet(1.5)
        await call.hang_up()
        row, events = await record_of(running, call)
        (session,) = running.model.sessions
    (barge_in,) = payloads(events, "BARGE_IN")
    assert session.truncations == [(barge_in["item_id"], barge_in["heard_ms"])]
    assert 1500 < barge_in["heard_ms"] < 3000
    turns = payloads(events, "TRANSCRIPT_ASSISTANT")
    assert [turn["interrupted"] for turn in turns] == [False, True, False]
    assert LONG.startswith(turns[1]["text"])
    assert turns[1]["generated"] == LONG
    assert [turn["text"] for turn in payloads(events, "TRANSCRIPT_USER")] == ["What is on the menu?", "Just a juice."]
    assert row["status"] == "completed"
    assert row["transcript"].splitlines()[0] == "Assistant: Welcome!"
    assert row["transcript"].splitlines()[-1] == "Assistant: One juice."
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["event_type"], events[-1]["event_type"]) == ("CALL_STARTED", "CALL_ENDED")


async def test_what_the_model_is_told_was_heard_is_what_the_carrier_played(staging: Staging) -> None:
    weather = Weather(one_way_s=0.05, jitter_buffer_s=0.06)
    ear = TypedEar(["Stop."])
    async with staging([LONG, "Yes?"], ear=ear, weather=weather) as running, lateness() as late:
        (cut,) = await interrupt(running, [2.0])
        assert running.model.sessions[0].truncations == [(cut.item_id, cut.told_ms)]
    assert abs(cut.error_ms) <= 60 + late.worst_ms, "an emulated line: the exact figures stand in bench/"


async def test_a_tool_is_run_on_real_rows_and_its_answer_spoken(staging: Staging) -> None:
    replies = [
        "Welcome!",
        When("beer", (UseTool("lookup_menu", {"query": "beer"}),)),
        When("tzig", (Say("We have Mutzig."),), tool="lookup_menu"),
    ]
    async with staging(replies, ear=TypedEar(["Do you have beer?"])) as running:
        call = await greeted(running)
        await says(call)
        await call.hang_up()
        row, events = await record_of(running, call)
    (result,) = payloads(events, "TOOL_RESULT")
    assert result["ok"]
    assert "Mützig 65cl" in result["output"]
    assert row["transcript"].endswith("Assistant: We have Mutzig.")


async def test_the_webhook_posted_twice_is_one_call(staging: Staging) -> None:
    async with staging() as running:
        call = await running.carrier.dial(running.webhook_url, repost=True)
        await call.answered()
        assert running.gateway.switchboard.live == 1
        await call.until_heard(0.5)
        await call.hang_up()
        _, events = await record_of(running, call)
        assert len(running.model.sessions) == 1
    assert len(payloads(events, "CALL_STARTED")) == 1


async def test_the_models_session_is_ready_before_the_caller(staging: Staging) -> None:
    slow = Faults(connect_stall_s=0.5)
    async with staging(settings={"ANSWER_SENTENCE": "Connecting you to our assistant"}, faults=slow) as running:
        carrier = Carrier(running)
        token = await carrier.token()
        expected = running.gateway.switchboard.find(CALL_SID)
        assert expected is not None
        await expected.model  # while he hears the sentence
        async with carrier.stream(token=token) as ws:
            await heard_by(ws)
            await ws.send('{"event":"stop","streamSid":"MZ1"}')
            await closed_with(ws)
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(CALL_SID)
    assert payloads(events, "MODEL_JOINED")[0]["waited_ms"] < 500, "he did not wait for the model"


async def test_the_carrier_says_a_sentence_before_the_stream(staging: Staging) -> None:
    async with staging(settings={"ANSWER_SENTENCE": "Connecting you to our assistant"}) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.hang_up()
    assert call.said == ["Connecting you to our assistant"]


async def test_straight_g711_serves_the_same_call(staging: Staging) -> None:
    async with staging(["Hello there, how are you?"], settings={"OPENAI_AUDIO_FORMAT": "pcmu"}) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(1.0)
        await call.until_quiet(0.5)
        await call.hang_up()
        row, events = await record_of(running, call)
    assert row["transcript"] == "Assistant: Hello there, how are you?"
    (turn,) = payloads(events, "TRANSCRIPT_ASSISTANT")
    assert turn["heard_ms"] == turn["total_ms"] > 1000


async def test_the_voice_arrives_whole_and_without_gaps(staging: Staging) -> None:
    text = "Good evening, this is a longer sentence."
    async with staging([text], weather=Weather(one_way_s=0.02, jitter_buffer_s=0.06)) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(1.0)
        await call.until_quiet(0.5)
        audible = [segment for segment in call.played if segment.audible]
        await call.hang_up()
    heard_ms = sum(segment.length for segment in audible) / 8
    assert 0 <= heard_ms - 60 * len(text) <= 40, "all of it, and its end padded to whole frames"
    gaps = [later.start_s - earlier.end_s for earlier, later in pairwise(audible)]
    assert max(gaps, default=0.0) < 0.002


async def test_keys_reach_the_model_as_a_note(staging: Staging) -> None:
    async with staging(["Press a key.", "Thank you."]) as running:
        call = await greeted(running)
        call.press("42#")
        await call.until_heard(0.3)
        await call.hang_up()
        _, events = await record_of(running, call)
    assert [digit["digit"] for digit in payloads(events, "DTMF")] == ["4", "2", "#"]


async def test_no_number_and_no_key_is_ever_logged(staging: Staging, log: io.StringIO) -> None:
    async with staging(settings={"OPENAI_API_KEY": "sk-proj-0123456789abcdef0123456789"}) as running:
        secrets = running.gateway.secrets
        call = await running.carrier.dial(running.webhook_url, from_number="+250788123456", to_number="+35621234567")
        await call.answered()
        await call.until_heard(0.3)
        await call.hang_up()
        await record_of(running, call)
    written = log.getvalue()
    assert "twilio.session.started" in written
    assert call.call_sid in written
    assert find_leaks(written, secrets=secrets, numbers=["+250788123456", "+35621234567"]) == []
