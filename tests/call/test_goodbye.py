"""Goodbyes, as dialogues: the call ends when the last word was heard, and not before."""

from __future__ import annotations

import pytest
from scene import Line, Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.goodbye import END_CALL, LONGEST_S, TAKEN_BACK, TRANSFER
from voice_gateway.call.policy import Colleague


def leaving(line: Line | None = None) -> Scene:
    scene = Scene(Policy(audio_format="pcmu", may_end=True), line)
    scene.begin()
    scene.pass_until(1.0)
    return scene


def say_goodbye(scene: Scene, number: int = 1, seconds: float = 1.0) -> None:
    """The model says its last word and ends the call, in one response."""
    response, item = f"resp_{number}", f"bye_{number}"
    scene.tell(ev.ResponseStarted(response))
    scene.speak(response, item, seconds, text="Goodbye!")
    scene.tell(ev.AudioFinished(response, item, 0))
    scene.tell(ev.ToolCalled(response, f"item_f{number}", f"call_{number}", END_CALL, "{}"))
    scene.tell(ev.ResponseFinished(response, "completed"))


@pytest.mark.parametrize("one_way_s", [0.0, 0.15])
def test_the_call_ends_when_the_last_word_was_heard(one_way_s: float) -> None:
    scene = leaving(Line(one_way_s, 0.06))
    say_goodbye(scene)
    heard_at = scene.now + one_way_s + 0.06 + 1.0 + one_way_s
    scene.pass_until(heard_at - 0.01)
    assert not scene.bridge.has_ended
    scene.pass_until(heard_at + 0.01)
    assert scene.all(do.EndCall) == [do.EndCall(END_CALL)]
    assert (ended(scene).status, ended(scene).transcript) == ("completed", "Assistant: Goodbye!")
    assert [turn.interrupted for turn in scene.entries(entries.AssistantSpoke)] == [False]
    assert scene.all(do.RunTool) == []
    assert [answer.ok for answer in scene.entries(entries.ToolAnswered)] == [True]
    assert scene.all(do.CreateResponse) == []


def test_a_model_that_ends_the_call_without_a_word_is_asked_for_one() -> None:
    scene = leaving()
    scene.tell(ev.ResponseStarted("resp_1"))
    commands = scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", END_CALL, "{}"))
    assert [type(command) for command in commands][1] is do.SendToolOutput
    assert scene.all(do.CreateResponse) == []
    assert scene.tell(ev.ResponseFinished("resp_1", "completed"))[-1] == do.CreateResponse()
    scene.answer("resp_2", "item_2", 1.0, text="Goodbye!")
    scene.pass_until(scene.now + 0.9)
    assert not scene.bridge.has_ended
    scene.pass_until(scene.now + 0.5)
    assert scene.all(do.EndCall) == [do.EndCall(END_CALL)]


def test_a_caller_who_speaks_into_the_goodbye_is_listened_to() -> None:
    scene = leaving()
    say_goodbye(scene, seconds=2.0)
    scene.pass_until(scene.now + 1.0)
    commands = scene.caller_speaks()
    assert any(isinstance(command, do.ClearPlayout) for command in commands)
    assert do.AddNote(TAKEN_BACK) in commands
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 1.0, text="Of course.")
    scene.pass_until(scene.now + 30.0)
    assert not scene.bridge.has_ended
    assert [entry.reason for entry in scene.entries(entries.GoodbyeTakenBack)] == [END_CALL]


def test_the_second_goodbye_stands() -> None:
    scene = leaving()
    say_goodbye(scene)
    scene.pass_until(scene.now + 0.5)
    scene.caller_speaks()
    scene.caller_stops()
    say_goodbye(scene, 2)
    scene.pass_until(scene.now + 0.5)
    cleared = len(scene.all(do.ClearPlayout))
    assert scene.caller_speaks("user_2") == []
    scene.caller_stops("user_2")
    assert scene.tell(ev.ResponseStarted("resp_3")) == [do.CancelResponse("resp_3")], "nobody asked for an answer"
    scene.speak("resp_3", "item_3", 1.0)
    scene.pass_until(scene.now + 0.9)
    assert len(scene.all(do.ClearPlayout)) == cleared
    assert scene.all(do.EndCall) == [do.EndCall(END_CALL)]
    assert ended(scene).transcript.endswith("Goodbye!")


def test_a_caller_who_is_already_speaking_is_not_hung_up_on() -> None:
    scene = leaving()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.caller_speaks()
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", END_CALL, "{}"))
    (answer,) = scene.entries(entries.ToolAnswered)
    assert not answer.ok
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "turn_detected"))
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 30.0)
    assert not scene.bridge.has_ended


def test_a_tool_at_work_is_waited_for_and_its_answer_is_heard() -> None:
    scene = leaving()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "place_order", "{}"))
    scene.tell(ev.ToolCalled("resp_1", "item_g", "call_2", END_CALL, "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 2.0)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.answer("resp_2", "item_2", 1.0, text="Ordered. Goodbye!")
    scene.pass_until(scene.now + 2.0)
    assert ended(scene).transcript == "Assistant: Ordered. Goodbye!"


def test_a_model_without_the_tool_cannot_end_the_call(scene: Scene) -> None:
    say_goodbye(scene)
    assert [run.name for run in scene.all(do.RunTool)] == [END_CALL], "the toolbox says that there is none"
    scene.pass_until(scene.now + 5.0)
    assert not scene.bridge.has_ended


def test_a_goodbye_that_the_model_does_not_say_is_said_by_the_carrier(scene: Scene) -> None:
    scene.tell(ev.GoodbyeAsked("transfer", "I put you through.", transfer_number="+15551230009"))
    (asked,) = scene.all(do.CreateResponse)
    assert "I put you through." in (asked.instructions or "")
    scene.pass_until(scene.now + 3.1)
    assert scene.all(do.EndCall) == [do.EndCall("transfer", "I put you through.", transfer_number="+15551230009")]


def test_a_transfer_waits_until_what_is_being_said_was_heard(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 2.0, text="I put you through.")
    scene.tell(ev.GoodbyeAsked("transfer", transfer_number="+15551230009"))
    scene.pass_until(scene.now + 1.9)
    assert not scene.bridge.has_ended
    scene.pass_until(scene.now + 0.5)
    assert scene.all(do.EndCall) == [do.EndCall("transfer", transfer_number="+15551230009")]


def test_a_last_word_that_fails_is_asked_for_once_more(scene: Scene) -> None:
    scene.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ResponseFinished("resp_1", "failed", "server_error"))
    scene.pass_until(scene.now + 0.6)
    assert len(scene.all(do.CreateResponse)) == 2
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 2.0)
    assert scene.all(do.EndCall) == [do.EndCall("operator")]


def test_a_last_word_in_whose_midst_the_model_falls_silent_is_the_last(scene: Scene) -> None:
    scene.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    scene.answer("resp_1", "item_1", 0.5, done=False)
    scene.pass_until(scene.now + 9.0)
    assert scene.all(do.EndCall) == [do.EndCall("operator")]


class Deaf(Line):
    """A carrier that returns no receipt."""

    def mark(self, sent_at: float, name: str) -> float:  # noqa: ARG002 - the Line's shape
        return float("inf")


def test_without_receipts_the_last_word_is_waited_for_by_the_clock() -> None:
    scene = leaving(Deaf())
    say_goodbye(scene, seconds=2.0)
    scene.pass_until(scene.now + 2.0)
    assert not scene.bridge.has_ended
    scene.pass_until(scene.now + 5.0)
    assert scene.bridge.has_ended


def test_a_goodbye_has_an_end_whatever_happens() -> None:
    scene = leaving()
    scene.tell(ev.ToolCalled("resp_0", "item_f", "call_0", "never_ends", "{}"))
    say_goodbye(scene)
    scene.pass_until(scene.now + LONGEST_S - 0.1)
    assert not scene.bridge.has_ended
    scene.pass_until(scene.now + 0.2)
    assert scene.all(do.EndCall) == [do.EndCall(END_CALL)]


def test_a_second_wish_to_part_changes_nothing(scene: Scene) -> None:
    scene.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    assert scene.tell(ev.GoodbyeAsked("transfer", "Another.", "+15551230009")) == []


BUDGET = ev.GoodbyeAsked("call_budget", "We have to end here.")


def last_words_asked(scene: Scene) -> int:
    return sum("We have to end here." in (ask.instructions or "") for ask in scene.all(do.CreateResponse))


def test_our_last_word_is_said_after_an_answer_that_came_first(scene: Scene) -> None:
    scene.caller_speaks()
    scene.pass_until(1.0)
    scene.tell(BUDGET)
    scene.pass_until(2.0)
    scene.caller_stops()
    scene.pass_until(2.3)
    scene.answer("resp_1", "item_1", 1.0, text="Seven.")
    scene.pass_until(5.0)
    assert last_words_asked(scene) == 1
    assert not scene.bridge.has_ended
    scene.answer("resp_2", "item_2", 1.0, text="We have to end here.")
    scene.pass_until(8.0)
    assert scene.all(do.EndCall) == [do.EndCall("call_budget")]


def test_our_last_word_is_said_after_the_answer_of_a_tool(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "slow", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.tell(BUDGET)
    scene.pass_until(2.0)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    scene.answer("resp_2", "item_2", 1.0, text="Seven.")
    scene.pass_until(4.0)
    assert last_words_asked(scene) == 1
    assert not scene.bridge.has_ended


def test_our_last_word_is_not_said_by_what_was_being_said_before(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 1.0, text="Seven.", done=False)
    scene.tell(BUDGET)
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    assert last_words_asked(scene) == 1
    scene.pass_until(5.0)
    assert scene.all(do.EndCall) == [do.EndCall("call_budget", "We have to end here.")], "the model did not say it"


def test_our_last_word_is_said_after_an_answer_that_crossed_our_ask(scene: Scene) -> None:
    scene.caller_speaks()
    scene.tell(BUDGET)
    scene.caller_stops()
    scene.pass_until(scene.now + 3.05)
    assert last_words_asked(scene) == 1, "the model was given its time"
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ModelErred("conversation_already_has_active_response", ""))
    scene.speak("resp_1", "item_1", 1.0, text="Seven.")
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 2.0)
    assert last_words_asked(scene) == 2
    scene.answer("resp_2", "item_2", 1.0, text="We have to end here.")
    scene.pass_until(scene.now + 2.0)
    assert scene.all(do.EndCall) == [do.EndCall("call_budget")]


@pytest.mark.parametrize(
    "gone", [ev.ModelLost("closed", "1006"), ev.ResponseFinished("resp_1", "failed", "server_error")]
)
def test_a_model_that_fails_in_a_goodbye_does_not_undo_a_transfer(scene: Scene, gone: ev.Event) -> None:
    scene.tell(ev.ResponseStarted("resp_0"))
    scene.tell(ev.ResponseFinished("resp_0", "failed", "server_error"))
    scene.tell(ev.GoodbyeAsked("transfer", "I put you through.", transfer_number="+15551230009"))
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(gone)
    assert scene.all(do.EndCall) == [do.EndCall("transfer", "I put you through.", transfer_number="+15551230009")]
    assert ended(scene).reason == "transfer"


# --- a transfer is not for the model's ears -----------------------------------------------------------------------


def speaking_on(scene: Scene, seconds: float) -> float:
    """The caller's frames for so long; returns how many milliseconds of them the model was given."""
    before = sum(len(each.audio) for each in scene.all(do.AppendAudio)) / 8
    for _ in range(round(seconds * 50)):
        scene.tell(ev.CallerAudio(b"\x20" * 160, round(scene.now * 1000)))
        scene.pass_until(scene.now + 0.02)
    return sum(len(each.audio) for each in scene.all(do.AppendAudio)) / 8 - before


def test_who_is_being_put_through_is_not_heard_by_the_model() -> None:
    scene = leaving()
    assert speaking_on(scene, 0.5) == pytest.approx(500, abs=20)
    scene.tell(ev.GoodbyeAsked("transfer", "I put you through.", "+15551230009"))
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.speak("resp_1", "bye_1", 2.0, text="I put you through.")
    assert speaking_on(scene, 1.0) == 0.0
    scene.pass_until(scene.now + 0.5)  # and a line that falls silent is not filled up for it
    assert speaking_on(scene, 0.1) == 0.0
    scene.tell(ev.AudioFinished("resp_1", "bye_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 3.0)
    assert scene.all(do.EndCall) == [do.EndCall("transfer", transfer_number="+15551230009")]


def test_what_is_being_said_when_a_transfer_begins_is_heard_to_its_end() -> None:
    scene = leaving()
    scene.caller_speaks()
    scene.tell(ev.GoodbyeAsked("transfer", "I put you through.", "+15551230009"))
    assert speaking_on(scene, 0.5) == pytest.approx(500, abs=20), "or the model would wait for its end for ever"
    scene.caller_stops()
    assert speaking_on(scene, 0.5) == 0.0


def test_a_transfer_that_is_taken_back_opens_the_models_ear_again() -> None:
    scene = leaving()
    scene.tell(ev.GoodbyeAsked("transfer", "I put you through.", "+15551230009"))
    assert speaking_on(scene, 0.2) == 0.0
    scene.caller_speaks()  # it had begun before the model's ear was shut
    assert speaking_on(scene, 0.5) == pytest.approx(500, abs=20)
    assert [entry.reason for entry in scene.entries(entries.GoodbyeTakenBack)] == ["transfer"]


def test_a_goodbye_without_a_transfer_is_still_listened_into() -> None:
    scene = leaving()
    say_goodbye(scene, seconds=2.0)
    assert speaking_on(scene, 0.5) == pytest.approx(500, abs=20)


def test_a_model_that_comes_during_a_transfer_is_not_given_what_was_kept_for_it() -> None:
    scene = Scene(Policy(audio_format="pcmu"))
    scene.tell(ev.CallerJoined("MZ1"))
    speaking_on(scene, 1.0)
    scene.tell(ev.GoodbyeAsked("transfer", "", "+15551230009"))
    scene.tell(ev.ModelReady("sess_1", "test-model"))
    assert scene.all(do.AppendAudio) == []


# --- being put through ------------------------------------------------------------------------------------------------

MANAGER = "+15551230009"


def reachable(announcement: str = "") -> Scene:
    scene = Scene(Policy(audio_format="pcmu", colleague=Colleague(MANAGER, announcement), max_duration_s=120.0))
    scene.begin()
    scene.pass_until(1.0)
    return scene


def put_through(scene: Scene, *, words: str = "I put you through.") -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    if words:
        scene.speak("resp_1", "item_1", 1.0, text=words)
        scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", TRANSFER, '{"reason":"wants the manager"}'))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))


def test_the_model_puts_the_caller_through_when_its_word_was_heard() -> None:
    scene = reachable()
    put_through(scene)
    scene.pass_until(scene.now + 0.9)
    assert not scene.bridge.has_ended
    scene.pass_until(scene.now + 0.5)
    assert scene.all(do.EndCall) == [do.EndCall("transfer", transfer_number=MANAGER)]
    assert scene.all(do.CreateResponse) == [], "it had said its word already"
    assert ended(scene).transcript == "Assistant: I put you through."


def test_a_model_that_puts_through_without_a_word_is_asked_for_one() -> None:
    scene = reachable()
    put_through(scene, words="")
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]
    scene.answer("resp_2", "item_2", 1.0, text="One moment, I put you through.")
    scene.pass_until(scene.now + 1.5)
    assert scene.all(do.EndCall) == [do.EndCall("transfer", transfer_number=MANAGER)]


def test_the_announcement_of_a_transfer_is_said_word_for_word() -> None:
    scene = reachable("The manager takes over now.")
    put_through(scene, words="")
    (asked,) = scene.all(do.CreateResponse)
    assert "The manager takes over now." in (asked.instructions or "")
    scene.answer("resp_2", "item_2", 1.0, text="The manager takes over now.")
    scene.pass_until(scene.now + 1.5)
    assert scene.all(do.EndCall) == [do.EndCall("transfer", transfer_number=MANAGER)]


def test_a_caller_who_speaks_is_not_put_through_in_the_midst_of_it() -> None:
    scene = reachable()
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.caller_speaks()
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", TRANSFER, "{}"))
    (answer,) = scene.entries(entries.ToolAnswered)
    assert not answer.ok
    scene.pass_until(scene.now + 10.0)
    assert not scene.bridge.has_ended


def test_where_there_is_no_colleague_the_toolbox_says_so(scene: Scene) -> None:
    put_through(scene)
    assert [run.name for run in scene.all(do.RunTool)] == [TRANSFER]


@pytest.mark.parametrize("limit", ["max_duration", "draining"])
def test_a_limit_that_falls_into_a_transfer_does_not_undo_it(limit: str) -> None:
    scene = reachable("The manager takes over now.")
    scene.pass_until(119.0)
    put_through(scene, words="")
    if limit == "draining":
        scene.tell(ev.HangUpAsked("draining"))
    scene.pass_until(120.1)
    (end,) = scene.all(do.EndCall)
    assert (end.reason, end.say, end.transfer_number) == ("transfer", "The manager takes over now.", MANAGER)


def test_an_operator_who_hangs_up_ends_a_transfer_too() -> None:
    scene = reachable("The manager takes over now.")
    put_through(scene, words="")
    scene.tell(ev.HangUpAsked("operator"))
    assert scene.all(do.EndCall) == [do.EndCall("operator")]
