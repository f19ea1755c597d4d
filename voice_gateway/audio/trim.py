"""The silence around a recording of speech: found by level, and left out.

A frame counts as silent below -60 dBFS: under any telephone's noise and any voice's softest sound, and well above the
few steps of µ-law in which silence is dithered.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from voice_gateway.audio import g711

_FRAME_BYTES: Final = 160
_QUIET_DBFS: Final = -60
_QUIET_POWER: Final = (32768.0 * 10 ** (_QUIET_DBFS / 20)) ** 2

FRAMES_BEFORE: Final = 1
"""Kept in front of the first frame that sounds: a breathed consonant may begin below the threshold."""
FRAMES_AFTER: Final = 5
"""Kept behind the last one: voices fade."""


def trim(ulaw: bytes) -> bytes:
    """Return µ-law speech without the silence around it, in whole frames of 20 ms; empty when nothing sounds."""
    padded = ulaw + g711.SILENCE * (-len(ulaw) % _FRAME_BYTES)
    samples = g711.decode(padded).astype(np.float32).reshape(-1, _FRAME_BYTES)
    sounding = np.flatnonzero(np.square(samples).mean(axis=1) > _QUIET_POWER)
    if not sounding.size:
        return b""
    first = max(0, int(sounding[0]) - FRAMES_BEFORE)
    last = int(sounding[-1]) + 1 + FRAMES_AFTER
    return padded[first * _FRAME_BYTES : last * _FRAME_BYTES]
