"""The words an ear should expect in a session: names of the domain, gathered from what the session itself says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from voice_gateway.emulator.common_words import FILLERS, NEGATIONS
from voice_gateway.emulator.faculties import Line
from voice_gateway.emulator.schemas import Schema, choices, properties
from voice_gateway.emulator.wording import words

SIZE: Final = 80
DIGITS: Final = "1 2 3 4 5 6 7 8 9 0"
_SPELLED: Final = re.compile(r"\b(?:number|code|phone|telephone|id|pin|digits)\b[^?]*\?\s*$", re.IGNORECASE)

_NAME: Final = re.compile(
    r"(?<![\w'\u2019-])"
    r"[^\W\d_a-z][\w'\u2019-]*[^\W\d_A-Z][\w'\u2019-]*"  # a capital, and somewhere a small letter
    r"(?:\s+(?:(?:with|of|de|du|la)\s+)?(?:[^\W\d_a-z][\w'\u2019-]+|\d+\s?cl))*"
)
_ACRONYM: Final = re.compile(r"\b[A-Z]{4,}\b")
_BEGINNING: Final = re.compile(r"(?:^|[.!?:;\n\"\u201c\u2022*#>-])\s*$")
_SUCH_AS: Final = re.compile(r"\b(?:such as|including|like|e\.g\.|for example|for instance),?\s+|:\s+")
_WRAP: Final = re.compile(r"\n(?!\s*[-*\u2022\n])")
_COMMON: Final = frozenset(
    words("I I'm The A An You Your We Our It If When Never Always Do Say Ask Use Call Greet Be Keep Speak Answer Then")
    + words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday Today")
)


def vocabulary(instructions: str, tools: Iterable[Schema], lines: Iterable[Line] = ()) -> list[str]:
    """Choices of the tools, names in rows returned so far, examples and names in instructions and descriptions.

    A phrase is left out when all its words were given before. At most SIZE phrases, the likeliest first. Where we have
    just asked for a number or a code, digits are among them: an ear that expects some hears them better.
    """
    tools, lines = list(tools), list(lines)
    enums = [str(value) for tool in tools for schema in properties(tool).values() for value in choices(schema)]
    told = [row["name"] for line in lines if line.role == "tool_output" for row in rows(line.text) if "name" in row]
    texts = [instructions, *(text for tool in tools for text in descriptions(tool))]
    found = [name for text in texts for name in (*examples(text), *_names(text), *_ACRONYM.findall(text))]
    known: set[str] = set()
    kept: list[str] = []
    for phrase in [*enums, *map(str, told), *found]:
        new = set(words(phrase)) - known
        if new:
            kept.append(phrase.strip())
            known |= new
    return [*kept[: SIZE - 1], DIGITS] if _is_spelled_next(lines) else kept[:SIZE]


def _is_spelled_next(lines: Sequence[Line]) -> bool:
    """Whether we have just asked for something that people spell."""
    ours = next((line.text for line in reversed(lines) if line.role in {"assistant", "user"}), "")
    return bool(lines) and _SPELLED.search(ours) is not None


def descriptions(tool: Schema) -> list[str]:
    """What a tool says about itself and its parameters."""
    return [str(entry["description"]) for entry in (tool, *properties(tool).values()) if entry.get("description")]


def rows(output: str) -> list[dict[str, Any]]:
    """The rows that a tool returned: its list of objects, or the first such list among its values."""
    try:
        content = json.loads(output)
    except ValueError:
        return []
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), [])
    return [row for row in content if isinstance(row, dict)] if isinstance(content, list) else []


def examples(text: str) -> Iterator[str]:
    """What a text lists: `coffee such as mocha, iced coffee and latte`. At least two, of at most three words each."""
    parts = _SUCH_AS.split(_WRAP.sub(" ", text))[1:]
    for place, part in enumerate(parts, 1):
        sentence, *after = re.split(r"[.;:!?\n\"()]", part)
        listed = re.split(r",\s*(?:and|or)\s+|,\s+|\s+(?:and|or)\s+", sentence)
        if not after and place < len(parts):
            listed.pop()  # it leads to the next examples
        short = [
            entry.strip(" '\u2018\u2019")
            for entry in listed
            if 0 < len(entry.split()) <= 3 and set(words(entry)) - FILLERS
        ]
        short = [entry for entry in short if words(entry)[0] not in NEGATIONS]
        if len(short) > 1:
            yield from short


def _names(text: str) -> Iterator[str]:
    """Capitalised names, but not a lone word that merely begins a sentence."""
    for found in _NAME.finditer(text):
        name = found.group()
        begins = _BEGINNING.search(text[: found.start()]) is not None
        if begins and (" " not in name or not set(words(name.split()[0])) - _COMMON):
            name = name.partition(" ")[2]
            name = name if name[:1].isupper() else ""
        if name and set(words(name)) - _COMMON:
            yield name
