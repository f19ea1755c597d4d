"""Thinking: what a caller hears while a tool works for long and nobody speaks.

Rules
-----
1. A tool has been at work, and nobody has spoken, for `filler_after_s`: the model says the tool's own filler, where it
   has one, once for each stretch of work. It is asked for like any response, so it never meets another; what it says
   answers nothing, and the tool's answer has a response of its own.
   test_a_long_tools_filler_is_said_and_then_its_answer
   test_a_filler_that_crosses_the_tools_answer_is_no_answer
   test_a_quick_tool_has_no_filler
2. Then, or where there is none, and as long again without a voice: a soft sound, note by note, until a voice is heard.
   test_a_soft_sound_fills_the_silence_until_the_answer
   test_a_long_tool_without_a_filler_has_the_sound_alone
3. The sound is nobody's words: it is not counted as heard, holds up neither the caller nor our voice, and is begun by a
   tool's work alone. While the caller speaks or our voice is heard there is none.
   test_the_sound_stops_when_the_caller_speaks
   test_the_sound_is_no_turn_of_ours_and_nothing_to_interrupt
   test_a_caller_who_is_silent_hears_no_sound
4. After `LONGEST_S` it stops: so long nobody believes it.
   test_the_sound_has_an_end
"""

from __future__ import annotations

from dataclasses import replace

from voice_gateway.audio import hum
from voice_gateway.call import commands as do
from voice_gateway.call.errands import Errands
from voice_gateway.call.goodbye import Parting
from voice_gateway.call.policy import Policy
from voice_gateway.call.saying import exactly
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.turns import Turns

LONGEST_S = 60.0


class Thinking:
    """due: when something is to be heard, unless somebody speaks before."""

    def __init__(self, policy: Policy, turns: Turns, speaking: Speaking, errands: Errands, parting: Parting) -> None:
        self._policy = policy
        self._turns = turns
        self._speaking = speaking
        self._errands = errands
        self._parting = parting
        self._since: float | None = None
        self._filled = False
        self._notes = 0
        self.due: float | None = None

    def adopt(self, policy: Policy) -> None:
        """Another persona leads the call."""
        self._policy = policy

    @property
    def watches(self) -> bool:
        """Is a tool at work, and is the caller to hear something of it?"""
        return bool(self._errands) and self._policy.filler_after_s > 0

    @property
    def busy(self) -> bool:
        return self._since is not None

    def watch(self, now: float) -> None:
        """Something happened: is this still a silence with a tool at work?"""
        if not self._is_silent(now):
            self._since = self.due = None
            self._filled = self._filled and bool(self._errands)
        elif self._since is None:
            self._since, self.due = now, now + self._policy.filler_after_s

    def _is_silent(self, now: float) -> bool:
        """Once begun, it lasts until the answer is heard, not only until the tool has it."""
        waiting = self.watches or (self._since is not None and not self._turns.at_rest)
        return (
            waiting
            and not self._turns.caller_is_speaking
            and self._parting.goodbye is None
            and self._speaking.joined_at is not None
            and not self._speaking.playout.unheard_s(now)
        )

    def wake(self, now: float) -> list[do.Command]:
        """Fill the silence if it is time; sound may have come since it was watched last."""
        if self.due is None or now < self.due:
            return []
        self.watch(now)
        since = self._since
        if since is None:
            return []
        filler = "" if self._filled else self._filler()
        if filler and self._turns.may_be_asked:
            self._filled, self.due = True, now + self._policy.filler_after_s + hum.EVERY_S
            self._turns.wish_meanwhile(replace(exactly(filler), may_use_tools=False), now)
            return []
        if not self._policy.thinking_sound or now - since >= LONGEST_S:
            self.due = None
            return []
        self._notes, self.due = self._notes + 1, now + hum.EVERY_S
        return [*self._speaking.playout.insert(hum.note(self._notes - 1), now)]

    def _filler(self) -> str:
        fillers = dict(self._policy.fillers)
        return next((fillers[name] for name in self._errands.names if name in fillers), "")
