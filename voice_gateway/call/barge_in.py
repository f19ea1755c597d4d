"""Barge-in: when the caller's voice silences ours, for good or until we know better.

Rules
-----
1. The model's word that the caller speaks ends our voice at once, where nothing below says otherwise.
   test_in_server_mode_the_models_word_interrupts_at_once
2. In edge mode our own detector hears the caller first: an onset while our voice is audible holds it where the ear is.
   test_an_onset_holds_our_voice_at_once
3. The model's word confirms a hold: our voice is cut as of the hold, and nothing is cleared a second time.
   test_the_models_word_confirms_a_hold_and_truncates_where_it_began
4. A hold without that word for `confirm_s` was in vain: our voice goes on from the very sample.
   test_after_a_hold_in_vain_the_voice_goes_on_from_the_very_sample
5. No flutter: after a hold in vain there is none for `REFRACTORY_S`, twice as long after each further one in a row, and
   one stretch of the caller's speech is held for only once.
   test_after_a_hold_in_vain_there_is_none_for_a_while
   test_each_further_hold_in_vain_doubles_the_pause
6. An onset while the model hears the caller already ends our voice at once.
   test_an_onset_while_the_model_hears_the_caller_already_cuts_at_once
7. With `min_speech_ms` neither counts before the caller has spoken for so long; a shorter word interrupts nothing.
   test_a_short_word_interrupts_nothing
   test_speech_interrupts_once_it_has_lasted_long_enough
8. A protected greeting is heard to its end, and so is a goodbye that stands.
   test_a_protected_greeting_is_heard_to_its_end
   test_the_second_goodbye_stands
9. Where the model does not cancel by itself, its active response is cancelled by us, by its id and once.
   test_where_the_model_does_not_interrupt_itself_its_response_is_cancelled_once
10. Somebody inside may silence us too; that is no barge-in on the record (`saying`).
   test_a_saying_may_cut_our_own_voice_at_what_was_heard
"""

from __future__ import annotations

from collections import deque

from voice_gateway.audio.level import quick_dbfs
from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.audio.transcode import ULAW_BYTES_PER_MS
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.policy import Policy
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.turns import Turns

REFRACTORY_S = 1.0
LONGEST_REFRACTORY_S = 16.0
RECENT_FRAMES = 40
"""Frames of the caller's that are kept while nobody listens to them: what his room sounds like before we speak."""

LOUD_DBFS = -45.0
BELOW_LOUDEST_DB = 20.0
LONGEST_LAG_MS = 1000.0


class BargeIn:
    """Decides, and lets `speaking` do it."""

    def __init__(
        self, policy: Policy, speaking: Speaking, hearing: Hearing, turns: Turns, detector: OnsetDetector | None
    ) -> None:
        """detector: for edge mode; None is server mode."""
        self._speaking = speaking
        self._hearing = hearing
        self._turns = turns
        self._lent = detector
        self._recent: deque[bytes] = deque(maxlen=RECENT_FRAMES)
        self._listening = False
        self._told = 0
        self._tried = False
        self._held_at: float | None = None
        self._in_vain = 0
        self._not_before = 0.0
        self._length: SpeechLength | None = None
        self._first_response = None if policy.clip is None else ""
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """A persona leads the call from now on. A detector is there from the beginning of the call or not at all."""
        able = policy.barge_in and policy.duplex
        self._policy = policy
        self._detector = self._lent if able else None
        self.watches = able and (self._detector is not None or policy.min_speech_ms > 0)

    # --- what happens -----------------------------------------------------------------------------------------------

    def hear(self, ulaw: bytes, now: float) -> list[do.Command]:
        """A frame of the caller's. To be told only where `watches` is true."""
        if self._length is not None:
            self._length.add(ulaw)
            if self._length.milliseconds >= self._policy.min_speech_ms:
                return self._interrupt(now)
        if self._detector is None or not self._listen(self._detector, ulaw, now):
            return []
        return self._on_speech(self._detector, now)

    def start_speech(self, event: ev.SpeechStarted, now: float) -> list[do.Command]:
        """The model hears the caller; `turns` knows it already."""
        self._length = None
        if not self._policy.barge_in or self.is_protected:
            return []
        if self._held_at is not None or not self._policy.min_speech_ms:
            return self._interrupt(now)
        if self._turns.active is None and not self._speaking.playout.is_audible(now):
            return []
        lag_ms = self._hearing.written_ms - event.audio_start_ms - self._policy.speech_prefix_ms
        self._length = SpeechLength(min(max(0.0, lag_ms), LONGEST_LAG_MS))
        return self._interrupt(now) if self._length.milliseconds >= self._policy.min_speech_ms else []

    def stop_speech(self) -> None:
        self._length = None

    def silence(self, now: float) -> list[do.Command]:
        """Somebody inside wants us silent at once. That is no barge-in, and the model must be told to stop."""
        self._held_at = None
        commands = self._interrupt(now, told_the_model=False)
        return [c for c in commands if not (isinstance(c, do.WriteEntry) and isinstance(c.entry, entries.BargedIn))]

    def start_response(self, response_id: str) -> None:
        """The first one is the greeting, where there is one."""
        if self._first_response is None:
            self._first_response = response_id

    def deadline(self) -> float | None:
        """When a hold will have been in vain."""
        return None if self._held_at is None else self._held_at + self._policy.confirm_s

    def wake(self, now: float) -> list[do.Command]:
        """Go on speaking when nobody confirmed the hold (rule 4)."""
        if self._held_at is None or now < self._held_at + self._policy.confirm_s:
            return []
        held_s, self._held_at = now - self._held_at, None
        pause_s = min(REFRACTORY_S * 2**self._in_vain, LONGEST_REFRACTORY_S)
        self._in_vain += 1
        self._not_before = now + pause_s
        playing = self._speaking.playout.playing
        entry = entries.HeldInVain("" if playing is None else playing.item_id, round(held_s * 1000))
        return [
            *self._speaking.playout.resume(now),
            do.Observe("hold_in_vain", held_s),
            do.WriteEntry(entry),
        ]

    # --- edge mode --------------------------------------------------------------------------------------------------

    def _listen(self, detector: OnsetDetector, ulaw: bytes, now: float) -> bool:
        """Let the detector hear this frame while our voice is audible, and not otherwise."""
        playout = self._speaking.playout
        if not self._listening:
            if playout.sent == self._told or not playout.is_audible(now):
                self._recent.append(ulaw)
                return False
            detector.begin(b"".join(self._recent), self._hearing.level_dbfs)
            self._listening, self._tried = True, False
            self._recent.clear()
        elif not playout.is_audible(now):
            self._listening = False
            return False
        if playout.sent != self._told:
            detector.play(*playout.sent_since(self._told))
            self._told = playout.sent
        detector.hear(ulaw, playout.marked(now))
        return True

    def _on_speech(self, detector: OnsetDetector, now: float) -> list[do.Command]:
        if not detector.speaking:
            self._tried = False
            return []
        wanted = detector.speech_ms >= self._policy.min_speech_ms
        if self._tried or not wanted or self._held_at is not None or self.is_protected:
            return []
        if self._turns.caller_is_speaking:
            return self._interrupt(now)
        if now < self._not_before or not self._speaking.playout.hold(now):
            return []
        self._tried = True
        self._held_at = now
        self._told = self._speaking.playout.sent
        return [do.ClearPlayout(), do.Observe("hold_delay", detector.age_ms / 1000)]

    # --- both -------------------------------------------------------------------------------------------------------

    @property
    def is_protected(self) -> bool:
        """Is it the greeting that is heard, or about to be, or the very last word?"""
        if self._turns.closing:
            return True
        if not self._policy.protect_greeting or not (self._policy.greeting or self._policy.clip):
            return False
        playing = self._speaking.playout.playing
        speaks = self._turns.active if playing is None else playing.response_id
        return speaks is not None and speaks == self._first_response

    def _interrupt(self, now: float, *, told_the_model: bool = True) -> list[do.Command]:
        """told_the_model: the caller's voice did, if it may cancel by itself."""
        confirmed: list[do.Command] = []
        if self._held_at is not None:
            confirmed = [do.Observe("hold_confirmed", now - self._held_at)]
        self._held_at = self._length = None
        self._in_vain = 0
        cancelled: list[do.Command] = []
        active = self._turns.active
        cancels_itself = told_the_model and self._policy.model_interrupts
        if active is not None and not cancels_itself and not self._turns.is_cut(active):
            cancelled = [do.CancelResponse(active)]
        response_id = self._turns.cut_active()
        playout = self._speaking.playout
        if not (playout.is_audible(now) or playout.unfinished):
            return cancelled
        self._listening = False
        self._told = 0
        return [*self._speaking.interrupt(now, response_id), *cancelled, *confirmed]


class SpeechLength:
    """How long somebody has spoken by now, told from the level alone: pauses count only when more speech follows."""

    __slots__ = ("_loudest", "_pause_ms", "milliseconds")

    def __init__(self, milliseconds: float) -> None:
        """milliseconds: how long he had spoken when this began."""
        self.milliseconds = milliseconds
        self._pause_ms = 0.0
        self._loudest = LOUD_DBFS

    def add(self, ulaw: bytes) -> None:
        level = quick_dbfs(ulaw)
        length_ms = len(ulaw) / ULAW_BYTES_PER_MS
        self._loudest = max(self._loudest, level)
        if level < max(LOUD_DBFS, self._loudest - BELOW_LOUDEST_DB):
            self._pause_ms += length_ms
            return
        self.milliseconds += self._pause_ms + length_ms
        self._pause_ms = 0.0
