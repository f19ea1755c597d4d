"""What becomes a clip, and what the model is told of one: the parts, without a call."""

from __future__ import annotations

import pytest

from voice_gateway.call import commands as do
from voice_gateway.call.clip import Clip
from voice_gateway.call.greeting import LONGEST_CLIP_MS, FirstWords, Take, is_close

GREETING = "Hello, and welcome! What can I get you today?"
VOICE = b"\x10\x90" * 4000
CLIP = Clip(VOICE, GREETING)


def take(*, items: tuple[tuple[str, str], ...] = (("item_1", "message"),), sound: bytes = VOICE) -> Take:
    """The first response, received as far as these items and this sound of the first."""
    taken = Take(GREETING)
    taken.start("resp_1")
    for item_id, kind in items:
        taken.open_item("resp_1", item_id, kind)
    taken.add("item_1", sound)
    return taken


def test_a_greeting_that_came_whole_is_a_clip_without_the_silence_around_it() -> None:
    clip = take(sound=b"\xff" * 1600 + VOICE + b"\xff" * 4000).finish("completed", GREETING)
    assert clip is not None
    assert VOICE in clip.ulaw
    assert len(clip.ulaw) == len(VOICE) + 6 * 160
    assert clip.text == GREETING
    assert clip.duration_ms == 1120


@pytest.mark.parametrize("status", ["cancelled", "failed", "incomplete"])
def test_a_cut_or_failed_response_is_no_clip(status: str) -> None:
    assert take().finish(status, GREETING) is None


@pytest.mark.parametrize(
    "items",
    [
        (("item_1", "message"), ("item_2", "message")),
        (("item_1", "message"), ("item_2", "function_call")),
        (),
    ],
)
def test_only_a_response_of_one_message_and_no_tool_call_is_a_clip(items: tuple[tuple[str, str], ...]) -> None:
    assert take(items=items).finish("completed", GREETING) is None


def test_what_the_model_thought_before_it_spoke_does_no_harm() -> None:
    taken = take(items=(("item_0", "reasoning"), ("item_1", "message")))
    assert taken.finish("completed", GREETING) is not None


def test_an_event_told_twice_is_no_second_message() -> None:
    taken = take(items=(("item_1", "message"), ("item_1", "message")))
    assert taken.finish("completed", GREETING) is not None


def test_the_first_response_is_the_one() -> None:
    taken = take()
    taken.start("resp_2")
    taken.open_item("resp_2", "item_2", "message")
    taken.add("item_2", VOICE)
    assert taken.item_id == "item_1"
    assert taken.response_id == "resp_1"
    assert taken.finish("completed", GREETING) == Clip(VOICE, GREETING)


@pytest.mark.parametrize("sound", [b"", b"\xff" * 16_000, VOICE[:2000], VOICE * (LONGEST_CLIP_MS // 1000 + 1)])
def test_silence_a_click_and_a_speech_are_no_clips(sound: bytes) -> None:
    assert take(sound=sound).finish("completed", GREETING) is None


@pytest.mark.parametrize(
    ("said", "close"),
    [
        (GREETING, True),
        ("hello and welcome, what can I get you today", True),
        ("Hi, and welcome! What can I get you today?", True),
        ("Hello, and welcome!", False),
        ("I can't hear you, could you say that again?", False),
        (f"{GREETING} We have coffee, and cake, and today there is soup.", False),
        ("", False),
        ("?!", False),
    ],
)
def test_the_model_must_have_said_what_it_was_asked_to_say(*, said: str, close: bool) -> None:
    assert is_close(said, GREETING) is close


def test_scripts_without_spaces_are_compared_too() -> None:
    assert is_close("いらっしゃいませ。ご注文をどうぞ", "いらっしゃいませ。ご注文をどうぞ。")
    assert not is_close("すみません、聞こえません", "いらっしゃいませ。ご注文をどうぞ。")


def test_the_model_is_told_once_what_was_heard() -> None:
    words = FirstWords(CLIP)
    assert words.tell(may_answer=False) == []
    words.hear("Hello, and")
    assert not words.settled
    assert words.tell(may_answer=False) == [do.AddFirstWords("greeting", "Hello, and")]
    assert words.settled
    assert words.tell(may_answer=True) == []


def test_a_model_that_may_answer_is_told_all_and_nothing_more_when_all_was_heard() -> None:
    words = FirstWords(CLIP)
    assert words.tell(may_answer=True) == [do.AddFirstWords("greeting", GREETING)]
    assert words.tell(may_answer=True) == []
    words.hear(GREETING)
    assert words.settled
    assert words.tell(may_answer=False) == []


def test_what_was_told_too_early_is_taken_back_when_the_clip_is_cut() -> None:
    words = FirstWords(CLIP)
    words.tell(may_answer=True)
    words.hear("Hello, and")
    assert words.tell(may_answer=False) == [
        do.DeleteItem("greeting"),
        do.AddFirstWords("greeting_heard", "Hello, and"),
    ]
    assert words.settled


def test_of_what_nobody_heard_nothing_is_told() -> None:
    unheard, taken_back = FirstWords(CLIP), FirstWords(CLIP)
    unheard.hear("")
    assert unheard.tell(may_answer=True) == []
    assert unheard.settled
    taken_back.tell(may_answer=True)
    taken_back.hear("")
    assert taken_back.tell(may_answer=True) == [do.DeleteItem("greeting")]
    assert taken_back.settled
