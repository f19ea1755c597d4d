"""Dialling: telephone keys that we press, as tones in our own voice's place. The media stream has no other way.

Rules
-----
1. Keys are played when our voice was heard to its end and no more of it is being made; the far side may speak, as the
   menu that they are for usually does. Several wishes are played one after the other.
   test_keys_wait_until_our_voice_was_heard
   test_keys_are_played_into_the_far_sides_announcement
2. While they wait or are played the model is not asked to speak, and the call does not part: our own voice would spoil
   them. What the model says by itself is heard after them.
   test_the_model_speaks_after_the_keys_were_played
   test_a_goodbye_waits_for_the_keys
3. When they were played they are on the record, without the keys themselves. A cut of our voice takes along what was
   not played yet; the model is then told so.
   test_keys_that_were_cut_off_are_told_to_the_model
4. `MOST_WAITING` wishes may wait. More of the model's are refused before they are begun (`errands`); those of others,
   such as a supervisor's, are left out, and the model is told so.
   test_keys_beyond_those_that_may_wait_are_refused_and_the_model_goes_on
   test_a_model_that_sends_keys_without_end_is_not_followed
"""

from __future__ import annotations

from collections import deque

from voice_gateway.audio import dtmf
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.turns import Turns

MOST_WAITING = 8
SEND_DTMF = "send_dtmf"
"""The name of the tool that asks for keys."""
TOO_MANY = (
    '{"error":"too_many_keys","message":"These keys were not pressed: so many wait already for their turn. Say nothing '
    'until those were played, then send these again if they still matter."}'
)
NOT_PRESSED = "The last telephone keys were not pressed: so many waited already. Send them again if they still matter."
CUT_OFF = "Not all of the telephone keys were played: somebody spoke into them. Send them again if they still matter."


class Dialling:
    """due: when keys that are being played will have been."""

    def __init__(self, speaking: Speaking, turns: Turns) -> None:
        self._speaking = speaking
        self._turns = turns
        self._waiting: deque[str] = deque()
        self._played: tuple[str, int, int] | None = None
        self.due: float | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        return bool(self._waiting) or self._played is not None

    def take(self, event: ev.KeysAsked, now: float) -> list[do.Command]:  # noqa: ARG002 - a handler's shape
        if len(self._waiting) >= MOST_WAITING:
            return [do.AddNote(NOT_PRESSED)]
        self._waiting.append(event.digits)
        return []

    def go_on(self, now: float) -> list[do.Command]:
        """Play what may be played now, and tell of what was."""
        told = self._finish(now)
        turns, playout = self._turns, self._speaking.playout
        making = turns.active is not None and not turns.is_cut(turns.active)
        if self._played is not None or not self._waiting or self._speaking.joined_at is None:
            return told
        if making or playout.held or playout.unheard_s(now):
            return told
        digits = self._waiting.popleft()
        played = playout.insert(dtmf.tones(digits), now)
        self._played = (digits, playout.queued, playout.cuts)
        self.due = now + playout.left_s(playout.queued, now)
        return [*told, *played]

    def _finish(self, now: float) -> list[do.Command]:
        if self._played is None:
            return []
        digits, end, cuts = self._played
        whole, left_s = self._speaking.playout.cuts == cuts, self._speaking.playout.left_s(end, now)
        if whole and left_s > 0:
            self.due = now + max(0.02, left_s)
            return []
        self._played = self.due = None
        entry = do.WriteEntry(entries.KeysPlayed(sum(key not in dtmf.WAIT_MS for key in digits), whole))
        return [entry] if whole else [do.AddNote(CUT_OFF), entry]
