"""Retention: what has reached its age goes from the file, and nothing else."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from voice_gateway.keeper import Keeper, Wishes
from voice_gateway.ops.metrics import Metrics
from voice_gateway.store.outbox import collecting
from voice_gateway.store.records import CallPatch, EventRecord, TurnRecord, UsageRecord
from voice_gateway.store.retention import BITE_CALLS, TABLES, remove_older
from voice_gateway.store.sqlite import SqliteStore
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
