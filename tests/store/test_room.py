"""A file of a given size: what is told goes first, then the least of what is not, and never what was said."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from voice_gateway.store.outbox import read_backlog
from voice_gateway.store.records import CallPatch, EventRecord
from voice_gateway.store.shipper import Pace, Shipper
from voice_gateway.store.sqlite import SqliteStore

Maker = Callable[..., EventRecord]
LIMIT = 1_000_000
SAID = {"text": "x" * 1000}


class Taker:
    """Takes everything."""

    async def ingest(self, facts: str) -> dict[int, str]:
        assert facts
        return {}

    async def close(self) -> None:
        pass


async def fill(
    store: SqliteStore,
    event: Maker,
    calls: int,
    kinds: tuple[str, ...],
    days_ago: float = 0.0,
    shipper: Shipper | None = None,
) -> None:
    """Whole calls, one after the other."""
    for number in range(calls):
        began = datetime.now(UTC) - timedelta(days=days_ago) + timedelta(seconds=number)
        sid = f"CA{days_ago:g}-{number}"
        store.write(event(1, sid, event_type="CALL_STARTED"), CallPatch(sid, 1, created_at=began))
        for seq, kind in enumerate(kinds, 2):
            store.write(event(seq, sid, event_type=kind, payload=SAID))
        store.write(event(100, sid, event_type="CALL_ENDED"), CallPatch(sid, 100, status="completed", ended_at=began))
        assert await (store.flush() if shipper is None else shipper.flush(10))


def count(path: Path, sql: str) -> int:
    with closing(sqlite3.connect(path)) as file:
        found: int = file.execute(sql).fetchone()[0]
        return found


async def test_what_supabase_has_goes_first_and_the_oldest_calls_wholly(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0, max_bytes=LIMIT)
    await store.start()
    shipper = Shipper(store, Taker(), Pace(collect_s=0.0))
    shipper.start()
    for days_ago in (3.0, 0.0):
        await fill(store, event, 100, ("TRANSCRIPT_USER",) * 5, days_ago, shipper)
    assert (tmp_path / "store.db").stat().st_size <= LIMIT
    assert store.cleared == 0
    assert not store.stuck(0.0)
    left = "select count(*) from calls where call_sid like 'CA{}-%'"
    assert count(store.path, left.format(3)) < 100
    assert count(store.path, "select count(*) from calls where call_sid = 'CA3-0'") == 0, "the oldest first"
    assert count(store.path, left.format(0)) == 100, "what today's calls cost must be known after a restart"
    await shipper.close(1)
    assert await store.close() == 0


async def test_without_supabase_only_what_the_record_can_best_do_without_is_cleared(
    tmp_path: Path, event: Maker
) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0, max_bytes=LIMIT)
    await store.start()
    with capture_logs() as logs:
        await fill(store, event, 130, ("BARGE_IN", "BARGE_IN", "TRANSCRIPT_USER", "TOOL_RESULT"))
    assert store.cleared > 0
    assert [each["event"] for each in logs] == ["store.events_cleared"], "told once"
    kinds = "select count(*) from call_events where event_type = '{}'"
    assert count(store.path, kinds.format("BARGE_IN")) < 260
    for kind in ("TRANSCRIPT_USER", "CALL_STARTED", "CALL_ENDED"):
        assert count(store.path, kinds.format(kind)) == 130, kind
    assert count(store.path, "select count(*) from calls where status = 'completed'") == 130
    assert read_backlog(store.path).depth == count(store.path, "select count(*) from call_events")
    assert await store.close() == 0


async def test_a_file_full_of_what_was_said_takes_no_more_and_says_so(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0, max_bytes=LIMIT, clock=lambda: 0.0)
    await store.start()
    with capture_logs():
        await fill(store, event, 60, ("TRANSCRIPT_USER",) * 4)
        for seq in range(1, 401):
            store.write(event(seq, payload=SAID))
        assert not await store.flush(0.3)
        assert "make room" in store.last_error
        assert store.stuck(11.0)
        assert store.cleared == 0
        shipper = Shipper(store, Taker(), Pace(collect_s=0.0))
        shipper.start()  # what is told makes room for what waits, though it waits before what says so
        assert await store.flush(15)
        await shipper.close(5)
        assert await store.flush(5)  # what the shipper noted last
    assert not store.stuck(11.0)
    assert len(await store.read_events("CA1")) == 400
    assert await store.close() == 0


async def test_a_call_that_is_not_wholly_told_keeps_all_of_its_events(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0, max_bytes=LIMIT)
    await store.start()
    await fill(store, event, 20, ("TRANSCRIPT_USER",) * 5, days_ago=3)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("delete from outbox where not (call_sid = 'CA3-7' and n % 7 = 3)")
        kept: Any = other.execute("select count(*) from outbox").fetchone()
    assert kept == (1,)
    await fill(store, event, 100, ("TRANSCRIPT_USER",) * 4)
    assert count(store.path, "select count(*) from call_events where call_sid = 'CA3-7'") == 7
    assert count(store.path, "select count(*) from call_events where call_sid = 'CA3-8'") == 0
    assert await store.close() == 0
