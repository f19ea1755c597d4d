"""The folding rule stands twice, in SQL for PostgreSQL and for SQLite: the same patches give the same row."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from voice_gateway.store.database import open_database
from voice_gateway.store.records import CallPatch, call_row, new_id
from voice_gateway.store.statements import upsert_call

pytestmark = pytest.mark.postgres


@pytest.fixture
def embedded(tmp_path: Path) -> Any:
    with closing(open_database(tmp_path / "embedded.db")) as db:
        yield db


TEXTS = st.none() | st.sampled_from(["a", "b", "c"])
TIMES = st.none() | st.sampled_from(["2026-11-21T20:00:00.000Z", "2026-11-21T21:00:00.000Z"])
BEGINNINGS = st.none() | st.sampled_from(["2020-01-01T20:00:00.000Z", "2020-01-01T21:00:00.000Z"])
PATCHES = st.builds(
    CallPatch,
    call_sid=st.just(""),
    last_seq=st.integers(0, 4),
    from_number=TEXTS, transcript=TEXTS, persona=TEXTS, end_reason=TEXTS,
    status=st.none() | st.sampled_from(["ringing", "in_progress", "completed", "failed"]),
    channel=st.none() | st.sampled_from(["browser", "sip"]),
    answered_at=TIMES, ended_at=TIMES, created_at=BEGINNINGS,
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
        embedded.execute(*upsert_call(row))
        given_fields = {name: value for name, value in row.items() if value is not None}
        given_fields["meta"] = orjson.loads(row["meta"])
        database.execute("select upsert_call(%s::jsonb)", [orjson.dumps(given_fields).decode()])
    untold = all(patch.created_at is None for patch in patches)
    assert folded_row(embedded, sid, untold=untold) == postgres_row(database, sid, untold=untold)


def folded_row(db: sqlite3.Connection, sid: str, *, untold: bool) -> dict[str, Any]:
    cursor = db.execute("select * from calls where call_sid = ?", [sid])
    row = dict(zip([each[0] for each in cursor.description], cursor.fetchone(), strict=True))
    return comparable(row | {"meta": orjson.loads(row["meta"])}, untold=untold)


def postgres_row(database: psycopg.Connection[Any], sid: str, *, untold: bool) -> dict[str, Any]:
    found = database.execute("select to_jsonb(c) from calls c where call_sid = %s", [sid]).fetchone()
    assert found is not None
    row = found[0]
    for name in ("answered_at", "ended_at", "created_at"):
        if row[name]:
            row[name] = row[name].replace("+00:00", ".000Z")
    return comparable(row, untold=untold)


def comparable(row: dict[str, Any], *, untold: bool) -> dict[str, Any]:
    """The row without what each database makes itself. untold: nobody said when the call began."""
    own = {"id", "updated_at"} | ({"created_at"} if untold else set())
    return {k: v for k, v in row.items() if k not in own} | {"cost_usd": float(row["cost_usd"])}
