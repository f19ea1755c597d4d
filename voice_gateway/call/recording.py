"""A recording: both voices of a call in stereo, on the one clock that both share, the carrier's media clock.

Left is the caller, right what the caller heard of us. Positions are samples of that clock, 8 a millisecond, and a µ-law
sample is one byte. Whole blocks come out as soon as nothing that happens later can change them.

Rules
-----
1. Left: sound stands where the carrier's timestamps put it, to the sample; what is missing is silence. A deviation of
   less than 10 ms is the rounding of a timestamp and opens no hole; deviations do not add up.
2. Right: receipts and frames come back by the same road, so a receipt that comes while the clock of the frames shows p
   says that our voice had been played up to its mark at p, whatever the road's delay. See `heard_sound`.
3. What a clear threw away, or the end of the call, was never heard and does not stand there.
4. While a recording is paused both channels are silent; the clock goes on.
5. Memory is bounded: sound is kept until its receipt has settled, at most `HOLE_S` behind a caller who sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from voice_gateway.audio.g711 import SILENCE
from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.heard_sound import HeardSound
from voice_gateway.call.strip import SAMPLES_PER_MS, SAMPLES_PER_S, MediaClock, Strip

BLOCK: Final = SAMPLES_PER_S
"""The shortest block before the last one: a second."""

ROUNDING: Final = 10 * SAMPLES_PER_MS
HOLE_S: Final = 10
LOOK_EVERY_S: Final = 0.5


class Block(NamedTuple):
    """A stretch of the recording, one after the other without a gap: µ-law at 8 kHz, both of the same length."""

    left: bytes
    right: bytes


class Recording:
    """Tell it everything that happens to a call, from the joining of the caller on; take the blocks it gives."""

    def __init__(self, joined_at: float) -> None:
        """joined_at: when the media stream began, on the clock of `now`."""
        self._joined_at = joined_at
        self._clock = MediaClock(joined_at)
        self._left = Strip()
        self._right = HeardSound(self._clock)
        self._shift = 0
        self._paused: list[tuple[int, int | None]] = []
        self._look_at = joined_at

    @property
    def length(self) -> int:
        """Samples given out so far."""
        return self._left.start

    @property
    def is_paused(self) -> bool:
        return bool(self._paused) and self._paused[-1][1] is None

    def tell(self, event: ev.Event, commands: Sequence[do.Command], now: float) -> list[Block]:
        """What happened, and what the bridge commanded on it. Returns the blocks that are final now."""
        if type(event) is ev.CallerAudio:
            self._hear(event.ulaw, event.timestamp_ms, now)
        elif type(event) is ev.MarkReached:
            self._right.reach(event.name, now)
        for command in commands:
            if type(command) is do.PlayAudio:
                self._right.play(command.ulaw, now)
            elif type(command) is do.SendMark:
                self._right.mark(command.name, now)
            elif type(command) is do.ClearPlayout:
                self._right.clear(now)
        return self._look(now) if now >= self._look_at else []

    def pause(self, now: float) -> None:
        """Silence on both channels from now on."""
        if not self.is_paused:
            self._paused.append((max(self.length, self._clock.at(now)), None))

    def resume(self, now: float) -> None:
        if self.is_paused:
            self._paused[-1] = (self._paused[-1][0], self._clock.at(now))

    def finish(self, now: float, *, by_caller: bool) -> list[Block]:
        """The call is over; returns the rest. by_caller: he left, so nothing that we sent since reached him."""
        end = self._clock.at(now) + (0 if by_caller else self._right.round_trip)
        self._right.end_at(end)
        return self._give(max(self.length, end, self._left.end))

    # --- the caller -------------------------------------------------------------------------------------------------

    def _hear(self, ulaw: bytes, timestamp_ms: int, now: float) -> None:
        left = self._left
        position = timestamp_ms * SAMPLES_PER_MS + self._shift
        hole = position - left.end
        if -ROUNDING < hole < ROUNDING:
            left.sound += ulaw
            self._right.meet_frame(left.end)
        else:
            self._place(ulaw, position, now)
        self._clock.hear_frame(left.end, now)

    def _place(self, ulaw: bytes, position: int, now: float) -> None:
        """Sound that does not follow on what came before: after a hole, out of order, or on a clock begun anew."""
        left = self._left
        latest = round((now - self._joined_at + HOLE_S) * SAMPLES_PER_S)
        if position > latest or position < left.end - HOLE_S * SAMPLES_PER_S:
            anew = max(left.end, self._clock.at(now) - len(ulaw))
            self._shift += anew - position
            position = anew
        left.put(position, ulaw)

    # --- what is final ----------------------------------------------------------------------------------------------

    def _look(self, now: float) -> list[Block]:
        self._look_at = now + LOOK_EVERY_S
        clock = self._clock.at(now)
        final = min(max(self._left.end, clock - HOLE_S * SAMPLES_PER_S), self._right.settle(clock))
        return self._give(final) if final - self.length >= BLOCK else []

    def _give(self, until: int) -> list[Block]:
        start = self.length
        if until <= start:
            return []
        left, right = self._left.take(until), self._right.take(until)
        for span in self._paused:
            begin, end = max(start, span[0]) - start, min(until, until if span[1] is None else span[1]) - start
            if begin < end:
                left[begin:end] = right[begin:end] = SILENCE * (end - begin)
        self._paused = [span for span in self._paused if span[1] is None or span[1] > until]
        return [Block(bytes(left), bytes(right))]
