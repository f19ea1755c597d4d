"""What somebody inside wants said, as dialogues: it waits for its moment, and its end tells what was heard."""

from __future__ import annotations

import pytest
from scene import FRAME, Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.discretion import NOT_KEPT
from voice_gateway.call.saying import LONGEST_WAIT_S, MOST_ASKS, MOST_WAITING, PART, exactly, note_of, parts_of

DELIVERY = "Your table is ready."
ACTIVE = "conversation_already_has_active_response"


def say(scene: Scene, text: str = DELIVERY, *, number: int = 1, interrupt: bool = False, ask: bool = False) -> None:
    scene.tell(ev.SayAsked(f"say_{number}", text, "ask" if ask else "speak", interrupt, "shop"))


def outcomes(scene: Scene) -> dict[str, str]:
    return {entry.saying_id: entry.outcome for entry in scene.entries(entries.SayingEnded)}


def asked_for(scene: Scene) -> list[str | None]:
    return [command.instructions for command in scene.all(do.CreateResponse)]


def test_a_saying_waits_for_a_quiet_moment(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 2.0)
    say(scene)
    scene.pass_until(scene.now + 1.0)
    assert asked_for(scene) == []
    scene.pass_until(scene.now + 1.5)
    assert asked_for(scene) == [exactly(DELIVERY).instructions]
    assert scene.all(do.ClearPlayout) == []


def test_a_saying_is_over_when_it_was_heard(scene: Scene) -> None:
    say(scene)
    assert asked_for(scene) == [exactly(DELIVERY).instructions], "nobody speaks: it is said at once"
    scene.answer("resp_1", "item_1", 2.0, text=DELIVERY)
    scene.pass_until(scene.now + 1.5)
    assert outcomes(scene) == {}
    scene.pass_until(scene.now + 1.0)
    assert scene.entries(entries.SayingEnded) == [entries.SayingEnded("say_1", "heard", ("item_1",))]
    assert scene.entries(entries.SayingAsked) == [
        entries.SayingAsked("say_1", "shop", "speak", DELIVERY, interrupt=False)
    ]


def test_sayings_are_said_one_after_the_other(scene: Scene) -> None:
    say(scene, "One.")
    say(scene, "Two.", number=2)
    scene.answer("resp_1", "item_1", 1.0)
    scene.pass_until(scene.now + 0.5)
    assert asked_for(scene) == [exactly("One.").instructions]
    scene.pass_until(scene.now + 1.0)
    assert asked_for(scene) == [exactly("One.").instructions, exactly("Two.").instructions]
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 2.0)
    assert outcomes(scene) == {"say_1": "heard", "say_2": "heard"}


def test_more_than_so_many_sayings_do_not_wait(scene: Scene) -> None:
    for number in range(MOST_WAITING + 2):
        say(scene, number=number)
    assert outcomes(scene) == {f"say_{MOST_WAITING + 1}": "full"}


def test_a_saying_that_finds_no_quiet_moment_expires(scene: Scene) -> None:
    scene.caller_speaks()
    say(scene)
    scene.pass_until(scene.now + LONGEST_WAIT_S - 1.5)
    assert outcomes(scene) == {}
    scene.pass_until(scene.now + 1.6)
    assert outcomes(scene) == {"say_1": "expired"}


def test_a_saying_may_cut_our_own_voice_at_what_was_heard(scene: Scene) -> None:
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ItemStarted("resp_1", "item_1", "message"))
    scene.speak("resp_1", "item_1", 4.0, text="A long story of the house, which nobody needs just now.")
    scene.pass_until(scene.now + 1.0)
    say(scene, interrupt=True)
    assert scene.all(do.CancelResponse) == [do.CancelResponse("resp_1")]
    (truncated,) = scene.all(do.TruncateItem)
    assert truncated.audio_end_ms == pytest.approx(scene.truths[0] / 8, abs=20)
    assert scene.entries(entries.BargedIn) == [], "nobody barged in"
    assert asked_for(scene) == [], "one response at a time"
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "client_cancelled"))
    assert asked_for(scene) == [exactly(DELIVERY).instructions]
    scene.answer("resp_2", "item_2", 1.0, text=DELIVERY)
    scene.pass_until(scene.now + 2.0)
    assert outcomes(scene) == {"say_1": "heard"}


def test_a_saying_never_cuts_the_caller(scene: Scene) -> None:
    scene.caller_speaks()
    say(scene, interrupt=True)
    scene.pass_until(scene.now + 2.0)
    assert asked_for(scene) == []
    scene.caller_stops()
    scene.answer("resp_1", "item_1", 1.0, text="An answer.")
    scene.pass_until(scene.now + 2.0)
    assert asked_for(scene) == [exactly(DELIVERY).instructions]


def test_an_answer_to_the_caller_comes_first_and_then_the_saying(scene: Scene) -> None:
    say(scene)
    scene.caller_speaks()
    assert scene.tell(ev.ResponseStarted("resp_1")) == [do.CancelResponse("resp_1")], "the caller speaks already"
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "client_cancelled"))
    scene.pass_until(scene.now + 1.0)
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 1.0, text="An answer.")
    scene.pass_until(scene.now + 2.0)
    assert asked_for(scene) == [exactly(DELIVERY).instructions] * 2
    scene.answer("resp_3", "item_3", 1.0, text=DELIVERY)
    scene.pass_until(scene.now + 2.0)
    assert scene.entries(entries.SayingEnded) == [entries.SayingEnded("say_1", "heard", ("item_3",))]


def test_a_saying_that_crossed_another_response_is_asked_for_again(scene: Scene) -> None:
    say(scene)
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ModelErred(ACTIVE, ""))
    scene.tell(ev.ItemStarted("resp_1", "item_1", "message"))
    scene.speak("resp_1", "item_1", 1.0, text="Something else.")
    scene.tell(ev.AudioFinished("resp_1", "item_1", 0))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 2.0)
    assert outcomes(scene) == {}
    assert asked_for(scene) == [exactly(DELIVERY).instructions] * 2


def test_a_model_that_never_says_it_is_not_asked_for_ever(scene: Scene) -> None:
    say(scene)
    for number in range(MOST_ASKS + 1):
        scene.pass_until(scene.now + 1.0)
        scene.tell(ev.ResponseStarted(f"resp_{number}"))
        scene.tell(ev.ModelErred(ACTIVE, ""))
        scene.tell(ev.ResponseFinished(f"resp_{number}", "completed"))
    assert outcomes(scene) == {"say_1": "failed"}
    assert len(asked_for(scene)) == MOST_ASKS


def test_a_response_without_a_word_has_not_said_it(scene: Scene) -> None:
    say(scene)
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    assert outcomes(scene) == {"say_1": "failed"}


def test_a_caller_who_cuts_in_ends_the_saying(scene: Scene) -> None:
    say(scene, " ".join(f"This is sentence number {number}." for number in range(60)))
    scene.answer("resp_1", "item_1", 3.0, text="This is sentence number 0. This is sentence number 1.")
    scene.pass_until(scene.now + 1.0)
    scene.caller_speaks()
    assert scene.entries(entries.SayingEnded) == [entries.SayingEnded("say_1", "interrupted", ("item_1",))]
    scene.caller_stops()
    scene.answer("resp_2", "item_2", 1.0)
    scene.pass_until(scene.now + 10.0)
    assert len(asked_for(scene)) == 2, "the second part, which was asked for before he cut in, and nothing after"


def test_a_long_text_is_said_in_parts_without_a_pause(scene: Scene) -> None:
    text = " ".join(f"This is sentence number {number}." for number in range(40))
    first, second = parts_of(text)
    say(scene, text)
    scene.answer("resp_1", "item_1", 3.0, text=first)
    assert asked_for(scene) == [exactly(first).instructions, exactly(second).instructions], "while the first is heard"
    scene.answer("resp_2", "item_2", 2.0, text=second)
    scene.pass_until(scene.now + 4.5)
    assert outcomes(scene) == {}
    scene.pass_until(scene.now + 1.0)
    assert scene.entries(entries.SayingEnded) == [entries.SayingEnded("say_1", "heard", ("item_1", "item_2"))]


@pytest.mark.parametrize("text", ["", "one", "x" * 5000, "word " * 1000, "Well. " * 800, "a" * PART + ". b"])
def test_the_parts_of_a_text_are_all_of_it(text: str) -> None:
    parts = parts_of(text)
    assert all(0 < len(part) <= PART for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_what_is_asked_is_answered_after_its_tools_too(scene: Scene) -> None:
    say(scene, "Ask whether Thursday is better.", ask=True)
    assert scene.all(do.AddNote) == [note_of("Ask whether Thursday is better.")]
    assert asked_for(scene) == [None]
    scene.tell(ev.ResponseStarted("resp_1"))
    scene.tell(ev.ToolCalled("resp_1", "item_f", "call_1", "check_availability", "{}"))
    scene.tell(ev.ResponseFinished("resp_1", "completed"))
    scene.pass_until(scene.now + 2.0)
    scene.tell(ev.ToolFinished("call_1", "{}"))
    assert outcomes(scene) == {}
    scene.answer("resp_2", "item_2", 1.0, text="Would Thursday be better?")
    scene.pass_until(scene.now + 2.0)
    assert scene.entries(entries.SayingEnded) == [entries.SayingEnded("say_1", "heard", ("item_2",))]


def test_nothing_is_begun_in_a_goodbye(scene: Scene) -> None:
    scene.answer("resp_1", "item_1", 2.0)
    say(scene)
    scene.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    say(scene, number=2)
    assert outcomes(scene) == {"say_1": "ending", "say_2": "ending"}
    scene.pass_until(scene.now + 3.0)
    assert asked_for(scene) == [exactly("Goodbye.").instructions]


def test_a_goodbye_is_never_cut_by_a_saying(scene: Scene) -> None:
    scene.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    scene.answer("resp_1", "item_1", 2.0, text="Goodbye.")
    scene.pass_until(scene.now + 1.0)
    say(scene, interrupt=True)
    assert outcomes(scene) == {"say_1": "ending"}
    assert scene.all(do.ClearPlayout) == []
    scene.pass_until(scene.now + 2.0)
    assert ended(scene).transcript == "Assistant: Goodbye."


def test_the_end_of_the_call_ends_all_sayings(scene: Scene) -> None:
    say(scene)
    say(scene, number=2)
    scene.answer("resp_1", "item_1", 2.0, text=DELIVERY)
    scene.pass_until(scene.now + 1.0)
    scene.tell(ev.CallerLeft("hangup"))
    assert outcomes(scene) == {"say_1": "call_ended", "say_2": "call_ended"}
    assert ended(scene).transcript.startswith("Assistant: Your")


def test_a_saying_before_the_model_is_there_is_said_after_the_greeting(scene: Scene) -> None:
    scene = Scene(scene.bridge._policy)
    scene.tell(ev.CallerJoined("MZ1"))
    say(scene)
    scene.pass_until(1.0)
    assert asked_for(scene) == []
    scene.tell(ev.ModelReady("sess_1", "test-model"))
    assert asked_for(scene) == [exactly(DELIVERY).instructions]


def test_what_is_wanted_said_in_a_pause_of_the_recording_is_on_no_entry(scene: Scene) -> None:
    scene.tell(ev.PauseAsked("api"))
    say(scene, "Your card ends in 4242.")
    scene.tell(ev.CallerAudio(FRAME, 0))
    (asked,) = scene.entries(entries.SayingAsked)
    assert asked.text == NOT_KEPT
    assert asked_for(scene) == [exactly("Your card ends in 4242.").instructions]


def test_a_saying_without_a_word_is_over_at_once(scene: Scene) -> None:
    scene.tell(ev.SayAsked("say_1", "  ", "speak", interrupt=True))
    assert [entry.outcome for entry in scene.entries(entries.SayingEnded)] == ["failed"]
    assert scene.all(do.CreateResponse) == []
