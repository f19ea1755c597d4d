"""Errands: the tools that work beside the call, from the model's question to our answer."""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev


class Errands:
    """Which tools are at work; each question gets exactly one answer on the record."""

    def __init__(self) -> None:
        self._out: dict[str, tuple[str, float]] = {}
        self._asked: set[str] = set()

    def __len__(self) -> int:
        return len(self._out)

    def start(self, event: ev.ToolCalled, digits: str, now: float) -> list[do.Command]:
        if not self._is_new(event):
            return []
        self._out[event.call_id] = (event.name, now)
        return [
            do.WriteEntry(entries.ToolAsked(event.call_id, event.name, event.arguments)),
            do.RunTool(event.call_id, event.name, event.arguments, digits),
        ]

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
