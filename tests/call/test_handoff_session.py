"""Handoffs to another session of the model's, as dialogues: what it is told, and when it takes over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from handing_over import ASKED, BY_TOOL, WAITER, call, notes, ready, speak, told
from scene import Scene

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.handoff import HANDOFF_TO, TEXT_PATIENCE_S


def test_another_session_takes_over_in_a_quiet_moment_and_knows_what_was_said() -> None:
    scene = call()
    speak(scene, "user_1", "A coffee, please.")
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ToolCalled("resp_2", "item_f", "call_1", "lookup_menu", '{"query":"coffee"}'))
    scene.tell(ev.ToolCalled("resp_2", "item_g", "call_2", HANDOFF_TO, '{"persona":"cfo"}'))
    scene.tell(ev.ResponseFinished("resp_2", "completed"))
    assert told(scene.tell(BY_TOOL)) == [do.PrepareHandoff("cfo")]
    scene.tell(ev.ToolFinished("call_2", "{}"))
    scene.tell(ev.ToolFinished("call_1", '["coffee, 2000"]'))
    assert scene.all(do.CreateResponse) == [do.CreateResponse()], "the waiter says that he hands over"
    scene.answer("resp_3", "item_3", 2.0, text="One moment.")
    assert told(ready(scene, another=True)) == [], "not in the middle of our own sentence"
    at = scene.now
    scene.pass_until(at + 2.0)
    assert scene.all(do.SwapModel) == []
    scene.pass_until(at + 2.4)
    assert scene.all(do.SwapModel) == [do.SwapModel("cfo")]
    after = [command for _, command in scene.said]
    after = told(after[after.index(do.SwapModel("cfo")) :])
    assert after[1:5] == [
        do.AddLine("assistant", "What can I get you?"),
        do.AddLine("caller", "A coffee, please."),
        do.AddToolCall("call_1", "lookup_menu", '{"query":"coffee"}'),
        do.SendToolOutput("call_1", '["coffee, 2000"]'),
    ]
    assert after[5] == do.AddLine("assistant", "One moment.")
    assert after[-1] == do.CreateResponse()
    assert isinstance(after[-2], do.AddNote), "who it is comes last"
    joined = scene.entries(entries.ModelJoined)[-1]
    assert (joined.session_id, joined.model) == ("sess_2", "other-model")
    assert scene.entries(entries.HandedOff)[-1].another_session


def test_a_sentence_of_ours_that_was_cut_is_retold_as_far_as_it_was_heard() -> None:
    scene = call()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.speak("resp_2", "item_2", 4.0, text="one two three four five six seven eight")
    scene.tell(ev.AudioFinished("resp_2", "item_2", 0))
    scene.tell(ev.ResponseFinished("resp_2", "completed"))
    scene.pass_until(scene.now + 2.2)
    speak(scene, "user_1", "Stop.")
    scene.answer("resp_3", "item_3", 0.5, text="Yes?")
    scene.tell(ASKED)
    ready(scene, another=True)
    scene.pass_until(scene.now + 3.0)
    lines = [(line.speaker, line.text) for line in scene.all(do.AddLine)]
    (heard,) = [turn.text for turn in scene.entries(entries.AssistantSpoke) if turn.item_id == "item_2"]
    assert heard
    assert "eight" not in heard
    assert lines == [
        ("assistant", "What can I get you?"),
        ("assistant", heard),
        ("caller", "Stop."),
        ("assistant", "Yes?"),
    ]


def test_another_session_cuts_our_voice_only_once_it_is_there() -> None:
    scene = call()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.speak("resp_2", "item_2", 4.0, text="The soup of the day is tomato, and it is hot.")
    scene.tell(replace(ASKED, cut=True))
    scene.pass_until(scene.now + 1.0)
    assert scene.all(do.ClearPlayout) == [], "nobody else could speak yet"
    commands = told(ready(scene, another=True))
    assert [type(command) for command in commands] == [do.ClearPlayout, do.TruncateItem, do.CancelResponse]
    commands = told(scene.tell(ev.ResponseFinished("resp_2", "cancelled")))
    assert do.SwapModel("cfo") in commands
    assert commands[-1] == do.CreateResponse()


def sound(number: int) -> ev.CallerAudio:
    """A frame that can be told from every other."""
    return ev.CallerAudio(bytes([number % 250]) * 160, number * 20)


def test_not_a_frame_of_the_callers_is_lost_or_heard_twice() -> None:
    scene = Scene(WAITER)
    scene.begin()
    scene.answer("resp_1", "item_1", 0.1, text="Yes?")
    first: list[do.AppendAudio] = []
    second: list[do.AppendAudio] = []
    heard = first

    def hear(number: int) -> None:
        nonlocal heard
        scene.pass_until(number * 0.02 + 0.5)
        at = len(scene.said)
        scene.tell(sound(number))
        for _, command in scene.said[at:]:
            if isinstance(command, do.AppendAudio):
                heard.append(command)

    for number in range(50):
        hear(number)
    scene.tell(ASKED)
    scene.tell(ev.SpeechStarted("user_1", 600))
    for number in range(50, 70):
        hear(number)
    scene.tell(ev.SpeechStopped("user_1", 1200))  # up to frame 60
    scene.tell(ev.TurnCommitted("user_1"))
    scene.tell(ev.UserTranscribed("user_1", "Hello?"))
    scene.answer("resp_2", "item_2", 0.1, text="Hello!")
    for number in range(70, 90):
        hear(number)
    at = len(scene.said)
    ready(scene, another=True)
    assert scene.all(do.SwapModel) == [do.SwapModel("cfo")]
    taken = [command for _, command in scene.said[at:] if isinstance(command, do.AppendAudio)]
    heard = second
    for number in range(90, 100):
        hear(number)
    assert b"".join(each.audio for each in first) == b"".join(sound(n).ulaw for n in range(90))
    told_to_second = b"".join(each.audio for each in [*taken, *second])
    assert told_to_second == b"".join(sound(n).ulaw for n in range(60, 100)), "from the end of his last turn on"
    # The other session counts from its own first frame; the call's clock goes on.
    scene.tell(ev.SpeechStarted("user_2", 400))
    scene.tell(ev.SpeechStopped("user_2", 700))
    scene.tell(ev.UserTranscribed("user_2", "Are you there?"))
    spoke = scene.entries(entries.UserSpoke)[-1]
    assert (spoke.start_ms, spoke.end_ms) == (1600, 1900)


@pytest.mark.parametrize(("frames", "missing_s", "told_ms"), [(200, 0.0, 2000), (20, 1.0, 1400)])
def test_another_session_is_told_the_newest_sound_and_the_silence_of_a_telephone_that_sends_none(
    frames: int, missing_s: float, told_ms: int
) -> None:
    scene = call()
    scene.tell(ASKED)
    began = scene.now
    for number in range(frames):
        scene.pass_until(began + number * 0.02)
        scene.tell(sound(number))
    scene.pass_until(scene.now + missing_s)
    commands = ready(scene, another=True)
    (taken,) = [command for command in commands if isinstance(command, do.AppendAudio)]
    assert len(taken.audio) / 8 == pytest.approx(told_ms, abs=20)
    assert taken.audio[-160:] == (b"\xff" * 160 if missing_s else sound(frames - 1).ulaw)


def call_whose_last_turn_is_unwritten() -> Scene:
    """A handoff to another session that waits for nothing else than the caller's text."""
    scene = call()
    scene.tell(ev.SpeechStarted("user_1", 0))
    scene.tell(ev.SpeechStopped("user_1", 500))
    scene.answer("resp_2", "item_2", 0.5, text="Certainly.")
    scene.tell(ASKED)
    ready(scene, another=True)
    scene.pass_until(scene.now + 1.0)
    assert scene.all(do.SwapModel) == []
    return scene


def test_a_turn_that_is_still_being_written_down_is_waited_for() -> None:
    scene = call_whose_last_turn_is_unwritten()
    commands = told(scene.tell(ev.UserTranscribed("user_1", "I want to know about tax.")))
    assert do.AddLine("caller", "I want to know about tax.") in commands


def test_after_another_turn_the_wait_for_a_text_begins_anew() -> None:
    scene = call_whose_last_turn_is_unwritten()
    scene.tell(ev.SpeechStarted("user_2", 2000))
    scene.tell(ev.SpeechStopped("user_2", 2500))
    scene.answer("resp_3", "item_3", 0.5, text="Yes.")
    scene.pass_until(scene.now + 1.0 + TEXT_PATIENCE_S / 2)
    assert scene.all(do.SwapModel) == []
    scene.pass_until(scene.now + TEXT_PATIENCE_S)
    assert scene.all(do.SwapModel) == [do.SwapModel("cfo")]


def test_something_that_is_said_while_a_text_is_waited_for_keeps_nobody_awake() -> None:
    scene = call_whose_last_turn_is_unwritten()
    scene.tell(ev.SayAsked("say_1", "Your taxi is here.", "speak"))
    scene.tell(ev.SpeechStarted("user_2", 2000))
    scene.now += TEXT_PATIENCE_S
    scene.tell(ev.Woke())
    deadline = scene.bridge.deadline()
    assert deadline is not None
    assert deadline > scene.now, "or the session would wake it without rest"


def test_a_turn_that_was_written_down_too_late_is_told_as_a_note() -> None:
    scene = call_whose_last_turn_is_unwritten()
    scene.pass_until(scene.now + TEXT_PATIENCE_S)
    assert scene.all(do.SwapModel) == [do.SwapModel("cfo")]
    assert not [line for line in scene.all(do.AddLine) if line.speaker == "caller"]
    commands = scene.tell(ev.UserTranscribed("user_1", 'Tell me about "tax".'))
    assert "\"Tell me about 'tax'.\"" in notes(commands)
    assert [spoke.text for spoke in scene.entries(entries.UserSpoke)] == ['Tell me about "tax".']
    assert told(scene.tell(ev.UserTranscribed("user_1", "again"))) == []


def test_without_a_transcription_nothing_is_waited_for() -> None:
    scene = call(replace(WAITER, transcribed=False))
    scene.tell(ev.SpeechStarted("user_1", 0))
    scene.tell(ev.SpeechStopped("user_1", 500))
    scene.answer("resp_2", "item_2", 0.5, text="Certainly.")
    scene.pass_until(scene.now + 2.0)
    scene.tell(ASKED)
    assert do.SwapModel("cfo") in ready(scene, another=True)
