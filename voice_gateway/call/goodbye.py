"""Goodbyes: a call that we end is over when the caller has heard our last word, and not before.

Rules
-----
1. The last word is asked for, or is being said already, and nothing else is begun. When it was heard, the call ends.
   test_the_call_ends_when_the_last_word_was_heard
   test_a_model_that_ends_the_call_without_a_word_is_asked_for_one
2. Whoever speaks into our goodbye is listened to: the goodbye is taken back, and the model is told so. It is taken back
   once; the next one stands, or a mere `bye` of the caller's would keep the line open for ever.
   test_a_caller_who_speaks_into_the_goodbye_is_listened_to
   test_the_second_goodbye_stands
3. It takes `LONGEST_S` at most. A last word that the model does not say, the carrier's voice says for it, where it is
   known.
   test_a_goodbye_that_the_model_does_not_say_is_said_by_the_carrier
   test_a_goodbye_has_an_end_whatever_happens
4. A last word of our own is said only by a response that we asked for it: another one that comes first, such as the
   answer to a caller who was still speaking or to a tool, is heard, and then it is asked for again.
   test_our_last_word_is_said_after_an_answer_that_came_first
   test_our_last_word_is_said_after_the_answer_of_a_tool
   test_our_last_word_is_not_said_by_what_was_being_said_before
   test_our_last_word_is_said_after_an_answer_that_crossed_our_ask
5. A model that fails in our goodbye ends the call as was meant: in our words, and with the transfer. Neither does the
   longest time of a call or a drain undo a transfer.
   test_a_model_that_fails_in_a_goodbye_does_not_undo_a_transfer
   test_a_limit_that_falls_into_a_transfer_does_not_undo_it
6. The model puts the caller through by `transfer_to_human`, where there is somebody; the caller hears a word before.
   test_the_model_puts_the_caller_through_when_its_word_was_heard
   test_the_announcement_of_a_transfer_is_said_word_for_word
   test_a_caller_who_speaks_is_not_put_through_in_the_midst_of_it
"""

from __future__ import annotations

from dataclasses import dataclass

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call.saying import exactly
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.turns import Turns

LONGEST_S = 60.0

END_CALL = "end_call"
"""The name of the call's own tool: the model ends the call with it."""

ENDING = '{"ok":true,"say":"Goodbye!"}'
NOT_NOW = (
    '{"error":"caller_speaks","message":"The caller is speaking. Listen first; end the call when he has finished."}'
)
TRANSFER = "transfer_to_human"
"""The name of the call's own tool that puts the caller through; the reason of such an end, too, is `transfer`."""
TRANSFERRING = '{"ok":true,"say":"Tell the caller in one short sentence that you put him through now."}'
NOT_PUT_THROUGH = (
    '{"error":"caller_speaks","message":"The caller is speaking. Listen first; put him through when he has finished."}'
)
_MODEL_GONE = frozenset({"model_failed", "model_lost", "model_stalled", "model_unavailable"})
_OURS = frozenset({"draining", "max_duration", "tool_loop"})
TAKEN_BACK = "The caller speaks again, so the call goes on. Listen and answer; you may end the call later."


@dataclass(slots=True)
class Goodbye:
    """How this call ends. sentence: the last word, where it is known. transfer_number: where the caller goes on to.

    spoken_in: the response that holds the last word, as far as is known. owed: the model has yet to be asked for a last
    word, should that response bring none; or, of a last word of our own, should what we asked for not begin. firm: who
    speaks into it does not change it.
    """

    reason: str
    sentence: str = ""
    transfer_number: str = ""
    spoken_in: str | None = None
    owed: bool = False
    firm: bool = False

    @property
    def ask(self) -> do.CreateResponse:
        """What has the model say the last word."""
        return exactly(self.sentence) if self.sentence else do.CreateResponse()


class Parting:
    """goodbye: the one that is under way, if any. until: when it ends at the latest."""

    def __init__(self, turns: Turns, speaking: Speaking) -> None:
        self._turns = turns
        self._speaking = speaking
        self._was_taken_back = False
        self.goodbye: Goodbye | None = None
        self.until: float | None = None

    @property
    def hands_over(self) -> bool:
        """The caller is about to be put through to somebody else."""
        return self.goodbye is not None and bool(self.goodbye.transfer_number)

    def begin(self, goodbye: Goodbye, now: float) -> list[do.Command]:
        """Say goodbye, unless that is being done already."""
        if self.goodbye is not None:
            return []
        self.goodbye, self.until = goodbye, now + LONGEST_S
        self._turns.closing = self._was_taken_back or goodbye.firm
        if goodbye.sentence:
            goodbye.owed, goodbye.spoken_in = True, None
            self._turns.wish(goodbye.ask, now)
        return [do.WriteEntry(entries.GoodbyeBegun(goodbye.reason))]

    def take_back(self) -> list[do.Command]:
        """The caller speaks into it: he is listened to, this once."""
        if self.goodbye is None:
            return []
        reason = self.goodbye.reason
        self.goodbye = self.until = None
        self._was_taken_back = True
        self._turns.forget_wish()
        return [do.AddNote(TAKEN_BACK), do.WriteEntry(entries.GoodbyeTakenBack(reason))]

    def hear_of_response(self, response_id: str) -> None:
        """A response began, and it may bring the last word (rule 4)."""
        goodbye = self.goodbye
        if goodbye is None or (goodbye.sentence and self._turns.opened_by != goodbye.ask):
            return
        goodbye.spoken_in = response_id
        if goodbye.sentence:
            goodbye.owed = False

    def hear_of_refusal(self) -> None:
        """What we asked for was refused: the response that began then is another one."""
        goodbye = self.goodbye
        if goodbye is not None and goodbye.sentence and goodbye.spoken_in and goodbye.spoken_in == self._turns.active:
            goodbye.owed, goodbye.spoken_in = True, None

    def part(self, now: float, *, quiet: bool) -> list[do.Command]:
        """End the call when its last word was heard. quiet: nobody speaks, nor will anybody by himself."""
        goodbye = self.goodbye
        if goodbye is None or self.until is None or not (quiet or now >= self.until):
            return []
        if goodbye.owed and not self._is_said(goodbye) and now < self.until:
            goodbye.owed = False
            self._turns.wish(goodbye.ask, now)
            return []
        return [self.end(goodbye)]

    def instead_of(self, end: do.EndCall) -> do.EndCall:
        """How the call ends where it was to end this way (rule 5)."""
        undone = end.reason in _MODEL_GONE or (self.hands_over and end.reason in _OURS)
        return self.end(self.goodbye) if self.goodbye is not None and undone else end

    def end(self, goodbye: Goodbye) -> do.EndCall:
        say = "" if self._is_said(goodbye) else goodbye.sentence
        return do.EndCall(goodbye.reason, say, transfer_number=goodbye.transfer_number)

    def _is_said(self, goodbye: Goodbye) -> bool:
        return goodbye.spoken_in is not None and goodbye.spoken_in == self._speaking.last_response
