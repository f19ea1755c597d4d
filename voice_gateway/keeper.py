"""What happens to the record besides being written: a webhook is told, recordings are brought away, old things go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from voice_gateway.store.leftovers import Here, close_leftovers
from voice_gateway.store.remote import RemoteError
from voice_gateway.store.retention import Shelves, purge_project, remove_old_recordings, remove_older
from voice_gateway.trace.folder import remove_older as remove_older_traces

if TYPE_CHECKING:
    from voice_gateway.ops.metrics import Metrics
    from voice_gateway.store.shipper import Shipper
    from voice_gateway.store.sqlite import SqliteStore
    from voice_gateway.store.uploads import Uploads

SWEEP_EVERY_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """webhook_url: empty for none. keep_days: of calls and traces, 0 for ever. trace_dir: None where none are made.

    recordings_dir: None where there are none. keep_recordings_days: 0 for ever. project: its address and key, where
    there is one. bucket: of it, for recordings; empty for none. keep_local: whether the files stay here as well.
    """

    webhook_url: str = ""
    webhook_secret: str = ""
    keep_days: int = 0
    trace_dir: Path | None = None
    recordings_dir: Path | None = None
    keep_recordings_days: int = 0
    project: tuple[str, str] | None = None
    bucket: str = ""
    keep_local: bool = True


class Keeper:
    """One for a process; `start` and `close` belong to its event loop."""

    def __init__(
        self,
        store: SqliteStore,
        wishes: Wishes,
        metrics: Metrics,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._wishes = wishes
        self._wall_clock = wall_clock
        self._webhook: Shipper | None = None
        self._uploads: Uploads | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._closing_leftovers: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()
        if wishes.webhook_url:
            from voice_gateway.store.webhook import shipper_to  # noqa: PLC0415 - httpx costs 17 MB

            self._webhook = shipper_to(wishes.webhook_url, wishes.webhook_secret, store)
            metrics.watch_webhook(self._webhook.delivery)
        if wishes.bucket and wishes.project is not None and wishes.recordings_dir is not None:
            from voice_gateway.store.bucket import Bucket  # noqa: PLC0415 - as above
            from voice_gateway.store.uploads import Uploads  # noqa: PLC0415 - as above

            bucket = Bucket(*wishes.project, wishes.bucket)
            self._uploads = Uploads(store, bucket, wishes.recordings_dir, keep_local=wishes.keep_local)
            metrics.watch_uploads(self._uploads.delivery)

    @property
    def details(self) -> Mapping[str, Callable[[], object]]:
        """What `/ready` tells besides, by name."""
        found = {"webhook": self._webhook, "uploads": self._uploads}
        return {name: each.delivery.tell for name, each in found.items() if each is not None}

    def start(self) -> None:
        """Begin; the store must have been started."""
        if self._webhook is not None:
            self._webhook.start()
        if self._uploads is not None:
            self._uploads.start()
        wishes = self._wishes
        self._closing_leftovers = asyncio.create_task(self._close_leftovers(self._wall_clock()))
        if wishes.keep_days or wishes.keep_recordings_days or wishes.project:
            self._sweeping = asyncio.create_task(self._sweep_hourly())

    async def close(self, timeout_s: float) -> None:
        """Tell and bring what can be within this time; the rest stays in the file."""
        for task in filter(None, (self._sweeping, self._closing_leftovers)):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        closing: list[Coroutine[Any, Any, object]] = []
        if self._uploads is not None:
            await self._store.flush(timeout_s)  # the last recordings may be told to be whole just now
            closing.append(asyncio.to_thread(self._uploads.close, timeout_s))
        if self._webhook is not None:
            closing.append(self._webhook.close(timeout_s))
        await asyncio.gather(*closing)

    async def _close_leftovers(self, began_at: datetime) -> None:
        wishes = self._wishes
        here = Here(began_at, wishes.recordings_dir or Path(), wishes.keep_recordings_days)
        try:
            await close_leftovers(self._store, here)
        except Exception:  # noqa: BLE001 - the next start tries again
            self._log.exception("store.leftovers_fault")

    async def _sweep_hourly(self) -> None:
        while True:
            for sweep in (self._sweep, self._sweep_recordings, self._sweep_project):
                try:
                    await sweep()
                except (RemoteError, OSError) as fault:  # of the disk, the network, or what somebody must put right
                    self._log.error("retention.failing", of=sweep.__name__.strip("_"), reason=str(fault))
                except Exception:  # noqa: BLE001 - a fault of ours; it is told, and tried again in an hour
                    self._log.exception("retention.fault")
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _sweep(self) -> None:
        keep_days, now = self._wishes.keep_days, self._wall_clock()
        if not keep_days:
            return
        swept = await remove_older(self._store, keep_days, now)
        traces = 0
        if self._wishes.trace_dir is not None:
            traces = await asyncio.to_thread(remove_older_traces, self._wishes.trace_dir, keep_days, now.timestamp())
        if swept.calls or traces:
            self._log.info(
                "retention.swept", calls=swept.calls, untold=swept.untold, traces=traces, older_than_days=keep_days
            )

    async def _sweep_recordings(self) -> None:
        wishes = self._wishes
        if not wishes.keep_recordings_days or wishes.recordings_dir is None:
            return
        bucket = None
        if wishes.bucket and wishes.project is not None:
            from voice_gateway.store.bucket import Bucket  # noqa: PLC0415 - as above

            bucket = Bucket(*wishes.project, wishes.bucket)
        try:
            shelves = Shelves(wishes.recordings_dir, bucket)
            removed = await remove_old_recordings(self._store, shelves, wishes.keep_recordings_days, self._wall_clock())
        finally:
            if bucket is not None:
                await bucket.close()
        if removed:
            self._log.info("recordings.swept", removed=removed, older_than_days=wishes.keep_recordings_days)

    async def _sweep_project(self) -> None:
        if self._wishes.project is None:
            return
        from voice_gateway.store.project import Project  # noqa: PLC0415 - as above

        project = Project(*self._wishes.project)
        try:
            removed = await purge_project(project, self._wishes.keep_days, self._wall_clock())
        finally:
            await project.close()
        if removed:
            self._log.info("retention.swept_project", calls=removed, older_than_days=self._wishes.keep_days)
