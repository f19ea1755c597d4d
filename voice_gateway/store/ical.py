"""From an iCalendar file (RFC 5545) to the times at which its owner is busy.

An event that is cancelled, or that says it takes no time (TRANSP:TRANSPARENT), is left out. A repeated one is repeated
by the clock on its own wall, so that nine o'clock stays nine when clocks are changed; a changed instance takes the
place of the one it changes (RANGE=THISANDFUTURE is taken for that one alone). Times without a zone, and whole days,
are those of the calendar's own zone (X-WR-TIMEZONE), or else of the zone that is given.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from dateutil.rrule import rrulestr
from icalendar import Calendar

from voice_gateway.store.calendars import Busy, Span, Unreadable

MOST_REPEATS: Final = 20_000
"""Of one event, from its first on: what repeats more often is no appointment."""

MOST_SPANS: Final = 50_000
Moment: TypeAlias = datetime | date


def busy_times(data: bytes, zone: ZoneInfo, begins: datetime, ends: datetime) -> Busy:
    """What of a calendar lies between begins and ends. Raises `Unreadable` when none of it can be read."""
    try:
        calendars = Calendar.from_ical(data, multiple=True)
    except Exception as error:  # the library raises whatever it stumbles over
        raise Unreadable(f"{type(error).__name__}: {str(error)[:200]}") from error
    if not calendars or any(each.name != "VCALENDAR" for each in calendars):
        raise Unreadable("it is no VCALENDAR")
    found: set[Span] = set()
    left_out = 0
    for calendar in calendars:
        own_zone = _zone_of(calendar, zone)
        changed = _changed(calendar, own_zone)
        for part in calendar.walk():
            try:
                spans = list(_spans(part, changed, own_zone, ends))
            except Exception:  # noqa: BLE001 - one event that makes no sense costs no other
                left_out += 1
                continue
            found.update(s for s in spans if s.begins < ends and s.ends > begins and s.begins < s.ends)
            if len(found) > MOST_SPANS:
                raise Unreadable(f"it has more than {MOST_SPANS} busy times")
    return Busy(sorted(found), left_out)


def _zone_of(calendar: Any, otherwise: ZoneInfo) -> ZoneInfo:
    try:
        return ZoneInfo(str(calendar["X-WR-TIMEZONE"]).strip())
    except (KeyError, ZoneInfoNotFoundError, ValueError, OSError):
        return otherwise


def _changed(calendar: Any, zone: tzinfo) -> dict[str, set[datetime]]:
    """Which repeats of which event are told of on their own."""
    changed: defaultdict[str, set[datetime]] = defaultdict(set)
    for event in calendar.walk("VEVENT"):
        if "RECURRENCE-ID" in event:
            changed[str(event.get("UID"))].add(_utc(event["RECURRENCE-ID"].dt, zone))
    return changed


def _spans(part: Any, changed: dict[str, set[datetime]], zone: tzinfo, horizon: datetime) -> Iterator[Span]:
    if part.name == "VFREEBUSY":
        for period in _listed(part.get("FREEBUSY")):
            if str(period.params.get("FBTYPE", "BUSY")).upper() != "FREE":
                yield Span(_utc(period.start, zone), _utc(period.end, zone))
    elif part.name == "VEVENT" and _takes_time(part):
        instead = set() if "RECURRENCE-ID" in part else changed.get(str(part.get("UID")), set())
        yield from (span for span in _repeats(part, zone, horizon) if span.begins not in instead)


def _takes_time(event: Any) -> bool:
    status, transparency = (str(event.get(name, "")).upper() for name in ("STATUS", "TRANSP"))
    return status != "CANCELLED" and transparency != "TRANSPARENT"


def _repeats(event: Any, zone: tzinfo, horizon: datetime) -> Iterator[Span]:
    """An event's own time, and every other one that its rules make until the horizon."""
    start: Moment = event.DTSTART
    excepted = {_utc(each, zone) for each in event.exdates}
    whole_days = not isinstance(start, datetime)
    length = event.duration if whole_days or "DURATION" in event else _utc(event.end, zone) - _utc(start, zone)
    begins = [start, *_by_rules(event, start, zone, horizon)]
    for each in event.rdates:
        moment, end = each if isinstance(each, tuple) else (each, None)
        if end is None:
            begins.append(moment)
        elif _utc(moment, zone) not in excepted:
            yield Span(_utc(moment, zone), _utc(end, zone))
    for moment in begins:
        at = _utc(moment, zone)
        if at not in excepted:
            # A day has 23 hours or 25 when clocks are changed; an hour has always the same length.
            yield Span(at, _utc(moment + length, zone) if whole_days else at + length)


def _by_rules(event: Any, start: Moment, zone: tzinfo, horizon: datetime) -> Iterator[Moment]:
    """Reckoned by the clock on the wall: without a zone, which each gets afterwards."""
    own: tzinfo = (start.tzinfo or zone) if isinstance(start, datetime) else zone
    last = horizon.astimezone(own).replace(tzinfo=None)
    for rule in event.rrules:
        if "UNTIL" in rule:
            until = rule["UNTIL"][0]
            whole_day = not isinstance(until, datetime)
            rule["UNTIL"] = [_wall(until, own) + timedelta(days=1, microseconds=-1) if whole_day else _wall(until, own)]
        for count, at in enumerate(rrulestr(rule.to_ical().decode(), dtstart=_wall(start, own))):
            if at > last:
                break
            if count == MOST_REPEATS:
                raise Unreadable(f"an event is repeated more than {MOST_REPEATS} times")
            yield at.replace(tzinfo=own) if isinstance(start, datetime) else at.date()


def _wall(moment: Moment, zone: tzinfo) -> datetime:
    """What the clock on the wall shows, without its zone."""
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001 - on purpose
    return moment.replace(tzinfo=None) if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)


def _utc(moment: Moment, zone: tzinfo) -> datetime:
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day, tzinfo=zone).astimezone(UTC)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


# --- in a process of its own --------------------------------------------------------------------------------------


def _main(zone: str, begins: str, ends: str) -> None:
    """A calendar on standard input, its busy times on standard output."""
    try:
        found = busy_times(
            sys.stdin.buffer.read(), ZoneInfo(zone), datetime.fromisoformat(begins), datetime.fromisoformat(ends)
        )
    except Unreadable as error:
        answer: dict[str, Any] = {"unreadable": str(error)}
    else:
        spans = [(each.begins.timestamp(), each.ends.timestamp()) for each in found.spans]
        answer = {"spans": spans, "left_out": found.left_out}
    sys.stdout.buffer.write(orjson.dumps(answer))


if __name__ == "__main__":
    _main(*sys.argv[1:])
