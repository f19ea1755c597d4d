"""The tones of telephone keys (DTMF), as µ-law at 8 kHz.

Frequencies are those of ITU-T Q.23, table 1. What a receiver needs is ITU-T Q.24: Administrations ask for 40 to 50 ms
of tone and 30 to 70 ms of pause at least, and frequencies within 1.5 %; here a tone and a pause take 100 ms each. The
low tone is at -9 dBm0, the high one 2 dB above it, because lines weaken high frequencies more; a sine that fills G.711
is +3.17 dBm0 (ITU-T G.711, table 6), so both together stay well below the limit.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import numpy as np

from voice_gateway.audio import g711

LOW_HZ: Final = (697.0, 770.0, 852.0, 941.0)
HIGH_HZ: Final = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS: Final = ("123A", "456B", "789C", "*0#D")
"""One row for each low frequency, one column for each high one."""

TONE_MS: Final = 100
PAUSE_MS: Final = 100
WAIT_MS: Final = {"w": 500, "W": 1000, ",": 500}
"""What stands for a wait between keys; the first two as in the carrier's own `SendDigits`."""
LOW_DBM0: Final = -9.0
HIGH_DBM0: Final = -7.0
FULL_SCALE_DBM0: Final = 3.17
LONGEST: Final = 64
_EDGE_SAMPLES: Final = 16
"""2 ms: a tone that begins and ends at once clicks, and a click is energy where a receiver looks for speech."""


def read_digits(text: str) -> str:
    """Keys and waits without spaces, letters A to D as capitals.

    Raises ValueError, in words, for anything else, for nothing, and for more than `LONGEST`.
    """
    digits = re.sub(r"[\s\-.()]", "", text).translate(str.maketrans("abcd", "ABCD"))
    if not digits or len(digits) > LONGEST or re.search(r"[^0-9*#A-DwW,]", digits):
        raise ValueError(f"digits are 1 to {LONGEST} of 0-9, *, #, A-D, and w for a wait of half a second")
    return digits


def tones(digits: str) -> bytes:
    """The sound of these keys, one after the other, each with its pause. digits: as `read_digits` gives them."""
    silence = g711.SILENCE * 8
    return b"".join(silence * WAIT_MS[key] if key in WAIT_MS else _tone(key) + silence * PAUSE_MS for key in digits)


@cache
def _tone(key: str) -> bytes:
    row = next(row for row, keys in enumerate(KEYS) if key in keys)
    seconds = np.arange(TONE_MS * g711.RATE_HZ // 1000) / g711.RATE_HZ
    both = _sine(LOW_HZ[row], LOW_DBM0, seconds) + _sine(HIGH_HZ[KEYS[row].index(key)], HIGH_DBM0, seconds)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(_EDGE_SAMPLES) + 0.5) / _EDGE_SAMPLES)
    both[:_EDGE_SAMPLES] *= ramp
    both[-_EDGE_SAMPLES:] *= ramp[::-1]
    return g711.encode_sums(both)


def _sine(frequency_hz: float, dbm0: float, seconds: np.ndarray) -> np.ndarray:
    amplitude: float = 10 ** ((dbm0 - FULL_SCALE_DBM0) / 20) * 32768
    return amplitude * np.sin(2 * np.pi * frequency_hz * seconds)
