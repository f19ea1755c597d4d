"""The watchdogs, as dialogues: what stands still is noticed, written down and acted on."""

from __future__ import annotations

from scene import FRAME, Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.watch import NOT_HEARD


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
