"""Turns of the emulated model: who speaks when, in what order it is told, and what an interruption does."""

from __future__ import annotations

import base64
import json

import pytest

from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.scenarios import ScriptedMind, TypedEar

LONG = "This answer is long enough that somebody can cut in while it is still being made, word after word after word."
TRANSCRIBED = {"input": {"transcription": {"model": "gpt-realtime-whisper"}}}
WHISPERED = "conversation.item.input_audio_transcription"


def test_a_spoken_turn_comes_in_the_order_of_the_protocol(dialogue):
    talk = dialogue(ScriptedMind(["Good evening to you."]))
    talk.speak()
    talk.until("rate_limits.updated")
    kinds = talk.kinds()
    start, end = kinds.index("response.output_audio_transcript.delta"), kinds.index("response.output_audio.done")
    assert set(kinds[start:end]) == {"response.output_audio_transcript.delta", "response.output_audio.delta"}
    assert kinds[:start] + kinds[end:] == [
        "session.created",
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]


def test_the_ids_of_a_turn_belong_together(dialogue):
    talk = dialogue()
    talk.speak()
    done = talk.until("response.done")["response"]
    user, assistant = talk.session.items
    started, stopped = talk.until_seen("speech_started"), talk.until_seen("speech_stopped")
    committed = talk.until_seen("input_audio_buffer.committed")
    assert started["item_id"] == stopped["item_id"] == committed["item_id"] == user.id
    assert committed["previous_item_id"] is None
    added = talk.all("conversation.item.added")
    assert [event["previous_item_id"] for event in added] == [None, user.id]
    assert [item["id"] for item in done["output"]] == [assistant.id]
    assert {event["response_id"] for event in talk.all("response.output_audio.delta")} == {done["id"]}


def test_the_clock_of_the_detector_is_sound_written_and_not_the_wall(dialogue):
    talk = dialogue()
    talk.write(1.0, 0.0)
    talk.wait(30)
    talk.write(0.5, 0.3)
    talk.wait(30)
    assert not talk.all("input_audio_buffer.speech_stopped"), "nothing was written, so nothing can have ended"
    talk.write(0.6, 0.0)
    assert talk.all("input_audio_buffer.speech_started")[0]["audio_start_ms"] == 700
    assert talk.all("input_audio_buffer.speech_stopped")[0]["audio_end_ms"] == 2000
    assert talk.session.input_ms == 2100


def test_a_turn_holds_its_padding_and_the_silence_that_ended_it(dialogue):
    ear = TypedEar(["something"])
    talk = dialogue(ear=ear)
    talk.write(1.0, 0.0)
    talk.speak(1.0)
    assert ear.lengths_s == [pytest.approx(0.3 + 1.0 + 0.5, abs=0.021)]


def test_text_runs_ahead_of_sound_which_comes_five_times_faster_than_it_plays(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.send("response.create")
    talk.until("response.done")
    at = {kind: [t for t, e in zip(talk.times, talk.seen, strict=True) if e["type"] == kind] for kind in talk.kinds()}
    sound = at["response.output_audio.delta"]
    played_s = talk.answer.audio_ms / 1000
    assert played_s == pytest.approx(talk.voice.length_ms(LONG) / 1000)
    assert (sound[-1] - sound[0]) * 5 == pytest.approx(played_s, abs=0.11)
    assert at["response.output_audio_transcript.delta"][-1] < sound[len(sound) // 3]
    deltas = talk.all("response.output_audio_transcript.delta")
    assert "".join(event["delta"] for event in deltas) == LONG
    assert all(event["obfuscation"] for event in deltas)


def test_the_first_deltas_are_short_and_the_others_as_long_as_asked(dialogue):
    talk = dialogue(ScriptedMind([LONG]), delta_ms=80)
    talk.send("response.create")
    talk.until("response.done")
    lengths = [len(base64.b64decode(event["delta"])) // 48 for event in talk.all("response.output_audio.delta")]
    assert lengths[:4] == [40, 60, 80, 80]
    assert sum(lengths) == talk.voice.length_ms(LONG)


def test_the_latencies_are_those_of_the_real_one(dialogue):
    talk = dialogue()
    talk.send("response.create")
    first = {event["type"]: time for time, event in reversed(list(zip(talk.times, talk.seen, strict=True)))}
    talk.until("response.done")
    first = {event["type"]: time for time, event in reversed(list(zip(talk.times, talk.seen, strict=True)))}
    assert first["response.created"] == pytest.approx(0.03)
    assert first["response.output_item.added"] == pytest.approx(0.33)
    assert first["response.output_audio.delta"] == pytest.approx(0.43)


@pytest.mark.parametrize("sound", [{"type": "audio/pcmu"}, {"type": "audio/pcma"}])
def test_the_telephones_own_formats_go_both_ways(dialogue, sound):
    ear = TypedEar(["hello"])
    talk = dialogue(ScriptedMind(["Hi."]), ear)
    talk.configure(audio={"input": {"format": sound}, "output": {"format": sound}})
    talk.speak(1.0)
    talk.until("response.done")
    assert talk.session.input_ms == 1600
    assert ear.lengths_s == [pytest.approx(1.5, abs=0.021)]
    spoken = b"".join(base64.b64decode(event["delta"]) for event in talk.all("response.output_audio.delta"))
    assert len(spoken) == talk.voice.length_ms("Hi.") * 8
    assert talk.until_seen("response.done")["response"]["audio"]["output"]["format"] == sound


def test_the_mind_is_asked_with_the_words_of_the_caller(dialogue):
    mind = ScriptedMind(["Yes."])
    talk = dialogue(mind, TypedEar(["Is it open?"]))
    talk.configure(instructions="Be brief.")
    talk.speak()
    talk.until("response.done")
    (situation,) = mind.situations
    assert situation.instructions == "Be brief."
    assert [(line.role, line.text) for line in situation.lines] == [("user", "Is it open?")]


class KeenEar(TypedEar):
    """Keeps the hints it was given."""

    def transcribe(self, samples, rate_hz, *, vocabulary=()):
        self.hints = list(vocabulary)
        return super().transcribe(samples, rate_hz)


def test_the_ear_is_told_the_words_of_the_session(dialogue):
    ear = KeenEar(["one", "two"])
    talk = dialogue(ear=ear)
    size = {"type": "string", "enum": ["small", "grande"]}
    tool = {"type": "function", "name": "order", "parameters": {"type": "object", "properties": {"size": size}}}
    hints = {"model": "gpt-transcribe", "keywords": ["oat milk"], "prompt": "A coffee bar."}
    talk.configure(instructions="You serve at Chez Odile.", tools=[tool], audio={"input": {"transcription": hints}})
    talk.speak()
    assert ear.hints[:2] == ["oat milk", "A coffee bar."]
    assert {"small", "grande", "Chez Odile"} <= set(ear.hints)


# --- barge-in ---------------------------------------------------------------------------------------------------


def interrupted(talk, seconds_of_answer=0.6):
    """An answer is cut into while it is still being generated."""
    talk.send("response.create")
    talk.until("response.output_audio.delta")
    talk.wait(seconds_of_answer)
    mark = len(talk.seen)
    talk.write(0.2, 0.3)
    return mark


def test_speech_cancels_an_answer_that_is_being_generated(dialogue):
    talk = dialogue(ScriptedMind([LONG, "Go on."]))
    mark = interrupted(talk)
    started = next(i for i, event in enumerate(talk.seen) if event["type"].endswith("speech_started"))
    done = next(i for i, event in enumerate(talk.seen) if event["type"] == "response.done")
    assert mark < started < done
    response = talk.seen[done]["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"
    between = [event["type"] for event in talk.seen[started + 1 : done]]
    assert between.count("response.output_audio.delta") == 2, "stragglers that were on their way"
    assert set(between) <= {"response.output_audio.delta", "response.output_audio_transcript.delta"}
    talk.write(0.6, 0.0)
    talk.until("response.done")
    assert talk.answer.text == "Go on."


def test_the_server_never_truncates_by_itself(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    interrupted(talk)
    talk.wait(5)
    assert not talk.all("conversation.item.truncated")
    assert talk.answer.truncated_ms is None
    received = sum(len(base64.b64decode(event["delta"])) for event in talk.all("response.output_audio.delta")) / 48
    assert talk.answer.audio_ms == pytest.approx(received)


def test_speech_after_the_answer_was_generated_is_only_told(dialogue):
    talk = dialogue()
    talk.send("response.create")
    talk.until("rate_limits.updated")
    mark = len(talk.seen)
    talk.write(0.2, 0.3)
    assert talk.kinds(mark) == ["input_audio_buffer.speech_started"]
    assert talk.session.responses[0]["status"] == "completed"


def test_without_interrupt_response_the_answer_goes_on_and_the_next_cannot_start(dialogue):
    talk = dialogue(ScriptedMind([LONG]))
    talk.configure(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    talk.send("response.create")
    talk.until("response.output_audio.delta")
    talk.write(0.2, 0.3)
    talk.write(0.6, 0.0)
    assert talk.error()["code"] == "conversation_already_has_active_response"
    assert talk.error()["event_id"] is None
    assert talk.until("response.done")["response"]["status"] == "completed"
    assert [item.role for item in talk.session.items] == ["assistant", "user"]


def test_without_create_response_a_turn_is_committed_and_nothing_said(dialogue):
    talk = dialogue()
    talk.configure(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    talk.speak()
    talk.wait(10)
    assert talk.session.items[0].role == "user"
    assert "response.created" not in talk.kinds()


def test_a_cancelled_response_can_also_close_what_it_had_opened(dialogue):
    talk = dialogue(ScriptedMind([LONG]), faults=Faults(events_on_cancel=True))
    interrupted(talk)
    kinds = talk.kinds()
    end = kinds.index("response.done")
    assert kinds[end - 5 : end] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
    ]
    assert talk.all("response.output_item.done")[0]["item"]["status"] == "incomplete"


# --- transcripts ------------------------------------------------------------------------------------------------


def test_what_the_caller_said_is_told_beside_the_answer(dialogue):
    talk = dialogue(ear=TypedEar(["two coffees and a piece of cake please"]))
    talk.configure(audio=TRANSCRIBED)
    talk.speak()
    talk.wait(5)
    (completed,) = talk.all(f"{WHISPERED}.completed")
    assert completed["transcript"] == "two coffees and a piece of cake please"
    assert completed["usage"] == {"type": "duration", "seconds": pytest.approx(1.5, abs=0.021)}
    assert "".join(event["delta"] for event in talk.all(f"{WHISPERED}.delta")) == completed["transcript"]
    assert completed["item_id"] == talk.session.items[0].id


def test_other_transcribers_are_billed_by_the_token(dialogue):
    talk = dialogue(ear=TypedEar(["hello"]))
    talk.configure(audio={"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}})
    talk.speak()
    talk.wait(5)
    usage = talk.all(f"{WHISPERED}.completed")[0]["usage"]
    assert usage["type"] == "tokens"
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def test_a_transcript_may_come_after_the_answer_is_done(dialogue):
    later = []
    for seed in range(20):
        talk = dialogue(ScriptedMind(["Hi."]), seed=seed)
        talk.configure(audio=TRANSCRIBED)
        talk.speak()
        talk.wait(5)
        kinds = talk.kinds()
        later.append(kinds.index(f"{WHISPERED}.completed") > kinds.index("response.done"))
    assert any(later)
    assert not all(later)


def test_no_transcript_comes_unless_asked_for(dialogue):
    talk = dialogue()
    talk.speak()
    talk.wait(5)
    assert not [kind for kind in talk.kinds() if kind.startswith(WHISPERED)]


# --- nobody speaks ----------------------------------------------------------------------------------------------


def test_when_nobody_speaks_the_model_asks_again(dialogue):
    talk = dialogue(ScriptedMind(["Hello?", "Are you there?"]))
    detection = {"type": "server_vad", "idle_timeout_ms": 5000}
    talk.configure(audio={"input": {"turn_detection": detection, **TRANSCRIBED["input"]}})
    talk.wait(20)
    assert "input_audio_buffer.timeout_triggered" not in talk.kinds(), "it counts from an answer on"
    talk.send("response.create")
    done = talk.until("response.done")
    played_s = talk.voice.length_ms("Hello?") / 1000
    began = talk.now
    mark = len(talk.seen)
    event = talk.until("input_audio_buffer.timeout_triggered")
    assert talk.now - began == pytest.approx(played_s + 5.0)
    talk.until("response.done")
    talk.wait(2)
    assert [kind for kind in talk.kinds(mark) if not kind.startswith("response.")][:7] == [
        "input_audio_buffer.timeout_triggered",
        "conversation.item.added",
        "conversation.item.done",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{WHISPERED}.completed",
    ]
    system, user = talk.session.items[1:3]
    assert (system.role, user.role, user.id) == ("system", "user", event["item_id"])
    assert talk.all(f"{WHISPERED}.completed")[0]["transcript"] == ""
    assert talk.all(f"{WHISPERED}.completed")[0]["usage"]["seconds"] == 0
    assert done["response"]["id"] != talk.session.responses[-1]["id"]
    assert talk.answer.text == "Are you there?"


def test_whoever_speaks_in_time_is_not_asked(dialogue):
    talk = dialogue(ScriptedMind(["Hello?", "Fine."]))
    talk.configure(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}})
    talk.send("response.create")
    talk.until("response.done")
    talk.wait(4)
    talk.write(2.0, 0.3)
    talk.wait(8)
    assert "input_audio_buffer.timeout_triggered" not in talk.kinds()


# --- tools ------------------------------------------------------------------------------------------------------

LOOK_UP = UseTool("look_up", {"item": "oat milk", "size": 3})
ARGUMENTS_DONE = "response.function_call_arguments.done"


def test_a_tool_call_and_its_answer(dialogue):
    talk = dialogue(ScriptedMind([[LOOK_UP], "Sixty cents."]))
    talk.send("response.create")
    done = talk.until("response.done")["response"]
    assert talk.kinds() == [
        "session.created",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        ARGUMENTS_DONE,
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
    ]
    (call,) = done["output"]
    assert json.loads(call["arguments"]) == {"item": "oat milk", "size": 3}
    assert call["arguments"] != json.dumps(json.loads(call["arguments"])), "odd white space is part of the game"
    assert len(call["call_id"]) == len("call_") + 16
    talk.send(
        "conversation.item.create", item={"type": "function_call_output", "call_id": call["call_id"], "output": "0.60"}
    )
    assert "status" not in talk.all("conversation.item.added")[-1]["item"]
    talk.wait(60)
    assert len(talk.all("response.created")) == 1, "nothing is said before it is asked for"
    talk.send("response.create")
    talk.until("response.done")
    assert talk.answer.text == "Sixty cents."
    assert [line.role for line in talk.mind.situations[-1].lines] == ["tool_call", "tool_output"]
    assert talk.mind.situations[-1].lines[-1].name == "look_up"


def test_parallel_calls_behind_a_spoken_commentary(dialogue):
    talk = dialogue(ScriptedMind([[Say("One moment, I will look that up."), LOOK_UP, UseTool("clock", {})]]))
    talk.send("response.create")
    output = talk.until("response.done")["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert output[0]["phase"] == "commentary"
    assert json.loads(output[2]["arguments"]) == {}
    kinds = [event["type"] for event in talk.seen]
    assert kinds.index(ARGUMENTS_DONE) < kinds.index("response.output_audio.done"), "calls are made while it speaks"
    indexes = {event["output_index"] for event in talk.seen if "output_index" in event}
    assert indexes == {0, 1, 2}


def test_speech_cuts_off_a_call_that_is_being_written(dialogue):
    talk = dialogue(ScriptedMind([[UseTool("look_up", {"item": "a very long name " * 40})], "Yes?"]))
    talk.send("response.create")
    talk.until("response.function_call_arguments.delta")
    talk.write(0.2, 0.3)
    response = talk.session.responses[0]
    assert response["status"] == "cancelled"
    assert response["output"][0]["status"] == "incomplete"
    assert ARGUMENTS_DONE not in talk.kinds()


def test_an_output_without_its_call_is_refused(dialogue):
    talk = dialogue()
    talk.send("conversation.item.create", item={"type": "function_call_output", "call_id": "call_x", "output": "1"})
    assert talk.error()["param"] == "item.call_id"
    assert talk.session.items == []
