"""Filling a tool's arguments from what was said: choices, numbers, yes or no, texts of a form, and free words.

A choice of an enum is found by its words. Longer finds win and use up what they cover, so that "a medium, dark roast
coffee" gives the size medium, the roast dark and the drink coffee, whatever the order of the parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from typing import Any, Final

from voice_gateway.emulator.common_words import FILLERS, NEGATIONS, meaning
from voice_gateway.emulator.forms import form_of
from voice_gateway.emulator.languages import language_named
from voice_gateway.emulator.schemas import (
    Schema,
    choices,
    codes,
    is_identifier,
    is_text,
    names_of,
    properties,
    required,
)
from voice_gateway.emulator.vocabulary import examples
from voice_gateway.emulator.wording import readable, words

ALIKE: Final = 0.8  # share of common letters from which two longer words are taken for one
SOUND_ALIKE: Final = 0.7  # what a word with merely the same consonants is worth

_POINTERS: Final = {"that", "this", "the", "which", "another", "other"}  # before "one", it is no number
_CORRECTION: Final = re.compile(
    r"\b(?:wait|actually|i mean|rather|make (?:that|it)|sorry|scratch that)\b", re.IGNORECASE
)
_COUNT_NAMES: Final = {"quantity", "count", "number"}
_SOUNDS_LIKE_A_NUMBER: Final = re.compile(
    r"\b(order|want|like|have|get|take|need|bring|make|and|me) (to|too|for) (?=[a-z]+s\b)", re.IGNORECASE
)
_WORDS: Final = re.compile(r"[^\s.,!?;:\"\u201c\u201d]+")


@dataclass(frozen=True, slots=True)
class Find:
    """One place in what was said that stands for a value of a parameter. score: about one for each word matched."""

    parameter: str
    value: Any
    start: int
    end: int
    score: float


def fill(tool: Schema, said: Sequence[str], today: date | None = None) -> dict[str, Any]:
    """Arguments of a tool out of the caller's lines, oldest first; a later line corrects an earlier one.

    today: what `tomorrow` counts from; without it, the day of this machine.
    """
    filled: dict[str, Any] = {}
    counted = any(_counts(name, schema) for name, schema in properties(tool).items())
    for line in map(_counting, said) if counted else said:
        filled |= _fill_line(tool, line, today or date.today())  # noqa: DTZ011 - a caller's day is the one around him
    for name, schema in properties(tool).items():
        if _counts(name, schema) and name not in filled and {"a", "an"} & set(words(" ".join(said))):
            filled[name] = 1
    return filled


def _counts(name: str, schema: Schema) -> bool:
    return schema.get("type") == "integer" and bool(_COUNT_NAMES & set(words(readable(name))))


def _counting(line: str) -> str:
    """An ear writes `order to cappuccinos` where somebody ordered two."""
    return _SOUNDS_LIKE_A_NUMBER.sub(lambda found: f"{found[1]} {'four' if found[2] == 'for' else 'two'} ", line)


def _fill_line(tool: Schema, line: str, today: date, *, inside: bool = False) -> dict[str, Any]:
    schemas = properties(tool)
    heard = words(line)
    finds = enum_finds(schemas, heard, latest=bool(_CORRECTION.search(line)))
    filled: dict[str, Any] = {}
    for find in finds:
        if _is_list(schemas[find.parameter]):
            filled.setdefault(find.parameter, []).append(find.value)
        else:
            filled[find.parameter] = find.value
    used = {place for find in finds for place in range(find.start, find.end)}
    filled |= _numbers(schemas, heard, used)
    filled |= _switches(schemas, heard)
    if not inside:  # one level is enough, and a type may hold itself
        filled |= _nested(schemas, line, today)
    return filled | _texts(tool, line, {heard[place] for place in used}, today)


def enum_finds(schemas: Mapping[str, Schema], heard: Sequence[str], *, latest: bool = False) -> list[Find]:
    """The choices that were named, in the order of speaking, none overlapping another.

    A parameter takes one value, the best match (latest: the last one said), unless it is a list.
    """
    candidates = [find for name, schema in schemas.items() for find in _candidates(name, schema, heard)]
    if latest:
        candidates = [
            find for find in candidates if _is_list(schemas[find.parameter]) or not _taken_back(find, candidates)
        ]
    taken: set[int] = set()
    kept: list[Find] = []
    for find in sorted(candidates, key=lambda find: (-find.score, find.start)):
        places = set(range(find.start, find.end))
        again = not _is_list(schemas[find.parameter]) and any(other.parameter == find.parameter for other in kept)
        if not (again or taken & places):
            taken |= places
            kept.append(find)
    return sorted(kept, key=lambda find: find.start)


def _is_list(schema: Schema) -> bool:
    return schema.get("type") == "array"


def _taken_back(find: Find, candidates: Sequence[Find]) -> bool:
    """Whether the caller named another value of the same parameter afterwards."""
    return any(
        other.parameter == find.parameter and other.start >= find.end and other.value != find.value
        for other in candidates
    )


def _candidates(name: str, schema: Schema, heard: Sequence[str]) -> Iterator[Find]:
    for value, called in [(each, other) for each in choices(schema) for other in names_of(each, schema)]:
        wanted = words(called)
        for start in range(len(heard) - len(wanted) + 1 if wanted else 0):
            end = start + len(wanted)
            score = likeness(wanted, heard[start:end])
            if score and not (start and heard[start - 1] in NEGATIONS):
                yield Find(name, value, start, end, score)


def likeness(wanted: Sequence[str], heard: Sequence[str]) -> float:
    """How well a run of words stands for a phrase: one per equal word, less for similar ones, 0 when one differs.

    Words that merely share their consonants (has, house) count only beside a word that is equal.
    """
    equal = any(one == other for one, other in zip(wanted, heard, strict=True))
    scores = [_word_likeness(one, other, by_sound=equal) for one, other in zip(wanted, heard, strict=True)]
    return sum(scores) if all(scores) else 0.0


def _word_likeness(one: str, other: str, *, by_sound: bool) -> float:
    if one == other:
        return 1.0
    if one[0].isdigit() or other[0].isdigit():
        return 0.0
    ratio = SequenceMatcher(None, one, other, autojunk=False).ratio()
    if min(len(one), len(other)) >= 4 and ratio >= ALIKE:
        return ratio
    return SOUND_ALIKE if by_sound and len(_consonants(one)) > 1 and _consonants(one) == _consonants(other) else 0.0


def _consonants(word: str) -> str:
    """The first letter and the consonants after it, doubled ones once."""
    return word[0] + re.sub(r"(.)\1+", r"\1", re.sub(r"[aeiouyhw]", "", word[1:]))


def _numbers(schemas: Mapping[str, Schema], heard: Sequence[str], used: set[int]) -> dict[str, float]:
    """Numbers said, to the number parameters: each takes the one nearest to a word of its name or description.

    The places taken are added to used.
    """
    names = [
        name for name, schema in schemas.items() if schema.get("type") in {"integer", "number"} and not choices(schema)
    ]
    places = [place for place, word in enumerate(heard) if word[0].isdigit() and place not in used]
    places = [place for place in places if not (heard[place] == "1" and place and heard[place - 1] in _POINTERS)]
    filled: dict[str, float] = {}
    for _, _, place, name in sorted(
        (
            _distance(heard, place, meaning(f"{readable(name)} {schemas[name].get('description') or ''}")),
            order,
            place,
            name,
        )
        for order, name in enumerate(names)
        for place in places
    ):
        if name not in filled and place not in used:
            used.add(place)
            value = float(heard[place])
            filled[name] = int(value) if schemas[name].get("type") == "integer" else value
    return filled


def _distance(heard: Sequence[str], place: int, own: AbstractSet[str]) -> int:
    return min((abs(place - other) for other, word in enumerate(heard) if word in own), default=len(heard))


def _switches(schemas: Mapping[str, Schema], heard: Sequence[str]) -> dict[str, bool]:
    """Yes-or-no parameters whose own name was said; no when a negation stands just before it."""
    filled: dict[str, bool] = {}
    for name, schema in schemas.items():
        places = [place for place, word in enumerate(heard) if word in meaning(readable(name))]
        if schema.get("type") == "boolean" and places:
            filled[name] = not NEGATIONS & set(heard[max(0, places[0] - 2) : places[0]])
    return filled


def _nested(schemas: Mapping[str, Schema], line: str, today: date) -> dict[str, Any]:
    """Objects, and lists of objects with one entry, when all that they need was said."""
    filled: dict[str, Any] = {}
    for name, schema in schemas.items():
        inner = (schema.get("items") or {}) if _is_list(schema) else schema
        if inner.get("type") != "object":
            continue
        entry = _fill_line({"name": name, "parameters": inner}, line, today, inside=True)
        if entry and all(key in entry for key in inner.get("required") or ()):
            filled[name] = [entry] if _is_list(schema) else entry
    return filled


def _texts(tool: Schema, line: str, used: AbstractSet[str], today: date) -> dict[str, str]:
    """Texts: by their form where one is told; by examples; the first other one needed takes the words that are left."""
    filled: dict[str, str] = {}
    wanting: list[str] = []
    spoken_for = set(used)
    for name, schema in properties(tool).items():
        if not is_text(schema) or is_identifier(name):
            continue
        form = form_of(name, schema)
        if form is not None:
            found = form(line, today)
        elif listed := codes(schema):
            found, taken = _abbreviated(listed, line)
            spoken_for |= taken
        elif "language" in words(readable(name)):
            found = language_named(line)
        elif found := _exemplified(schema, line):
            spoken_for |= set(words(found))
        elif name in required(tool):
            wanting.append(name)
        if found:
            filled[name] = found
    if wanting and (left := query(line, tool, spoken_for)):
        filled[wanting[0]] = left
    return filled


def _abbreviated(listed: Sequence[str], line: str) -> tuple[str, set[str]]:
    """The code that a line names, by itself or by the name it stands for, and the words that say so.

    `the United Kingdom` is UK by its initials, `Canada` CA and `Malta` MT by letters in their order.
    """
    spelt = _WORDS.findall(line)
    for place, word in enumerate(spelt):
        bare = word.replace(".", "")
        if bare in listed:
            return bare, {bare.lower()}
        for code in listed:
            run = spelt[place : place + len(code)]
            if "".join(each[0].upper() for each in run) == code and all(each[0].isupper() for each in run):
                return code, {other for each in run for other in words(each)}
    for word in spelt:
        bare = re.sub(r"['\u2019]s$", "", word)
        for code in listed:
            in_order = re.match(".*".join(map(re.escape, code.lower())), bare.lower())
            if bare[0].isupper() and len(bare) > 3 and in_order and not set(words(bare)) <= FILLERS:
                return code, set(words(bare))
    return "", set()


def _exemplified(schema: Schema, line: str) -> str:
    """The longest of a description's examples that a line names."""
    said = f" {' '.join(words(line))} "
    named = [
        example for example in examples(str(schema.get("description") or "")) if f" {' '.join(words(example))} " in said
    ]
    return max(named, key=len, default="")


def query(line: str, tool: Schema, used: AbstractSet[str] = frozenset()) -> str:
    """The words of a line that carry its meaning, as they were said; not those of the tool's own name, nor used."""
    silent = FILLERS | used | set(words(readable(str(tool.get("name", "")))))
    kept = [word for word in _WORDS.findall(line) if set(words(word)) - silent]
    return " ".join(kept)
