"""A stage for dialogues with the bridge: a pure carrier with a network delay, a clock that only moves when told.

The carrier knows the truth: how much of our voice was really played when a clear reached it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeVar

from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy

FRAME = b"\xff" * 160
Wanted = TypeVar("Wanted")


@dataclass
class Line:
    """The carrier's playout: everything in order, in real time, behind a jitter buffer whenever it had run dry."""

    one_way_s: float = 0.05
    jitter_buffer_s: float = 0.06
    busy_until: float = 0.0
    spans: list[tuple[float, int]] = field(default_factory=list)
    pending: list[tuple[float, str]] = field(default_factory=list)

    def play(self, sent_at: float, ulaw: bytes) -> None:
        arrived = sent_at + self.one_way_s
        start = self.busy_until if self.busy_until > arrived else arrived + self.jitter_buffer_s
        self.spans.append((start, len(ulaw)))
        self.busy_until = start + len(ulaw) / 8000

    def mark(self, sent_at: float, name: str) -> float:
        """When its receipt comes back."""
        due = max(sent_at + self.one_way_s, self.busy_until)
        self.pending.append((due, name))
        return due + self.one_way_s

    def clear(self, sent_at: float) -> tuple[int, list[tuple[float, str]]]:
        """Bytes really played of this generation, and the marks that come back at once."""
        arrived = sent_at + self.one_way_s
        played = sum(min(length, max(0, round((arrived - start) * 8000))) for start, length in self.spans)
        returned = [(arrived + self.one_way_s, name) for due, name in self.pending if due > arrived]
        self.spans.clear()
        self.pending.clear()
        self.busy_until = arrived
        return played, returned


class Scene:
    """One call. Everything that the bridge commands is kept in `said` with its time."""

    def __init__(
        self, policy: Policy | None = None, line: Line | None = None, detector: OnsetDetector | None = None
    ) -> None:
        self.line = line or Line()
        self.now = 0.0
        self.bridge = Bridge(policy or Policy(audio_format="pcmu"), 0.0, detector)
        self.said: list[tuple[float, do.Command]] = []
        self.truths: list[int] = []
        self._due: list[tuple[float, int, ev.Event]] = []
        self._order = count()

    # --- what happens -------------------------------------------------------------------------------------------

    def tell(self, event: ev.Event) -> list[do.Command]:
        """It happens now."""
        commands = self.bridge.handle(event, self.now)
        for command in commands:
            self.said.append((self.now, command))
            self._carry(command)
        return commands

    def later(self, at: float, event: ev.Event) -> None:
        heapq.heappush(self._due, (at, next(self._order), event))

    def pass_until(self, end: float) -> None:
        """Let time go by: receipts come back, the bridge is woken when it wanted to be."""
        while True:
            deadline = self.bridge.deadline()
            at = self._due[0][0] if self._due else float("inf")
            if deadline is not None and deadline <= at:
                if deadline > end:
                    break
                self.now = max(self.now, deadline)
                self.tell(ev.Woke())
            elif at <= end:
                self.now, _, event = heapq.heappop(self._due)
                self.tell(event)
            else:
                break
        self.now = end

    def _carry(self, command: do.Command) -> None:
        match command:
            case do.PlayAudio():
                self.line.play(self.now, command.ulaw)
            case do.SendMark():
                self._return(self.line.mark(self.now, command.name), command.name)
            case do.ClearPlayout():
                played, returned = self.line.clear(self.now)
                self.truths.append(played)
                reached = self.now + 2 * self.line.one_way_s  # what comes back by then was played before the clear
                self._due = [d for d in self._due if not isinstance(d[2], ev.MarkReached) or d[0] <= reached]
                heapq.heapify(self._due)
                for at, name in returned:
                    self._return(at, name)

    def _return(self, at: float, name: str) -> None:
        self.later(at, ev.MarkReached(name))

    # --- how a call begins and what its people do ---------------------------------------------------------------

    def begin(self) -> None:
        self.tell(ev.ModelReady("sess_1", "test-model"))
        self.tell(ev.CallerJoined("MZ1"))

    def answer(self, response: str, item: str, seconds: float, *, text: str = "", done: bool = True) -> None:
        """The model speaks: all its sound at once, µ-law, in deltas of 100 ms."""
        self.tell(ev.ResponseStarted(response))
        self.tell(ev.ItemStarted(response, item, "message"))
        self.speak(response, item, seconds, text=text)
        if done:
            self.tell(ev.AudioFinished(response, item, 0))
            self.tell(ev.ResponseFinished(response, "completed"))

    def speak(self, response: str, item: str, seconds: float, *, text: str = "") -> None:
        if text:
            self.tell(ev.TextReceived(response, item, text))
        for _ in range(round(seconds * 10)):
            self.tell(ev.AudioReceived(response, item, 0, b"\x10" * 800))

    def caller_speaks(self, item: str = "user_1") -> list[do.Command]:
        return self.tell(ev.SpeechStarted(item, 0))

    def caller_stops(self, item: str = "user_1") -> list[do.Command]:
        return self.tell(ev.SpeechStopped(item, 0))

    # --- what was commanded -------------------------------------------------------------------------------------

    def all(self, kind: type[Wanted]) -> list[Wanted]:
        return [command for _, command in self.said if isinstance(command, kind)]

    def entries(self, kind: type[Wanted]) -> list[Wanted]:
        return [c.entry for _, c in self.said if isinstance(c, do.WriteEntry) and isinstance(c.entry, kind)]

    def __str__(self) -> str:
        """The dialogue so far, a line a command: pytest prints it when a test fails."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for at, command in self.said:
            shown = f"PlayAudio({len(command.ulaw) / 8:.0f} ms)" if isinstance(command, do.PlayAudio) else str(command)
            yield f"{at:8.3f}  {shown}"


def ended(scene: Scene) -> entries.CallEnded:
    """The one entry that closes a call's record."""
    (entry,) = scene.entries(entries.CallEnded)
    return entry
