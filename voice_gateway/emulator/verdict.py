"""Whether what a scenario expects has happened, and if not, what is missing, in sentences."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from voice_gateway.emulator.scenario import Ending, Expected, Use

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WHO: Final[Mapping[Ending, str]] = {
    "caller": "the caller",
    "gateway": "the other side, with a goodbye",
    "transfer": "putting the caller through",
    "": "nobody",
}
_LONGEST: Final = 160


@dataclass(frozen=True, slots=True)
class Used:
    """A tool that was called. arguments: as read from JSON. output: as the model was given it."""

    tool: str
    arguments: Mapping[str, Any]
    output: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """A call that is over. uses: None where nobody can tell. said: what the caller heard, sentence by sentence."""

    said: Sequence[str] = ()
    uses: Sequence[Used] | None = None
    ended: Ending = ""
    personas: Sequence[str] = field(default_factory=tuple)


def failings(expected: Expected, happened: Happened, today: date) -> list[str]:
    """What was expected and did not happen. today: the day of the call. Tools nobody can tell of are passed over."""
    return [
        *_persona_failings(expected, happened),
        *(_use_failings(expected.uses, happened.uses, today) if happened.uses is not None else ()),
        *(
            f"{use.tool} must not be called, and was called with {_told(use.arguments)}"
            for use in happened.uses or ()
            if use.tool in expected.never
        ),
        *_heard_failings(expected.hears, happened.said),
        *(
            [f"the call was to be ended by {_WHO[expected.ends]}, and was ended by {_WHO[happened.ended]}"]
            if expected.ends and happened.ended != expected.ends
            else []
        ),
    ]


def _persona_failings(expected: Expected, happened: Happened) -> Iterator[str]:
    if expected.personas and happened.personas and tuple(happened.personas) != expected.personas:
        yield f"{' and then '.join(expected.personas)} were to answer, and {' and then '.join(happened.personas)} did"


def _use_failings(wanted: Sequence[Use], used: Sequence[Used], today: date) -> Iterator[str]:
    """Each use is looked for behind the one before it; one that is missing hides none of the others."""
    at = 0
    for use in wanted:
        found = next((place for place in range(at, len(used)) if not _differences(use, used[place], today)), None)
        if found is not None:
            at = found + 1
            continue
        near = [other for other in used if other.tool == use.tool]
        if near:
            best = min(near, key=lambda other: len(_differences(use, other, today)))
            differences = _differences(use, best, today) or ["it came in another order"]
            yield f"{use.tool} was called, but {'; '.join(differences)}"
        else:
            called = ", ".join(dict.fromkeys(other.tool for other in used)) or "no tool"
            yield f"{use.tool} was not called; called: {called}"


def _differences(use: Use, used: Used, today: date) -> list[str]:
    if use.tool != used.tool:
        return [f"it is {used.tool}"]
    found = [
        f"{name} was {_told(used.arguments.get(name))}, not {_dated(value, today)}"
        for name, value in use.arguments.items()
        if not _fits(_dated(value, today), used.arguments.get(name))
    ]
    if use.answer and not re.search(use.answer, used.output, re.IGNORECASE | re.DOTALL):
        found.append(f"it answered {_told(used.output)}, without {use.answer}")
    return found


def _fits(wanted: object, given: object) -> bool:
    if isinstance(wanted, str):
        return given is not None and re.fullmatch(wanted, str(given), re.IGNORECASE | re.DOTALL) is not None
    return type(wanted) is type(given) and wanted == given


def _dated(value: object, today: date) -> object:
    """`{tuesday}` in a text as the date of the next one."""
    if not isinstance(value, str):
        return value
    for number, weekday in enumerate(_WEEKDAYS):
        ahead = (number - today.weekday() - 1) % 7 + 1
        value = value.replace(f"{{{weekday}}}", (today + timedelta(days=ahead)).isoformat())
    return value


def _heard_failings(wanted: Sequence[str], said: Sequence[str]) -> Iterator[str]:
    """The patterns in their order, over all that was heard."""
    text, at = " ".join(said), 0
    for pattern in wanted:
        found = re.compile(pattern, re.IGNORECASE).search(text, at)
        if found is None:
            behind = " after that" if at else ""
            yield f"the caller was to hear {pattern}{behind}, and heard: {_told(text[at:]) if text[at:] else 'nothing'}"
        else:
            at = found.end()


def _told(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
