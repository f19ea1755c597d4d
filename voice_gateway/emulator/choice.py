"""Which tool a caller's words ask for: points for each, from its schema alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from voice_gateway.emulator.common_words import FILLERS, meaning
from voice_gateway.emulator.faculties import Situation
from voice_gateway.emulator.forms import form_of
from voice_gateway.emulator.languages import language_named
from voice_gateway.emulator.schemas import Schema, codes, ends_call, is_search, is_text, properties, purpose
from voice_gateway.emulator.slots import enum_finds, likeness
from voice_gateway.emulator.vocabulary import descriptions, examples
from voice_gateway.emulator.wording import readable, stem, words

ENOUGH: Final = 2.0  # points from which a tool is taken
LOOKING_UP: Final = frozenset(
    "check fetch find get list lookup look query read recommend search show suggest".split()  # noqa: SIM905 - words
)

QUESTION: Final = re.compile(
    r"\b(?:what|whats|what's|which|how|who|where|when|is there|are there|do you|does|have you|tell me|price"
    r"|am i|is it|are you|have i)\b",
    re.IGNORECASE,
)
_WHOLE_RANGE: Final = re.compile(
    r"\b(?:what|which|anything|everything|all)\b.*\b(?:have|got|offer|serve|sell|there)\b", re.IGNORECASE
)
_WISH: Final = re.compile(
    r"\?|\b(?:(?:can|could|may|shall) (?:i|we|you)|i(?:'d|'ll| would| will)? (?:like|love|want|need|take|have)"
    r"|(?:give|bring|get|show|make) (?:me|us)|let'?s|looking for|please)\b",
    re.IGNORECASE,
)
_LEAVING: Final = {"goodbye", "hang", "end"}
_DOING: Final = {"order", "buy"}
"""Fillers of a question that are the heart of a wish."""


def looks_up(name: str) -> bool:
    """Whether a tool, by its name, reads something and changes nothing."""
    return bool(LOOKING_UP & set(words(readable(name))))


def functions(situation: Situation) -> list[Schema]:
    """The session's function tools."""
    return [tool for tool in situation.tools if tool.get("type", "function") == "function" and tool.get("name")]


def choose(
    situation: Situation,
    topic: Sequence[str],
    *,
    open_question: bool = False,
    known: Sequence[str] = (),
    today: date | None = None,
) -> Schema | None:
    """The tool that the caller's lines ask for, or none. A forced tool_choice is obeyed.

    open_question: we had asked what they want. known: the words of the domain.
    """
    tools = functions(situation)
    choice = situation.tool_choice
    if isinstance(choice, Mapping):
        return next((tool for tool in tools if tool["name"] == choice.get("name")), None)
    if choice == "none" or not tools:
        return None
    names = {word for name in known for word in words(name)} - FILLERS
    named = any(likeness([name], [word]) for word in meaning(topic[-1]) for name in names)
    wished = open_question or named or any(_WISH.search(line) or QUESTION.search(line) for line in topic)
    points = [score(tool, topic, wished=wished, today=today) for tool in tools]
    best = max(points)
    return tools[points.index(best)] if best >= ENOUGH or choice == "required" else None


def score(tool: Schema, topic: Sequence[str], *, wished: bool, today: date | None = None) -> float:
    """How much a tool fits what was said: choices of its enums count most, then its name, then its description.

    wished: the lines ask for something. Then a word of the description is enough, and a tool that answers free
    questions takes whatever has a meaning, if none fits better. A question prefers tools that look something up.
    """
    if ends_call(tool) and not _LEAVING & {word for line in topic for word in words(line)}:
        return 0.0
    bearing = {stem(word) for line in topic for word in meaning(line) | (_DOING & set(words(line)))}
    own_words = set(words(readable(str(tool["name"]))))
    own = {stem(word) for word in own_words - LOOKING_UP}
    told = {stem(word) for word in words(purpose(tool))}
    texts = [] if is_search(tool) else [*descriptions(tool), *map(readable, properties(tool))]
    about = told | {stem(word) for text in texts for word in words(text)}
    named, described = _of(bearing, own), _of(bearing & told, told - own)
    points = 2.0 * len(named) + len(described) + 0.5 * len(bearing & about - named - described)
    points += sum(2 * find.score for line in topic for find in enum_finds(properties(tool), words(line)))
    if any("language" in words(readable(name)) for name in properties(tool)) and any(map(language_named, topic)):
        points += ENOUGH
    if "goodbye" in words(topic[-1]) and "goodbye" in about:
        points += ENOUGH
    if points:
        points += _given(tool, topic, today or date.today())  # noqa: DTZ011 - a caller's day is the one around him
    if points and wished:
        points += 1.5
    if is_search(tool) and wished and (bearing or _WHOLE_RANGE.search(topic[-1])):
        points = max(points, ENOUGH)
    if points and own_words & LOOKING_UP and QUESTION.search(topic[-1]):
        points += 3.0
    return points


def _of(said: set[str], own: set[str]) -> set[str]:
    """The words of those said that are among others, or begin as one of them does: available, availability."""
    return {word for word in said if word in own or any(_akin(word, other) for other in own)}


def _akin(one: str, other: str) -> bool:
    return min(len(one), len(other)) >= 6 and one[:6] == other[:6]


def _given(tool: Schema, topic: Sequence[str], today: date) -> float:
    """One point for each argument that was said in a form of its own."""
    points = 0.0
    for name, schema in properties(tool).items():
        if not is_text(schema) or is_search(tool):
            continue
        form = form_of(name, schema)
        if form is not None:
            points += any(form(line, today) for line in topic)
        elif not codes(schema):
            said = f" {' '.join(word for line in topic for word in words(line))} "
            listed = examples(str(schema.get("description") or ""))
            points += any(f" {' '.join(words(example))} " in said for example in listed)
    return points
