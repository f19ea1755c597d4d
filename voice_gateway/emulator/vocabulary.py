"""The words an ear should expect in a session: names of the domain, gathered from what the session itself says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from voice_gateway.emulator.faculties import Line
from voice_gateway.emulator.slots import Schema, choices, properties
from voice_gateway.emulator.wording import words

SIZE: Final = 80

_NAME: Final = re.compile(
    r"(?<![\w'\u2019-])"
    r"[^\W\d_a-z][\w'\u2019-]*[^\W\d_A-Z][\w'\u2019-]*"  # a capital, and somewhere a small letter
    r"(?:\s+(?:(?:with|of|de|du|la)\s+)?(?:[^\W\d_a-z][\w'\u2019-]+|\d+\s?cl))*"
)
_BEGINNING: Final = re.compile(r"(?:^|[.!?:;\n\"\u201c\u2022*#>-])\s*$")
_COMMON: Final = frozenset(
    words("I I'm The A An You Your We Our It If When Never Always Do Say Ask Use Call Greet Be Keep Speak Answer Then")
)


def vocabulary(instructions: str, tools: Iterable[Schema], lines: Iterable[Line] = ()) -> list[str]:
    """Choices of the tools, names in rows returned so far, capitalised names of instructions and descriptions.

    A phrase is left out when all its words were given before. At most SIZE phrases, the likeliest first.
    """
    tools = list(tools)
    enums = [str(value) for tool in tools for schema in properties(tool).values() for value in choices(schema)]
    rows = [name for line in lines if line.role == "tool_output" for name in row_names(line.text)]
    texts = [instructions, *(text for tool in tools for text in descriptions(tool))]
    known: set[str] = set()
    kept: list[str] = []
    for phrase in [*enums, *rows, *(name for text in texts for name in _names(text))]:
        new = set(words(phrase)) - known
        if new:
            kept.append(phrase.strip())
            known |= new
    return kept[:SIZE]


def descriptions(tool: Schema) -> list[str]:
    """What a tool says about itself and its parameters."""
    return [str(entry["description"]) for entry in (tool, *properties(tool).values()) if entry.get("description")]


def row_names(output: str) -> list[str]:
    """The names in the rows that a tool returned."""
    try:
        content = json.loads(output)
    except ValueError:
        return []
    return [row["name"] for row in _rows(content) if isinstance(row, dict) and isinstance(row.get("name"), str)]


def _rows(content: Any) -> list[Any]:
    if isinstance(content, dict):
        return next((value for value in content.values() if isinstance(value, list)), [])
    return content if isinstance(content, list) else []


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
