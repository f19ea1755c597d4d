"""How calls end, and what is on their record then."""

from __future__ import annotations

import pytest
from scene import Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.usage import Usage


def test_a_hang_up_closes_the_record_with_what_was_heard(scene: Scene) -> None:
    scene.caller_speaks()
    scene.caller_stops()
    scene.answer("resp_1", "item_1", 4.0, text="one two three four five six seven eight")
    scene.tell(ev.UserTranscribed("user_1", "What do you have? "))
    scene.pass_until(scene.now + 2.0)
    commands = scene.tell(ev.CallerLeft("hangup"))
    assert commands[-1] == do.EndCall("hangup")
    assert ended(scene).status == "completed"
    assert ended(scene).transcript == "Caller: What do you have?\nAssistant: one two three four — [interrupted]"


def test_after_the_end_nothing_has_an_effect(scene: Scene) -> None:
    scene.tell(ev.CallerLeft("hangup"))
    assert scene.tell(ev.CallerLeft("lost")) == []
    assert scene.tell(ev.ModelLost("1006", "gone")) == []
    assert scene.bridge.deadline() is None


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (ev.ModelLost("session_expired", "60 minutes"), "model_lost"),
        (ev.ModelUnavailable("invalid_api_key", "refused"), "model_unavailable"),
    ],
)
def test_without_a_model_the_caller_gets_a_polite_word(scene: Scene, event: ev.Event, reason: str) -> None:
    commands = scene.tell(event)
    assert commands[-1] == do.EndCall(reason, Policy().failed_sentence, status="failed")
    assert ended(scene).status == "failed"
    (fault,) = scene.entries(entries.FaultSeen)
    assert fault.where == "model"


def test_a_call_ends_at_its_longest_duration_in_words() -> None:
    scene = Scene(Policy(audio_format="pcmu", max_duration_s=10.0))
    scene.begin()
    scene.pass_until(9.9)
    assert not scene.bridge.has_ended
    scene.pass_until(10.1)
    assert scene.all(do.EndCall) == [do.EndCall("max_duration", Policy().limit_sentence)]
    assert ended(scene).duration_ms == 10_000


def test_errors_that_are_not_fatal_are_written_down_and_survived(scene: Scene) -> None:
    scene.tell(ev.ModelErred("invalid_value", "too long", "evt_1"))
    assert not scene.bridge.has_ended
    assert scene.entries(entries.FaultSeen) == [entries.FaultSeen("model", "invalid_value", "too long")]


def test_a_failed_response_is_asked_for_once_more(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ResponseFinished("resp_1", "failed", "inference_rate_limit_exceeded", "slow down"))
    scene.pass_until(scene.now + 1.0)
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ResponseFinished("resp_2", "failed", "inference_rate_limit_exceeded", "slow down"))
    assert scene.all(do.EndCall) == [do.EndCall("model_failed", Policy().failed_sentence, status="failed")]


def test_usage_is_on_record_for_every_response(scene: Scene) -> None:
    usage = Usage(input_text=10, output_audio=20)
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ResponseFinished("resp_1", "completed", usage=usage))
    assert scene.entries(entries.ResponseMetered) == [
        entries.ResponseMetered("resp_1", "completed", "", usage, model="test-model")
    ]


def test_an_empty_transcription_is_no_turn(scene: Scene) -> None:
    scene.tell(ev.UserTranscribed("user_1", "  "))
    assert scene.entries(entries.UserSpoke) == []


def test_a_turn_of_ours_is_on_record_when_its_last_mark_came_back_and_not_before(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, text="Hello.")
    scene.pass_until(scene.now + 0.9)
    assert scene.entries(entries.AssistantSpoke) == []
    scene.pass_until(scene.now + 0.5)
    assert [turn.text for turn in scene.entries(entries.AssistantSpoke)] == ["Hello."]


def test_silence_keeps_the_models_clock_going_when_the_callers_frames_stop(scene: Scene) -> None:
    scene.tell(ev.CallerAudio(b"\x22" * 160, 0))
    before = len(scene.all(do.AppendAudio))
    scene.pass_until(scene.now + 2.0)
    silence = b"".join(append.audio for append in scene.all(do.AppendAudio)[before:])
    assert len(silence) > 8000
    assert set(silence) == {0xFF}
    scene.tell(ev.CallerLeft("hangup"))
    assert ended(scene).padded_ms == len(silence) // 8


def test_a_tool_that_is_still_at_work_at_the_end_is_given_up_on_record(scene: Scene) -> None:
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "slow", "{}"))
    scene.pass_until(scene.now + 1.0)
    scene.tell(ev.CallerLeft("hangup"))
    (answered,) = scene.entries(entries.ToolAnswered)
    assert (answered.call_id, answered.ok, answered.duration_ms) == ("call_1", False, 1000)


def test_a_call_cut_off_by_the_drain_gets_a_word(scene: Scene) -> None:
    commands = scene.tell(ev.HangUpAsked("draining"))
    assert commands[-1] == do.EndCall("draining", Policy().failed_sentence)
    assert ended(scene).status == "completed"
