"""Keypad: keys pressed on the telephone become one note for the model when the caller pauses or presses `#`.

Keys that stand for a persona hand over to it instead, where they are pressed alone (`handoff`, rule 10).
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.handoff import Handoffs
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.idle import Idleness
from voice_gateway.call.policy import Policy
from voice_gateway.call.turns import Turns

DIGITS_SETTLE = 1.5


class Keypad:
    """pressed: every key of this call, the first 100."""

    def __init__(self, policy: Policy, hearing: Hearing, turns: Turns, idle: Idleness, handoffs: Handoffs) -> None:
        self._hearing = hearing
        self._turns = turns
        self._idle = idle
        self._handoffs = handoffs
        self._digits = ""
        self._settled_at: float | None = None
        self.pressed = ""
        self.adopt(policy)

    def adopt(self, policy: Policy) -> None:
        """A persona leads the call from now on."""
        self._personas = policy.keys

    @property
    def due(self) -> float | None:
        """When those not told yet are, unless more come. Without a model nobody can be told."""
        return self._settled_at if self._hearing.model_is_there else None

    def press(self, event: ev.DigitPressed, now: float) -> list[do.Command]:
        self._digits += event.digit
        self.pressed = (self.pressed + event.digit)[:100]
        self._settled_at = now if event.digit == "#" else now + DIGITS_SETTLE
        self._idle.reset()
        return [do.WriteEntry(entries.DigitReceived(event.digit)), *self.tell(now)]

    def tell(self, now: float) -> list[do.Command]:
        """Tell of the keys that are due, and forget them."""
        if self.due is None or now < self.due:
            return []
        digits, self._digits, self._settled_at = self._digits, "", None
        persona = self._personas.get(digits) or self._personas.get(digits.removesuffix("#"))
        if persona:
            return self._handoffs.ask(ev.HandoffAsked(persona, "keypad"), now)
        self._turns.wish(do.CreateResponse(), now)
        return [do.AddNote(f"The caller pressed these keys on the telephone: {' '.join(digits)}")]
