"""`kill -9` at any moment: what was committed reaches Supabase, and once, however often the process dies."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import postgres_server
import pytest
from far_side import SECRET_KEY, Supabase, shipped

pytestmark = pytest.mark.postgres

CHILD = """
import asyncio, os, sys
from voice_gateway.store.records import CallPatch, EventRecord, TurnRecord, new_id
from voice_gateway.store.shipper import Pace, Shipper
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.supabase import SupabaseRecord

async def call(store, name):
    for seq in range(1, 100_000):
        at = "2026-11-21T20:00:00Z"
        event = EventRecord(new_id(), name, "TRANSCRIPT_USER", {"text": "hello"}, at, seq)
        patch = CallPatch(name, seq, duration_ms=seq)
        if await store.write_durably(event, patch, [TurnRecord(event.id, name, seq, "user", "hello", at)]):
            os.write(1, b"%s\\n" % event.id.encode())

async def main(path, url, key, life):
    store = SqliteStore(path, linger_s=0.001)
    await store.start()
    shipper = Shipper(store, SupabaseRecord(url, key), Pace(collect_s=0.0, most=20))
    shipper.start()
    await asyncio.gather(*(call(store, f"CA{life}-{each}") for each in range(4)))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_no_death_loses_or_doubles_anything(
    tmp_path: Path, supabase: Supabase, fresh: str, postgres: postgres_server.Server
) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(7)  # noqa: S311 - moments to die at
    acknowledged: list[str] = []
    for life in range(3):
        # In the second one Supabase takes everything, and its answers are lost.
        supabase.wire.become("loses answers" if life == 1 else "well")
        acknowledged += await lived(path, supabase.url, life, least=chance.randint(50, 250))
    supabase.wire.become("well")
    async with shipped(path, supabase) as rested:
        assert await rested.flush()
    with postgres.connect(fresh) as database:
        stored = Counter(row[0] for row in database.execute("select id::text from call_events").fetchall())
        assert len(acknowledged) > 150
        assert not [each for each in acknowledged if each not in stored]
        assert set(stored.values()) == {1}
        told = "select count(*), count(distinct (call_sid, leg, seq)) from call_events"
        events, places = database.execute(told).fetchone() or (0, 0)
        assert events == places
        assert database.execute("select count(*) from call_turns").fetchone() == (events,)
        newest = (
            "select count(*) from calls c where last_seq <> duration_ms or last_seq <> "
            "(select max(seq) from call_events e where e.call_sid = c.call_sid)"
        )
        assert database.execute(newest).fetchone() == (0,), "each call's row is that of its last event"


async def lived(path: Path, url: str, life: int, least: int) -> list[str]:
    """One process's life; returns the ids that it had acknowledged when the blow fell."""
    command = [sys.executable, "-c", CHILD, str(path), url, SECRET_KEY, str(life)]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    lines = [await child.stdout.readline() for _ in range(least)]
    child.send_signal(signal.SIGKILL)
    lines += (await child.stdout.read()).splitlines(keepends=True)
    await child.wait()
    return [line.decode().strip() for line in lines if line.endswith(b"\n")]
