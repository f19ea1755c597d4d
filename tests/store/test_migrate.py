"""`voice-gateway migrate`: once each, all or none, and in sentences."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import postgres_server
import psycopg
import pytest
from typer.testing import CliRunner

from voice_gateway.cli.verbs import app
from voice_gateway.store.migrate import (
    LOCK_KEY,
    Migration,
    MigrationError,
    migrate,
    migrations_folder,
    read_migrations,
    read_seed,
)

OURS = read_migrations(migrations_folder())
ONE = Migration("20260101000000", "one", "create table one (a integer);")
BROKEN = Migration("20260102000000", "broken", "create table two (a integer);\nselect nonsense();")


@pytest.fixture
def empty(postgres: postgres_server.Server) -> Iterator[str]:
    """The address of an empty database."""
    with postgres.database("empty") as name:
        yield postgres.url(name)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        sql = "select tablename from pg_tables where schemaname = 'public'"
        return {row[0] for row in connection.execute(sql).fetchall()}


# --- the files --------------------------------------------------------------------------------------------------


def test_the_files_come_in_the_order_of_their_versions() -> None:
    assert [each.version for each in OURS] == sorted({each.version for each in OURS})
    assert [each.name for each in OURS][:3] == ["platform", "calls", "gateway"]
    assert [name for name, _ in read_seed(migrations_folder())] == ["seed/menu.sql", "seed/tools.sql"]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "holds no migrations"),
        (["1_first.sql"], "1_first.sql is not named as a migration"),
        (
            ["20260101000000_a.sql", "20260101000000_b.sql"],
            "20260101000000_b.sql and 20260101000000_a.sql have the same",
        ),
    ],
)
def test_names_that_no_order_follows_from_are_refused(names: list[str], sentence: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("select 1;")
    with pytest.raises(MigrationError, match=sentence):
        read_migrations(tmp_path)


def test_an_installed_wheel_brings_them(tmp_path: Path) -> None:
    """Built as it is released: what the package holds afterwards is what the folder holds now."""
    repository = Path(__file__).parents[2]
    source = tmp_path / "source"
    wanted = ["pyproject.toml", "README.md", "LICENSE", "voice_gateway/__init__.py"]
    wanted += [f"voice_gateway/store/{name}" for name in ("seed.sql", "tools_seed.sql")]
    for name in wanted:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / name, source / name)
    shutil.copytree(repository / "migrations", source / "migrations", symlinks=True)
    build = "import hatchling.build as b; b.build_wheel('.')"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = source.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    inside = tmp_path / "installed" / "voice_gateway" / "migrations"
    assert read_migrations(inside) == OURS
    assert read_seed(inside) == read_seed(migrations_folder())


# --- applying them ----------------------------------------------------------------------------------------------


def test_each_is_applied_once(empty: str) -> None:
    first = migrate(empty, OURS, seed=read_seed(migrations_folder()))
    assert (first.applied, first.known, first.later) == (OURS, 0, ())
    assert {"calls", "call_events", "call_turns", "vouchers"} <= tables(empty)
    again = migrate(empty, OURS)
    assert (again.applied, again.known, again.later) == ((), len(OURS), ())


def test_a_database_of_another_tool_is_taken_over(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        for each in OURS:
            connection.execute(each.sql)
        connection.execute("insert into calls (call_sid) values ('CA1')")
    assert migrate(empty, OURS).applied == OURS
    with psycopg.connect(empty) as connection:
        assert connection.execute("select call_sid from calls").fetchall() == [("CA1",)]


def test_a_dry_run_tells_all_and_changes_nothing(empty: str) -> None:
    assert migrate(empty, OURS, dry_run=True).applied == OURS
    assert tables(empty) == set()
    with pytest.raises(MigrationError, match=r"broken\.sql, line 2"):
        migrate(empty, [ONE, BROKEN], dry_run=True)


def test_a_file_that_fails_leaves_nothing_and_is_named_with_its_line(empty: str) -> None:
    sentence = r"20260102000000_broken\.sql, line 2: function nonsense\(\) does not exist\. Nothing was changed\."
    with pytest.raises(MigrationError, match=sentence):
        migrate(empty, [ONE, BROKEN])
    assert tables(empty) == set()
    assert migrate(empty, [ONE]).applied == (ONE,)


def test_a_file_that_was_changed_afterwards_is_refused(empty: str) -> None:
    migrate(empty, [ONE])
    changed = Migration(ONE.version, ONE.name, ONE.sql + "-- more")
    with pytest.raises(MigrationError, match=r"20260101000000_one\.sql: changed since it was applied.*file of its own"):
        migrate(empty, [changed])


def test_what_a_later_version_applied_is_told(empty: str) -> None:
    migrate(empty, [ONE, Migration("20990101000000", "tomorrow", "select 1;")])
    assert migrate(empty, [ONE]).later == ("20990101000000_tomorrow",)


def test_two_at_once_apply_each_file_once(empty: str) -> None:
    outcomes: list[int] = []
    runs = [threading.Thread(target=lambda: outcomes.append(len(migrate(empty, OURS).applied))) for _ in range(3)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sorted(outcomes) == [0, 0, len(OURS)]


def test_who_waits_too_long_for_another_is_told(empty: str) -> None:
    with psycopg.connect(empty) as other:
        other.execute("select pg_advisory_xact_lock(%s)", [LOCK_KEY])
        with pytest.raises(MigrationError, match="another migration has been running for 1 s"):
            migrate(empty, OURS, lock_patience_s=1)


# --- the verb ---------------------------------------------------------------------------------------------------


def run(*arguments: str, url: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(app, ["migrate", "--env-file", os.devnull, *arguments], env={"DATABASE_URL": url})
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def test_the_verb_tells_what_it_does(postgres: postgres_server.Server, empty: str) -> None:
    if "host=/" in postgres.address:  # a URL names a socket's folder by its query
        parts = psycopg.conninfo.conninfo_to_dict(empty)
        empty = f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}"
    code, told = run("--dry-run", url=empty)
    assert (code, told.count("would apply")) == (0, len(OURS))
    code, told = run("--seed", url=empty)
    assert (code, told.count("applied 2026"), "applied seed/tools.sql" in told) == (0, len(OURS), True)
    assert run(url=empty) == (0, f"Nothing is missing: {len(OURS)} migrations were applied before.\n")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "DATABASE_URL is not set"),
        ("mysql://host/db", r"should hold postgresql://user:password@host:5432/database"),
        ("postgresql://me:hunter22@127.0.0.1:9/db", "DATABASE_URL cannot be reached"),
        ("postgresql://me:hunter22@[::1/db", "DATABASE_URL is no connection string"),
    ],
)
def test_a_database_that_cannot_be_is_told_without_its_password(url: str, sentence: str) -> None:
    code, told = run(url=url)
    assert code != 0
    assert sentence in told
    assert "hunter22" not in told
