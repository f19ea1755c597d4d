"""Playout: the model's voice on its way to the caller's ear, and how much of it was heard.

Positions are bytes of µ-law at 8 kHz (8 a millisecond) since the last cut. What the ear has reached is told by the
clock in `heard.py`; what it has not is kept on the tape in `tape.py`.

Rules
-----
1. Sound goes out in order, at most `lead_s` ahead of the ear, in messages of `chunk_s`, each followed by a mark.
   Deadlines are absolute, so a late wake-up is caught up and never added.
2. Sound that arrives after the carrier has run dry starts a new run; the pause is no heard time. A run's first messages
   are one frame long, so that its first marks come early.
3. A cut ends our voice: what was not heard is gone, and positions start anew.
4. A hold stops it where the ear will be when the clear takes effect, and may change its mind: nothing is sent until
   `resume`, which goes on from that very sample. All else goes on meanwhile: sound may be queued, and a cut tells what
   was heard as of the hold. Positions run on across a hold; marks begin a new generation at each clear.
5. At a call's beginning, while nobody speaks yet, the line is measured: some probes for the round trip, and then a
   little silence, by whose marks the carrier's start delay is known before our first words can be interrupted. When
   nothing is left to play, two more probes follow.
"""

from __future__ import annotations

from voice_gateway.audio.fade import fade_in
from voice_gateway.audio.g711 import SILENCE
from voice_gateway.call.commands import CallerCommand, PlayAudio, SendMark
from voice_gateway.call.heard import BYTES_PER_SECOND, LOST_AFTER_S, HeardClock
from voice_gateway.call.segments import Heard, Segment, Segments
from voice_gateway.call.tape import Tape

__all__ = ["Heard", "Playout", "Segment"]

SHORTEST_MESSAGE = 160
"""One frame, 20 ms: neither the lead nor the longest message is set to less."""

SHORT_MESSAGES = 3
"""So many begin a run, and so many are the silence that measures the line: the receipt of one may be late by chance."""

PROBES, PROBES_BETWEEN = 6, 2
PROBE_EVERY_S = 0.03


class Playout:
    """See the rules above. Every method is told `now`; none waits."""

    def __init__(self, *, lead_s: float = 0.4, chunk_s: float = 0.2, filter_delay_ms: float = 3.0) -> None:
        """lead_s: how far ahead of the ear sound is sent. filter_delay_ms: delay of the transcoder before us.

        chunk_s: the longest message, never longer than the lead: it would not fit in and never be sent.
        """
        self._lead = max(SHORTEST_MESSAGE, int(lead_s * BYTES_PER_SECOND))
        self._chunk = min(self._lead, max(SHORTEST_MESSAGE, int(chunk_s * BYTES_PER_SECOND)))
        self._clock = HeardClock()
        self._segments = Segments(filter_delay_ms)
        self._tape = Tape()
        self._queued = self._sent = self._cuts = 0
        self._held = False
        self._fading = False
        self._run_base = 0
        self._run_began: float | None = None
        self._priming_at: float | None = None
        self._primed = 0

    # --- what is known ------------------------------------------------------------------------------------------

    @property
    def round_trip(self) -> float:
        """Seconds for a message to the carrier and its answer back."""
        return self._clock.round_trip

    @property
    def queued(self) -> int:
        """Position after the last byte handed to the playout."""
        return self._queued

    @property
    def sent(self) -> int:
        """Position after the last byte handed to the carrier; back where the ear is after a hold."""
        return self._sent

    @property
    def playing(self) -> Segment | None:
        """The oldest segment of which not every byte is known to be heard."""
        return self._segments.first

    @property
    def held(self) -> bool:
        """True between a hold and its `resume` or `cut`."""
        return self._held

    @property
    def unfinished(self) -> bool:
        """True while a segment may still grow."""
        return self._segments.unfinished

    @property
    def cuts(self) -> int:
        """How often our voice was ended before its time; positions begin anew with each."""
        return self._cuts

    def left_s(self, position: int, now: float) -> float:
        """How long until the ear has surely reached a position."""
        return max(0.0, position - self._clock.marked(now)) / BYTES_PER_SECOND

    def is_audible(self, now: float) -> bool:
        """True while the ear has not heard all that was queued."""
        return bool(self._segments) and self.heard(now) < self.queued

    def heard(self, now: float) -> int:
        """The position that the ear will have reached when a clear sent now takes effect."""
        return self._clock.heard(now)

    def marked(self, now: float) -> int:
        """The position that the ear had reached when it heard what the caller sent with what arrives now."""
        return round(self._clock.marked(now))

    def sent_since(self, position: int) -> tuple[bytes, int]:
        """The sound sent from a position on, as far as it is kept, and the position where it begins."""
        start = max(position, self._tape.start)
        return self._tape.read(start, max(0, self._sent - start)), start

    def unheard_s(self, now: float) -> float:
        """How long our voice goes on until all of it is receipted, or surely heard where receipts are lost."""
        return max(0.0, self.queued - self._clock.marked(now)) / BYTES_PER_SECOND if self._segments else 0.0

    # --- sound in -----------------------------------------------------------------------------------------------

    def open_segment(self, response_id: str, item_id: str, content_index: int) -> Segment:
        """Begin the sound of a content part behind everything queued, or go on with one that seemed finished."""
        return self._segments.open(response_id, item_id, content_index, self.queued)

    def queue(self, segment: Segment, ulaw: bytes, received_ms: float) -> None:
        """Add sound to the segment opened last. received_ms: length of the model audio it was made from."""
        segment.length += len(ulaw)
        segment.received_ms += received_ms
        self._add(ulaw)

    def finish(self, segment: Segment) -> None:
        segment.finished = True

    def insert(self, ulaw: bytes, now: float) -> list[CallerCommand]:
        """Add sound that is nobody's words, such as tones: it is played in its turn and never counts as heard."""
        self._add(ulaw)
        return self.pump(now)

    # --- sound out ----------------------------------------------------------------------------------------------

    def prime(self, now: float) -> list[CallerCommand]:
        """Measure the line while nobody speaks yet (rule 5). Sound that is queued meanwhile goes out at once."""
        self._primed, self._priming_at = 0, now
        return self.pump(now)

    def pump(self, now: float) -> list[CallerCommand]:
        """Hand over what is due (rule 1). Nothing while held."""
        commands = self._prime(now)
        while self._waiting and not self._held:
            if self._run_began is None or (self._run_began < now and self._clock.left(now) < self._clock.jitter):
                commands += self._begin_run(now)
            room = self._room(now)
            if room < min(self._chunk, self._waiting):
                break
            commands.append(PlayAudio(self._take(self._next_size(room))))
            commands.append(SendMark(self._clock.mark(self._sent)))
        return commands

    def deadline(self) -> float | None:
        """When `pump` has something to send again; None when nothing waits, or all of it is held."""
        if self._priming_at is not None:
            return self._priming_at
        if self._run_began is None or self._held:
            return None
        waiting = self._queued - self._sent
        if not waiting:
            return None
        needed = self._sent + min(self._chunk, waiting) - self._lead - self._run_base
        return self._run_began + needed / BYTES_PER_SECOND

    # --- receipts -----------------------------------------------------------------------------------------------

    def reach_mark(self, name: str, now: float) -> float | None:
        """Take a receipt. Returns how far off our reckoning was, in seconds, or None when the mark said nothing new."""
        error = self._clock.reach(name, now)
        self._tape.forget(self._clock.receipted)
        return error if self._segments else None  # silence that measures the line was not reckoned well, nor had to be

    def pop_heard(self, now: float) -> list[Heard]:
        """Parts of which every byte was heard, oldest first; each is told once, and again if more of it comes later."""
        done = self._segments.pop_heard(self._clock.receipted)
        if not self._segments and self._clock.left(now) <= 0:
            self._run_began = None
        if done and self._clock.receipted >= self.queued:
            self._probe_again(now)
        return done

    # --- the caller speaks --------------------------------------------------------------------------------------

    def hold(self, now: float) -> bool:
        """Stop where the ear will be when a clear sent now takes effect, so that `resume` can go on from there.

        Returns whether that clear must be sent: False when nothing was audible, or our voice is held already.
        """
        if self._held or not self.is_audible(now):
            return False
        position = max(self.heard(now), self._tape.start)
        self._clock.clear(position)
        self._sent = position
        self._run_began = None
        self._held = self._fading = True
        self._priming_at = None
        return True

    def resume(self, now: float) -> list[CallerCommand]:
        """Go on from the very sample where `hold` stopped; its first 5 ms rise softly. Nothing if not held."""
        self._held = False
        return self.pump(now)

    def cut(self, now: float) -> list[Heard]:
        """End our voice; nothing of it is sent any more.

        Returns every part not yet told as heard, with what the ear has heard when a clear sent now takes effect, or
        took effect at the hold.
        """
        cut = self._segments.cut(self.heard(now))
        self._clock.clear(0)
        self._tape = Tape()
        self._queued = self._sent = 0
        self._cuts += 1
        self._run_began = None
        self._held = self._fading = False
        self._probe_again(now)
        return cut

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def _waiting(self) -> int:
        """Bytes queued and not sent, or not sent again."""
        return self._queued - self._sent

    def _add(self, ulaw: bytes) -> None:
        self._tape.add(ulaw)
        self._queued += len(ulaw)

    def _prime(self, now: float) -> list[CallerCommand]:
        """The next probe, and after the last one the silence. Real sound ends it: a run has its own probe."""
        if self._waiting:
            self._priming_at = None
        if self._priming_at is None or now < self._priming_at:
            return []
        if self._primed < PROBES:
            self._primed += 1
            self._priming_at = now + PROBE_EVERY_S
            return [SendMark(self._clock.probe(now))]
        self._priming_at = None
        self._add(SILENCE * (SHORT_MESSAGES * SHORTEST_MESSAGE) if self._clock.unused else b"")
        return []

    def _probe_again(self, now: float) -> None:
        """Nothing is left to play: measure the round trip anew."""
        if not self._clock.unused:
            self._primed, self._priming_at = PROBES - PROBES_BETWEEN, now + PROBE_EVERY_S

    def _begin_run(self, now: float) -> list[CallerCommand]:
        """Start the clocks anew. A mark that finds nothing to play comes back at once: ahead of the sound goes one."""
        idle = self._clock.receipted >= self._sent
        probe: list[CallerCommand] = [SendMark(self._clock.probe(now))] if idle else []
        self._clock.begin_run(now)
        self._run_base = self._sent
        self._run_began = now
        return probe

    def _room(self, now: float) -> int:
        """Bytes that may be sent now without running further ahead than the lead."""
        began = self._run_began if self._run_began is not None else now
        allowed = self._run_base + (now - began) * BYTES_PER_SECOND + self._lead
        return round(allowed) - self._sent

    def _next_size(self, room: int) -> int:
        """Never across a segment's end: each item gets a mark of its own. Single frames at the beginning of a run."""
        begins = self._sent < self._run_base + SHORT_MESSAGES * SHORTEST_MESSAGE
        longest = SHORTEST_MESSAGE if begins else self._chunk
        size = min(room, longest, self._waiting)
        end = self._segments.end_at(self._sent)
        return size if end is None else min(size, end - self._sent)

    def _take(self, size: int) -> bytes:
        """The next bytes to send. They stay on the tape until their receipt, or until that is given up for lost."""
        ulaw = self._tape.read(self._sent, size)
        self._sent += size
        self._tape.forget(self._sent - self._lead - (LOST_AFTER_S + 1) * BYTES_PER_SECOND)
        if self._fading:
            self._fading = False
            return fade_in(ulaw)
        return ulaw
