"""The conversation as it is kept, while it goes on."""

from __future__ import annotations

from voice_gateway.call import entries
from voice_gateway.call.discretion import NOT_KEPT
from voice_gateway.call.kept import MOST_LETTERS, MOST_OUTPUT, MOST_TURNS, Kept


def caller(text: str, start_ms: int | None = None) -> entries.UserSpoke:
    return entries.UserSpoke("item", text, start_ms, None)


def ours(text: str, start_ms: int | None = None, *, interrupted: bool = False) -> entries.AssistantSpoke:
    return entries.AssistantSpoke("item", text, text, 100, 100, interrupted, start_ms)


def told(*facts: entries.Entry) -> list[tuple[str, str]]:
    kept = Kept()
    for fact in facts:
        kept.take(fact)
    return [(turn.speaker, turn.said) for turn in kept.turns()]


def test_a_callers_words_that_come_after_our_answer_stand_before_it() -> None:
    assert told(ours("Good day.", 0), ours("We do.", 5000), caller("Do you have tea?", 2000)) == [
        ("assistant", "Good day."),
        ("caller", "Do you have tea?"),
        ("assistant", "We do."),
    ]


def test_of_a_turn_that_was_cut_only_what_was_heard_is_there_and_says_so() -> None:
    assert told(ours("We have", 0, interrupted=True), ours("", 10, interrupted=True)) == [
        ("assistant", "We have — [interrupted]")
    ]


def test_words_without_a_time_go_to_the_end_and_empty_ones_nowhere() -> None:
    assert told(ours("One", 900), caller("Two"), caller("  \n")) == [("assistant", "One"), ("caller", "Two")]


def test_what_was_said_during_a_pause_is_not_there_and_the_pause_is_known() -> None:
    kept = Kept()
    kept.take(entries.RecordingPaused("tool"))
    kept.take(caller(NOT_KEPT, 100))
    assert kept.paused
    kept.take(entries.RecordingResumed("tool"))
    assert not kept.paused
    assert [turn.said for turn in kept.turns()] == [NOT_KEPT]


def test_of_a_very_long_call_the_newest_turns_are_there() -> None:
    assert len(told(*(caller(f"turn {n}", n) for n in range(500)))) == MOST_TURNS
    long = told(*(caller("x" * 5000, n) for n in range(10)))
    assert len(long) == MOST_LETTERS // 5000
    assert len(told(caller("x" * 100_000, 1))) == 1


def test_what_tools_were_asked_and_said_stands_between_the_turns() -> None:
    kept = Kept()
    kept.take(caller("Is Friday free?", 1000))
    kept.take(entries.ToolAsked("c1", "look", '{"day":"friday"}'))
    kept.take(entries.ToolAnswered("c1", "look", '{"free":true}', ok=True, duration_ms=5))
    kept.take(ours("Yes.", 3000))
    assert [(turn.speaker, turn.said) for turn in kept.turns()] == [
        ("caller", "Is Friday free?"), ("tool", '{"free":true}'), ("assistant", "Yes."),
    ]  # fmt: skip
    assert (kept.turns()[1].name, kept.turns()[1].arguments) == ("look", '{"day":"friday"}')
    kept.take(entries.ToolAnswered("c2", "list", "x" * 10_000, ok=True, duration_ms=5))
    assert len(kept.turns()[-1].said) == MOST_OUTPUT


def test_who_comes_back_goes_on_after_what_was_said_though_times_begin_anew() -> None:
    kept = Kept()
    kept.take(caller("Claire, please.", 9000))
    kept.take(entries.RecordingPaused("tool"))
    kept.begin_again()
    kept.take(ours("Nobody answered.", 2000))
    kept.take(caller("I am back.", 1000))
    assert [turn.said for turn in kept.turns()] == ["Claire, please.", "I am back.", "Nobody answered."]
    assert not kept.paused
