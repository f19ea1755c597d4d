"""What is to happen later: the only place of the emulated model that knows about waiting."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Agenda:
    """Things to do, each at its time in seconds; those of one time in the order they were asked for."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._struck: set[int] = set()

    def at(self, when: float, do: Callable[[], None]) -> int:
        """Returns a number by which it can be struck off."""
        number = next(self._numbers)
        heapq.heappush(self._heap, (when, number, do))
        return number

    def strike(self, number: int | None) -> None:
        """Not any more; a second time, or for something done already, this does nothing."""
        if number is not None and any(entry[1] == number for entry in self._heap):
            self._struck.add(number)

    def next_at(self) -> float | None:
        self._drop_struck()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> tuple[float, Callable[[], None]] | None:
        """The first thing whose time has come, with that time, or None."""
        self._drop_struck()
        if not self._heap or self._heap[0][0] > now:
            return None
        when, _, do = heapq.heappop(self._heap)
        return when, do

    def _drop_struck(self) -> None:
        while self._heap and self._heap[0][1] in self._struck:
            self._struck.discard(heapq.heappop(self._heap)[1])
