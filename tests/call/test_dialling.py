"""Keys that we press for the far side to hear, as dialogues."""

from __future__ import annotations

import pytest
from scene import Scene

from voice_gateway.audio import dtmf
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.dialling import CUT_OFF, MOST_WAITING, NOT_PRESSED, SEND_DTMF, TOO_MANY
from voice_gateway.call.goodbye import END_CALL


@pytest.fixture
def menu() -> Scene:
    """We have called a machine that reads out a menu."""
    scene = Scene(Policy(audio_format="pcmu", may_end=True))
    scene.begin()
    scene.pass_until(1.0)
    return scene


def played(scene: Scene) -> bytes:
    return b"".join(ulaw for _, ulaw in scene.line.sound)


def keys(scene: Scene) -> list[tuple[int, bool]]:
    return [(entry.keys, entry.whole) for entry in scene.entries(entries.KeysPlayed)]


def test_keys_are_played_into_the_far_sides_announcement(menu: Scene) -> None:
    menu.caller_speaks()
    menu.tell(ev.KeysAsked("12#"))
    menu.pass_until(3.0)
    assert dtmf.tones("12#") in played(menu)
    assert menu.all(do.ClearPlayout) == []
    assert keys(menu) == [(3, True)]
    assert menu.entries(entries.AssistantSpoke) == []


def test_keys_wait_until_our_voice_was_heard(menu: Scene) -> None:
    menu.answer("resp_1", "item_1", 2.0)
    menu.tell(ev.KeysAsked("1"))
    menu.tell(ev.KeysAsked("2"))
    menu.pass_until(6.0)
    sound = played(menu)
    assert sound.index(dtmf.tones("1")) > sound.rindex(b"\x10" * 100)
    assert sound.index(dtmf.tones("2")) > sound.index(dtmf.tones("1"))
    assert keys(menu) == [(1, True), (1, True)]


def test_a_model_that_sends_keys_without_end_is_not_followed(menu: Scene) -> None:
    menu.answer("resp_1", "item_1", 1.0)
    for _ in range(MOST_WAITING + 5):
        menu.tell(ev.KeysAsked("1"))
    menu.pass_until(30.0)
    assert len(keys(menu)) == MOST_WAITING
    assert [note.text for note in menu.all(do.AddNote)] == [NOT_PRESSED] * 5


def test_keys_beyond_those_that_may_wait_are_refused_and_the_model_goes_on(menu: Scene) -> None:
    menu.answer("resp_1", "item_1", 1.0)
    menu.tell(ev.KeysAsked("1"))
    menu.tell(ev.ResponseStarted("resp_2"))
    for number in range(MOST_WAITING + 1):
        menu.tell(ev.ToolCalled("resp_2", f"item_{number}", f"call_{number}", SEND_DTMF, '{"digits":"1"}'))
    run = [command.call_id for command in menu.all(do.RunTool)]
    assert run == [f"call_{number}" for number in range(MOST_WAITING - 1)]
    for call_id in run:
        menu.tell(ev.KeysAsked("1"))
        menu.tell(ev.ToolFinished(call_id, '{"ok":true}'))
    menu.tell(ev.ResponseFinished("resp_2", "completed"))
    told = {command.call_id: command.output for command in menu.all(do.SendToolOutput)}
    refused = [call_id for call_id, output in told.items() if output == TOO_MANY]
    assert refused == [f"call_{MOST_WAITING - 1}", f"call_{MOST_WAITING}"]
    failed = [entry.call_id for entry in menu.entries(entries.ToolAnswered) if not entry.ok]
    assert failed == refused
    menu.pass_until(30.0)
    assert len(keys(menu)) == MOST_WAITING, "nothing that was told to be pressed was left out"
    assert menu.all(do.AddNote) == []
    assert menu.all(do.CreateResponse), "the model goes on when they were played"


def test_the_only_keys_that_are_refused_are_answered_and_the_model_is_asked_to_go_on(menu: Scene) -> None:
    menu.answer("resp_1", "item_1", 1.0)
    for _ in range(MOST_WAITING):
        menu.tell(ev.KeysAsked("1"))
    asked = len(menu.all(do.CreateResponse))
    menu.tell(ev.ResponseStarted("resp_2"))
    menu.tell(ev.ToolCalled("resp_2", "item_2", "call_1", SEND_DTMF, '{"digits":"1"}'))
    menu.tell(ev.ToolCalled("resp_2", "item_2", "call_1", SEND_DTMF, '{"digits":"1"}'))
    menu.tell(ev.ResponseFinished("resp_2", "completed"))
    assert menu.all(do.SendToolOutput) == [do.SendToolOutput("call_1", TOO_MANY)]
    assert menu.all(do.RunTool) == []
    assert len(menu.all(do.CreateResponse)) == asked, "our own voice would spoil the keys"
    menu.pass_until(30.0)
    assert len(menu.all(do.CreateResponse)) > asked


def test_the_model_speaks_after_the_keys_were_played(menu: Scene) -> None:
    menu.tell(ev.ResponseStarted("resp_1"))
    menu.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "send_dtmf", "{}"))
    menu.tell(ev.ResponseFinished("resp_1", "completed"))
    menu.tell(ev.KeysAsked("1234567890"))
    menu.tell(ev.ToolFinished("call_1", "{}"))
    menu.pass_until(2.9)
    assert menu.all(do.CreateResponse) == []
    menu.pass_until(3.6)
    assert menu.all(do.CreateResponse) == [do.CreateResponse()]
    assert keys(menu) == [(10, True)]


def test_a_goodbye_waits_for_the_keys(menu: Scene) -> None:
    menu.tell(ev.KeysAsked("WW1"))
    menu.tell(ev.ResponseStarted("resp_1"))
    menu.speak("resp_1", "item_1", 0.3, text="Bye.")
    menu.tell(ev.AudioFinished("resp_1", "item_1", 0))
    menu.tell(ev.ToolCalled("resp_1", "item_f", "call_1", END_CALL, "{}"))
    menu.tell(ev.ResponseFinished("resp_1", "completed"))
    menu.pass_until(3.0)
    assert not menu.bridge.has_ended
    menu.pass_until(6.0)
    assert menu.bridge.has_ended
    assert keys(menu) == [(1, True)]


def test_keys_that_were_cut_off_are_told_to_the_model(menu: Scene) -> None:
    menu.tell(ev.KeysAsked("1WW2"))
    menu.answer("resp_1", "item_1", 2.0)
    menu.pass_until(2.0)
    menu.caller_speaks()
    menu.pass_until(3.0)
    assert keys(menu) == [(2, False)]
    assert do.AddNote(CUT_OFF) in menu.all(do.AddNote)
