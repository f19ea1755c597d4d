"""Bringing a PostgreSQL up to date with `migrations/`: all of them or none, and each once.

What was applied stands in a table of our own, in a schema that no API shows. Everything happens in one transaction
under an advisory lock: two who migrate at the same moment do so one after the other, through a connection pooler too,
and a file that fails leaves nothing behind. The files may be run over themselves, so a database that was migrated by
another tool, such as Supabase's, is taken over by applying them once more.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import psycopg

from voice_gateway.errors import GatewayError

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

LOCK_KEY: Final = 0x766F696365  # "voice"; any number will do that no other program takes for a lock
LOCK_PATIENCE_S: Final = 30
CONNECT_PATIENCE_S: Final = 10

_NAME: Final = re.compile(r"(\d{14})_([a-z0-9_]+)\.sql")
_LEDGER: Final = """
create schema if not exists voice_gateway;
create table if not exists voice_gateway.migrations (
  version text primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
);
"""


class MigrationError(GatewayError):
    """The database cannot be migrated; nothing was changed. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A file of SQL. version: 14 digits, the order they are applied in. checksum: SHA-256 of its text, hexadecimal."""

    version: str
    name: str
    sql: str

    @property
    def file(self) -> str:
        return f"{self.version}_{self.name}.sql"

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done. applied: the files of this run. known: how many were there before. later: of a later version."""

    applied: tuple[Migration, ...]
    known: int
    later: tuple[str, ...]
    seeded: tuple[str, ...] = ()


def migrations_folder() -> Path:
    """Where the files are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """The files of a folder in their order. Raises `MigrationError` for names that no tool would take in that order."""
    found: dict[str, Migration] = {}
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path} is not named as a migration: 14 digits, an underscore, a-z, 0-9 and _, .sql.")
        version, name = match.groups()
        if version in found:
            raise MigrationError(f"{path.name} and {found[version].file} have the same version: give one another.")
        found[version] = Migration(version, name, path.read_text(encoding="utf-8"))
    if not found:
        raise MigrationError(f"{folder} holds no migrations: name the folder that does with --folder.")
    return tuple(found.values())


def read_seed(folder: Path) -> tuple[tuple[str, str], ...]:
    """Name and text of the files with rows for a demonstration."""
    return tuple((f"seed/{path.name}", path.read_text(encoding="utf-8")) for path in sorted(folder.glob("seed/*.sql")))


def migrate(
    url: str,
    migrations: Sequence[Migration],
    *,
    seed: Sequence[tuple[str, str]] = (),
    dry_run: bool = False,
    lock_patience_s: int = LOCK_PATIENCE_S,
) -> Outcome:
    """Apply what is missing, in order. Blocks.

    url: a libpq URL or connection string. seed: run after the migrations. dry_run: everything is done and then undone,
    so that a file that would fail does. Raises `MigrationError`; then nothing was changed.
    """
    with _connect(url) as connection:
        try:
            with connection.transaction(force_rollback=dry_run):
                return _migrate(connection, migrations, seed, lock_patience_s)
        except psycopg.Error as error:
            raise MigrationError(f"the database broke off ({_first_line(error)}): nothing was changed.") from error


def _migrate(
    connection: Connection, migrations: Sequence[Migration], seed: Sequence[tuple[str, str]], patience_s: int
) -> Outcome:
    _lock(connection, patience_s)
    applied = _read_ledger(connection)
    _check(migrations, applied)
    pending = [each for each in migrations if each.version not in applied]
    for each in pending:
        _run(connection, each.file, each.sql)
        connection.execute(
            "insert into voice_gateway.migrations (version, name, checksum) values (%s, %s, %s)",
            [each.version, each.name, each.checksum],
        )
    for name, sql in seed:
        _run(connection, name, sql)
    ours = {each.version for each in migrations}
    later = tuple(f"{version}_{name}" for version, (name, _) in applied.items() if version not in ours)
    return Outcome(tuple(pending), len(applied), later, tuple(name for name, _ in seed))


def _connect(url: str) -> Connection:
    try:
        # A pooler may hand the next statement to another server process: none may be prepared on one of them.
        return psycopg.connect(url, connect_timeout=CONNECT_PATIENCE_S, prepare_threshold=None)
    except psycopg.ProgrammingError:
        raise MigrationError(
            "DATABASE_URL is no connection string: postgresql://user:password@host:5432/database; in a password, "
            "characters such as @ / : # are written as %40 %2F %3A %23."
        ) from None
    except psycopg.OperationalError as error:
        raise MigrationError(
            f"DATABASE_URL cannot be reached ({_first_line(error)}). Check host, port, user and password; for a "
            "project of Supabase take the session pooler's string from its page Connect."
        ) from None


def _lock(connection: Connection, patience_s: int) -> None:
    connection.execute(f"set local lock_timeout = '{patience_s:d}s'")
    try:
        connection.execute("select pg_advisory_xact_lock(%s)", [LOCK_KEY])
    except psycopg.errors.LockNotAvailable:
        raise MigrationError(f"another migration has been running for {patience_s} s: wait for it to end.") from None


def _read_ledger(connection: Connection) -> dict[str, tuple[str, str]]:
    """What was applied: name and checksum by version, in order."""
    _run(connection, "the table of applied migrations", _LEDGER)
    rows = connection.execute(
        "select version, name, checksum from voice_gateway.migrations order by version"
    ).fetchall()
    return {version: (name, checksum) for version, name, checksum in rows}


def _check(migrations: Sequence[Migration], applied: dict[str, tuple[str, str]]) -> None:
    changed = [
        each.file for each in migrations if each.version in applied and applied[each.version][1] != each.checksum
    ]
    if changed:
        raise MigrationError(
            f"{', '.join(changed)}: changed since it was applied. Bring back the file as it was, and put what is new "
            "into a file of its own."
        )


def _run(connection: Connection, name: str, sql: str) -> None:
    try:
        connection.execute(sql)
    except psycopg.Error as error:
        position = error.diag.statement_position
        line = f", line {sql.count(chr(10), 0, int(position)) + 1}" if position else ""
        raise MigrationError(f"{name}{line}: {_first_line(error)}. Nothing was changed.") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
