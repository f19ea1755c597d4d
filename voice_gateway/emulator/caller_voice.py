"""The line from the mouth: a continuous clock of 20 ms frames on which the caller now and then speaks.

Pure: times are seconds since the media stream's start. Frame k holds the sound of [k * 0.020, (k + 1) * 0.020) and
can leave the telephone when that time is over; the weather says when it reaches the server.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pybase64

from voice_gateway.audio import g711
from voice_gateway.emulator.phone_line import SILENCE, Segment
from voice_gateway.emulator.weather import Gap, Weather

FRAME_S = 0.02
FRAME_BYTES = 160
_NOISE_FRAMES = 50
_SILENT_PAYLOAD = pybase64.b64encode(SILENCE * FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame for the wire. timestamp_ms: on the stream's clock. payload: base64."""

    index: int
    payload: bytes

    @property
    def timestamp_ms(self) -> int:
        return self.index * 20


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something the caller says. first, last: numbers of its frames."""

    first: int
    last: int
    ulaw: bytes


class CallerVoice:
    """What the caller's telephone sends. `say` schedules speech, `due` gives the frames whose time has come."""

    def __init__(self, weather: Weather) -> None:
        self._weather = weather
        self._chance = weather.chance("from the mouth")
        self._gaps: list[Gap] = list(weather.gaps)
        self._waiting: deque[Utterance] = deque()
        self._quiet = _quiet_payloads(weather)
        self._next = 0
        self._due_s = 0.0
        self._plan()
        self.said: list[Segment] = []

    @property
    def next_frame(self) -> int:
        """Number of the frame to be sent next; all before it were sent or lost."""
        return self._next

    def say(self, now: float, ulaw: bytes) -> Utterance:
        """Speak from now on, or after what is still being said. The last frame is filled up with silence."""
        busy = self._waiting[-1].last + 1 if self._waiting else self._next
        first = max(busy, math.ceil(round(now / FRAME_S, 6)))
        whole = ulaw + SILENCE * (-len(ulaw) % FRAME_BYTES)
        utterance = Utterance(first, first + len(whole) // FRAME_BYTES - 1, whole)
        if ulaw:
            self._waiting.append(utterance)
            self.said.append(Segment(first * FRAME_S, len(ulaw), len(self.said) + 1, ulaw, audible=True))
        return utterance

    def hush(self, now: float) -> None:
        """Stop speaking: the hand-set is down."""
        self._waiting.clear()
        self.said = [heard for each in self.said if (heard := each.until(now)).length]

    def stall(self, now: float, length_s: float) -> None:
        """Lose all frames from now on for so long. Time and speech go on."""
        self._gaps.append(Gap(now, length_s))

    def due(self, now: float) -> Iterator[Frame]:
        """The frames that reach the server by now; many at once when the asker comes late."""
        while self._due_s <= now:
            index = self._next
            payload = self._payload(index)
            self._next += 1
            self._plan()
            if not self._lost(index):
                yield Frame(index, payload)

    def skip(self, now: float) -> int:
        """Lose all frames that are overdue. Returns how many."""
        return sum(1 for _ in self.due(now))

    def deadline(self) -> float:
        """When the next frame is due."""
        return self._due_s

    def _plan(self) -> None:
        """Set the due time of the next frame: with the last of its burst, and never before its forerunner."""
        weather = self._weather
        burst_end = (self._next // weather.burst_frames + 1) * weather.burst_frames
        late_s = self._chance.uniform(0.0, weather.jitter_s) if weather.jitter_s else 0.0
        self._due_s = max(self._due_s, burst_end * FRAME_S + weather.one_way_s + late_s)

    def _lost(self, index: int) -> bool:
        at_s = index * FRAME_S
        return any(gap.at_s <= at_s < gap.end_s for gap in self._gaps)

    def _payload(self, index: int) -> bytes:
        if not self._waiting or index < self._waiting[0].first:
            return self._quiet[index % len(self._quiet)]
        utterance = self._waiting[0]
        offset = (index - utterance.first) * FRAME_BYTES
        if index == utterance.last:
            self._waiting.popleft()
        return pybase64.b64encode(utterance.ulaw[offset : offset + FRAME_BYTES])


def _quiet_payloads(weather: Weather) -> list[bytes]:
    """What is sent while nobody speaks, ready for the wire: silence, or a second of noise that repeats."""
    if weather.noise_dbfs is None:
        return [_SILENT_PAYLOAD]
    scale = 32768 * 10 ** (weather.noise_dbfs / 20)
    noise = np.random.default_rng(weather.seed).normal(0.0, scale, (_NOISE_FRAMES, FRAME_BYTES))
    frames = np.clip(np.rint(noise), -32768, 32767).astype(np.int16)
    return [pybase64.b64encode(g711.encode(frame)) for frame in frames]
