"""A stage for dialogues with the bridge: a pure carrier with a network delay, a clock that only moves when told.

The carrier knows the truth: how much of our voice was really played when a clear reached it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
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
    """The carrier's playout: everything in order, in real time, behind a jitter buffer whenever it had run dry.

    one_way_s: to the carrier; back_s: from it, as long when None. jitter_s: a message takes up to so much longer, each
    way, and none overtakes another. late_s: the carrier plays so much later still whenever playing starts anew; it may
    be changed in the midst of a call.
    """

    one_way_s: float = 0.05
    jitter_buffer_s: float = 0.06
    back_s: float | None = None
    jitter_s: float = 0.0
    late_s: float = 0.0
    seed: int = 0
    busy_until: float = 0.0
    spans: list[tuple[float, int]] = field(default_factory=list)
    pending: list[tuple[float, str]] = field(default_factory=list)
    sound: list[tuple[float, bytes]] = field(default_factory=list)
    """Everything that was or will be heard in the call, clears taken off: when, and what."""

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)  # noqa: S311 - seeded weather wants a repeatable generator, not a secret one
        self._arrived = self._returned = float("-inf")

    def play(self, sent_at: float, ulaw: bytes) -> None:
        arrived = self._arrive(sent_at)
        start = self.busy_until if self.busy_until > arrived else arrived + self.jitter_buffer_s + self.late_s
        self.spans.append((start, len(ulaw)))
        self.sound.append((start, ulaw))
        self.busy_until = start + len(ulaw) / 8000

    def mark(self, sent_at: float, name: str) -> float:
        """When its receipt comes back."""
        due = max(self._arrive(sent_at), self.busy_until)
        self.pending.append((due, name))
        return self._return(due)

    def clear(self, sent_at: float) -> tuple[int, list[tuple[float, str]]]:
        """Bytes really played since the last clear, and the marks that it returns at once."""
        arrived = self._arrive(sent_at)
        played = sum(min(length, _bytes_until(arrived, start)) for start, length in self.spans)
        self.sound = [(start, ulaw[: _bytes_until(arrived, start)]) for start, ulaw in self.sound]
        unreached = [name for due, name in self.pending if due > arrived]
        self._returned = self._return(arrived, anew=True)
        self.spans.clear()
        self.pending.clear()
        self.busy_until = arrived
        return played, [(self._returned, name) for name in unreached]

    def heard_ms(self, ulaw: bytes) -> float:
        """How much was played in the whole call of sound made of this one byte."""
        return sum(sound.count(ulaw) for _, sound in self.sound) / 8

    def _arrive(self, sent_at: float) -> float:
        self._arrived = max(self._arrived, sent_at + self.one_way_s + self._jitter())
        return self._arrived

    def _return(self, due: float, *, anew: bool = False) -> float:
        back = self.one_way_s if self.back_s is None else self.back_s
        at = due + back + self._jitter()
        self._returned = at if anew else max(self._returned, at)
        return self._returned

    def _jitter(self) -> float:
        return self._chance.uniform(0.0, self.jitter_s) if self.jitter_s else 0.0


def _bytes_until(at: float, start: float) -> int:
    return max(0, round((at - start) * 8000))


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
        self._silence: list[do.Command] = []
        self._due: list[tuple[float, int, ev.Event]] = []
        self._order = count()

    # --- what happens -------------------------------------------------------------------------------------------

    def tell(self, event: ev.Event) -> list[do.Command]:
        """It happens now."""
        commands = self.bridge.handle(event, self.now)
        if isinstance(event, ev.Woke) and not any(isinstance(command, do.PlayAudio) for _, command in self.said):
            self._silence = [c for c in commands if isinstance(c, do.PlayAudio) and c.ulaw == FRAME]
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
                if any(command is each for each in self._silence):
                    self.line.spans.pop()  # the silence ahead of all is nobody's words
            case do.SendMark():
                self._return(self.line.mark(self.now, command.name), command.name)
            case do.ClearPlayout():
                played, returned = self.line.clear(self.now)
                self.truths.append(played)
                unreached = {name for _, name in returned}
                self._due = [d for d in self._due if not (isinstance(d[2], ev.MarkReached) and d[2].name in unreached)]
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
        """In order; of what is played without the silence ahead of the first words."""
        said = [command for _, command in self.said if isinstance(command, kind)]
        return [command for command in said if not any(command is each for each in self._silence)]

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
