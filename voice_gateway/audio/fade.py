"""A soft beginning for sound that is taken up in the midst of a wave, where a step from silence would click."""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio import g711

FADE_SAMPLES: Final = 40
"""5 ms at 8 kHz: too short to be heard as a fade, long enough for no click."""


def fade_in(ulaw: bytes) -> bytes:
    """The same µ-law sound at 8 kHz, as long as before; its first 5 ms, or all of it if shorter, rise from silence."""
    length = min(FADE_SAMPLES, len(ulaw))
    faded = g711.decode(ulaw[:length]) * _ramp(length)
    return g711.encode_sums(faded) + ulaw[length:]


@cache
def _ramp(length: int) -> NDArray[np.float64]:
    """Half a cosine from 0 towards 1, shape (length,); there are 41 of them at most. Read only, for it is kept."""
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / max(1, length))
    ramp.flags.writeable = False
    return ramp
