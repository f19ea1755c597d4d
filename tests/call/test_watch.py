"""The watchdogs, as dialogues: what stands still is noticed, written down and acted on."""

from __future__ import annotations

import pytest
from scene import FRAME, Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.watch import LONGEST_SPEECH_S, NOT_HEARD, NOT_UNDERSTOOD


def watched() -> Scene:
    scene = Scene(Policy(audio_format="pcmu", media_stall_s=5.0))
    scene.begin()
    return scene


def talk(scene: Scene, seconds: float) -> None:
    """The carrier sends frames, sound or silence."""
    for _ in range(round(seconds * 50)):
        scene.pass_until(scene.now + 0.02)
        scene.tell(ev.CallerAudio(FRAME, round(scene.now * 1000)))


def codes(scene: Scene) -> list[str]:
    return [fault.code for fault in scene.entries(entries.FaultSeen)]


def test_when_the_callers_sound_stops_he_is_asked_and_in_the_end_the_call_ends() -> None:
    scene = watched()
    talk(scene, 7.0)
    scene.pass_until(scene.now + 4.9)
    assert codes(scene) == []
    scene.pass_until(scene.now + 0.2)
    assert codes(scene) == ["media_stalled"]
    assert [figure.figure for figure in scene.all(do.Observe)] == ["media_stalled"]
    assert scene.all(do.AddNote) == [do.AddNote(NOT_HEARD)]
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(scene.now + 54.8)
    assert not scene.bridge.has_ended
    scene.pass_until(scene.now + 5.1)
    assert scene.all(do.EndCall) == [do.EndCall("media_lost", Policy().failed_sentence, status="failed")]
    assert ended(scene).status == "failed"
    assert codes(scene) == ["media_stalled"]


def test_a_stall_of_the_callers_sound_is_told_anew_when_it_had_come_back() -> None:
    scene = watched()
    for _ in range(2):
        talk(scene, 1.0)
        scene.pass_until(scene.now + 6.0)
    assert codes(scene) == ["media_stalled"] * 2
    assert len(scene.all(do.AddNote)) == 1, "he is told once"


def test_a_stall_is_noticed_even_if_only_sound_came_since_the_one_before() -> None:
    scene = watched()
    talk(scene, 1.0)
    scene.pass_until(scene.now + 6.0)
    scene.answer("resp_1", "item_1", 1.0)
    talk(scene, 100.0)
    scene.pass_until(scene.now + 10.1)
    assert codes(scene) == ["media_stalled"] * 2


def test_a_stream_that_never_brings_sound_is_noticed() -> None:
    scene = watched()
    scene.pass_until(5.1)
    assert codes(scene) == ["media_stalled"]


def test_a_turn_in_whose_midst_the_sound_stops_is_ended_by_silence() -> None:
    scene = watched()
    talk(scene, 1.0)
    scene.caller_speaks()
    before = len(scene.all(do.AppendAudio))
    scene.pass_until(scene.now + 4.0)
    assert sum(len(append.audio) for append in scene.all(do.AppendAudio)[before:]) > 3 * 8000
    scene.caller_stops()
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(scene.now + 0.9)
    assert scene.all(do.CreateResponse) == [], "its answer came by itself"


def test_a_blocked_send_is_on_record(scene: Scene) -> None:
    scene.tell(ev.SendBlocked("caller", 2.1))
    (fault,) = scene.entries(entries.FaultSeen)
    assert (fault.where, fault.code) == ("caller", "send_blocked")
    assert scene.all(do.Observe) == [do.Observe("send_blocked", 2.1)]
    assert not scene.bridge.has_ended


def test_a_greeting_that_failed_is_asked_for_in_the_same_words() -> None:
    scene = Scene(Policy(greeting="Say hello.", audio_format="pcmu"))
    scene.begin()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ResponseFinished("resp_1", "failed", "server_error"))
    scene.pass_until(0.6)
    assert scene.all(do.CreateResponse) == [do.CreateResponse("Say hello.")] * 2


def test_what_came_since_a_failure_is_not_asked_for_again(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ResponseFinished("resp_1", "failed", "server_error"))
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(10.0)
    assert scene.all(do.CreateResponse) == []


@pytest.mark.parametrize("cut", [False, True])
def test_a_response_that_was_broken_off_before_any_sound_is_asked_for_once_more(scene: Scene, cut: bool) -> None:  # noqa: FBT001 - what is drawn
    scene.caller_speaks()
    scene.caller_stops()
    scene.tell(ev.ResponseStarted("resp_1"))
    if cut:
        scene.caller_speaks("user_2")
    scene.tell(ev.ResponseFinished("resp_1", "incomplete", "content_filter"))
    scene.pass_until(scene.now + 1.0)
    assert len(scene.all(do.CreateResponse)) == (not cut)


def test_what_was_broken_off_in_its_midst_is_not_said_twice(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, done=False)
    scene.tell(ev.ResponseFinished("resp_1", "incomplete", "max_output_tokens"))
    scene.pass_until(10.0)
    assert scene.all(do.CreateResponse) == []


def test_speech_without_an_end_is_taken_for_noise_and_in_the_end_the_call_ends(scene: Scene) -> None:
    scene.caller_speaks()
    began_at = scene.now
    scene.pass_until(began_at + LONGEST_SPEECH_S - 0.1)
    assert codes(scene) == []
    for number in range(2):
        scene.pass_until(began_at + LONGEST_SPEECH_S * (number + 1) + 0.1)
        assert scene.all(do.AddNote) == [do.AddNote(NOT_UNDERSTOOD)] * (number + 1)
        assert len(scene.all(do.CreateResponse)) == number + 1
        scene.answer(f"resp_{number}", f"item_{number}", 2.0, text="I cannot hear you.")
        scene.pass_until(scene.now + 3.0)
    assert len(scene.entries(entries.AssistantSpoke)) == 2, "he hears it"
    scene.pass_until(began_at + LONGEST_SPEECH_S * 3 + 0.1)
    assert codes(scene) == ["endless_speech"] * 2
    assert ended(scene).reason == "endless_speech"
    assert scene.all(do.EndCall)[0].say


def test_a_turn_that_ends_after_all_is_answered(scene: Scene) -> None:
    scene.caller_speaks()
    scene.pass_until(scene.now + LONGEST_SPEECH_S + 0.1)
    scene.answer("resp_1", "item_1", 2.0, done=False)
    scene.caller_stops()
    scene.tell(ev.TurnCommitted("user_1"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 3.1)
    assert len(scene.all(do.CreateResponse)) == 2
    scene.answer("resp_2", "item_2", 1.0)
    scene.caller_speaks("user_2")
    scene.pass_until(scene.now + LONGEST_SPEECH_S - 1)
    assert codes(scene) == ["endless_speech"]


def test_an_end_of_speech_that_is_told_twice_has_one_answer(scene: Scene) -> None:
    scene.caller_speaks()
    scene.caller_stops()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.caller_stops()
    scene.speak("resp_1", "item_1", 2.0)
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(30.0)
    assert scene.all(do.CreateResponse) == []
