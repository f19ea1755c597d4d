"""Calendars elsewhere: what of them is busy, in which zone, and what becomes of the diary when they cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from voice_gateway.store import calendars
from voice_gateway.store.calendars import Calendars, Unreadable
from voice_gateway.store.diary import Appointment, Diary, Hours, Wish
from voice_gateway.store.ical import busy_times
from voice_gateway.store.rows import Rows, TablesAway
from voice_gateway.store.tables import Tables

MALTA = ZoneInfo("Europe/Malta")
NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)  # a Monday
BEGINS, ENDS = datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 5, 1, tzinfo=UTC)


def calendar(*events: str, head: str = "") -> bytes:
    """A calendar of these events; each is its lines, and gets the rest that the standard wants."""
    parts = [
        f"BEGIN:VEVENT\nUID:{number}\nDTSTAMP:20260101T000000Z\n{dedent(event).strip()}\nEND:VEVENT"
        for number, event in enumerate(events)
    ]
    text = "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test", *head.split(), *parts, "END:VCALENDAR"])
    return text.replace("\n", "\r\n").encode()


def busy(data: bytes, zone: ZoneInfo = MALTA) -> list[str]:
    """Begin and end of each busy time, in UTC."""
    spans = busy_times(data, zone, BEGINS, ENDS).spans
    return [f"{each.begins:%m-%d %H:%M} {each.ends:%m-%d %H:%M}" for each in spans]


# --- reading ----------------------------------------------------------------------------------------------------


def test_times_are_those_of_their_zone() -> None:
    data = calendar(
        "DTSTART:20261202T090000Z\nDTEND:20261202T100000Z",
        "DTSTART;TZID=Africa/Kigali:20261203T090000\nDURATION:PT45M",
        "DTSTART:20261204T090000\nDTEND:20261204T093000",
    )
    assert busy(data) == ["12-02 09:00 12-02 10:00", "12-03 07:00 12-03 07:45", "12-04 08:00 12-04 08:30"]
    in_kigali = calendar("DTSTART:20261204T090000\nDURATION:PT30M", head="X-WR-TIMEZONE:Africa/Kigali")
    assert busy(in_kigali) == ["12-04 07:00 12-04 07:30"], "the calendar's own zone goes before ours"


def test_a_whole_day_is_as_long_as_the_clock_makes_it() -> None:
    data = calendar("DTSTART;VALUE=DATE:20261205", "DTSTART;VALUE=DATE:20270328\nDTEND;VALUE=DATE:20270329")
    assert busy(data) == ["12-04 23:00 12-05 23:00", "03-27 23:00 03-28 22:00"], "23 hours in spring"


def test_nine_o_clock_stays_nine_when_the_clocks_are_changed() -> None:
    data = calendar("DTSTART;TZID=Europe/Malta:20270322T090000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT=3")
    assert busy(data) == ["03-22 08:00 03-22 09:00", "03-29 07:00 03-29 08:00", "04-05 07:00 04-05 08:00"]


def test_repeats_have_ends_exceptions_additions_and_changes() -> None:
    data = calendar(
        """
        DTSTART;TZID=Europe/Malta:20261123T090000
        DTEND;TZID=Europe/Malta:20261123T100000
        RRULE:FREQ=DAILY;UNTIL=20261127T080000Z
        EXDATE;TZID=Europe/Malta:20261124T090000
        RDATE;VALUE=PERIOD:20261130T120000Z/PT15M
        """
    ).replace(
        b"END:VCALENDAR",
        b"BEGIN:VEVENT\r\nUID:0\r\nDTSTAMP:20260101T000000Z\r\n"
        b"RECURRENCE-ID;TZID=Europe/Malta:20261125T090000\r\nDTSTART;TZID=Europe/Malta:20261125T150000\r\n"
        b"DURATION:PT1H\r\nEND:VEVENT\r\n"
        b"BEGIN:VEVENT\r\nUID:0\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID:20261126T080000Z\r\n"
        b"STATUS:CANCELLED\r\nDTSTART:20261126T080000Z\r\nEND:VEVENT\r\nEND:VCALENDAR",
    )
    assert busy(data) == [
        "11-23 08:00 11-23 09:00", "11-25 14:00 11-25 15:00", "11-27 08:00 11-27 09:00", "11-30 12:00 11-30 12:15",
    ]  # fmt: skip


def test_a_rule_by_days_ends_with_the_day_it_names() -> None:
    data = calendar("DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=DAILY;UNTIL=20261203")
    assert [each[:5] for each in busy(data)] == ["11-30", "12-01", "12-02"]


def test_what_takes_no_time_blocks_none() -> None:
    assert busy(calendar("DTSTART:20261202T090000Z\nDURATION:PT1H\nTRANSP:TRANSPARENT")) == []
    assert busy(calendar("DTSTART:20261202T090000Z\nDURATION:PT1H\nSTATUS:CANCELLED")) == []
    assert busy(calendar("DTSTART:20261202T090000Z")) == [], "a point in time"
    assert busy(calendar("DTSTART:20200101T090000Z\nDURATION:PT1H")) == [], "long over"


def test_free_busy_is_understood() -> None:
    data = calendar().replace(
        b"END:VCALENDAR",
        b"BEGIN:VFREEBUSY\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
        b"FREEBUSY:20261202T090000Z/PT1H,20261203T090000Z/20261203T100000Z\r\n"
        b"FREEBUSY;FBTYPE=FREE:20261204T090000Z/PT1H\r\nEND:VFREEBUSY\r\nEND:VCALENDAR",
    )
    assert busy(data) == ["12-02 09:00 12-02 10:00", "12-03 09:00 12-03 10:00"]


def test_one_event_that_makes_no_sense_costs_no_other() -> None:
    data = calendar(
        "SUMMARY:without a start",
        "DTSTART:20200101T000000Z\nDURATION:PT1S\nRRULE:FREQ=SECONDLY",
        "DTSTART:20261202T090000Z\nDTEND:20261202T080000Z",
        "DTSTART:20261202T090000Z\nDURATION:PT1H",
    )
    found = busy_times(data, MALTA, BEGINS, ENDS)
    assert (len(found.spans), found.left_out) == (1, 2)


@pytest.mark.parametrize("data", [b"", b"<html>sign in</html>", b"BEGIN:VCARD\r\nEND:VCARD\r\n", b"\xff\xfe\x00"])
def test_what_is_no_calendar_is_told(data: bytes) -> None:
    with pytest.raises(Unreadable):
        busy_times(data, MALTA, BEGINS, ENDS)


@given(st.lists(st.sampled_from(calendar("DTSTART:20261202T090000Z\nRRULE:FREQ=DAILY").split(b"\r\n")), max_size=12))
def test_no_lines_whatever_raise_anything_else(lines: list[bytes]) -> None:
    with suppress(Unreadable):
        busy_times(b"\r\n".join(lines), MALTA, BEGINS, ENDS)


# --- keeping it up to date --------------------------------------------------------------------------------------


@dataclass
class Far:
    """A server of calendars. says: what it answers; asked: with which headers it was."""

    url: str = ""
    says: Response = field(default_factory=lambda: Response(status_code=404))
    asked: list[str] = field(default_factory=list)


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    far = Far()

    async def answer(request: Request) -> Response:
        far.asked.append(request.headers.get("if-none-match", ""))
        if far.asked[-1] and far.asked[-1] == far.says.headers.get("etag"):
            return Response(status_code=304)
        return far.says

    config = uvicorn.Config(Starlette(routes=[Route("/{name}", answer)]), port=0, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.005)
    far.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/private-secret-key.ics"
    yield far
    server.should_exit = True
    await serving


MORNING = calendar("DTSTART:20261202T090000Z\nDURATION:PT1H")
DAY = (datetime(2026, 12, 2, tzinfo=UTC), datetime(2026, 12, 3, tzinfo=UTC))


async def test_a_calendar_is_asked_for_again_only_if_it_has_changed(far: Far) -> None:
    now = [NOW]
    calendars = Calendars([far.url], MALTA, wall_clock=lambda: now[0])
    far.says = Response(MORNING, headers={"etag": '"1"'})
    assert [await calendars.read() for _ in range(2)] == [True, True]
    assert far.asked == ["", '"1"']
    assert len(calendars.busy(*DAY)) == 1
    far.says = Response(calendar(), headers={"etag": '"2"'})
    assert await calendars.read()
    assert calendars.busy(*DAY) == []
    now[0] += timedelta(days=90)
    assert await calendars.read()
    assert far.asked[-1] == "", "after a while it is read anew: repeats go on beyond what was looked at"
    await calendars.close()


async def test_what_was_read_last_holds_while_the_calendar_is_away(far: Far) -> None:
    calendars = Calendars([far.url], MALTA, wall_clock=lambda: NOW)
    with capture_logs() as logs:
        assert not await calendars.read()
        with pytest.raises(TablesAway, match=r"not read up to 2026-12-03: calendar 1 \(127\.0\.0\.1\)"):
            calendars.busy(*DAY)
        far.says = Response(MORNING)
        assert await calendars.read()
        for bad in (Response(status_code=500), Response(status_code=500), Response("<html>", media_type="text/html")):
            far.says = bad
            assert not await calendars.read()
        assert len(calendars.busy(*DAY)) == 1
    told = [(each["event"], each.get("goes_by_older")) for each in logs]
    assert told == [
        ("calendar.unread", False), ("calendar.read", None), ("calendar.unread", True), ("calendar.unread", True),
    ], "each fault once"  # fmt: skip
    assert "secret-key" not in str(logs)
    with pytest.raises(TablesAway):
        calendars.busy(NOW + timedelta(days=600), NOW + timedelta(days=601))
    await calendars.close()


async def test_a_calendar_that_never_ends_is_not_read_to_its_end(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendars, "MOST_BYTES", 1000)
    away = Calendars([far.url], MALTA)
    far.says = Response(MORNING * 10)
    assert not await away.read()
    await away.close()


async def test_a_rule_that_is_never_fulfilled_is_not_reckoned_for_ever(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calendars, "PATIENCE_S", 1.0)
    away = Calendars([far.url], MALTA, wall_clock=lambda: NOW)
    far.says = Response(calendar("DTSTART:20260101T090000Z\nDURATION:PT1H\nRRULE:FREQ=MINUTELY;BYSETPOS=2"))
    async with asyncio.timeout(20):
        assert not await away.read()
    with pytest.raises(TablesAway):
        away.busy(*DAY)
    await away.close()


# --- in the diary -----------------------------------------------------------------------------------------------


async def test_busy_times_are_neither_offered_nor_booked(
    rows_over: Callable[[], Awaitable[Rows]], tmp_path: Path
) -> None:
    path = tmp_path / "own.ics"
    path.write_bytes(calendar("DTSTART;TZID=Europe/Malta:20261202T101500\nDURATION:PT30M"))
    elsewhere = Calendars([str(path)], MALTA, wall_clock=lambda: NOW)
    diary = Diary(await rows_over(), Hours(MALTA), elsewhere=elsewhere)
    day = date(2026, 12, 2)
    with pytest.raises(TablesAway):
        await diary.free(day, NOW)
    await elsewhere.read()
    free = [f"{slot:%H:%M}" for slot in await diary.free(day, NOW)]
    assert (free[:3], len(free)) == (["09:00", "09:30", "11:00"], 14)
    for at, taken in (((10, 0), True), ((10, 30), True), ((11, 0), False)):
        booked = await diary.book(Wish(datetime(2026, 12, 2, *at, tzinfo=MALTA), "Aline"), "CA1", None, NOW)
        assert (booked == "taken") is taken, at
        assert isinstance(booked, Appointment) is not taken
    path.write_bytes(calendar())
    await elsewhere.read()
    assert "10:00" in [f"{slot:%H:%M}" for slot in await diary.free(day, NOW)], "read again when the file has changed"


async def test_the_tables_read_calendars_from_their_start_on(
    rows_over: Callable[[], Awaitable[Rows]], tmp_path: Path
) -> None:
    (tmp_path / "own.ics").write_bytes(MORNING)
    elsewhere = Calendars([str(tmp_path / "own.ics")], MALTA, wall_clock=lambda: NOW)
    tables = Tables(await rows_over(), Hours(MALTA), elsewhere)
    await tables.start()
    for _ in range(500):
        try:
            free = await tables.diary.free(date(2026, 12, 2), NOW)
        except TablesAway:
            await asyncio.sleep(0.01)
        else:
            break
    assert "10:00" not in [f"{slot:%H:%M}" for slot in free]
    await tables.close()
