"""The clock of the ear: which position of the playout the caller has heard, going by the carrier's receipts.

Positions are those of the playout: bytes of µ-law at 8 kHz, 8 a millisecond. Every message of sound is followed by a
mark at its end; the carrier sends the mark back when it has played so far.

Rules
-----
1. A mark that comes back at t for position p says: the carrier had played p when it sent the receipt. From then on the
   *marked position* grows with the clock: M(now) = p + (now - t), and it never passes a mark that is still out, unless
   that one is overdue by `LOST_AFTER_S`: then its receipt was lost, and the clock alone must do.
2. Before a run's first mark the marked position is reckoned from the send: one round trip and the carrier's start
   delay (its jitter buffer, learnt from the marks of earlier runs) later. A run is sound that the carrier plays
   without a pause.
3. When a clear sent now takes effect, the ear will have heard what would be marked one round trip from now:
   heard = M(now + round trip). The round trip is measured with a mark sent into an empty playout.
4. A clear begins a new generation of marks. Those of an older one, which come back when a clear empties the carrier's
   buffer, say nothing and are ignored.
5. A mark of the run before may still be on its way when a new run begins: it is a receipt like any other, and says
   nothing about the new run's clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BYTES_PER_SECOND = 8000
FIRST_GUESS_ROUND_TRIP = 0.1
FIRST_GUESS_START_DELAY = 0.06
LOST_AFTER_S = 3


@dataclass(slots=True)
class _Mark:
    name: str
    position: int
    probe_sent_at: float | None = None


class HeardClock:
    """See the rules above. Every method is told `now`; none waits."""

    def __init__(self) -> None:
        self._generation = 0
        self._mark_count = 0
        self._round_trips: deque[float] = deque(maxlen=5)
        self._start_delay = FIRST_GUESS_START_DELAY
        self._marks: deque[_Mark] = deque()
        self._sent = 0
        self._receipted = 0
        self._run_base = 0
        self._run_began = 0.0
        self._anchor: tuple[int, float] | None = None
        self._learnt_in_run = False

    @property
    def round_trip(self) -> float:
        """Seconds for a message to the carrier and its answer back, the best of the last measurements."""
        return min(self._round_trips, default=FIRST_GUESS_ROUND_TRIP)

    @property
    def receipted(self) -> int:
        """The last position of which it is certain that the ear has reached it."""
        return self._receipted

    def marked(self, now: float, ahead: float = 0.0) -> float:
        """The position whose mark comes back `ahead` seconds from now, going by what is known now (rules 1 and 2)."""
        at = now + ahead
        if self._anchor is not None:
            position, anchored_at = self._anchor
            reckoned = position + (at - anchored_at) * BYTES_PER_SECOND
        else:
            played = at - self._run_began - self.round_trip - self._start_delay
            reckoned = self._run_base + max(0.0, played) * BYTES_PER_SECOND
        lost = reckoned - LOST_AFTER_S * BYTES_PER_SECOND
        out = (mark.position for mark in self._marks if mark.probe_sent_at is None and mark.position > lost)
        outstanding = next(out, self._sent)
        return min(reckoned, outstanding + ahead * BYTES_PER_SECOND, self._sent)

    def heard(self, now: float) -> int:
        """The position that the ear will have reached when a clear sent now takes effect (rule 3)."""
        return int(self.marked(now, ahead=self.round_trip))

    def probe(self, now: float) -> str:
        """A mark for an empty playout: its way there and back is the round trip."""
        return self._new_mark(probe_sent_at=now)

    def begin_run(self, now: float) -> None:
        """The next message finds the carrier idle."""
        self._run_base = self._sent
        self._run_began = now
        self._anchor = None
        self._learnt_in_run = False

    def mark(self, position: int) -> str:
        """Sound up to this position has been sent: the name of the mark that follows it."""
        self._sent = position
        return self._new_mark()

    def reach(self, name: str, now: float) -> float | None:
        """Take a receipt. Returns how far off our reckoning was, in seconds, or None when the mark said nothing new."""
        if not any(mark.name == name for mark in self._marks):
            return None
        reckoned = self.marked(now)
        while True:
            mark = self._marks.popleft()
            if mark.name == name:
                break
        if mark.probe_sent_at is not None:
            self._round_trips.append(now - mark.probe_sent_at)
            return None
        self._receipted = mark.position
        if mark.position <= self._run_base:
            return None
        self._learn_start_delay(mark.position, now)
        self._anchor = (mark.position, now)
        return (reckoned - mark.position) / BYTES_PER_SECOND

    def clear(self, position: int) -> None:
        """A clear is sent, after which the ear will have reached this position. The next sound goes on from there."""
        self._generation += 1
        self._marks.clear()
        self._sent = self._receipted = self._run_base = position
        self._anchor = None

    def _new_mark(self, *, probe_sent_at: float | None = None) -> str:
        self._mark_count += 1
        kind = "m" if probe_sent_at is None else "p"
        mark = _Mark(f"g{self._generation}:{kind}{self._mark_count}", self._sent, probe_sent_at)
        self._marks.append(mark)
        return mark.name

    def _learn_start_delay(self, position: int, now: float) -> None:
        """The first mark of a run tells how long the carrier waited before it played (rule 2)."""
        if self._learnt_in_run or self._anchor is not None:
            return
        self._learnt_in_run = True
        ideal = self._run_began + (position - self._run_base) / BYTES_PER_SECOND + self.round_trip
        self._start_delay = min(max(0.0, now - ideal), 1.0)
