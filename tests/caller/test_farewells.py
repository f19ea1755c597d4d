"""What the carrier is told after a stream, and what is done when it says nothing of a call's end."""

from __future__ import annotations

import asyncio

import pytest

from voice_gateway.caller.farewells import MOST_KEPT, Farewell, Farewells
from voice_gateway.caller.rest import TwilioRequestFailed

SOON = 0.01


class Office:
    """Takes hang-ups as the carrier's REST API would."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.outcomes: list[str] = []
        self.counted = asyncio.Event()
        self._refusal = refusal

    async def hang_up(self, call_sid: str) -> None:
        self.asked.append(call_sid)
        if self._refusal is not None:
            raise self._refusal

    def count(self, outcome: str) -> None:
        self.outcomes.append(outcome)
        self.counted.set()


async def test_the_carrier_is_told_the_same_again() -> None:
    farewells = Farewells()
    farewells.keep("CA1", Farewell("Goodbye."), over=False)
    assert [farewells.ask("CA1"), farewells.ask("CA1")] == [Farewell("Goodbye.")] * 2
    assert farewells.ask("CA9") == Farewell()
    assert "CA1" in farewells
    assert "CA9" not in farewells
    await farewells.close()


async def test_a_call_whose_end_nobody_reports_is_ended_by_rest() -> None:
    office = Office()
    farewells = Farewells(office.hang_up, confirm_s=SOON, count=office.count)
    farewells.keep("CA1", Farewell(), over=False)
    await asyncio.wait_for(office.counted.wait(), 5)
    await farewells.close()
    assert (office.asked, office.outcomes) == (["CA1"], ["ended"])


@pytest.mark.parametrize("refusal", [TwilioRequestFailed("hang up", "no", status=500), ValueError("no CallSid")])
async def test_a_refused_hang_up_is_counted_and_no_more(refusal: Exception) -> None:
    office = Office(refusal)
    farewells = Farewells(office.hang_up, confirm_s=SOON, count=office.count)
    farewells.keep("CA1", Farewell(), over=False)
    await asyncio.wait_for(office.counted.wait(), 5)
    await farewells.close()
    assert office.outcomes == ["failed"]


async def test_without_credentials_it_is_at_least_told() -> None:
    office = Office()
    farewells = Farewells(None, confirm_s=SOON, count=office.count)
    farewells.keep("CA1", Farewell(), over=False)
    await asyncio.wait_for(office.counted.wait(), 5)
    assert office.outcomes == ["left_open"]
    await farewells.close()


async def test_a_call_that_the_carrier_ended_is_not_asked_after() -> None:
    office = Office()
    farewells = Farewells(office.hang_up, confirm_s=SOON, count=office.count)
    farewells.keep("CA1", Farewell(), over=True)
    farewells.keep("CA2", Farewell(), over=False)
    farewells.ask("CA2")
    farewells.keep("CA3", Farewell(), over=False)
    farewells.confirm("CA3")
    farewells.keep("CA4", Farewell(), over=False)
    await asyncio.wait_for(office.counted.wait(), 5)
    await farewells.close()
    assert office.asked == ["CA4"], "the one that was asked after last is the only one"


async def test_only_the_newest_are_kept_and_closing_forgets_the_rest() -> None:
    office = Office()
    farewells = Farewells(office.hang_up, confirm_s=SOON, count=office.count)
    for number in range(MOST_KEPT + 1):
        farewells.keep(f"CA{number}", Farewell("Goodbye."), over=True)
    assert "CA0" not in farewells
    assert f"CA{MOST_KEPT}" in farewells
    farewells.keep("CA1", Farewell(), over=False)
    await farewells.close()
    assert office.asked == []


def test_a_number_is_not_in_the_repr() -> None:
    assert "555" not in repr(Farewell("Bye.", "+15551230009"))
