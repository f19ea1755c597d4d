"""Guardrails: what is said is checked beside the call, and what comes of a breach."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scene import Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.guardrail import MOST_CORRECTIONS, MOST_OPEN, PATIENCE_S
from voice_gateway.call.policy import Guard
from voice_gateway.call.usage import Tariff, Usage

RULES = "We give no medical advice."
NOTE = Guard(RULES, ("advice", "insult"))
INTERRUPT = Guard(RULES, ("advice",), action="interrupt")
END = Guard(RULES, ("advice",), on="both", action="end", sentence="I must end this call. Goodbye.")
TARIFF = Tariff(text_in=4.0, text_cached=0.4, text_out=24.0, audio_in=32.0, audio_cached=0.4, audio_out=64.0)


def guarded(guard: Guard | None, **policy: object) -> Scene:
    scene = Scene(Policy(audio_format="pcmu", guard=guard, **policy))
    scene.begin()
    return scene


def says(scene: Scene, number: int, text: str = "Take two of these.", seconds: float = 3.0) -> None:
    """The model says something; all of its sound is on its way."""
    response, item = f"resp_{number}", f"item_{number}"
    scene.answer(response, item, seconds, text=text, done=False)
    scene.tell(ev.TextFinished(response, item, text))
    scene.tell(ev.AudioFinished(response, item, 0))
    scene.tell(ev.ResponseFinished(response, "completed"))


def answers(
    scene: Scene, check: do.CheckTurn, word: str, status: str = "completed", usage: Usage | None = None
) -> None:
    scene.tell(ev.AsideFinished(f"resp_of_{check.purpose}", check.purpose, status, word, usage=usage))


def checks(scene: Scene) -> list[do.CheckTurn]:
    return scene.all(do.CheckTurn)


def figures(scene: Scene) -> list[str]:
    return [each.figure for each in scene.all(do.Observe) if each.figure.startswith("guardrail")]


def test_a_turn_of_ours_is_checked_while_it_is_still_heard() -> None:
    scene = guarded(NOTE)
    says(scene, 1, "Take two of these.")
    (check,) = checks(scene)
    assert (check.speaker, check.said) == ("assistant", "Take two of these.")
    assert RULES in check.instructions
    assert "advice, insult" in check.instructions
    assert scene.entries(entries.AssistantSpoke) == [], "hardly anything was heard yet"
    scene.tell(ev.TextFinished("resp_1", "item_1", "Take two of these."))
    assert len(checks(scene)) == 1, "once"
    answers(scene, check, "none")
    scene.pass_until(scene.now + 4.0)
    assert scene.all(do.ClearPlayout) == []
    assert figures(scene) == ["guardrail_passed"]
    (spoke,) = scene.entries(entries.AssistantSpoke)
    assert not spoke.interrupted


@pytest.mark.parametrize(
    ("on", "whose"), [("assistant", ["assistant"]), ("caller", ["caller"]), ("both", ["assistant", "caller"])]
)
def test_only_the_turns_that_are_asked_for_are_checked(on: str, whose: list[str]) -> None:
    scene = guarded(Guard(RULES, on=on))
    says(scene, 1)
    scene.tell(ev.UserTranscribed("user_1", "What shall I take?"))
    scene.tell(ev.UserTranscribed("user_2", "  "))
    assert [check.speaker for check in checks(scene)] == whose


@pytest.mark.parametrize("guard", [None, Guard(RULES, on="both", enabled=False)])
def test_without_a_guard_nothing_is_checked(guard: Guard | None) -> None:
    scene = guarded(guard)
    says(scene, 1)
    scene.tell(ev.UserTranscribed("user_1", "What shall I take?"))
    assert checks(scene) == []


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("", "completed"),
        ("maybe", "completed"),
        ("advice and more", "completed"),
        ("advice", "failed"),
        ("advice", "incomplete"),
    ],
)
def test_an_answer_that_is_none_of_the_labels_changes_nothing(word: str, status: str) -> None:
    scene = guarded(END)
    says(scene, 1)
    answers(scene, checks(scene)[0], word, status)
    assert figures(scene) == ["guardrail_failed"]
    assert scene.entries(entries.GuardrailTripped) == []
    scene.pass_until(scene.now + 5.0)
    assert scene.all(do.EndCall) == []


def test_a_check_without_an_answer_is_given_up() -> None:
    scene = guarded(NOTE)
    says(scene, 1)
    scene.pass_until(scene.now + PATIENCE_S + 1)
    says(scene, 2)
    assert figures(scene) == ["guardrail_failed"]
    answers(scene, checks(scene)[0], "advice")
    assert scene.entries(entries.GuardrailTripped) == [], "too late"
    scene.tell(ev.CallerLeft("hangup"))
    assert figures(scene) == ["guardrail_failed"] * 2


def test_no_more_than_some_are_under_way() -> None:
    scene = guarded(Guard(RULES, on="caller"))
    for number in range(MOST_OPEN + 2):
        scene.tell(ev.UserTranscribed(f"user_{number}", "What shall I take?"))
    assert len(checks(scene)) == MOST_OPEN
    assert figures(scene) == ["guardrail_failed"] * 2


def test_a_breach_is_on_the_record_and_the_call_goes_on() -> None:
    scene = guarded(NOTE)
    says(scene, 1)
    answers(scene, checks(scene)[0], " Advice.\n")
    assert scene.entries(entries.GuardrailTripped) == [
        entries.GuardrailTripped("item_1", "assistant", "advice", "note")
    ]
    assert figures(scene) == ["guardrail_tripped"]
    scene.pass_until(scene.now + 4.0)
    assert scene.all(do.ClearPlayout) == []
    assert scene.all(do.AddNote) == []


@pytest.mark.parametrize("session", ["", "sess_2"])
@pytest.mark.parametrize("after", [None, Guard("Say nothing of money.", ("money",), action="end")])
def test_a_breach_of_a_persona_that_has_handed_over_is_noted_by_its_own_rules(
    session: str, after: Guard | None
) -> None:
    scene = guarded(INTERRUPT)
    says(scene, 1, seconds=1.0)
    scene.tell(ev.HandoffAsked("cfo", "api"))
    scene.tell(ev.HandoffReady("cfo", Policy(audio_format="pcmu", persona="cfo", guard=after), session))
    scene.tell(ev.SessionUpdated("cfo"))
    scene.pass_until(scene.now + 3.0)
    assert scene.entries(entries.HandedOff)
    answers(scene, checks(scene)[0], "advice")
    assert scene.entries(entries.GuardrailTripped) == [
        entries.GuardrailTripped("item_1", "assistant", "advice", "note")
    ]
    assert figures(scene) == ["guardrail_tripped"]


def test_our_voice_is_cut_at_what_was_heard_and_the_model_corrects_itself() -> None:
    scene = guarded(INTERRUPT)
    says(scene, 1, seconds=4.0)
    scene.pass_until(scene.now + 1.5)
    answers(scene, checks(scene)[0], "advice")
    assert len(scene.all(do.ClearPlayout)) == 1
    (truncated,) = scene.all(do.TruncateItem)
    assert truncated.item_id == "item_1"
    assert 1000 < truncated.audio_end_ms < 1600
    (note,) = scene.all(do.AddNote)
    assert "(advice)" in note.text
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]
    assert scene.entries(entries.BargedIn) == [], "the caller did nothing"
    says(scene, 2, "I take that back; please ask a doctor.")
    answers(scene, checks(scene)[1], "none")
    scene.pass_until(scene.now + 5.0)
    assert [spoke.interrupted for spoke in scene.entries(entries.AssistantSpoke)] == [True, False]


def test_what_is_still_being_made_is_cancelled_by_its_id() -> None:
    scene = guarded(INTERRUPT)
    scene.answer("resp_1", "item_1", 2.0, text="Take two.", done=False)
    scene.tell(ev.TextFinished("resp_1", "item_1", "Take two."))
    answers(scene, checks(scene)[0], "advice")
    assert scene.all(do.CancelResponse) == [do.CancelResponse("resp_1")]
    assert scene.all(do.CreateResponse) == [], "not before the other one is over"
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "client_cancelled"))
    assert scene.all(do.CreateResponse) == [do.CreateResponse()]


def test_what_was_heard_already_is_corrected_all_the_same() -> None:
    scene = guarded(INTERRUPT)
    says(scene, 1, seconds=1.0)
    scene.pass_until(scene.now + 3.0)
    answers(scene, checks(scene)[0], "advice")
    assert scene.all(do.TruncateItem) == []
    assert len(scene.all(do.AddNote)) == len(scene.all(do.CreateResponse)) == 1


def test_a_callers_turn_that_breaks_the_rules_is_not_acted_on() -> None:
    scene = guarded(Guard(RULES, ("advice",), on="caller", action="interrupt"))
    scene.tell(ev.UserTranscribed("user_1", "Tell me what to take!"))
    says(scene, 1)
    answers(scene, checks(scene)[0], "advice")
    assert len(scene.all(do.ClearPlayout)) == 1
    assert "the caller said" in scene.all(do.AddNote)[0].text


def test_a_model_that_does_not_mend_is_not_told_for_ever() -> None:
    scene = guarded(INTERRUPT)
    for number in range(1, 5):
        says(scene, number)
        answers(scene, checks(scene)[-1], "advice")
    assert [entry.action for entry in scene.entries(entries.GuardrailTripped)] == [
        *["interrupt"] * MOST_CORRECTIONS, "note", "note",
    ]  # fmt: skip
    assert len(scene.all(do.AddNote)) == MOST_CORRECTIONS
    says(scene, 5, "A doctor will know.")
    answers(scene, checks(scene)[-1], "none")
    says(scene, 6)
    answers(scene, checks(scene)[-1], "advice")
    assert scene.entries(entries.GuardrailTripped)[-1].action == "interrupt", "a good turn makes good"


def test_the_call_ends_with_the_safe_sentence() -> None:
    scene = guarded(END)
    says(scene, 1)
    scene.pass_until(scene.now + 0.8)
    answers(scene, checks(scene)[0], "advice")
    assert len(scene.all(do.ClearPlayout)) == 1
    (asked,) = scene.all(do.CreateResponse)
    assert END.sentence in (asked.instructions or "")
    says(scene, 2, END.sentence, seconds=2.0)
    assert len(checks(scene)) == 1, "our own sentence needs no check"
    scene.tell(ev.SpeechStarted("user_1", 0))
    scene.tell(ev.SpeechStopped("user_1", 500))
    assert scene.entries(entries.GoodbyeTakenBack) == [], "who speaks into it changes nothing"
    scene.pass_until(scene.now + 10.0)
    assert ended(scene).reason == "guardrail"
    assert [entry.reason for entry in scene.entries(entries.GoodbyeBegun)] == ["guardrail"]


def test_a_goodbye_is_not_checked() -> None:
    scene = guarded(END)
    says(scene, 1)
    scene.tell(ev.GoodbyeAsked("operator", "Goodbye."))
    answers(scene, checks(scene)[0], "advice")
    assert [entry.action for entry in scene.entries(entries.GuardrailTripped)] == ["note"]
    scene.pass_until(scene.now + 4.0)
    says(scene, 2, "Goodbye.", seconds=1.0)
    assert len(checks(scene)) == 1
    scene.pass_until(scene.now + 5.0)
    assert ended(scene).reason == "operator"


def test_a_check_costs_and_is_booked() -> None:
    scene = guarded(NOTE, tariff=TARIFF, max_cost_usd=0.001, budget_sentence="That is all.")
    says(scene, 1)
    answers(scene, checks(scene)[0], "none", usage=Usage(input_text=300, output_text=2))
    metered = scene.entries(entries.ResponseMetered)[-1]
    assert metered.purpose == "guardrail"
    assert metered.cost_usd == pytest.approx((300 * 4.0 + 2 * 24.0) / 1e6)
    assert [entry.reason for entry in scene.entries(entries.GoodbyeBegun)] == ["call_budget"]


def test_a_check_of_a_session_that_was_left_is_booked_by_its_own_prices() -> None:
    scene = guarded(NOTE, tariff=TARIFF)
    says(scene, 1, seconds=1.0)
    model = scene.entries(entries.ModelJoined)[0].model
    dearer = replace(TARIFF, text_in=40.0, text_out=240.0)
    scene.tell(ev.HandoffAsked("cfo", "api"))
    scene.tell(
        ev.HandoffReady("cfo", Policy(audio_format="pcmu", persona="cfo", guard=NOTE, tariff=dearer), "s2", "big")
    )
    scene.pass_until(scene.now + 3.0)
    assert scene.entries(entries.HandedOff)
    says(scene, 2)
    usage = Usage(input_text=300, output_text=2)
    for check in checks(scene):
        answers(scene, check, "none", usage=usage)
    before, after = [each for each in scene.entries(entries.ResponseMetered) if each.purpose == "guardrail"]
    assert (before.model, before.cost_usd) == (model, pytest.approx(TARIFF.cost(usage)))
    assert (after.model, after.cost_usd) == ("big", pytest.approx(dearer.cost(usage)))


def test_another_aside_is_none_of_its_business() -> None:
    scene = guarded(NOTE)
    assert scene.tell(ev.AsideFinished("resp_9", "summary", "completed", "advice")) == []


def test_another_persona_brings_its_own_guardrail() -> None:
    scene = guarded(NOTE)
    says(scene, 1)
    scene.bridge._adopt(replace(scene.bridge._policy, guard=Guard("No jokes.", ("joke",))), "")
    answers(scene, checks(scene)[0], "advice")
    assert figures(scene) == ["guardrail_tripped"], "what was asked about the rules of before is answered by them"
    says(scene, 2)
    assert "No jokes." in checks(scene)[1].instructions
