"""What a mind asks back: for what is missing, and for a yes before something is done. It knows its questions again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, time
from typing import Any, Final

from voice_gateway.emulator.forms import is_spelled
from voice_gateway.emulator.schemas import Schema, choices, is_identifier, properties
from voice_gateway.emulator.wording import listed, readable

GO_AHEAD: Final = "Shall I go ahead?"
_ASKED: Final = re.compile(r"(?:What is the [^?]+, please\?|What [^?]+ would you like\? You can choose [^?]+\.)$")

_TIME: Final = re.compile(r"\d\d:\d\d(?::\d\d)?")


def question(name: str, schema: Schema) -> str:
    """Ask for an argument: choices are read out, a text is asked for by its name."""
    options = [readable(str(choice)) for choice in choices(schema)]
    if options:
        return f"What {readable(name)} would you like? You can choose {listed(options[:5], 'or')}."
    return f"What is the {readable(name)}, please?"


def asked(ours: str) -> str:
    """The question for an argument that a line of ours ends with; empty: none."""
    found = _ASKED.search(ours)
    return found[0] if found else ""


def read_back(tool: Schema, wishes: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> str:
    """Say what would be done, and ask whether to. names: what the rows of identifiers are called."""
    told = [_wish(tool, wish, names) for wish in wishes]
    return f"That is {listed([each for each in told if each])}. {GO_AHEAD}" if any(told) else GO_AHEAD


def _wish(tool: Schema, wish: Mapping[str, Any], names: Mapping[str, str]) -> str:
    schemas = properties(tool)
    counted = [name for name in wish if schemas[name].get("type") == "integer"]
    called = [name for name in wish if str(wish[name]) in names]
    if called and set(wish) <= {*called, *counted}:
        count = f"{wish[counted[0]]} " if counted else ""
        return f"{count}{names[str(wish[called[0]])]}"
    return listed(
        [
            f"{_led(name, value)} {_spoken(name, value, schemas[name], names)}"
            for name, value in wish.items()
            if value is not False and (not is_identifier(name) or str(value) in names)
        ]
    )


def _led(name: str, value: Any) -> str:
    """What stands before a value: `on` a day, `at` a time, `for` somebody, and else its name."""
    if when(value) != value and isinstance(value, str):
        return "on" if "-" in value else "at"
    return (
        "at" if _TIME.fullmatch(str(value)) else "for" if "whom" in readable(name).split() else f"the {readable(name)}"
    )


def _spoken(name: str, value: Any, schema: Schema, names: Mapping[str, str]) -> str:
    if str(value) in names:
        return names[str(value)]
    if isinstance(value, str) and is_spelled(name, schema):
        return " ".join(value)
    return when(value)


def when(value: object) -> str:
    """A day or a time as people say it: `Tuesday 24 November`; anything else as it is."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            return value
        return f"{day:%A} {day.day} {day:%B}"
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            return f"{time.fromisoformat(value):%H:%M}"
        except ValueError:
            return value
    return "yes" if value is True else str(value)
