"""The two minds of a supervised call: who asks, and who is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from voice_gateway.emulator.faculties import Line, Say, Situation, UseTool
from voice_gateway.emulator.scenarios import ScriptedMind
from voice_gateway.emulator.text_mind import AskingMind, TextMind

ASK: dict[str, Any] = {
    "type": "function",
    "name": "ask",
    "description": "Ask your supervisor what to say next.",
    "parameters": {"type": "object", "properties": {"context": {"type": "string"}}},
}


def heard(*lines: Line, tools: tuple[dict[str, Any], ...] = (ASK,), aside: bool = False) -> Situation:
    return Situation("Be kind.", lines, tools, aside=aside)


def test_whoever_wants_something_is_told_to_wait_and_the_supervisor_is_asked() -> None:
    acts = AskingMind(ScriptedMind(["never"]), "Wait.").respond(heard(Line("user", "When are you open?")))
    assert acts == [Say("Wait."), UseTool("ask", {"context": "When are you open?"})]


@pytest.mark.parametrize(
    "situation",
    [
        heard(),
        heard(Line("user", "Hello!")),
        heard(Line("user", "Thank you, goodbye.")),
        heard(Line("user", "When?"), Line("tool_call", "{}", "ask", "c"), Line("tool_output", "{}", "ask", "c")),
        heard(Line("user", "When are you open?"), tools=()),
        heard(Line("user", "When are you open?"), aside=True),
    ],
)
def test_what_needs_nobody_is_answered_by_the_voice_itself(situation: Situation) -> None:
    assert list(AskingMind(ScriptedMind(["Myself."])).respond(situation)) == [Say("Myself.")]


def read(told: object) -> list[Line]:
    """What a mind is given of a message."""
    mind = ScriptedMind(["So."])
    text = told if isinstance(told, str) else json.dumps(told)
    TextMind(mind).respond(Situation("", [Line("user", text)]))
    return list(mind.situations[0].lines)


def test_a_call_in_json_becomes_a_conversation_without_its_fillers() -> None:
    turns = [
        {"speaker": "assistant", "said": "Good day."},
        {"speaker": "caller", "said": "Is Friday free?"},
        {"speaker": "tool", "name": "look", "arguments": "{}", "said": '{"free":true}'},
        {"speaker": "assistant", "said": "One moment."},
        {"speaker": "assistant", "said": "It is. Shall I book it?"},
        {"speaker": "caller", "said": "Yes."},
        {"speaker": "assistant", "said": "One moment."},
    ]
    assert [(line.role, line.text) for line in read({"transcript": turns, "context": "they say yes"})] == [
        ("assistant", "Good day."),
        ("user", "Is Friday free?"),
        ("tool_call", "{}"),
        ("tool_output", '{"free":true}'),
        ("assistant", "It is. Shall I book it?"),
        ("user", "Yes."),
    ]


def test_words_that_are_not_in_the_conversation_yet_are_taken_from_beside_it() -> None:
    turns = [{"speaker": "assistant", "said": "Which day?"}]
    assert [line.text for line in read({"turns": turns, "context": "Friday"})] == ["Which day?", "Friday"]
    assert [line.text for line in read({"turns": [], "context": "Friday"})] == ["Friday"]


@pytest.mark.parametrize("text", ["Hello", "[1, 2]", '{"rows": [{"id": 1}]}', "{"])
def test_anything_else_is_a_message_like_another(text: str) -> None:
    assert read(text) == [Line("user", text)]
