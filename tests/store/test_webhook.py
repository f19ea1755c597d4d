"""The webhook: signed, in order, until it has arrived, and no business of Supabase's."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import far_side
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from receiver import QUICK, SECRET, Receiver, receiver
from structlog.testing import capture_logs

from voice_gateway.store.outbox import SUPABASE, WEBHOOK, collecting
from voice_gateway.store.records import CallPatch, EventRecord, TurnRecord
from voice_gateway.store.remote import Misconfigured, Refused, Rejected, Unavailable
from voice_gateway.store.shipper import Pace, Shipper
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.supabase import SupabaseRecord
from voice_gateway.store.webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, Webhook, shipper_to, signature

Maker = Callable[..., EventRecord]


@dataclass
class Hooked:
    store: SqliteStore
    shipper: Shipper
    far: Receiver
    write: Callable[..., None] = field(init=False)

    def __post_init__(self) -> None:
        self.write = self.store.write

    async def flush(self, timeout_s: float = 10.0) -> bool:
        return await self.shipper.flush(timeout_s)

    @property
    def told(self) -> list[tuple[str, int]]:
        return [(each["call_sid"], each["seq"]) for each in self.far.events]


@asynccontextmanager
async def hooked(path: Path, far: Receiver, events: tuple[str, ...] = (), pace: Pace = QUICK) -> AsyncIterator[Hooked]:
    store = SqliteStore(path, linger_s=0.001, at_open=collecting(events))
    await store.start()
    shipper = shipper_to(far.url, SECRET, store, pace)
    shipper.start()
    try:
        yield Hooked(store, shipper, far)
    finally:
        await shipper.close(0.0)
        await store.close()


@pytest.fixture
async def far() -> Any:
    async with receiver() as each:
        yield each


@pytest.fixture
async def hook(tmp_path: Path, far: Receiver) -> Any:
    async with hooked(tmp_path / "store.db", far) as each:
        yield each


# --- what is sent ------------------------------------------------------------------------------------------------


async def test_events_arrive_in_their_order_with_what_they_change(hook: Hooked, event: Maker) -> None:
    told = event(1, event_type="CALL_STARTED", payload={"from_number": "+250788000123"})
    turn = TurnRecord(told.id, "CA1", 1, "user", "hello", told.occurred_at)
    hook.write(told, CallPatch("CA1", 1, from_number="+250788000123"), [turn])
    for seq in range(2, 251):
        hook.write(event(seq))
    assert await hook.flush()
    assert hook.told == [("CA1", seq) for seq in range(1, 251)]
    first = hook.far.events[0]
    assert (first["id"], first["event_type"]) == (told.id, "CALL_STARTED")
    assert first["payload"] == {"from_number": "+250788000123"}
    assert (first["call"]["from_number"], first["turn"]["text"]) == ("+250788000123", "hello")
    assert max(len(orjson.loads(each.body)["events"]) for each in hook.far.requests) <= 100
    assert WEBHOOK.read_backlog(hook.store.path).depth == 0


async def test_a_receiver_can_tell_who_sent_it(hook: Hooked, event: Maker) -> None:
    hook.write(event(1, payload={"text": "Grüße, 你好"}))
    assert await hook.flush()
    (request,) = hook.far.requests
    timestamp = request.headers[TIMESTAMP_HEADER.lower()]
    # By the description alone, not by our own function.
    expected = hmac.new(SECRET.encode(), timestamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers[SIGNATURE_HEADER.lower()] == f"v1={expected}"
    assert request.headers["content-type"] == "application/json"
    assert "authorization" not in request.headers


@given(st.text(min_size=1), st.binary(), st.binary())
def test_a_signature_is_of_one_body_and_one_time_alone(secret: str, body: bytes, other: bytes) -> None:
    secret = secret.encode("utf-8", "replace").decode()
    made = signature(secret, "1", body)
    assert made != signature(secret, "2", body)
    assert (made == signature(secret, "1", other)) == (body == other)


async def test_only_the_events_that_are_wanted_are_sent(tmp_path: Path, far: Receiver, event: Maker) -> None:
    async with hooked(tmp_path / "store.db", far, ("CALL_STARTED", "CALL_ENDED")) as hook:
        for seq, kind in enumerate(("CALL_STARTED", "DTMF", "TRANSCRIPT_USER", "CALL_ENDED"), 1):
            hook.write(event(seq, event_type=kind))
        assert await hook.flush()
        assert [each["event_type"] for each in far.events] == ["CALL_STARTED", "CALL_ENDED"]


def test_a_name_that_is_none_reaches_no_sql() -> None:
    with pytest.raises(ValueError, match="not the names"):
        collecting(["X'); drop table calls; --"])


async def test_what_was_written_before_there_was_a_webhook_is_not_sent_and_none_collects_nothing(
    tmp_path: Path, far: Receiver, event: Maker
) -> None:
    path = tmp_path / "store.db"
    for script in ("", collecting(())):
        async with closing_store(path, script) as store:
            store.write(event(1 if not script else 2))
    async with closing_store(path, collecting(None)) as store:
        store.write(event(3))
    assert WEBHOOK.read_backlog(path).depth == 1
    async with hooked(path, far) as hook:
        assert await hook.flush()
    assert hook.told == [("CA1", 2)]


@asynccontextmanager
async def closing_store(path: Path, at_open: str) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, at_open=at_open)
    await store.start()
    yield store
    assert await store.flush()
    await store.close()


# --- what may pass, and what does not ----------------------------------------------------------------------------


async def test_what_passes_is_tried_again_in_order(hook: Hooked, event: Maker) -> None:
    hook.far.answers += [503, 408, 425, 429, 500, 599, "reset"]
    for seq in range(1, 31):
        hook.write(event(seq, f"CA{seq % 3}"))
    with capture_logs() as logs:
        assert await hook.flush()
    assert len({each["id"] for each in hook.far.events}) == 30
    for call in ("CA0", "CA1", "CA2"):
        seqs = [seq for sid, seq in hook.told if sid == call]
        assert seqs == sorted(seqs)
    assert hook.shipper.delivery.failures == 7
    assert [each["event"] for each in logs] == ["webhook.failing", "webhook.recovered"]


async def test_an_answer_that_comes_too_late_is_one_that_was_lost(far: Receiver) -> None:
    far.answers.append("silence")
    webhook = Webhook(far.url, SECRET, timeout_s=0.2)
    with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
        await webhook.ingest("[]")
    await webhook.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, Misconfigured), (302, Misconfigured), (307, Misconfigured), (308, Misconfigured), (304, Misconfigured),
        (400, Rejected), (409, Rejected), (413, Rejected), (422, Rejected), (401, Refused), (403, Refused),
        (404, Refused), (405, Refused), (410, Refused), (451, Refused), (408, Unavailable), (425, Unavailable),
        (429, Unavailable), (500, Unavailable), (503, Unavailable), (599, Unavailable),
    ],
)  # fmt: skip
async def test_each_status_is_taken_for_what_it_means(far: Receiver, status: int, error: type[Exception]) -> None:
    far.answers.append(status)
    webhook = Webhook(far.url + "?key=of-the-receiver", SECRET)
    with pytest.raises(error) as failure:
        await webhook.ingest("[]")
    await webhook.close()
    assert str(status) in str(failure.value)
    assert "of-the-receiver" not in str(failure.value)
    assert SECRET not in str(failure.value) + repr(webhook)


async def test_a_redirect_is_not_followed_and_the_signature_goes_nowhere_else(hook: Hooked, event: Maker) -> None:
    async with receiver() as elsewhere:
        hook.far.answers += [("redirect", elsewhere.url)] * 2
        hook.write(event(1))
        assert await hook.flush()
        assert elsewhere.requests == []
    assert hook.told == [("CA1", 1)], "it was kept, and sent again to the same address"


async def test_a_refused_batch_is_halved_until_the_event_is_found(hook: Hooked, event: Maker) -> None:
    hook.far.refuses = lambda body: 400 if b"poison" in body else None
    for seq in range(1, 41):
        hook.write(event(seq, payload={"text": "poison" if seq in (7, 31) else "fine"}))
    assert await hook.flush()
    assert hook.told == [("CA1", seq) for seq in range(1, 41) if seq not in (7, 31)]
    backlog = WEBHOOK.read_backlog(hook.store.path)
    assert (backlog.depth, backlog.refused) == (0, 2)


async def test_what_is_not_let_in_is_set_aside_with_the_reason_and_tried_once_more_at_the_next_start(
    tmp_path: Path, far: Receiver, event: Maker
) -> None:
    path = tmp_path / "store.db"
    far.refuses = lambda _: 401
    async with hooked(path, far) as hook:
        for seq in range(1, 21):
            hook.write(event(seq))
        with capture_logs() as logs:
            assert await hook.flush()
        assert len(far.requests) <= 3, "no halving: it is not the events' fault"
        assert logs[0]["event"] == "webhook.refused"
        assert "CALL_WEBHOOK_SECRET" in logs[0]["reason"]
        assert hook.shipper.delivery.refused == 20
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("select distinct refused from webhook_outbox").fetchone()[0].startswith("HTTP 401")
    far.refuses = lambda _: None
    async with hooked(path, far) as hook:
        assert await hook.flush()
        assert hook.told == [("CA1", seq) for seq in range(1, 21)]


async def test_a_receiver_may_name_the_events_it_refuses(hook: Hooked, event: Maker) -> None:
    hook.far.answers.append({"refused": [{"index": 1, "message": "no such call"}, {"index": 99}, {"index": -1}]})
    for seq in (1, 2, 3):
        hook.store.write(event(seq))
    assert await hook.flush()
    with closing(sqlite3.connect(hook.store.path)) as db:
        assert [row[0] for row in db.execute("select refused from webhook_outbox")] in (["refused no such call"], [])


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b"null", b'{"refused": 7}', b'{"refused": [7]}', b"x" * 1_000_000])
async def test_whatever_a_receiver_says_with_its_yes_is_a_yes(far: Receiver, body: bytes) -> None:
    far.answers.append(body)
    webhook = Webhook(far.url, SECRET)
    assert await webhook.ingest("[]") == {}
    await webhook.close()


# --- beside the other destination --------------------------------------------------------------------------------


@pytest.mark.postgres
async def test_a_dead_webhook_does_not_hold_up_supabase_nor_the_other_way_round(
    tmp_path: Path, supabase: Any, event: Maker, far: Receiver
) -> None:
    async with hooked(tmp_path / "store.db", far) as hook:
        remote = SupabaseRecord(supabase.url, far_side.SECRET_KEY)
        shipper = Shipper(hook.store, remote, far_side.QUICK)
        shipper.start()
        far.refuses = lambda _: 503
        hook.write(event(1))
        assert await shipper.flush(10)
        assert not await hook.flush(0.2)
        assert [each.read_backlog(hook.store.path).depth for each in (SUPABASE, WEBHOOK)] == [0, 1]
        far.refuses = lambda _: None
        supabase.wire.become("down")
        hook.write(event(2))
        assert await hook.flush()
        assert hook.told == [("CA1", 1), ("CA1", 2)]
        assert not await shipper.flush(0.2)
        supabase.wire.become("well")
        assert await shipper.flush(10)
        assert [each["seq"] for each in await remote.read_events("CA1")] == [1, 2]
        await shipper.close(0.0)


async def test_a_new_file_in_the_place_of_a_broken_one_collects_too(hook: Hooked, event: Maker) -> None:
    hook.write(event(1))
    assert await hook.flush()
    hook.store.path.unlink()
    hook.write(event(2))
    assert await hook.flush()
    assert hook.told == [("CA1", 1), ("CA1", 2)]


async def test_a_row_that_is_gone_is_not_crossed_off_in_anothers_name(hook: Hooked, event: Maker) -> None:
    """While a request is under way its rows may be removed, and their places given to others."""
    hook.far.answers.append("wait")
    hook.write(event(1))
    async with asyncio.timeout(10):
        await hook.far.waiting.wait()
    with closing(sqlite3.connect(hook.store.path, isolation_level=None)) as db:
        db.execute("delete from webhook_outbox")
    hook.write(event(1, "CA2"))
    assert await hook.store.flush()
    hook.far.go_on.set()
    assert await hook.flush()
    assert hook.told == [("CA1", 1), ("CA2", 1)]


def test_the_check_that_the_page_shows_is_right() -> None:
    text = (Path(__file__).parents[2] / "docs/programs.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(import hashlib.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(shown, names)  # noqa: S102 - our own words
    now, body = str(int(time.time())), b'{"events":[]}'

    def judged(timestamp: str, secret: str, sent: bytes = body) -> bool:
        headers = {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature(secret, timestamp, body)}
        answer: bool = names["is_ours"](headers, sent, SECRET.encode())
        return answer

    assert judged(now, SECRET)
    assert not judged(now, "another-secret-long-enough")
    assert not judged(str(int(now) - 301), SECRET)
    assert not judged(now, SECRET, b"{}")
    assert not names["is_ours"]({}, body, SECRET.encode())
