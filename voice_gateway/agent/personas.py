"""Who answers the telephone: a persona is a TOML file, named by its key.

name = "Waiter"                        required, as are the instructions
instructions = "..."
greeting = "Hello, and welcome!"       said first; without it the caller speaks first
greeting_clip = false                  the model speaks it anew in every call; without it, it is kept and played
                                       (but never where the model is to prompt by itself, idle_timeout_ms)
voice = "marin"                        without it, the one that is configured
market = "RW"                          whose menu and prices its tools read; without it all
language = "en"                        ISO 639-1, of the caller's speech; without it any
tools = ["lookup_menu", "end_call"]    with end_call the model may end the call; without it, only the caller does;
                                       "mcp:weather" are the tools of an MCP server, "mcp:weather.get_*" some of them
[turn_detection]                       type: server_vad or semantic_vad; the rest as in model/settings.py
type = "server_vad"
[barge_in]
enabled = false                        our voice is heard to its end whoever speaks; without it, he may interrupt
min_speech_ms = 400                    a shorter "yes" or cough does not interrupt; without it, any sound of speech does
protect_greeting = true                the greeting is heard to its end
[idle]                                 for a caller who says nothing
prompt_after_s = 12                    so long after the last sound he is asked whether he is still there; without it he
                                       is not, unless the model does it by itself (idle_timeout_ms, server_vad alone)
prompts = 2                            how often, before he is bidden goodbye; without it, twice
goodbye = "Goodbye, then."             the words; without them the model finds its own
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from voice_gateway.call.policy import Idle
from voice_gateway.errors import GatewayError
from voice_gateway.model.settings import SemanticVad, ServerVad, TurnDetection

BUILT_IN = Path(__file__).with_suffix("")
"""The folder of the personas that come with the program."""

Shape = TypeVar("Shape", bound="ServerVad | SemanticVad | Interruptions | Idle")

_DETECTIONS: Mapping[str, type[ServerVad | SemanticVad]] = {"server_vad": ServerVad, "semantic_vad": SemanticVad}


class PersonaError(GatewayError):
    """A persona cannot be used. The text names the file, the field, and what it should hold."""


@dataclass(frozen=True, slots=True)
class Interruptions:
    """When a caller may interrupt us. min_speech_ms: 0 to 3,000."""

    enabled: bool = True
    min_speech_ms: int = 0
    protect_greeting: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_speech_ms <= 3000:
            raise ValueError(f"min_speech_ms is {self.min_speech_ms}; it must be from 0 to 3000")

    @property
    def left_to_the_model(self) -> bool:
        """May the model cancel its response as soon as it hears anybody? Otherwise we do, when it is time."""
        return self.enabled and not self.min_speech_ms and not self.protect_greeting


@dataclass(frozen=True, slots=True)
class Persona:
    """Who answers a call. Empty voice and language mean the configured voice and any language."""

    key: str
    name: str
    instructions: str
    greeting: str = ""
    greeting_clip: bool = True
    voice: str = ""
    market: str = ""
    language: str = ""
    tools: tuple[str, ...] = ()
    turn_detection: TurnDetection = field(default_factory=ServerVad)
    barge_in: Interruptions = field(default_factory=Interruptions)
    idle: Idle = field(default_factory=Idle)

    @property
    def speech_prefix_ms(self) -> int:
        """How much earlier than its first sound the model says that speech began."""
        detection = self.turn_detection
        return (detection if isinstance(detection, ServerVad) else ServerVad()).prefix_padding_ms

    @property
    def greeting_instructions(self) -> str:
        """For the first response alone: to say the greeting as it is written. Empty when the caller speaks first."""
        said = self.greeting.replace('"', "'")
        return f'Greet the caller. Say exactly this and nothing else: "{said}"' if said else ""


def load_personas(*folders: Path) -> dict[str, Persona]:
    """All personas by their keys: the built-in ones, then those of each folder, a later one over an earlier one."""
    found: dict[str, Persona] = {}
    for folder in (BUILT_IN, *folders):
        if not folder.is_dir():
            raise PersonaError(f"{folder} is no folder; personas are TOML files in one")
        for path in sorted(folder.glob("*.toml")):
            found[path.stem] = load_persona(path)
    return found


def load_persona(path: Path) -> Persona:
    """Read one persona. Raises `PersonaError` with everything that is wrong in the file."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PersonaError(f"{path}: cannot be read as TOML: {error}") from error
    problems: list[str] = []
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", path.stem):
        problems.append(f"the file name is the persona's key: small letters, digits, _ and -, not {path.stem!r}")
    detection = _turn_detection(given.pop("turn_detection", {}), problems)
    barge_in = _barge_in(given.pop("barge_in", {}), problems)
    idle = _idle(given.pop("idle", {}), detection, problems)
    values = _values(given, problems)
    if problems:
        raise PersonaError("".join(f"{path}: {problem}\n" for problem in problems).rstrip())
    return Persona(key=path.stem, turn_detection=detection, barge_in=barge_in, idle=idle, **values)


def _values(given: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    tables = ("turn_detection", "barge_in", "idle")
    known = [each.name for each in fields(Persona) if each.name not in ("key", *tables)]
    problems += [f"{name}: no such field; there are {', '.join([*known, *tables])}" for name in given.keys() - known]
    values: dict[str, Any] = {}
    for name in known:
        value = given.get(name)
        if name == "tools":
            if value is not None and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
                problems.append(f"tools: must be a list of names, not {value!r}")
            values[name] = tuple(value or ()) if isinstance(value, list) else ()
        elif name == "greeting_clip":
            if not isinstance(value, bool | None):
                problems.append(f"greeting_clip: must be true or false, not {value!r}")
            values[name] = value is not False
        elif value is not None and not isinstance(value, str):
            problems.append(f"{name}: must be a text, not {value!r}")
        else:
            values[name] = (value or "").strip()
    problems += [f"{name}: is missing or empty" for name in ("name", "instructions") if values.get(name) == ""]
    if values.get("language") and not re.fullmatch(r"[a-z]{2,3}", values["language"]):
        problems.append(f"language: must be an ISO 639 code such as en or rw, not {values['language']!r}")
    return values


def _turn_detection(given: Any, problems: list[str]) -> TurnDetection:
    if not isinstance(given, dict):
        problems.append(f"turn_detection: must be a table with a type, not {given!r}")
        return None
    kind = given.pop("type", "server_vad")
    if kind == "none":
        problems.append(
            "turn_detection.type: with none nobody would notice that a caller has finished, and none would ever be "
            f"answered; choose {' or '.join(_DETECTIONS)}"
        )
        return None
    if kind not in _DETECTIONS:
        problems.append(f"turn_detection.type: must be one of {', '.join(_DETECTIONS)}, not {kind!r}")
        return None
    return _table("turn_detection", _DETECTIONS[kind], given, problems, called=kind)


def _barge_in(given: Any, problems: list[str]) -> Interruptions:
    if not isinstance(given, dict):
        problems.append(f"barge_in: must be a table, not {given!r}")
        return Interruptions()
    return _table("barge_in", Interruptions, given, problems) or Interruptions()


def _idle(given: Any, detection: TurnDetection, problems: list[str]) -> Idle:
    if not isinstance(given, dict):
        problems.append(f"idle: must be a table, not {given!r}")
        return Idle()
    idle = _table("idle", Idle, given, problems) or Idle()
    if idle.prompt_after_s and not 1 <= idle.prompt_after_s <= 600:
        problems.append(f"idle.prompt_after_s: must be from 1 to 600, or 0 for never, not {idle.prompt_after_s:g}")
    if not 0 <= idle.prompts <= 20:
        problems.append(f"idle.prompts: must be from 0 to 20, not {idle.prompts}")
    if idle.prompt_after_s and isinstance(detection, ServerVad) and detection.idle_timeout_ms is not None:
        problems.append("idle.prompt_after_s: turn_detection.idle_timeout_ms lets the model prompt; set one of the two")
    return idle


def _table(
    name: str, shape: type[Shape], given: Mapping[str, Any], problems: list[str], called: str = "it"
) -> Shape | None:
    """A table of the file as a dataclass, or None where something is wrong in it. called: what complaints name it."""
    known = [each.name for each in fields(shape)]
    problems += [f"{name}.{key}: {called} has {', '.join(known)}" for key in sorted(given.keys() - known)]
    try:
        chosen = orjson.dumps({key: given[key] for key in given.keys() & known})
        return TypeAdapter(shape).validate_json(chosen, strict=True)
    except ValidationError as error:
        for each in error.errors():
            where = ".".join([name, *map(str, each["loc"])])
            problems.append(f"{where}: {each['msg'].removeprefix('Value error, ')}")
        return None
