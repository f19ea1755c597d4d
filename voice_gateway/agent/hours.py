"""When a persona answers: its hours in its own time zone, and what becomes of a caller outside them.

[hours]
zone = "Africa/Kigali"                 a time zone of the IANA's list
closed = ["2026-12-24", "12-25"]       no span begins on these days; without a year, in every year
say = "We are closed. Call again ..."  what a caller hears outside them from the carrier's voice, before the call ends
persona = "night-desk"                 or another persona answers
transfer = "+250788123456"             or he is put through, after `say`: a number with country code, or sip:...
[hours.open]
mon-fri = ["08:30-12:00", "13:00-18:00"]
sat = "18:00-02:00"                    over midnight; it belongs to the day on which it begins

A day that is not named is closed. Clock times are those on the wall: where clocks are changed, a span begins at the
first of two equal hours and ends at the second, and an hour that is left out is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from voice_gateway.errors import there_are

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIELDS: Final = ("zone", "open", "closed", "say", "persona", "transfer")
_SPAN: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])\s*-\s*(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))")
_WHOLE_DAY: Final = 24 * 60
LONGEST_SENTENCE: Final = 500
ADDRESS: Final = re.compile(r"\+[1-9][0-9]{6,14}|sips?:[^\s@<>\"]+@[^\s@<>\"]+")
"""Whom a caller can be put through to: a number with its country code, or a SIP address."""


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes since midnight, of the day on which it begins. An end that is not after the begin is on the next day."""

    begin: int
    end: int

    def covers(self, day: date, at: datetime, zone: ZoneInfo) -> bool:
        """Whether this moment is within the span that begins on this day."""
        last = day if self.end > self.begin else day + timedelta(days=1)
        return _moment(day, self.begin, zone, fold=0) <= at < _moment(last, self.end, zone, fold=1)


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """spans: for each day of the week from Monday. closed_yearly: (month, day). say, persona, transfer: see above."""

    zone: ZoneInfo
    spans: tuple[tuple[Span, ...], ...]
    closed: frozenset[date] = frozenset()
    closed_yearly: frozenset[tuple[int, int]] = frozenset()
    say: str = ""
    persona: str = ""
    transfer: str = field(default="", repr=False)

    def is_open(self, at: datetime) -> bool:
        """at: with its time zone, whichever."""
        at = at.astimezone(UTC)
        today = at.astimezone(self.zone).date()
        return any(
            span.covers(day, at, self.zone)
            for day in (today, today - timedelta(days=1))
            if day not in self.closed and (day.month, day.day) not in self.closed_yearly
            for span in self.spans[day.weekday()]
        )


def _moment(day: date, minutes: int, zone: ZoneInfo, *, fold: int) -> datetime:
    """What a clock on the wall shows, in UTC: two moments are never compared by what clocks show.

    What it never shows, because an hour is left out then, is the moment at which clocks are put forward.
    """
    days, rest = divmod(minutes, _WHOLE_DAY)
    wall = datetime.combine(day + timedelta(days=days), time(rest // 60, rest % 60, fold=fold), zone)
    shown = wall.astimezone(UTC)
    if shown.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return shown
    before, after = wall.replace(fold=1).astimezone(UTC), wall.replace(fold=0).astimezone(UTC)
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == before.astimezone(zone).utcoffset():
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


# --- from a file ------------------------------------------------------------------------------------------------


def read_hours(given: Any, problems: list[str]) -> OpeningHours | None:
    """The table `hours` of a persona's file; None without one. What is wrong in it is added to problems."""
    if given is None:
        return None
    if not isinstance(given, dict):
        problems.append(f"hours: must be a table with zone and open, not {given!r}")
        return None
    found: list[str] = [
        f"hours.{name}: no such field; {there_are(_FIELDS, name)}" for name in sorted(given.keys() - {*_FIELDS})
    ]
    zone = _zone(given.get("zone"), found)
    closed, yearly = _closed(given.get("closed", []), found)
    texts = {name: _text(given, name, found) for name in ("say", "persona", "transfer")}
    transfer = compact(texts["transfer"])
    if transfer and not ADDRESS.fullmatch(transfer):
        found.append(
            "hours.transfer: must be a number with + and country code, or an address such as sip:desk@example.org"
        )
    if texts["persona"] and (texts["transfer"] or texts["say"]):
        found.append("hours.persona: another persona answers, so leave out say and transfer")
    if not any(texts.values()):
        found.append("hours.say: tell callers when to call again, or set persona or transfer")
    spans = _spans(given.get("open"), found)
    problems += found
    if found or zone is None:
        return None
    return OpeningHours(zone, spans, closed, yearly, texts["say"], texts["persona"], transfer)


def compact(address: str) -> str:
    """A number without what people put between digits; a SIP address as it is."""
    return address if address.startswith(("sip:", "sips:")) else re.sub(r"[\s().\-]", "", address)


def _zone(given: Any, problems: list[str]) -> ZoneInfo | None:
    try:
        if isinstance(given, str) and given:
            return ZoneInfo(given)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    problems.append(f"hours.zone: must be a time zone such as Africa/Kigali or Europe/Malta, not {given!r}")
    return None


def _text(given: Mapping[str, Any], name: str, problems: list[str]) -> str:
    value = given.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST_SENTENCE:
        problems.append(f"hours.{name}: must be a text of up to {LONGEST_SENTENCE} characters")
        return ""
    return " ".join(value.split())


def _closed(given: Any, problems: list[str]) -> tuple[frozenset[date], frozenset[tuple[int, int]]]:
    days: set[date] = set()
    yearly: set[tuple[int, int]] = set()
    for each in given if isinstance(given, list) else [given]:
        try:
            if isinstance(each, date) and not isinstance(each, datetime):
                days.add(each)  # TOML has dates of its own
            elif re.fullmatch(r"[0-9]{2}-[0-9]{2}", each):
                day = date.fromisoformat(f"2024-{each}")  # a leap year knows every day there is
                yearly.add((day.month, day.day))
            else:
                days.add(date.fromisoformat(each))
        except (TypeError, ValueError):
            problems.append(f"hours.closed: must be days such as 2026-12-24, or 12-25 for every year, not {each!r}")
    return frozenset(days), frozenset(yearly)


def _spans(given: Any, problems: list[str]) -> tuple[tuple[Span, ...], ...]:
    week: list[list[Span]] = [[] for _ in DAYS]
    if not isinstance(given, dict) or not given:
        problems.append('hours.open: must be a table such as mon-fri = ["09:00-17:00"]')
        return ()
    for name, value in given.items():
        days = _days(name)
        if not days:
            problems.append(f"hours.open.{name}: must be one of {', '.join(DAYS)}, or a range such as mon-fri")
        for each in value if isinstance(value, list) else [value]:
            span = _span(each)
            if span is None:
                problems.append(
                    f"hours.open.{name}: must be spans such as 09:00-17:00 or, over midnight, 18:00-02:00, not {each!r}"
                )
                continue
            for day in days:
                week[day].append(span)
    return tuple(tuple(spans) for spans in week)


def _days(name: str) -> list[int]:
    """`mon`, or `fri-mon`: over the week's end, too."""
    ends = [part.strip().lower() for part in name.split("-")]
    if len(ends) > 2 or any(part not in DAYS for part in ends):
        return []
    first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
    return [day % len(DAYS) for day in range(first, first + (last - first) % len(DAYS) + 1)]


def _span(given: Any) -> Span | None:
    found = _SPAN.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is None:
        return None
    hour, minute, *end = (part for part in found.groups() if part is not None)
    span = Span(int(hour) * 60 + int(minute), int(end[0]) * 60 + int(end[1]))
    return None if span.begin == span.end else span
