"""The mind of the emulated text model: it reads a conversation out of what it is given, and thinks as any mind does.

A text model is often handed a telephone call as data: a JSON object with the turns in it, and beside them what the last
one was about. Any such object is understood, whatever its fields are named; anything else is a message like another.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from voice_gateway.emulator.faculties import Act, Line, Mind, Situation

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


def _unfolded(line: Line) -> Iterator[Line]:
    told = _read(line.text) if line.role == "user" else None
    if told is None:
        yield line
        return
    turns = next(turns for turns in told.values() if _is_conversation(turns))
    heard = [Line(_role(turn), _first(turn, _WORDS)) for turn in turns]
    while len(heard) > 1 and heard[-1].role == "assistant" and not heard[-1].text.rstrip().endswith("?"):
        heard.pop()  # "one moment, please": what is wanted is still the answer to what came before
    yield from heard
    beside = next((str(value) for name, value in told.items() if "context" in name and isinstance(value, str)), "")
    if beside and (not heard or heard[-1].role != "user"):
        yield Line("user", beside)  # what was said last is not in the transcript yet


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


def _role(turn: Mapping[str, Any]) -> Literal["user", "assistant"]:
    return "assistant" if _first(turn, _WHO).lower() in _OURS else "user"


def _first(turn: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(turn[name]) for name in names if isinstance(turn.get(name), str)), "")
