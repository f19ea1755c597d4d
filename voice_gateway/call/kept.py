"""Kept: a conversation while it goes on, as the record keeps it, for whoever is told of it besides the model.

It is made of entries, so what is heard and what is left out is settled already: of our words only those that were
heard, nothing that was said during a pause, no numbers that were taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from voice_gateway.call import entries
from voice_gateway.call.gist import tidy
from voice_gateway.call.transcript import CUT

MOST_TURNS: Final = 80
MOST_LETTERS: Final = 24_000
MOST_OUTPUT: Final = 2_000
"""Of what a tool was asked, and of what it said."""


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """speaker: `caller`, `assistant` or `tool`. start_ms: when it began, as far as is known.

    name, arguments: of a tool, as JSON text; said is its output then.
    """

    speaker: str
    said: str
    start_ms: float
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Kept:
    """One call's conversation. paused: nothing that is said now is kept."""

    paused: bool = False
    _turns: list[KeptTurn] = field(default_factory=list)
    _asked: dict[str, str] = field(default_factory=dict)
    """The arguments of tools at work, by the call's id."""
    _former: int = 0
    """So many turns are of an earlier part of the call, whose clock was another."""

    def take(self, entry: entries.Entry) -> None:
        match entry:
            case entries.UserSpoke():
                self._put("caller", entry.text, entry.start_ms)
            case entries.AssistantSpoke():
                self._put("assistant", f"{entry.text}{CUT if entry.interrupted else ''}", entry.start_ms)
            case entries.ToolAsked():
                self._asked[entry.call_id] = entry.arguments
            case entries.ToolAnswered():
                output, arguments = entry.output, self._asked.pop(entry.call_id, "")
                self._put("tool", output[:MOST_OUTPUT], None, entry.name, arguments[:MOST_OUTPUT])
            case entries.RecordingPaused():
                self.paused = True
            case entries.RecordingResumed():
                self.paused = False

    def begin_again(self) -> None:
        """The caller was put through and comes back: what was said stands, and the times begin anew."""
        self.paused = False
        self._asked.clear()
        self._former = len(self._turns)

    def _put(self, speaker: str, text: str, start_ms: int | None, name: str = "", arguments: str = "") -> None:
        """A turn goes where it began: a caller's text may come after our answer to it."""
        said = tidy(text)
        if not said or said == tidy(CUT):
            return
        last = self._turns[-1].start_ms if len(self._turns) > self._former else 0.0
        begins = last if start_ms is None else float(start_ms)
        place = len(self._turns)
        while place > self._former and self._turns[place - 1].start_ms > begins:
            place -= 1
        self._turns.insert(place, KeptTurn(speaker, said, begins, name, arguments))

    def turns(self) -> tuple[KeptTurn, ...]:
        """The newest turns, oldest first; of a very long call not all of them."""
        newest: list[KeptTurn] = []
        left = MOST_LETTERS
        for turn in reversed(self._turns[-MOST_TURNS:]):
            left -= len(turn.said)
            if left < 0 and newest:
                break
            newest.append(turn)
        return tuple(reversed(newest))
