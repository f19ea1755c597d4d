"""The SQL for PostgreSQL, run for real; and the embedded tables held against it, column for column."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from voice_gateway.store.database import UPSERT_CALL, open_database
from voice_gateway.store.records import CallPatch, call_row, new_id

pytestmark = pytest.mark.postgres

TABLES = ["calls", "call_events", "menu_items", "pairings"]
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


def test_migrations_and_seed_run_over_themselves(database: psycopg.Connection[Any], migrations: list[Path]) -> None:
    before = shape(database)
    seed = migrations[0].parent / "seed.sql"
    for path in [*migrations, seed, seed]:
        database.execute(path.read_text())
    assert shape(database) == before
    assert database.execute("select count(*) from pairings").fetchone() == (5,)


def shape(database: psycopg.Connection[Any]) -> list[Any]:
    return database.execute(
        "select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns "
        "where table_schema = 'public' order by 1, ordinal_position"
    ).fetchall()


def test_tables_of_existing_users_keep_their_rows(database: psycopg.Connection[Any], migrations: list[Path]) -> None:
    """The two first tables as they were, with a row each, then everything on top."""
    database.execute("create schema earlier; set search_path to earlier, extensions")
    try:
        database.execute(migrations[0].read_text())
        database.execute("insert into calls (call_sid, from_number) values ('CAold', '+250788000001')")
        database.execute("insert into call_events (call_sid, event_type) values ('CAold', 'CALL_STARTED')")
        gateway = migrations[1].read_text().split("create or replace function")[0]
        database.execute(gateway)
        row = database.execute("select from_number, status, channel, last_seq from calls").fetchone()
        assert row == ("+250788000001", "in_progress", "twilio", 0)
        assert database.execute("select leg, seq, schema_version from call_events").fetchone() == (1, None, 1)
    finally:
        database.execute("drop schema earlier cascade; set search_path to default")


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
    expected = [
        (name, TYPES[kind], nullable == "NO", "identity" if identity == "YES" else plain_default(default))
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


# --- folding ----------------------------------------------------------------------------------------------------

TEXTS = st.none() | st.sampled_from(["a", "b", "c"])
TIMES = st.none() | st.sampled_from(["2026-11-21T20:00:00.000Z", "2026-11-21T21:00:00.000Z"])
PATCHES = st.builds(
    CallPatch,
    call_sid=st.just(""),
    last_seq=st.integers(0, 4),
    from_number=TEXTS, transcript=TEXTS, persona=TEXTS, end_reason=TEXTS,
    status=st.none() | st.sampled_from(["ringing", "in_progress", "completed", "failed"]),
    channel=st.none() | st.sampled_from(["browser", "sip"]),
    answered_at=TIMES, ended_at=TIMES,
    duration_ms=st.none() | st.integers(0, 3),
    cost_usd=st.none() | st.sampled_from([0.0, 0.000123, 1.5]),
    meta=st.dictionaries(
        st.sampled_from("xyz"), st.none() | st.integers(0, 3) | st.dictionaries(st.just("k"), st.booleans())
    ),
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PATCHES, min_size=1, max_size=6))
@example(
    [CallPatch("", 9, ended_at="2026-11-21T20:00:00.000Z", status="completed"), CallPatch("", 12, status="ringing")]
)
@example(
    [CallPatch("", 10, summary="later"), CallPatch("", 9, status="completed", ended_at="2026-11-21T20:00:00.000Z")]
)
def test_patches_fold_alike_in_both_databases(
    database: psycopg.Connection[Any], embedded: sqlite3.Connection, patches: list[CallPatch]
) -> None:
    sid = new_id()
    for patch in patches:
        row = call_row(patch) | {"call_sid": sid}
        embedded.execute(UPSERT_CALL, row)
        given_fields = {name: value for name, value in row.items() if value is not None}
        given_fields["meta"] = orjson.loads(row["meta"])
        database.execute("select upsert_call(%s::jsonb)", [orjson.dumps(given_fields).decode()])
    assert folded_row(embedded, sid) == postgres_row(database, sid)


def folded_row(db: sqlite3.Connection, sid: str) -> dict[str, Any]:
    cursor = db.execute("select * from calls where call_sid = ?", [sid])
    row = dict(zip([each[0] for each in cursor.description], cursor.fetchone(), strict=True))
    return comparable(row | {"meta": orjson.loads(row["meta"])})


def postgres_row(database: psycopg.Connection[Any], sid: str) -> dict[str, Any]:
    found = database.execute("select to_jsonb(c) from calls c where call_sid = %s", [sid]).fetchone()
    assert found is not None
    row = found[0]
    for name in ("answered_at", "ended_at"):
        if row[name]:
            row[name] = row[name].replace("+00:00", ".000Z")
    return comparable(row)


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k not in ("id", "created_at", "updated_at")} | {
        "cost_usd": float(row["cost_usd"])
    }


# --- what only Postgres has -------------------------------------------------------------------------------------


def test_ingest_stores_once_and_names_the_refused(database: psycopg.Connection[Any]) -> None:
    good, bad = new_id(), new_id()
    events = [
        {"id": good, "call_sid": "CAing", "event_type": "DTMF", "payload": {"digit": "1"}, "seq": 1},
        {"id": bad, "call_sid": None, "event_type": "DTMF"},
    ]
    assert ingest(database, events) == (2, 1, 0, [bad])
    assert ingest(database, events[:1]) == (1, 0, 1, [])


def ingest(database: psycopg.Connection[Any], events: list[dict[str, Any]]) -> tuple[int, int, int, list[str]]:
    row = database.execute("select ingest_call_events(%s::jsonb)", [orjson.dumps(events).decode()]).fetchone()
    assert row is not None
    answer = row[0]
    return answer["received"], answer["stored"], answer["known"], [each["id"] for each in answer["refused"]]


def test_purge_takes_old_ended_calls_with_their_events(database: psycopg.Connection[Any]) -> None:
    database.execute("insert into calls (call_sid, created_at, ended_at) values ('CApast', '2020-01-01', '2020-01-01')")
    database.execute("insert into calls (call_sid, created_at) values ('CAlive', '2020-01-01')")
    database.execute("insert into call_events (call_sid, event_type) values ('CApast', 'CALL_ENDED')")
    assert database.execute("select purge_calls('2020-06-01')").fetchone() == (1,)
    assert database.execute("select purge_calls('2020-06-01')").fetchone() == (0,)
    assert database.execute("select count(*) from call_events where call_sid = 'CApast'").fetchone() == (0,)
    assert database.execute("select count(*) from calls where call_sid = 'CAlive'").fetchone() == (1,)


@pytest.mark.parametrize("table", TABLES)
def test_strangers_reach_nothing_and_the_gateway_everything(table: str, database: psycopg.Connection[Any]) -> None:
    assert attempt(database, "service_role", f"table {table} limit 1")
    assert attempt(database, "service_role", f"truncate {table} cascade")
    assert not attempt(database, "anon", f"table {table} limit 1")
    assert not attempt(database, "authenticated", f"truncate {table}")


def attempt(database: psycopg.Connection[Any], role: str, sql: str) -> bool:
    database.execute(f"set role {role}")
    try:
        database.execute(sql)
    except psycopg.errors.InsufficientPrivilege:
        return False
    finally:
        database.execute("reset role")
    return True


@pytest.mark.parametrize(("role", "seen"), [("ops", 1), ("customer", 0)])
def test_staff_read_the_record_and_others_see_no_row(role: str, seen: int, database: psycopg.Connection[Any]) -> None:
    database.execute("insert into calls (call_sid) values ('CAstaff') on conflict do nothing")
    claims = orjson.dumps({"app_metadata": {"role": role}}).decode()
    database.execute("select set_config('request.jwt.claims', %s, false)", [claims])
    database.execute("set role authenticated")
    try:
        rows = database.execute("select 1 from calls where call_sid = 'CAstaff'").fetchall()
    finally:
        database.execute("reset role")
    assert len(rows) == seen


def test_strangers_may_not_call_the_functions(database: psycopg.Connection[Any]) -> None:
    assert not attempt(database, "anon", "select purge_calls(now())")
    assert not attempt(database, "authenticated", "select upsert_call('{}')")
    assert attempt(database, "service_role", """select upsert_call('{"call_sid": "CAfn"}')""")
