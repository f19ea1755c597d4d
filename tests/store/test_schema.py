"""The SQL that only PostgreSQL has, run for real: who may do what, how the record comes in, how it ends, the tools."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import postgres_server
import psycopg
import pytest
from psycopg.errors import CheckViolation, ExclusionViolation

from voice_gateway.store.records import new_id

pytestmark = pytest.mark.postgres


def one(database: psycopg.Connection[Any], sql: str, *values: Any) -> Any:
    """The one value that a query gives."""
    row = database.execute(sql, values).fetchone()
    assert row is not None
    return row[0]


# --- who may do what --------------------------------------------------------------------------------------------


def test_strangers_reach_nothing_and_the_gateway_everything(database: psycopg.Connection[Any]) -> None:
    tables = [row[0] for row in database.execute("select tablename from pg_tables where schemaname = 'public'")]
    assert len(tables) == 17
    for table in tables:
        assert attempt(database, "service_role", f"table {table} limit 1"), table
        assert attempt(database, "service_role", f"lock {table} in exclusive mode"), table  # for who may write
        assert not attempt(database, "anon", f"table {table} limit 1"), table
        assert not attempt(database, "anon", f"lock {table} in row exclusive mode"), table
        assert not attempt(database, "authenticated", f"lock {table} in row exclusive mode"), table
    assert attempt(database, "service_role", "table pnl")
    assert not attempt(database, "authenticated", "table pnl")


def test_every_table_has_its_rows_secured(database: psycopg.Connection[Any]) -> None:
    sql = "select tablename from pg_tables where schemaname = 'public' and not rowsecurity"
    assert database.execute(sql).fetchall() == []


def attempt(database: psycopg.Connection[Any], role: str, sql: str) -> bool:
    database.execute(f"set role {role}")
    try:
        with database.transaction():
            database.execute(sql)
    except psycopg.errors.InsufficientPrivilege:
        return False
    finally:
        database.execute("reset role")
    return True


@pytest.mark.parametrize(("role", "seen"), [("ops", 1), ("customer", 0)])
@pytest.mark.parametrize("table", ["calls", "call_consents"])
def test_staff_read_the_record_and_others_see_no_row(
    table: str, role: str, seen: int, database: psycopg.Connection[Any]
) -> None:
    database.execute("insert into calls (call_sid) values ('CAstaff') on conflict do nothing")
    consent(database, "CAstaff", "01930000-0000-7000-8000-00000000beef")
    claims = orjson.dumps({"app_metadata": {"role": role}}).decode()
    database.execute("select set_config('request.jwt.claims', %s, false)", [claims])
    database.execute("set role authenticated")
    try:
        rows = database.execute(f"select 1 from {table} where call_sid = 'CAstaff'").fetchall()  # noqa: S608 - ours
    finally:
        database.execute("reset role")
        database.execute("select set_config('request.jwt.claims', '', false)")
    assert len(rows) == seen


def test_strangers_may_not_call_the_functions(database: psycopg.Connection[Any]) -> None:
    calls = [
        "purge_calls(now())", "upsert_call('{}')", "ingest_call_events('[]')", "redeem_voucher('X')",
        "store_call_rows('[]', '[]', '[]', '[]', '[]', '[]')", "upsert_recording('{}')",
    ]  # fmt: skip
    for call in calls:
        assert not attempt(database, "anon", f"select {call}"), call
        assert not attempt(database, "authenticated", f"select {call}"), call
    assert attempt(database, "service_role", """select upsert_call('{"call_sid": "CAfn"}')""")
    assert attempt(database, "service_role", "select ingest_call_events('[]'), redeem_voucher('X')")


def test_every_function_is_the_gateways_alone_and_finds_its_tables_by_itself(database: psycopg.Connection[Any]) -> None:
    functions = database.execute(
        "select p.oid::regprocedure::text, p.proconfig, p.prosecdef, has_function_privilege('anon', p.oid, 'execute'), "
        "has_function_privilege('authenticated', p.oid, 'execute'), "
        "has_function_privilege('service_role', p.oid, 'execute') "
        "from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype "
        "and p.provolatile <> 'i' "  # what reads no table tells nobody anything
        "and not exists (select 1 from pg_depend d where d.objid = p.oid and d.deptype = 'e')"
    ).fetchall()
    names = {name.partition("(")[0] for name, *_ in functions}
    assert {"menu_of", "place_order", "book_appointment", "redeem_voucher", "ingest_call_events"} <= names
    for name, config, definer, anon, authenticated, service in functions:
        assert not anon, name
        assert not authenticated, name
        assert service, name
        assert any(each.startswith("search_path=") for each in config or []), name
        assert not definer, name


# --- how the record comes in ------------------------------------------------------------------------------------


def event(call_sid: str, seq: int | None = 1, **more: Any) -> dict[str, Any]:
    return {"id": new_id(), "call_sid": call_sid, "event_type": "DTMF", "payload": {"digit": "1"}, "seq": seq} | more


def ingest(database: psycopg.Connection[Any], events: Any) -> dict[str, Any]:
    answer: dict[str, Any] = one(database, "select ingest_call_events(%s::jsonb)", orjson.dumps(events).decode())
    return answer


def test_an_event_is_stored_once_however_often_it_comes(database: psycopg.Connection[Any]) -> None:
    sent = event("CAonce")
    assert ingest(database, [sent]) == {"received": 1, "stored": 1, "known": 0, "refused": []}
    assert ingest(database, [sent]) == {"received": 1, "stored": 0, "known": 1, "refused": []}
    assert ingest(database, []) == {"received": 0, "stored": 0, "known": 0, "refused": []}


def test_an_event_brings_what_it_changes(database: psycopg.Connection[Any]) -> None:
    first, second = event("CAfold"), event("CAfold", 2)
    turn = {"id": second["id"], "call_sid": "CAfold", "seq": 2, "speaker": "user", "text": "hello"}
    usage = {"id": second["id"], "call_sid": "CAfold", "response_id": "r1", "input_audio_tokens": 7}
    events = [
        first | {"call": {"call_sid": "CAfold", "last_seq": 1, "persona": "waiter", "created_at": "2026-01-01T00:00Z"}},
        second | {"call": {"call_sid": "CAfold", "last_seq": 2, "status": "completed"}, "turn": turn, "usage": usage},
    ]
    for _ in range(2):
        ingest(database, orjson.dumps(events).decode())  # a string that holds JSON
    row = database.execute(
        "select persona, status, last_seq, created_at::date::text from calls where call_sid = 'CAfold'"
    ).fetchone()
    assert row == ("waiter", "completed", 2, "2026-01-01")
    assert one(database, "select count(*) from call_events where call_sid = 'CAfold'") == 2
    assert database.execute("select text from call_turns where call_sid = 'CAfold'").fetchall() == [("hello",)]
    assert one(database, "select sum(input_audio_tokens) from call_usage where call_sid = 'CAfold'") == 7


def test_a_bad_row_is_named_and_costs_no_other(database: psycopg.Connection[Any]) -> None:
    good, no_call, no_time, bad_patch, double = (event("CAbad", seq) for seq in (1, 2, 3, 4, 1))
    no_call["call_sid"] = None
    no_time["occurred_at"] = "half past nine"
    bad_patch["call"] = {"call_sid": "CAbad", "status": "nonsense"}
    only_a_change = {"call": {"call_sid": "CAbad", "persona": "waiter"}}
    answer = ingest(database, [good, no_call, no_time, bad_patch, double, only_a_change, {}])
    assert (answer["received"], answer["stored"], answer["known"]) == (7, 2, 0)
    assert [(each["index"], each["part"], each["code"]) for each in answer["refused"]] == [
        (1, "event", "23502"), (2, "event", "22007"), (3, "call", "23514"), (4, "event", "23505"),
        (6, "event", "23502"),
    ]  # fmt: skip
    assert [each["id"] for each in answer["refused"]] == [
        no_call["id"],
        no_time["id"],
        bad_patch["id"],
        double["id"],
        None,
    ]
    assert one(database, "select persona from calls where call_sid = 'CAbad'") == "waiter"


@pytest.mark.parametrize(
    "hostile",
    [
        {"call_sid": "".join(new_id() for _ in range(300))},  # no index holds such a key
        {"id": "no uuid"},
        {"seq": 2**63},
        {"leg": 40_000},
        {"occurred_at": "+999999-01-01"},
        {"turn": {"speaker": "nobody"}},
        {"turn": 7},
        {"call": []},
        {"usage": {"id": "no uuid"}},
    ],
)
def test_hostile_rows_are_refused_and_the_neighbour_stays(
    hostile: dict[str, Any], database: psycopg.Connection[Any]
) -> None:
    sid = new_id()
    answer = ingest(database, [event(sid, 2), event(sid, 1) | hostile, event(sid, 3)])
    assert [each["index"] for each in answer["refused"]] == [1]
    assert one(database, "select count(*) from call_events where call_sid = %s and seq in (2, 3)", sid) == 2


def test_too_many_at_a_time_are_refused_as_a_whole(database: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="at most 2000 events at a time, these are 2001"):
        ingest(database, [{}] * 2001)


# --- how it ends ------------------------------------------------------------------------------------------------


def test_retention_takes_old_ended_calls_in_bites_with_all_that_is_theirs(database: psycopg.Connection[Any]) -> None:
    while one(database, "select purge_calls('2020-06-01', 500)"):
        pass  # what other tests left behind is not counted here
    database.execute(
        "insert into calls (call_sid, created_at, ended_at) "
        "select 'CAold' || n, '2020-01-01'::timestamptz + n * interval '1 second', '2020-01-02' "
        "from generate_series(1, 12) n; "
        "insert into calls (call_sid, created_at) values ('CAdead', '2020-01-01'); "
        "insert into calls (call_sid, created_at, ended_at, purge_after) "
        "values ('CAkept', '2020-01-01', '2020-01-01', '2030-01-01')"
    )
    database.execute("insert into call_events (call_sid, event_type) values ('CAold1', 'CALL_ENDED')")
    ingest(database, [{"turn": {"id": new_id(), "call_sid": "CAold1", "seq": 1, "speaker": "user"}}])
    recorded(database, "CAold1", "deleted")
    bites = [one(database, "select purge_calls('2020-06-01', 5)") for _ in range(4)]
    assert bites == [5, 5, 3, 0], "one that never ended has died long ago"
    for table in ("calls", "call_events", "call_turns", "call_usage", "call_recordings", "call_consents"):
        assert one(database, f"select count(*) from {table} where call_sid like 'CAold%%'") == 0, table  # noqa: S608
    kept = database.execute("select call_sid from calls where call_sid in ('CAdead', 'CAkept')").fetchall()
    assert kept == [("CAkept",)]


def test_retention_leaves_a_live_call_and_takes_rows_that_have_no_call(database: psycopg.Connection[Any]) -> None:
    database.execute("insert into calls (call_sid) values ('CAlive')")
    database.execute(
        "insert into call_events (call_sid, event_type, created_at) values "
        "('CAlive', 'DTMF', '2018-01-01'), ('CAlost', 'DTMF', '2018-01-01'), ('CAlost', 'DTMF', now())"
    )
    while one(database, "select purge_calls(now() - interval '1 minute', 500)"):
        pass
    left = database.execute("select call_sid from call_events where call_sid in ('CAlive', 'CAlost')").fetchall()
    assert left == [("CAlive",)]
    assert one(database, "select count(*) from calls where call_sid = 'CAlive'") == 1


def test_without_a_clock_of_its_own_the_database_says_so_and_keeps_what_it_was_told(
    database: psycopg.Connection[Any],
) -> None:
    with database.transaction():
        database.execute("set local role service_role")
        assert [one(database, "select keep_calls_for(%s)", days) for days in (90, 30)] == [False, False]
    assert one(database, "select days from voice_gateway.retention") == 30
    assert not attempt(database, "anon", "select keep_calls_for(1)")
    assert not attempt(database, "authenticated", "select keep_calls_for(1)")
    assert not attempt(database, "service_role", "select voice_gateway.purge_due()")
    database.execute("delete from voice_gateway.retention")


@pytest.mark.parametrize(("delete_after", "taken"), [(None, 0), ("2099-01-01", 0), ("2020-01-01", 1)])
def test_a_call_stays_while_its_recording_is_stored(
    delete_after: str | None, taken: int, database: psycopg.Connection[Any]
) -> None:
    sid = new_id()
    database.execute(
        "insert into calls (call_sid, created_at, ended_at) values (%s, '2019-01-01', '2019-01-01')", [sid]
    )
    recorded(database, sid, "stored", delete_after)
    assert one(database, "select purge_calls('2019-06-01')") == taken, "and does not keep the sweeper running for ever"
    database.execute("update call_recordings set status = 'deleted' where call_sid = %s", [sid])
    assert one(database, "select purge_calls('2019-06-01')") == 1 - taken


def recorded(database: psycopg.Connection[Any], call_sid: str, status: str, delete_after: str | None = None) -> None:
    consent(database, call_sid, new_id())
    database.execute(
        "insert into call_recordings (id, call_sid, consent, status, delete_after) values (%s, %s, 'keypress', %s, %s)",
        [new_id(), call_sid, status, delete_after],
    )


def consent(database: psycopg.Connection[Any], call_sid: str, consent_id: str) -> None:
    database.execute(
        "insert into call_consents (id, call_sid, kind, decision, method) "
        "values (%s, %s, 'recording', 'granted', 'keypress') on conflict do nothing",
        [consent_id, call_sid],
    )


def test_a_recording_that_is_over_does_not_begin_again(database: psycopg.Connection[Any]) -> None:
    recording = {"id": new_id(), "call_sid": "CArec", "path": "a.wav"}
    began = recording | {"status": "recording", "consent": "notice", "created_at": "2026-01-01T00:00:00Z"}
    stored = recording | {"status": "stored", "bytes": 44, "created_at": "2026-01-01T00:01:00Z"}
    for told in (stored, began, stored):
        ingest(database, [event("CArec", seq=None, recording=told)])
    row = database.execute(
        "select status, consent, bytes, created_at = '2026-01-01T00:00:00Z' from call_recordings "
        "where call_sid = 'CArec'"
    ).fetchone()
    assert row == ("stored", "notice", 44, True)
    ingest(database, [event("CArec", seq=None, recording=recording | {"status": "deleted"})])
    ingest(database, [event("CArec", seq=None, recording=stored)])
    assert one(database, "select status from call_recordings where call_sid = 'CArec'") == "deleted"


# --- the tools' tables ------------------------------------------------------------------------------------------


@pytest.fixture
def seeded(postgres: postgres_server.Server, fresh: str, migrations: list[Path]) -> Iterator[psycopg.Connection[Any]]:
    with postgres.connect(fresh) as database:
        for path in sorted((migrations[0].parent / "seed").glob("*.sql")):
            database.execute(path.read_text())
        yield database


def test_the_month_adds_up(seeded: psycopg.Connection[Any]) -> None:
    month = seeded.execute("select revenue, cogs, opex, ebitda from pnl where period = '2026-08'").fetchone()
    assert month == (120_000, 46_000, 40_000, 34_000)


def test_a_voucher_is_redeemed_once_however_many_ask_at_once(
    postgres: postgres_server.Server, fresh: str, seeded: psycopg.Connection[Any]
) -> None:
    def redeem(number: int) -> dict[str, Any]:
        with postgres.connect(fresh) as database:
            answer: dict[str, Any] = one(database, "select redeem_voucher(' save2024 ', null, %s)", f"CA{number}")
            return answer

    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(redeem, range(24)))
    winners = [number for number, answer in enumerate(answers) if answer["success"]]
    assert len(winners) == 1
    assert {answer["error"] for answer in answers if not answer["success"]} == {"already_redeemed"}
    again = redeem(winners[0])
    assert (again["success"], again["repeat"], again["voucher"]["value"]) == (True, True, 1000)
    assert one(seeded, "select redeem_voucher('OLD2020')")["error"] == "expired"
    assert one(seeded, "select redeem_voucher('NONE')")["error"] == "not_found"


def test_two_appointments_never_overlap(seeded: psycopg.Connection[Any]) -> None:
    def book(begin: str, end: str, calendar: str = "main") -> None:
        seeded.execute(
            "insert into appointments (calendar, starts_at, ends_at, customer_name) values (%s, %s, %s, 'A. Guest')",
            [calendar, f"2026-12-01 {begin}+00", f"2026-12-01 {end}+00"],
        )

    with pytest.raises(ExclusionViolation):
        book("09:15", "09:45")
    book("09:30", "10:00")  # between the two that are there
    book("09:15", "09:45", "upstairs")
    seeded.execute("update appointments set status = 'canceled' where reason = 'First consultation'")
    book("09:00", "09:30")
    with pytest.raises(CheckViolation):
        book("12:00", "12:00")


def test_two_who_book_the_same_time_at_once_get_it_once(
    postgres: postgres_server.Server, fresh: str, seeded: psycopg.Connection[Any]
) -> None:
    def book(_number: int) -> bool:
        with postgres.connect(fresh) as database:
            try:
                database.execute(
                    "insert into appointments (starts_at, ends_at, customer_name) "
                    "values ('2026-12-02 09:00+00', '2026-12-02 10:00+00', 'A. Guest')"
                )
            except ExclusionViolation:
                return False
            return True

    with ThreadPoolExecutor(8) as callers:
        assert sorted(callers.map(book, range(16)))[-2:] == [False, True]
