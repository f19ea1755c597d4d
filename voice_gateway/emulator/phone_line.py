"""The line towards the ear: the carrier's playout queue, and the truth about what was really heard.

Rules, after Twilio's description of bidirectional media streams (buffer, mark, clear):

- audio is queued and played in real time, however fast it was sent;
- a mark comes back when everything sent before it was played, at once when nothing is queued;
- a clear drops what was not played yet and returns all pending marks immediately, in the order they were sent;
- of what goes beyond ten minutes of queue, the rest is dropped.

Nothing here reads a clock. All times are seconds on one clock of the caller's choice (such as the loop's). Because
audio plays at a fixed rate, the moment of every byte is known when it arrives; only a clear can change it, and a
clear can only arrive later. So the whole schedule is arithmetic and no timer's lateness can falsify the ledger.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, replace

from voice_gateway.emulator.weather import Weather

BYTES_PER_S = 8000
"""G.711 µ-law at 8 kHz."""

SILENCE = b"\xff"

QUEUE_LIMIT_S = 600.0

_QUIET_BYTES = bytes(byte for byte in range(256) if (~byte & 0x7F) <= 12)
"""µ-law codes up to an amplitude of 96 out of 32124 (-50 dBFS), found by the seven magnitude bits."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of sound on the line without a hole.

    start_s: when its first byte is played. length: bytes. message: number of the media message, from 1.
    ulaw: its bytes, or nothing when the line keeps no audio.
    """

    start_s: float
    length: int
    message: int
    ulaw: bytes
    audible: bool

    @property
    def end_s(self) -> float:
        return self.start_s + self.length / BYTES_PER_S

    def until(self, now: float) -> Segment:
        """The part played before now."""
        length = min(self.length, round(max(0.0, now - self.start_s) * BYTES_PER_S))
        return replace(self, length=length, ulaw=self.ulaw[:length])


@dataclass(frozen=True, slots=True)
class Echo:
    """A mark on its way back. reached_s: when the playout reached it. cleared: it was returned by a clear."""

    name: str
    reached_s: float
    cleared: bool = False


@dataclass(slots=True)
class _Mark:
    name: str
    reached_s: float
    late_s: float
    cleared: bool = False


class PlayoutLine:
    """One media stream's playout. Feed it what the server sent, ask it what to send back and when."""

    def __init__(self, weather: Weather, *, keep_audio: bool = True) -> None:
        self._weather = weather
        self._chance = weather.chance("to the ear")
        self._keep_audio = keep_audio
        self._segments: list[Segment] = []
        self._marks: deque[_Mark] = deque()
        self._arrived_s = float("-inf")
        self._echoed_s = float("-inf")
        self._messages = 0
        self._ended_s: float | None = None

    @property
    def empty_s(self) -> float:
        """When the queue runs dry, as things stand."""
        return self._segments[-1].end_s if self._segments else float("-inf")

    def receive(self, now: float, ulaw: bytes) -> int:
        """Queue a media message that was read at now. Returns the bytes dropped by the ten-minute limit."""
        self._messages += 1
        arrived_s = self._arrive(now)
        start_s = self.empty_s
        queued_s = max(0.0, start_s - arrived_s)
        if not queued_s:
            start_s = arrived_s + self._weather.jitter_buffer_s + self._weather.start_late_s
        taken = ulaw[: max(0, round((QUEUE_LIMIT_S - queued_s) * BYTES_PER_S))]
        if taken:
            kept = taken if self._keep_audio else b""
            self._segments.append(Segment(start_s, len(taken), self._messages, kept, is_audible(taken)))
        return len(ulaw) - len(taken)

    def mark(self, now: float, name: str) -> None:
        """Ask for an echo when everything received so far was played."""
        reached_s = max(self._arrive(now), self.empty_s)
        self._marks.append(_Mark(name, reached_s, self._delay_s()))

    def clear(self, now: float) -> int:
        """Drop what will not have been played when this message arrives. Returns the bytes dropped."""
        return self._cut(self._arrive(now))

    def end(self, now: float) -> None:
        """The stream is over: nothing is played from now on and no mark will come back."""
        if self._ended_s is None:
            self._ended_s = now
            self._cut(now)
            self._marks.clear()

    def due(self, now: float) -> list[Echo]:
        """The echoes that have reached the server by now, in order; each is given once."""
        echoes = []
        while self._marks and (at_s := self._echo_s(self._marks[0])) <= now:
            mark = self._marks.popleft()
            self._echoed_s = at_s
            echoes.append(Echo(mark.name, mark.reached_s, mark.cleared))
        return echoes

    def deadline(self) -> float | None:
        """When the next echo is due."""
        return self._echo_s(self._marks[0]) if self._marks else None

    @property
    def schedule(self) -> list[Segment]:
        """What was played and what will be if nothing happens. Not to be changed."""
        return self._segments

    def played(self, now: float) -> list[Segment]:
        """What was really heard by now."""
        whole = self._segments[: bisect_right(self._segments, now, key=lambda segment: segment.start_s)]
        if whole and whole[-1].end_s > now:
            whole[-1] = whole[-1].until(now)
        return [segment for segment in whole if segment.length]

    def _arrive(self, now: float) -> float:
        self._arrived_s = max(self._arrived_s, now + self._delay_s())
        return self._arrived_s

    def _delay_s(self) -> float:
        weather = self._weather
        return weather.one_way_s + (self._chance.uniform(0.0, weather.jitter_s) if weather.jitter_s else 0.0)

    def _echo_s(self, mark: _Mark) -> float:
        return max(self._echoed_s, mark.reached_s + mark.late_s)

    def _cut(self, at_s: float) -> int:
        dropped = 0
        while self._segments and (last := self._segments[-1]).end_s > at_s:
            heard = last.until(at_s)
            dropped += last.length - heard.length
            self._segments.pop()
            if heard.length:
                self._segments.append(heard)
                break
        for mark in self._marks:
            if mark.reached_s > at_s:
                mark.reached_s, mark.cleared = at_s, True
        return dropped


def is_audible(ulaw: bytes) -> bool:
    """Whether any sample rises above -50 dBFS."""
    return bool(ulaw.translate(None, _QUIET_BYTES))


def heard_at(segments: list[Segment], since: float, seconds: float) -> float | None:
    """When so much sound since then is played, or None while so much is not queued. Silence in front does not count.

    It is counted in samples, so that a reply of exactly 0.2 s is 0.2 s long whatever the clock's floats say.
    """
    missing = round(seconds * BYTES_PER_S)
    begun = False
    for segment in segments[bisect_right(segments, since, key=lambda each: each.end_s) :]:
        begun = begun or segment.audible
        if not begun:
            continue
        passed = max(0, round((since - segment.start_s) * BYTES_PER_S))
        if segment.length - passed >= missing:
            return segment.start_s + (passed + missing) / BYTES_PER_S
        missing -= segment.length - passed
    return None


def render(segments: list[Segment], start_s: float, end_s: float) -> bytes:
    """The line from start_s to end_s as µ-law, 0xFF where nothing was played. Segments are in order of time."""
    length = round((end_s - start_s) * BYTES_PER_S)
    timeline = bytearray(SILENCE * max(0, length))
    for segment in segments[bisect_left(segments, start_s, key=lambda each: each.end_s) :]:
        offset = round((segment.start_s - start_s) * BYTES_PER_S)
        if offset >= length:
            break
        sound = segment.ulaw[max(0, -offset) : length - offset]
        offset = max(0, offset)
        timeline[offset : offset + len(sound)] = sound
    return bytes(timeline)
