"""Searching for what a caller names, and finding it again among what was told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from voice_gateway.emulator.common_words import FILLERS, meaning
from voice_gateway.emulator.faculties import UseTool
from voice_gateway.emulator.schemas import Schema, is_search, properties, required
from voice_gateway.emulator.slots import likeness, query
from voice_gateway.emulator.talk import Talk
from voice_gateway.emulator.wording import words

MOST_SEARCHES: Final = 3
_BETWEEN: Final = re.compile(r",?\s+and\s+|,\s+")

_POINTS: Final = re.compile(r"\b(?:it|that|this|them|those|these|one)\b", re.IGNORECASE)


def parts(line: str) -> list[str]:
    """A line cut where one thing ends and another begins: a cappuccino and a croissant are two."""
    cut = [part for part in _BETWEEN.split(line) if meaning(part) - _numbers(part)]
    return cut or [line]


def tells(part: str) -> bool:
    """Whether a part says what is meant, how many, or points at it."""
    return bool(meaning(part) or _POINTS.search(part))


def _numbers(text: str) -> set[str]:
    return {word for word in words(text) if word[0].isdigit()}


def search_for(tools: Sequence[Schema]) -> Schema | None:
    """The tool that answers free questions, if there is one."""
    return next((tool for tool in tools if is_search(tool)), None)


def searches(tool: Schema, line: str, known: Sequence[str]) -> list[UseTool]:
    """One search for each thing that was named. None named: search for all."""
    parameter = (required(tool) or list(properties(tool)))[0]
    found = [wanted(part, tool, known) for part in parts(line)]
    chosen = list(dict.fromkeys(part for part in found if part))[:MOST_SEARCHES] or [""]
    return [UseTool(str(tool["name"]), {parameter: part}) for part in chosen]


def wanted(part: str, tool: Schema, known: Sequence[str]) -> str:
    """What to search for: the words that carry meaning, without how many, names of the domain put right."""
    kept = query(part, tool).split()
    named = [word for word in kept if not _is_count(word)]
    return corrected(" ".join(named or kept), known)


def _is_count(word: str) -> bool:
    found = words(word)
    return len(found) == 1 and found[0].isdigit() and int(found[0]) < 100 and not word[:1].isdigit()


def corrected(part: str, known: Sequence[str]) -> str:
    """The words, where the ear was off by a letter or two in a name of the domain with that name's own."""
    names = {
        word: spelt for phrase in known for spelt in phrase.split() for word in words(spelt) if word not in FILLERS
    }
    return " ".join(_nearest(spelt, names) for spelt in part.split())


def _nearest(spelt: str, names: Mapping[str, str]) -> str:
    heard = words(spelt)
    if len(heard) != 1 or heard[0] in names:
        return spelt
    best = max(names, key=lambda name: likeness([name], heard), default="")
    return names[best] if best and likeness([best], heard) else spelt


class Found:
    """The rows that tools have told in a conversation, by what the caller says of them."""

    def __init__(self, talk: Talk, known: Sequence[str]) -> None:
        self._talk = talk
        self._known = known
        self._rows = talk.told_rows

    @property
    def names(self) -> dict[str, str]:
        """Identifiers with the names of their rows."""
        return {str(row["id"]): row["name"] for row in self._rows}

    @property
    def in_vain(self) -> bool:
        """Whether all that was searched for last is not there."""
        fresh = self._talk.fresh
        if not fresh or any(call.rows or not call.arguments for call in fresh):
            return False
        return any("[]" in call.output for call in fresh)

    def row_of(self, part: str) -> Mapping[str, Any] | None:
        """The one row that words mean: by its name, else the one that was told alone. None: none, or several."""
        found = self.rows_of(part)
        return found[0] if len(found) == 1 else None

    def rows_of(self, part: str) -> list[Mapping[str, Any]]:
        heard = set(words(corrected(part, self._known))) - FILLERS
        points = [(len(heard & set(words(row["name"]))), row) for row in self._rows]
        best = max((each for each, _ in points), default=0)
        if best:
            rows = {str(row["id"]): row for each, row in points if each == best}
            return list(rows.values())
        if heard - _numbers(part) and not _POINTS.search(part):
            return []
        last = next((call.rows for call in reversed(self._talk.called) if call.rows), [])
        return list(last) if len(last) == 1 else []
