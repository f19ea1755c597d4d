"""Two minds of a call that is supervised: the text model's, and that of the voice which asks it.

A text model is often handed a telephone call as data: a JSON object with the turns in it, and beside them what the last
one was about. Any such object is understood, whatever its fields are named; anything else is a message like another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from voice_gateway.emulator.common_words import meaning
from voice_gateway.emulator.faculties import Act, Line, Mind, Say, Situation, UseTool
from voice_gateway.emulator.schemas import Schema, is_text, properties
from voice_gateway.emulator.wording import words

_WHO: Final = ("speaker", "role", "from", "who")
_OURS: Final = {"assistant", "agent", "we", "bot"}
_WORDS: Final = ("said", "text", "content", "words")


class TextMind:
    """Answers as another mind would that had been in the conversation itself."""

    def __init__(self, mind: Mind) -> None:
        self._mind = mind

    def respond(self, situation: Situation) -> Sequence[Act]:
        lines = [line for given in situation.lines for line in _unfolded(given)]
        return self._mind.respond(replace(situation, lines=lines))


class AskingMind:
    """A voice's mind: where a tool asks somebody who knows better, he is asked, and the caller is told to wait first.

    Greetings, thanks and goodbyes need nobody; neither does a session without such a tool.
    """

    def __init__(self, mind: Mind, filler: str = "One moment, please.") -> None:
        self._mind = mind
        self._filler = filler

    def respond(self, situation: Situation) -> Sequence[Act]:
        tool = next((each for each in situation.tools if _asks(each)), None)
        last = next((line for line in reversed(situation.lines) if line.role != "system"), None)
        if tool is None or last is None or last.role != "user" or situation.aside or not _wants_something(last.text):
            return self._mind.respond(situation)
        return [Say(self._filler), UseTool(str(tool["name"]), _context(tool, last.text))]


def _asks(tool: Schema) -> bool:
    return "supervisor" in words(str(tool.get("description") or ""))


def _wants_something(line: str) -> bool:
    heard = set(words(line))
    return "goodbye" not in heard and bool(meaning(line) or not heard & {"hello", "thanks"})


def _context(tool: Schema, line: str) -> dict[str, str]:
    texts = [name for name, schema in properties(tool).items() if is_text(schema)]
    return {texts[0]: line} if texts else {}


def _unfolded(line: Line) -> Iterator[Line]:
    told = _read(line.text) if line.role == "user" else None
    if told is None:
        yield line
        return
    turns = next(turns for turns in told.values() if _is_conversation(turns))
    heard = _without_fillers([line for place, turn in enumerate(turns) for line in _lines(turn, f"told_{place}")])
    yield from heard
    beside = next((str(value) for name, value in told.items() if "context" in name and isinstance(value, str)), "")
    if beside and (not heard or heard[-1].role != "user"):
        yield Line("user", beside)  # what was said last is not in the transcript yet


def _without_fillers(heard: Sequence[Line]) -> Sequence[Line]:
    """Without what we said between the caller's words and the answer to them, such as "one moment, please"."""
    followed = [*heard[1:], Line("assistant", "")]
    return [
        line
        for place, (line, next_one) in enumerate(zip(heard, followed, strict=False))
        if not place or line.role != "assistant" or next_one.role == "user" or line.text.rstrip().endswith("?")
    ]


def _read(text: str) -> Mapping[str, Any] | None:
    try:
        told = json.loads(text)
    except ValueError:
        return None
    return told if isinstance(told, dict) and any(_is_conversation(value) for value in told.values()) else None


def _is_conversation(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(turn, dict) and _first(turn, _WHO) and _first(turn, _WORDS) for turn in value
    )


def _lines(turn: Mapping[str, Any], call_id: str) -> Sequence[Line]:
    """A turn of the conversation; of a tool both what it was asked and what it said."""
    said = _first(turn, _WORDS)
    if _first(turn, _WHO).lower() != "tool":
        return (Line(_role(turn), said),)
    name, arguments = _first(turn, ("name", "tool")), _first(turn, ("arguments",))
    return Line("tool_call", arguments, name, call_id), Line("tool_output", said, name, call_id)


def _role(turn: Mapping[str, Any]) -> Literal["user", "assistant"]:
    return "assistant" if _first(turn, _WHO).lower() in _OURS else "user"


def _first(turn: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(turn[name]) for name in names if isinstance(turn.get(name), str)), "")
