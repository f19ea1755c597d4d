"""Missing sound from the caller becomes silence, so that the model's idea of time keeps up with the caller's.

A telephone may send nothing while nobody speaks, and frames get lost or late. The model hears only what is written to
it: without sound its voice activity detection stands still, and a turn that has ended never ends. The rules:

- Where the carrier's timestamps jump, the hole is filled with silence before the frame, at most 10 s for one hole.
- A deviation of up to one frame is jitter and not a hole. It is not forgotten either: holes add up.
- When nothing has come for 750 ms, silence is written as time passes, at most 10 s for one stall. Whatever of it the
  timestamps later prove to have been missing is already there and is not written twice. If the sound was only late, it
  all comes after the silence: nothing of the caller's voice is ever thrown away.
- The lead won that way is used up by later holes; beyond 10 s, or when the timestamps start anew, the clock is set
  again.
- However wild the timestamps, there is never more silence than time since the first frame, and 10 s.

So before each frame the written time is at most one frame behind the carrier's clock, unless a limit was reached.
Positions are in samples of the carrier's clock, 8 a millisecond; a µ-law sample is one byte. `now` is in seconds.
"""

from __future__ import annotations

SAMPLES_PER_MS = 8
SAMPLES_PER_S = 8000
FRAME_SAMPLES = 160
MAX_FILL_SAMPLES = 10 * SAMPLES_PER_S
STALL_S = 0.75
STEP_S = 0.25

_SILENCE = b"\xff" * MAX_FILL_SAMPLES


class GapFiller:
    """Fills one stream's holes. padded_ms: silence added so far, in whole milliseconds."""

    __slots__ = ("_first_at", "_last_at", "_padded", "_stalled", "_written")

    def __init__(self) -> None:
        self._first_at: float | None = None
        self._last_at = 0.0
        self._written = 0  # where on the carrier's clock the written sound ends
        self._stalled = 0  # silence written since the last frame, because none came
        self._padded = 0

    @property
    def padded_ms(self) -> int:
        return self._padded // SAMPLES_PER_MS

    @property
    def last_frame_at(self) -> float | None:
        """When the last frame came; None before the first."""
        return None if self._first_at is None else self._last_at

    def frame(self, ulaw: bytes, timestamp_ms: int, now: float) -> bytes:
        """What to write for this frame: the very same bytes, or silence and then these."""
        position = timestamp_ms * SAMPLES_PER_MS
        if self._first_at is None:
            self._first_at = now
            self._written = position
        hole = position - self._written
        silence = 0 if -FRAME_SAMPLES <= hole <= FRAME_SAMPLES else self._close(hole, position, now)
        self._written += len(ulaw)
        self._last_at = now
        self._stalled = 0
        return _SILENCE[:silence] + ulaw if silence else ulaw

    def deadline(self) -> float | None:
        """When `due` will have something to write, unless a frame comes first. None before the first frame."""
        if self._first_at is None or self._stalled >= MAX_FILL_SAMPLES:
            return None
        if not self._stalled:
            return self._last_at + STALL_S
        return self._last_at + self._stalled / SAMPLES_PER_S + STEP_S

    def due(self, now: float) -> bytes:
        """The silence that is owed at this time because no frame came; empty when it is too early."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return b""
        elapsed = round((now - self._last_at) * SAMPLES_PER_S)
        silence = min(elapsed, MAX_FILL_SAMPLES) - self._stalled
        self._stalled += silence
        self._written += silence
        self._padded += silence
        return _SILENCE[:silence]

    def _close(self, hole: int, position: int, now: float) -> int:
        """How much silence closes this hole. Sets the written clock to the frame's, save for a lead to be kept."""
        if hole < 0:
            if hole < -MAX_FILL_SAMPLES - FRAME_SAMPLES:
                self._written = position
            return 0
        silence = max(0, min(hole, MAX_FILL_SAMPLES - self._stalled, self._allowed(now)))
        self._written = position
        self._padded += silence
        return silence

    def _allowed(self, now: float) -> int:
        first_at = now if self._first_at is None else self._first_at
        return round((now - first_at) * SAMPLES_PER_S) + MAX_FILL_SAMPLES - self._padded
