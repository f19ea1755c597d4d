"""What holds of a record wherever it rests: in the file, or in Supabase."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.journal import Journal
from voice_gateway.store.database import fetch
from voice_gateway.store.records import (
    CallPatch,
    ConsentRecord,
    EventRecord,
    RecordingRecord,
    Row,
    TurnRecord,
    UsageRecord,
    new_id,
    order_in_call,
)
from voice_gateway.store.sqlite import SqliteStore

Maker = Callable[..., EventRecord]
AT = "2026-11-21T20:00:00.000Z"


async def rows(kept: Any, table: str, call_sid: str = "CA1") -> list[Row]:
    """What the record holds of a call besides its row and its events, in order of their ids."""
    if isinstance(kept, SqliteStore):
        return fetch(kept.path, f"select * from {table} where call_sid = ? order by id", [call_sid])  # noqa: S608
    client = await kept.remote._project.client()
    return (await client.table(table).select("*").eq("call_sid", call_sid).order("id").execute()).data  # type: ignore[no-any-return]


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
    usage = UsageRecord(
        told.id, "CA1", "resp_1", told.occurred_at, "gpt-x", input_audio_tokens=9, cost_usd=0.001,
        price_book="built-in 2026-11-01",
    )  # fmt: skip
    for _ in range(2):
        kept.write(told, None, (turn, usage))
        assert await kept.flush()
    assert len(await kept.read_events("CA1")) == 1
    (spoken,) = await rows(kept, "call_turns")
    assert (spoken["id"], spoken["text"], spoken["generated"], bool(spoken["interrupted"])) == (
        told.id, "Good eve", "Good evening", True,
    )  # fmt: skip
    (used,) = await rows(kept, "call_usage")
    assert (used["model"], used["price_book"], used["input_audio_tokens"], float(used["cost_usd"])) == (
        "gpt-x", "built-in 2026-11-01", 9, 0.001,
    )  # fmt: skip


async def test_decisions_are_rows_in_the_words_they_were_asked_in(kept: Any, event: Maker) -> None:
    given, withdrawn = event(1, event_type="CONSENT_GIVEN"), event(2, event_type="CONSENT_REFUSED")
    asked = {"wording": "May we record? Press 1.", "language": "en"}
    kept.write(given, None, [ConsentRecord(
        given.id, "CA1", "recording", "granted", "keypress", AT, evidence={"key": "1"}, **asked)])  # fmt: skip
    kept.write(withdrawn, None, [ConsentRecord(
        withdrawn.id, "CA1", "recording", "withdrawn", "spoken", AT, **asked)])  # fmt: skip
    kept.write(event(3), None, [ConsentRecord(new_id(), "CA1", "recording", "maybe", "keypress", AT)])  # type: ignore[arg-type]
    assert await kept.flush()
    first, second = await rows(kept, "call_consents")
    assert (first["decision"], first["method"], first["wording"], first["language"]) == (
        "granted", "keypress", "May we record? Press 1.", "en",
    )  # fmt: skip
    assert first["evidence"] in ({"key": "1"}, '{"key":"1"}')
    assert (second["decision"], second["method"]) == ("withdrawn", "spoken")
    assert len(await kept.read_events("CA1")) == 3, "a decision that is none costs its event nothing"


async def test_a_recordings_row_follows_what_becomes_of_it(kept: Any, event: Maker) -> None:
    kept_one, removed, failed = new_id(), new_id(), new_id()
    brought = {"path": "d/a.wav", "bucket": "recordings", "uploaded_at": AT, "local": False}
    told = [
        RecordingRecord(kept_one, "CA1", "stored", AT, path="d/a.wav", duration_ms=9, bytes=188, sha256="ab"),
        RecordingRecord(kept_one, "CA1", "recording", AT, consent="notice", path="d/a.wav"),
        RecordingRecord(removed, "CA1", "recording", AT, consent="keypress", path="d/b.wav"),
        RecordingRecord(removed, "CA1", "deleted", AT, path="d/b.wav"),
        RecordingRecord(removed, "CA1", "stored", AT, path="d/b.wav"),
        RecordingRecord(failed, "CA1", "failed", AT, path="d/c.wav", duration_ms=3),
        RecordingRecord(kept_one, "CA1", "stored", AT, **brought),  # type: ignore[arg-type]
        RecordingRecord(kept_one, "CA1", "stored", AT, path="d/a.wav"),
    ]
    for seq, each in enumerate(told, 1):
        kept.write(event(seq), None, [each])
    assert await kept.flush()
    assert [
        (row["id"], row["status"], row["path"], row["consent"], row["duration_ms"])
        for row in await rows(kept, "call_recordings")
    ] == [
        (kept_one, "stored", "d/a.wav", "notice", 9),
        (removed, "deleted", "d/b.wav", "keypress", None),
        (failed, "failed", "d/c.wav", None, 3),
    ]
    where = [(row["bucket"], bool(row["local"])) for row in await rows(kept, "call_recordings") if row["uploaded_at"]]
    assert where == [("recordings", False)]


FACTS = CallFacts("CA1", "+250788000001", "+35621000456", "inbound", persona="waiter")


def journalled(kept: Any, *written: entries.Entry) -> None:
    record = Journal(kept, wall_clock=lambda: datetime(2026, 11, 21, 20, tzinfo=UTC), new_id=new_id).open(FACTS)
    for entry in written:
        record.write(entry)


async def test_a_call_whose_caller_consents_pauses_and_takes_it_back_is_told_by_its_rows(kept: Any) -> None:
    asked = "May we record this call? Press 1."
    recording = new_id()
    path = f"2026-11-21/CA1_{recording}.wav"
    journalled(
        kept,
        entries.CallStarted("+250788000001", "+35621000456", "inbound", "waiter"),
        entries.ConsentGiven("keypress", asked, "en", "1"),
        entries.RecordingStarted(recording, path, "keypress"),
        entries.RecordingPaused("tool"),
        entries.RecordingResumed("api"),
        entries.ConsentRefused("spoken", asked, "en"),
        entries.CallEnded("hangup", "completed", 4000),
        entries.RecordingDiscarded(recording, path, "the caller took his consent back"),
    )
    assert await kept.flush()
    assert [
        (row["kind"], row["decision"], row["method"], row["wording"], row["language"])
        for row in await rows(kept, "call_consents")
    ] == [("recording", "granted", "keypress", asked, "en"), ("recording", "withdrawn", "spoken", asked, "en")]
    (row,) = await rows(kept, "call_recordings")
    assert (row["id"], row["status"], row["consent"], row["path"]) == (recording, "deleted", "keypress", path)
    told = {each["event_type"]: each["payload"] for each in await kept.read_events("CA1")}
    assert (told["RECORDING_PAUSED"], told["RECORDING_RESUMED"]) == ({"by": "tool"}, {"by": "api"})
    assert told["RECORDING_DISCARDED"]["reason"] == "the caller took his consent back"


async def test_a_refusal_is_a_row_and_no_recording_is(kept: Any) -> None:
    journalled(
        kept,
        entries.CallStarted("+250788000001", "+35621000456", "inbound", "waiter"),
        entries.ConsentRefused("keypress", "May we record this call? Press 1.", "en", "2"),
        entries.CallEnded("hangup", "completed", 4000),
    )
    assert await kept.flush()
    (row,) = await rows(kept, "call_consents")
    assert (row["decision"], row["method"]) == ("denied", "keypress")
    assert row["evidence"] in ({"key": "2"}, '{"key":"2"}')
    assert await rows(kept, "call_recordings") == []


async def test_a_finished_and_a_failed_recording_are_rows_with_what_there_is_of_them(kept: Any) -> None:
    whole, broken = new_id(), new_id()
    journalled(
        kept,
        entries.RecordingStarted(whole, "a.wav", "none"),
        entries.RecordingStarted(broken, "b.wav", "notice"),
        entries.RecordingFailed(broken, "b.wav", "No space left on device", 1500, 24_044, "cd", keep_days=30),
        entries.RecordingFinished(whole, "a.wav", 4000, 64_044, "ab", keep_days=30),
    )
    assert await kept.flush()
    first, second = await rows(kept, "call_recordings")
    assert (first["status"], first["consent"], first["duration_ms"], first["bytes"], first["sha256"]) == (
        "stored", "none", 4000, 64_044, "ab",
    )  # fmt: skip
    assert str(first["delete_after"]).startswith("2026-12-21T20:00:00")
    assert (second["status"], second["consent"], second["duration_ms"], second["bytes"], second["sha256"]) == (
        "failed", "notice", 1500, 24_044, "cd",
    )  # fmt: skip
    assert second["delete_after"] == first["delete_after"]


async def test_numbers_that_are_none_cost_a_row_nothing_else(kept: Any, event: Maker) -> None:
    """A sum that once was infinite would stay so, and with it the day's budget."""
    kept.write(event(1), CallPatch("CA1", 1, cost_usd=0.25, meta={"level": float("nan")}))
    for seq, cost_usd in enumerate((float("inf"), float("nan"), float("-inf")), 2):
        told = event(seq)
        used = UsageRecord(told.id, "CA1", f"resp_{seq}", AT, cost_usd=cost_usd)
        kept.write(told, CallPatch("CA1", seq, cost_usd=cost_usd, status="completed"), [used])
    assert await kept.flush()
    call = await kept.read_call("CA1")
    assert (float(call["cost_usd"]), call["status"], call["meta"]) == (0.25, "completed", {"level": None})
    assert [float(row["cost_usd"]) for row in await rows(kept, "call_usage")] == [0.0, 0.0, 0.0]


async def test_what_fits_into_no_column_costs_no_neighbour(kept: Any, event: Maker) -> None:
    kept.write(event(1, "CA\0\ud800x", event_type="A\0\ud800"), CallPatch("CA\0\ud800x", 1, persona="waiter"))
    with capture_logs() as logs:
        kept.write(event(2**63), CallPatch("CA1", 2, duration_ms=-5))
        kept.write(event(3, leg=70_000), CallPatch("CA1", 3, persona="waiter"))
        kept.write(EventRecord("no-uuid", "CA1", "DTMF", {}, AT, 4), CallPatch("CA1", 4, language="rw"))
        long = event(5, payload={"text": "x" * 2_000_000})
        kept.write(long, None, [TurnRecord(long.id, "CA1", 5, "user", "y" * 2_000_000, AT)])
        assert await kept.flush()
    call = await kept.read_call("CA1")
    assert (call["persona"], call["language"], call["duration_ms"]) == ("waiter", "rw", None)
    assert 5 in [each["seq"] for each in await kept.read_events("CA1")]
    assert [len(row["text"]) for row in await rows(kept, "call_turns")] == [2_000_000]
    assert (await kept.read_call("CA\ufffd\ufffdx"))["persona"] == "waiter"
    assert {each["log_level"] for each in logs} == {"error"}, "each is told"
