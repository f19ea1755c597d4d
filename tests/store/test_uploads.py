"""Recordings on their way to Storage: each arrives, once, whatever network, disk and bucket do meanwhile."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import far_side
import orjson
import pytest
from far_side import SECRET_KEY, Supabase
from starlette.requests import Request
from starlette.responses import Response
from storage_double import Chest, StorageRefusalError
from structlog.testing import capture_logs

from voice_gateway.store import waiting
from voice_gateway.store.bucket import Bucket
from voice_gateway.store.database import fetch
from voice_gateway.store.delivery import Pauses
from voice_gateway.store.lease import Lease, take_lease
from voice_gateway.store.records import KEEPING_LEG, CallPatch, EventRecord, RecordingRecord, new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.statements import Statement
from voice_gateway.store.uploads import Uploads, queueing

DAY = "2026-11-21"
QUICK = Pauses(0.01, 0.05)


@dataclass
class Here:
    """Our side: a store that notes what is to be brought, a folder of recordings, and where they are to go."""

    store: SqliteStore
    folder: Path
    far: Supabase

    def uploads(self, *, keep_local: bool = True, timeout_s: float = 5.0, key: str = SECRET_KEY) -> Uploads:
        bucket = Bucket(self.far.url, key, "recordings", timeout_s=timeout_s)
        return Uploads(self.store, bucket, self.folder, keep_local=keep_local, pauses=QUICK)

    async def record(
        self,
        call_sid: str = "CA1",
        size: int = 3000,
        *,
        told_size: int | None = None,
        status: Literal["stored", "failed"] = "stored",
    ) -> str:
        """A finished recording, as the recorder leaves it; returns its path."""
        recording_id = new_id()
        path, data = f"{DAY}/{call_sid}_{recording_id}.wav", bytes(range(256)) * (size // 256)
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_bytes(data)
        event = EventRecord(new_id(), call_sid, "RECORDING_FINISHED", {}, "2026-11-21T20:00:00Z", 1)
        told = RecordingRecord(
            recording_id, call_sid, status, event.occurred_at, path=path,
            bytes=len(data) if told_size is None else told_size, sha256=sha256(data).hexdigest(),
        )  # fmt: skip
        assert await self.store.write_durably(event, None, [told])
        return path

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return fetch(self.store.path, sql)

    def waiting(self) -> list[str]:
        return [row["path"] for row in self.rows("select path from uploads where refused is null order by n")]

    @property
    def there(self) -> list[str]:
        return self.far.storage.names()


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    async with far_side.supabase() as far:
        store = SqliteStore(tmp_path / "store.db", linger_s=0.001, at_open=queueing("recordings"))
        await store.start()
        (tmp_path / "recordings").mkdir()
        yield Here(store, tmp_path / "recordings", far)
        await store.close()


@asynccontextmanager
async def bringing(uploads: Uploads) -> AsyncIterator[Uploads]:
    uploads.start()
    try:
        yield uploads
    finally:
        await asyncio.to_thread(uploads.close, 0.2)


async def until(true: Callable[[], Any]) -> None:
    """Of a thread that tells nobody."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)


async def test_a_finished_recording_is_brought_and_its_row_tells_where_it_lies(here: Here) -> None:
    async with bringing(here.uploads()) as uploads:
        path = await here.record(size=200_000)
        await until(lambda: uploads.uploaded)
        assert (here.waiting(), uploads.delivery.last_error) == ([], "")
    thing = here.far.storage.buckets["recordings"].things[path]
    assert thing.data == (here.folder / path).read_bytes()
    assert (thing.media_type, thing.metadata) == ("audio/wav", {"sha256": sha256(thing.data).hexdigest()})
    (row,) = here.rows("select * from call_recordings")
    assert (row["status"], row["bucket"], row["path"], row["local"]) == ("stored", "recordings", path, 1)
    assert row["uploaded_at"] > "2026-11-21"
    assert here.rows("select * from uploads") == []
    (told,) = here.rows("select * from call_events where event_type = 'RECORDING_UPLOADED'")
    assert told["leg"] == KEEPING_LEG
    assert orjson.loads(told["payload"]) == {
        "recording_id": row["id"], "path": path, "bucket": "recordings", "local": True,
    }  # fmt: skip
    changes = [orjson.loads(each["changes"]) for each in here.rows("select changes from outbox order by n")]
    assert changes[-1]["recording"]["bucket"] == "recordings", "and Supabase is told"


async def test_the_file_goes_where_it_is_not_to_be_kept_but_never_before_it_arrived(here: Here) -> None:
    here.far.storage.faults = [Response(status_code=500)] * 3
    async with bringing(here.uploads(keep_local=False)) as uploads:
        path = await here.record()
        await until(lambda: uploads.delivery.failures)
        assert (here.folder / path).exists()
        await until(lambda: not (here.folder / path).exists())
    assert here.there == [path]
    assert here.rows("select local from call_recordings") == [{"local": 0}]


async def test_what_was_recorded_before_a_bucket_was_named_is_brought_too_and_nothing_without_one(
    tmp_path: Path,
) -> None:
    async with far_side.supabase() as far:
        (tmp_path / "recordings").mkdir()
        paths = []
        for bucket in ("", "recordings", ""):
            store = SqliteStore(tmp_path / "store.db", linger_s=0.001, at_open=queueing(bucket))
            await store.start()
            made = Here(store, tmp_path / "recordings", far)
            if bucket:
                assert made.waiting() == paths
            paths.append(await made.record(f"CA{len(paths)}"))
            await store.close()
            assert made.waiting() == ([] if paths[1:] == [] else paths[:2])


def meaning(status: int, code: str, message: str) -> Response:
    return StorageRefusalError(status, code, message).response()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (meaning(403, "Unauthorized", "new row violates row-level security policy"), "SUPABASE_SECRET_KEY"),
        (meaning(400, "InvalidJWT", "jwt malformed"), "SUPABASE_SECRET_KEY"),
        (Response('{"message":"Invalid API key"}', 401), "SUPABASE_SECRET_KEY"),
        (meaning(404, "Bucket not found", "Bucket not found"), "make a private bucket named recordings"),
        (meaning(429, "SlowDown", "Too many connections issued to the database"), "HTTP 429"),
        (Response("{}", 429, {"retry-after": "0"}), "HTTP 429"),
        (meaning(500, "InternalError", "Internal server error"), "HTTP 500"),
        (meaning(503, "LockTimeout", "acquiring lock timeout"), "HTTP 503"),
        (Response("<html>Bad gateway</html>", 502), "HTTP 502"),
        (Response("", 544), "HTTP 544"),
        (Response("<html>Not found</html>", 404), "HTTP 404"),
        (Response("", 301, {"location": "https://example.org"}), "SUPABASE_URL"),
    ],
)
async def test_what_may_pass_is_told_and_tried_again(here: Here, answer: Response, told: str) -> None:
    here.far.storage.faults = [answer] * 2
    path = await here.record()
    with capture_logs() as logs:
        async with bringing(here.uploads()) as uploads:
            await until(lambda: uploads.uploaded)
            assert uploads.delivery.failures == 2
    assert here.there == [path]
    failing = [each for each in logs if each["event"] == "uploads.failing"]
    assert len(failing) == 1
    assert told in failing[0]["reason"]
    assert SECRET_KEY not in str(logs)
    assert logs[-1]["event"] == "uploads.recovered"
    assert here.rows("select * from uploads") == []


async def test_a_bucket_that_is_missing_and_one_that_is_public_get_nothing_until_somebody_sees_to_it(
    here: Here,
) -> None:
    buckets = here.far.storage.buckets
    del buckets["recordings"]
    path = await here.record()
    async with bringing(here.uploads()) as uploads:
        await until(lambda: "make a private bucket" in uploads.delivery.last_error)
        buckets["recordings"] = Chest(public=True)
        await until(lambda: "is public" in uploads.delivery.last_error)
        assert here.far.storage.uploads == [], "not a byte was sent"
        assert (uploads.delivery.depth, uploads.delivery.refused) == (1, 0)
        buckets["recordings"].public = False
        await until(lambda: uploads.uploaded)
    assert here.there == [path]


async def test_a_bucket_that_cannot_be_asked_for_is_no_recordings_fault(here: Here) -> None:
    here.far.storage.of_bucket = meaning(400, "InvalidBucketName", "Bucket name invalid")
    await here.record()
    async with bringing(here.uploads()) as uploads:
        await until(lambda: "check RECORDINGS_BUCKET" in uploads.delivery.last_error)
        assert (uploads.delivery.depth, uploads.delivery.refused) == (1, 0)


@pytest.mark.parametrize("where", ["bucket", "gateway"])
async def test_one_that_is_too_large_is_set_aside_and_costs_no_other(here: Here, where: str) -> None:
    storage = here.far.storage
    storage.buckets["recordings"].file_size_limit, storage.gateway_limit = (
        (10_000, 200_000_000) if where == "bucket" else (None, 11_000)
    )
    large, small = await here.record("CAlarge", 20_000), await here.record("CAsmall", 3000)
    with capture_logs() as logs:
        async with bringing(here.uploads()) as uploads:
            await until(lambda: uploads.uploaded)
            await until(lambda: uploads.delivery.refused)
            assert uploads.delivery.tell()["refused"] == 1
            assert uploads.delivery.last_error == ""
    assert here.there == [small]
    (aside,) = here.rows("select * from uploads")
    assert aside["path"] == large
    assert "raise the largest size" in aside["refused"]
    assert [each["callSid"] for each in logs if each["event"] == "uploads.refused"] == ["CAlarge"]
    storage.buckets["recordings"].file_size_limit, storage.gateway_limit = None, 200_000_000
    async with bringing(here.uploads()) as uploads:  # the next process
        await until(lambda: uploads.uploaded)
    assert here.there == sorted([large, small])


async def test_one_that_was_given_up_is_not_begun_with_again(here: Here) -> None:
    here.far.storage.buckets["recordings"].file_size_limit = 100
    await here.record()
    async with bringing(here.uploads()) as uploads:
        await until(lambda: uploads.delivery.refused)
    assert waiting.drop(here.store.path, waiting.set_aside(here.store.path)) == 1
    here.far.storage.buckets["recordings"].file_size_limit = None
    successor = SqliteStore(here.store.path, at_open=queueing("recordings"))
    await successor.start()
    async with bringing(here.uploads()) as uploads:
        other = await here.record("CAother", 512)
        await until(lambda: uploads.uploaded)
        assert (here.waiting(), uploads.delivery.refused) == ([], 0)
    await successor.close()
    assert here.there == [other]


async def test_one_whose_row_has_made_room_is_brought_all_the_same(here: Here) -> None:
    path = await here.record()
    assert await here.store.work([Statement("delete from call_recordings", {})])
    async with bringing(here.uploads()) as uploads:
        await until(lambda: uploads.uploaded)
    assert here.there == [path]


async def test_what_there_is_of_one_that_failed_is_brought_once_its_call_is_over(here: Here) -> None:
    started = EventRecord(new_id(), "CAlive", "CALL_STARTED", {}, "2026-11-21T19:00:00Z", 1)
    assert await here.store.write_durably(started, CallPatch("CAlive", 1))
    failed = await here.record("CAlive", status="failed")
    async with bringing(here.uploads()) as uploads:
        whole = await here.record("CAother")
        await until(lambda: uploads.uploaded)
        assert (here.there, here.waiting()) == ([whole], [failed]), "its caller may take his consent back yet"
        ended = EventRecord(new_id(), "CAlive", "CALL_ENDED", {}, "2026-11-21T20:00:00Z", 2)
        assert await here.store.write_durably(
            ended, CallPatch("CAlive", 2, status="completed", ended_at=ended.occurred_at)
        )
        await until(lambda: uploads.uploaded == 2)
    assert here.there == sorted([whole, failed])
    (row,) = here.rows("select status, bucket from call_recordings where call_sid = 'CAlive'")
    assert row == {"status": "failed", "bucket": "recordings"}, "it is not whole, and says so"


async def test_one_that_always_fails_does_not_stand_in_the_way_of_others(here: Here) -> None:
    bad = await here.record("CAbad")

    async def fails(request: Request) -> Response | None:
        here.far.storage.faults.append(fails)
        return Response("", 500) if request.path_params["path"] == bad else None

    here.far.storage.faults = [fails]
    others = [await here.record(f"CA{n}") for n in range(3)]
    async with bringing(here.uploads()) as uploads:
        await until(lambda: uploads.uploaded == len(others))
        assert here.waiting() == [bad]
    assert here.there == sorted(others)


async def test_what_is_there_already_is_not_sent_for_good_and_what_is_another_gives_way(here: Here) -> None:
    same, other = await here.record("CAsame"), await here.record("CAother", 9000)
    things = here.far.storage.buckets["recordings"].things
    async with bringing(here.uploads()) as uploads:
        await until(lambda: uploads.uploaded == 2)
    first = things[same]
    things[other].data = b"a part of it"
    assert await here.store.work([Statement("update call_recordings set bucket = null", {})])
    assert await here.store.work(
        [Statement(each, {}) for each in queueing("recordings").split(";") if "from call_" in each]
    )
    async with bringing(here.uploads()) as uploads:
        await until(lambda: uploads.uploaded == 2)
    assert things[same] is first
    assert things[other].data == (here.folder / other).read_bytes()


@pytest.mark.parametrize("mood", ["down", "mute", "cuts", "loses answers"])
async def test_a_bad_wire_costs_time_and_nothing_else(here: Here, mood: far_side.Mood) -> None:
    path = await here.record(size=400_000)
    async with bringing(here.uploads(timeout_s=0.3)) as uploads:
        here.far.wire.become(mood)
        await until(lambda: uploads.delivery.failures >= 2)
        assert here.waiting() == [path]
        here.far.wire.become("well")
        await until(lambda: uploads.uploaded)
    assert here.there == [path]
    assert len(here.far.storage.buckets["recordings"].things[path].data) == (here.folder / path).stat().st_size
    assert len(here.rows("select * from call_events where event_type = 'RECORDING_UPLOADED'")) == 1


async def test_a_file_that_is_gone_or_not_what_was_recorded_is_set_aside(here: Here) -> None:
    gone, longer = await here.record("CAgone"), await here.record("CAlonger", told_size=100)
    linked = await here.record("CAlinked")
    (here.folder / gone).unlink()
    (here.folder / linked).rename(here.folder / "elsewhere")
    (here.folder / linked).symlink_to(here.folder / "elsewhere")
    foreign = Statement(
        "insert into uploads (recording_id, call_sid, path, since) values ('x', 'CAx', '../../etc/passwd', 0)", {}
    )
    assert await here.store.work([foreign])
    async with bringing(here.uploads()) as uploads:
        await until(lambda: uploads.delivery.refused == 4)
        assert uploads.delivery.depth == 0
    assert here.far.storage.uploads == []
    told = {row["path"]: row["refused"] for row in here.rows("select path, refused from uploads")}
    assert "No such file" in told[gone]
    assert "bytes, and had 100" in told[longer]
    assert "no path of a recording" in told["../../etc/passwd"]
    assert linked in told


async def test_one_that_is_erased_while_it_is_brought_is_taken_out_again(here: Here) -> None:
    path = await here.record()
    arrived, erased = asyncio.Event(), asyncio.Event()

    async def waits(_: Request) -> None:
        arrived.set()
        await erased.wait()

    here.far.storage.faults = [waits]
    with capture_logs() as logs:
        async with bringing(here.uploads()) as uploads:
            await arrived.wait()
            assert await here.store.work([Statement("delete from uploads", {})])
            assert await here.store.work([Statement("delete from call_recordings", {})])
            erased.set()
            await until(lambda: any(each["event"] == "uploads.taken_back" for each in logs))
            assert uploads.uploaded == 0
    assert here.there == []
    assert here.far.storage.uploads == [path]
    assert here.rows("select * from call_recordings") == []


async def forget(here: Here) -> None:
    for table in ("uploads", "call_recordings"):
        assert await here.store.work([Statement(f"delete from {table}", {})])  # noqa: S608 - our own names


async def test_one_that_was_erased_is_taken_out_however_often_that_fails(here: Here) -> None:
    await here.record()

    async def is_erased(_: Request) -> None:
        await forget(here)

    here.far.storage.faults = [is_erased]
    here.far.storage.of_removals = [Response(status_code=503)] * 2
    async with bringing(here.uploads()):
        await until(lambda: here.far.storage.uploads and not here.far.storage.of_removals and not here.there)
    assert here.rows("select * from call_recordings") == []


async def test_one_that_arrived_unanswered_and_was_erased_is_taken_out(here: Here) -> None:
    await here.record()
    upload: Callable[..., Awaitable[Response]] = here.far.storage._upload

    async def takes_and_says_nothing(request: Request) -> Response:
        await upload(request, far_side_caller())
        await forget(here)
        return Response(status_code=504)

    here.far.storage.faults = [takes_and_says_nothing]
    with capture_logs() as logs:
        async with bringing(here.uploads()):
            await until(lambda: any(each["event"] == "uploads.taken_back" for each in logs))
    assert here.there == []


async def test_one_whose_row_has_made_room_is_not_taken_out_after_a_failure(here: Here) -> None:
    path = await here.record()

    async def makes_room(_: Request) -> Response:
        assert await here.store.work([Statement("delete from call_recordings", {})])
        return Response(status_code=503)

    here.far.storage.faults = [makes_room]
    with capture_logs() as logs:
        async with bringing(here.uploads()) as uploads:
            await until(lambda: uploads.uploaded)
    assert here.there == [path]
    assert "uploads.taken_back" not in [each["event"] for each in logs]


async def test_one_that_arrived_stays_though_the_file_took_long_to_say_so(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await here.record()
    write = here.store.write_durably

    async def told_too_late(*given: Any) -> bool:
        assert await write(*given)
        return False

    monkeypatch.setattr(here.store, "write_durably", told_too_late)
    async with bringing(here.uploads()) as uploads:
        await until(lambda: uploads.delivery.failures)
        await until(lambda: here.waiting() == [])
        monkeypatch.undo()
        other = await here.record("CAother")
        await until(lambda: uploads.uploaded)
    assert here.there == sorted([path, other])


async def test_what_could_not_be_taken_out_is_told(here: Here) -> None:
    path = await here.record()

    async def is_erased(_: Request) -> None:
        await forget(here)

    here.far.storage.faults = [is_erased]
    here.far.storage.of_removals = [Response(status_code=503)] * 1000
    with capture_logs() as logs:
        async with bringing(here.uploads()) as uploads:
            await until(lambda: uploads.delivery.failures)
    (left,) = [each for each in logs if each["event"] == "uploads.left_there"]
    assert (left["recording"], left["bucket"]) == (path, "recordings")


async def test_the_end_of_the_process_waits_a_moment_for_what_is_under_way_and_no_longer(here: Here) -> None:
    path = await here.record()
    arrived, over = asyncio.Event(), asyncio.Event()

    async def hangs(_: Request) -> Response:
        arrived.set()
        await over.wait()
        return Response(status_code=500)

    here.far.storage.faults = [hangs]
    uploads = here.uploads(timeout_s=60)
    uploads.start()
    await arrived.wait()
    async with asyncio.timeout(5):
        await asyncio.to_thread(uploads.close, 0.1)
    assert not uploads._thread.is_alive()
    over.set()
    assert here.waiting() == [path]
    async with bringing(here.uploads()) as again:
        await until(lambda: again.uploaded)
        late = await here.record("CAlate")
        await asyncio.to_thread(again.close, 5.0)  # what was finished last is brought still
    assert here.there == sorted([path, late])


async def test_of_two_who_share_the_file_one_brings_and_the_other_takes_over(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voice_gateway.store.uploads.LEASE_POLL_S", 0.02)
    asked: list[int] = []

    def counted(store: Path, work: str) -> Lease | None:
        asked.append(1)
        return take_lease(store, work)

    monkeypatch.setattr("voice_gateway.store.uploads.take_lease", counted)
    began = time.monotonic()
    first, second = here.uploads(), here.uploads()
    async with bringing(second), bringing(first):
        await here.record("CA1")
        await until(lambda: first.uploaded + second.uploaded == 1)
        done, left = (first, second) if first.uploaded else (second, first)
        await asyncio.to_thread(done.close, 1.0)
        await here.record("CA2")
        await until(lambda: left.uploaded == 1)
    assert len(here.there) == 2
    assert len(asked) < 10 + 2 * (time.monotonic() - began) / 0.02, "who waits for it does not spin"


CHILD = """
import asyncio, sys
from pathlib import Path
from voice_gateway.store import waiting
from voice_gateway.store.bucket import Bucket
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.uploads import Uploads, queueing

async def main(path, folder, url, key):
    store = SqliteStore(path, at_open=queueing("recordings"))
    await store.start()
    Uploads(store, Bucket(url, key, "recordings"), Path(folder), keep_local=False).start()
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_death_between_the_upload_and_its_word_neither_loses_nor_doubles_it(here: Here) -> None:
    path = await here.record(size=50_000)
    command = [sys.executable, "-c", CHILD, str(here.store.path), str(here.folder), here.far.url, SECRET_KEY]
    child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    upload: Callable[..., Awaitable[Response]] = here.far.storage._upload

    async def takes_and_kills(request: Request) -> Response:
        answer = await upload(request, far_side_caller())
        child.send_signal(signal.SIGKILL)
        await child.wait()
        return answer

    here.far.storage.faults = [takes_and_kills]
    await asyncio.wait_for(child.wait(), 20)
    assert here.there == [path]
    first = here.far.storage.buckets["recordings"].things[path]
    assert here.waiting() == [path], "nobody has told it yet"
    assert (here.folder / path).exists()
    async with bringing(here.uploads(keep_local=False)) as uploads:
        await until(lambda: uploads.uploaded)
    assert here.far.storage.buckets["recordings"].things[path] is first
    assert not (here.folder / path).exists()
    assert len(here.rows("select * from call_events where event_type = 'RECORDING_UPLOADED'")) == 1


def far_side_caller() -> Any:
    from postgrest_double import Caller  # noqa: PLC0415

    return Caller("service_role", {})


async def test_a_file_that_should_have_gone_before_the_process_died_goes_at_the_next_start(here: Here) -> None:
    path = await here.record()
    assert await here.store.work([Statement("update call_recordings set bucket = 'recordings', local = 0", {})])
    kept = await here.record("CAkept")
    assert await here.store.work(
        [Statement("update call_recordings set bucket = 'recordings' where call_sid = 'CAkept'", {})]
    )
    async with bringing(here.uploads(keep_local=False)):
        await until(lambda: not (here.folder / path).exists())
    assert (here.folder / kept).exists()


def test_what_is_to_be_brought_stands_in_a_table_of_the_file(tmp_path: Path) -> None:
    from voice_gateway.store.database import open_database  # noqa: PLC0415

    db = open_database(tmp_path / "store.db")
    db.executescript(queueing("recordings"))
    db.executescript(queueing("recordings"))
    insert = "insert into call_recordings (id, call_sid, path, status) values (?, 'CA1', ?, ?)"
    for name, path, status in [
        ("a", "p", "recording"),
        ("b", None, "stored"),
        ("c", "p", "stored"),
        ("d", "p", "failed"),
    ]:
        db.execute(insert, [name, path, status])
    db.execute("insert into call_recordings (id, call_sid, path, status, bytes) values ('e', 'CA1', 'p', 'failed', 44)")
    assert db.execute("select recording_id from uploads order by n").fetchall() == [("c",), ("e",)]
    db.execute("update call_recordings set status = 'stored' where id = 'a'")
    db.execute("update call_recordings set path = 'q' where id = 'b'")
    assert db.execute("select recording_id from uploads order by n").fetchall() == [("c",), ("e",), ("a",), ("b",)]
    db.execute("update call_recordings set status = 'deleted' where id = 'a'")
    db.execute("update call_recordings set bucket = 'recordings' where id = 'c'")
    assert db.execute("select recording_id from uploads order by n").fetchall() == [("e",), ("b",)]
    db.close()
    with sqlite3.connect(tmp_path / "store.db") as other:
        assert other.execute("select count(*) from uploads").fetchone() == (2,)
    other.close()
