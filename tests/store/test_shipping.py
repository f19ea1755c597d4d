"""From the file to Supabase, whatever happens on the way: all of it arrives, and once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import far_side
import orjson
import pytest
from far_side import QUICK, Shipped, Supabase, shipped
from postgrest_double import ANON_KEY, SERVICE_ROLE_KEY
from starlette.responses import PlainTextResponse, Response
from structlog.testing import capture_logs

from voice_gateway.store.delivery import Delivery, Pauses
from voice_gateway.store.outbox import read_backlog
from voice_gateway.store.records import (
    CallPatch,
    ConsentRecord,
    EventRecord,
    RecordingRecord,
    TurnRecord,
    UsageRecord,
    new_id,
)
from voice_gateway.store.remote import Misconfigured, Rejected, Unavailable, read_retry_after
from voice_gateway.store.shipper import Pace, Shipper
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.supabase import SupabaseRecord

pytestmark = pytest.mark.postgres
Maker = Callable[..., EventRecord]
AT = "2026-11-21T20:00:00Z"
NOT_JSON = "<html>upstream unhappy</html>"


def said(status: int, **headers: str) -> Response:
    """What a gateway in front says when it does not get through."""
    return PlainTextResponse(NOT_JSON, status, {name.replace("_", "-"): value for name, value in headers.items()})


def write_call(store: Any, event: Maker, sid: str = "CA1", events: int = 10) -> list[str]:
    """A whole call; returns the ids of its events."""
    made = [event(seq, sid) for seq in range(1, events + 1)]
    for each in made:
        patch = CallPatch(sid, each.seq, status="completed" if each.seq == events else "in_progress")
        store.write(each, patch if each.seq in (1, events) else None)
    return [each.id for each in made]


async def arrived(rested: Shipped, sid: str = "CA1") -> list[str]:
    return [each["id"] for each in await rested.remote.read_events(sid)]


async def test_facts_arrive_in_batches_and_leave_the_outbox(rested: Shipped, event: Maker) -> None:
    ids = write_call(rested, event, events=1200)
    assert await rested.flush()
    assert await arrived(rested) == ids
    assert (read_backlog(rested.local.path).depth, rested.shipper.delivery.oldest_age_s()) == (0, 0.0)
    assert rested.far.asked.count("/rest/v1/rpc/ingest_call_events") <= 6
    assert len(await rested.local.read_events("CA1")) == 1200, "and stay in the file"


async def test_new_facts_wait_for_company(tmp_path: Path, supabase: Supabase, event: Maker) -> None:
    async with shipped(tmp_path / "store.db", supabase, pace=Pace(collect_s=0.5)) as rested:
        await asyncio.sleep(0.05)  # it has looked, and rests
        for seq in range(1, 6):
            rested.write(event(seq))
            await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            while rested.shipper.shipped < 5:  # noqa: ASYNC110 - nobody tells what has arrived
                await asyncio.sleep(0.02)
        assert supabase.asked.count("/rest/v1/rpc/ingest_call_events") == 1


async def test_what_is_folded_from_an_event_arrives_with_it(
    rested: Shipped, event: Maker, database_of: Callable[[], Any]
) -> None:
    told = event(1)
    recording_id = new_id()
    rows = (
        TurnRecord(told.id, "CA1", 1, "assistant", "Good eve", AT, generated="Good evening", heard_ms=7),
        UsageRecord(told.id, "CA1", "resp_1", AT, input_audio_tokens=9, cost_usd=0.001),
        ConsentRecord(told.id, "CA1", "recording", "granted", "keypress", AT, wording="Press 1", evidence={"key": "1"}),
        RecordingRecord(recording_id, "CA1", "recording", AT, consent="keypress", path="a.wav"),
    )
    rested.write(told, None, rows)
    stored = RecordingRecord(recording_id, "CA1", "stored", AT, bytes=44, delete_after="2026-12-21T20:00:00Z")
    rested.write(event(2), None, (stored,))
    assert await rested.flush()
    with database_of() as far, closing(sqlite3.connect(rested.local.path)) as near:
        for database in (far, near):
            for columns, row in [
                ("id, text, generated, heard_ms from call_turns", (told.id, "Good eve", "Good evening", 7)),
                ("response_id, input_audio_tokens, cost_usd from call_usage", ("resp_1", 9, 0.001)),
                ("id, decision, wording from call_consents", (told.id, "granted", "Press 1")),
                (
                    "id, status, consent, path, bytes from call_recordings",
                    (recording_id, "stored", "keypress", "a.wav", 44),
                ),
            ]:
                (found,) = database.execute(f"select {columns}").fetchall()
                assert tuple(map(plain, found)) == row
        row = far.execute(
            "select evidence, extract(day from delete_after) from call_consents, call_recordings"
        ).fetchone()
        assert row == ({"key": "1"}, 21)
    assert read_backlog(rested.local.path).refused == 0


def plain(value: Any) -> Any:
    """A value in the words of neither database."""
    return str(value) if isinstance(value, UUID) else float(value) if isinstance(value, Decimal) else value


@pytest.mark.parametrize("key", [far_side.SECRET_KEY, SERVICE_ROLE_KEY])
async def test_both_kinds_of_key_ship(tmp_path: Path, supabase: Supabase, event: Maker, key: str) -> None:
    async with shipped(tmp_path / "store.db", supabase, key=key) as rested:
        ids = write_call(rested, event)
        assert await rested.flush()
        assert await arrived(rested) == ids


# --- what passes ------------------------------------------------------------------------------------------------


async def test_what_passes_is_tried_again(rested: Shipped, event: Maker) -> None:
    with capture_logs() as logs:
        rested.far.answers += [said(status) for status in (503, 408, 429, 500, 502, 520)]
        ids = write_call(rested, event)
        assert await rested.flush()
    assert await arrived(rested) == ids
    assert rested.shipper.delivery.failures == 6
    assert [each["event"] for each in logs] == ["outbox.failing", "outbox.recovered"], "told once"
    assert "503" in logs[0]["reason"]


async def test_supabase_down_for_the_whole_call_costs_the_call_nothing(
    tmp_path: Path, supabase: Supabase, event: Maker
) -> None:
    supabase.wire.become("down")
    async with shipped(tmp_path / "store.db", supabase) as rested:
        ids = write_call(rested, event)
        assert not await rested.flush(1.0)
        assert [each["id"] for each in await rested.local.read_events("CA1")] == ids
        assert (rested.shipper.delivery.backlog.depth, rested.shipper.delivery.backlog.refused) == (10, 0)
        assert "Connect" in rested.shipper.delivery.last_error or "Read" in rested.shipper.delivery.last_error
        assert rested.shipper.delivery.oldest_age_s() > 0
        assert not rested.local.stuck(asyncio.get_running_loop().time()), "calls go on"
        supabase.wire.become("well")
        assert await rested.flush()
        assert await arrived(rested) == ids
        assert (rested.shipper.delivery.last_error, rested.shipper.delivery.backlog.depth) == ("", 0)


async def test_an_answer_that_was_lost_doubles_nothing(
    rested: Shipped, event: Maker, database_of: Callable[[], Any]
) -> None:
    rested.far.wire.become("loses answers")
    ids = write_call(rested, event, events=30)
    assert not await rested.flush(1.0)
    with database_of() as database:
        stored = database.execute("select count(*) from call_events").fetchone()
    assert stored == (30,), "Supabase has them, and we do not know it"
    assert read_backlog(rested.local.path).depth == 30
    rested.far.wire.become("well")
    assert await rested.flush()
    assert await arrived(rested) == ids
    assert read_backlog(rested.local.path).depth == 0


async def test_silence_is_waited_for_only_so_long(tmp_path: Path, supabase: Supabase, event: Maker) -> None:
    supabase.wire.become("mute")
    async with shipped(tmp_path / "store.db", supabase, timeout_s=0.2) as rested:
        ids = write_call(rested, event)
        assert not await rested.flush(1.0)
        assert "no answer within" in rested.shipper.delivery.last_error
        supabase.wire.become("well")
        assert await rested.flush()
        assert await arrived(rested) == ids


async def test_the_wish_to_be_asked_later_reaches_us(supabase: Supabase) -> None:
    supabase.answers.append(said(429, retry_after="7"))
    remote = SupabaseRecord(supabase.url, far_side.SECRET_KEY)
    with pytest.raises(Unavailable, match="429") as refusal:
        await remote.ingest("[]")
    await remote.close()
    assert refusal.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0), ("0", 0.0), ("Sat, 21 Nov 2026 20:01:00 GMT", 60.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", 0.0), ("-5", 0.0), ("", 0.0), ("9" * 400, 999_999_999.0), ("²", 0.0), ("21 Nov 99999", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date_or_nothing(value: str, seconds: float) -> None:
    now = datetime(2026, 11, 21, 20, 0, tzinfo=UTC).timestamp()
    assert read_retry_after({"retry-after": value}, now) == seconds


class Moody:
    """A remote that fails as it is told to."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.asked = 0

    async def ingest(self, facts: str) -> dict[int, str]:
        assert isinstance(orjson.loads(facts), list)
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return {}

    async def close(self) -> None:
        pass


def pauses(chance: float, *errors: Exception) -> list[float]:
    delivery = Delivery("outbox", Pauses(0.25, 2.0, 120.0), lambda: chance)
    return [delivery.failed(error) for error in errors]


def test_pauses_grow_to_a_limit_with_some_chance_in_them() -> None:
    errors = [Unavailable("busy"), Misconfigured("no key"), *[Unavailable("busy")] * 30]
    assert pauses(1.0, *errors)[:5] == [0.25, 0.5, 1.0, 2.0, 2.0]
    assert pauses(0.0, *errors)[-1] == 1.0


def test_after_a_success_pauses_begin_anew() -> None:
    delivery = Delivery("outbox", Pauses(0.25, 2.0), lambda: 1.0)
    assert [delivery.failed(Unavailable("busy")) for _ in range(3)] == [0.25, 0.5, 1.0]
    delivery.recovered()
    assert (delivery.last_error, delivery.failed(Unavailable("busy"))) == ("", 0.25)


def test_a_wish_is_granted_up_to_a_limit() -> None:
    assert pauses(1.0, Unavailable("later", 7.0), Unavailable("tomorrow", 86_400.0)) == [7.0, 120.0]


async def test_a_fault_of_ours_is_told_and_tried_again(store: SqliteStore, event: Maker) -> None:
    remote = Moody(RuntimeError("oops"), Unavailable("busy"))
    shipper = Shipper(store, remote, QUICK)
    with capture_logs() as logs:
        shipper.start()
        store.write(event(1))
        assert await shipper.flush(10)
        await shipper.close(0.0)
    assert [each["event"] for each in logs] == ["outbox.fault", "outbox.failing", "outbox.recovered"]
    assert (remote.asked, shipper.delivery.failures, shipper.shipped) == (3, 2, 1)


# --- what somebody must put right -------------------------------------------------------------------------------


async def test_what_somebody_must_put_right_keeps_everything(rested: Shipped, event: Maker) -> None:
    rested.far.answers += [said(status) for status in (401, 403, 404, 301, 418)]
    ids = write_call(rested, event)
    assert await rested.flush()
    assert await arrived(rested) == ids
    assert (rested.shipper.delivery.failures, read_backlog(rested.local.path).refused) == (5, 0)


async def test_a_wrong_key_is_told_with_what_to_do(tmp_path: Path, supabase: Supabase, event: Maker) -> None:
    for key, told in [("sb_secret_of_another", "401"), (ANON_KEY, "401, 42501")]:
        async with shipped(tmp_path / f"{told}.db", supabase, key=key) as rested:
            with capture_logs() as logs:
                write_call(rested, event)
                assert not await rested.flush(1.0)
            assert told in rested.shipper.delivery.last_error
            assert "check SUPABASE_SECRET_KEY" in rested.shipper.delivery.last_error
            assert (rested.shipper.delivery.backlog.depth, rested.shipper.delivery.backlog.refused) == (10, 0)
            assert [each["event"] for each in logs] == ["outbox.failing"]
            assert key not in str(logs)


async def test_missing_tables_are_told_with_what_to_do(
    postgres: Any, tmp_path: Path, supabase: Supabase, event: Maker, database_of: Callable[[], Any]
) -> None:
    with database_of() as database:
        database.execute("drop function ingest_call_events(jsonb)")
    async with shipped(tmp_path / "store.db", supabase) as rested:
        write_call(rested, event)
        assert not await rested.flush(1.0)
        assert "PGRST202" in rested.shipper.delivery.last_error
        assert "voice-gateway migrate" in rested.shipper.delivery.last_error


async def test_an_answer_of_somebody_else_is_no_receipt(supabase: Supabase) -> None:
    remote = SupabaseRecord(supabase.url, far_side.SECRET_KEY)
    for body in ("<html>sign in to the hotel's network</html>", "[]", '{"ok": true}', "", "null"):
        supabase.answers.append(PlainTextResponse(body))
        with pytest.raises(Misconfigured):
            await remote.ingest("[]")
    await remote.close()


# --- what is refused --------------------------------------------------------------------------------------------


async def test_a_fact_that_supabase_refuses_is_set_aside_with_its_reason(
    rested: Shipped, event: Maker, database_of: Callable[[], Any]
) -> None:
    """The far tables are of another mind than ours: a column has become narrower there."""
    with database_of() as database:
        database.execute("alter table call_events add constraint short check (length(event_type) < 20)")
    ids = write_call(rested, event, events=3)
    with capture_logs() as logs:
        rested.write(event(4, event_type="A_KIND_WITH_A_VERY_LONG_NAME"), CallPatch("CA1", 4, persona="waiter"))
        rested.write(event(5))
        assert await rested.flush()
    found = await arrived(rested)
    assert (found[:3], len(found)) == (ids, 4)
    assert (await rested.remote.read_call("CA1"))["persona"] == "waiter", "what it changed is not lost with it"
    assert read_backlog(rested.local.path).refused == 1
    assert [(each["event"], each["callSid"]) for each in logs] == [("outbox.refused", "CA1")]
    assert "23514" in logs[0]["reason"]


async def test_a_batch_that_is_not_acceptable_is_halved_until_the_culprit_is_found(
    tmp_path: Path, supabase: Supabase, event: Maker
) -> None:
    class Strict:
        """Refuses a request as a whole when there is poison in it."""

        asked = 0

        async def ingest(self, facts: str) -> dict[int, str]:
            self.asked += 1
            if "poison" in facts:
                raise Rejected("HTTP 413")
            return await remote.ingest(facts)

        async def close(self) -> None:
            pass

    remote, strict = SupabaseRecord(supabase.url, far_side.SECRET_KEY), Strict()
    store = SqliteStore(tmp_path / "store.db", linger_s=0.001)
    await store.start()
    for seq in range(1, 101):
        store.write(event(seq, payload={"text": "poison" if seq in (37, 38, 90) else "fine"}))
    assert await store.flush()
    shipper = Shipper(store, strict, QUICK)
    shipper.start()
    assert await shipper.flush(10)
    assert [each["seq"] for each in await remote.read_events("CA1")] == [
        seq for seq in range(1, 101) if seq not in (37, 38, 90)
    ]
    backlog = read_backlog(store.path)
    assert (backlog.depth, backlog.refused) == (0, 3)
    assert strict.asked < 60
    with closing(sqlite3.connect(store.path)) as file:
        assert file.execute("select distinct refused from outbox").fetchall() == [("HTTP 413",)]
    await shipper.close(0.0)
    await remote.close()
    await store.close()


async def test_what_the_front_refuses_once_is_halved_and_arrives(
    tmp_path: Path, supabase: far_side.Supabase, event: Maker
) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.start()
    ids = write_call(store, event, events=40)
    await store.close()
    supabase.answers += [said(status) for status in (413, 409, 400, 422)]
    async with shipped(tmp_path / "store.db", supabase) as rested:
        assert await rested.flush()
        assert await arrived(rested) == ids
        assert read_backlog(rested.local.path).refused == 0


async def test_a_request_is_never_larger_than_it_may_be(store: SqliteStore, event: Maker) -> None:
    sizes: list[int] = []

    class Scale:
        async def ingest(self, facts: str) -> dict[int, str]:
            sizes.append(len(facts))
            return {}

        async def close(self) -> None:
            pass

    for seq in range(1, 31):
        store.write(event(seq, payload={"text": "x" * 1000 if seq != 7 else "x" * 50_000}))
    shipper = Shipper(store, Scale(), Pace(most_bytes=10_000))
    shipper.start()
    assert await shipper.flush(10)
    await shipper.close(0.0)
    assert [size for size in sizes if size > 10_000] == [max(sizes)], "one fact alone may be larger"
    assert len(sizes) <= 8


async def test_what_was_refused_is_tried_once_more_at_the_next_start(
    tmp_path: Path, supabase: Supabase, event: Maker, database_of: Callable[[], Any]
) -> None:
    path = tmp_path / "store.db"
    with database_of() as database:
        database.execute("alter table call_events add constraint short check (length(event_type) < 6)")
        async with shipped(path, supabase) as rested:
            write_call(rested, event, events=3)
            assert await rested.flush()
            assert read_backlog(path).refused == 3
        database.execute("alter table call_events drop constraint short")
    async with shipped(path, supabase) as rested:
        assert await rested.flush()
        assert (len(await arrived(rested)), read_backlog(path).refused) == (3, 0)


# --- the file on our side ---------------------------------------------------------------------------------------


async def test_while_the_file_is_locked_shipping_waits(rested: Shipped, event: Maker) -> None:
    ids = write_call(rested, event)
    assert await rested.flush()
    with closing(sqlite3.connect(rested.local.path, isolation_level=None)) as other:
        other.execute("begin immediate")
        more = write_call(rested, event, "CA2")
        assert not await rested.flush(0.5)
        other.execute("rollback")
    assert await rested.flush()
    assert (await arrived(rested), await arrived(rested, "CA2")) == (ids, more)


async def test_a_file_that_breaks_stops_neither_the_record_nor_the_shipping(rested: Shipped, event: Maker) -> None:
    write_call(rested, event)
    assert await rested.flush()
    with closing(sqlite3.connect(rested.local.path)) as other:
        other.execute("pragma wal_checkpoint(truncate)")
    with rested.local.path.open("r+b") as file:
        file.write(b"\xff" * rested.local.path.stat().st_size)
    rested.local._writer._db.execute("pragma shrink_memory")
    more = write_call(rested, event, "CA2")
    assert await rested.flush()
    assert await arrived(rested, "CA2") == more


async def test_of_two_processes_with_one_file_one_ships_and_the_other_takes_over(
    tmp_path: Path, supabase: Supabase, event: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice_gateway.store.shipper.LEASE_POLL_S", 0.02)
    path = tmp_path / "store.db"
    async with shipped(path, supabase) as second_owner:
        assert await second_owner.flush()
        async with shipped(path, supabase) as waiting:
            ids = write_call(waiting, event)
            assert not await waiting.flush(0.3)
            assert waiting.shipper.shipped == 0
            await second_owner.shipper.close(0.0)
            assert await waiting.flush()
            assert await arrived(waiting) == ids


async def test_closing_ships_what_waits_and_leaves_the_rest_in_the_file(
    tmp_path: Path, supabase: Supabase, event: Maker
) -> None:
    path = tmp_path / "store.db"
    async with shipped(path, supabase, pace=Pace(collect_s=30)) as rested:
        write_call(rested, event)
        assert await rested.local.flush()
        assert await rested.shipper.close(10) == 0
    supabase.wire.become("down")
    async with shipped(path, supabase) as rested:
        write_call(rested, event, "CA2")
        assert await rested.local.flush()
        began = asyncio.get_running_loop().time()
        with capture_logs() as logs:
            assert await rested.shipper.close(0.3) == 10
        assert asyncio.get_running_loop().time() - began < 2
        assert ("outbox.left", 10) in [(each["event"], each.get("facts")) for each in logs]
    supabase.wire.become("well")
    async with shipped(path, supabase) as rested:
        assert await rested.flush()
        assert Counter(map(len, [await arrived(rested), await arrived(rested, "CA2")])) == {10: 2}
