"""Days, times of day and periods as people say them, in the form that a schema asks for (ISO 8601).

A day without a year is the next one of its kind; a period that would lie ahead is the last one that has begun.
"""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from typing import Final

from voice_gateway.emulator.wording import words

_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_UP_TO_TWENTIETH: Final = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    "twentieth",
)
_ORDINALS: Final = {word: place for place, word in enumerate(_UP_TO_TWENTIETH, 1)} | {"thirtieth": 30}
_BEFORE_A_TIME: Final = {"at", "around", "by"}
_BEHIND_AN_HOUR: Final = {"oclock", "o", "am", "pm", "30"}
_NAMED_HOURS: Final = {"noon": time(12), "midday": time(12), "midnight": time(0)}
_ISO_DAY: Final = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_CLOCK: Final = re.compile(r"\b(\d{1,2})[:.h](\d\d)\s*(a\.?m|p\.?m)?", re.IGNORECASE)
_HOURS_OF_WORK: Final = 7  # an hour said without morning or evening is at this one or later


def spoken_day(text: str, today: date) -> date | None:
    """`tomorrow`, `next Tuesday`, `the first of December`, `December 1st 2027`, `2026-12-01`; None: no day is named."""
    if found := _ISO_DAY.search(text):
        return _day(int(found[1]), int(found[2]), int(found[3]))
    said = _plain(text)
    if "tomorrow" in said:
        return today + timedelta(days=2 if _after(said, "day", "after", "tomorrow") else 1)
    if "today" in said or "tonight" in said:
        return today
    if (calendar := _of_a_month(said, today)) is not None:
        return calendar
    weekday = next((_WEEKDAYS.index(word) for word in said if word in _WEEKDAYS), None)
    if weekday is None:
        return None
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def _of_a_month(said: list[str], today: date) -> date | None:
    month = next((place for place, word in enumerate(said) if word in _MONTHS), None)
    if month is None:
        return None
    number = next((found for word in _beside(said, month) if (found := _number(word)) and found <= 31), None)
    if number is None:
        return None
    year = next((int(word) for word in said if re.fullmatch(r"20\d\d", word)), None)
    day = _day(year or today.year, _MONTHS.index(said[month]) + 1, number)
    if day is not None and year is None and day < today:
        day = _day(today.year + 1, day.month, day.day)
    return day


def _beside(said: list[str], place: int) -> list[str]:
    """The words next to one, an `of` before it and a `the` behind it passed over."""
    before = place - (2 if place > 1 and said[place - 1] == "of" else 1)
    behind = place + (2 if said[place + 1 : place + 2] == ["the"] else 1)
    return [*(said[before : before + 1] if before >= 0 else []), *said[behind : behind + 1]]


def spoken_time(text: str) -> time | None:
    """`half past two`, `ten o'clock`, `at 3 pm`, `14:30`; None: no time is named.

    An hour without more is one of the working day: `two` is fourteen, `nine` is nine in the morning.
    """
    if found := _CLOCK.search(text):
        return _at(int(found[1]), int(found[2]), _plain(text), str(found[3] or ""))
    said = _plain(re.sub(r"\b([ap])\.?\s?m\b\.?", r"\1m", text, flags=re.IGNORECASE))
    for place, word in enumerate(said):
        before = said[place - 1] if place else ""
        after = said[place + 1] if place + 1 < len(said) else ""
        minutes = {"half": 30, "quarter": 15}.get(before) or _number(before)
        if word in ("past", "to") and minutes and 0 < _number(after) <= 12:
            hour = _number(after)
            return _at(hour, minutes, said) if word == "past" else _at(hour - 1 or 12, 60 - minutes, said)
        if word.isdigit() and 0 < int(word) < 24 and (after in _BEHIND_AN_HOUR or before in _BEFORE_A_TIME):
            return _at(int(word), 30 if after == "30" else 0, said)
        if re.fullmatch(r"\d{3,4}", word) and before in _BEFORE_A_TIME and int(word) % 100 < 60:
            return _at(int(word) // 100, int(word) % 100, said)
    return next((_NAMED_HOURS[word] for word in said if word in _NAMED_HOURS), None)


def spoken_period(text: str, today: date) -> str | None:
    """`2026-Q3`, `2026-08`, `2026` out of `the third quarter`, `last August`, `this year`; None: none is named."""
    if found := re.search(r"\b(20\d\d)-(Q[1-4]|\d\d)\b", text, re.IGNORECASE):
        return found[0].upper()
    said = _plain(text)
    year = next((int(word) for word in said if re.fullmatch(r"20\d\d", word)), None)
    quarter = _quarter(said)
    if quarter:
        began = (quarter * 3 - 2, 1) <= (today.month, today.day)
        return f"{year or (today.year if began else today.year - 1)}-Q{quarter}"
    month = next((_MONTHS.index(word) + 1 for word in said if word in _MONTHS), None)
    if month:
        return f"{year or (today.year if month <= today.month else today.year - 1)}-{month:02}"
    relative = _relative(said, today)
    return relative or (str(year) if year else None)


def _quarter(said: list[str]) -> int:
    for place, word in enumerate(said):
        if re.fullmatch(r"q[1-4]", word):
            return int(word[1])
        if word in ("q", "quarter"):
            near = [*said[place + 1 : place + 2], *said[max(0, place - 1) : place]]
            number = next((found for other in near if (found := _number(other))), 0)
            if 1 <= number <= 4:
                return number
    return 0


def _relative(said: list[str], today: date) -> str | None:
    last = "last" in said or "previous" in said
    if "month" in said and (last or "this" in said):
        day = today.replace(day=1) - timedelta(days=1 if last else 0)
        return f"{day.year}-{day.month:02}"
    if "quarter" in said and (last or "this" in said):
        quarter = (today.month - 1) // 3 + (0 if last else 1)
        return f"{today.year}-Q{quarter}" if quarter else f"{today.year - 1}-Q4"
    if "year" in said and (last or "this" in said):
        return str(today.year - (1 if last else 0))
    return None


def _plain(text: str) -> list[str]:
    """The words of a text; `1st` is 1, and `Q 3` stays two words."""
    spaced = re.sub(r"\b(\d+)(?:st|nd|rd|th)\b", r"\1", text, flags=re.IGNORECASE)
    said = words(re.sub(r"\b([qQ])([1-4])\b", r"\1 \2", spaced))
    out: list[str] = []
    for word in said:
        if out and out[-1] in ("20", "30") and 0 < _ORDINALS.get(word, 0) < 10:
            out[-1] = str(int(out[-1]) + _ORDINALS[word])  # twenty-fourth
        else:
            out.append(word)
    return out


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _ORDINALS.get(word, 0)


def _after(said: list[str], *run: str) -> bool:
    return any(tuple(said[place : place + len(run)]) == run for place in range(len(said)))


def _at(hour: int, minute: int, said: list[str], half: str = "") -> time | None:
    half = half.replace(".", "").lower()
    afternoon = half == "pm" or {"pm", "afternoon", "evening"} & set(said)
    morning = half == "am" or {"am", "morning"} & set(said)
    if hour < 12 and (afternoon or (not morning and hour < _HOURS_OF_WORK)):
        hour += 12
    elif hour == 12 and morning:
        hour = 0
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _day(year: int, month: int, number: int) -> date | None:
    try:
        return date(year, month, number)
    except ValueError:
        return None
