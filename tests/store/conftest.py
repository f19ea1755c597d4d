"""What tests of the record share: a PostgreSQL with the migrations applied, a store, events."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import far_side
import postgres_server
import psycopg
import pytest
import structlog

from voice_gateway.store.diary import Hours
from voice_gateway.store.local_rows import LocalRows
from voice_gateway.store.records import EventRecord, new_id
from voice_gateway.store.remote_rows import RemoteRows
from voice_gateway.store.rows import Rows
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.tables import Tables


@pytest.fixture(autouse=True)
def every_word_is_logged() -> Iterator[None]:
    """Whatever level a test before this one has left."""
    before = structlog.get_config()
    structlog.reset_defaults()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    try:
        with postgres_server.running() as server:
            yield server
    except postgres_server.NoPostgresError as lack:
        if os.environ.get("CI"):
            raise  # what is skipped there is taken for passed
        pytest.skip(str(lack))


@pytest.fixture(scope="session")
def migrations() -> list[Path]:
    return postgres_server.MIGRATIONS


@pytest.fixture(scope="session")
def template(postgres: postgres_server.Server) -> Iterator[str]:
    """A migrated database that nobody writes to: copied, it is a fresh one in some 20 ms."""
    with postgres.database(f"template_{os.getpid()}") as name:
        with postgres.connect(name) as connection:
            postgres_server.migrate(connection)
        yield name


@pytest.fixture(scope="session")
def database(postgres: postgres_server.Server, template: str) -> Iterator[psycopg.Connection[Any]]:
    """A migrated database as a hosted project has it; each test has its own call_sids in it."""
    with postgres.database(f"test_{os.getpid()}", template=template) as name, postgres.connect(name) as connection:
        yield connection


@pytest.fixture
def fresh(postgres: postgres_server.Server, template: str) -> Iterator[str]:
    """The name of a migrated database for this test alone."""
    with postgres.database(f"fresh_{os.getpid()}", template=template) as name:
        yield name


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    store = SqliteStore(tmp_path / "store.db", linger_s=0.001)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def event() -> Callable[..., EventRecord]:
    """Makes an event; only what matters to the test is named."""

    def make(seq: int = 1, call_sid: str = "CA1", **fields: Any) -> EventRecord:
        values = {"event_type": "TRANSCRIPT_USER", "payload": {"text": "hello"}, "occurred_at": datetime.now(UTC)}
        return EventRecord(id=new_id(), call_sid=call_sid, seq=seq, **(values | fields))

    return make


@pytest.fixture
async def supabase(postgres: postgres_server.Server, fresh: str) -> Any:
    """A project of this test's own, on a port, behind a wire that can be cut."""
    async with far_side.supabase(postgres.url(fresh)) as far:
        yield far


@pytest.fixture
def database_of(postgres: postgres_server.Server, fresh: str) -> Callable[[], psycopg.Connection[Any]]:
    """Connects to the database of this test's project."""
    return lambda: postgres.connect(fresh)


@pytest.fixture
async def rested(tmp_path: Path, supabase: far_side.Supabase) -> Any:
    async with far_side.shipped(tmp_path / "store.db", supabase) as each:
        yield each


@pytest.fixture(params=["sqlite", pytest.param("supabase", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest) -> Any:
    """Each of the places that a record is kept in."""
    return request.getfixturevalue("store" if request.param == "sqlite" else "rested")


@pytest.fixture(params=["sqlite", pytest.param("supabase", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest) -> far_side.Supabase | None:
    """Each of the places that the tools' tables are in, with a demonstration's rows; None is the file."""
    if request.param == "sqlite":
        return None
    with request.getfixturevalue("database_of")() as database:
        for path in sorted((postgres_server.REPOSITORY / "migrations/seed").glob("*.sql")):
            database.execute(path.read_text())
    far: far_side.Supabase = request.getfixturevalue("supabase")
    return far


@pytest.fixture
async def rows_over(place: far_side.Supabase | None, tmp_path: Path) -> AsyncIterator[Callable[[], Awaitable[Rows]]]:
    """Makes rows in that place, started."""
    made: list[Rows] = []

    async def make() -> Rows:
        rows = LocalRows(tmp_path / "tables.db") if place is None else RemoteRows(place.url, far_side.SECRET_KEY)
        made.append(rows)
        await rows.start()
        return rows

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def tables_over(rows_over: Callable[[], Awaitable[Rows]]) -> Callable[[Hours | None], Awaitable[Tables]]:
    """Makes tables over rows of that place."""

    async def make(hours: Hours | None = None) -> Tables:
        return Tables(await rows_over(), hours)

    return make


@pytest.fixture
def read(
    request: pytest.FixtureRequest, place: far_side.Supabase | None, tmp_path: Path
) -> Callable[[str], list[tuple[Any, ...]]]:
    """Rows as they are stored, by SQL."""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        if place is None:
            with closing(sqlite3.connect(tmp_path / "tables.db")) as db:
                return db.execute(sql).fetchall()
        with request.getfixturevalue("database_of")() as database:
            return list(database.execute(sql).fetchall())

    return rows
