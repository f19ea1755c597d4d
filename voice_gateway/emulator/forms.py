"""Texts known by their form: an address, a number, a day, a time, a period, a name, a code, a message.

Which form an argument has is told by its schema's `format`, by the words of its name, or by how its description writes
an example (`2026-12-01`, `2026-Q3`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Final, TypeAlias

from voice_gateway.emulator import spelled
from voice_gateway.emulator.schemas import Schema
from voice_gateway.emulator.spoken_time import spoken_day, spoken_period, spoken_time
from voice_gateway.emulator.wording import readable, words

Form: TypeAlias = Callable[[str, date], str]
"""What is found in a line, given the day it is said on; empty when nothing is."""


def _matched(pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> Form:
    compiled = re.compile(pattern, flags)

    def find(line: str, _today: date) -> str:
        found = compiled.search(line)
        return next((group.strip(" ,.!?") for group in found.groups() if group), "") if found else ""

    return find


def _iso_day(line: str, today: date) -> str:
    day = spoken_day(line, today)
    return day.isoformat() if day else ""


def _iso_time(line: str, _today: date) -> str:
    at = spoken_time(line)
    return f"{at:%H:%M}" if at else ""


def _period(line: str, today: date) -> str:
    return spoken_period(line, today) or ""


def _number(line: str, _today: date) -> str:
    return spelled.digits(line)


def _code(line: str, _today: date) -> str:
    return spelled.code(line)


def _keys(line: str, _today: date) -> str:
    pressed = re.search(r"\b(?:press|dial|enter|type|keys?)\b(.*)", line, re.IGNORECASE)
    said = re.sub(r"\b(?:hash|pound)\b", "#", re.sub(r"\bstar\b", "*", pressed[1])) if pressed else line
    keys = (sign for each in re.findall(r"[#*]|\w+", said) for sign in ([each] if each in ("#", "*") else words(each)))
    return "".join(key for key in keys if key in ("#", "*") or key.isdigit())


_DAY_SAID = _matched(r"\b(today|tonight|tomorrow|(?:next |this )?(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b")
_TIME_SAID = _matched(r"\b(?:at|around|by)\s+((?:\d{1,2}(?::\d\d)?|[a-z]+)(?:\s?(?:[ap]\.?m\b\.?|o'clock))?)")
_NAME = _matched(
    r"\b(?:[Nn]ame is|[Nn]ame's|[Tt]his is|(?:[Ii]n|[Uu]nder) the name(?: of)?|I am|I'm)"
    r"\s+([A-Z][\w'\u2019-]*(?: [A-Z][\w'\u2019-]*)*)",
    re.RegexFlag(0),
)
_WHOM = _matched(
    r"\b(?:[Mm]essage|[Ww]ord|[Nn]ote) (?:for|to) ((?:the |my )?(?:[A-Z][\w'\u2019.-]*(?: [A-Z][\w'\u2019.-]*)*|\w+))",
    re.RegexFlag(0),
)
_UNTIL_NEXT = r"(.+?)(?=[.!?]\s+(?:my name|this is|i am|i'm|my number|thank|goodbye)\b|[.!?]*\s*$)"
_MESSAGE = _matched(
    rf"\b(?:tell|let) (?:him|her|them|mister \w+|the \w+)(?: know)?(?: that)?\b[,:]? {_UNTIL_NEXT}"
    rf"|\b(?:message|note) is:? (?:that )?{_UNTIL_NEXT}|\bsaying(?: that)? {_UNTIL_NEXT}"
)
_REASON = _matched(
    r"\b(?:about|regarding|concerning|because of|it is for|it's for) (?:an? |my |the )?([a-z][\w -]{2,60})"
)

_BY_FORMAT: Final = {"date": _iso_day, "time": _iso_time, "email": _matched(r"([\w.+-]+@[\w-]+\.\w[\w.]*\w)")}
_BY_EXAMPLE: Final = (
    (re.compile(r"\b20\d\d-Q[1-4]\b"), _period),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), _iso_day),
    (re.compile(r"\b[0-2]\d:[0-5]\d\b"), _iso_time),
)
_BY_NAME: Final = (
    ({"email", "mail"}, _BY_FORMAT["email"]),
    ({"phone", "telephone", "mobile"}, _number),
    ({"date", "day"}, _DAY_SAID),
    ({"time", "hour"}, _TIME_SAID),
    ({"whom", "recipient", "addressee"}, _WHOM),
    ({"name"}, _NAME),
    ({"code", "pin"}, _code),
    ({"digit", "key", "dtmf", "tone"}, _keys),
    ({"message", "note"}, _MESSAGE),
    ({"reason", "purpose"}, _REASON),
)


def form_of(name: str, schema: Schema) -> Form | None:
    """The form of an argument; None for words of any kind."""
    if (kind := str(schema.get("format", ""))) in _BY_FORMAT:
        return _BY_FORMAT[kind]
    about = str(schema.get("description") or "")
    for example, form in _BY_EXAMPLE:
        if example.search(about):
            return form
    own = words(readable(name))
    if len(own) > 1 and own[-1] == "number" and own[0] not in ("telephone", "phone"):
        return _code
    return next((form for names, form in _BY_NAME if names & set(own)), None)


def is_spelled(name: str, schema: Schema) -> bool:
    """Whether an argument is one that people spell, and that is read back to them sign by sign."""
    return form_of(name, schema) in (_code, _number)
