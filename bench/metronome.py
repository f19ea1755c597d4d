"""A beat every 20 ms for each of many phones, each at its own random phase, as real calls have it.

An event loop's own timers are whole milliseconds: a hundred phones would speak in bursts, and the bursts' queueing
would be measured as the gateway's delay. Linux's timerfd knows nanoseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import random
import time
from bisect import insort
from collections.abc import Callable

PERIOD_S = 0.020
_MONOTONIC, _NONBLOCK, _ABSOLUTE = 1, 0o4000, 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Metronome:
    """lateness_s: how late each beat was, the far sides' own fault and never the gateway's."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(_MONOTONIC, _NONBLOCK)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "no timerfd: the bench needs Linux")
        self._loop.add_reader(self._fd, self._ring)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.lateness_s: list[float] = []

    def add(self, beat: Callable[[], None]) -> None:
        self._count += 1
        insort(self._due, (time.monotonic() + PERIOD_S * (0.5 + self._random.random()), self._count, beat))
        self._arm()

    def clear(self) -> None:
        self._due.clear()

    def stop(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _arm(self) -> None:
        seconds, rest = divmod(self._due[0][0], 1.0)
        spec = _Itimerspec(_Timespec(0, 0), _Timespec(int(seconds), int(rest * 1e9) + 1))
        self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(spec), None)

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        due = self._due
        now = time.monotonic()
        while due and due[0][0] <= now:
            at, number, beat = due.pop(0)
            self.lateness_s.append(now - at)
            beat()  # changes nothing here: phones come and go between beats
            insort(due, (at + PERIOD_S, number, beat))
            now = time.monotonic()
        if due:
            self._arm()
