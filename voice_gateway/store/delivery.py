"""A delivery: how that stands which is on its way somewhere, and for how long it rests after a failure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from voice_gateway.store.outbox import Backlog
from voice_gateway.store.remote import Unavailable


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds. Pauses after failures in a row grow from first_s to longest_s, with some chance in each.

    longest_wish_s: up to here counts what the far side itself wishes (Retry-After).
    """

    first_s: float = 0.25
    longest_s: float = 15.0
    longest_wish_s: float = 120.0


class Delivery:
    """Facts to Supabase or the webhook, or recordings to a bucket. Read from any thread."""

    def __init__(self, name: str, pauses: Pauses, chance: Callable[[], float] = random.random) -> None:
        """name: what the log calls it. chance: between 0 and 1, for the pauses."""
        self.backlog = Backlog()
        """As it was when last looked at."""
        self.last_error = ""
        self.failures = 0
        self._name = name
        self._pauses = pauses
        self._chance = chance
        self._in_a_row = 0
        self._log = structlog.get_logger()

    @property
    def depth(self) -> int:
        """How much is not there yet."""
        return self.backlog.depth

    @property
    def refused(self) -> int:
        """How much is set aside."""
        return self.backlog.refused

    def oldest_age_s(self) -> float:
        """For how long the oldest has been waiting; 0 when none is."""
        return 0.0 if self.backlog.oldest is None else max(0.0, time.time() - self.backlog.oldest)

    def tell(self) -> dict[str, object]:
        """How it stands, for `/ready`."""
        return {
            "depth": self.depth,
            "oldestAgeSeconds": round(self.oldest_age_s(), 1),
            "refused": self.refused,
            "lastError": self.last_error,
        }

    def failed(self, error: Exception) -> float:
        """Tell and count a failure. Returns for how long to rest: longer each time, and no two the same."""
        if not self.last_error:
            self._log.error(f"{self._name}.failing", reason=str(error), waiting=self.depth)
        self.last_error = str(error) or type(error).__name__
        self.failures += 1
        pauses = self._pauses
        pause_s = min(pauses.longest_s, pauses.first_s * 2.0**self._in_a_row) * (0.5 + self._chance() / 2)
        self._in_a_row = min(self._in_a_row + 1, 16)
        wish_s = min(error.retry_after_s, pauses.longest_wish_s) if isinstance(error, Unavailable) else 0.0
        return max(pause_s, wish_s)

    def recovered(self) -> None:
        """Something went well."""
        if self.last_error:
            self._log.warning(f"{self._name}.recovered", waiting=self.depth)
        self.last_error = ""
        self._in_a_row = 0
