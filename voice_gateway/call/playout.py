"""Playout: the model's voice on its way to the caller's ear, and how much of it was heard.

Positions are bytes of µ-law at 8 kHz (8 a millisecond) since the generation began; a generation ends with a clear.

Rules
-----
1. Sound goes out in order, at most `lead_s` ahead of the ear, in messages of `chunk_s`, each followed by a mark.
   Deadlines are absolute, so a late wake-up is caught up and never added.
2. A mark that comes back at t for position p says: the carrier had played p when it sent the receipt. From then on the
   *marked position* grows with the clock: M(now) = p + (now - t), and it never passes a mark that is still out, unless
   that one is overdue by `LOST_AFTER_S`: then its receipt was lost, and the clock alone must do.
3. Before a run's first mark the marked position is reckoned from the send: one round trip and the carrier's start
   delay (its jitter buffer, learnt from the marks of earlier runs) later. A run's first message is one frame long, so
   that the first mark comes early.
4. When a clear sent now takes effect, the ear will have heard what would be marked one round trip from now:
   heard = M(now + round trip). The round trip is measured with a mark sent into an empty playout.
5. Sound that arrives after the carrier has run dry starts a new run; the pause is no heard time. A mark of the run
   before may still be on its way then: it is a receipt like any other, and says nothing about the new run's clock.
6. Marks of an older generation come back when a clear empties the carrier's buffer. They say nothing and are ignored.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from voice_gateway.call.commands import CallerCommand, PlayAudio, SendMark

BYTES_PER_SECOND = 8000
FIRST_GUESS_ROUND_TRIP = 0.1
FIRST_GUESS_START_DELAY = 0.06
LOST_AFTER_S = 3
SHORTEST_MESSAGE = 160
"""One frame: the carrier is never bothered with less, except at the end of an item."""


@dataclass(slots=True)
class Segment:
    """The sound of one content part of one item, from its first byte in this generation.

    start: position of its first byte. length: bytes queued so far. received_ms: model audio received, before the
    filter. finished: no more will come.
    """

    response_id: str
    item_id: str
    content_index: int
    start: int
    length: int = 0
    received_ms: float = 0.0
    finished: bool = False

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of a segment reached the ear, in milliseconds of the model's audio."""

    segment: Segment
    heard_ms: int

    @property
    def total_ms(self) -> int:
        return int(self.segment.received_ms)


@dataclass(slots=True)
class _Mark:
    name: str
    position: int
    probe_sent_at: float | None = None


class Playout:
    """See the rules above. Every method is told `now`; none waits."""

    def __init__(self, *, lead_s: float = 0.4, chunk_s: float = 0.2, filter_delay_ms: float = 3.0) -> None:
        """lead_s: how far ahead of the ear sound is sent. filter_delay_ms: delay of the transcoder before us.

        chunk_s: the longest message, never longer than the lead: it would not fit in and never be sent.
        """
        self._lead = max(SHORTEST_MESSAGE, int(lead_s * BYTES_PER_SECOND))
        self._chunk = min(self._lead, max(SHORTEST_MESSAGE, int(chunk_s * BYTES_PER_SECOND)))
        self._filter_delay_ms = filter_delay_ms
        self._generation = 0
        self._mark_count = 0
        self._round_trips: deque[float] = deque(maxlen=5)
        self._start_delay = FIRST_GUESS_START_DELAY
        self._segments: deque[Segment] = deque()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._sent = 0
        self._marks: deque[_Mark] = deque()
        self._receipted = 0
        # The run: sound the carrier plays without a pause. Its clock starts with a send and is corrected by marks.
        self._run_base = 0
        self._run_began = 0.0
        self._anchor: tuple[int, float] | None = None
        self._learnt_in_run = False
        self._send_base = 0
        self._send_began: float | None = None

    # --- what is known ------------------------------------------------------------------------------------------

    @property
    def round_trip(self) -> float:
        """Seconds for a message to the carrier and its answer back, the best of the last measurements."""
        return min(self._round_trips, default=FIRST_GUESS_ROUND_TRIP)

    @property
    def queued(self) -> int:
        """Position after the last byte handed to the playout."""
        return self._sent + self._waiting_bytes

    @property
    def unfinished(self) -> bool:
        """True while a segment may still grow."""
        return any(not segment.finished for segment in self._segments)

    def is_audible(self, now: float) -> bool:
        """True while the ear has not heard all that was queued."""
        return self.queued > 0 and self.heard(now) < self.queued

    def marked(self, now: float, ahead: float = 0.0) -> float:
        """The position whose mark comes back `ahead` seconds from now, going by what is known now (rules 2 and 3)."""
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
        """The position that the ear will have reached when a clear sent now takes effect (rule 4)."""
        return int(self.marked(now, ahead=self.round_trip))

    # --- sound in -----------------------------------------------------------------------------------------------

    def open_segment(self, response_id: str, item_id: str, content_index: int) -> Segment:
        """Begin the sound of a content part behind everything queued."""
        segment = Segment(response_id, item_id, content_index, start=self.queued)
        self._segments.append(segment)
        return segment

    def queue(self, segment: Segment, ulaw: bytes, received_ms: float) -> None:
        """Add sound to the segment opened last. received_ms: length of the model audio it was made from."""
        segment.length += len(ulaw)
        segment.received_ms += received_ms
        if ulaw:
            self._waiting.append(ulaw)
            self._waiting_bytes += len(ulaw)

    def finish(self, segment: Segment) -> None:
        segment.finished = True

    # --- sound out ----------------------------------------------------------------------------------------------

    def probe(self, now: float) -> list[CallerCommand]:
        """Measure the round trip: with nothing to play, the carrier returns a mark at once."""
        return [self._new_mark(probe_sent_at=now)] if self._is_dry(now) else []

    def pump(self, now: float) -> list[CallerCommand]:
        """Hand over what is due (rule 1)."""
        commands: list[CallerCommand] = []
        while self._waiting_bytes:
            if self._send_began is None or self._is_dry(now):
                commands += self._begin_run(now)
            room = self._room(now)
            if room < min(self._chunk, self._waiting_bytes):
                break
            size = self._next_size(room)
            commands.append(PlayAudio(self._take(size)))
            self._sent += size
            commands.append(self._new_mark())
        return commands

    def deadline(self) -> float | None:
        """When `pump` has something to send again; None when nothing waits."""
        if not self._waiting_bytes or self._send_began is None:
            return None
        needed = self._sent + min(self._chunk, self._waiting_bytes) - self._lead - self._send_base
        return self._send_began + needed / BYTES_PER_SECOND

    # --- receipts -----------------------------------------------------------------------------------------------

    def reach_mark(self, name: str, now: float) -> float | None:
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

    def pop_heard(self, now: float) -> list[Heard]:
        """Segments of which every byte was heard, oldest first; each is told once."""
        done: list[Heard] = []
        while self._segments and self._segments[0].finished and self._was_heard(self._segments[0]):
            segment = self._segments.popleft()
            done.append(Heard(segment, int(segment.received_ms)))
        if not self._segments and self._is_dry(now):
            self._send_began = None
        return done

    def cut(self, now: float) -> list[Heard]:
        """End this generation; nothing of it is sent any more.

        Returns every segment not yet told as heard, with what the ear has heard when a clear sent now takes effect.
        """
        position = self.heard(now)
        cut = [Heard(segment, self._heard_ms(segment, position)) for segment in self._segments]
        self._generation += 1
        self._segments.clear()
        self._waiting.clear()
        self._waiting_bytes = self._sent = self._receipted = self._run_base = self._send_base = 0
        self._marks.clear()
        self._anchor = self._send_began = None
        return cut

    # --- inside -------------------------------------------------------------------------------------------------

    def _heard_ms(self, segment: Segment, position: int) -> int:
        played = min(max(0, position - segment.start), segment.length)
        heard_ms = played / (BYTES_PER_SECOND / 1000) - self._filter_delay_ms
        return int(min(max(0.0, heard_ms), segment.received_ms))

    def _was_heard(self, segment: Segment) -> bool:
        return segment.length == 0 or self._is_marked(segment.end)

    def _is_marked(self, position: int) -> bool:
        """True when a receipt at or after this position has come back."""
        return self._receipted >= position

    def _is_dry(self, now: float) -> bool:
        """Will the carrier have nothing left to play when a message sent now arrives?"""
        return self.heard(now) >= self._sent

    def _begin_run(self, now: float) -> list[CallerCommand]:
        """Start the clocks anew. The probe goes ahead of the sound, while the carrier is surely idle."""
        probe = self.probe(now) if self._is_marked(self._sent) or not self._sent else []
        self._run_base = self._send_base = self._sent
        self._run_began = self._send_began = now
        self._anchor = None
        self._learnt_in_run = False
        return probe

    def _room(self, now: float) -> int:
        """Bytes that may be sent now without running further ahead than the lead."""
        began = self._send_began if self._send_began is not None else now
        allowed = self._send_base + (now - began) * BYTES_PER_SECOND + self._lead
        return round(allowed) - self._sent

    def _next_size(self, room: int) -> int:
        """Never across a segment's end: each item gets a mark of its own. One frame at the beginning of a run."""
        longest = SHORTEST_MESSAGE if self._sent == self._run_base else self._chunk
        size = min(room, longest, self._waiting_bytes)
        for segment in self._segments:
            if segment.start <= self._sent < segment.end:
                return min(size, segment.end - self._sent)
        return size

    def _take(self, size: int) -> bytes:
        parts: list[bytes] = []
        missing = size
        while missing:
            part = self._waiting.popleft()
            if len(part) > missing:
                self._waiting.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= len(part)
        self._waiting_bytes -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _new_mark(self, *, probe_sent_at: float | None = None) -> SendMark:
        self._mark_count += 1
        kind = "m" if probe_sent_at is None else "p"
        mark = _Mark(f"g{self._generation}:{kind}{self._mark_count}", self._sent, probe_sent_at)
        self._marks.append(mark)
        return SendMark(mark.name)

    def _learn_start_delay(self, position: int, now: float) -> None:
        """The first mark of a run tells how long the carrier waited before it played (rule 3)."""
        if self._learnt_in_run or self._anchor is not None:
            return
        self._learnt_in_run = True
        ideal = self._run_began + (position - self._run_base) / BYTES_PER_SECOND + self.round_trip
        self._start_delay = min(max(0.0, now - ideal), 1.0)
