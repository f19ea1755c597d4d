"""Callers who are put through: what is told of them late, twice, or in another order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from voice_gateway.call.events import CallFacts
from voice_gateway.journal import Journal
from voice_gateway.store.records import CallPatch, EventRecord
from voice_gateway.transfers import Away, Transfers


class Kept:
    def __init__(self) -> None:
        self.events: list[EventRecord] = []

    def write(self, event: EventRecord, _patch: CallPatch | None = None, _rows: object = ()) -> None:
        self.events.append(event)


@pytest.mark.parametrize("first", ["completed", "answered", "canceled", "hung up"])
def test_what_is_told_late_or_twice_brings_nobody_back(first: str) -> None:
    kept, transfers = Kept(), Transfers()
    record = Journal(kept, wall_clock=lambda: datetime.now(UTC), new_id=lambda: "1").open(CallFacts("CA1", persona="w"))
    transfers.begin(Away(record, 0.0, "+15550100009", transcript="Caller: Hello."))
    if first == "hung up":
        transfers.close("CA1")
    else:
        transfers.finish("CA1", first, 3)
    for _ in range(2):
        away = transfers.finish("CA1", "no-answer", 0)
        assert away is not None
        assert (away.may_return, away.transcript) == (False, "")
    assert len(kept.events) == 1
