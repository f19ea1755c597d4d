"""G.711 µ-law: the sound of the telephone, one byte a sample at 8 kHz.

The tables are built from the decision values of ITU-T G.711, table 2a, and agree with the reference coder of G.191 on
every input. That reference rounds towards zero on both sides of it, so the faint noise of a silent line (±1) becomes
silence; coders that round negative samples down turn it into an audible hiss.

G.711 counts in 14 bits. Samples here are 16-bit, as everywhere in this program: four times as large.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE_HZ: Final = 8000
SILENCE: Final = b"\xff"
"""The byte for zero: what to send, any number of times, when there is nothing to say."""

_STEPS_PER_SIGN = 128
_BIAS = 33  # shifts the segments so that each begins at a power of two


def _decision_values() -> NDArray[np.int32]:
    """The 127 lower edges of the steps 1 to 127, in 14-bit units: 1, 3, 5, … 31, 35, … 7903."""
    step = np.arange(1, _STEPS_PER_SIGN, dtype=np.int32)
    return ((16 + step % 16) << (step // 16 + 1)) - _BIAS


def _decoding_table() -> NDArray[np.int16]:
    """For each of the 256 bytes its sample, -32124 to 32124: the middle of the byte's step."""
    code = np.arange(256, dtype=np.int32)
    step = ~code & 0x7F  # every bit is sent inverted
    magnitude = (((2 * (16 + step % 16) + 1) << (step // 16)) - _BIAS) * 4
    return np.where(code >= 0x80, magnitude, -magnitude).astype(np.int16)


def _encoding_table() -> NDArray[np.uint8]:
    """For each whole number from -131072 to 131071 its byte; negative ones count from the end, as Python's indices do.

    That is four times the range of a sample, limited: a filter's overshoot needs no limiter of its own.
    """
    sample = np.arange(32768)
    step = np.searchsorted(_decision_values(), sample >> 2, side="right").astype(np.uint8)
    beyond = np.full(131072 - 32768, step[-1])
    positive = 0xFF - np.concatenate((step, beyond))
    return np.concatenate((positive, positive[::-1] - 0x80))  # -1 mirrors 0, -2 mirrors 1, …


_SAMPLES: Final = _decoding_table()
_BYTES: Final = _encoding_table()


def decode(ulaw: bytes | memoryview) -> NDArray[np.int16]:
    """The samples of µ-law bytes: 8 kHz, shape (len(ulaw),), within ±32124."""
    return _SAMPLES.take(np.frombuffer(ulaw, dtype=np.uint8))


def encode(samples: NDArray[np.int16]) -> bytes:
    """The µ-law bytes of samples at 8 kHz."""
    return _BYTES.take(samples).tobytes()


def encode_sums(sound: NDArray[np.float64]) -> bytes:
    """The µ-law bytes of a filter's output, limited and rounded as 16-bit samples would be. Changes the array.

    Raises IndexError beyond ±131071: a filter whose taps' magnitudes sum to 4 or more needs a limiter.
    """
    np.rint(sound, out=sound)
    return _BYTES.take(sound.astype(np.intp)).tobytes()
