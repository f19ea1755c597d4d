"""The clock of the ear: which position of the playout the caller has heard, going by the carrier's receipts.

Positions are those of the playout: bytes of µ-law at 8 kHz, 8 a millisecond. Every message of sound is followed by a
mark at its end; the carrier sends the mark back when it has played so far.

Rules
-----
1. A run is sound that the carrier plays without a pause. A mark that comes back at t for position p says when the run
   seems to have begun, seen from here: p played at t, so its first byte at t - p / 8000. The median of the last marks
   is believed, so that the jitter of single receipts does not count; a mark that is off by more than `STEP_S` tells of
   a pause that we did not know of, and is believed alone.
2. Before a run's first mark its beginning is reckoned from the send: one round trip and the carrier's start delay (its
   jitter buffer, learnt from earlier runs) later. Where it is open whether the carrier had run dry when the sound
   arrived, so much of the start delay is reckoned as a pause is probable; the receipt for the end of the run before
   tells it better. A run that began as soon as that one ended found no idle carrier, and teaches no start delay.
3. The marked position grows with the clock from there on. It passes a mark that is still out by no more than the
   jitter seen, unless that one is overdue by `LOST_AFTER_S`: then its receipt was lost, and the clock alone must do.
4. When a clear sent now takes effect, the ear will have heard what will be marked one round trip from now. The round
   trip is measured with marks sent into an empty playout; the median of the last ones is believed, without those that
   took longer than jitter explains.
5. What was heard is never taken back: when a receipt shows that it was reckoned too early, the position waits.
6. A clear begins a new generation of marks. Those of an older one, which come back when a clear empties the carrier's
   buffer, say nothing and are ignored. A mark of an earlier run is a receipt like any other, and says nothing about
   the clock of this one.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

BYTES_PER_SECOND = 8000
FIRST_GUESS_ROUND_TRIP = 0.1
FIRST_GUESS_START_DELAY = 0.04
"""The middle of what jitter buffers add, 0 to 80 ms: nothing is further off."""
LONGEST_START_DELAY = 1.0
LOST_AFTER_S = 3
STEP_S = 0.05
FIRST_GUESS_JITTER = 0.02
LEAST_JITTER, MOST_JITTER = 0.002, 0.04
ENOUGH_FOR_JITTER = 4
HELD_UP_S = 0.005


@dataclass(frozen=True, slots=True)
class _Mark:
    name: str
    position: int
    probe_sent_at: float | None = None


@dataclass(slots=True)
class _Run:
    """Sound that the carrier plays without a pause.

    base: its first position. sent_at: when its first sound was sent. due: the same, or later if the carrier had still
    so much to play. pause: how probable it is that the carrier had run dry and starts anew. after: when the end of the
    run before was receipted, if that was after this one was sent. begins: what its marks said of its beginning. begin:
    their median, once there is one.
    """

    base: int = 0
    sent_at: float = 0.0
    due: float = 0.0
    pause: float = 1.0
    after: float | None = None
    begins: deque[float] = field(default_factory=lambda: deque(maxlen=8))
    begin: float | None = None
    start_delay_learnt: bool = False


class HeardClock:
    """See the rules above. Every method is told `now`; none waits."""

    def __init__(self) -> None:
        self._generation = 0
        self._counts = {"m": 0, "p": 0}
        self._marks: deque[_Mark] = deque()
        self._round_trips: deque[float] = deque(maxlen=9)
        self._start_delays: deque[float] = deque(maxlen=5)
        self._sent = 0
        self._receipted = 0
        self._floor = 0
        self._unused = True
        self._run = _Run()
        self._run_before: _Run | None = None
        self.round_trip = FIRST_GUESS_ROUND_TRIP
        """Seconds for a message to the carrier and its answer back."""
        self.start_delay = FIRST_GUESS_START_DELAY
        """Seconds from the arrival of sound at a carrier with nothing to play until it plays it."""
        self.jitter = FIRST_GUESS_JITTER
        """By how many seconds the receipts of one run differ."""

    @property
    def receipted(self) -> int:
        """The last position of which it is certain that the ear has reached it."""
        return self._receipted

    @property
    def unused(self) -> bool:
        """True until the first sound of the call was sent."""
        return self._unused

    # --- where the ear is -------------------------------------------------------------------------------------------

    def marked(self, now: float) -> float:
        """The position whose mark should come back just now, going by what is known (rules 1 to 3)."""
        return self._reckon(now, 0.0)

    def heard(self, now: float) -> int:
        """The position that the ear will have reached when a clear sent now takes effect (rule 4)."""
        return max(self._floor, int(self._reckon(now, self.round_trip)))

    def left(self, now: float) -> float:
        """Seconds that the carrier will still play when a message sent now arrives; negative when it has run dry."""
        heard = self.heard(now)
        if heard < self._sent:
            return (self._sent - heard) / BYTES_PER_SECOND
        ends = self._begin() + (self._sent - self._run.base) / BYTES_PER_SECOND
        return min(0.0, ends - now - self.round_trip)

    def _reckon(self, now: float, ahead: float) -> float:
        since = now + ahead - self._begin()
        reckoned = self._run.base + since * BYTES_PER_SECOND if since > 0 else float(self._run.base)
        lost = reckoned - LOST_AFTER_S * BYTES_PER_SECOND
        outstanding = self._sent
        for mark in self._marks:
            if mark.position > lost and mark.probe_sent_at is None:
                outstanding = mark.position
                break
        return min(reckoned, outstanding + (ahead + self.jitter) * BYTES_PER_SECOND, self._sent)

    def _begin(self) -> float:
        """When the run seems to have begun, or will: the time at which a mark before its first byte would come back."""
        run = self._run
        return run.due + self.round_trip + run.pause * self.start_delay if run.begin is None else run.begin

    # --- what is sent -----------------------------------------------------------------------------------------------

    def probe(self, now: float) -> str:
        """A mark for an empty playout: its way there and back is the round trip."""
        return self._new_mark(probe_sent_at=now)

    def begin_run(self, now: float) -> None:
        """The next message finds the carrier idle, or nearly so (rule 2)."""
        self._floor = self.heard(now)
        left = -self.jitter if self._receipted >= self._sent else self.left(now)
        self._run_before = self._run
        self._run = _Run(self._sent, now)
        self._find(left)

    def _find(self, left: float) -> None:
        """The run's first sound found the carrier with so many seconds to play; negative when it had run dry."""
        self._run.due = self._run.sent_at + max(0.0, left)
        self._run.pause = min(max(0.0, 0.5 - left / (2 * self.jitter)), 1.0)

    def mark(self, position: int) -> str:
        """Sound up to this position has been sent: the name of the mark that follows it."""
        self._sent = position
        self._unused = False
        return self._new_mark()

    def clear(self, position: int) -> None:
        """A clear is sent, after which the ear will have reached this position. The next sound goes on from there."""
        self._generation += 1
        self._marks.clear()
        self._sent = self._receipted = self._floor = position
        self._run, self._run_before = _Run(position), None

    def _new_mark(self, *, probe_sent_at: float | None = None) -> str:
        kind = "m" if probe_sent_at is None else "p"
        self._counts[kind] += 1
        mark = _Mark(f"g{self._generation}:{kind}{self._counts[kind]}", self._sent, probe_sent_at)
        self._marks.append(mark)
        return mark.name

    # --- what comes back --------------------------------------------------------------------------------------------

    def reach(self, name: str, now: float) -> float | None:
        """Take a receipt. Returns how far off our reckoning was, in seconds, or None when the mark said nothing new."""
        marks = self._marks
        # Receipts come in order: it is the first one, but for one that was lost or comes back twice.
        if not (marks and marks[0].name == name) and not any(mark.name == name for mark in marks):
            return None
        reckoned = self.marked(now)
        self._floor = self.heard(now)
        while (mark := self._marks.popleft()).name != name:
            pass
        if mark.probe_sent_at is not None:
            self._round_trips.append(now - mark.probe_sent_at)
            self._learn_round_trip()
            return None
        self._receipted = mark.position
        run = self._run
        if mark.position > run.base:
            self._learn(run, now - (mark.position - run.base) / BYTES_PER_SECOND)
            return (reckoned - mark.position) / BYTES_PER_SECOND
        before = self._run_before
        if before is not None and mark.position > before.base:
            self._learn(before, now - (mark.position - before.base) / BYTES_PER_SECOND)
            if mark.position == run.base and before.begin is not None:
                run.after = before.begin + (run.base - before.base) / BYTES_PER_SECOND
                self._find(run.after - run.sent_at - self.round_trip)
        return None

    def _learn(self, run: _Run, begin: float) -> None:
        """A mark of this run came back: by it, the run began then (rule 1)."""
        if run.begin is not None and abs(begin - run.begin) > STEP_S:
            run.begins.clear()
            run.begins.append(begin)
            run.begin = begin
            return
        run.begins.append(begin)
        run.begin = median(run.begins)
        if len(run.begins) >= ENOUGH_FOR_JITTER:
            self.jitter = min(max(LEAST_JITTER, max(run.begins) - min(run.begins)), MOST_JITTER)
            self._learn_round_trip()
        if run.pause == 1.0:
            self._learn_start_delay(run, run.begin)

    def _learn_round_trip(self) -> None:
        """What jitter cannot explain was held up on one machine or the other, and is no property of the line."""
        longest = min(self._round_trips, default=0.0) + 2 * max(self.jitter, HELD_UP_S)
        believed = [seconds for seconds in self._round_trips if seconds <= longest]
        self.round_trip = median(believed) if believed else FIRST_GUESS_ROUND_TRIP

    def _learn_start_delay(self, run: _Run, begin: float) -> None:
        """Of a run that found the carrier idle; what its first mark told is told better by those after it."""
        if run.start_delay_learnt:
            self._start_delays.pop()
        run.start_delay_learnt = run.after is None or begin > run.after + 2 * self.jitter
        if run.start_delay_learnt:
            start_delay = begin - run.due - self.round_trip
            self._start_delays.append(min(max(0.0, start_delay), LONGEST_START_DELAY))
        self.start_delay = median(self._start_delays) if self._start_delays else FIRST_GUESS_START_DELAY
