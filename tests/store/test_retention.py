"""Retention: what has reached its age goes from the file, and nothing else."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import far_side
import pytest
from far_side import SECRET_KEY, Supabase
from storage_double import Thing
from structlog.testing import capture_logs

from voice_gateway.keeper import Keeper, Wishes
from voice_gateway.ops.metrics import Metrics
from voice_gateway.store.bucket import Bucket
from voice_gateway.store.database import fetch
from voice_gateway.store.outbox import collecting
from voice_gateway.store.records import CallPatch, EventRecord, RecordingRecord, TurnRecord, UsageRecord, new_id
from voice_gateway.store.retention import (
    BITE_CALLS,
    TABLES,
    Shelves,
    purge_project,
    remove_old_recordings,
    remove_older,
)
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.supabase import SupabaseRecord
from voice_gateway.trace import folder as traces

Maker = Callable[..., EventRecord]
NOW = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


def metrics() -> Metrics:
    return Metrics(version="0", personas=[], tools=[], models=[], enabled=True)


def write_call(store: SqliteStore, event: Maker, sid: str, days_ago: float, **patch: object) -> None:
    at = NOW - timedelta(days=days_ago)
    told = event(1, sid, occurred_at=at)
    rows = [TurnRecord(told.id, sid, 1, "user", "hello", at), UsageRecord(told.id, sid, "resp_1", at)]
    store.write(told, CallPatch(sid, 1, created_at=at, **patch), rows)  # type: ignore[arg-type]


def calls(path: Path) -> dict[str, set[str]]:
    """Whose rows are in each table."""
    with closing(sqlite3.connect(path)) as db:
        return {table: {row[0] for row in db.execute(f"select call_sid from {table}")} for table in TABLES}  # noqa: S608


async def test_calls_of_that_age_go_from_every_table_and_younger_ones_stay(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0.001, at_open=collecting(()))
    await store.start()
    for n in range(BITE_CALLS * 2 + 3):
        write_call(store, event, f"CAold{n}", 30 + n / 10 + 0.01, status="completed" if n % 2 else None)
    write_call(store, event, "CAyoung", 29.9)
    write_call(store, event, "CAkept", 300, purge_after=NOW - timedelta(days=1))
    write_call(store, event, "CAsooner", 1, purge_after=NOW - timedelta(days=40))
    assert await store.flush()
    assert len(calls(store.path)["webhook_outbox"]) == BITE_CALLS * 2 + 6
    swept = await remove_older(store, 30, NOW)
    assert (swept.calls, swept.untold) == (BITE_CALLS * 2 + 4, BITE_CALLS * 2 + 4)
    left = {table: {"CAyoung", "CAkept"} for table in TABLES} | {"call_consents": set(), "call_recordings": set()}
    assert calls(store.path) == left
    assert (await remove_older(store, 30, NOW)).calls == 0
    await store.close()


async def test_events_without_a_call_go_by_their_own_age(store: SqliteStore, event: Maker) -> None:
    store.write(event(1, "CAlost"))
    assert await store.flush()
    assert (await remove_older(store, 1, datetime.now(UTC))).calls == 0
    assert (await remove_older(store, 1, datetime.now(UTC) + timedelta(days=2))).calls == 1
    assert await store.read_events("CAlost") == []


async def test_others_write_between_the_bites(
    store: SqliteStore, event: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice_gateway.store.retention.BITE_CALLS", 1)
    for n in range(5):
        write_call(store, event, f"CA{n}", 40)
    assert await store.flush()
    done: list[int] = []
    work = store.work

    async def noted(statements: object, timeout_s: float = 5.0) -> bool:
        store.write(event(1, f"CAnew{len(done)}"))
        done.append(1)
        return await work(statements, timeout_s)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "work", noted)
    assert (await remove_older(store, 30, NOW)).calls == 5
    assert len(done) == 5
    assert await store.flush()
    assert len(calls(store.path)["call_events"]) == 5


def test_old_traces_go_and_other_files_stay(tmp_path: Path) -> None:
    old = NOW.timestamp() - 31 * 86_400
    names = [
        "20261001T000000Z-CA1.jsonl", "20261001T000000Z-CA1-2.jsonl", "notes.jsonl", "20261001T000000Z-CA1.html",
        "20261120T000000Z-CA2.jsonl",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (old, old) if "CA2" not in name else (NOW.timestamp(), NOW.timestamp()))
    (tmp_path / "20261001T000000Z-CA3.jsonl").symlink_to(tmp_path / names[4])
    assert traces.remove_older(tmp_path, 30, NOW.timestamp()) == 2
    assert {path.name for path in tmp_path.iterdir()} == {*names[2:], "20261001T000000Z-CA3.jsonl"}
    assert traces.remove_older(tmp_path / "none", 30, NOW.timestamp()) == 0


async def test_the_keeper_sweeps_at_its_start_and_tells_it(store: SqliteStore, event: Maker, tmp_path: Path) -> None:
    write_call(store, event, "CA1", 40)
    write_call(store, event, "CA2", 1)
    assert await store.flush()
    keeper = Keeper(store, Wishes(keep_days=30, trace_dir=tmp_path / "traces"), metrics(), lambda: NOW)
    with capture_logs() as logs:
        await keeper._sweep()
    assert [(each["event"], each["calls"], each["untold"]) for each in logs] == [("retention.swept", 1, 1)]
    assert await store.read_call("CA1") is None
    assert await store.read_call("CA2") is not None
    keeper.start()
    await keeper.close(0.1)
    forever = Keeper(store, Wishes(), metrics())
    forever.start()
    assert forever._sweeping is None
    await forever.close(0.0)


# --- recordings -------------------------------------------------------------------------------------------------


def lay(folder: Path, days_ago: int, sid: str) -> str:
    """A file of that age; its path."""
    at = NOW - timedelta(days=days_ago)
    path = f"{at:%Y-%m-%d}/{sid}_{new_id()}.wav"
    (folder / path).parent.mkdir(exist_ok=True)
    (folder / path).write_bytes(b"RIFF")
    os.utime(folder / path, (at.timestamp(), at.timestamp()))
    return path


async def test_old_recordings_go_from_the_folder_and_the_bucket_and_their_rows_say_so(
    store: SqliteStore, event: Maker, tmp_path: Path
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    old, young, away = lay(folder, 31, "CAold"), lay(folder, 29, "CAyoung"), lay(folder, 40, "CAaway")
    (folder / away).unlink()
    older = lay(folder, 32, "CAold")
    for path, bucket in ((old, None), (older, None), (young, "recordings"), (away, "recordings")):
        sid = path[11:].partition("_")[0]
        told = RecordingRecord(path[-40:-4], sid, "stored", NOW, path=path, bucket=bucket)
        store.write(event(int(path[8:10]), sid), None, [told])
    assert await store.flush()
    async with far_side.supabase() as far:
        things = far.storage.buckets["recordings"].things
        unknown = f"2026-01-01/CAx_{new_id()}.wav"
        for path in (young, away, unknown, "2026-01-01/notes.txt", "logo.png"):
            things[path] = Thing(b"RIFF", "audio/wav", None)
        bucket = Bucket(far.url, SECRET_KEY, "recordings")
        for removed in (4, 0):
            assert await remove_old_recordings(store, Shelves(folder, bucket), 30, NOW) == removed
        await bucket.close()
        assert far.storage.names() == sorted([young, "2026-01-01/notes.txt", "logo.png"])
    assert [str(path.relative_to(folder)) for path in folder.rglob("*.wav")] == [young]
    assert await store.flush()
    rows = fetch(store.path, "select call_sid, status, local from call_recordings order by call_sid")
    assert [tuple(row.values()) for row in rows] == [
        ("CAaway", "deleted", 0), ("CAold", "deleted", 0), ("CAold", "deleted", 0), ("CAyoung", "stored", 1),
    ]  # fmt: skip
    told = fetch(store.path, "select call_sid from call_events where event_type = 'RECORDING_REMOVED' order by 1")
    assert [row["call_sid"] for row in told] == ["CAaway", "CAold", "CAold"]
    assert store.refused == 0


async def test_what_cannot_be_swept_is_told_and_costs_no_other_sweep(
    store: SqliteStore, event: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_call(store, event, "CA1", 40)
    assert await store.flush()
    wishes = Wishes(keep_days=30, recordings_dir=tmp_path, keep_recordings_days=30, bucket="recordings",
                    project=("http://127.0.0.1:1", SECRET_KEY))  # fmt: skip
    keeper = Keeper(store, wishes, metrics(), lambda: NOW)
    with capture_logs() as logs:
        keeper._sweeping = asyncio.create_task(keeper._sweep_hourly())
        async with asyncio.timeout(10):
            while sum(each["event"] == "retention.failing" for each in logs) < 2:  # noqa: ASYNC110 - a log
                await asyncio.sleep(0.01)
    await keeper.close(0.0)
    failing = [each for each in logs if each["event"] == "retention.failing"]
    assert [each["of"] for each in failing] == ["sweep_recordings", "sweep_project"]
    assert await store.read_call("CA1") is None
    assert "Connect" in failing[0]["reason"]
    assert SECRET_KEY not in str(logs)


# --- in a project -----------------------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_a_project_without_a_clock_is_purged_by_the_gateway_bite_by_bite(
    supabase: Supabase, database_of: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice_gateway.store.retention.REMOTE_BITE_CALLS", 5)
    monkeypatch.setattr("voice_gateway.store.retention.REMOTE_REST_S", 0.0)
    project = SupabaseRecord(supabase.url, SECRET_KEY)
    with database_of() as database:
        database.execute(
            "insert into calls (call_sid, created_at, ended_at) "
            "select 'CA' || n, %s::timestamptz - n * interval '1 day', %s from generate_series(1, 42) n",
            [NOW, NOW],
        )
        assert await purge_project(project, 0, NOW) == 0
        assert await purge_project(project, 30, NOW) == 12
        assert database.execute("select count(*) from calls").fetchone() == (30,)
        assert supabase.asked.count("/rest/v1/rpc/purge_calls") == 4
        assert database.execute("select days from voice_gateway.retention").fetchone() == (30,)
    await project.close()
