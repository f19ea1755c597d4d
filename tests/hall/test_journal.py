"""Entries become rows: numbered, timed, and folded into the call's own."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.call.usage import Usage
from voice_gateway.journal import Journal
from voice_gateway.ops.redaction import Redactor
from voice_gateway.store.database import fetch
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


async def folded(tmp_path: Path, table: str, *written: entries.Entry) -> list[dict[str, Any]]:
    """The rows of a table after these entries, with the ids of their events as `event`."""
    _, events = await journalled(tmp_path, entries.CallStarted("+250788000123", "", "inbound", "waiter"), *written)
    ids = {event["id"]: event["seq"] for event in events}
    rows = fetch(tmp_path / "calls.sqlite3", f"select * from {table} order by id")  # noqa: S608 - our own names
    return [row | {"event": ids[row["id"]]} for row in rows]


async def test_what_was_said_is_a_turn_too(tmp_path: Path) -> None:
    said = entries.UserSpoke("item_1", "Good evening", 200, 1100)
    answered = entries.AssistantSpoke("item_2", "Welcome to", "Welcome to us!", 700, 1400, True, 1900, 800)  # noqa: FBT003
    whole = entries.AssistantSpoke("item_3", "Bye!", "Bye!", 500, 500, False)  # noqa: FBT003
    turns = await folded(tmp_path, "call_turns", said, answered, whole)
    assert [(turn["event"], turn["seq"], turn["speaker"], turn["text"], turn["generated"]) for turn in turns] == [
        (2, 2, "user", "Good evening", None), (3, 3, "assistant", "Welcome to", "Welcome to us!"),
        (4, 4, "assistant", "Bye!", None),
    ]  # fmt: skip
    assert [(turn["start_ms"], turn["end_ms"], turn["heard_ms"], turn["total_ms"]) for turn in turns] == [
        (200, 1100, None, None), (1900, 2600, 700, 1400), (None, None, 500, 500),
    ]  # fmt: skip
    assert [(turn["persona"], turn["interrupted"], turn["latency_ms"]) for turn in turns] == [
        (None, 0, None), ("waiter", 1, 800), ("waiter", 0, None),
    ]  # fmt: skip
    assert turns[0]["created_at"] == "2026-11-21T20:00:01.000Z"


async def test_what_a_response_used_is_a_row_too(tmp_path: Path) -> None:
    used = Usage(input_text=300, input_audio=120, cached_text=200, cached_audio=100, output_text=40, output_audio=90)
    metered = entries.ResponseMetered("resp_1", "completed", "", used, 0.0123, 0.02, "gpt-x", "prices.toml 2026-11-01")
    unknown = entries.ResponseMetered("resp_2", "failed", "", None)
    unpriced = entries.ResponseMetered("resp_3", "completed", "", Usage(), None, 0.02, "gpt-y")
    asked = entries.CallSummarised("s", "", "", "", "extract", "resp_4", Usage(), 0.001, 0.021, "gpt-x", "b 2026-11-01")
    usage, without, summary = await folded(tmp_path, "call_usage", metered, unknown, unpriced, asked)
    assert (usage["event"], usage["response_id"], usage["cost_usd"]) == (2, "resp_1", 0.0123)
    assert [(each["model"], each["price_book"]) for each in (usage, without, summary)] == [
        ("gpt-x", "prices.toml 2026-11-01"), ("gpt-y", None), ("gpt-x", "b 2026-11-01"),
    ]  # fmt: skip
    assert [usage[f"{way}_tokens"] for way in ("input_text", "input_audio", "cached_text", "cached_audio")] == [
        300, 120, 200, 100,
    ]  # fmt: skip
    assert (usage["output_text_tokens"], usage["output_audio_tokens"]) == (40, 90)


async def test_a_call_begins_when_it_was_admitted(tmp_path: Path) -> None:
    row, _ = await journalled(tmp_path, entries.CallStarted("+250788000123", "", "inbound", "waiter"))
    assert row["created_at"] == "2026-11-21T20:00:00.000Z"


async def test_card_numbers_are_on_no_row_of_the_record_when_they_are_not_to_be_kept(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "calls.sqlite3")
    await store.start()
    journal = Journal(store, wall_clock=lambda: BEGIN, new_id=new_id, redactor=Redactor({"cards"}))
    record = journal.open(FACTS)
    number, said = "4111111111111111", "four one one one " + "one one one one " * 3
    record.write(entries.CallStarted("+250788000123", "+35621000456", "inbound", "waiter"))
    record.write(entries.UserSpoke("item_1", f"It is {said.strip()}.", 0, 900))
    record.write(
        entries.AssistantSpoke("item_2", "4111 1111", "4111 1111 1111 1111, right?", 400, 900, interrupted=True)
    )
    record.write(entries.ToolAsked("call_1", "pay", f'{{"card":{number}}}'))
    record.write(entries.ToolAnswered("call_1", "pay", f'{{"note":"{number}"}}', ok=True, duration_ms=3))
    for key in number:
        record.write(entries.DigitReceived(key))
    record.write(entries.UserSpoke("item_3", "And my number is +250788000123.", 0, 900))
    record.write(entries.DigitReceived("1"))
    record.write(entries.CallEnded("caller", "completed", 1000, transcript=f"Caller: It is {said.strip()}."))
    assert await store.flush()
    await store.close()
    with closing(sqlite3.connect(tmp_path / "calls.sqlite3")) as db:
        kept = "\n".join(db.iterdump())
    assert said.strip() not in kept
    assert number not in kept
    assert "4111 1111 1111" not in kept
    assert kept.count("[card number]") >= 6, "event, turn, outbox, tool, transcript"
    assert "And my number is +250788000123." in kept
    keys = [row["payload"]["digit"] for row in await store.read_events("CA1") if row["event_type"] == "DTMF"]
    assert "".join(keys) == "411111**********1"


async def test_a_decision_is_a_row_with_its_words(tmp_path: Path) -> None:
    asked = "To be recorded, press 1."
    given, denied, withdrawn = await folded(
        tmp_path,
        "call_consents",
        entries.ConsentGiven("keypress", asked, "en", "1"),
        entries.ConsentRefused("keypress", asked, "en"),
        entries.ConsentRefused("spoken", ""),
    )
    assert [row["decision"] for row in (given, denied, withdrawn)] == ["granted", "denied", "withdrawn"]
    assert (given["method"], given["wording"], given["language"], given["evidence"]) == (
        "keypress", asked, "en", '{"key":"1"}',
    )  # fmt: skip
    assert (denied["evidence"], withdrawn["wording"], given["kind"]) == ("{}", None, "recording")
    assert given["decided_at"] == "2026-11-21T20:00:01.000Z"


async def test_a_recordings_row_follows_what_becomes_of_it(tmp_path: Path) -> None:
    await journalled(
        tmp_path,
        entries.CallStarted("+250788000123", "", "inbound", "waiter"),
        entries.RecordingStarted("r1", "d/r1.wav", "notice"),
        entries.RecordingStarted("r2", "d/r2.wav", "none"),
        entries.RecordingStarted("r3", "d/r3.wav", "keypress"),
        entries.RecordingFinished("r1", "d/r1.wav", 61_000, 44, "ab" * 32, 30),
        entries.RecordingFailed("r2", "d/r2.wav", "disk full", 900, 55, "cd" * 32, 30),
        entries.RecordingDiscarded("r3", "d/r3.wav", "consent withdrawn"),
        entries.RecordingFailed("", "", "no folder"),
    )
    rows = fetch(tmp_path / "calls.sqlite3", "select * from call_recordings order by id")
    assert [(row["id"], row["status"], row["consent"], row["duration_ms"]) for row in rows] == [
        ("r1", "stored", "notice", 61_000), ("r2", "failed", "none", 900), ("r3", "deleted", "keypress", None),
    ]  # fmt: skip
    assert (rows[0]["bytes"], rows[0]["sha256"], rows[0]["path"]) == (44, "ab" * 32, "d/r1.wav")
    assert (rows[1]["bytes"], rows[1]["sha256"], rows[1]["delete_after"]) == (55, "cd" * 32, "2026-12-21T20:00:05.000Z")
    assert (rows[0]["created_at"], rows[0]["delete_after"]) == ("2026-11-21T20:00:01.000Z", "2026-12-21T20:00:04.000Z")
