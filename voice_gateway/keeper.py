"""What happens to the record besides being written: a webhook is told, and what has reached its age is removed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from voice_gateway.store.retention import remove_older
from voice_gateway.trace.folder import remove_older as remove_older_traces

if TYPE_CHECKING:
    from voice_gateway.ops.metrics import Metrics
    from voice_gateway.store.shipper import Shipper
    from voice_gateway.store.sqlite import SqliteStore

SWEEP_EVERY_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """webhook_url: empty for none. keep_days: 0 for ever. trace_dir: None where calls are not traced."""

    webhook_url: str = ""
    webhook_secret: str = ""
    keep_days: int = 0
    trace_dir: Path | None = None


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
        self._sweeping: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()
        if wishes.webhook_url:
            from voice_gateway.store.webhook import shipper_to  # noqa: PLC0415 - httpx costs 17 MB

            self._webhook = shipper_to(wishes.webhook_url, wishes.webhook_secret, store)
            metrics.watch_webhook(self._webhook)

    @property
    def details(self) -> Mapping[str, Callable[[], object]]:
        """What `/ready` tells besides, by name."""
        return {} if self._webhook is None else {"webhook": self._webhook.tell}

    def start(self) -> None:
        """Begin; the store must have been started."""
        if self._webhook is not None:
            self._webhook.start()
        if self._wishes.keep_days:
            self._sweeping = asyncio.create_task(self._sweep_hourly())

    async def close(self, timeout_s: float) -> None:
        """Tell what can be told within this time; the rest stays in the file."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        if self._webhook is not None:
            await self._webhook.close(timeout_s)

    async def _sweep_hourly(self) -> None:
        while True:
            try:
                await self._sweep()
            except Exception:  # noqa: BLE001 - a fault of ours, or of the disk; it is told, and tried again in an hour
                self._log.exception("retention.fault")
            await asyncio.sleep(SWEEP_EVERY_S)

    async def _sweep(self) -> None:
        keep_days, now = self._wishes.keep_days, self._wall_clock()
        swept = await remove_older(self._store, keep_days, now)
        traces = 0
        if self._wishes.trace_dir is not None:
            traces = await asyncio.to_thread(remove_older_traces, self._wishes.trace_dir, keep_days, now.timestamp())
        if swept.calls or traces:
            self._log.info(
                "retention.swept", calls=swept.calls, untold=swept.untold, traces=traces, older_than_days=keep_days
            )
