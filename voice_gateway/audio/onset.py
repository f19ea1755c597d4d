"""The onset of a caller's speech while our own voice is playing: heard over its echo, noise and far voices.

A stretch is one piece of our voice, from where it becomes audible to where it ends. The detector runs only then. Sound
comes in windows of 32 ms, and an onset is called at the third window of four that has these two properties.

1. It is speech: the model of `activity` says so.
2. It is loud enough to be the caller's, louder than each of
   - all but the loudest fifth of the last 4.5 seconds, by 8 dB: noise and far voices that go on;
   - 15 dB below the caller's own level, once he has spoken, and -45 dBFS at least: others in his room;
   - the loudest that our own voice was, less what is taken for the loss of its echo. The echo's delay need not be
     known for that: the loudest of the last 400 ms counts, and of the next 60 ms: so well we know where the ear is.

The loss of the echo is first taken for 13 dB. That is too little for a loudspeaker telephone and too much for most, so
it is measured: where the levels of what comes in follow ours (correlation above 0.85 over two seconds, at any delay),
the echo is what comes in, and its loss is known. Where nothing is heard while we speak, the loss is as large as that.

Why levels and not an echo canceller: one needs to know the position in the ear to a sample, and the next run of sound
shifts it by milliseconds; codecs and the carrier's own cancellers leave an echo that no linear filter explains. The
figures of `bench/barge_in.py` say how far this goes.

Positions are bytes of µ-law at 8 kHz as the playout counts them. Everything here depends on the sound alone.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio import g711
from voice_gateway.audio.activity import WINDOW, WINDOW_MS, Activity

SPEECH: Final = 0.5
NEEDED: Final = 3
AMONG: Final = 4
GAP_WINDOWS: Final = 10
"""Windows without speech after which a stretch of speech is over: 320 ms, longer than any stop within a word."""

SILENT_DBFS: Final = -56.0
DOZES_AFTER: Final = 20
WOKEN_WITH: Final = 8
"""Windows of the silence before that the judge is given when he is woken."""

REMEMBERED: Final = 140
"""Windows of what came in: 4.5 s."""

BACKGROUND: Final = 0.8
BACKGROUND_MARGIN_DB: Final = 8.0
LEVEL_MARGIN_DB: Final = 15.0
QUIETEST_DBFS: Final = -45.0

FIRST_LOSS_DB: Final = 13.0
LEAST_LOSS_DB: Final = 0.0
MOST_LOSS_DB: Final = 35.0
LOSS_MARGIN_DB: Final = 7.0
BEFORE_WINDOWS: Final = 13
AHEAD_WINDOWS: Final = 2
CORRELATED: Final = 0.85
COMPARED: Final = 64
"""Windows of ours and theirs that are compared: 2 s."""

FEWEST_COMPARED: Final = 24
COMPARE_EVERY: Final = 8
KEPT_BLOCKS: Final = 2048
_AUDIBLE_DBFS: Final = -45.0

_NOTHING_DB: Final = -90.0
_AMPLITUDES: Final = (g711.decode(bytes(range(256))) / 32768.0).astype(np.float32)


class OnsetDetector:
    """Listens to one caller.

    loss_db: what our own voice loses on its way back to us, as far as known; 7 dB are taken off for safety.
    """

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._rest = np.zeros(0, np.float32)
        self._ours = Reference()
        self._levels: deque[float] = deque(maxlen=REMEMBERED)
        self._blocks: deque[int] = deque(maxlen=REMEMBERED)
        self._hits: deque[bool] = deque(maxlen=AMONG)
        self._least_dbfs = QUIETEST_DBFS
        self._windows = 0
        self._since_speech = GAP_WINDOWS
        self._began: int | None = None
        self._quiet_windows = 0
        self._dozed: deque[NDArray[np.float32]] = deque(maxlen=WOKEN_WITH)
        self.loss_db = FIRST_LOSS_DB

    @property
    def speaking(self) -> bool:
        """True from an onset on, until there was no speech for 320 ms."""
        return self._began is not None

    @property
    def speech_ms(self) -> int:
        """How long the caller has spoken, from his first window to the last one that was speech; 0 when he does not."""
        if self._began is None:
            return 0
        return (self._windows - self._since_speech - self._began) * WINDOW_MS

    @property
    def age_ms(self) -> int:
        """How long ago the speech began; 0 when there is none."""
        if self._began is None:
            return 0
        return (self._windows - self._began) * WINDOW_MS + len(self._rest) // 8

    def begin(self, recent: bytes, speech_dbfs: float | None) -> None:
        """A stretch begins. recent: the caller's last second or so. speech_dbfs: his level, once he has spoken."""
        self._activity.reset()
        self._rest = self._rest[:0]
        self._hits.clear()
        self._levels.clear()
        self._blocks.clear()
        self._ours.clear()
        self._dozed.clear()
        self._quiet_windows = 0
        self._began = None
        self._since_speech = GAP_WINDOWS
        self._least_dbfs = QUIETEST_DBFS if speech_dbfs is None else max(QUIETEST_DBFS, speech_dbfs - LEVEL_MARGIN_DB)
        whole = len(recent) // WINDOW
        if whole:
            levels = _levels(_AMPLITUDES.take(np.frombuffer(recent, np.uint8)[-whole * WINDOW :]))
            # The end of the caller's own turn may be among it: what is far above the usual there is no background.
            usual = sorted(levels)[whole // 2] + BACKGROUND_MARGIN_DB
            self._levels.extend(min(level, usual) for level in levels)
            self._blocks.extend([-1] * whole)

    def play(self, ulaw: bytes, position: int) -> None:
        """Our own sound is on its way to the ear. position: of its first byte; sound of a position replaces older."""
        self._ours.add(ulaw, position)

    def hear(self, ulaw: bytes, position: int) -> bool:
        """Take the caller's next sound. position: what the ear had heard of ours when it was made.

        Returns True where this sound completes an onset.
        """
        came = _AMPLITUDES.take(np.frombuffer(ulaw, np.uint8))
        sound = np.concatenate((self._rest, came))
        onset = False
        start = 0
        while start + WINDOW <= len(sound):
            window = sound[start : start + WINDOW]
            start += WINDOW
            onset = self._take(window, position - (len(sound) - start)) or onset
        self._rest = sound[start:]
        return onset

    def _take(self, window: NDArray[np.float32], position: int) -> bool:
        level = float(_levels(window)[0])
        block = position // WINDOW
        self._levels.append(level)
        self._blocks.append(block)
        self._windows += 1
        if self._windows % COMPARE_EVERY == 0:
            self._measure_loss()
        before = self._levels[-2] if len(self._levels) > 1 else level
        speech = self._is_speech(window, level) and max(level, before) > self._gate(block)
        self._hits.append(speech)
        self._since_speech = 0 if speech else self._since_speech + 1
        if self._began is not None:
            if self._since_speech >= GAP_WINDOWS:
                self._began = None
            return False
        if not speech or sum(self._hits) < NEEDED:
            return False
        self._began = self._windows - len(self._hits) + list(self._hits).index(True)
        return True

    def _is_speech(self, window: NDArray[np.float32], level: float) -> bool:
        """Ask the judge, who dozes while there is nothing to hear: most of our voice is listened to in silence."""
        self._quiet_windows = self._quiet_windows + 1 if level < SILENT_DBFS else 0
        if self._quiet_windows > DOZES_AFTER:
            self._dozed.append(window)
            return False
        if self._dozed:
            self._activity.reset()
            for earlier in self._dozed:
                self._activity.probability(earlier)
            self._dozed.clear()
        return self._activity.probability(window) >= SPEECH

    def _gate(self, block: int) -> float:
        """The level that a caller's voice must have now, in dBFS."""
        background = sorted(self._levels)[int((len(self._levels) - 1) * BACKGROUND)]
        echo = self._ours.loudest(block - BEFORE_WINDOWS, block + AHEAD_WINDOWS) - self.loss_db
        return max(background + BACKGROUND_MARGIN_DB, self._least_dbfs, echo)

    def _measure_loss(self) -> None:
        """Compare what came in with what we played, at every delay up to 400 ms."""
        known = [(level, at) for level, at in zip(self._levels, self._blocks, strict=True) if at >= 0]
        known = known[-COMPARED:]
        if len(known) < FEWEST_COMPARED:
            return
        theirs = np.maximum(np.array([level for level, _ in known]), -60.0)
        blocks = np.array([block for _, block in known])
        ours = np.maximum(self._ours.delayed(blocks), -60.0)
        loudest = ours.max(axis=0)
        audible = loudest > _AUDIBLE_DBFS
        if audible.sum() < FEWEST_COMPARED:
            return
        centred = ours - ours.mean(axis=1, keepdims=True)
        deviation = theirs - theirs.mean()
        spread = np.sqrt((centred**2).sum(axis=1) * (deviation**2).sum()) + 1e-6
        likeness = centred @ deviation / spread
        delay = int(likeness.argmax())
        if likeness[delay] > CORRELATED:
            loud = ours[delay] > ours[delay].max() - 12.0
            loss = float((ours[delay][loud] - theirs[loud]).mean()) - LOSS_MARGIN_DB
        else:  # whatever it is that comes in, the echo is not louder
            at_least = float((loudest - theirs)[audible].min()) - LOSS_MARGIN_DB
            loss = max(self.loss_db, min(self.loss_db + 2.0, at_least))
        self.loss_db = min(max(LEAST_LOSS_DB, loss), MOST_LOSS_DB)


class Reference:
    """How loud our own voice is, by position, in blocks of 32 ms. Keeps what a stretch of some seconds needs."""

    __slots__ = ("_base", "_levels", "_partial")

    def __init__(self) -> None:
        self._levels: list[float] = []
        self._base = 0
        self._partial = b""

    def clear(self) -> None:
        self._levels.clear()
        self._partial = b""

    def add(self, ulaw: bytes, position: int) -> None:
        """Sound from a position on. What was known of that position and later is replaced."""
        expected = (self._base + len(self._levels)) * WINDOW + len(self._partial)
        if not self._levels and not self._partial:
            self._base = position // WINDOW
            self._partial = g711.SILENCE * (position % WINDOW)
        elif position != expected:
            del self._levels[max(0, position // WINDOW - self._base) :]
            missing = position - (self._base + len(self._levels)) * WINDOW
            self._partial = g711.SILENCE * min(max(0, missing), 20 * WINDOW)
        sound = self._partial + ulaw
        whole = len(sound) // WINDOW * WINDOW
        if whole:
            self._levels.extend(_levels(_AMPLITUDES.take(np.frombuffer(sound, np.uint8, whole))))
        self._partial = sound[whole:]
        surplus = len(self._levels) - KEPT_BLOCKS
        if surplus > 0:
            del self._levels[:surplus]
            self._base += surplus

    def loudest(self, first: int, last: int) -> float:
        """The highest level from one block to another, in dBFS."""
        start = max(0, first - self._base)
        return max(self._levels[start : max(start, last + 1 - self._base)], default=_NOTHING_DB)

    def delayed(self, blocks: NDArray[np.int64]) -> NDArray[np.float64]:
        """The levels at these blocks for each delay from 0 to 12 blocks: shape (13, len(blocks))."""
        lags = np.arange(BEFORE_WINDOWS)[:, None]
        at = blocks[None, :] - lags - self._base
        levels = np.array([*self._levels, _NOTHING_DB])
        outside = (at < 0) | (at >= len(self._levels))
        return levels[np.where(outside, len(self._levels), at)]


def _levels(sound: NDArray[np.float32]) -> list[float]:
    """The level of each whole window in dBFS, -90 for silence."""
    windows = sound.reshape(-1, WINDOW)
    power = np.einsum("ij,ij->i", windows, windows) / WINDOW
    found: list[float] = (10 * np.log10(power + 1e-9)).tolist()
    return found
