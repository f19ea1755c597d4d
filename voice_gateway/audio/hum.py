"""A soft sound for the time in which somebody thinks: single notes, each whole in itself, with silence between them.

A note rises and falls from nothing to nothing, so it needs no other end: whoever wants the quiet back sends no more of
them, and the last one is over within `NOTE_MS`. Peaks are at -30 dBFS, some 10 dB below quiet speech on a telephone.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from voice_gateway.audio import g711

NOTE_MS: Final = 140
EVERY_S: Final = 1.2
"""From one note's beginning to the next one's."""
PITCHES_HZ: Final = (440.0, 523.25)
PEAK_DBFS: Final = -30.0
_RISE_MS: Final = 30
_DECAY_S: Final = 0.045


@cache
def note(number: int) -> bytes:
    """The sound of one note as µ-law at 8 kHz, `NOTE_MS` long; two pitches take turns. number: from 0."""
    pitch = PITCHES_HZ[number % len(PITCHES_HZ)]
    seconds = np.arange(NOTE_MS * g711.RATE_HZ // 1000) / g711.RATE_HZ
    rise_s, length_s = _RISE_MS / 1000, NOTE_MS / 1000
    rising = 0.5 - 0.5 * np.cos(np.pi * np.minimum(seconds / rise_s, 1.0))
    falling = np.exp(-np.maximum(seconds - rise_s, 0.0) / _DECAY_S)
    ending = 0.5 + 0.5 * np.cos(np.pi * np.clip((seconds - rise_s) / (length_s - rise_s), 0.0, 1.0))
    shape = rising * falling * ending
    wave = shape * np.sin(2 * np.pi * pitch * seconds)
    return g711.encode_sums(wave * (10 ** (PEAK_DBFS / 20) * 32768 / np.abs(wave).max()))
