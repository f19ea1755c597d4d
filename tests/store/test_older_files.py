"""A file from before there was an outbox: brought up to date, and all of it shipped."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from far_side import Supabase, shipped

from voice_gateway.store.database import SCHEMA_VERSION, StoreError, open_database, open_sound_database
from voice_gateway.store.outbox import read_backlog, read_parcel
from voice_gateway.store.records import new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.uploads import queueing

FIRST_VERSION = Path(__file__).parents[1] / "data/store_v1.sql"
AT = "2026-11-20T20:00:00.000Z"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Three calls: one whole, one without events, one with events and no row of its own."""
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(FIRST_VERSION.read_text(encoding="utf-8"))
        db.execute(
            "insert into calls (call_sid, from_number, status, persona, last_seq, meta, created_at, ended_at) "
            "values ('CA1', '+250788000001', 'completed', 'waiter', 3, '{\"a\": 1}', ?, ?)",
            [AT, AT],
        )
        db.execute("insert into calls (call_sid, meta) values ('CA2', '')")
        for sid, seq in [("CA1", 1), ("CA1", 2), ("CA3", 1), ("CA1", 3)]:
            db.execute(
                "insert into call_events (id, call_sid, event_type, payload, created_at, occurred_at, seq) "
                "values (?, ?, 'DTMF', '{\"digit\": \"1\"}', ?, ?, ?)",
                [new_id(), sid, AT, AT, seq],
            )
    return path


async def test_its_events_wait_to_be_told_in_their_order_and_the_rows_of_calls_with_their_last(older: Path) -> None:
    store = SqliteStore(older)
    await store.start()
    await store.close()
    told = orjson.loads(read_parcel(older, 100, 1 << 20).text)
    assert [(each["call_sid"], each["seq"], "call" in each) for each in told] == [
        ("CA1", 1, False), ("CA1", 2, False), ("CA3", 1, False), ("CA1", 3, True),
    ]  # fmt: skip
    assert read_backlog(older).depth == 4
    with closing(sqlite3.connect(older)) as db:
        assert db.execute("pragma user_version").fetchone() == (SCHEMA_VERSION,)


async def test_it_is_filled_once_and_not_again_at_each_start(older: Path) -> None:
    for _ in range(2):
        store = SqliteStore(older)
        await store.start()
        await store.close()
        with closing(sqlite3.connect(older, isolation_level=None)) as db:
            db.execute("delete from outbox where call_sid = 'CA1'")
    assert read_backlog(older).depth == 1


@pytest.mark.postgres
async def test_what_it_holds_reaches_supabase(older: Path, supabase: Supabase) -> None:
    async with shipped(older, supabase) as rested:
        assert await rested.flush()
        call: Any = await rested.read_call("CA1")
        assert (call["from_number"], call["status"], call["persona"], call["meta"]) == (
            "+250788000001", "completed", "waiter", {"a": 1},
        )  # fmt: skip
        assert (call["created_at"], call["ended_at"]) == (AT, AT)
        events = await rested.read_events("CA1")
        assert [(each["seq"], each["created_at"], each["payload"]) for each in events] == [
            (seq, AT, {"digit": "1"}) for seq in (1, 2, 3)
        ]
        assert len(await rested.read_events("CA3")) == 1
        assert rested.shipper.delivery.backlog.refused == 0


async def test_recordings_of_a_file_from_before_there_were_buckets_are_kept_and_brought(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(open_database(path)) as db:
        db.execute("drop trigger uploaded")
        db.execute("drop table uploads")
        for column in ("bucket", "uploaded_at", "local"):
            db.execute(f"alter table call_recordings drop column {column}")
        db.execute(
            "insert into call_recordings (id, call_sid, path, status, bytes) values ('r', 'CA1', 'p', 'stored', 9)"
        )
        db.execute("pragma user_version = 4")
    for _ in range(2):
        store = SqliteStore(path, at_open=queueing("recordings"))
        await store.start()
        await store.close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("select path, bucket, local from call_recordings").fetchall() == [("p", None, 1)]
        assert db.execute("select recording_id, path, bytes from uploads").fetchall() == [("r", "p", 9)]


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 2**31 - 1])
def test_a_file_of_a_later_version_is_told_in_a_sentence_and_not_a_byte_of_it_is_changed(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("create table things_of_tomorrow (n)")
        db.execute(f"pragma user_version = {version}")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=rf"its schema is {version}, this program knows {SCHEMA_VERSION}.*upgrade"):
        open_sound_database(path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before
