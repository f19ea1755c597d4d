"""Consults: what the supervisor does beside the call, on its record and in its costs.

The question and its answer are a tool's, and `errands` keeps them. What happens in between is told here as it happens.

Rules
-----
1. A tool that the supervisor uses is on the record like one of the voice's, marked as the supervisor's.
   test_what_the_supervisor_does_is_on_the_record_as_it_happens
2. Each of them gets exactly one answer there; those at work when the call ends are given up.
   test_a_tool_of_the_supervisors_that_is_at_work_when_the_call_ends_is_given_up_on_record
3. What a text model used is booked at once, and ends the call like any other cost when it has cost what it may.
   test_the_text_model_costs_like_the_voice_and_can_end_the_call
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.costs import Meter

BY_SUPERVISOR = "supervisor"


class Consults:
    """Which tools the supervisor has at work."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._out: dict[str, tuple[str, float]] = {}

    def call_tool(self, event: ev.SupervisorCalledTool, now: float) -> list[do.Command]:
        if event.call_id in self._out:  # two of one name at a time: the record can tell one of them
            return []
        self._out[event.call_id] = (event.name, now)
        asked = entries.ToolAsked(event.call_id, event.name, event.arguments, BY_SUPERVISOR)
        return [do.WriteEntry(asked)]

    def finish_tool(self, event: ev.SupervisorToolFinished, now: float) -> list[do.Command]:
        if event.call_id not in self._out:
            return []
        return [self._answered(event.call_id, event.output, now, ok=event.ok)]

    def finish(self, event: ev.SupervisorFinished, now: float) -> list[do.Command]:  # noqa: ARG002 - one shape for all handlers
        took_ms = round(event.took_s * 1000)
        answered = entries.SupervisorAnswered(event.outcome, event.model, event.rounds, event.tools, took_ms)
        return [do.WriteEntry(answered)]

    def book(self, event: ev.TextModelAnswered, now: float) -> list[do.Command]:
        return [do.WriteEntry(self._meter.book_text(event, now))]

    def give_up(self, now: float) -> list[do.Command]:
        """What these have done is not known to the call."""
        return [self._answered(call_id, '{"error":"call_ended"}', now, ok=False) for call_id in list(self._out)]

    def _answered(self, call_id: str, output: str, now: float, *, ok: bool) -> do.WriteEntry:
        name, asked_at = self._out.pop(call_id)
        took_ms = round((now - asked_at) * 1000)
        return do.WriteEntry(entries.ToolAnswered(call_id, name, output, ok, took_ms, BY_SUPERVISOR))
