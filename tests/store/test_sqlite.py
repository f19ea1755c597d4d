"""The embedded store, on real files, with real locks, a real full disk, real damage and a real kill."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from voice_gateway.store import database
from voice_gateway.store.database import StoreError
from voice_gateway.store.records import CallPatch, EventRecord, Store
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.writer import Habits, Waiting, Writer

Maker = Callable[..., EventRecord]


async def test_a_call_is_read_back_as_it_was_written(store: Store, event: Maker) -> None:
    store.write(
        event(1, event_type="CALL_STARTED", payload={"persona": "waiter"}, occurred_at="2026-11-21T21:00:00+01:00"),
        CallPatch("CA1", 1, from_number="+250788000001", persona="waiter", meta={"a": 1}),
    )
    store.write(event(2, payload={"text": "Mützig, please"}, instance_id="one"))
    store.write(
        event(3, event_type="CALL_ENDED"), CallPatch("CA1", 3, status="completed", duration_ms=5, meta={"b": 2})
    )
    assert await store.flush()

    call = await store.read_call("CA1")
    assert call is not None
    assert (call["from_number"], call["persona"], call["status"], call["duration_ms"], call["last_seq"]) == (
        "+250788000001", "waiter", "completed", 5, 3,
    )  # fmt: skip
    assert call["meta"] == {"a": 1, "b": 2}
    events = await store.read_events("CA1")
    assert [each["event_type"] for each in events] == ["CALL_STARTED", "TRANSCRIPT_USER", "CALL_ENDED"]
    assert events[0]["occurred_at"] == "2026-11-21T20:00:00.000Z"
    assert events[1]["payload"] == {"text": "Mützig, please"}
    assert (events[0]["instance_id"], events[1]["instance_id"]) == (None, "one")


async def test_nothing_is_known_of_a_call_that_never_was(store: Store) -> None:
    assert await store.read_call("CAnone") is None
    assert await store.read_events("CAnone") == []


async def test_recent_calls_come_newest_first(store: Store, event: Maker) -> None:
    for name in "abc":
        assert await store.write_durably(event(1, name), CallPatch(name, 1))
    assert [call["call_sid"] for call in await store.recent_calls(2)] == ["c", "b"]


def watched(store: SqliteStore) -> list[str]:
    """The statements that its writer runs from now on, as it runs them."""
    statements: list[str] = []
    assert store._writer._db is not None
    store._writer._db.set_trace_callback(statements.append)
    return statements


async def test_what_comes_together_is_one_transaction(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=30)
    await store.start()
    statements = watched(store)
    for seq in range(1, 7):
        store.write(event(seq), CallPatch("CA1", seq))
        if seq == 3:
            await asyncio.sleep(0.02)  # the writer may run, and must go on lingering
    assert await store.flush(), "a flush does not linger"
    assert statements.count("begin immediate") == 1
    assert statements.count("commit") == 1
    assert len(await store.read_events("CA1")) == 6
    await store.close()


async def test_of_many_a_piece_at_a_time_is_written_and_of_very_many_an_eighth(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=30)
    await store.start()
    statements = watched(store)
    for seq in range(1, 1001):
        store.write(event(seq))
    assert await store.flush()
    written = [len(piece.split("insert into call_events")) - 1 for piece in "".join(statements).split("commit")[:-1]]
    assert sum(written) == 1000
    assert written == sorted(written, reverse=True)
    assert 100 <= written[0] <= 130
    assert min(written[:-1]) == 8
    await store.close()


def test_however_many_wait_no_piece_keeps_the_file_from_others_for_long(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "store.db", Habits(linger_s=0))
    for _ in range(100_000):
        writer.queue.put(Waiting(0.0))
    writer._gather()
    assert len(writer.batch) == 1000


async def test_a_durable_write_does_not_linger(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=30)
    await store.start()
    async with asyncio.timeout(10):
        assert await store.write_durably(event(1))
        assert await store.write_durably(event(2))
    await store.close()


async def test_closing_stores_what_is_still_waiting(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=30)
    await store.start()
    for seq in range(1, 3001):
        store.write(event(seq))
    async with asyncio.timeout(10):
        assert await store.close() == 0
        assert await store.close() == 0, "a second close has nothing to do"
    assert len(await store.read_events("CA1")) == 3000, "a closed store can still be read"


async def test_the_same_event_twice_is_stored_once(store: SqliteStore, event: Maker) -> None:
    once = event(1)
    store.write(once)
    store.write(once)
    assert await store.write_durably(once)
    assert len(await store.read_events("CA1")) == 1
    assert store.refused == 0


async def test_a_refused_row_costs_no_other(store: SqliteStore, event: Maker) -> None:
    with capture_logs() as logs:
        store.write(event(1), CallPatch("CA1", 1, persona="waiter"))
        store.write(event(2), CallPatch("CA1", 2, status="nonsense"))
        store.write(event(2))
        store.write(event(3, occurred_at="half past nine"))
        store.write(event(4), CallPatch("CA1", 4, status="completed"))
        assert await store.flush()
    assert [each["seq"] for each in await store.read_events("CA1")] == [1, 2, 4]
    call = await store.read_call("CA1")
    assert call is not None
    assert (call["persona"], call["status"]) == ("waiter", "completed")
    assert store.refused == 3
    assert [(each["event"], each["callSid"]) for each in logs] == [("store.row_refused", "CA1")] * 3
    assert store.last_error == "", "the file is well"


async def test_text_that_databases_cannot_hold_is_stored_mended(store: SqliteStore, event: Maker) -> None:
    payload = {"text": "a\0b\ud800", "level": float("nan"), "big": 2**80, "set": {1}}
    store.write(event(1, payload=payload), CallPatch("CA1", 1, end_reason="\udfff\0"))
    assert await store.flush()
    assert (await store.read_events("CA1"))[0]["payload"] == {
        "text": "a\ufffdb\ufffd", "level": None, "big": str(2**80), "set": [1],
    }  # fmt: skip
    call = await store.read_call("CA1")
    assert call is not None
    assert call["end_reason"] == "\ufffd\ufffd"


# --- when the file cannot be written ----------------------------------------------------------------------------


async def test_while_the_file_is_locked_records_wait_and_health_says_so(tmp_path: Path, event: Maker) -> None:
    now = [100.0]
    store = SqliteStore(tmp_path / "store.db", linger_s=0, stuck_after_s=10, clock=lambda: now[0])
    await store.start()
    with capture_logs() as logs, closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        store.write(event(1), CallPatch("CA1", 1))
        assert not await store.write_durably(event(2), timeout_s=0.6)
        assert "another program holds the file locked" in store.last_error
        assert store.depth == 2
        assert not store.stuck(105.0)
        assert store.oldest_age_s(112.0) == 12.0
        assert store.stuck(112.0)
        other.execute("rollback")
        assert await store.flush(10)
    assert [each["seq"] for each in await store.read_events("CA1")] == [1, 2]
    assert (store.last_error, store.depth, store.oldest_age_s(112.0), store.stuck(112.0)) == ("", 0, 0.0, False)
    assert [each["event"] for each in logs] == ["store.failing", "store.recovered"], "told once, not at every attempt"
    await store.close()


async def test_a_full_disk_keeps_records_until_there_is_room(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0, max_bytes=285_000)
    await store.start()
    assert await store.write_durably(event(1, payload={"text": "x" * 60_000}))
    assert not await store.write_durably(event(2, payload={"text": "y" * 90_000}), timeout_s=0.3)
    assert "make room" in store.last_error
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("delete from call_events where seq = 1")
    assert await store.flush(10)
    assert [each["seq"] for each in await store.read_events("CA1")] == [2]
    assert await store.close() == 0


async def test_a_file_that_was_taken_away_is_begun_anew_and_told(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0)
    await store.start()
    assert await store.write_durably(event(1))
    for path in [store.path, Path(f"{store.path}-wal"), Path(f"{store.path}-shm")]:
        path.unlink()
    with capture_logs() as logs:
        assert await store.write_durably(event(2))
        assert await store.write_durably(event(3))
    assert [each["seq"] for each in await store.read_events("CA1")] == [2, 3]
    assert [each["event"] for each in logs] == ["store.file_gone"]
    assert await store.close() == 0


async def test_closing_a_store_that_cannot_write_ends_and_tells_the_loss(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0)
    await store.start()
    with capture_logs() as logs, closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        for seq in range(1, 4):
            store.write(event(seq))
        waiting = asyncio.ensure_future(store.write_durably(event(4), timeout_s=30))
        await asyncio.sleep(0)
        assert await store.close(timeout_s=0.1) == 4
        assert await waiting is False
    assert [each["event"] for each in logs] == ["store.failing", "store.records_lost"]
    assert logs[-1]["records"] == 4


async def test_past_its_capacity_the_store_drops_and_counts(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", capacity=3)
    with capture_logs() as logs:
        for seq in range(1, 6):
            store.write(event(seq))
    assert (store.depth, store.dropped) == (3, 2)
    assert store.stuck(0.0)
    assert [each["event"] for each in logs] == ["store.overflow"], "told once"
    await store.start()
    assert await store.flush()
    assert len(await store.read_events("CA1")) == 3
    assert await store.close() == 2, "what was dropped is lost"


async def test_a_store_that_does_not_run_promises_nothing(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db")
    assert store.stuck(0.0)
    assert not await store.flush()
    assert not await store.write_durably(event(1))
    assert await store.recent_calls() == []
    assert not store.path.exists()


# --- what is found at start -------------------------------------------------------------------------------------


async def test_only_the_owner_may_read_the_file(store: SqliteStore, event: Maker) -> None:
    assert await store.write_durably(event(1))
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.parametrize("damage", ["garbage", "torn"])
async def test_a_broken_file_is_set_aside_and_a_new_one_begun(damage: str, tmp_path: Path, event: Maker) -> None:
    path = tmp_path / "store.db"
    if damage == "garbage":
        path.write_bytes(b"no database at all " * 1000)
    else:
        await fill(path, event)
        with path.open("r+b") as file:
            file.seek(8 * 4096)
            file.write(os.urandom(20 * 4096))
    broken = path.read_bytes()
    store = SqliteStore(path)
    with capture_logs() as logs:
        await store.start()
    assert await store.write_durably(event(1))
    assert len(await store.read_events("CA1")) == 1
    (aside,) = set_aside_in(tmp_path)
    assert aside.read_bytes() == broken
    assert [(each["event"], each["setAside"]) for each in logs] == [("store.corrupt", str(aside))]
    await store.close()


def set_aside_in(folder: Path) -> list[Path]:
    return list(folder.glob("store.db.corrupt-*"))


async def fill(path: Path, event: Maker) -> None:
    store = SqliteStore(path)
    await store.start()
    for seq in range(1, 1001):
        store.write(event(seq))
    await store.close()


async def test_a_file_that_breaks_while_in_use_is_set_aside_too(
    tmp_path: Path, event: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ALWAYS_CHECKED_BYTES", 0)  # as if the file were large
    path = tmp_path / "store.db"
    store = SqliteStore(path, linger_s=0)
    await store.start()
    assert await store.write_durably(event(1))
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma wal_checkpoint(truncate)")
    with path.open("r+b") as file:  # everything but the first page: to an opening eye the file is sound
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    store._writer._db.execute("pragma shrink_memory")  # what the connection still remembers of the sound file
    with capture_logs() as logs:
        store.write(event(2, payload={"text": "x" * 100_000}))
        assert await store.flush(10)
    assert [each["seq"] for each in await store.read_events("CA1")] == [2]
    assert "store.corrupt" in [each["event"] for each in logs]
    assert len(set_aside_in(tmp_path)) == 1
    assert await store.close() == 0


async def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("pragma user_version = 99")
    with pytest.raises(StoreError, match=r"later version.*upgrade, or name another file"):
        await SqliteStore(path).start()


async def test_a_path_that_cannot_be_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file/store\.db cannot be opened.*check that its folder can be written to"):
        await SqliteStore(tmp_path / "file" / "store.db").start()


# --- kill -9 ----------------------------------------------------------------------------------------------------

CHILD = """
import asyncio, os, sys
from voice_gateway.store.records import CallPatch, EventRecord, new_id
from voice_gateway.store.sqlite import SqliteStore

async def writer(store, leg):
    for seq in range(1, 1_000_000):
        event = EventRecord(new_id(), "CA1", "DTMF", {"digit": "1"}, "2026-11-21T20:00:00Z", seq, leg)
        if seq % 2:
            store.write(event)
            store.write(event)
        elif await store.write_durably(event, CallPatch("CA1", seq)):
            os.write(1, b"%s\\n" % event.id.encode())

async def main():
    store = SqliteStore(sys.argv[1], linger_s=0.002)
    await store.start()
    await asyncio.gather(*(writer(store, int(sys.argv[2]) * 10 + each) for each in range(4)))

asyncio.run(main())
"""


async def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    acknowledged: list[str] = []
    for round_number in (1, 2):
        acknowledged += acknowledged_until_killed(path, round_number, least=200)
    store = SqliteStore(path)
    await store.start()
    stored = Counter(each["id"] for each in await store.read_events("CA1"))
    await store.close()
    assert len(acknowledged) >= 400
    assert not [each for each in acknowledged if each not in stored]
    assert set(stored.values()) == {1}
    assert not set_aside_in(tmp_path)


def acknowledged_until_killed(path: Path, round_number: int, least: int) -> list[str]:
    with subprocess.Popen([sys.executable, "-c", CHILD, path, str(round_number)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(least)]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()  # those it wrote before the blow fell
    assert child.returncode == -signal.SIGKILL
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]
