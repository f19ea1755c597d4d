"""What a day's calls may cost."""

from __future__ import annotations

from datetime import date

import pytest

from voice_gateway.budget import Budget, Limits
from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts

ANNA, BEN = "+15550100001", "+15550100002"


class Calendar:
    def __init__(self) -> None:
        self.day = date(2026, 11, 21)

    def __call__(self) -> date:
        return self.day


def metered(total_usd: float) -> entries.ResponseMetered:
    return entries.ResponseMetered("resp_1", "completed", "", None, total_usd / 2, total_usd)


def ended(cost_usd: float) -> entries.CallEnded:
    return entries.CallEnded("hangup", "completed", 1000, cost_usd=cost_usd)


def test_a_call_is_booked_by_its_running_total_and_never_twice() -> None:
    budget = Budget(Limits(), Calendar())
    call = CallFacts("CA1", ANNA)
    for total in (0.10, 0.25, 0.25):
        budget.note(call, metered(total))
    budget.note(call, ended(0.30))
    assert budget.spent_usd == pytest.approx(0.30)
    budget.note(CallFacts("CA2", ANNA), metered(0.05))
    assert budget.spent_usd == pytest.approx(0.35)


def test_a_caller_who_has_used_his_share_is_stopped_and_others_are_not() -> None:
    budget = Budget(Limits(per_caller_usd=0.5), Calendar())
    budget.note(CallFacts("CA1", ANNA), ended(0.49))
    assert budget.exceeded(ANNA) is None
    budget.note(CallFacts("CA2", ANNA), metered(0.01))
    assert budget.exceeded(ANNA) == "caller_budget"
    assert budget.exceeded(BEN) is None


def test_when_the_day_is_spent_nobody_comes_in_until_the_next_one() -> None:
    calendar = Calendar()
    budget = Budget(Limits(per_caller_usd=5.0, per_day_usd=1.0), calendar)
    budget.note(CallFacts("CA1", ANNA), ended(0.6))
    budget.note(CallFacts("CA2", BEN), ended(0.4))
    assert budget.exceeded("+15550100003") == "day_budget"
    calendar.day = date(2026, 11, 22)
    assert budget.exceeded(ANNA) is None
    assert budget.spent_usd == 0.0


def test_a_call_over_midnight_brings_along_only_what_comes_after() -> None:
    calendar = Calendar()
    budget = Budget(Limits(), calendar)
    call = CallFacts("CA1", ANNA)
    budget.note(call, metered(0.40))
    calendar.day = date(2026, 11, 22)
    budget.note(call, metered(0.50))
    assert budget.spent_usd == pytest.approx(0.10)


def test_a_restart_does_not_forget_what_was_spent() -> None:
    budget = Budget(Limits(per_caller_usd=0.5), Calendar())
    budget.restore([(ANNA, 0.5), (BEN, 0.2)])
    assert budget.exceeded(ANNA) == "caller_budget"
    assert budget.exceeded(BEN) is None
    assert budget.spent_usd == pytest.approx(0.7)


def test_withheld_numbers_have_one_account_together() -> None:
    budget = Budget(Limits(per_caller_usd=0.5), Calendar())
    budget.note(CallFacts("CA1", ""), ended(0.3))
    budget.note(CallFacts("CA2", ""), ended(0.3))
    assert budget.exceeded("") == "caller_budget"


def test_without_limits_nobody_is_stopped() -> None:
    budget = Budget(Limits(), Calendar())
    budget.note(CallFacts("CA1", ANNA), ended(10_000.0))
    assert budget.exceeded(ANNA) is None
