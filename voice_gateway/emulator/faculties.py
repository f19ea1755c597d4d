"""The faculties of an emulated model: ear, mind and voice, as interfaces.

`realtime.py` speaks the protocol and asks these for meaning; `speech.py` provides real ones from local models,
`scenarios.py` scripted ones. All methods are synchronous and may compute for long: call them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]
"""Mono PCM, one dimension."""


class Ear(Protocol):
    """Text from speech."""

    def transcribe(self, samples: Samples, rate_hz: int, *, vocabulary: Sequence[str] = ()) -> str:
        """What was said, or an empty text when nobody spoke. vocabulary: words and phrases of the domain."""


class Voice(Protocol):
    """Speech from text."""

    rate_hz: int

    def speak(self, text: str) -> Iterator[Samples]:
        """The sound of text at rate_hz, sentence by sentence, so that the first can play while the next is made."""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a conversation as the mind sees it.

    For tool lines: text is the arguments (JSON) or the output, name the tool, call_id what ties both together.
    """

    role: Literal["system", "user", "assistant", "tool_call", "tool_output"]
    text: str
    name: str = ""
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a mind may know when it is asked for a response.

    tools: the session's function tools as sent, `{"type": "function", "name", "description", "parameters"}` each.
    instructions: the session's, or this response's own when it has some.
    aside: whether the response is outside the conversation.
    """

    instructions: str
    lines: Sequence[Line]
    tools: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    tool_choice: str | Mapping[str, Any] = "auto"
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Say:
    """Speak a text. phase: `commentary` or `final_answer`; empty: commentary before a tool call, else the answer."""

    text: str
    phase: Literal["", "commentary", "final_answer"] = ""


@dataclass(frozen=True, slots=True)
class UseTool:
    """Call a function tool of the session. arguments: a text goes as it stands, even when it is no JSON."""

    name: str
    arguments: Mapping[str, Any] | str


Act: TypeAlias = Say | UseTool


class Mind(Protocol):
    """What to do next."""

    def respond(self, situation: Situation) -> Sequence[Act]:
        """The output items of one response, in order. Several `UseTool` are parallel calls."""
