"""A caller who says nothing, as dialogues."""

from __future__ import annotations

import pytest
from scene import Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.idle import FAREWELL, STILL_THERE
from voice_gateway.call.policy import Idle


def quiet(idle: Idle) -> Scene:
    scene = Scene(Policy(audio_format="pcmu", idle=idle))
    scene.begin()
    return scene


def test_a_silent_caller_is_prompted_and_then_bidden_goodbye() -> None:
    scene = quiet(Idle(prompt_after_s=10.0, prompts=2, goodbye="Goodbye, then."))
    for number in (1, 2):
        scene.pass_until(scene.now + 9.9)
        assert len(scene.all(do.CreateResponse)) == number - 1
        scene.pass_until(scene.now + 0.2)
        assert scene.all(do.AddNote)[-1] == do.AddNote(STILL_THERE)
        assert len(scene.all(do.CreateResponse)) == number
        scene.answer(f"resp_{number}", f"item_{number}", 1.0, text="Are you there?")
        scene.pass_until(scene.now + 1.16)
    assert [prompt.count for prompt in scene.entries(entries.CallerPrompted)] == [1, 2]
    scene.pass_until(scene.now + 10.1)
    assert "Goodbye, then." in (scene.all(do.CreateResponse)[-1].instructions or "")
    scene.answer("resp_3", "item_3", 1.0, text="Goodbye, then.")
    scene.pass_until(scene.now + 1.5)
    assert scene.all(do.EndCall) == [do.EndCall("idle")]
    assert ended(scene).status == "completed"


def test_quiet_counts_from_the_last_sound_that_the_caller_heard() -> None:
    scene = quiet(Idle(prompt_after_s=5.0))
    scene.answer("resp_1", "item_1", 20.0)
    scene.pass_until(scene.now + 20.16 + 4.9)
    assert scene.all(do.AddNote) == []
    scene.pass_until(scene.now + 0.3)
    assert len(scene.all(do.AddNote)) == 1


@pytest.mark.parametrize("alive", [ev.SpeechStarted("user_1", 0), ev.DigitPressed("5")])
def test_a_sign_of_life_begins_the_count_anew(alive: ev.Event) -> None:
    scene = quiet(Idle(prompt_after_s=5.0, prompts=1))
    scene.pass_until(5.1)
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(7.0)
    scene.tell(alive)
    scene.caller_stops()
    scene.pass_until(scene.now + 2.0)
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 7.0)
    assert [prompt.count for prompt in scene.entries(entries.CallerPrompted)] == [1, 1]
    assert not scene.bridge.has_ended


def test_nobody_is_prompted_while_a_tool_works_or_he_speaks_or_the_model_thinks() -> None:
    scene = quiet(Idle(prompt_after_s=2.0))
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_1", "slow", "{}"))
    scene.pass_until(5.0)
    scene.caller_speaks()
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.pass_until(20.0)
    scene.caller_stops()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.pass_until(27.0)
    assert scene.all(do.AddNote) == []


def test_a_caller_who_answers_the_goodbye_stays() -> None:
    scene = quiet(Idle(prompt_after_s=3.0, prompts=0, goodbye="Goodbye, then."))
    scene.pass_until(3.1)
    scene.answer("resp_1", "item_1", 2.0)
    scene.pass_until(4.0)
    scene.caller_speaks()
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 2.0)
    assert not scene.bridge.has_ended


def test_a_goodbye_without_words_of_its_own_is_left_to_the_model() -> None:
    scene = quiet(Idle(prompt_after_s=3.0, prompts=0))
    scene.pass_until(3.1)
    assert scene.all(do.AddNote) == [do.AddNote(FAREWELL)]
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(scene.now + 1.5)
    assert scene.all(do.EndCall) == [do.EndCall("idle")]
    assert len(scene.all(do.CreateResponse)) == 1


def test_the_models_own_prompts_are_counted() -> None:
    scene = quiet(Idle(prompts=1, goodbye="Goodbye, then."))
    scene.tell(ev.IdleTimedOut("user_1"))
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(scene.now + 6.0)
    assert scene.all(do.CreateResponse) == [], "it prompts by itself"
    scene.tell(ev.IdleTimedOut("user_2"))
    assert [prompt.count for prompt in scene.entries(entries.CallerPrompted)] == [1]


def test_the_models_own_prompt_gives_way_to_the_goodbye() -> None:
    scene = quiet(Idle(prompts=0, goodbye="Goodbye, then."))
    scene.tell(ev.IdleTimedOut("user_1"))
    assert scene.all(do.CreateResponse) == [], "another response would be refused: its own is on its way"
    assert scene.tell(ev.ResponseStarted("resp_1")) == [do.CancelResponse("resp_1")]
    scene.speak("resp_1", "item_1", 1.0)
    (asked,) = [c for c in scene.tell(ev.ResponseFinished("resp_1", "cancelled")) if isinstance(c, do.CreateResponse)]
    assert "Goodbye, then." in (asked.instructions or "")
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 1.5)
    assert scene.all(do.EndCall) == [do.EndCall("idle")]
    assert [turn.item_id for turn in scene.entries(entries.AssistantSpoke)] == ["item_2"]


def test_a_goodbye_is_asked_for_when_the_models_own_prompt_does_not_come() -> None:
    scene = quiet(Idle(prompts=0, goodbye="Goodbye, then."))
    scene.tell(ev.IdleTimedOut("user_1"))
    scene.pass_until(scene.now + 3.1)
    assert len(scene.all(do.CreateResponse)) == 1


def test_without_a_time_of_ours_nobody_is_prompted_by_us(scene: Scene) -> None:
    scene.pass_until(600.0)
    assert scene.all(do.CreateResponse) == []
