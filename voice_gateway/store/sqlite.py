"""The embedded store: one SQLite file, one writer thread.

The event loop only puts records on a queue. The writer takes the first one, lingers a moment so that others may join,
and commits them together: each batch is one transaction. While the file cannot be written (locked, disk full, gone) the
batch is kept and tried again, ever more patiently; a row that the tables refuse is left out, told in the log and
counted; a file found broken is set aside and a new one begun, as it is for one that was deleted or moved away. None of
this is ever raised into a call.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple, TypeAlias

import orjson
import structlog

from voice_gateway.store.database import (
    INSERT_EVENT,
    UPSERT_CALL,
    StoreError,
    fetch,
    is_corrupt,
    open_sound_database,
    set_aside,
)
from voice_gateway.store.records import CallPatch, EventRecord, Row, Store, call_row, event_row, iso_utc

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
BATCH_RECORDS = 1000

_ADVICE = {
    sqlite3.SQLITE_BUSY: "another program holds the file locked",
    sqlite3.SQLITE_LOCKED: "another program holds the file locked",
    sqlite3.SQLITE_FULL: "the disk, or the size allowed for the file, is full: make room",
    sqlite3.SQLITE_READONLY: "the file cannot be written to: check its owner and mode",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check that its folder exists and can be written to",
    sqlite3.SQLITE_IOERR: "the disk does not take what is written: check its room and its health",
}
_PASSING = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)

# What a row can be refused for; everything else is the fault of the file or the disk, and is tried again.
_REFUSALS = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    OverflowError, TypeError, ValueError, AttributeError,
)  # fmt: skip


_Statement: TypeAlias = tuple[str, Row]


class SqliteStore(Store):
    """The record in a file; `records.Store` says what each method promises."""

    def __init__(
        self,
        path: Path | str,
        *,
        linger_s: float = 0.02,
        capacity: int = 100_000,
        stuck_after_s: float = 10.0,
        max_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """linger_s: how long a record may wait for company. capacity: records kept while the file cannot be written.

        stuck_after_s: from which age of the oldest waiting record the store counts as stuck. max_bytes: the file's
        largest size. clock: monotonic seconds.
        """
        self.path = Path(path)
        self.last_error = ""
        self.refused = 0
        self.dropped = 0
        self.lost = 0
        self._linger = linger_s
        self._capacity = capacity
        self._stuck_after = stuck_after_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._log = structlog.get_logger()
        self._queue: SimpleQueue[_Waiting] = SimpleQueue()
        self._batch: list[_Waiting] = []
        self._hurry = threading.Event()
        self._closing = threading.Event()
        self._give_up = threading.Event()
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._writer: threading.Thread | None = None

    # --- writing ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open or make the file and start the writer. Raises `StoreError` when the file cannot be had."""
        self._db = await asyncio.to_thread(self._open)
        self._writer = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._writer.start()

    def write(self, event: EventRecord, patch: CallPatch | None = None) -> None:
        """Put a record on its way. Costs a microsecond; past `capacity` the record is dropped and counted."""
        if self._queue.qsize() < self._capacity:
            self._queue.put(_Waiting(self._clock(), event, patch, None))
        else:
            self._drop()

    async def write_durably(
        self, event: EventRecord, patch: CallPatch | None = None, *, timeout_s: float = 5.0
    ) -> bool:
        """Write without lingering and wait for the commit. False when it has not happened within timeout_s."""
        if self._queue.qsize() >= self._capacity:
            self._drop()
            return False
        return await self._wait_for(event, patch, timeout_s)

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything written before is committed. False when it was not within timeout_s."""
        return await self._wait_for(None, None, timeout_s)

    async def close(self, timeout_s: float = 5.0) -> int:
        """Commit what waits and stop. Returns the number of records lost since the start, normally 0."""
        if self._writer is None:
            return self.lost
        self._closing.set()
        self._hurry.set()
        self._queue.put(_Waiting(self._clock(), None, None, None))
        await asyncio.to_thread(self._writer.join, timeout_s)
        self._give_up.set()  # only matters while the file cannot be written: one last attempt, and out
        await asyncio.to_thread(self._writer.join)
        self._writer = None
        return self.lost

    async def _wait_for(self, event: EventRecord | None, patch: CallPatch | None, timeout_s: float) -> bool:
        if self._writer is None or not self._writer.is_alive():
            return False
        receipt = _Receipt()
        self._queue.put(_Waiting(self._clock(), event, patch, receipt))
        self._hurry.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await receipt.stored
        except TimeoutError:
            return False

    def _drop(self) -> None:
        if self.dropped == 0:
            self._log.error("store.overflow", capacity=self._capacity, reason=self.last_error)
        self.dropped += 1
        self.lost += 1

    # --- health -------------------------------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Records that are not committed yet."""
        return self._queue.qsize() + len(self._batch)

    def oldest_age_s(self, now: float) -> float:
        """For how long the oldest uncommitted record has been waiting; 0 when none is. now: as told by the clock."""
        batch = self._batch
        return max(0.0, now - batch[0].since) if batch else 0.0

    def stuck(self, now: float) -> bool:
        """True when the writer is not running, or the oldest record waits too long, or records are being dropped."""
        running = self._writer is not None and self._writer.is_alive()
        full = self._queue.qsize() >= self._capacity
        return not running or full or self.oldest_age_s(now) > self._stuck_after

    # --- reading ------------------------------------------------------------------------------------------------

    async def read_call(self, call_sid: str) -> Row | None:
        rows = await asyncio.to_thread(fetch, self.path, "select * from calls where call_sid = ?", [call_sid])
        return _unpacked(rows[0], "meta") if rows else None

    async def read_events(self, call_sid: str) -> list[Row]:
        sql = "select * from call_events where call_sid = ? order by leg, seq, id"
        return [_unpacked(row, "payload") for row in await asyncio.to_thread(fetch, self.path, sql, [call_sid])]

    async def spent_since(self, at: datetime) -> list[tuple[str, float]]:
        sql = "select from_number, sum(cost_usd) as usd from calls where created_at >= ? group by 1"
        rows = await asyncio.to_thread(fetch, self.path, sql, [iso_utc(at)])
        return [(row["from_number"] or "", row["usd"]) for row in rows]

    async def recent_calls(self, limit: int = 20) -> list[Row]:
        sql = "select * from calls order by created_at desc, rowid desc limit ?"
        return [_unpacked(row, "meta") for row in await asyncio.to_thread(fetch, self.path, sql, [limit])]

    # --- the writer's thread ------------------------------------------------------------------------------------

    def _write_all(self) -> None:
        try:
            while not (self._closing.is_set() and self._queue.empty()):
                self._gather()
                stored = False
                try:
                    stored = self._persist()
                except Exception:  # noqa: BLE001 - a fault of ours costs this batch, not the store
                    self._log.exception("store.fault", records=len(self._batch))
                self._settle(stored=stored)
                if not stored and self._give_up.is_set():
                    self._abandon()
        finally:
            if self._db is not None:
                self._db.close()

    def _gather(self) -> None:
        """Fill the batch: the next record, and those that come while it lingers."""
        self._batch = [self._queue.get()]
        if not self._closing.is_set():
            self._hurry.wait(self._linger)
            self._hurry.clear()
        with suppress(Empty):
            while len(self._batch) < BATCH_RECORDS:
                self._batch.append(self._queue.get_nowait())

    def _persist(self) -> bool:
        """Commit the batch, however long it takes. False when it could not be had before the store had to close."""
        statements = list(self._statements())
        pause = FIRST_PAUSE_S
        last_attempt = False
        while True:
            try:
                self._commit(statements)
            except (sqlite3.Error, OSError, StoreError) as error:
                self._fail(error)
            else:
                self._recover()
                return True
            if last_attempt:
                return False
            last_attempt = self._give_up.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _open(self) -> sqlite3.Connection:
        db = open_sound_database(self.path, max_bytes=self._max_bytes)
        self._file = _identity(self.path)
        return db

    def _commit(self, statements: Sequence[_Statement]) -> None:
        if self._db is not None and _identity(self.path) != self._file:
            # What is written to a deleted file is accepted and lost without a word.
            self._log.error("store.file_gone", path=str(self.path), advice="a new one is begun: restore the old one")
            self._db.close()
            self._db = None
        if self._db is None:
            self._db = self._open()
        try:
            with _transaction(self._db) as db:
                for sql, rows in _runs(statements):
                    db.executemany(sql, rows)
        except _REFUSALS:
            self._commit_singly(self._db, statements)

    def _commit_singly(self, db: sqlite3.Connection, statements: Sequence[_Statement]) -> None:
        """The batch again, row by row, so that a bad one costs no other: a failed statement undoes itself alone."""
        refusals: list[tuple[Row, Exception]] = []
        with _transaction(db):
            for sql, row in statements:
                try:
                    db.execute(sql, row)
                except _REFUSALS as error:
                    refusals.append((row, error))
        for row, refusal in refusals:
            self._refuse(row["call_sid"], refusal)

    def _statements(self) -> Iterator[_Statement]:
        """The batch as statements: all events, then all patches, each in the order written."""
        for each in self._batch:
            if each.event is not None:
                try:
                    yield INSERT_EVENT, event_row(each.event)
                except _REFUSALS as refusal:
                    self._refuse(each.event.call_sid, refusal)
        for each in self._batch:
            if each.patch is not None:
                try:
                    yield UPSERT_CALL, call_row(each.patch)
                except _REFUSALS as refusal:
                    self._refuse(each.patch.call_sid, refusal)

    def _settle(self, *, stored: bool) -> None:
        """The batch is done with."""
        batch, self._batch = self._batch, []
        if not stored:
            self.lost += sum(each.event is not None for each in batch)
        for each in batch:
            if each.receipt is not None:
                each.receipt.give(stored=stored)

    def _abandon(self) -> None:
        """Closing, and the file still cannot be written: what waits is lost."""
        with suppress(Empty):
            while True:
                self._batch.append(self._queue.get_nowait())
        self._settle(stored=False)
        self._log.error("store.records_lost", records=self.lost, reason=self.last_error)

    def _fail(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        advice = _ADVICE.get(primary, "") if primary is not None else ""
        if not self.last_error:
            self._log.error("store.failing", reason=str(error), advice=advice, path=str(self.path))
        self.last_error = f"{error}; {advice}" if advice else str(error)
        if primary in _PASSING:
            return
        if self._db is not None:
            self._db.close()
            self._db = None
        if is_corrupt(error):
            with suppress(
                OSError
            ):  # a folder that cannot be written to will fail again, and be told, at the next attempt
                set_aside(self.path, str(error))

    def _recover(self) -> None:
        if self.last_error:
            self._log.warning("store.recovered", path=str(self.path), waiting=self._queue.qsize())
            self.last_error = ""

    def _refuse(self, call_sid: str, error: Exception) -> None:
        self.refused += 1
        self._log.error("store.row_refused", callSid=call_sid, reason=str(error))


class _Receipt:
    """The promise to tell a waiting coroutine, from the writer's thread, that its record is committed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.stored: asyncio.Future[bool] = self._loop.create_future()

    def give(self, *, stored: bool) -> None:
        with suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, stored)

    def _tell(self, stored: bool) -> None:  # noqa: FBT001 - the loop hands over positional arguments alone
        if not self.stored.done():
            self.stored.set_result(stored)


class _Waiting(NamedTuple):
    """What stands in the queue. Without an event it is somebody's question whether all before it is stored."""

    since: float
    event: EventRecord | None
    patch: CallPatch | None
    receipt: _Receipt | None


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file stands under this name; None when there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("begin immediate")
    try:
        yield db
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


def _runs(statements: Sequence[_Statement]) -> Iterator[tuple[str, list[Row]]]:
    """Neighbouring statements with the same text together."""
    for sql, group in groupby(statements, key=itemgetter(0)):
        yield sql, [row for _, row in group]


def _unpacked(row: Row, column: str) -> Row:
    row[column] = orjson.loads(row[column] or "{}")
    return row
