"""Our voice where it was heard, on the carrier's media clock: the right channel of a recording.

All positions are as `MediaClock` tells them when a message arrives, so that the road back costs nothing. The rules:

1. A receipt at p for a message of length n that follows others says: the message was played from p - n at the latest.
   Receipts may be late and are never early, so of all that speak for a message the earliest counts, and its place is
   settled a second after its own has come.
2. Sound goes on without a gap where it was sent in time to do so: a late receipt is no gap, unless it is so late that
   the carrier must have stood still. Sound that was sent after the carrier had run dry begins where its receipts say.
3. A clear sent now takes effect one round trip from now, and returns the marks of what it threw away. The cut lies
   between these two, in the middle. Sound that is played again after a clear is sound like any other.
4. Without any receipt for 3 s after its reckoned end, a message is taken to have been played when it was due.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from voice_gateway.call.strip import SAMPLES_PER_MS, SAMPLES_PER_S, MediaClock, Strip

FIRST_GUESS_ROUND_TRIP: Final = 100 * SAMPLES_PER_MS
FIRST_GUESS_START_DELAY: Final = 60 * SAMPLES_PER_MS
SETTLES: Final = SAMPLES_PER_S
LOST: Final = 3 * SAMPLES_PER_S
CLEAR_ANSWERED: Final = SAMPLES_PER_S
SMALLEST_GAP: Final = 10 * SAMPLES_PER_MS
STANDSTILL: Final = 120 * SAMPLES_PER_MS
STALL: Final = 40 * SAMPLES_PER_MS


@dataclass(slots=True, eq=False)
class _Cut:
    """Where playing ended by a clear. floor: before it the clear cannot have taken effect. seen: its marks' return."""

    floor: int
    last_mark: str
    seen: int | None = None

    @property
    def at(self) -> int:
        return self.floor if self.seen is None else (self.floor + max(self.floor, self.seen)) // 2


@dataclass(slots=True, eq=False)
class _Sound:
    """A message. earliest: where it can begin at the earliest. receipted: where its receipt says that it had ended."""

    ulaw: bytes
    earliest: int
    receipted: int | None = None
    cut: _Cut | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Mark:
    """sound: the message before it; None for a mark that had nothing to wait for and so measures the round trip."""

    name: str
    sent_at: float
    sound: _Sound | None


class HeardSound:
    """Told what is sent and what comes back; `settle` says up to where all is known, `take` gives it."""

    def __init__(self, clock: MediaClock) -> None:
        self._clock = clock
        self._strip = Strip()
        self._played_to = 0  # where the last sound ended that is in its place
        self._placed: _Sound | None = None
        self._sounds: deque[_Sound] = deque()
        self._marks: deque[_Mark] = deque()
        self._round_trips: deque[int] = deque(maxlen=5)
        self._start_delay = FIRST_GUESS_START_DELAY
        self._cut: _Cut | None = None
        self._since_frame: list[_Sound] = []

    @property
    def round_trip(self) -> int:
        """In samples; the best of the last measurements."""
        return min(self._round_trips, default=FIRST_GUESS_ROUND_TRIP)

    # --- what happens -----------------------------------------------------------------------------------------------

    def play(self, ulaw: bytes, now: float) -> None:
        self._sounds.append(_Sound(ulaw, self._clock.at(now) + self.round_trip))

    def mark(self, name: str, now: float) -> None:
        last = self._sounds[-1] if self._sounds and self._sounds[-1].cut is None else None
        if last is not None and last.receipted is not None:
            last = None
        self._marks.append(_Mark(name, now, last))

    def reach(self, name: str, now: float) -> None:
        """A receipt came. Earlier ones that have not are lost: they come in order."""
        if not any(mark.name == name for mark in self._marks):
            return
        while (mark := self._marks.popleft()).name != name:
            pass
        sound = mark.sound
        if sound is None:
            self._round_trips.append(round((now - mark.sent_at) * SAMPLES_PER_S))
            return
        position = self._clock.at(now)
        if sound.cut is None or position < sound.cut.floor - SMALLEST_GAP // 2:
            sound.receipted = position
            self._since_frame.append(sound)
        if sound.cut is not None and sound.cut.last_mark == name:
            sound.cut.seen = position

    def clear(self, now: float) -> None:
        """Everything sent so far ends one round trip from now."""
        waiting = [sound for sound in self._sounds if sound.cut is None]
        if not waiting:
            return
        last_mark = self._marks[-1].name if self._marks else ""
        cut = _Cut(self._clock.at(now) + self.round_trip, last_mark)
        if not last_mark:  # every receipt has come: there was nothing left to clear
            cut.seen = cut.floor
        for sound in waiting:
            sound.cut = cut
        if self._placed is not None and self._placed.cut is None:
            self._placed.cut = cut

    def meet_frame(self, end: int) -> None:
        """A frame came that follows on the last one. Receipts between the two cannot be later than its end.

        Otherwise the road stood still and then brought all at once: by the clock of `now` they would be seconds late.
        """
        if self._since_frame:
            for sound in self._since_frame:
                if sound.receipted is not None and sound.receipted > end + STALL:
                    sound.receipted = end
            self._since_frame.clear()

    def end_at(self, position: int) -> None:
        """The line went dead there: put what was heard in its place."""
        cut = _Cut(position, "")
        if self._placed is not None and self._placed.cut is None:
            self._placed.cut = cut
        for sound in self._sounds:
            sound.cut = sound.cut or cut
        while self._sounds:
            self._place(self._sounds[0])
            self._sounds.popleft()

    # --- where it was heard -----------------------------------------------------------------------------------------

    def settle(self, clock: int) -> int:
        """Put in its place what is certain. Returns the position up to which nothing will change any more."""
        while self._sounds and self._is_certain(self._sounds[0], clock):
            self._place(self._sounds[0])
            self._sounds.popleft()
        if not self._sounds:
            return clock
        return min(clock, max(self._played_to, self._sounds[0].earliest - SMALLEST_GAP))

    def take(self, until: int) -> bytearray:
        return self._strip.take(until)

    def _is_certain(self, sound: _Sound, clock: int) -> bool:
        if sound.cut is not None:
            return sound.cut.seen is not None or clock > sound.cut.floor + CLEAR_ANSWERED
        receipt = next((each.receipted for each in self._sounds if each.receipted is not None), None)
        if receipt is not None:
            return clock >= receipt + SETTLES
        due = max(self._played_to, sound.earliest + self._start_delay)
        return clock > due + len(sound.ulaw) + LOST

    def _place(self, sound: _Sound) -> None:
        start = self._start_of(sound)
        length = len(sound.ulaw) if sound.cut is None else min(len(sound.ulaw), max(0, sound.cut.at - start))
        self._strip.put(start, sound.ulaw[:length])
        self._played_to = max(self._played_to, start + length)
        self._placed = sound

    def _start_of(self, sound: _Sound) -> int:
        end = self._played_to
        told = self._told_start(sound)
        follows = sound.earliest <= end and self._placed is not None and self._placed.cut is sound.cut
        if told is None:
            return end if follows else sound.earliest + self._start_delay
        if told - end <= (STANDSTILL if follows else SMALLEST_GAP):
            return end
        if not follows:
            self._start_delay = min(max(0, told - sound.earliest), SAMPLES_PER_S)
        return told

    def _told_start(self, sound: _Sound) -> int | None:
        """Where this message began, by the receipts for it and for those that followed; None without any."""
        told: int | None = None
        length = 0
        for each in self._sounds:
            if each.cut is not sound.cut:
                break
            length += len(each.ulaw)
            if each.receipted is not None:
                start = each.receipted - length
                told = start if told is None else min(told, start)
        return told
