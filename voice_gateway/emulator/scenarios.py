"""The scenarios there are, by name. Whoever plays or checks one finds all it takes in here."""

from __future__ import annotations

from typing import Final

from voice_gateway.emulator.callers import CALLERS
from voice_gateway.emulator.callers_of_desks import CALLERS_OF_DESKS
from voice_gateway.emulator.callers_of_personas import CALLERS_OF_PERSONAS
from voice_gateway.emulator.scenario import (
    Expected,
    HangUp,
    InterruptAfter,
    Press,
    SayText,
    Scenario,
    StaySilent,
    Step,
    Use,
    WaitForAnswer,
    conversation,
)
from voice_gateway.emulator.scripted import Reply, ScriptedMind, ToneVoice, TypedEar, When

__all__ = [
    "SCENARIOS",
    "Expected",
    "HangUp",
    "InterruptAfter",
    "Press",
    "Reply",
    "SayText",
    "Scenario",
    "ScriptedMind",
    "StaySilent",
    "Step",
    "ToneVoice",
    "TypedEar",
    "Use",
    "WaitForAnswer",
    "When",
    "conversation",
    "scenario_named",
]

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario for scenario in (*CALLERS, *CALLERS_OF_PERSONAS, *CALLERS_OF_DESKS)
}


def scenario_named(name: str) -> Scenario:
    """A scenario by its name. Raises KeyError that lists the names there are."""
    if name not in SCENARIOS:
        raise KeyError(f"no scenario is called {name!r}; there are: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
