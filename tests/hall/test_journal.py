"""Entries become rows: numbered, timed, and folded into the call's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts, Usage
from voice_gateway.journal import Journal
from voice_gateway.store.records import new_id
from voice_gateway.store.sqlite import SqliteStore

BEGIN = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
FACTS = CallFacts("CA1", "+250788000123", "+35621000456", "inbound", correlation_id="c1", persona="waiter")


async def journalled(tmp_path: Path, *written: entries.Entry) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The call's row and events after these entries, one a second."""
    store = SqliteStore(tmp_path / "calls.sqlite3")
    await store.start()
    seconds = count()
    told: list[entries.Entry] = []
    journal = Journal(
        store,
        wall_clock=lambda: BEGIN + timedelta(seconds=next(seconds)),
        new_id=new_id,
        instance_id="here:1",
        listeners=[lambda _facts, entry: told.append(entry)],
    )
    record = journal.open(FACTS)
    for entry in written:
        record.write(entry)
    await store.flush()
    row, events = await store.read_call("CA1"), await store.read_events("CA1")
    await store.close()
    assert told == list(written)
    assert row is not None
    return row, events


async def test_a_calls_entries_are_numbered_and_timed(tmp_path: Path) -> None:
    _, events = await journalled(
        tmp_path,
        entries.CallStarted("+250788000123", "+35621000456", "inbound", "waiter"),
        entries.DigitReceived("1"),
        entries.DigitReceived("2"),
    )
    assert [(event["seq"], event["event_type"]) for event in events] == [(1, "CALL_STARTED"), (2, "DTMF"), (3, "DTMF")]
    assert [event["occurred_at"] for event in events] == [f"2026-11-21T20:00:0{second}.000Z" for second in range(3)]
    assert events[2]["payload"] == {"digit": "2"}


async def test_the_calls_row_follows_its_entries(tmp_path: Path) -> None:
    row, _ = await journalled(
        tmp_path,
        entries.CallStarted("+250788000123", "+35621000456", "inbound", "waiter"),
        entries.MediaStarted("MZ1"),
        entries.ModelJoined("sess_1", "gpt-realtime-2.1", 0),
        entries.UserSpoke("item_1", "Hello", 0, 900),
        entries.CallEnded("hangup", "completed", 4000, "Caller: Hello"),
    )
    assert (row["from_number"], row["to_number"], row["persona"]) == ("+250788000123", "+35621000456", "waiter")
    assert (row["stream_sid"], row["model"], row["correlation_id"]) == ("MZ1", "gpt-realtime-2.1", "c1")
    assert (row["status"], row["end_reason"], row["duration_ms"]) == ("completed", "hangup", 4000)
    assert (row["answered_at"], row["ended_at"]) == ("2026-11-21T20:00:01.000Z", "2026-11-21T20:00:04.000Z")
    assert row["transcript"] == "Caller: Hello"
    assert row["last_seq"] == 5


async def test_usage_is_written_as_plain_numbers(tmp_path: Path) -> None:
    _, events = await journalled(
        tmp_path,
        entries.CallStarted("+250788000123", "+35621000456", "inbound", "waiter"),
        entries.ResponseMetered("resp_1", "completed", "", Usage(input_audio=120, cached_audio=100)),
    )
    usage = events[1]["payload"]["usage"]
    assert (usage["input_audio"], usage["cached_audio"], usage["output_audio"]) == (120, 100, 0)
