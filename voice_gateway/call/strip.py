"""A strip of sound on the carrier's media clock, and that clock as it is seen from here."""

from __future__ import annotations

from typing import Final

from voice_gateway.audio.g711 import SILENCE

SAMPLES_PER_MS: Final = 8
SAMPLES_PER_S: Final = 8000
WINDOW_S: Final = 10.0


class MediaClock:
    """Where the carrier's media clock stands, by the frames that come from there: the least delayed of late counts.

    A position read here is what a message that arrives now would say if it carried a timestamp; the delay of the road
    is in it, the same for every message. Looking back 10 to 20 s, it follows a clock that runs faster or slower.
    """

    def __init__(self, joined_at: float) -> None:
        """joined_at: when the stream's start was told, which is when its clock began as far as is known yet."""
        self._ahead = joined_at * SAMPLES_PER_S
        self._now_least = float("inf")
        self._before_least = float("inf")
        self._window_ends = 0.0

    def hear_frame(self, end: int, now: float) -> None:
        """A frame that ends at this position has arrived."""
        ahead = now * SAMPLES_PER_S - end
        if now >= self._window_ends:
            self._before_least = self._now_least
            self._now_least = ahead
            self._window_ends = now + WINDOW_S
        elif ahead < self._now_least:
            self._now_least = ahead
        else:
            return
        self._ahead = min(self._now_least, self._before_least)

    def at(self, now: float) -> int:
        """The position at this time."""
        return round(now * SAMPLES_PER_S - self._ahead)


class Strip:
    """µ-law sound from position `start` on, silence where nothing was put. What was taken cannot be changed."""

    __slots__ = ("sound", "start")

    def __init__(self) -> None:
        self.start = 0
        self.sound = bytearray()

    @property
    def end(self) -> int:
        """The position after the last sound."""
        return self.start + len(self.sound)

    def put(self, position: int, ulaw: bytes) -> None:
        """Put sound there, over what is there; what lies before the start is dropped."""
        offset = position - self.start
        if offset < 0:
            ulaw, offset = ulaw[-offset:], 0
        if offset > len(self.sound):
            self.sound += SILENCE * (offset - len(self.sound))
        self.sound[offset : offset + len(ulaw)] = ulaw

    def take(self, until: int) -> bytearray:
        """All sound before this position, filled up with silence."""
        length = until - self.start
        taken = self.sound[:length]
        del self.sound[:length]
        self.start = until
        return taken + SILENCE * (length - len(taken))
