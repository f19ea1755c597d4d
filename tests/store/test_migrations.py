"""The SQL for PostgreSQL, run for real; and the embedded tables held against it, column for column."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import postgres_server
import psycopg
import pytest

from voice_gateway.store.database import open_database

pytestmark = pytest.mark.postgres

TABLES = [
    "calls", "call_events", "call_turns", "call_usage", "call_consents", "call_recordings", "menu_items", "pairings",
]  # fmt: skip
TYPES = {
    "uuid": "TEXT", "text": "TEXT", "jsonb": "TEXT", "timestamp with time zone": "TEXT", "numeric": "NUMERIC",
    "bigint": "INTEGER", "integer": "INTEGER", "smallint": "INTEGER", "boolean": "INTEGER",
}  # fmt: skip


@pytest.fixture
def embedded(tmp_path: Path) -> Any:
    with closing(open_database(tmp_path / "embedded.db")) as db:
        yield db


def test_names_are_those_the_supabase_tool_accepts(migrations: list[Path]) -> None:
    assert len(migrations) >= 3
    for path in migrations:
        assert re.fullmatch(r"\d{14}_[a-z0-9_]+\.sql", path.name)


def test_migrations_and_seed_run_over_themselves(
    postgres: postgres_server.Server, fresh: str, migrations: list[Path]
) -> None:
    seed = sorted((migrations[0].parent / "seed").glob("*.sql"))
    assert [path.name for path in seed] == ["menu.sql", "tools.sql"]
    with postgres.connect(fresh) as database:
        before = shape(database)
        for path in [*migrations, *seed, *migrations, *seed]:
            database.execute(path.read_text())
        assert shape(database) == before
        rows = database.execute("select (select count(*) from pairings), (select count(*) from gl_lines)").fetchone()
        assert rows == (5, 12)


def test_a_postgres_without_supabase_takes_them_too(postgres: postgres_server.Server, migrations: list[Path]) -> None:
    with postgres.database("plain") as name, postgres.connect(name) as database:
        for path in migrations:
            database.execute(path.read_text())
        assert database.execute("select auth.jwt()").fetchone() == ({},)


def shape(database: psycopg.Connection[Any]) -> list[Any]:
    return database.execute(
        "select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns "
        "where table_schema = 'public' order by 1, ordinal_position"
    ).fetchall()


def test_tables_of_existing_users_keep_their_rows(postgres: postgres_server.Server, migrations: list[Path]) -> None:
    """The two first tables as they were, with a row each, then everything on top."""
    with postgres.database("earlier") as name, postgres.connect(name) as database:
        database.execute(migrations[1].read_text())
        database.execute("insert into calls (call_sid, from_number) values ('CAold', '+250788000001')")
        database.execute("insert into call_events (call_sid, event_type) values ('CAold', 'CALL_STARTED')")
        for path in migrations:
            database.execute(path.read_text())
        row = database.execute("select from_number, status, channel, last_seq from calls").fetchone()
        assert row == ("+250788000001", "in_progress", "twilio", 0)
        assert database.execute("select leg, seq, schema_version from call_events").fetchone() == (1, None, 1)


STORAGE = """
create schema storage;
create table storage.buckets (id text primary key, name text not null unique, public boolean default false);
"""
CRON = """
create schema cron;
create table cron.job (jobid bigserial, jobname text unique, schedule text, command text, active boolean default true);
create function cron.schedule(name text, schedule text, command text) returns bigint language sql as
  $$ insert into cron.job (jobname, schedule, command) values ($1, $2, $3)
     on conflict (jobname) do update set schedule = excluded.schedule, command = excluded.command returning jobid $$;
"""


def test_where_there_is_storage_a_private_bucket_is_made_and_one_that_is_there_is_left(
    postgres: postgres_server.Server, migrations: list[Path]
) -> None:
    for there in (None, True):
        with postgres.database("stored") as name, postgres.connect(name) as database:
            database.execute(STORAGE)
            if there is not None:
                database.execute("insert into storage.buckets values ('recordings', 'recordings', %s)", [there])
            for path in [*migrations, *migrations]:
                database.execute(path.read_text())
            assert database.execute("select id, public from storage.buckets").fetchall() == [
                ("recordings", bool(there)),
            ]


def test_where_there_is_pg_cron_the_database_sees_to_retention_by_itself(
    postgres: postgres_server.Server, migrations: list[Path]
) -> None:
    """With pg_cron's function and table in the words of its manual; the command that it is given is run as it would."""
    with postgres.database("clocked") as name, postgres.connect(name) as database:
        database.execute(CRON)
        for path in [*migrations, *migrations]:
            database.execute(path.read_text())
        row = database.execute("select jobname, schedule, command from cron.job").fetchone()
        assert row is not None
        assert row[:2] == ("voice-gateway-retention", "*/5 * * * *")
        database.execute(
            "insert into calls (call_sid, created_at, ended_at) select 'CA' || n, now() - n * interval '1 day', now() "
            "from generate_series(0, 2999) n"
        )
        left: list[Any] = []
        for days in (None, 0, 1500, 10, 0):
            if days is not None:
                assert database.execute("select keep_calls_for(%s)", [days]).fetchone() == (True,)
            for _ in range(2):
                database.execute(row[2])
            left += database.execute("select count(*) from calls").fetchone() or ()
        assert left == [3000, 3000, 1500, 10, 10], "a thousand at a time"
        database.execute("update voice_gateway.retention set ran_at = now() - interval '25 hours'")
        assert database.execute("select keep_calls_for(10)").fetchone() == (False,), "its clock has stopped"


# --- the embedded tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_embedded_columns_are_those_of_postgres(
    table: str, database: psycopg.Connection[Any], embedded: sqlite3.Connection
) -> None:
    columns = database.execute(
        "select column_name, data_type, is_nullable, column_default, is_identity from information_schema.columns "
        "where table_schema = 'public' and table_name = %s order by ordinal_position",
        [table],
    ).fetchall()
    # Prices are exact decimals: SQLite has none, so they are text there.
    expected = [
        (
            name,
            "TEXT" if name == "price" else TYPES[kind],
            nullable == "NO",
            "identity" if identity == "YES" else plain_default(default),
        )
        for name, kind, nullable, default, identity in columns
    ]
    found = [
        (name, kind.upper(), bool(not_null), "identity" if key and kind == "INTEGER" else plain_default(default))
        for _, name, kind, not_null, default, key in embedded.execute(f"pragma table_info({table})")
    ]
    assert found == expected


def plain_default(default: str | None) -> str | None:
    """A column's default in the words of neither database."""
    if default is None:
        return None
    if "gen_random_uuid" in default or "randomblob" in default:
        return "fresh uuid"
    if "now()" in default or "'now'" in default:
        return "now"
    return re.sub(r"::\w+$", "", default)


@pytest.mark.parametrize("table", TABLES)
def test_embedded_unique_keys_are_those_of_postgres(
    table: str, database: psycopg.Connection[Any], embedded: sqlite3.Connection
) -> None:
    keys = database.execute(
        "select array_agg(a.attname::text order by a.attname), i.indpred is not null from pg_index i "
        "join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey) "
        "where i.indisunique and i.indrelid = %s::regclass group by i.indexrelid, i.indpred is not null",
        [table],
    ).fetchall()
    assert embedded_keys(embedded, table) == sorted((tuple(columns), partial) for columns, partial in keys)


def embedded_keys(db: sqlite3.Connection, table: str) -> list[tuple[tuple[str, ...], bool]]:
    keys = []
    for _, index, unique, _, partial in db.execute(f"pragma index_list({table})").fetchall():
        if unique:
            columns = sorted(row[2] for row in db.execute(f"pragma index_info({index})"))
            keys.append((tuple(columns), bool(partial)))
    info = db.execute(f"pragma table_info({table})").fetchall()
    if any(row[5] and row[2].upper() == "INTEGER" for row in info):  # the row number itself: no index of its own
        keys.append((("id",), False))
    return sorted(keys)


@pytest.mark.parametrize("column", ["status", "channel"])
def test_embedded_checks_allow_the_words_of_postgres(
    column: str, database: psycopg.Connection[Any], embedded: sqlite3.Connection
) -> None:
    row = database.execute(
        "select pg_get_constraintdef(oid) from pg_constraint where conrelid = 'calls'::regclass and conname = %s",
        [f"calls_{column}_check"],
    ).fetchone()
    assert row is not None
    words = re.findall(r"'(\w+)'::text", row[0])
    assert len(words) >= 4
    for word in words:
        allow(embedded, column, word)
    with pytest.raises(sqlite3.IntegrityError, match=column):
        allow(embedded, column, "nonsense")
    (source,) = embedded.execute("select sql from sqlite_master where name = 'calls'").fetchone()
    stated = re.search(rf"check \({column} in\s*\(([^)]*)\)", source)
    assert stated is not None
    assert re.findall(r"'(\w+)'", stated[1]) == words


def allow(db: sqlite3.Connection, column: str, word: str) -> None:
    db.execute(f"insert into calls (call_sid, {column}) values (?, ?)", [f"CA{word}", word])  # noqa: S608 - our own names


def test_embedded_ids_by_default_are_uuids(database: psycopg.Connection[Any], embedded: sqlite3.Connection) -> None:
    made = embedded.execute("insert into calls (call_sid) values ('CA1') returning id").fetchone()
    assert re.fullmatch(
        r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-4[0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}", made[0]
    )
    assert database.execute("select %s::uuid is not null", made).fetchone() == (True,)
