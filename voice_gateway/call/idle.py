"""Idleness: a caller who says nothing is asked whether he is still there, and after some prompts bidden goodbye.

Either the model notices by itself (`server_vad` with `idle_timeout_ms`) and prompts by itself, or we do: time counts
while nobody speaks or is about to, from the last sound that the caller heard or made.
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call.goodbye import Goodbye, Parting
from voice_gateway.call.policy import Idle
from voice_gateway.call.turns import Turns

STILL_THERE = (
    "The caller has not said anything for a while. Ask in one short sentence, in the language of the call, whether he "
    "is still there."
)
FAREWELL = "The caller does not answer any more. Say goodbye in one short sentence, in the language of the call."


class Idleness:
    """watches: we count ourselves. due: when the caller is to be prompted, unless somebody speaks before."""

    def __init__(self, policy: Idle, turns: Turns, parting: Parting) -> None:
        self._policy = policy
        self._turns = turns
        self._parting = parting
        self._prompts = 0
        self._quiet_since: float | None = None

    @property
    def watches(self) -> bool:
        return self._policy.prompt_after_s > 0

    @property
    def due(self) -> float | None:
        return None if self._quiet_since is None else self._quiet_since + self._policy.prompt_after_s

    def adopt(self, policy: Idle) -> None:
        """Another persona leads the call."""
        self._policy = policy
        self._quiet_since = None

    def reset(self) -> None:
        """The caller is there."""
        self._prompts = 0
        self._quiet_since = None

    def watch(self, now: float, *, quiet: bool) -> None:
        """quiet: nobody speaks, nor will anybody by himself."""
        if not quiet:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now

    def look(self, now: float) -> list[do.Command]:
        """Prompt the caller if it is time."""
        due = self.due
        if due is None or now < due:
            return []
        self._quiet_since = None
        if self._prompts >= self._policy.prompts:
            return self._bid_goodbye(now)
        self._turns.wish(do.CreateResponse(), now)
        return [do.AddNote(STILL_THERE), self._count()]

    def time_out(self, now: float) -> list[do.Command]:
        """The model noticed by itself, and is about to prompt."""
        self._turns.expect_answer(now)
        if self._parting.goodbye is None and self._prompts < self._policy.prompts:
            return [self._count()]
        self._turns.refuse_next()
        return self._bid_goodbye(now)

    def _count(self) -> do.Command:
        self._prompts += 1
        return do.WriteEntry(entries.CallerPrompted(self._prompts))

    def _bid_goodbye(self, now: float) -> list[do.Command]:
        if self._parting.goodbye is not None:
            return []
        sentence = self._policy.goodbye
        note: list[do.Command] = [] if sentence else [do.AddNote(FAREWELL)]
        return [*note, *self._parting.begin(Goodbye("idle", sentence, owed=not sentence), now)]
