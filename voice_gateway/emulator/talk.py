"""What a conversation has come to: what the caller is after, what we asked him, and what tools have told us.

Read anew from the lines of the conversation each time, so that a mind needs no memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from voice_gateway.emulator.asking import GO_AHEAD, asked
from voice_gateway.emulator.common_words import agrees, declines, meaning
from voice_gateway.emulator.faculties import Line
from voice_gateway.emulator.vocabulary import rows
from voice_gateway.emulator.wording import words

MOST_ROUNDS: Final = 4
"""So often may tools be called for one line of the caller's: nobody waits for ever."""


@dataclass(frozen=True, slots=True)
class Called:
    """A tool that was called, and what it answered; no output yet: empty."""

    name: str
    arguments: dict[str, Any]
    output: str
    at: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for row in rows(self.output) if "id" in row]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller said to a question of ours."""

    question: str
    text: str


class Talk:
    """opening: the caller's lines that began what he is after. answers: to our questions about it, oldest first."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.called = _calls(lines)
        self.last_user = max((at for at, line in enumerate(lines) if line.role == "user"), default=-1)
        self.ours = next(
            (line.text for line in reversed(lines[: max(self.last_user, 0)]) if line.role == "assistant"), ""
        )
        self.opening: list[str] = []
        self.answers: list[Answer] = []
        self.began = self._read_topic()

    @property
    def said(self) -> str:
        """The caller's last line."""
        return self.lines[self.last_user].text if self.last_user >= 0 else ""

    @property
    def topic(self) -> list[str]:
        """All that the caller said about it, but for a bare yes."""
        answers = [answer.text for answer in self.answers if not (agrees(answer.text) and answer.question == GO_AHEAD)]
        return [*self.opening, *answers]

    @property
    def agreed(self) -> bool:
        """Whether the caller's last line is a yes to what we wanted to do."""
        return bool(self.answers) and self.answers[-1].question == GO_AHEAD and agrees(self.answers[-1].text)

    @property
    def declined(self) -> bool:
        """Whether it is a no, and nothing else."""
        last = self.answers[-1] if self.answers else None
        if last is None or last.question != GO_AHEAD or not declines(last.text):
            return False
        return not meaning(last.text) - {"leave", "forget", "mind", "changed", "rather"}

    @property
    def fresh(self) -> list[Called]:
        """The calls that were answered and that nobody has spoken about yet."""
        at = len(self.lines)
        while at and self.lines[at - 1].role not in {"user", "assistant"}:
            at -= 1
        outputs = [line for line in self.lines[at:] if line.role == "tool_output"]
        told = {line.call_id for line in outputs}
        known = [call for call in self.called if self.lines[call.at].call_id in told]
        if len(known) == len(outputs):
            return known
        return [Called(line.name, {}, line.text, len(self.lines)) for line in outputs]

    @property
    def since_asked(self) -> list[Called]:
        """Calls since the caller's last line."""
        return [call for call in self.called if call.at > self.last_user]

    @property
    def of_topic(self) -> list[Called]:
        """Calls since what the caller is after began."""
        return [call for call in self.called if call.at > self.began]

    @property
    def told_rows(self) -> list[dict[str, Any]]:
        """All rows with an id and a name that tools have told so far, the latest first."""
        found = [row for line in reversed(self.lines) if line.role == "tool_output" for row in rows(line.text)]
        return [row for row in found if "id" in row and isinstance(row.get("name"), str)]

    def last_of(self, name: object) -> Called | None:
        """The latest call of a tool that has its answer."""
        return next((call for call in reversed(self.called) if call.name == name and call.output), None)

    def _is_filler(self, at: int) -> bool:
        """Whether a line of ours was said while a tool was called, and answers nothing."""
        return at + 1 < len(self.lines) and self.lines[at + 1].role == "tool_call"

    def _read_topic(self) -> int:
        """Go back over our questions to where the topic began; returns that place."""
        begins = self.last_user
        pending: list[str] = []
        for at in range(self.last_user, -1, -1):
            line = self.lines[at]
            if line.role == "user":
                pending.insert(0, line.text)
                begins = at
            elif line.role == "assistant" and line.text and not (self._is_filler(at) and not pending):
                question = GO_AHEAD if line.text.endswith(GO_AHEAD) else asked(line.text)
                if not question or not pending or _leaves(question, pending[-1]):
                    break
                if question != GO_AHEAD:
                    pending = [" ".join(pending)]  # who spells a number breathes in between
                self.answers[:0] = [Answer(question, text) for text in pending]
                pending = []
            elif line.role in {"tool_call", "tool_output"} and pending:
                break
        self.opening = pending
        if not pending and self.answers:  # our question stands where nobody had asked for anything
            self.opening = [self.answers.pop(0).text]
        return begins


def _leaves(question: str, text: str) -> bool:
    """Whether a line is no answer to a question, but about something new."""
    if "goodbye" in words(text):
        return True
    if question != GO_AHEAD or agrees(text) or declines(text):
        return False
    return text.rstrip().endswith("?")


def _calls(lines: Sequence[Line]) -> list[Called]:
    outputs = {line.call_id: line.text for line in lines if line.role == "tool_output"}
    return [
        Called(line.name, _arguments(line.text), outputs.get(line.call_id, ""), at)
        for at, line in enumerate(lines)
        if line.role == "tool_call"
    ]


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
