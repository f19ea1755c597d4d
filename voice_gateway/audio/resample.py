"""From 8 kHz to 24 kHz and back, sample by sample: what goes in comes out at once.

A resampler made for files works in large blocks and holds speech back (soxr's stream: 40 to 150 ms, and as much is
lost at the end of each answer). In a live call a plain filter is better: 145 taps at 24 kHz, linear phase, a delay of
exactly 72 samples at 24 kHz and 24 at 8 kHz, which is 3.0 ms and nothing else.

Rules that hold for `Upsampler` and `Downsampler`:

- The taps are multiples of 2^-20 and samples are whole numbers, so every product and every sum fits a float64 without
  rounding. The order of the sums cannot matter, and any cutting of the input into chunks gives the same output, bit
  by bit, on any machine.
- A sound that does not change passes unchanged. On the way up each of the three phases sums to exactly 1 (else a
  constant would ring at 8 kHz), on the way down all taps together do.
- The history is the only state. `reset` makes it zero.

`convert` is for sound that is there as a whole: prompts, recordings, a browser's odd rate. It uses soxr.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

PHONE_RATE_HZ: Final = 8000
MODEL_RATE_HZ: Final = 24_000
FILTER_DELAY_MS: Final = 3.0

_RATIO = MODEL_RATE_HZ // PHONE_RATE_HZ
_TAPS = 145  # (145 - 1) / 2 = 72 is divisible by 3: the delay is whole at both rates
_CENTRE = _TAPS // 2
# At 4000 Hz the images of 3.5 to 4 kHz would pass; here they are in the slope.
_CUTOFF_HZ = 3740.0
_STOPBAND_DB = 70.0
_GRID = 2.0**20

# The sums for BLOCK samples at 8 kHz are one row of a matrix product. 20 divides a frame of 160, and is near the best
# between few sums (small blocks) and few rows (large ones).
_BLOCK = 20
# Products beyond about 300 ms of sound would be spread over threads by the linear algebra library, which costs more
# than it gains and wakes other cores. Longer sound is cut into slabs of 200 ms.
_SLAB_MS = 200

_UP_HISTORY = (_TAPS - 1) // _RATIO
_DOWN_HISTORY = _TAPS - 1


def _prototype() -> NDArray[np.float64]:
    """A Kaiser-windowed sinc at 24 kHz, its gain near 1 and not yet exact."""
    beta = 0.1102 * (_STOPBAND_DB - 8.7)  # Kaiser's own formula, for more than 50 dB
    time = np.arange(_TAPS) - _CENTRE
    width = 2 * _CUTOFF_HZ / MODEL_RATE_HZ
    taps: NDArray[np.float64] = width * np.sinc(width * time) * np.kaiser(_TAPS, beta)
    return taps


def _up_taps() -> NDArray[np.float64]:
    """Taps whose three phases sum to 1 each. What rounding left goes to the middle, evenly to both sides of it."""
    taps = _prototype()
    for phase in range(_RATIO):
        taps[phase::_RATIO] /= taps[phase::_RATIO].sum()
    taps = np.rint(taps * _GRID) / _GRID
    for tap in (_CENTRE - 1, _CENTRE, _CENTRE + 1):
        taps[tap] += 1.0 - taps[tap % _RATIO :: _RATIO].sum()
    return taps


def _down_taps() -> NDArray[np.float64]:
    """Taps that sum to 1."""
    taps = _prototype()
    taps /= taps.sum()
    taps = np.rint(taps * _GRID) / _GRID
    taps[_CENTRE] += 1.0 - taps.sum()
    return taps


def _up_matrix() -> NDArray[np.float64]:
    """(history + BLOCK, 3 BLOCK): column 3i + p holds the taps of phase p as the i-th sample of a block sees them."""
    taps = _up_taps()
    matrix = np.zeros((_UP_HISTORY + _BLOCK, _RATIO * _BLOCK))
    for column in range(_RATIO * _BLOCK):
        sample, phase = divmod(column, _RATIO)
        seen = taps[phase::_RATIO][::-1]
        end = _UP_HISTORY + sample + 1
        matrix[end - len(seen) : end, column] = seen
    return matrix


def _down_matrix() -> NDArray[np.float64]:
    """(3 BLOCK + 142, BLOCK): column i holds all taps, ending at the i-th third sample after the history."""
    taps = _down_taps()[::-1]
    matrix = np.zeros((_RATIO * (_BLOCK - 1) + _TAPS, _BLOCK))
    for column in range(_BLOCK):
        matrix[_RATIO * column : _RATIO * column + _TAPS, column] = taps
    return matrix


_UP: Final = _up_matrix()
_DOWN: Final = _down_matrix()

# Arrays and not numbers: numpy takes them without conversion, which is a third of the cost for a frame.
_LOWEST: Final = np.array(-32768.0)
_HIGHEST: Final = np.array(32767.0)


def _rounded(sound: NDArray[np.float64]) -> NDArray[np.int16]:
    """Limit, then round to the nearest whole number, halves to even. Works in place."""
    sound.clip(_LOWEST, _HIGHEST, out=sound)
    np.rint(sound, out=sound)
    return sound.astype(np.int16)


class _Sliding:
    """A matrix that slides over a stream of samples and takes the sums of a whole slab at once.

    A beat is one sample at 8 kHz. `hop` inputs make a beat, and the first of them completes it: a beat is out as soon
    as that one is in. So the past is the `history` samples before the next beat's first one, less those inputs of the
    last beat that are still to come.

    Pieces of a live call are alike, so the line (past and new samples side by side) and the windows over it are laid
    out once and used again as long as the lengths repeat.
    """

    __slots__ = ("_fresh", "_head", "_history", "_hop", "_matrix", "_outputs", "_past", "_slab", "_tail", "_windows")

    def __init__(self, matrix: NDArray[np.float64], history: int, hop: int) -> None:
        self._matrix = matrix
        self._history = history
        self._hop = hop
        self._slab = _SLAB_MS * hop * PHONE_RATE_HZ // 1000
        self.reset()
        self._lay(0)

    def reset(self) -> None:
        self._past: NDArray[np.float64] = np.zeros(self._history)

    def sums(self, samples: NDArray[np.int16]) -> NDArray[np.float64]:
        """The filter's exact output for the next samples: a new array, not limited and not rounded."""
        if samples.size <= self._slab:
            return self._slab_sums(samples)
        starts = range(0, samples.size, self._slab)
        return np.concatenate([self._slab_sums(samples[start : start + self._slab]) for start in starts])

    def _slab_sums(self, samples: NDArray[np.int16]) -> NDArray[np.float64]:
        if samples.size != self._fresh.size or self._past.size != self._head.size:
            self._lay(samples.size)
        self._head[:] = self._past
        self._fresh[:] = samples
        self._past = self._tail
        sums: NDArray[np.float64] = self._windows.dot(self._matrix)
        return sums.reshape(-1)[: self._outputs]

    def _lay(self, count: int) -> None:
        """Lay out a line for the past as it is and `count` samples. What follows them, to a whole row, stays zero."""
        width, row_outputs = self._matrix.shape
        held = self._past.size
        filled = held + count
        beats = max(0, -((self._history - filled) // self._hop))
        rows = -(-beats // _BLOCK)
        step = _BLOCK * self._hop
        line = np.zeros(self._history + rows * step)
        self._head, self._fresh, self._tail = line[:held], line[held:filled], line[self._hop * beats : filled]
        self._windows: NDArray[np.float64] = np.ndarray(
            (rows, width), line.dtype, line, 0, (step * line.itemsize, line.itemsize)
        )
        self._outputs = beats * row_outputs // _BLOCK


class Upsampler:
    """8 kHz to 24 kHz, streaming: n samples in, 3n out, from the first sample on."""

    __slots__ = ("_filter",)

    def __init__(self) -> None:
        self._filter = _Sliding(_UP, _UP_HISTORY, hop=1)

    def process(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """samples: shape (n,) at 8 kHz. Returns shape (3n,) at 24 kHz, 3.0 ms later than the input."""
        return _rounded(self._filter.sums(samples))

    def reset(self) -> None:
        """Forget the sound before: as fresh."""
        self._filter.reset()


class Downsampler:
    """24 kHz to 8 kHz, streaming: after n samples in, n/3 (rounded up) are out, from the first sample on."""

    __slots__ = ("_filter",)

    def __init__(self) -> None:
        self._filter = _Sliding(_DOWN, _DOWN_HISTORY, hop=_RATIO)

    def process(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """samples: shape (n,) at 24 kHz. Returns shape (about n/3,) at 8 kHz, 3.0 ms later than the input."""
        return _rounded(self._filter.sums(samples))

    def sums(self, samples: NDArray[np.int16]) -> NDArray[np.float64]:
        """The same before limiting and rounding: exact, and within ±70,000, for whoever rounds by a table."""
        return self._filter.sums(samples)

    def reset(self) -> None:
        """Forget the sound before: as fresh."""
        self._filter.reset()


def convert(samples: NDArray[np.int16], from_hz: int, to_hz: int) -> NDArray[np.int16]:
    """A whole signal at another rate, without delay, by soxr at its best quality (VHQ).

    samples: shape (n,), or (n, channels). The length becomes n * to_hz / from_hz, rounded.
    """
    if from_hz == to_hz:
        return samples.copy()
    # In float: for 16-bit output soxr would add dither, and silence would no longer be silent.
    sound = soxr.resample(samples.astype(np.float64), from_hz, to_hz, quality="VHQ")
    return _rounded(np.asarray(sound))
