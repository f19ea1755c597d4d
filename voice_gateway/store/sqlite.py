"""The embedded store: one SQLite file, one writer thread (`writer`), and the outbox to Supabase within it (`outbox`).

The event loop only puts records on a queue. None of what can happen to the file is ever raised into a call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson
import structlog

from voice_gateway.store.database import fetch
from voice_gateway.store.earlier import Earlier, earlier_calls
from voice_gateway.store.records import CallPatch, EventRecord, FoldedRow, Row, Store, iso_utc
from voice_gateway.store.statements import Statement
from voice_gateway.store.writer import Habits, Receipt, Waiting, Work, Writer


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
        at_open: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """linger_s: how long a record may wait for company. capacity: records kept while the file cannot be written.

        stuck_after_s: from which age of the oldest waiting record the store counts as stuck. max_bytes: the file's
        largest size, see `room`. at_open: SQL that is run on the file, and on each that takes its place. clock:
        monotonic seconds.
        """
        self.path = Path(path)
        self.dropped = 0
        self._capacity = capacity
        self._stuck_after = stuck_after_s
        self._clock = clock
        self._log = structlog.get_logger()
        self._writer = Writer(self.path, Habits(linger_s, max_bytes, at_open))
        self._earlier: dict[str, Earlier] = {}

    # --- writing ------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open or make the file and start the writer. Raises `StoreError` when the file cannot be had."""
        await asyncio.to_thread(self._writer.start)
        self._earlier = await asyncio.to_thread(earlier_calls, self.path, datetime.now(UTC))

    def write(self, event: EventRecord, patch: CallPatch | None = None, rows: Sequence[FoldedRow] = ()) -> None:
        """Put a record on its way. Costs a microsecond; past `capacity` the record is dropped and counted."""
        if self._writer.queue.qsize() < self._capacity:
            self._writer.queue.put(Waiting(self._clock(), event, patch, rows))
        else:
            self._drop()

    async def write_durably(
        self,
        event: EventRecord,
        patch: CallPatch | None = None,
        rows: Sequence[FoldedRow] = (),
        *,
        timeout_s: float = 5.0,
    ) -> bool:
        """Write without lingering and wait for the commit. False when it has not happened within timeout_s."""
        if self._writer.queue.qsize() >= self._capacity:
            self._drop()
            return False
        return await self._wait_for(timeout_s, event, patch, rows)

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything written before is committed. False when it was not within timeout_s."""
        return await self._wait_for(timeout_s)

    async def close(self, timeout_s: float = 5.0) -> int:
        """Commit what waits and stop. Returns the number of records lost since the start, normally 0."""
        if self._writer.running:
            await asyncio.to_thread(self._writer.close, timeout_s)
        return self.lost

    async def work(self, statements: Sequence[Statement], timeout_s: float = 5.0) -> bool:
        """Have the writer run these soon, before what waits to be written. False when not done within timeout_s."""
        if not self._writer.running:
            return False
        receipt = Receipt()
        self._writer.works.put(Work(statements, receipt))
        self._writer.queue.put(Waiting(self._clock()))
        self._writer.hurry.set()
        return await _given(receipt, timeout_s)

    def tell_commits(self, listener: Callable[[], None], *, on: bool = True) -> None:
        """Have a listener called after each commit that brought something to tell, in the writer's thread; or not."""
        others = tuple(each for each in self._writer.on_commit if each is not listener)
        self._writer.on_commit = (*others, listener) if on else others

    async def _wait_for(
        self,
        timeout_s: float,
        event: EventRecord | None = None,
        patch: CallPatch | None = None,
        rows: Sequence[FoldedRow] = (),
    ) -> bool:
        if not self._writer.running:
            return False
        receipt = Receipt()
        self._writer.queue.put(Waiting(self._clock(), event, patch, rows, receipt))
        self._writer.hurry.set()
        return await _given(receipt, timeout_s)

    def _drop(self) -> None:
        if self.dropped == 0:
            self._log.error("store.overflow", capacity=self._capacity, reason=self.last_error)
        self.dropped += 1

    # --- health -------------------------------------------------------------------------------------------------

    @property
    def last_error(self) -> str:
        return self._writer.last_error

    @property
    def refused(self) -> int:
        """Rows that the tables did not take."""
        return self._writer.refused

    @property
    def cleared(self) -> int:
        """Events given up, before they were told, to keep the file within its size; see `room`."""
        return self._writer.cleared

    @property
    def lost(self) -> int:
        """Records that are neither stored nor waiting."""
        return self._writer.lost + self.dropped

    @property
    def depth(self) -> int:
        """Records that are not committed yet."""
        return self._writer.queue.qsize() + len(self._writer.batch)

    def oldest_age_s(self, now: float) -> float:
        """For how long the oldest uncommitted record has been waiting; 0 when none is. now: as told by the clock."""
        batch = self._writer.batch
        return max(0.0, now - batch[0].since) if batch else 0.0

    def stuck(self, now: float) -> bool:
        """True when the writer is not running, or the oldest record waits too long, or records are being dropped."""
        full = self._writer.queue.qsize() >= self._capacity
        return not self._writer.running or full or self.oldest_age_s(now) > self._stuck_after

    def earlier(self, call_sid: str) -> Earlier | None:
        """What the file held of a call when this process began, if it may still be on the line."""
        return self._earlier.get(call_sid)

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


async def _given(receipt: Receipt, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            return await receipt.stored
    except TimeoutError:
        return False


def _unpacked(row: Row, column: str) -> Row:
    row[column] = orjson.loads(row[column] or "{}")
    return row
