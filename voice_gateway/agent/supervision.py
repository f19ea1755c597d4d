"""How a persona is supervised: what its supervisor is told, and what the voice does otherwise while there is one.

[supervisor]
instructions = "..."              for the text model, below what the house tells it
tools = ["check_availability"]    what it may use, of all tools there are; none without it. Never the way to itself
reasoning_effort = "low"          none, minimal, low, medium, high, xhigh or max; without it the model's own
deadline_s = 6.0                  after which the voice goes on with SUPERVISOR_SENTENCE; 0: SUPERVISOR_DEADLINE_SECONDS
voice_instructions = "..."        for the voice, in place of its own while there is a supervisor
voice_tools = ["get_next_response_from_supervisor", "end_call"]   the same for its tools
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CONSULT: Final = "get_next_response_from_supervisor"
"""The name of the tool that asks the supervisor."""
LONGEST_DEADLINE_S: Final = 60.0
EFFORTS: Final = ("", "none", "minimal", "low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True)
class Supervision:
    instructions: str = ""
    tools: tuple[str, ...] = ()
    reasoning_effort: str = ""
    deadline_s: float = 0.0
    voice_instructions: str = ""
    voice_tools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.reasoning_effort not in EFFORTS:
            known = ", ".join(filter(None, EFFORTS))
            raise ValueError(f"reasoning_effort is {self.reasoning_effort!r}; it must be one of {known}")
        if not 0 <= self.deadline_s <= LONGEST_DEADLINE_S:
            raise ValueError(f"deadline_s is {self.deadline_s:g}; it must be from 0 to {LONGEST_DEADLINE_S:g}")
        if CONSULT in self.tools:
            raise ValueError(f"tools names {CONSULT}: a supervisor cannot ask itself")
