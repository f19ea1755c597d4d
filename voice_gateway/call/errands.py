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
3. The call's own tool, `end_call`, is answered here: the model says its last word, unless the caller speaks.
   test_the_call_ends_when_the_last_word_was_heard
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.goodbye import END_CALL, ENDING, NOT_NOW, Goodbye, Parting
from voice_gateway.call.keypad import Keypad
from voice_gateway.call.turns import Turns


class Errands:
    """Which tools are at work; each question gets exactly one answer on the record."""

    def __init__(self, turns: Turns, keypad: Keypad, parting: Parting, *, may_end: bool) -> None:
        """may_end: the model has the tool `end_call`."""
        self._turns = turns
        self._keypad = keypad
        self._parting = parting
        self._may_end = may_end
        self._out: dict[str, tuple[str, float]] = {}
        self._asked: set[str] = set()

    def __len__(self) -> int:
        return len(self._out)

    def start(self, event: ev.ToolCalled, now: float) -> list[do.Command]:
        if event.name == END_CALL and self._may_end:
            return self._end_call(event, now)
        if not self._is_new(event):
            return []
        self._out[event.call_id] = (event.name, now)
        return [
            do.WriteEntry(entries.ToolAsked(event.call_id, event.name, event.arguments)),
            do.RunTool(event.call_id, event.name, event.arguments, self._keypad.pressed),
        ]

    def _end_call(self, event: ev.ToolCalled, now: float) -> list[do.Command]:
        if self._turns.caller_is_speaking or self._turns.is_cut(event.response_id):
            return self.answer(event, NOT_NOW, ok=False)
        goodbye = Goodbye(END_CALL, spoken_in=event.response_id, owed=True)
        return [*self.answer(event, ENDING, ok=True), *self._parting.begin(goodbye, now)]

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
        name, asked_at = self._out.pop(event.call_id)
        self._turns.wish(do.CreateResponse(), now)
        answered = entries.ToolAnswered(event.call_id, name, event.output, event.ok, round((now - asked_at) * 1000))
        return [do.SendToolOutput(event.call_id, event.output), do.WriteEntry(answered)]

    def _is_new(self, event: ev.ToolCalled) -> bool:
        known = event.call_id in self._asked
        self._asked.add(event.call_id)
        return not known

    def give_up(self, now: float) -> list[do.Command]:
        """No question stays without an answer on the record: what these tools have done is not known to the call."""
        given_up = [
            entries.ToolAnswered(
                call_id, name, '{"error":"call_ended"}', ok=False, duration_ms=round((now - at) * 1000)
            )
            for call_id, (name, at) in self._out.items()
        ]
        self._out.clear()
        return [do.WriteEntry(entry) for entry in given_up]
