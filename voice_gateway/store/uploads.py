"""Uploads: finished recordings on their way to a bucket of Supabase Storage, one after the other, until each is there.

Rules
-----
1. What is to be brought is a row of the table `uploads`, which triggers fill in the very transaction that tells that a
   recording is whole, or what there is of one that failed; it goes in the one that tells that it was brought. So no
   crash loses one, and what was brought when the crash came before that word is found there, and not brought twice.
2. It all happens in a thread with an event loop of its own: whatever the disk or the network do, no call waits for it.
3. What may pass (no network, 429, 5xx, no progress) is tried again with ever longer pauses, and others go first
   meanwhile; what somebody must put right (key, bucket) is tried again as well. What can never be brought (too large,
   no file) is set aside with the reason and tried once more at the next start, or by `voice-gateway outbox --retry`.
4. A bucket that is open to the public gets nothing.
5. A recording that was erased while it was brought is taken out of the bucket again, also where its arrival was not
   answered; that is tried until it is done. What a process could not take out before its end is told in the log.
6. Of the processes that share a file one brings them; when it dies, another takes over.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import structlog

from voice_gateway.call import entries
from voice_gateway.store.database import fetch
from voice_gateway.store.delivery import Delivery, Pauses
from voice_gateway.store.lease import take_lease
from voice_gateway.store.outbox import Backlog
from voice_gateway.store.recordings import is_path, open_safely
from voice_gateway.store.records import RecordingRecord, Row, keeping_event
from voice_gateway.store.remote import Misconfigured, Refused, RemoteError
from voice_gateway.store.shipper import StoreSlowError
from voice_gateway.store.statements import Statement

if TYPE_CHECKING:
    from voice_gateway.store.bucket import Bucket
    from voice_gateway.store.sqlite import SqliteStore

LEASE_POLL_S: Final = 5.0
LOOK_ANYWAY_S: Final = 30.0
PAUSES: Final = Pauses(1.0, 300.0, 300.0)
LAST_MOMENT_S: Final = 2.0
FASTEST_BYTES_PER_S: Final = 8_000_000
"""A hundred calls at a time make 3.2 MB of sound a second."""

# While its call goes on the caller may take his consent back; one that failed is there before that is over.
_NEXT: Final = """
select * from uploads u where refused is null
  and not exists (select 1 from calls c where c.call_sid = u.call_sid and c.ended_at is null)
  order by tries, n limit 1
"""
# By its id and not by n: an n is given anew once its row is gone. The recording's own may have made room (`room`).
_STILL: Final = """
select coalesce(r.status, 'stored') as status from uploads u left join call_recordings r on r.id = u.recording_id
  where u.recording_id = ?
"""
_BELONGS_THERE: Final = """
select 1 from uploads where recording_id = :id
  union all select 2 from call_recordings where id = :id and bucket is not null and status <> 'deleted'
"""
_SET_ASIDE: Final = "update uploads set refused = :why where recording_id = :id"
_TRIED: Final = "update uploads set tries = tries + 1 where recording_id = :id"
_BACKLOG: Final = """
select count(*) as total, coalesce(sum(refused is not null), 0) as refused,
  min(since) filter (where refused is null) as oldest from uploads where not given_up
"""
_AGAIN: Final = Statement("update uploads set refused = null, tries = 0 where refused is not null and not given_up", {})
_LEFT_BEHIND: Final = "select path from call_recordings where bucket is not null and not local"
_ALL_STORED: Final = """
insert into uploads (recording_id, call_sid, path, bytes, sha256, since)
  select {0}id, {0}call_sid, {0}path, {0}bytes, {0}sha256, cast(strftime('%s', 'now') as real){1}
  where ({0}status = 'stored' or {0}status = 'failed' and {0}bytes > 0)
    and {0}bucket is null and {0}path is not null on conflict do nothing;
"""


def queueing(bucket: str) -> str:
    """The script that has a store's file note what is to be brought to a bucket, from now on and what there is already.

    bucket: empty where there is none; then nothing more is noted, and what waits stays.
    """
    events = {"insert": "insert", "update": "update of status, path"}
    drop = "".join(f"drop trigger if exists queue_upload_on_{name};" for name in events)
    if not bucket:
        return drop
    noted = _ALL_STORED.format("new.", "")
    make = "".join(
        f"create trigger queue_upload_on_{name} after {event} on call_recordings begin {noted} end;"
        for name, event in events.items()
    )
    return f"begin immediate;{drop}{make}{_ALL_STORED.format('', ' from call_recordings')}commit;"


class _Paced(BufferedReader):
    """A file that is read no faster than so: sending keeps a processor and Python's lock busy, and calls need both."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        time.sleep(len(data) / FASTEST_BYTES_PER_S)
        return data


class Uploads:
    """`start` and `close` belong to whoever owns the store; all else to the thread, but for what is told."""

    def __init__(
        self,
        store: SqliteStore,
        bucket: Bucket,
        folder: Path,
        *,
        keep_local: bool,
        pauses: Pauses = PAUSES,
    ) -> None:
        """folder: of all recordings. keep_local: whether the files stay here as well. pauses: after failures."""
        self.delivery = Delivery("uploads", pauses)
        self.uploaded = 0
        self._store = store
        self._bucket = bucket
        self._folder = folder
        self._keep_local = keep_local
        self._is_checked = False
        self._sent: dict[str, str] = {}
        """Paths, by their ids, of what may lie there though no row says so."""
        self._log = structlog.get_logger()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), name="uploads", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._closing = False
        self._listener = self._wake

    # --- from any thread ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin, first of all with what an earlier process left. The store must have been started."""
        self._store.tell_commits(self._listener)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Bring what can be brought within this time; the rest waits for the next process. Blocks."""
        self._closing = True
        if self._thread.ident is None:
            return
        self._wake(surely=True)
        self._thread.join(timeout_s)
        if self._thread.is_alive() and self._loop is not None and self._task is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(LAST_MOMENT_S)
        self._store.tell_commits(self._listener, on=False)

    def _wake(self, *, surely: bool = False) -> None:
        if self._loop is not None and (surely or not self._news.is_set()):
            with suppress(RuntimeError):  # the loop is closed: nobody brings anything any more
                self._loop.call_soon_threadsafe(self._news.set)

    # --- the thread ---------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        lease = None
        try:
            while not (lease := take_lease(self._store.path, "uploads")):
                if self._closing:
                    return
                self._news.clear()
                await self._rest(LEASE_POLL_S)
            await self._store.work([_AGAIN])
            self._tidy()
            while await self._step():
                pass
        except asyncio.CancelledError:
            pass  # the time is over: what is under way is brought by the next process
        finally:
            self._tell_left()
            if lease is not None:
                lease.close()
            await self._bucket.close()

    def _tell_left(self) -> None:
        with suppress(sqlite3.Error):
            for recording_id, path in self._sent.items():
                if not self._belongs_there(recording_id):
                    advice = "it was erased and may be in the bucket: erase the call again"
                    self._log.error("uploads.left_there", recording=path, bucket=self._bucket.name, advice=advice)

    async def _step(self) -> bool:
        """Bring one, or wait for one. False when it is time to end."""
        self._news.clear()
        closing = self._closing  # before looking: what is there by then is brought still
        try:
            refusal = await self._take_back()
            waiting = fetch(self._store.path, _NEXT)
            self._look()
            if not waiting:
                if refusal is not None:
                    raise refusal  # noqa: TRY301 - it is told and tried again like any other
                if closing:
                    return False
                await self._rest(LOOK_ANYWAY_S)
                return True
            await self._bring_or_set_aside(waiting[0])
        except Exception as fault:  # noqa: BLE001 - whatever it is, it is told and tried again, and others go first
            if not isinstance(fault, (RemoteError, StoreSlowError, sqlite3.Error)):
                self._log.exception("uploads.fault")
            if self._closing:
                return False
            await self._pause(fault)
        return True

    async def _bring_or_set_aside(self, row: Row) -> None:
        try:
            if not self._is_checked:
                await self._bucket.check()
                self._is_checked = True
            await self._bring(row)
        except Refused as refusal:
            self._log.error("uploads.refused", callSid=row["call_sid"], recording=row["path"], reason=str(refusal))
            aside = {"id": row["recording_id"], "why": str(refusal)}
            await self._store.work([Statement(_SET_ASIDE, aside)])
        except Misconfigured:
            self._is_checked = False
            raise
        except Exception:
            await self._store.work([Statement(_TRIED, {"id": row["recording_id"]})])
            raise
        self.delivery.recovered()

    async def _bring(self, row: Row) -> None:
        path: str = row["path"]
        with self._open(row) as file:
            self._sent[row["recording_id"]] = path
            await self._bucket.put(path, file, row["sha256"] or "")
        still = fetch(self._store.path, _STILL, [row["recording_id"]])
        if not still:
            return
        if not await self._note(row, still[0]["status"]):
            raise StoreSlowError("the file does not take down what was brought")
        del self._sent[row["recording_id"]]
        self.uploaded += 1
        self._log.info("uploads.brought", callSid=row["call_sid"], recording=path, bucket=self._bucket.name)
        if not self._keep_local:
            self._unlink(path)

    async def _take_back(self) -> RemoteError | None:
        """Remove what is no more to be brought, and may have arrived. Returns why something is there still."""
        refusal: RemoteError | None = None
        for recording_id, path in list(self._sent.items()):
            if self._belongs_there(recording_id):
                continue
            try:
                await self._bucket.remove([path])
            except RemoteError as fault:  # others are brought meanwhile
                refusal = fault
            else:
                del self._sent[recording_id]
                self._log.warning("uploads.taken_back", recording=path, reason="it was erased meanwhile")
        return refusal

    def _belongs_there(self, recording_id: str) -> bool:
        """It is to be brought still, or the record says that it was, even if we heard of that too late."""
        return bool(fetch(self._store.path, _BELONGS_THERE, {"id": recording_id}))

    def _open(self, row: Row) -> BufferedReader:
        """The file, as it was when it was told to be whole."""
        try:
            file = _Paced(open_safely(self._folder, row["path"]).detach())
        except OSError as fault:
            raise Refused(f"its file cannot be read: {fault.strerror or fault}") from None
        size = os.fstat(file.fileno()).st_size
        if row["bytes"] is not None and row["bytes"] != size:
            file.close()
            raise Refused(f"its file has {size} bytes, and had {row['bytes']} when it was recorded")
        return file

    async def _note(self, row: Row, status: Literal["stored", "failed"]) -> bool:
        """Put on the record where it lies now."""
        at = datetime.now(UTC)
        entry = entries.RecordingUploaded(row["recording_id"], row["path"], self._bucket.name, self._keep_local)
        record = RecordingRecord(
            row["recording_id"], row["call_sid"], status, at, path=row["path"], bucket=self._bucket.name,
            uploaded_at=at, local=self._keep_local,
        )  # fmt: skip
        return await self._store.write_durably(keeping_event(row["call_sid"], entry, at), None, [record])

    # --- around it ----------------------------------------------------------------------------------------------

    def _look(self) -> None:
        for row in fetch(self._store.path, _BACKLOG):
            self.delivery.backlog = Backlog.of(row)

    def _tidy(self) -> None:
        """Files that should have gone after their upload, had the process lived."""
        with suppress(sqlite3.Error):
            for row in fetch(self._store.path, _LEFT_BEHIND):
                if is_path(row["path"]):
                    self._unlink(row["path"])

    def _unlink(self, path: str) -> None:
        try:
            (self._folder / path).unlink(missing_ok=True)
        except OSError as fault:  # retention will come by
            self._log.error("uploads.not_removed", recording=path, reason=fault.strerror or str(fault))

    async def _pause(self, error: Exception) -> None:
        deadline = time.monotonic() + self.delivery.failed(error)
        while not self._closing and (left_s := deadline - time.monotonic()) > 0:
            self._news.clear()
            await self._rest(left_s)

    async def _rest(self, longest_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._news.wait()
