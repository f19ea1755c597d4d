"""What holds of a record wherever it rests: in the file, or in Supabase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from voice_gateway.store.records import CallPatch, EventRecord, TurnRecord, UsageRecord, order_in_call

Maker = Callable[..., EventRecord]


async def test_a_call_is_read_back_as_it_was_written(kept: Any, event: Maker) -> None:
    kept.write(
        event(1, event_type="CALL_STARTED", payload={"persona": "waiter"}, occurred_at="2026-11-21T21:00:00+01:00"),
        CallPatch(
            "CA1", 1, from_number="+250788000001", persona="waiter", meta={"a": 1}, created_at="2026-11-21T20:00Z"
        ),
    )
    kept.write(event(2, payload={"text": "Mützig, please"}, instance_id="one"))
    kept.write(
        event(3, event_type="CALL_ENDED"),
        CallPatch("CA1", 3, status="completed", duration_ms=5, meta={"b": 2}, cost_usd=0.0123456),
    )
    assert await kept.flush()
    call = await kept.read_call("CA1")
    assert call is not None
    assert (call["from_number"], call["persona"], call["status"], call["duration_ms"], call["last_seq"]) == (
        "+250788000001", "waiter", "completed", 5, 3,
    )  # fmt: skip
    assert (call["meta"], call["created_at"]) == ({"a": 1, "b": 2}, "2026-11-21T20:00:00.000Z")
    assert call["cost_usd"] == pytest.approx(0.012346)
    events = await kept.read_events("CA1")
    assert [each["event_type"] for each in events] == ["CALL_STARTED", "TRANSCRIPT_USER", "CALL_ENDED"]
    assert events[0]["occurred_at"] == "2026-11-21T20:00:00.000Z"
    assert events[1]["payload"] == {"text": "Mützig, please"}
    assert (events[0]["instance_id"], events[1]["instance_id"]) == (None, "one")


async def test_nothing_is_known_of_a_call_that_never_was(kept: Any) -> None:
    assert await kept.read_call("CAnone") is None
    assert await kept.read_events("CAnone") == []


async def test_recent_calls_come_newest_first(kept: Any, event: Maker) -> None:
    for hour, name in enumerate("abc"):
        kept.write(event(1, name), CallPatch(name, 1, created_at=f"2026-11-21T0{hour}:00Z"))
    assert await kept.flush()
    assert [call["call_sid"] for call in await kept.recent_calls(2)] == ["c", "b"]


async def test_the_same_event_twice_is_stored_once(kept: Any, event: Maker) -> None:
    once = event(1)
    kept.write(once)
    kept.write(once)
    assert await kept.flush()
    kept.write(once)
    assert await kept.flush()
    assert len(await kept.read_events("CA1")) == 1


async def test_what_comes_late_or_out_of_order_undoes_nothing(kept: Any, event: Maker) -> None:
    kept.write(event(3), CallPatch("CA1", 3, status="completed", end_reason="hangup"))
    kept.write(event(1), CallPatch("CA1", 1, status="in_progress", end_reason="none", persona="waiter"))
    kept.write(event(1, leg=2), CallPatch("CA1", order_in_call(2, 1), persona="cfo"))
    kept.write(event(2))
    assert await kept.flush()
    call = await kept.read_call("CA1")
    assert (call["status"], call["end_reason"], call["persona"]) == ("completed", "hangup", "cfo")
    assert [(each["leg"], each["seq"]) for each in await kept.read_events("CA1")] == [(1, 1), (1, 2), (1, 3), (2, 1)]


async def test_a_bad_row_costs_no_other(kept: Any, event: Maker) -> None:
    with capture_logs() as logs:
        kept.write(event(1), CallPatch("CA1", 1, persona="waiter"))
        kept.write(event(2), CallPatch("CA1", 2, status="nonsense"))
        kept.write(event(2))
        kept.write(event(3, occurred_at="half past nine"), CallPatch("CA1", 3, language="rw"))
        kept.write(event(4), CallPatch("CA1", 4, status="completed"))
        assert await kept.flush()
    assert [each["seq"] for each in await kept.read_events("CA1")] == [1, 2, 4]
    call = await kept.read_call("CA1")
    assert (call["persona"], call["language"], call["status"]) == ("waiter", "rw", "completed")
    assert [(each["event"], each["callSid"]) for each in logs] == [("store.row_refused", "CA1")] * 3


@pytest.mark.parametrize(
    ("payload", "stored"),
    [
        ({"text": "a\0b\ud800"}, {"text": "a\ufffdb\ufffd"}),
        ({"level": float("nan"), "peak": float("-inf")}, {"level": None, "peak": None}),
        ({"big": 2**80, "set": {1}}, {"big": str(2**80), "set": [1]}),
        ({"text": "é😀" * 250_000}, {"text": "é😀" * 250_000}),
        ({"a\0": {"b": ["\udfff"]}}, {"a\ufffd": {"b": ["\ufffd"]}}),
        ({"quote": "'; drop table calls; --", "json": '{"a": "\\u0000"}'}, None),
        ({}, None),
    ],
)
async def test_hostile_payloads_are_mended_or_kept_as_they_are(
    kept: Any, event: Maker, payload: Any, stored: Any
) -> None:
    kept.write(event(1, payload=payload), CallPatch("CA1", 1, end_reason="\udfff\0"))
    kept.write(event(2))
    assert await kept.flush()
    events = await kept.read_events("CA1")
    assert [each["payload"] for each in events] == [payload if stored is None else stored, {"text": "hello"}]
    assert (await kept.read_call("CA1"))["end_reason"] == "\ufffd\ufffd"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-11-21T20:00:00.123456+05:30"])
async def test_times_far_away_are_kept(kept: Any, event: Maker, at: str) -> None:
    kept.write(event(1, occurred_at=at))
    assert await kept.flush()
    (only,) = await kept.read_events("CA1")
    assert only["occurred_at"] in (at.replace("Z", ".000Z"), "2026-11-21T14:30:00.123Z")


async def test_names_of_calls_are_data_and_nothing_else(kept: Any, event: Maker) -> None:
    sids = ["../../etc/passwd", "eq.CA1", "CA1,CA2", '"quoted"', "*", "a&select=*", "' or 1=1 --", "%", "CA ünï"]
    for sid in sids:
        kept.write(event(1, sid), CallPatch(sid, 1, persona=sid))
    assert await kept.flush()
    for sid in sids:
        assert (await kept.read_call(sid))["persona"] == sid
        assert len(await kept.read_events(sid)) == 1


async def test_turns_and_usage_are_stored_once_with_their_event(kept: Any, event: Maker) -> None:
    told = event(1)
    turn = TurnRecord(
        told.id, "CA1", 1, "assistant", "Good eve", told.occurred_at, generated="Good evening", heard_ms=700,
        interrupted=True,
    )  # fmt: skip
    usage = UsageRecord(told.id, "CA1", "resp_1", told.occurred_at, input_audio_tokens=9, cost_usd=0.001)
    for _ in range(2):
        kept.write(told, None, (turn, usage))
        assert await kept.flush()
    assert len(await kept.read_events("CA1")) == 1
