"""Finding rows by spoken words. What a speech recogniser writes is near in sound and only roughly in spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, TypeAlias, TypeVar

T = TypeVar("T")
Fields: TypeAlias = Sequence[tuple[str, float]]
"""Texts of a row, the one that names it first, each with what a word found in it counts."""

NEAR = 0.75
"""From which likeness on two words may be the same one."""
FAINT = 0.15
"""A score below this is chance."""
RELEVANT = 0.6
"""Of the best score: rows below it are not what was meant."""
TELLING = 0.7
"""From which weight on a field tells rows apart; a description does not."""
SURE = 0.9
"""From which likeness on a word is surely meant."""

_FILLERS = frozenset(
    """
    a an and any are at can could do does for from give have how i id in is it like love me menu much of on one or
    please price cost serve some that the there to want we what whats which with would you your
    """.split()  # noqa: SIM905 - words read best as words
)


def rank(query: str, rows: Iterable[T], fields: Callable[[T], Fields], limit: int) -> list[T]:
    """The rows that a query may mean, best first, at most limit. Rows of the same score keep their order.

    Every word of the query looks for its best place in a row: the word itself, its beginning, or one that is spelt
    alike. A row scores by how many of the words it has and where; the whole query run together may also be one name
    that was heard as several words. Rows far below the best one are left out, unless they answer a word that no better
    row does ("a brochette and a beer"). A query without a telling word ("the menu, please") means all rows.
    """
    wanted = [word for word in words(query) if word not in _FILLERS]
    if not wanted:
        return list(rows)[:limit]
    matches = [(_match(wanted, fields(row)), row) for row in rows]
    matches.sort(key=lambda match: -match[0].score)
    found: list[T] = []
    answered: set[str] = set()
    for points, equals in groupby(matches, key=lambda match: match[0].score):
        relevant = points >= max(FAINT, RELEVANT * matches[0][0].score)
        kept = [(match, row) for match, row in equals if relevant or match.answers - answered]
        found += [row for _, row in kept]
        answered.update(*(match.answers for match, _ in kept))
    return found[:limit]


class _Match(NamedTuple):
    """How a row fits. score: 0 not at all, 1 by name, more when it was said as it is. answers: words it has."""

    score: float
    answers: set[str]


def _match(wanted: Sequence[str], fields: Fields) -> _Match:
    places = [(word, weight) for text, weight in fields for word in words(text)]
    points = {
        word: max((alike(word, other) * weight for other, weight in places), default=0.0)
        for word in dict.fromkeys(wanted)
    }
    name = words(fields[0][0])
    said, named = " ".join(wanted), " ".join(name)
    score = max(sum(points.values()) / len(points), alike("".join(wanted), "".join(name)))
    bonus = 0.2 if named in said or said in named else 0.0
    telling = [other for other, weight in places if weight >= TELLING]
    answers = {word for word in points if any(alike(word, other) >= SURE for other in telling)}
    return _Match(score + bonus, answers)


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """The words of a text without case, accents and plural."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each))
    return tuple(_singular(word) for word in re.findall(r"[a-z0-9]+", plain.replace("'", "")))


@lru_cache(maxsize=65_536)
def alike(one: str, other: str) -> float:
    """How likely two words are the same one, heard: 1 the same, 0 not at all."""
    if one == other:
        return 1.0
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) < 3:
        return 0.0
    if longer.startswith(shorter) and len(shorter) >= 4:
        return 0.9
    # Most words are nothing like each other, which is told without making a matcher.
    enough = NEAR * (len(one) + len(other)) / 2
    if len(shorter) < enough or sum(letter in longer for letter in shorter) < enough:
        return 0.0
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    if matcher.quick_ratio() < NEAR:
        return 0.0
    likeness = matcher.ratio()
    return likeness if likeness >= NEAR else 0.0


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
