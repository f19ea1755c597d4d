"""Handoffs, as dialogues: another persona takes over, and the caller hears no gap and says nothing twice."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from handing_over import ASKED, BY_TOOL, CFO, WAITER, call, confirm, handed, notes, ready, speak, told
from scene import FRAME, Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.goodbye import END_CALL
from voice_gateway.call.handoff import (
    HANDOFF_TO,
    LONGEST_S,
    NOT_HANDED_OVER,
    UPDATE_PATIENCE_S,
)
from voice_gateway.call.idle import STILL_THERE
from voice_gateway.call.keypad import DIGITS_SETTLE
from voice_gateway.call.policy import Idle
from voice_gateway.call.usage import Tariff, Usage

# --- the same session -----------------------------------------------------------------------------------------------


def test_a_handoff_waits_for_the_response_and_its_words_follow_without_a_gap() -> None:
    scene = call()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.speak("resp_2", "item_2", 2.0, text="The soup of the day is tomato.")
    assert told(scene.tell(ASKED)) == [do.PrepareHandoff("cfo")]
    assert told(ready(scene)) == [], "not in the middle of a response"
    scene.tell(ev.AudioFinished("resp_2", "item_2", 0))
    assert told(scene.tell(ev.ResponseFinished("resp_2", "completed")))[-1] == do.UpdateSession("cfo")
    commands = told(confirm(scene))
    assert commands[-1] == do.CreateResponse()
    scene.answer("resp_3", "item_3", 1.0, text="Finance here.")
    scene.pass_until(scene.now + 6.0)
    assert scene.all(do.ClearPlayout) == [], "our sentence was heard to its end"
    assert [turn.interrupted for turn in scene.entries(entries.AssistantSpoke)] == [False, False, False]
    sound = [(start, len(ulaw) / 8000) for start, ulaw in scene.line.sound if ulaw != FRAME]
    ours = [span for span in sound if span[0] > 3.0]
    gaps = [later - (start + length) for (start, length), (later, _) in pairwise(ours)]
    assert max(gaps) < 0.001, f"no gap: {gaps}"


def test_the_new_persona_leads_when_the_model_has_confirmed_it() -> None:
    tariff = Tariff(0, 0, 0, 0, 0, 1_000_000.0, "list of today")
    scene = call()
    scene.tell(BY_TOOL)
    assert told(ready(scene, replace(CFO, may_end=False, tariff=tariff))) == [do.UpdateSession("cfo")]
    assert handed(scene) == []
    commands = confirm(scene)
    assert 'the VAT of a coffee"' in notes(commands)
    assert "you are Finance chief now" in notes(commands)
    (entry,) = scene.entries(entries.HandedOff)
    assert (entry.from_persona, entry.to_persona, entry.by) == ("waiter", "cfo", "tool")
    assert entry.reason == BY_TOOL.reason
    assert not entry.another_session
    assert [figure.figure for figure in scene.all(do.Observe) if figure.figure.startswith("handoff")] == [
        "handoff_update"
    ]
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ToolCalled("resp_2", "item_f", "call_1", END_CALL, "{}"))
    assert scene.all(do.RunTool), "this persona may not end the call by itself"
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.tell(ev.ResponseFinished("resp_2", "completed", usage=Usage(output_audio=1)))
    assert scene.entries(entries.ResponseMetered)[-1].price_book == "list of today"


def test_who_said_what_is_told_apart_on_the_record() -> None:
    scene = call()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.speak("resp_2", "item_2", 2.0, text="The soup is tomato.")
    scene.tell(ASKED)
    ready(scene)
    scene.tell(ev.AudioFinished("resp_2", "item_2", 0))
    scene.tell(ev.ResponseFinished("resp_2", "completed"))
    confirm(scene)
    scene.answer("resp_3", "item_3", 1.0, text="Finance here.")
    scene.pass_until(scene.now + 6.0)
    spoke = {turn.item_id: turn.persona for turn in scene.entries(entries.AssistantSpoke)}
    assert spoke == {"item_1": "waiter", "item_2": "waiter", "item_3": "cfo"}
    scene.tell(ev.CallerLeft("hangup"))
    assert ended(scene).transcript.splitlines() == [
        "Assistant: What can I get you?",
        "Assistant: The soup is tomato.",
        "[Handed over from waiter to cfo]",
        "Assistant: Finance here.",
    ]


def test_a_handoff_may_cut_our_own_voice() -> None:
    scene = call()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.speak("resp_2", "item_2", 4.0, text="The soup of the day is tomato, and it is hot.")
    scene.pass_until(scene.now + 1.0)
    scene.tell(replace(ASKED, cut=True))
    commands = told(ready(scene))
    assert [type(command) for command in commands] == [do.ClearPlayout, do.TruncateItem, do.CancelResponse]
    assert told(scene.tell(ev.ResponseFinished("resp_2", "cancelled")))[-1] == do.UpdateSession("cfo")
    assert scene.entries(entries.BargedIn) == [], "nobody cut in"
    assert scene.entries(entries.AssistantSpoke)[-1].interrupted


def test_a_handoff_never_cuts_a_protected_greeting() -> None:
    policy = replace(WAITER, greeting='Say exactly this and nothing else: "Hello!"', protect_greeting=True)
    scene = Scene(policy)
    scene.begin()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.speak("resp_1", "item_1", 2.0, text="Hello!")
    scene.pass_until(scene.now + 0.5)
    scene.tell(replace(ASKED, cut=True))
    assert told(ready(scene)) == []
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    assert do.UpdateSession("cfo") in scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 4.0)
    assert scene.all(do.ClearPlayout) == []


def test_tools_at_work_come_first() -> None:
    scene = call()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ToolCalled("resp_2", "item_f", "call_1", "lookup_menu", "{}"))
    scene.tell(ev.ResponseFinished("resp_2", "completed"))
    scene.tell(ASKED)
    assert told(ready(scene)) == []
    commands = told(scene.tell(ev.ToolFinished("call_1", '["soup"]')))
    assert commands == [do.SendToolOutput("call_1", '["soup"]'), do.UpdateSession("cfo")]


def test_the_persona_that_was_handed_to_speaks_and_not_the_one_before() -> None:
    scene = call()
    scene.tell(ev.ResponseStarted("resp_2"))
    scene.tell(ev.ToolCalled("resp_2", "item_f", "call_1", HANDOFF_TO, '{"persona":"cfo"}'))
    scene.tell(ev.ResponseFinished("resp_2", "completed"))
    scene.tell(BY_TOOL)
    ready(scene)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert scene.all(do.UpdateSession) == [do.UpdateSession("cfo")]
    assert scene.all(do.CreateResponse) == [], "what the tool brought is not the waiter's to say"
    assert told(confirm(scene))[-1] == do.CreateResponse()
    assert len(scene.all(do.CreateResponse)) == 1


def test_a_caller_who_speaks_during_a_handoff_is_answered_by_the_new_persona() -> None:
    scene = call()
    scene.caller_speaks()
    scene.tell(ASKED)
    assert told(ready(scene)) == [do.UpdateSession("cfo")], "what he says goes to the same session"
    confirm(scene)
    assert scene.all(do.CreateResponse) == []
    scene.pass_until(scene.now + 1.0)
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 1.0, text="Finance here: it is 18 percent.")
    scene.pass_until(scene.now + 4.0)
    assert scene.all(do.CreateResponse) == [], "the model has answered him by itself, and was told who it is"


def test_an_answer_that_the_model_owes_comes_before_the_change() -> None:
    scene = call()
    scene.caller_speaks()
    scene.caller_stops()
    scene.tell(ASKED)
    assert told(ready(scene)) == [], "nobody could tell whose answer that would be"
    scene.answer("resp_2", "item_2", 1.0, text="Certainly.")
    assert scene.all(do.UpdateSession) == [do.UpdateSession("cfo")]


# --- the first words ------------------------------------------------------------------------------------------------


def test_a_handoff_before_the_first_words_changes_who_greets() -> None:
    scene = Scene(replace(WAITER, greeting="Say hello as the waiter."))
    scene.tell(ev.CallerJoined("MZ1"))
    assert told(scene.tell(ASKED)) == [], "there is no session yet that could be changed"
    commands = told(scene.tell(ev.ModelReady("sess_1", "test-model")))
    assert do.PrepareHandoff("cfo") in commands
    scene.tell(ev.ModelErred("conversation_already_has_active_response", ""))
    assert told(ready(scene, replace(CFO, greeting="Say hello as the finance chief."))) == [do.UpdateSession("cfo")]
    commands = confirm(scene)
    scene.pass_until(scene.now + 5.0)
    asked = [response.instructions for response in scene.all(do.CreateResponse)]
    assert asked[:2] == ["Say hello as the waiter.", "Say hello as the finance chief."], "the first one was refused"
    assert notes(commands) == ""


def test_a_handoff_during_the_greeting_waits_for_its_end() -> None:
    scene = Scene(replace(WAITER, greeting="Say hello as the waiter."))
    scene.begin()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.speak("resp_1", "item_1", 1.0, text="Hello!")
    scene.tell(ASKED)
    ready(scene, replace(CFO, greeting="Say hello as the finance chief."))
    assert scene.all(do.UpdateSession) == []
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    commands = confirm(scene)
    assert scene.all(do.CreateResponse) == [do.CreateResponse("Say hello as the waiter."), do.CreateResponse()]
    assert "without a whole greeting" in notes(commands)


@pytest.mark.parametrize(
    ("introduction", "by", "words", "speaks"),
    [
        (None, "api", "Say in a few words who you are", True),
        ("Finance here.", "api", 'exactly these words: "Finance here."', True),
        ("", "api", "", False),
        ("", "tool", "", True),
    ],
)
def test_the_new_persona_introduces_itself_as_it_was_told_to(
    introduction: str | None, by: str, words: str, *, speaks: bool
) -> None:
    scene = call()
    scene.tell(replace(ASKED, by=by))
    ready(scene, replace(CFO, introduction=introduction))
    commands = confirm(scene)
    assert words in notes(commands)
    assert ("who you are" in notes(commands)) == (introduction is None)
    assert (do.CreateResponse() in commands) == speaks


# --- which one counts -----------------------------------------------------------------------------------------------


def test_of_two_handoffs_the_later_one_counts() -> None:
    scene = call()
    scene.tell(ASKED)
    commands = told(scene.tell(ev.HandoffAsked("bartender", "api")))
    assert commands == [do.DropHandoff(), do.PrepareHandoff("bartender")]
    assert told(ready(scene)) == [], "what was prepared for the first one comes too late"
    assert told(ready(scene, another=True)) == [do.DropHandoff()]
    ready(scene, replace(CFO, persona="bartender"))
    confirm(scene, "bartender")
    assert handed(scene) == [("waiter", "bartender")]


def test_the_same_handoff_asked_for_twice_is_one() -> None:
    scene = call()
    scene.tell(ASKED)
    assert told(scene.tell(ASKED)) == []
    ready(scene)
    confirm(scene)
    assert handed(scene) == [("waiter", "cfo")]


def test_a_handoff_that_is_being_confirmed_is_followed_by_the_next() -> None:
    scene = call()
    scene.tell(ASKED)
    ready(scene)
    assert told(scene.tell(ev.HandoffAsked("waiter", "api"))) == []
    commands = confirm(scene)
    assert do.PrepareHandoff("waiter") in commands
    scene.answer("resp_2", "item_2", 0.5, text="Finance here.")
    scene.tell(ev.HandoffReady("waiter", WAITER))
    confirm(scene, "waiter")
    assert handed(scene) == [("waiter", "cfo"), ("cfo", "waiter")]


def test_a_handoff_to_the_one_who_leads_already_is_nothing() -> None:
    scene = call()
    assert told(scene.tell(ev.HandoffAsked("waiter", "api"))) == []
    scene.tell(ASKED)
    assert told(scene.tell(ev.HandoffAsked("waiter", "api"))) == [do.DropHandoff()]
    scene.pass_until(scene.now + 5.0)
    assert handed(scene) == []
    assert scene.entries(entries.FaultSeen) == []


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["api", "tool", "keypad"])
def test_a_session_that_cannot_be_had_leaves_the_call_as_it_was(by: str) -> None:
    scene = call()
    scene.tell(replace(ASKED, by=by))
    commands = scene.tell(ev.HandoffFailed("cfo", "timeout", "There was not a connection"))
    assert (do.AddNote(NOT_HANDED_OVER) in commands) == (by != "api")
    assert (do.CreateResponse() in commands) == (by != "api")
    (fault,) = scene.entries(entries.FaultSeen)
    assert (fault.where, fault.code) == ("gateway", "handoff_timeout")
    scene.tell(ev.SpeechStarted("user_1", 0))
    scene.tell(ev.SpeechStopped("user_1", 500))
    scene.answer("resp_2", "item_2", 0.5, text="Anything else?")
    scene.pass_until(scene.now + 3.0)
    assert scene.entries(entries.AssistantSpoke)[-1].persona == "waiter"
    assert handed(scene) == []


def test_a_refused_change_leaves_the_call_as_it_was() -> None:
    scene = call()
    scene.tell(BY_TOOL)
    ready(scene)
    commands = scene.tell(ev.UpdateRefused("cfo", "invalid_value", "no such tool"))
    assert do.AddNote(NOT_HANDED_OVER) in commands
    assert commands[-1] == do.CreateResponse()
    assert handed(scene) == []


def test_a_change_that_is_not_confirmed_is_given_up_and_counts_if_it_comes_after_all() -> None:
    scene = call()
    scene.tell(ASKED)
    ready(scene)
    scene.pass_until(scene.now + UPDATE_PATIENCE_S + 0.1)
    assert [fault.code for fault in scene.entries(entries.FaultSeen)] == ["handoff_no_answer"]
    assert handed(scene) == []
    confirm(scene)
    assert handed(scene) == [("waiter", "cfo")], "what the model is, the record says"


def test_a_session_that_is_lost_before_it_takes_over_is_not_missed() -> None:
    scene = call()
    scene.tell(ASKED)
    scene.caller_speaks()
    ready(scene, another=True)
    scene.tell(ev.HandoffFailed("cfo", "closed_1006", ""))
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 0.5)
    scene.pass_until(scene.now + 5.0)
    assert scene.all(do.SwapModel) == []
    assert not scene.bridge.has_ended


def test_a_handoff_that_finds_no_moment_is_given_up() -> None:
    scene = call()
    scene.tell(ASKED)
    scene.caller_speaks()
    ready(scene, another=True)
    scene.pass_until(scene.now + LONGEST_S + 0.1)
    assert "handoff_no_moment" in [fault.code for fault in scene.entries(entries.FaultSeen)]
    assert scene.all(do.DropHandoff) == [do.DropHandoff()]


def test_a_call_that_is_being_ended_is_handed_to_nobody() -> None:
    scene = call()
    scene.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    assert [type(command) for command in told(scene.tell(ASKED))] == []
    other = call()
    other.tell(ASKED)
    assert do.DropHandoff() in other.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    assert told(ready(other, another=True)) == [do.DropHandoff()]
    for scene_ in (scene, other):
        assert [fault.code for fault in scene_.entries(entries.FaultSeen)] == ["handoff_call_ending"]


def test_a_hang_up_during_a_handoff_ends_the_call() -> None:
    scene = call()
    scene.tell(ASKED)
    ready(scene)
    scene.tell(ev.CallerLeft("hangup"))
    assert scene.bridge.has_ended
    assert confirm(scene) == []
    assert ready(scene, another=True) == []


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["9", "*1", "9#"])
def test_a_key_hands_over_to_its_persona(keys: str) -> None:
    scene = call()
    for key in keys:
        scene.tell(ev.DigitPressed(key))
    scene.pass_until(scene.now + DIGITS_SETTLE)
    assert scene.all(do.PrepareHandoff) == [do.PrepareHandoff("cfo")]
    assert scene.all(do.AddNote) == [], "the model need not know of the key"
    ready(scene)
    assert do.CreateResponse() in confirm(scene)
    assert scene.entries(entries.HandedOff)[-1].by == "keypad"


def test_the_keys_are_those_of_who_leads() -> None:
    scene = call()
    scene.tell(ASKED)
    ready(scene, replace(CFO, keys={"0": "waiter"}))
    confirm(scene)
    for key, persona in (("9", None), ("0", "waiter")):
        scene.tell(ev.DigitPressed(key))
        scene.pass_until(scene.now + DIGITS_SETTLE)
        asked = [each.persona for each in scene.all(do.PrepareHandoff)]
        assert asked == ["cfo", *([persona] if persona else [])]


def test_a_key_among_others_hands_over_to_nobody() -> None:
    scene = call()
    for key in "192":
        scene.tell(ev.DigitPressed(key))
    scene.pass_until(scene.now + DIGITS_SETTLE)
    assert scene.all(do.PrepareHandoff) == []
    assert [note.text for note in scene.all(do.AddNote)] == ["The caller pressed these keys on the telephone: 1 9 2"]


# --- what else follows the persona ----------------------------------------------------------------------------------


def test_the_prompts_for_a_silent_caller_are_those_of_who_leads() -> None:
    scene = call()
    scene.tell(ASKED)
    ready(scene, replace(CFO, idle=Idle(prompt_after_s=5.0)))
    confirm(scene)
    scene.answer("resp_2", "item_2", 0.5, text="Finance here.")
    scene.pass_until(scene.now + 7.0)
    assert do.AddNote(STILL_THERE) in scene.all(do.AddNote)


def test_whoever_takes_over_is_interrupted_by_his_own_rules() -> None:
    scene = call()
    scene.tell(ASKED)
    ready(scene, replace(CFO, min_speech_ms=300))
    confirm(scene)
    scene.answer("resp_2", "item_2", 3.0, text="A long sentence about taxes.")
    scene.pass_until(scene.now + 0.5)
    scene.tell(ev.SpeechStarted("user_1", 0))
    heard_s = 0.0
    while not scene.all(do.ClearPlayout) and heard_s < 1.0:
        scene.tell(ev.CallerAudio(b"\x10" * 160, round(heard_s * 1000)))
        heard_s += 0.02
        scene.pass_until(scene.now + 0.02)
    assert heard_s == pytest.approx(0.3, abs=0.03)


def test_how_long_a_call_may_last_stays_as_it_began() -> None:
    scene = call(replace(WAITER, max_duration_s=20.0))
    scene.tell(ASKED)
    ready(scene, replace(CFO, max_duration_s=3600.0))
    confirm(scene)
    scene.answer("resp_2", "item_2", 0.5, text="Finance here.")
    scene.pass_until(21.0)
    assert ended(scene).reason == "max_duration"


def test_a_long_call_is_retold_from_its_newest_end() -> None:
    scene = call()
    for number in range(70):
        speak(scene, f"user_{number}", f"{number} " + "x" * 1000)
        scene.answer(f"resp_u{number}", f"item_u{number}", 0.1, text=f"{number}!")
        scene.pass_until(scene.now + 0.5)
    scene.tell(ASKED)
    commands: list[Any] = ready(scene, another=True)
    lines = [command.text for command in commands if isinstance(command, do.AddLine)]
    assert lines[-1] == "69!"
    assert 55 <= sum(1 for line in lines if "x" in line) < 60
    assert "left out" in notes(commands[:2])
