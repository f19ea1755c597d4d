"""The bench for handoffs: what it measures does hand over."""

from __future__ import annotations

from bench.handoff import TURNS, measure


def test_every_kind_of_handoff_is_measured() -> None:
    took = measure(40)
    assert list(took) == ["update", *(f"retell, {turns} turns" for turns in TURNS)]
    assert all(each > 0 for times in took.values() for each in times)
    assert len(took["update"]) == 38
