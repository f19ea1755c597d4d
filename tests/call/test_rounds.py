"""A model that calls tools and never says a word, as dialogues."""

from __future__ import annotations

from scene import Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.errands import MOST_ROUNDS, SPEAK_NOW

SPEAK = do.CreateResponse(may_use_tools=False)


def look_up(scene: Scene, number: int) -> None:
    """A response that only asks a tool, and the tool's answer."""
    scene.tell(ev.ResponseStarted(f"resp_{number}"))
    scene.tell(ev.ToolCalled(f"resp_{number}", f"item_{number}", f"call_{number}", "look_up", "{}"))
    scene.tell(ev.ResponseFinished(f"resp_{number}", "completed"))
    scene.pass_until(scene.now + 0.1)
    scene.tell(ev.ToolFinished(f"call_{number}", "{}"))


def test_a_model_that_only_calls_tools_is_asked_to_speak(scene: Scene) -> None:
    for number in range(MOST_ROUNDS - 1):
        look_up(scene, number)
        assert scene.all(do.CreateResponse)[-1] == do.CreateResponse()
    assert scene.all(do.AddNote) == []
    look_up(scene, MOST_ROUNDS)
    assert scene.all(do.AddNote) == [do.AddNote(SPEAK_NOW)]
    assert scene.all(do.CreateResponse)[-1] == SPEAK
    scene.answer("resp_said", "item_said", 1.0, text="I have found nothing. What else?")
    scene.pass_until(scene.now + 2.0)
    look_up(scene, MOST_ROUNDS + 1)
    assert scene.all(do.CreateResponse)[-1] == do.CreateResponse(), "a word begins the count anew"
    assert not scene.bridge.has_ended


def test_a_model_that_only_calls_tools_whatever_it_is_asked_is_given_up(scene: Scene) -> None:
    for number in range(MOST_ROUNDS):
        look_up(scene, number)
    assert scene.all(do.CreateResponse)[-1] == SPEAK
    look_up(scene, MOST_ROUNDS)
    assert scene.all(do.EndCall) == [do.EndCall("tool_loop", Policy().failed_sentence, status="failed")]
    assert [fault.code for fault in scene.entries(entries.FaultSeen)] == ["tool_loop"]
    assert ended(scene).status == "failed"


def test_several_tools_of_one_response_are_one_round(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    for number in range(2 * MOST_ROUNDS):
        scene.tell(ev.ToolCalled("resp_1", f"item_{number}", f"call_{number}", "look_up", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    for number in range(2 * MOST_ROUNDS):
        scene.tell(ev.ToolFinished(f"call_{number}", "{}"))
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_a_caller_who_speaks_into_the_last_ask_is_no_reason_to_give_up(scene: Scene) -> None:
    for number in range(MOST_ROUNDS):
        look_up(scene, number)
    scene.tell(ev.ResponseStarted("resp_speak"))
    scene.caller_speaks()
    scene.tell(ev.ResponseFinished("resp_speak", "cancelled", "turn_detected"))
    scene.caller_stops()
    scene.answer("resp_answer", "item_answer", 1.0, text="Nothing yet.")
    scene.pass_until(scene.now + 3.0)
    assert not scene.bridge.has_ended
