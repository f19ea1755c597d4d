"""Voice activity by energy. Its clock is sound written, not the wall: where nothing is written, nothing ends.

A hop is 20 ms. Speech begins with the first of three loud hops in a row and ends when every hop of
`silence_ms` was quiet; quiet means 6 dB below loud, so that a fading vowel does not end a turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from voice_gateway.emulator.faculties import Samples

HOP_MS: Final = 20
ONSET_HOPS: Final = 3
HYSTERESIS_DB: Final = 6.0


@dataclass(frozen=True, slots=True)
class Started:
    """Speech began. at_ms: its first hop, prefix padding included."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Speech is over. at_ms: the end of the silence that proved it."""

    at_ms: int


Change: TypeAlias = Started | Stopped


class EnergyVad:
    """threshold: 0 to 1 as in the protocol; here -50 to -30 dBFS, so that 0.5 is -40 dBFS."""

    def __init__(self, rate_hz: int, threshold: float, prefix_ms: int, silence_ms: int, start_ms: int = 0) -> None:
        loud_dbfs = -50.0 + 20.0 * threshold
        self.speaking = False
        self._hop = rate_hz * HOP_MS // 1000
        self._loud = self._hop * 32768.0**2 * 10 ** (loud_dbfs / 10)
        self._quiet = self._loud * 10 ** (-HYSTERESIS_DB / 10)
        self._prefix_ms = prefix_ms
        self._silence_hops = max(silence_ms // HOP_MS, 1)
        self._now_ms = start_ms
        self._floor_ms = start_ms
        self._run = 0
        self._rest: Samples = np.zeros(0, dtype=np.int16)

    def feed(self, samples: Samples) -> list[Change]:
        """Take the next sound; any length. Returns what changed, in order."""
        if self._rest.size:
            samples = np.concatenate((self._rest, samples))
        hops = samples.size // self._hop
        self._rest = samples[hops * self._hop :].copy() if samples.size % self._hop else self._rest[:0]
        if not hops:
            return []
        blocks = samples[: hops * self._hop].astype(np.float32).reshape(hops, self._hop)
        changes: list[Change] = []
        for energy in np.einsum("ij,ij->i", blocks, blocks).tolist():
            self._now_ms += HOP_MS
            change = self._stop_after(energy) if self.speaking else self._start_after(energy)
            if change is not None:
                changes.append(change)
        return changes

    def reset(self) -> None:
        """The buffer was committed or cleared: nobody is speaking, and no later speech begins before this point."""
        self.speaking = False
        self._run = 0
        self._floor_ms = self._now_ms

    def _start_after(self, energy: float) -> Change | None:
        self._run = self._run + 1 if energy >= self._loud else 0
        if self._run < ONSET_HOPS:
            return None
        self.speaking, self._run = True, 0
        onset_ms = self._now_ms - ONSET_HOPS * HOP_MS
        return Started(max(onset_ms - self._prefix_ms, self._floor_ms))

    def _stop_after(self, energy: float) -> Change | None:
        self._run = self._run + 1 if energy < self._quiet else 0
        if self._run < self._silence_hops:
            return None
        self.reset()
        return Stopped(self._now_ms)
