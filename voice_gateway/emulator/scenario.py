"""A scenario: what a caller does, step by step, what a scripted model says to it, and what must have happened then.

Data alone: who plays it is elsewhere (`performance.py`), and who judges it, too (`verdict.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from voice_gateway.emulator.scripted import Reply, ScriptedMind, TypedEar


@dataclass(frozen=True, slots=True)
class SayText:
    """The caller speaks, and waits until it is said."""

    text: str


@dataclass(frozen=True, slots=True)
class WaitForAnswer:
    """Listen until the model has spoken and is silent again, or give up."""

    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class InterruptAfter:
    """Wait until the model has been heard for this long, then speak into it."""

    seconds: float
    text: str
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Press:
    """Keys of the telephone, one after the other."""

    digits: str


@dataclass(frozen=True, slots=True)
class StaySilent:
    """Only breathe."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """The end of every scenario."""


Step: TypeAlias = SayText | WaitForAnswer | InterruptAfter | Press | StaySilent | HangUp

Ending: TypeAlias = Literal["", "caller", "gateway", "transfer"]
"""Who ended a call: the caller, the other side, or the carrier, by putting him through. Empty: no matter who."""


@dataclass(frozen=True, slots=True)
class Use:
    """A tool that is called. arguments: those that matter; answer: what its output must hold.

    Texts are regular expressions, searched without regard to case. In an argument `{tuesday}` and the other weekdays
    stand for the date of the next one, and a text must fit the whole value.
    """

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must have happened when a scenario was played with a mind of its own against the shipped tables.

    uses: in this order, others may stand between. never: tools that must not have been called. hears: regular
    expressions, in this order, in what the caller heard. ends: who ended the call. personas: who answered, in order.
    """

    uses: tuple[Use, ...] = ()
    never: tuple[str, ...] = ()
    hears: tuple[str, ...] = ()
    ends: Ending = ""
    personas: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """A caller to play. replies: the answers that a scripted model has for him.

    persona: who must answer, by its key; empty: whoever does. number: the number he calls from; empty: any.
    after: the scenario that must have been played before on the same tables. keys_first: pressed where the carrier
    itself asks for a key before the conversation, as for the consent to a recording. supervised: a text model must be
    there for the persona to ask. desk: the file of a persona that can do it, TOML, where no shipped one can. colleague:
    what becomes of a caller who is put through (DialCallStatus).
    """

    name: str
    about: str
    steps: tuple[Step, ...]
    replies: tuple[Reply, ...] = ()
    persona: str = ""
    number: str = ""
    after: str = ""
    keys_first: str = ""
    supervised: bool = False
    desk: str = ""
    colleague: Literal["completed", "busy", "no-answer", "failed"] = "completed"
    expected: Expected = field(default_factory=Expected)

    @property
    def lines(self) -> tuple[str, ...]:
        """What the caller says, in order."""
        return tuple(step.text for step in self.steps if isinstance(step, SayText | InterruptAfter))

    def mind(self) -> ScriptedMind:
        """A new mind with this scenario's replies."""
        return ScriptedMind(self.replies)

    def ear(self) -> TypedEar:
        """A new ear that understands this scenario's caller."""
        return TypedEar(self.lines)


def conversation(*lines: str) -> tuple[Step, ...]:
    """The steps of a caller who listens, says his lines one by one, hears each answer, and hangs up."""
    return (WaitForAnswer(), *(step for line in lines for step in (SayText(line), WaitForAnswer())), HangUp())
