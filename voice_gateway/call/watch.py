"""The watchdogs: what must not stand still, and what is done when it does.

Rules
-----
1. No sound comes from the carrier, not even silence, for `media_stall_s`: it is written down, and the model is asked to
   tell the caller that he cannot be heard; once in a call, for some telephones send nothing while nobody speaks. (The
   model is given silence meanwhile: see `gaps`.) After `MEDIA_LOST_AFTER` nobody can be there, and the call ends.
   test_when_the_callers_sound_stops_he_is_asked_and_in_the_end_the_call_ends
   test_a_stall_of_the_callers_sound_is_told_anew_when_it_had_come_back
2. An open response brings nothing for `response_stall_s`: it is cancelled, and what it owed is asked for once more.
   test_a_model_that_falls_silent_in_a_response_is_asked_again
3. A response that failed by the model's fault, or was broken off before it brought anything, is asked for once more, in
   the words of the first time. After a second fault in a row the call ends, in words.
   test_a_failed_response_is_asked_for_once_more
   test_a_greeting_that_failed_is_asked_for_in_the_same_words
   test_a_response_that_was_broken_off_before_any_sound_is_asked_for_once_more
   test_a_model_that_keeps_falling_silent_is_lost
4. The model hears speech for `LONGEST_SPEECH_S` without an end: a noisy line, for nobody speaks so long in one breath.
   Nobody would be answered any more, so it is taken for no speech, and the model is asked to say that it does not
   understand; should it go on for as long again, and again, the call ends, in words.
   test_speech_without_an_end_is_taken_for_noise_and_in_the_end_the_call_ends
   test_a_turn_that_ends_after_all_is_answered
5. A leg does not take what we send: it is written down. The sockets give up a leg with which this goes on.
   test_a_blocked_send_is_on_record
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.policy import Policy
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.turns import Turns

MEDIA_LOST_AFTER = 60.0
MOST_FAULTS = 1
RETRY_AFTER = 0.5
LONGEST_SPEECH_S = 60.0
MOST_NOISE = 2
"""So often the caller is told of one noise; then the call ends."""

NOT_HEARD = (
    "The telephone line brings no sound at the moment, so the caller cannot be heard. Tell him so in one short "
    "sentence, in the language of the call, and ask whether he is still there."
)

NOT_UNDERSTOOD = (
    "The telephone line brings a noise without a pause, so the caller cannot be understood. Tell him so in one short "
    "sentence, in the language of the call, and ask him to go somewhere quieter or to call again."
)


class Watch:
    """retry_due: when a response that failed is asked for again, if one is."""

    def __init__(self, policy: Policy, hearing: Hearing, speaking: Speaking, turns: Turns) -> None:
        self._policy = policy
        self._hearing = hearing
        self._speaking = speaking
        self._turns = turns
        self._faults = 0
        self._missing_since: float | None = None
        self._told_caller = False
        self._noise_told = 0
        self.retry_due: float | None = None

    # --- the caller's sound -----------------------------------------------------------------------------------------

    def next_look(self, now: float) -> float | None:
        """When `look_for_media` should be asked again. Sound puts that off, so asking too early is no harm."""
        missing_at = self._missing_at()
        if missing_at is None or missing_at > now:
            return missing_at
        return now + self._policy.media_stall_s

    def look_for_media(self, now: float) -> list[do.Command]:
        missing_at = self._missing_at()
        if missing_at is None or now < missing_at:
            return []
        missing_for = now - missing_at + self._policy.media_stall_s
        if missing_for >= MEDIA_LOST_AFTER:
            return [do.EndCall("media_lost", self._policy.failed_sentence, status="failed")]
        if self._missing_since == missing_at:
            return []
        self._missing_since = missing_at
        fault = entries.FaultSeen("caller", "media_stalled", f"no sound from the carrier for {missing_for:.1f} s")
        told = [] if self._told_caller or self._turns.closing else [do.AddNote(NOT_HEARD)]
        if told:
            self._told_caller = True
            self._turns.wish(do.CreateResponse(), now)
        return [do.WriteEntry(fault), do.Observe("media_stalled", missing_for), *told]

    def _missing_at(self) -> float | None:
        """When the caller's sound counts as missing, unless it comes; None where it is not watched."""
        joined_at = self._speaking.joined_at
        if not self._policy.media_stall_s or joined_at is None:
            return None
        last = self._hearing.gaps.last_frame_at
        return (joined_at if last is None else last) + self._policy.media_stall_s

    # --- the caller's speech ----------------------------------------------------------------------------------------

    @property
    def speech_ends_at(self) -> float | None:
        """When the caller's speech is taken for noise, unless it ends."""
        since = self._turns.speaking_since if self._turns.noise_since is None else self._turns.noise_since
        return None if since is None else since + LONGEST_SPEECH_S

    def look_for_pause(self, now: float) -> list[do.Command]:
        """Is the caller understood, or does the model hear one long noise (rule 4)?"""
        ends_at = self.speech_ends_at
        if ends_at is None or now < ends_at:
            return []
        if self._turns.noise_since is None:
            self._noise_told = 0
        if self._noise_told >= MOST_NOISE:
            return [do.EndCall("endless_speech", self._policy.failed_sentence, status="failed")]
        self._noise_told += 1
        self._turns.give_up_speech(now)
        lasted_s = LONGEST_SPEECH_S * self._noise_told
        fault = entries.FaultSeen("caller", "endless_speech", f"speech without a pause for {lasted_s:.0f} s")
        told = [] if self._turns.closing else [do.AddNote(NOT_UNDERSTOOD)]
        if told:
            self._turns.wish(do.CreateResponse(), now)
        return [do.WriteEntry(fault), do.Observe("speech_stalled", lasted_s), *told]

    # --- the model's response ---------------------------------------------------------------------------------------

    def look_for_response(self, now: float, *, parting: bool) -> list[do.Command]:
        """parting: a goodbye is being said; then what came of it must do."""
        stalled = self._turns.take_stalled(now)
        if stalled is None:
            return []
        if parting:
            self._turns.forget_wish()
        fault = f"an open response brought nothing for {self._policy.response_stall_s:g} s"
        return [
            *self._speaking.finish_response(stalled, now),
            do.CancelResponse(stalled),
            do.Observe("response_stalled", self._policy.response_stall_s),
            do.WriteEntry(entries.FaultSeen("model", "response_stalled", fault)),
            *self._count("model_stalled"),
        ]

    def look_at_end(self, event: ev.ResponseFinished, now: float) -> list[do.Command]:
        """How a response ended: well, or to be asked for again."""
        if event.status == "completed":
            self._faults = 0
        if event.status != "failed" and not self._is_empty(event):
            return []
        fault = do.WriteEntry(entries.FaultSeen("model", event.reason or f"response_{event.status}", event.message))
        self.retry_due = now + RETRY_AFTER
        return [fault, *self._count("model_failed")]

    def _is_empty(self, event: ev.ResponseFinished) -> bool:
        """Broken off, by a filter or for want of tokens, before there was anything to hear."""
        response_id = event.response_id
        heard = self._speaking.last_response == response_id or self._turns.is_cut(response_id)
        return event.status == "incomplete" and not heard

    def retry(self, now: float) -> None:
        if self.retry_due is not None and now >= self.retry_due:
            self.retry_due = None
            self._turns.wish_again(now)

    def _count(self, reason: str) -> list[do.Command]:
        self._faults += 1
        if self._faults <= MOST_FAULTS:
            return []
        return [do.EndCall(reason, self._policy.failed_sentence, status="failed")]

    # --- the legs ---------------------------------------------------------------------------------------------------

    def note_blocked(self, event: ev.SendBlocked, now: float) -> list[do.Command]:  # noqa: ARG002 - a handler's shape
        fault = entries.FaultSeen(event.leg, "send_blocked", f"nothing was taken for {event.waited_s:.1f} s")
        return [do.WriteEntry(fault), do.Observe("send_blocked", event.waited_s)]
