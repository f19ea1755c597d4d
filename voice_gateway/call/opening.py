"""The opening: how the first words of a call come about, and what becomes of them (`greeting`).

Rules
-----
1. The greeting begins when both legs are there.
   test_the_greeting_waits_for_the_caller
   test_the_greeting_waits_for_the_model_and_the_caller_is_not_lost_meanwhile
2. One that is kept as a clip begins with the caller's stream, and the model is told what was heard of it before it can
   answer.
   test_a_clip_begins_with_the_stream_before_the_model_is_there
   test_a_clip_that_is_cut_enters_the_models_history_as_far_as_it_was_heard
3. A greeting that the model spoke well is kept for later calls.
   test_the_models_own_greeting_is_kept_as_soon_as_it_is_whole
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.greeting import Take
from voice_gateway.call.policy import Policy
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.turns import Turns


class Opening:
    def __init__(self, policy: Policy, speaking: Speaking, turns: Turns, transcript: Transcript) -> None:
        self._policy = policy
        self._speaking = speaking
        self._turns = turns
        self._transcript = transcript

    def adopt(self, policy: Policy) -> None:
        """Another persona leads the call."""
        self._policy = policy

    def begin(self, now: float) -> list[do.Command]:
        """The caller is there: say the clip, or find out how far his ear is."""
        if self._policy.clip is not None:
            return self._speaking.play(self._policy.clip, now)
        return [*self._speaking.playout.prime(now)]

    def greet(self, now: float) -> None:
        """Both legs are there, maybe: have the model say its greeting then."""
        policy = self._policy
        if self._speaking.joined_at is None or not policy.greeting or policy.clip is not None:
            return
        if policy.greeting_to_keep:
            self._speaking.take = Take(policy.greeting_to_keep)
        self._turns.wish(do.CreateResponse(policy.greeting), now)

    def tell_first_words(self, event: ev.Event, commands: list[do.Command]) -> list[do.Command]:
        """What a model that is ready is told of a clip, ahead of everything that this event leads to."""
        first_words = self._speaking.first_words
        if first_words is None:
            return []
        # It answers when it is asked, and by itself when the caller has spoken: now, or while it was not there yet.
        hears = isinstance(event, ev.SpeechStarted) or (
            isinstance(event, ev.ModelReady) and any(isinstance(command, do.AppendAudio) for command in commands)
        )
        asked = any(isinstance(command, do.CreateResponse) for command in commands)
        told = first_words.tell(may_answer=hears or asked)
        if first_words.settled:
            self._speaking.first_words = None
        return [*told]

    def keep(self, event: ev.ResponseFinished) -> list[do.Command]:
        """A response is over: was it the greeting, and is it worth keeping?"""
        take = self._speaking.take
        if take is None or take.response_id != event.response_id:
            return []
        self._speaking.take = None
        clip = take.finish(event.status, self._transcript.turn("assistant", take.item_id).generated)
        return [] if clip is None else [do.KeepGreeting(clip.ulaw, clip.text)]
