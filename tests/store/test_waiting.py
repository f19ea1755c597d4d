"""What is set aside can be looked at, tried again and given up, beside a gateway that is running."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import far_side
import pytest
from click.testing import Result
from far_side import Shipped, shipped
from typer.testing import CliRunner

from voice_gateway.cli.verbs import app
from voice_gateway.store import waiting
from voice_gateway.store.records import EventRecord, TurnRecord
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.statements import Statement

Maker = Callable[..., EventRecord]


def command(path: Path, *arguments: str, answer: str = "") -> Result:
    environment = {"STORE_PATH": str(path), "SUPABASE_URL": "", "SUPABASE_SECRET_KEY": ""}
    return CliRunner().invoke(app, ["outbox", *arguments, "--env-file", os.devnull], input=answer, env=environment)


async def filled(store: SqliteStore, event: Maker) -> None:
    """Three facts that wait, two of them set aside, and a recording that is."""
    for seq in (1, 2, 3):
        store.write(event(seq, event_type="DTMF"))
    assert await store.flush()
    recording = (
        "insert into uploads (recording_id, call_sid, path, since, refused) "
        "values ('r1', 'CA1', '2026-11-21/CA1_r1.wav', 1e9, 'HTTP 413, too large')"
    )
    aside = "update outbox set refused = 'turn: 23514 call +250788000123' where n < 3"
    assert await store.work([Statement(recording, {}), Statement(aside, {})])


async def test_it_lists_what_waits_and_what_is_set_aside_with_its_reason(store: SqliteStore, event: Maker) -> None:
    await filled(store, event)
    told = await asyncio.to_thread(command, store.path)
    assert told.exit_code == 0, told.output
    assert re.search(r"^supabase +1 +2 +0 s ago; SUPABASE_URL is not set here", told.output, re.MULTILINE), told.output
    assert re.search(r"^webhook +0 +0$", told.output, re.MULTILINE)
    assert re.search(r"^storage +0 +1$", told.output, re.MULTILINE)
    assert "storage:1  2001-09-09 01:46:40Z  CA1  2026-11-21/CA1_r1.wav\n    HTTP 413, too large" in told.output
    assert "supabase:1" in told.output
    assert "DTMF" in told.output
    assert "0788000123" not in told.output, "a number is masked here too"
    assert len(await asyncio.to_thread(waiting.set_aside, store.path)) == 3, "and nothing was changed"


async def test_what_is_given_up_is_asked_about_first_and_goes_alone(store: SqliteStore, event: Maker) -> None:
    await filled(store, event)
    kept = await asyncio.to_thread(command, store.path, "--drop", "supabase:1", answer="n\n")
    assert kept.exit_code == 1
    assert len(waiting.set_aside(store.path)) == 3
    gone = await asyncio.to_thread(command, store.path, "--drop", "supabase:1", answer="y\n")
    assert (gone.exit_code, "Given up: 1." in gone.output) == (0, True)
    assert [each.id for each in waiting.set_aside(store.path)] == ["supabase:2", "storage:1"]
    for wrong in ("supabase:1", "supabase:3", "nowhere:1", "7", "supabase:2; delete"):
        refused = await asyncio.to_thread(command, store.path, "--drop", wrong, "--yes")
        assert refused.exit_code != 0
        assert isinstance(refused.exception, waiting.NotSetAsideError)
    everything = await asyncio.to_thread(command, store.path, "--drop", "all", "--yes")
    assert "Given up: 2." in everything.output
    assert [(each.name, each.depth, each.refused) for each in waiting.queues(store.path)] == [
        ("supabase", 1, 0), ("webhook", 0, 0), ("storage", 0, 0),
    ]  # fmt: skip
    assert waiting.retry(store.path) == 0
    assert waiting.set_aside(store.path) == []


async def test_one_that_was_put_right_between_the_question_and_the_answer_stays(
    store: SqliteStore, event: Maker
) -> None:
    await filled(store, event)
    asides = waiting.named(store.path, ["all"])
    assert await asyncio.to_thread(waiting.retry, store.path) == 3
    assert await asyncio.to_thread(waiting.drop, store.path, asides) == 0
    assert waiting.queues(store.path)[0].depth == 3


def test_without_a_file_it_says_so_and_an_older_one_is_read_as_it_is(tmp_path: Path) -> None:
    assert "nothing was recorded here" in str(command(tmp_path / "none.db").exception)
    with closing(sqlite3.connect(tmp_path / "older.db")) as db:
        db.execute("create table outbox (n integer primary key, event_id, call_sid, since, changes, refused)")
        db.execute("create table call_events (id, event_type)")
        db.commit()
    told = command(tmp_path / "older.db")
    assert re.search(r"^supabase +0 +0$", told.output, re.MULTILINE), told.output
    assert "storage" not in told.output


@pytest.mark.postgres
async def test_a_running_gateway_goes_on_with_what_is_to_be_tried_again(
    tmp_path: Path, supabase: far_side.Supabase, event: Maker, monkeypatch: pytest.MonkeyPatch, database_of: Any
) -> None:
    monkeypatch.setattr("voice_gateway.store.shipper.LOOK_ANYWAY_S", 0.1)
    with database_of() as database:
        database.execute("alter table call_turns add constraint curfew check (text <> 'hello')")
        async with shipped(tmp_path / "store.db", supabase) as rested:
            told = event(1)
            rested.write(told, None, [TurnRecord(told.id, "CA1", 1, "user", "hello", told.occurred_at)])
            assert await rested.flush()
            (aside,) = waiting.set_aside(rested.local.path)
            assert "curfew" in aside.reason
            database.execute("alter table call_turns drop constraint curfew")
            retried = await asyncio.to_thread(command, rested.local.path, "--retry")
            assert "To be tried again: 1." in retried.output
            await until_empty(rested)
            assert database.execute("select text from call_turns").fetchall() == [("hello",)]


async def until_empty(rested: Shipped) -> None:
    async with asyncio.timeout(10):
        while any(each.depth or each.refused for each in waiting.queues(rested.local.path)):  # noqa: ASYNC110 - another program's view
            await asyncio.sleep(0.02)
