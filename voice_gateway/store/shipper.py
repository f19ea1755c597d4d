"""Shipping: what stands in the outbox goes to Supabase, in order, in batches, until it has arrived.

At most one request is under way, so facts arrive in the order they were written. New facts are collected for a moment
first; a backlog goes out batch after batch. What may pass (no network, 429, 5xx, no answer) is tried again with ever
longer pauses, with some chance in them so that many gateways do not come back in one beat; so is what somebody must put
right (a key, missing tables). A batch that is not acceptable is halved until the fact is found that is to blame; it is
set aside with the reason. A request whose answer was lost is simply sent again: Supabase knows each fact by its id.

Of the processes that share a file one ships; when it dies, another takes over. The webhook is served in the same way by
a shipper of its own.
"""

from __future__ import annotations

import asyncio
import math
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from voice_gateway.store.delivery import Delivery, Pauses
from voice_gateway.store.lease import Lease, take_lease
from voice_gateway.store.outbox import SUPABASE, Outbox, Parcel
from voice_gateway.store.remote import Refused, Rejected, Remote, RemoteError
from voice_gateway.store.sqlite import SqliteStore

LEASE_POLL_S: Final = 5.0
LOOK_EVERY_S: Final = 0.5
LOOK_ANYWAY_S: Final = 15.0
"""Another program may have changed the file: `voice-gateway outbox --retry`, for one."""

_LEASES: Final = {"outbox": "shipper", "webhook": "webhook"}
"""How the lock beside the file is called."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, in seconds and facts.

    collect_s: for how long new facts wait for company. most, most_bytes: of one request. pauses: after failures.
    """

    collect_s: float = 0.3
    most: int = 500
    most_bytes: int = 1 << 20
    pauses: Pauses = field(default_factory=Pauses)


class Shipper:
    def __init__(
        self,
        store: SqliteStore,
        remote: Remote,
        pace: Pace = Pace(),
        *,
        outbox: Outbox = SUPABASE,
    ) -> None:
        """outbox: which of the file's is shipped."""
        self.delivery = Delivery(outbox.name, pace.pauses)
        self.shipped = 0
        self._store = store
        self._remote = remote
        self._pace = pace
        self._outbox = outbox
        self._most = pace.most
        self._looked_at = -math.inf
        self._log = structlog.get_logger()
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._empty = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lease: Lease | None = None
        self._news_of_commits: Callable[[], None] = self._news.set
        self._ships = False

    def start(self) -> None:
        """Begin to ship, first of all what an earlier process left."""
        loop = asyncio.get_running_loop()

        def news() -> None:
            if not self._news.is_set():
                with suppress(RuntimeError):  # the loop is closed: nobody ships any more
                    loop.call_soon_threadsafe(self._news.set)

        self._news_of_commits = news
        self._store.tell_commits(news)
        self._ships = self._take_lease()
        self._news.set()
        self._task = loop.create_task(self._run())

    async def flush(self, timeout_s: float) -> bool:
        """Ship, without collecting, all that was written before. False when that was not done within timeout_s."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._store.flush(timeout_s)
                self._empty.clear()
                self._hurry.set()
                self._news.set()
                await self._empty.wait()
        except TimeoutError:
            return False
        finally:
            self._hurry.clear()
        return True

    async def close(self, timeout_s: float) -> int:
        """Ship what can be within timeout_s, and stop. Returns how many facts still wait: they stay in the file."""
        if self._task is None:
            return self.delivery.depth
        await self.flush(timeout_s if self._ships else 0.0)
        self._store.tell_commits(self._news_of_commits, on=False)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        with suppress(sqlite3.Error):
            await self._look(now=True)
        await self._remote.close()
        self._ships = False
        if self._lease is not None:
            self._lease.close()
            self._lease = None
        if self.delivery.depth:
            self._log.warning(self._said("left"), facts=self.delivery.depth, reason=self.delivery.last_error)
        return self.delivery.depth

    # --- the loop -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        if not self._ships:
            self._log.info(self._said("shipped_by_another"), path=str(self._store.path))
        while not self._ships:
            await self._wait(LEASE_POLL_S, least=0.05)
            self._ships = self._take_lease()
        await self._store.work([self._outbox.once_more])  # what was refused before may have been put right since
        while True:
            try:
                await self._ship_next()
            except Exception as fault:  # noqa: BLE001 - a fault of ours must not end the shipping; it is told and tried again
                self._log.exception(self._said("fault"))
                await self._pause(fault)

    async def _ship_next(self) -> None:
        self._news.clear()  # before looking: what is committed from now on is news
        try:
            await self._look()
            parcel = await asyncio.to_thread(
                self._outbox.read_parcel, self._store.path, self._most, self._pace.most_bytes
            )
        except sqlite3.Error as error:
            await self._pause(error)
            return
        if not parcel.facts:
            await self._rest()
            return
        try:
            refused = await self._remote.ingest(parcel.text)
        except Rejected as error:
            if len(parcel.facts) > 1:
                self._most = len(parcel.facts) // 2
                return
            refused = {0: str(error)}
        except Refused as error:
            refused = dict.fromkeys(range(len(parcel.facts)), str(error))
        except RemoteError as error:
            await self._pause(error)
            return
        await self._arrived(parcel, refused)

    async def _arrived(self, parcel: Parcel, refused: dict[int, str]) -> None:
        refused = {index: why for index, why in refused.items() if 0 <= index < len(parcel.facts)}
        self.delivery.recovered()
        self._most = min(self._pace.most, 2 * self._most)
        self.shipped += len(parcel.facts) - len(refused)
        for reason, count in Counter(refused.values()).items():
            first = next(parcel.facts[index].call_sid for index, why in refused.items() if why == reason)
            self._log.error(self._said("refused"), callSid=first, reason=reason, facts=count)
        if not await self._store.work(self._outbox.settled(parcel, refused)):
            await self._pause(StoreSlowError("the file does not take down what has arrived"))
        elif not parcel.more:
            await self._collect()

    async def _rest(self) -> None:
        """Nothing waits: until there is news."""
        await self._look(now=True)
        if not self._news.is_set():
            self._empty.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_ANYWAY_S):
                await self._news.wait()
        await self._collect()

    async def _collect(self) -> None:
        await self._wait(self._pace.collect_s)

    async def _pause(self, error: Exception) -> None:
        await self._wait(self.delivery.failed(error), least=self._pace.pauses.first_s)

    async def _wait(self, pause_s: float, *, least: float = 0.0) -> None:
        """A pause that ends early when there is a hurry, though not before `least` seconds have passed."""
        if self._hurry.is_set():
            await asyncio.sleep(min(least, pause_s))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()

    async def _look(self, *, now: bool = False) -> None:
        """See how much waits; not each time, for counting much takes some milliseconds."""
        if now or time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self.delivery.backlog = await asyncio.to_thread(self._outbox.read_backlog, self._store.path)
            self._looked_at = time.monotonic()

    def _said(self, event: str) -> str:
        return f"{self._outbox.name}.{event}"

    def _take_lease(self) -> bool:
        """True when it is ours to ship this file."""
        self._lease = take_lease(self._store.path, _LEASES[self._outbox.name])
        return self._lease is not None


class StoreSlowError(Exception):
    """What has arrived could not be crossed off in time; it is sent again, which changes nothing."""
