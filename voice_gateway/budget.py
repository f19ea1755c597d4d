"""The budget: what calls have cost today, in all and for each caller, and whether that is enough.

A day is the operator's own, by the machine's local time. What was spent before a restart comes back from the record. A
caller who withholds his number has no account of his own; all of those together have one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts

Exceeded = Literal["caller_budget", "day_budget"]


@dataclass(frozen=True, slots=True)
class Limits:
    """In US dollars; 0 for none."""

    per_caller_usd: float = 0.0
    per_day_usd: float = 0.0


class Budget:
    """Told of every entry; asked at admission and while calls go on."""

    def __init__(self, limits: Limits, today: Callable[[], date]) -> None:
        self._limits = limits
        self._today = today
        self._day = today()
        self._spent = 0.0
        self._by_caller: defaultdict[str, float] = defaultdict(float)
        self._calls: dict[str, float] = {}

    @property
    def spent_usd(self) -> float:
        """Today, so far."""
        self._turn_page()
        return self._spent

    def restore(self, spent: Iterable[tuple[str, float]]) -> None:
        """Take over what today's calls had cost before this process began, as (caller's number, dollars)."""
        for number, usd in spent:
            self._spend(number, usd)

    def note(self, facts: CallFacts, entry: entries.Entry) -> float:
        """Book what a call has cost since it was last told, and return it."""
        match entry:
            case entries.ResponseMetered():
                total = entry.total_usd
            case entries.CallEnded():
                total = entry.cost_usd
            case entries.CallResumed():
                self._calls[facts.call_sid] = entry.spent_usd
                return 0.0
            case entries.CallSummarised():  # after the end: there is no sum to hold it against any more
                spent = entry.cost_usd or 0.0
                self._turn_page()
                self._spend(facts.from_number, spent)
                return spent
            case _:
                return 0.0
        self._turn_page()
        before = self._calls.get(facts.call_sid, 0.0)
        spent = max(0.0, total - before)
        self._spend(facts.from_number, spent)
        if isinstance(entry, entries.CallEnded):
            self._calls.pop(facts.call_sid, None)
        else:
            self._calls[facts.call_sid] = before + spent
        return spent

    def exceeded(self, from_number: str) -> Exceeded | None:
        """The limit that stands against a call of this number now, if any."""
        self._turn_page()
        limits = self._limits
        if limits.per_day_usd and self._spent >= limits.per_day_usd:
            return "day_budget"
        if limits.per_caller_usd and self._by_caller.get(from_number, 0.0) >= limits.per_caller_usd:
            return "caller_budget"
        return None

    def _spend(self, number: str, usd: float) -> None:
        self._spent += usd
        self._by_caller[number] += usd

    def _turn_page(self) -> None:
        """A new day begins at nothing; a call that goes on over midnight brings along only what comes after."""
        today = self._today()
        if today != self._day:
            self._day = today
            self._spent = 0.0
            self._by_caller.clear()
