"""Days, times, periods, numbers and codes, as people say them and as an ear writes them down."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.emulator import spelled
from voice_gateway.emulator.spoken_time import spoken_day, spoken_period, spoken_time
from voice_gateway.emulator.wording import number_words

A_SATURDAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("tomorrow, please", date(2026, 11, 22)),
        ("the day after tomorrow", date(2026, 11, 23)),
        ("is anything free on Tuesday", date(2026, 11, 24)),
        ("next Saturday", date(2026, 11, 28)),
        ("the first of December", date(2026, 12, 1)),
        ("December 1st, 2027", date(2027, 12, 1)),
        ("on the twenty-fourth of November", date(2026, 11, 24)),
        ("on the 3rd of May", date(2027, 5, 3)),
        ("May the third", date(2027, 5, 3)),
        ("2026-12-01", date(2026, 12, 1)),
        ("I may call at two", None),
        ("the thirty-first of February", None),
        ("hello", None),
    ],
)
def test_days(said: str, day: date | None) -> None:
    assert spoken_day(said, A_SATURDAY) == day


@given(st.dates(date(2020, 1, 1), date(2100, 12, 31)), st.integers(0, 6))
def test_a_weekday_is_one_of_the_next_seven_days(today: date, weekday: int) -> None:
    day = spoken_day(f"on {today + timedelta(days=7 + weekday - today.weekday()):%A}", today)
    assert day is not None
    assert day.weekday() == weekday
    assert today < day <= today + timedelta(days=7)


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("half past two", time(14, 30)),
        ("quarter to four", time(15, 45)),
        ("Tuesday at ten o'clock", time(10)),
        ("at nine thirty", time(9, 30)),
        ("at 1030", time(10, 30)),
        ("14:30", time(14, 30)),
        ("at 3 p.m.", time(15)),
        ("10 a.m.", time(10)),
        ("in the evening at seven", time(19)),
        ("at noon", time(12)),
        ("two people", None),
        ("at 25:70", None),
    ],
)
def test_times_of_day(said: str, at: time | None) -> None:
    assert spoken_time(said) == at


@pytest.mark.parametrize(
    ("said", "period"),
    [
        ("the third quarter of 2026", "2026-Q3"),
        ("Q3, 2026", "2026-Q3"),
        ("quarter one", "2026-Q1"),
        ("last quarter", "2026-Q3"),
        ("August 2026", "2026-08"),
        ("December", "2025-12"),
        ("last month", "2026-10"),
        ("this year", "2026"),
        ("the year 2025", "2025"),
        ("how are we doing", None),
    ],
)
def test_periods(said: str, period: str | None) -> None:
    assert spoken_period(said, A_SATURDAY) == period


@pytest.mark.parametrize(
    ("heard", "number"),
    [
        ("plus three five six, nine nine zero zero, zero one one one", "+35699000111"),
        ("Call 0788 000 123", "0788000123"),
        ("double five 12 34 5", "5512345"),
        ("My number is 129, 0 for 0 for 7, 9.", "129040479"),
        ("My number is for 9 2 5 8 9 9 1 3", "492589913"),
        ("one two for five to", "12452"),
        ("two for me and four to go", ""),
    ],
)
def test_numbers_and_what_an_ear_makes_of_them(heard: str, number: str) -> None:
    assert spelled.digits(heard) == number


@given(st.text("0123456789", min_size=5, max_size=16))
def test_a_number_said_digit_by_digit_is_read_back(number: str) -> None:
    assert spelled.digits(" ".join(number_words(int(digit)) for digit in number)) == number
    assert spelled.code(f"My ID number is {' '.join(number)}.") == number


@pytest.mark.parametrize(
    ("heard", "code"),
    [
        ("The code is S, A, V, E, 2, 0, 2, 4.", "SAVE2024"),
        ("The closest S A V E 2 0 2 4", "SAVE2024"),
        ("The closed is S as in sugar, A V E 2 0 2 4", "SAVE2024"),
        ("The closest oh, l, d to 0 to 0.", "OLD2020"),
        ("It's S-A-V-E 2024, please.", "SAVE2024"),
        ("My code is SAVE2024", "SAVE2024"),
        ("It is member underscore one two three.", "member_123"),
        ("My passport number is PC 123456.", "PC123456"),
        ("My ID number is 1 1990 8 0012345 0 12.", "1199080012345012"),
        ("I have a voucher", ""),
        ("yes, please", ""),
    ],
)
def test_codes(heard: str, code: str) -> None:
    assert spelled.code(heard) == code


@given(st.text(max_size=60))
def test_any_text_is_read_without_a_fault(text: str) -> None:
    spelled.code(text)
    spelled.digits(text)
    spoken_day(text, A_SATURDAY)
    spoken_time(text)
    spoken_period(text, A_SATURDAY)
