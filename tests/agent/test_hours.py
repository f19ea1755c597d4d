"""Business hours: in whose time zone, over midnight, on days of rest, and when clocks are changed."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.agent.hours import OpeningHours, read_hours

OFFICE = """
zone = "Africa/Kigali"
closed = ["2026-12-24", "12-25"]
say = "We are closed."
[open]
mon-fri = ["08:30-12:00", "13:00-18:00"]
sat = "09:00-12:00"
"""
BAR = """
zone = "Europe/Malta"
closed = ["2026-12-25"]
say = "The bar is closed."
[open]
thu-sat = "18:00-02:30"
"""


def hours(text: str) -> OpeningHours:
    problems: list[str] = []
    found = read_hours(tomllib.loads(text), problems)
    assert problems == []
    assert found is not None
    return found


def is_open(found: OpeningHours, local: str) -> bool:
    """By a clock on the wall there; `fold=1` is told by a trailing `*`: the second of two equal hours."""
    wall = datetime.fromisoformat(local.rstrip("*")).replace(tzinfo=found.zone, fold=int(local.endswith("*")))
    return found.is_open(wall.astimezone(UTC))


@pytest.mark.parametrize(
    ("at", "open_then"),
    [
        ("2026-11-20T08:29:59", False),
        ("2026-11-20T08:30", True),
        ("2026-11-20T12:00", False),
        ("2026-11-20T13:00", True),
        ("2026-11-20T18:00", False),
        ("2026-11-21T10:00", True),
        ("2026-11-21T13:30", False),
        ("2026-11-22T10:00", False),
    ],
)
def test_a_day_has_several_spans_and_each_weekday_its_own(at: str, open_then: bool) -> None:  # noqa: FBT001 - what is expected
    assert is_open(hours(OFFICE), at) is open_then


def test_a_day_of_rest_is_one_year_or_every_year() -> None:
    office = hours(OFFICE)
    assert not is_open(office, "2026-12-24T10:00")
    assert is_open(office, "2027-12-24T10:00")
    assert not is_open(office, "2026-12-25T10:00")
    assert not is_open(office, "2028-12-25T10:00")


def test_a_span_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    bar = hours(BAR)
    assert is_open(bar, "2026-11-21T23:59")
    assert is_open(bar, "2026-11-22T02:29"), "Saturday's evening goes into Sunday"
    assert not is_open(bar, "2026-11-22T02:30")
    assert not is_open(bar, "2026-11-19T01:00"), "nobody was there on Wednesday"
    assert is_open(bar, "2026-12-25T01:00"), "the evening before the day of rest goes on to its end"
    assert not is_open(bar, "2026-12-25T19:00")
    assert not is_open(bar, "2026-12-26T01:00"), "and the day of rest has none"


def test_an_hour_that_comes_twice_is_open_both_times() -> None:
    bar = hours(BAR.replace("thu-sat", "fri-sun"))
    assert is_open(bar, "2026-10-25T02:15")
    assert is_open(bar, "2026-10-25T02:15*")
    assert not is_open(bar, "2026-10-25T02:30*")
    opened = datetime(2026, 10, 24, 16, 0, tzinfo=UTC)
    minutes = sum(bar.is_open(opened + timedelta(minutes=minute)) for minute in range(24 * 60))
    assert minutes == (8.5 + 1) * 60 + 0, "Saturday's span has an hour more; Sunday's begins later"


def test_an_hour_that_is_left_out_is_passed_over() -> None:
    bar = hours(BAR.replace("thu-sat", "sat").replace("02:30", "03:00"))
    begin = datetime(2026, 3, 28, 17, 0, tzinfo=UTC)
    minutes = sum(bar.is_open(begin + timedelta(minutes=minute)) for minute in range(24 * 60))
    assert minutes == 8 * 60, "from six to three by the clock, and that is an hour less"


def test_a_span_that_ends_or_begins_in_an_hour_that_is_left_out_does_so_when_clocks_are_put_forward() -> None:
    late = hours(BAR.replace("thu-sat", "sat"))
    assert is_open(late, "2026-03-29T01:59"), "until half past two, and that is not reached"
    assert not is_open(late, "2026-03-29T03:00")
    early = hours(BAR.replace("thu-sat", "sun").replace("18:00-02:30", "02:30-06:00"))
    assert not is_open(early, "2026-03-29T01:59")
    assert is_open(early, "2026-03-29T03:00"), "half past two is over by then"
    never = hours(BAR.replace("thu-sat", "sun").replace("18:00-02:30", "02:10-02:50"))
    begin = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
    assert not any(never.is_open(begin + timedelta(minutes=minute)) for minute in range(12 * 60))


def test_a_whole_day_and_a_range_over_the_weeks_end() -> None:
    always = hours('zone = "UTC"\nsay = "x"\n[open]\nsun-sat = "00:00-24:00"\n')
    weekend = hours('zone = "UTC"\nsay = "x"\n[open]\nsat-mon = "00:00-24:00"\n')
    days = [
        datetime(2026, 11, 16, tzinfo=UTC) + timedelta(days=day, hours=hour) for day in range(7) for hour in (0, 23)
    ]
    assert all(always.is_open(day) for day in days)
    assert [weekend.is_open(day) for day in days] == [True] * 2 + [False] * 8 + [True] * 4


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)))  # noqa: DTZ001 - as hypothesis wants them
def test_whether_it_is_open_does_not_depend_on_whose_clock_is_read(at: datetime) -> None:
    office, moment = hours(OFFICE), at.replace(tzinfo=UTC)
    assert office.is_open(moment) == office.is_open(moment.astimezone(office.zone))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"Africa/Kigali"', '"Kigali"', "hours.zone: must be a time zone such as Africa/Kigali"),
        ('"Africa/Kigali"', '"../etc/passwd"', "hours.zone: must be a time zone"),
        ('"Africa/Kigali"', "3", "hours.zone: must be a time zone"),
        ('"12-25"', '"25.12."', "hours.closed: must be days such as 2026-12-24, or 12-25 for every year, not '25.12.'"),
        ('"12-25"', '"02-30"', "hours.closed: must be days"),
        ("mon-fri", "monday", "hours.open.monday: must be one of mon, tue"),
        ('"09:00-12:00"', '"9-12"', "hours.open.sat: must be spans such as 09:00-17:00"),
        ('"09:00-12:00"', '"09:00-24:30"', "hours.open.sat: must be spans"),
        ('"09:00-12:00"', '"09:00-09:00"', "hours.open.sat: must be spans"),
        ('"09:00-12:00"', "9", "hours.open.sat: must be spans"),
        ('say = "We are closed."', "", "hours.say: tell callers when to call again, or set persona or transfer"),
        ('say = "We are closed."', "say = 3", "hours.say: must be a text"),
        ('say = "We are closed."', 'transfer = "112"', "hours.transfer: must be a number with + and country code"),
        ('say = "We are closed."', 'say = "x"\npersona = "night"', "hours.persona: another persona answers"),
        ('say = "We are closed."', 'says = "x"', "hours.says: no such field; there are zone, open, closed"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(old: str, new: str, said: str) -> None:
    problems: list[str] = []
    assert read_hours(tomllib.loads(OFFICE.replace(old, new)), problems) is None
    assert any(problem.startswith(said) for problem in problems), problems


@pytest.mark.parametrize("given", [3, "mon", {}, {"zone": "UTC", "say": "x"}, {"zone": "UTC", "say": "x", "open": 1}])
def test_what_is_no_table_of_hours_is_told(given: object) -> None:
    problems: list[str] = []
    assert read_hours(given, problems) is None
    assert problems
    assert all(problem.startswith("hours") for problem in problems)


@pytest.mark.parametrize("to", ["+250 788 123-456", "sip:desk@pbx.example;transport=tls"])
def test_a_caller_can_be_put_through_to_a_number_or_an_address(to: str) -> None:
    assert hours(OFFICE.replace("say =", f'transfer = "{to}"\nsay =')).transfer == to.replace(" ", "").replace("-", "")
