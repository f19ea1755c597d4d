"""What a killed process left open is closed by the next one, and what somebody is still at is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.journal import Journal
from voice_gateway.keeper import Keeper, Wishes
from voice_gateway.ops.metrics import Metrics
from voice_gateway.store.database import fetch
from voice_gateway.store.earlier import GATEWAY_DIED
from voice_gateway.store.leftovers import Here, close_leftovers
from voice_gateway.store.records import KEEPING_LEG, new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.uploads import queueing

NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
HOST = socket.gethostname()

CHILD = """
import asyncio, os, socket, sys
from datetime import UTC, datetime
from pathlib import Path
from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.call.recording import Block
from voice_gateway.journal import Journal
from voice_gateway.store.recordings import Recordings
from voice_gateway.store.records import new_id
from voice_gateway.store.sqlite import SqliteStore

async def main(path, folder):
    store = SqliteStore(path, linger_s=0.001)
    await store.start()
    clock = lambda: datetime.now(UTC)
    journal = Journal(store, wall_clock=clock, new_id=new_id, instance_id=f"{socket.gethostname()}:{os.getpid()}")
    record = journal.open(CallFacts("CA1", "+250788000001", "+35621000456", persona="waiter"))
    record.write(entries.CallStarted("+250788000001", "+35621000456", "inbound", "waiter"))
    recordings = Recordings(Path(folder), new_id=new_id, wall_clock=clock, count=lambda _: None, reserve_bytes=0)
    recordings.start()
    file = recordings.begin("CA1", lambda _: None)
    record.write(entries.RecordingStarted(file.recording_id, file.shown, "notice"))
    record.write(entries.UserSpoke("item_1", "A coffee, please", 0, 900))
    record.write(entries.AssistantSpoke("item_2", "One", "One coffee", 300, 900, True))
    for _ in range(3):
        recordings.write(file, Block(b"\\xff" * 8000, b"\\xff" * 8000))
    while file.frames < 24_000:
        await asyncio.sleep(0.01)
    await store.flush()
    print("there", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


def call(store: SqliteStore, sid: str, instance: str, began: datetime, *more: entries.Entry) -> None:
    journal = Journal(store, wall_clock=lambda: began, new_id=new_id, instance_id=instance)
    record = journal.open(CallFacts(sid, "+250788000001", "", persona="waiter"))
    for entry in (entries.CallStarted("+250788000001", "", "inbound", "waiter"), *more):
        record.write(entry)


def metered(response_id: str, usd: float) -> entries.ResponseMetered:
    return entries.ResponseMetered(response_id, "completed", "", None, cost_usd=usd, total_usd=usd)


async def test_a_call_and_its_recording_that_died_with_their_process_are_ended_as_far_as_they_went(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(tmp_path / "store.db"), str(folder), stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert await asyncio.wait_for(child.stdout.readline(), 20) == b"there\n"
    child.send_signal(signal.SIGKILL)
    await child.wait()
    store = SqliteStore(tmp_path / "store.db", linger_s=0.001, at_open=queueing("recordings"))
    await store.start()
    metrics = Metrics(version="0", personas=[], tools=[], models=[], enabled=True)
    keeper = Keeper(store, Wishes(recordings_dir=folder, keep_recordings_days=30), metrics)
    keeper.start()
    assert keeper._closing_leftovers is not None
    await keeper._closing_leftovers
    assert await store.flush()
    row: Any = await store.read_call("CA1")
    assert (row["status"], row["end_reason"], row["ended_at"]) == ("failed", GATEWAY_DIED, row["ended_at"] or "none")
    assert row["transcript"] == "Caller: A coffee, please\nAssistant: One — [interrupted]"
    assert 0 <= row["duration_ms"] < 20_000
    (recording,) = fetch(store.path, "select * from call_recordings")
    assert (recording["status"], recording["duration_ms"], recording["bytes"]) == ("stored", 3000, 44 + 24_000 * 4)
    assert recording["delete_after"] > recording["created_at"]
    assert len(recording["sha256"]) == 64
    assert [each["recording_id"] for each in fetch(store.path, "select * from uploads")] == [recording["id"]]
    told = [each["event_type"] for each in await store.read_events("CA1") if each["leg"] == KEEPING_LEG]
    assert told == ["RECORDING_FINISHED", "CALL_ENDED"]
    await keeper.close(0.0)
    assert await close_leftovers(store, Here(datetime.now(UTC) + timedelta(1), folder)) == 0, "once"
    await store.close()


async def test_a_call_that_comes_back_after_its_gateway_was_killed_goes_on_as_another_leg(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=60)  # the file keeps milliseconds
    before = SqliteStore(path, linger_s=0.001)
    await before.start()
    said = entries.AssistantSpoke("item_1", "One", "One coffee", 300, 900, interrupted=True)
    call(before, "CA1", "another-host:1", began, said, metered("resp_1", 0.25))
    call(before, "CAover", "another-host:1", began, entries.CallEnded("hangup", "completed", 5, "Caller: Bye"))
    await before.close()

    after = SqliteStore(path, linger_s=0.001)
    await after.start()
    journal = Journal(after, wall_clock=lambda: began + timedelta(seconds=90), new_id=new_id, earlier=after.earlier)
    for sid in ("CA1", "CAover", "CAnew"):
        record = journal.open(CallFacts(sid, "+250788000001", "", persona="waiter"))
        record.write(entries.CallStarted("+250788000001", "", "inbound", "waiter"))
        record.write(entries.UserSpoke("item_9", "Are you there?", 0, 900))
        record.write(metered("resp_2", 0.5))
        record.write(entries.CallEnded("hangup", "completed", 7000, "Caller: Are you there?", cost_usd=0.5))
    assert await after.flush()
    assert (after.refused, after.lost) == (0, 0)

    row: Any = await after.read_call("CA1")
    assert row["transcript"] == "Assistant: One — [interrupted]\nCaller: Are you there?"
    assert (row["status"], row["end_reason"], row["duration_ms"]) == ("completed", "hangup", 90_000)
    assert row["cost_usd"] == pytest.approx(0.75)
    events = [(each["leg"], each["seq"]) for each in await after.read_events("CA1")]
    assert events == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 4)]
    turns = fetch(path, "select leg, text from call_turns where call_sid = 'CA1' order by leg")
    assert [(each["leg"], each["text"]) for each in turns] == [(1, "One"), (2, "Are you there?")]
    assert len(await after.read_events("CAover")) == 6
    assert {each["leg"] for each in await after.read_events("CAnew")} == {1}
    await after.close()


async def test_what_somebody_is_still_at_is_left_alone(store: SqliteStore, tmp_path: Path) -> None:
    parent = os.getppid()
    before, after = NOW - timedelta(minutes=5), NOW + timedelta(seconds=1)
    call(store, "CAother", f"{HOST}:{parent}", before)
    call(store, "CAours", f"{HOST}:{os.getpid()}", after)
    call(store, "CAelsewhere", "another-host:1", before)
    call(store, "CAover", f"{HOST}:{os.getpid()}", before, entries.CallEnded("hangup", "completed", 5))
    call(store, "CAreborn", f"{HOST}:{os.getpid()}", before)  # its process had the number that is ours now
    call(store, "CAlong-ago", "another-host:1", NOW - timedelta(hours=6))
    call(store, "CAnameless", "", NOW - timedelta(hours=6))
    assert await store.flush()
    assert await close_leftovers(store, Here(NOW, tmp_path)) == 3
    assert await store.flush()
    ended = fetch(store.path, "select call_sid from calls where end_reason = ? order by 1", [GATEWAY_DIED])
    assert [row["call_sid"] for row in ended] == ["CAlong-ago", "CAnameless", "CAreborn"]
    assert (store.refused, store.lost) == (0, 0)


@pytest.mark.parametrize("size", [None, 0, 44])
async def test_a_recording_without_sound_is_told_to_have_failed(
    store: SqliteStore, tmp_path: Path, size: int | None
) -> None:
    ids = [new_id(), new_id()]
    paths = [f"2026-11-21/CA1_{each}.wav" for each in ids]
    (tmp_path / "2026-11-21").mkdir()
    for path in paths if size is not None else []:
        (tmp_path / path).write_bytes(b"R" * (size or 0))
    begun = [entries.RecordingStarted(each, path, "none") for each, path in zip(ids, paths, strict=True)]
    call(store, "CA1", f"{HOST}:{os.getpid()}", NOW, *begun)
    assert await store.flush()
    assert await close_leftovers(store, Here(NOW + timedelta(1), tmp_path)) == 1
    assert await store.flush()
    rows = fetch(store.path, "select status from call_recordings")
    assert [row["status"] for row in rows] == ["failed", "failed"]
    reasons = [each["payload"].get("reason", "") for each in await store.read_events("CA1")]
    assert sum("the gateway died" in each for each in reasons) == 2
    assert store.refused == 0
