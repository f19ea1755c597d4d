"""The tape: our voice from the last byte that was surely heard up to the last one queued.

Sound stays on it until its receipt has come, so that playing can be taken up again where the ear was. Positions are
those of the playout.
"""

from __future__ import annotations


class Tape:
    __slots__ = ("_sound", "_start")

    def __init__(self) -> None:
        self._sound = bytearray()
        self._start = 0

    @property
    def start(self) -> int:
        """Position of the first byte kept."""
        return self._start

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self._start + len(self._sound)

    def add(self, ulaw: bytes) -> None:
        self._sound += ulaw

    def read(self, position: int, size: int) -> bytes:
        """Bytes from a position on that is kept; fewer at the end."""
        offset = position - self._start
        with memoryview(self._sound) as sound:
            return bytes(sound[offset : offset + size])

    def forget(self, before: int) -> None:
        """Keep nothing before this position, if there is anything."""
        if before > self._start:
            passed = min(before, self.end) - self._start
            del self._sound[:passed]
            self._start += passed
