"""Errands: the tools that work beside the call, from the model's question to our answer.

Rules
-----
1. A tool runs beside the call and is told the keys pressed so far.
   test_a_tool_is_told_the_keys_that_were_pressed
2. Its output goes to the model at once, and once; the model is asked to speak when no tool is outstanding any more and
   `turns` allows it.
   test_a_tools_output_goes_to_the_model_at_once_but_the_model_speaks_after_its_response
   test_parallel_tools_lead_to_one_response
   test_a_tool_that_nobody_asked_for_has_no_answer
3. The call's own tools, `end_call` and `transfer_to_human`, are answered here: the model says its last word, unless the
   caller speaks.
   test_the_call_ends_when_the_last_word_was_heard
   test_the_model_puts_the_caller_through_when_its_word_was_heard
4. A model that calls tools in `MOST_ROUNDS` responses in a row without a word is asked to speak, and may not use tools
   then. If it says nothing even so, the call ends in words: nobody is left to listen to a silence.
   test_a_model_that_only_calls_tools_is_asked_to_speak
   test_a_model_that_only_calls_tools_whatever_it_is_asked_is_given_up
5. What would come to nothing is refused here and not run: keys while as many wait as may, another language while the
   call is taking its leave.
   test_keys_beyond_those_that_may_wait_are_refused_and_the_model_goes_on
   test_who_takes_his_leave_is_told_that_he_goes_on_in_no_other_language
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.dialling import MOST_WAITING, SEND_DTMF, TOO_MANY, Dialling
from voice_gateway.call.goodbye import (
    END_CALL,
    ENDING,
    NOT_NOW,
    NOT_PUT_THROUGH,
    TRANSFER,
    TRANSFERRING,
    Goodbye,
    Parting,
)
from voice_gateway.call.keypad import Keypad
from voice_gateway.call.policy import Colleague, Policy
from voice_gateway.call.transcript import Transcript, Use
from voice_gateway.call.turns import Turns

MOST_ROUNDS = 8
SPEAK_NOW = (
    "You have used tools for a while without a word to the caller. Speak now: tell him in one or two short sentences "
    "what you have found and what you could not, and ask how to go on."
)
SET_LANGUAGE = "set_language"
IN_GOODBYE = (
    '{"error":"call_ending","message":"The language was not changed: the call is ending. Ask again if it goes on."}'
)
_SPEAK = do.CreateResponse(may_use_tools=False)


class Errands:
    """Which tools are at work; each question gets exactly one answer on the record."""

    def __init__(
        self,
        policy: Policy,
        turns: Turns,
        keypad: Keypad,
        parting: Parting,
        transcript: Transcript,
        dialling: Dialling,
    ) -> None:
        self._policy = policy
        self._turns = turns
        self._transcript = transcript
        self._keypad = keypad
        self._parting = parting
        self._dialling = dialling
        self._called_in = ""
        self._rounds = 0
        self._out: dict[str, tuple[ev.ToolCalled, float]] = {}
        self._asked: set[str] = set()

    def adopt(self, policy: Policy) -> None:
        """Another persona leads the call."""
        self._policy = policy

    def __len__(self) -> int:
        return len(self._out)

    @property
    def names(self) -> list[str]:
        """Of the tools at work, in the order in which they were asked."""
        return [asked.name for asked, _ in self._out.values()]

    def start(self, event: ev.ToolCalled, now: float) -> list[do.Command]:
        self._called_in = event.response_id
        if event.name == END_CALL and self._policy.may_end:
            return self._end_call(event, now)
        if event.name == TRANSFER and self._policy.colleague is not None:
            return self._put_through(event, self._policy.colleague, now)
        if refusal := self._refusal(event.name):
            return self._refuse(event, refusal, now)
        if not self._is_new(event):
            return []
        self._out[event.call_id] = (event, now)
        return [
            do.WriteEntry(entries.ToolAsked(event.call_id, event.name, event.arguments)),
            do.RunTool(event.call_id, event.name, event.arguments, self._keypad.pressed),
        ]

    def _refusal(self, name: str) -> str:
        """Why a tool that works on the call would come to nothing; empty where it would not."""
        if name == SEND_DTMF and self._dialling.waiting + self.names.count(name) >= MOST_WAITING:
            return TOO_MANY
        return IN_GOODBYE if name == SET_LANGUAGE and self._parting.goodbye is not None else ""

    def _refuse(self, event: ev.ToolCalled, refusal: str, now: float) -> list[do.Command]:
        answered = self.answer(event, refusal, ok=False)
        if answered and self._parting.goodbye is None:
            self._turns.wish(self._next_response, now)
        return answered

    @property
    def _next_response(self) -> do.CreateResponse:
        return do.CreateResponse() if self._rounds < MOST_ROUNDS else _SPEAK

    def _end_call(self, event: ev.ToolCalled, now: float) -> list[do.Command]:
        if self._turns.caller_is_speaking or self._turns.is_cut(event.response_id):
            return self.answer(event, NOT_NOW, ok=False)
        goodbye = Goodbye(END_CALL, spoken_in=event.response_id, owed=True)
        return [*self.answer(event, ENDING, ok=True), *self._parting.begin(goodbye, now)]

    def _put_through(self, event: ev.ToolCalled, colleague: Colleague, now: float) -> list[do.Command]:
        if self._turns.caller_is_speaking or self._turns.is_cut(event.response_id):
            return self.answer(event, NOT_PUT_THROUGH, ok=False)
        goodbye = Goodbye(
            "transfer", colleague.announcement, colleague.transfer_number, spoken_in=event.response_id, owed=True
        )
        return [*self.answer(event, TRANSFERRING, ok=True), *self._parting.begin(goodbye, now)]

    def end_round(self, event: ev.ResponseFinished, now: float, *, spoke: bool) -> list[do.Command]:
        """A response is over (rule 4). spoke: it had a voice."""
        if spoke:
            self._rounds = 0
            return []
        if self._turns.opened_by == _SPEAK and event.status == "completed":
            fault = entries.FaultSeen("model", "tool_loop", f"{self._rounds} responses with tools and without a word")
            return [do.WriteEntry(fault), do.EndCall("tool_loop", self._policy.failed_sentence, status="failed")]
        if self._called_in != event.response_id or self._parting.goodbye is not None:
            return []
        self._rounds += 1
        if self._rounds < MOST_ROUNDS:
            return []
        self._turns.wish(_SPEAK, now)
        return [do.AddNote(SPEAK_NOW)] if self._rounds == MOST_ROUNDS else []

    def answer(self, event: ev.ToolCalled, output: str, *, ok: bool) -> list[do.Command]:
        """Answer for a tool that is the call's own and takes no time."""
        if not self._is_new(event):
            return []
        return [
            do.WriteEntry(entries.ToolAsked(event.call_id, event.name, event.arguments)),
            do.SendToolOutput(event.call_id, output),
            do.WriteEntry(entries.ToolAnswered(event.call_id, event.name, output, ok, duration_ms=0)),
        ]

    def finish(self, event: ev.ToolFinished, now: float) -> list[do.Command]:
        if event.call_id not in self._out:
            return []
        asked, asked_at = self._out.pop(event.call_id)
        self._turns.wish(self._next_response, now)
        self._transcript.use(Use(event.call_id, asked.name, asked.arguments, event.output))
        took_ms = round((now - asked_at) * 1000)
        answered = entries.ToolAnswered(event.call_id, asked.name, event.output, event.ok, took_ms)
        return [do.SendToolOutput(event.call_id, event.output), do.WriteEntry(answered)]

    def _is_new(self, event: ev.ToolCalled) -> bool:
        known = event.call_id in self._asked
        self._asked.add(event.call_id)
        return not known

    def give_up(self, now: float) -> list[do.Command]:
        """No question stays without an answer on the record: what these tools have done is not known to the call."""
        given_up = [
            entries.ToolAnswered(
                call_id, asked.name, '{"error":"call_ended"}', ok=False, duration_ms=round((now - at) * 1000)
            )
            for call_id, (asked, at) in self._out.items()
        ]
        self._out.clear()
        return [do.WriteEntry(entry) for entry in given_up]
