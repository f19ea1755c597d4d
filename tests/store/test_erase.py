"""Erasing a person: everywhere, to the last byte, and nobody else."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import far_side
import orjson
import pytest
from far_side import SECRET_KEY, Shipped, Supabase, shipped
from hypothesis import given
from hypothesis import strategies as st
from storage_double import Chest, Thing
from typer.testing import CliRunner

from voice_gateway.cli.verbs import app
from voice_gateway.erase import ON_ITS_WAY, Eraser, Places
from voice_gateway.store.bucket import Bucket
from voice_gateway.store.erasure import LocalErasure
from voice_gateway.store.erasure_bucket import BucketErasure
from voice_gateway.store.erasure_remote import RemoteErasure
from voice_gateway.store.lease import take_lease
from voice_gateway.store.local_rows import LocalRows
from voice_gateway.store.orders import Message
from voice_gateway.store.outbox import collecting
from voice_gateway.store.person import ERASED, NoNumberError, Person
from voice_gateway.store.records import CallPatch, ConsentRecord, EventRecord, RecordingRecord, TurnRecord, new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.tables import Tables

Maker = Callable[..., EventRecord]
NUMBER, OTHER, LINE = "+250791234567", "+250788999777", "+35621000456"
DIGITS = NUMBER.removeprefix("+")
AT = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)


def write_call(store: Any, event: Maker, sid: str, caller: str, said: str = "hello", **patch: Any) -> None:
    """A whole call of somebody's, with a row of every kind."""
    started = {"from_number": caller, "to_number": LINE, "direction": "inbound", "persona": "waiter"}
    ended = {"status": "completed", "ended_at": AT, "created_at": AT} | patch
    store.write(
        event(1, sid, event_type="CALL_STARTED", payload=started),
        CallPatch(sid, 1, from_number=caller, to_number=LINE, direction="inbound", created_at=AT),
    )
    spoke = event(2, sid, payload={"text": said})
    store.write(spoke, None, [TurnRecord(spoke.id, sid, 2, "user", said, AT)])
    agreed = event(3, sid, event_type="CONSENT_GIVEN", payload={"method": "keypress"})
    store.write(agreed, None, [ConsentRecord(agreed.id, sid, "recording", "granted", "keypress", AT)])
    recorded = event(4, sid, event_type="RECORDING_STARTED", payload={})
    store.write(recorded, None, [RecordingRecord(new_id(), sid, "recording", AT, path=f"{sid}.wav")])
    store.write(
        event(5, sid, event_type="CALL_ENDED", payload={}), CallPatch(sid, 5, transcript=f"Caller: {said}", **ended)
    )


async def fill_orders(tables: Tables) -> None:
    """Orders and messages of both people."""
    await tables.start()
    item = (await tables.menu())[0].id
    for sid, number in (("CAhers", NUMBER), ("CAhis", OTHER)):
        await tables.orders.place(item, 1, sid, None)
        await tables.orders.take_message(Message("A name", "call me back", number), sid, None)
    hint = Message("Somebody", f"tell her at 0791 234 567, or {NUMBER}", OTHER)
    await tables.orders.take_message(hint, "CAhis", None)
    await tables.close()


def fill_tools(path: Path) -> None:
    """Appointments, customers and savings of both people."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for number, spelt in ((NUMBER, "0791-234-567"), (OTHER, OTHER)):
            key = new_id()
            db.execute("insert into customers (id, full_name, phone) values (?, 'A customer', ?)", [key, spelt])
            db.execute(
                "insert into appointments (id, starts_at, ends_at, customer_id, customer_name, customer_phone) "
                "values (?, ?, ?, ?, 'A customer', ?)",
                [new_id(), f"2027-01-0{1 + (number == OTHER)}", "2027-02-01", key, spelt],
            )
            db.execute(
                "insert into members (id, full_name, phone) values (?, 'A member', ?)", [f"m{number[-2]}", number]
            )
            db.execute("insert into savings_accounts (member_id, balance) values (?, 50000)", [f"m{number[-2]}"])


def fill_folders(root: Path) -> tuple[Path, Path]:
    recordings, traces = root / "recordings", root / "traces"
    (recordings / "2026-11-21").mkdir(parents=True)
    traces.mkdir()
    for sid in ("CAhers", "CAhis"):
        (recordings / f"2026-11-21/{sid}_{new_id()}.wav").write_bytes(b"RIFF")
        (traces / f"20261121T200000Z-{sid}.jsonl").write_text('{"text": "hello"}')
    (traces / "20261121T200000Z-CAhers-2.jsonl").write_text("{}")
    (traces / "20261121T200000Z-CAhers-2.html").write_text("<p>")
    (traces / "20261121T200000Z-CAhersister.jsonl").write_text("{}")
    (traces / "20261121T200001Z-CAother.jsonl").write_text(f'{{"text": "my wife is at {NUMBER}"}}')
    return recordings, traces


def raw(path: Path) -> bytes:
    """All that stands in the files of the store, free pages and log included."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


FORMS = [
    DIGITS.encode(), b"791234567", b"250 791 234 567", b"0791 234 567", b"0791-234-567", b"0791234567", b"CAhers\x00",
    b'CAhers"',
]  # fmt: skip


@pytest.fixture
async def lived(tmp_path: Path, event: Maker) -> Path:
    """A store with calls of two people, closed."""
    store = SqliteStore(tmp_path / "store.db", linger_s=0.001, at_open=collecting(()))
    await store.start()
    write_call(store, event, "CAhers", NUMBER, f"I am at {NUMBER}")
    write_call(store, event, "CAhis", OTHER, "her number is 0791 234 567, or 250-791-234-567.")
    child = event(1, "CAchild", event_type="CALL_STARTED", payload={"from_number": LINE, "to_number": OTHER})
    store.write(
        child, CallPatch("CAchild", 1, parent_call_sid="CAhers", direction="outbound", to_number=OTHER, ended_at=AT)
    )
    assert await store.flush()
    await fill_orders(Tables(LocalRows(store.path)))
    fill_tools(store.path)
    await store.close()
    return store.path


def rows(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


# --- the file ---------------------------------------------------------------------------------------------------


async def test_nothing_of_her_is_left_to_the_last_byte_and_all_of_him(lived: Path, tmp_path: Path) -> None:
    recordings, traces = fill_folders(tmp_path)
    assert all(each in raw(lived) for each in (DIGITS.encode(), b"0791 234 567"))
    eraser = Eraser(Places(lived, recordings, traces))
    found = await eraser.search(Person.of(NUMBER))
    assert found.person.call_sids == {"CAhers", "CAchild"}
    assert found.counts["recordings"] == {"files": 1}
    assert found.counts["traces"] == {"files": 4}
    tables = {table: count for table, count in found.counts["local rows"].items() if count}
    assert tables == {
        "calls": 3, "call_events": 7, "call_turns": 2, "call_consents": 1, "call_recordings": 1, "outbox": 8,
        "webhook_outbox": 8, "orders": 1, "messages": 2, "customers": 1, "appointments": 1, "members": 1,
    }  # fmt: skip
    after = await eraser.erase(Person.of(NUMBER))
    assert (after.total, after.problems, after.live) == (0, [], frozenset())
    left = raw(lived)
    assert [form for form in FORMS if form in left] == []
    assert not re.search(rb"7\D?9\D?1\D{0,2}2\D?3\D?4\D{0,2}5\D?6\D?7", left)
    kept = lambda table: rows(lived, f"select count(*) from {table} where call_sid = 'CAhis'")[0][0]  # noqa: E731, S608
    assert [kept(each) for each in ("calls", "call_events", "call_turns", "call_consents", "orders", "messages")] == [
        1, 5, 1, 1, 1, 2,
    ]  # fmt: skip
    assert rows(lived, "select text from call_turns") == [(f"her number is {ERASED}, or {ERASED}.",)]
    assert rows(lived, "select full_name, phone, balance from members join savings_accounts on member_id = id "
                "where id in ('m6', 'm7') order by id") == [
        (ERASED, None, 50_000), ("A member", OTHER, 50_000),
    ]  # fmt: skip
    assert rows(lived, "select phone from customers where full_name = 'A customer'") == [(OTHER,)]
    assert all(isinstance(orjson.loads(text), dict) for (text,) in rows(lived, "select payload from call_events"))
    assert {path.name[:23] for path in traces.iterdir()} == {"20261121T200000Z-CAhis.", "20261121T200000Z-CAhers"}
    assert len(list(recordings.glob("*/*.wav"))) == 1


async def test_a_call_alone_can_be_erased_and_the_callers_other_calls_stay(lived: Path, event: Maker) -> None:
    store = SqliteStore(lived)
    await store.start()
    write_call(store, event, "CAsecond", NUMBER)
    await store.close()
    after = await Eraser(Places(lived)).erase(Person.of("", frozenset({"CAhers"})))
    assert (after.total, after.problems) == (0, [])
    assert b"CAhers" not in raw(lived)
    assert rows(lived, "select call_sid from calls where from_number = '+250791234567'") == [("CAsecond",)]


async def test_what_stood_in_rows_that_were_removed_before_is_gone_too(lived: Path) -> None:
    with closing(sqlite3.connect(lived, isolation_level=None)) as db:
        for table in ("outbox", "webhook_outbox", "call_events", "calls"):
            db.execute(f"delete from {table}")  # noqa: S608 - our own names
    assert DIGITS.encode() in raw(lived), "in the free parts"
    await Eraser(Places(lived)).erase(Person.of(NUMBER))
    assert [form for form in FORMS if form in raw(lived)] == []


async def test_a_number_that_calls_come_in_on_is_told(lived: Path) -> None:
    found = await Eraser(Places(lived)).search(Person.of(LINE))
    called = [number for (number,) in rows(lived, "select to_number from calls")]
    assert found.lines == called.count(LINE) >= 2, "a call is one, though its row and its first event tell of it"


async def test_it_works_while_the_gateway_writes(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0.001)
    await store.start()
    for n in range(20):
        write_call(store, event, f"CAhers{n}", NUMBER)
    assert await store.flush()
    over = asyncio.Event()

    async def go_on() -> int:
        written = 0
        while not over.is_set():
            write_call(store, event, f"CAhis{written}", OTHER)
            written += 1
            await asyncio.sleep(0.003)
        return written

    writing = asyncio.create_task(go_on())
    after = await Eraser(Places(store.path)).erase(Person.of(NUMBER))
    over.set()
    written = await writing
    assert await store.flush()
    assert (after.total, after.problems) == (0, [])
    assert len(await store.recent_calls(10_000)) == written
    assert (store.lost, store.refused) == (0, 0)
    await store.close()
    assert DIGITS.encode() not in raw(store.path)


async def test_a_call_that_may_still_go_on_is_told(tmp_path: Path, event: Maker) -> None:
    store = SqliteStore(tmp_path / "store.db")
    await store.start()
    now = datetime.now(UTC)
    write_call(store, event, "CAover", NUMBER, created_at=now, ended_at=now - timedelta(minutes=1))
    write_call(store, event, "CAjust", NUMBER, created_at=now, ended_at=now)
    for sid, began in (("CAlive", now), ("CAdead", now - timedelta(days=1))):
        store.write(event(1, sid), CallPatch(sid, 1, from_number=NUMBER, direction="inbound", created_at=began))
    assert await store.flush()
    assert (await Eraser(Places(store.path)).search(Person.of(NUMBER))).live == {"CAlive", "CAjust"}
    await store.close()


async def test_a_broken_file_set_aside_is_searched_and_told(lived: Path) -> None:
    aside = lived.with_name(f"{lived.name}.corrupt-20261121T200000Z")
    aside.write_bytes(b"\xff\xff" + NUMBER.encode() + b"\x00")
    after = await Eraser(Places(lived)).erase(Person.of(NUMBER))
    assert after.counts["local bytes"][aside.name] == 1
    assert after.total == 1


async def test_a_file_that_cannot_be_removed_keeps_the_rows_that_lead_to_it(lived: Path, tmp_path: Path) -> None:
    recordings, _ = fill_folders(tmp_path)
    (blocked,) = recordings.glob("*/CAhers_*.wav")
    blocked.unlink()
    blocked.mkdir()
    after = await Eraser(Places(lived, recordings)).erase(Person.of(NUMBER))
    assert any("could not be removed" in each for each in after.problems)
    assert after.counts["local rows"]["calls"] >= 1
    blocked.rmdir()
    assert (await Eraser(Places(lived, recordings)).erase(Person.of(NUMBER))).total == 0


async def test_a_key_that_other_rows_name_is_left_and_told(lived: Path) -> None:
    with closing(sqlite3.connect(lived, isolation_level=None)) as db:
        db.execute("insert into members (id, full_name) values (?, 'By number')", [NUMBER])
        db.execute("insert into savings_accounts (member_id) values (?)", [NUMBER])
    after = await Eraser(Places(lived)).erase(Person.of(NUMBER))
    assert {name: count for name, count in after.counts["local rows"].items() if count} == {
        "members": 1, "savings_accounts": 1,
    }  # fmt: skip


async def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    after = await Eraser(Places(tmp_path / "none.db", tmp_path / "r", tmp_path / "t")).erase(Person.of(NUMBER))
    assert (after.total, after.problems) == (0, [])
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - once, in a test


# --- Supabase ---------------------------------------------------------------------------------------------------


async def erased(rested: Shipped, far: Supabase, **more: Any) -> Any:
    remote = RemoteErasure(far.url, SECRET_KEY, timeout_s=5)
    try:
        return await Eraser(Places(rested.local.path, remote=remote), settle_s=0.0, **more).erase(Person.of(NUMBER))
    finally:
        await remote.close()


@pytest.mark.postgres
async def test_supabase_forgets_her_too_and_keeps_him(
    rested: Shipped, supabase: Supabase, event: Maker, database_of: Callable[[], Any]
) -> None:
    write_call(rested, event, "CAhers", NUMBER)
    write_call(rested, event, "CAhis", OTHER, "her number is 0791 234 567")
    rested.write(event(6, "CAhis", payload={"phone": int(DIGITS), "list": [NUMBER, {"n": 7}]}))
    assert await rested.flush()
    with database_of() as db:
        db.execute(
            "insert into customers (id, full_name, phone) values ('c1', 'Her', '0791 234 567'), ('c2', 'Him', %s)",
            [OTHER],
        )
        db.execute(
            "insert into appointments (customer_id, customer_name, starts_at, ends_at) select id, full_name, "
            "now() + n * interval '1 day', now() + n * interval '1 day' + interval '1 hour' "
            "from (select *, row_number() over (order by full_name) as n from customers "
            "where full_name in ('Her', 'Him')) c"
        )
        db.execute(
            "insert into messages (call_sid, from_name, from_phone, text) values (null, 'X', %s, 'hi')", [NUMBER]
        )
        db.execute("insert into members (id, full_name, phone) values ('m1', 'Her', %s)", [NUMBER])
        db.execute("insert into savings_accounts (member_id, balance) values ('m1', 50000)")
        db.execute("create table profiles (phone text)")
        db.execute("insert into profiles values (%s)", [NUMBER])
        after = await erased(rested, supabase)
        assert (after.total, after.problems) == (0, [])
        assert after.counts["Supabase rows"]["call_events"] == 0
        assert db.execute("select phone from profiles").fetchall() == [(NUMBER,)], "of another program"
        db.execute("drop table profiles")
        everything = "\n".join(
            str(row)
            for (table,) in db.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
            for row in db.execute(f"select to_jsonb(t)::text from {table} t").fetchall()  # noqa: S608 - its own names
        )
        assert [form for form in (DIGITS, "791234567", "0791 234 567", "CAhers") if form in everything] == []
        assert db.execute("select text from call_turns").fetchall() == [(f"her number is {ERASED}",)]
        assert db.execute("select payload from call_events where seq = 6").fetchone() == (
            {"phone": ERASED, "list": [ERASED, {"n": 7}]},
        )
        assert db.execute("select full_name, phone from members where id = 'm1'").fetchone() == (ERASED, None)
        assert db.execute("select full_name from customers where full_name in ('Her', 'Him')").fetchall() == [("Him",)]
        assert db.execute("select customer_name from appointments").fetchall() == [("Him",)]
    assert len(await rested.remote.read_events("CAhis")) == 6


@pytest.mark.postgres
async def test_while_supabase_is_down_the_rest_is_done_and_the_next_run_does_it(
    tmp_path: Path, supabase: Supabase, event: Maker
) -> None:
    async with shipped(tmp_path / "store.db", supabase) as rested:
        write_call(rested, event, "CAhers", NUMBER)
        assert await rested.flush()
        supabase.wire.become("down")
        after = await erased(rested, supabase)
        assert "Supabase is still to be done" in after.problems[0]
        assert after.total == 0
        assert await rested.local.read_call("CAhers") is None
        supabase.wire.become("well")
        assert await rested.remote.read_call("CAhers") is not None
        after = await erased(rested, supabase)
        assert (after.total, after.problems) == (0, [])
        assert await rested.remote.read_call("CAhers") is None


@pytest.mark.postgres
async def test_what_was_not_shipped_yet_is_never_shipped_and_the_gateway_is_waited_for(
    tmp_path: Path, supabase: Supabase, event: Maker
) -> None:
    path = tmp_path / "store.db"
    said: list[str] = []
    async with shipped(path, supabase, key="sb_secret_of_another") as rested:
        write_call(rested, event, "CAhers", NUMBER)
        assert not await rested.flush(0.3)
        after = await erased(rested, supabase, tell=said.append)
        assert [each.split()[0] for each in said] == ["Writing", "Waiting"], "a gateway is at it"
        assert (after.total, after.problems) == (0, [])
        write_call(rested, event, "CAhis", OTHER)
        assert not await rested.flush(0.3)
    async with shipped(path, supabase) as rested:
        assert await rested.flush()
        assert await rested.remote.read_call("CAhers") is None
        assert await rested.remote.read_call("CAhis") is not None
    said.clear()
    remote = RemoteErasure(supabase.url, SECRET_KEY, timeout_s=5)
    await Eraser(Places(path, remote=remote), settle_s=60.0, tell=said.append).erase(Person.of(OTHER))
    await remote.close()
    assert len(said) == 1, "nobody is at it: nobody is waited for"


@pytest.mark.postgres
async def test_nobody_but_the_gateway_may_erase(supabase: Supabase) -> None:
    from postgrest_double import ANON_KEY  # noqa: PLC0415 - here alone

    from voice_gateway.store.remote import Misconfigured  # noqa: PLC0415

    remote = RemoteErasure(supabase.url, ANON_KEY, timeout_s=5)
    for ask in (remote.calls, remote.found, remote.erase):
        with pytest.raises(Misconfigured, match="42501"):
            await ask(Person.of(NUMBER))
    await remote.close()


# --- Storage ----------------------------------------------------------------------------------------------------


def shelve(far: Supabase, bucket: str = "recordings") -> tuple[str, str]:
    """A recording of hers and one of his in a bucket; their paths."""
    things = far.storage.buckets.setdefault(bucket, Chest()).things
    hers, his = (f"2026-11-20/{sid}_{new_id()}.wav" for sid in ("CAhers", "CAhis"))
    for path in (hers, his, "2026-11-20/CAhers_notes.txt"):
        things[path] = Thing(b"RIFF", "audio/wav", None)
    return hers, his


async def erased_from(lived: Path, far: Supabase) -> Any:
    storage = BucketErasure(lambda name: Bucket(far.url, SECRET_KEY, name, timeout_s=5))
    try:
        places = Places(lived, storage=storage, bucket="recordings")
        return await Eraser(places, settle_s=0.0).erase(Person.of(NUMBER))
    finally:
        await storage.close()


async def test_her_recordings_leave_the_bucket_of_today_and_those_that_rows_name(lived: Path) -> None:
    with closing(sqlite3.connect(lived, isolation_level=None)) as db:
        db.execute("update call_recordings set bucket = 'older' where call_sid = 'CAhers'")
        db.execute("update call_recordings set bucket = 'of-his' where call_sid = 'CAhis'")
    async with far_side.supabase() as far:
        kept = [shelve(far, bucket)[1] for bucket in ("recordings", "older")]
        untouched = shelve(far, "of-his")
        after = await erased_from(lived, far)
        assert (after.total, after.problems) == (0, [])
        assert after.counts["Storage"] == {"older": 0, "recordings": 0}
        for bucket, path in zip(("recordings", "older"), kept, strict=True):
            assert far.storage.names(bucket) == ["2026-11-20/CAhers_notes.txt", path], "what is not ours stays"
        assert set(untouched) <= set(far.storage.names("of-his"))


async def test_while_storage_is_away_the_rows_that_lead_to_it_stay(lived: Path) -> None:
    async with far_side.supabase() as far:
        _, his = shelve(far)
        far.wire.become("down")
        after = await erased_from(lived, far)
        assert any("could not be removed from Storage" in each for each in after.problems)
        assert rows(lived, "select count(*) from calls where call_sid = 'CAhers'") == [(1,)]
        far.wire.become("well")
        after = await erased_from(lived, far)
        assert (after.total, after.problems) == (0, [])
        assert far.storage.names() == ["2026-11-20/CAhers_notes.txt", his]


async def test_one_that_a_gateway_may_be_bringing_there_is_to_be_looked_for_again(lived: Path) -> None:
    with closing(sqlite3.connect(lived, isolation_level=None)) as db:
        db.execute("insert into uploads (recording_id, call_sid, path, since) values ('r', 'CAhers', 'p', 0)")
    gateway = take_lease(lived, "uploads")
    assert gateway is not None
    async with far_side.supabase() as far:
        after = await erased_from(lived, far)
        assert (after.total, after.problems) == (0, [ON_ITS_WAY])
        after = await erased_from(lived, far)
        assert (after.total, after.problems) == (0, [])
    gateway.close()


async def test_one_that_is_noted_while_her_rows_are_removed_is_found_all_the_same(
    lived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was on its way to the bucket when the search for it was over."""
    async with far_side.supabase() as far:
        erase = LocalErasure.erase

        def arrives_then(local: LocalErasure, person: Person) -> dict[str, int]:
            shelve(far)
            return erase(local, person)

        monkeypatch.setattr(LocalErasure, "erase", arrives_then)
        after = await erased_from(lived, far)
        assert (after.total, after.problems) == (0, [])
        assert [name for name in far.storage.names() if name.endswith(".wav") and "hers" in name] == []


@pytest.mark.postgres
async def test_the_command_proves_it_for_storage_too(
    rested: Shipped, supabase: Supabase, event: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_call(rested, event, "CAhers", NUMBER)
    assert await rested.flush()
    hers, his = shelve(supabase)
    for name, value in {
        "SUPABASE_URL": supabase.url, "SUPABASE_SECRET_KEY": SECRET_KEY, "RECORDINGS_BUCKET": "recordings",
        "STORE_PATH": str(rested.local.path), "RECORDINGS_DIR": str(tmp_path / "none"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    looked = await asyncio.to_thread(CliRunner().invoke, app, ["erase", "--number", NUMBER])
    assert re.search(r"Storage +recordings +1\b", looked.output), looked.output
    assert hers in supabase.storage.names()
    done = await asyncio.to_thread(CliRunner().invoke, app, ["erase", "--number", NUMBER, "--yes"])
    assert done.exit_code == 0, done.output
    assert "Nothing of +2507***4567 is left." in done.output
    assert supabase.storage.names() == ["2026-11-20/CAhers_notes.txt", his]


# --- the number -------------------------------------------------------------------------------------------------


@given(
    st.from_regex(r"\+[1-9][0-9]{9,12}", fullmatch=True),
    st.lists(st.sampled_from(["", " ", "-", ".", " (", ") "]), min_size=13),
)
def test_a_number_is_found_in_text_however_it_is_spaced(number: str, gaps: list[str]) -> None:
    person = Person.of(number)
    spelt = "".join(gap + digit for gap, digit in zip(gaps, person.digits, strict=False))
    for text in (
        f"call {number} now",
        f"at {spelt}.",
        f'{{"to":"{number}"}}',
        f"00{person.digits}",
        f"[{person.digits}]",
    ):
        assert person.mentioned(text)
        assert not person.mentioned(person.erased_from(text))
    assert not person.mentioned(f"9{person.digits}9")
    assert person.is_this(number)
    assert person.is_this(f"sip:{number}@10.0.0.1:5060")


@pytest.mark.parametrize(
    "number", ["0791234567", "+0788", "250791234567", "+25079123456745678", "+2507x1234567", "CA1"]
)
def test_what_is_no_number_with_its_country_code_is_refused(number: str) -> None:
    with pytest.raises(NoNumberError, match="country code"):
        Person.of(number)


def test_national_forms_are_known_and_short_ones_are_not_looked_for() -> None:
    person = Person.of(NUMBER)
    assert all(
        person.is_this(each) for each in ("0791 234 567", "791234567", "00250791234567", "+250 (0)791"[:0] or NUMBER)
    )
    assert person.mentioned("please call 0791 234 567")
    assert not person.mentioned("order 7912345674")
    assert not person.mentioned("sha 1a791234567b")
    assert Person.of("+35621000456").is_this("21000456")
    assert not Person.of("+4712345").is_this("12345")
    assert "250788" not in repr(person)


# --- the command ------------------------------------------------------------------------------------------------


def run(lived: Path, *arguments: str) -> Any:
    environment = {"STORE_PATH": str(lived), "RECORDINGS_DIR": str(lived.parent / "r"), "SUPABASE_URL": ""}
    return CliRunner().invoke(app, ["erase", "--env-file", os.devnull, *arguments], env=environment)


def test_without_yes_it_only_tells_and_with_it_it_proves(lived: Path) -> None:
    before = raw(lived)
    told = run(lived, "--number", NUMBER)
    assert told.exit_code == 0, told.output
    assert "Nothing was changed" in told.output
    assert DIGITS.encode() in before
    assert rows(lived, "select count(*) from calls")[0][0] == 3
    done = run(lived, "--number", NUMBER, "--yes")
    assert done.exit_code == 0, done.output
    assert "Nothing of +2507***4567 is left." in done.output
    assert DIGITS not in told.output + done.output
    assert re.search(r"local rows +call_events +[1-9]", done.output)
    found, _, left = done.output.partition("Searched again, this is left:\n")
    tables = len(LocalErasure(lived).found(Person.of(NUMBER)))
    places = rf"local rows \({tables} tables\), local bytes \(\d files\), recordings, traces"
    proof = rf"  Searched, and nothing there: {places}\.\n"
    assert re.match(proof, left), left
    assert re.search(r"local rows \(\d+ tables\)", found)
    assert not re.search(r" 0$", done.output, re.MULTILINE), "what is empty has one line"


def test_calls_that_there_are_not_are_told_as_that(lived: Path) -> None:
    told = run(lived, "--call", "CAnever")
    assert told.exit_code == 0, told.output
    assert told.output.startswith("Of the calls named there is nothing.\n")
    assert "Add --yes" not in told.output


def test_a_line_of_ours_and_nobody_at_all_are_refused(lived: Path) -> None:
    line = run(lived, "--number", LINE, "--yes")
    assert line.exit_code == 2
    assert "line of yours" in line.output
    assert rows(lived, "select count(*) from calls")[0][0] == 3
    assert isinstance(run(lived).exception, Exception)
