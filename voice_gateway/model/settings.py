"""What we ask of a model's session, how that is written on the wire, and whether the echo is what we asked for.

Source: OpenAI Realtime API, GA: `session.update`, `session.updated`. The beta's flat fields and `temperature` are gone:
one of them makes the server refuse the whole update. `audio/pcm` needs its rate, `audio/pcmu` must not have one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from voice_gateway.model.outgoing import encode

AudioFormat: TypeAlias = Literal["pcm16", "pcmu"]

WIRE_FORMATS: Final[Mapping[AudioFormat, Mapping[str, Any]]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "pcmu": {"type": "audio/pcmu"},
}
_RATES_HZ: Final[Mapping[AudioFormat, int]] = {"pcm16": 24_000, "pcmu": 8_000}
_TAKE_LANGUAGES: Final = frozenset({"gpt-transcribe", "gpt-live-transcribe"})


@dataclass(frozen=True, slots=True)
class ServerVad:
    """A turn ends after a silence. All values are sent: the server's defaults differ between models.

    threshold: 0 to 1. idle_timeout_ms: 5,000 to 30,000, counted from the end of our voice; None: never prompt.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int | None = None
    create_response: bool = True
    interrupt_response: bool = True

    def __post_init__(self) -> None:
        _within("threshold", self.threshold, 0, 1)
        if self.idle_timeout_ms is not None:
            _within("idle_timeout_ms", self.idle_timeout_ms, 5_000, 30_000)
        if self.prefix_padding_ms < 0 or self.silence_duration_ms < 0:
            raise ValueError("prefix_padding_ms and silence_duration_ms must not be negative")


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """A turn ends when the sentence seems to be over. eagerness: `low` waits up to 8 s, `medium` 4 s, `high` 2 s."""

    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection: TypeAlias = ServerVad | SemanticVad | None
"""None: the model never ends a turn by itself."""


@dataclass(frozen=True, slots=True)
class Transcription:
    """The text of what the caller says, made beside the model by another one.

    language: ISO 639-1, empty to let it guess. keywords: sent only to the models that take them.
    """

    model: str = "gpt-realtime-whisper"
    language: str = ""
    keywords: tuple[str, ...] = ()

    def payload(self) -> dict[str, Any]:
        wire: dict[str, Any] = {"model": self.model}
        takes_languages = self.model in _TAKE_LANGUAGES
        if self.language:
            wire |= {"languages": [self.language]} if takes_languages else {"language": self.language}
        if self.keywords and takes_languages:
            wire["keywords"] = list(self.keywords)
        return wire


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model leg. None and empty mean the server's own choice, which is then not named on the wire.

    output: what the model answers with, its voice or in writing.
    tools: function tools as the protocol has them, `{"type": "function", "name", "description", "parameters"}`.
    truncation: `auto`, `disabled`, or the ratio of the conversation to keep when it grows too long (0 to 1).
    reasoning_effort, parallel_tool_calls: reasoning models alone (gpt-realtime-2 and later) take them.
    speed: 0.25 to 1.5.
    """

    model: str = "gpt-realtime-2.1"
    voice: str = "marin"
    instructions: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    audio_format: AudioFormat = "pcm16"
    output: Literal["audio", "text"] = "audio"
    turn_detection: TurnDetection = field(default_factory=ServerVad)
    transcription: Transcription | None = field(default_factory=Transcription)
    noise_reduction: Literal["near_field", "far_field"] | None = None
    reasoning_effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    truncation: Literal["auto", "disabled"] | float | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        if self.audio_format not in WIRE_FORMATS:
            raise ValueError(f"audio_format is {self.audio_format!r}; choose one of {', '.join(WIRE_FORMATS)}")
        if self.speed is not None:
            _within("speed", self.speed, 0.25, 1.5)
        if self.max_output_tokens is not None and self.max_output_tokens < 1:
            raise ValueError("max_output_tokens must be 1 or more, or None for the model's own limit")
        if self.truncation is not None and not isinstance(self.truncation, str):
            _within("truncation", self.truncation, 0, 1)
        names = self.tool_names
        if len(set(names)) != len(names):
            raise ValueError(f"two tools have the same name: {', '.join(sorted(names))}")

    @property
    def tool_names(self) -> tuple[str, ...]:
        return tuple(_tool_name(tool) for tool in self.tools)


def reasons(model: str) -> bool:
    """Whether a model takes a reasoning effort: from the second generation on, and whichever is not known here."""
    return re.fullmatch(r"gpt-realtime(-mini)?(-1[.][0-9]+.*|-20[0-9-]+)?|gpt-4o-.*", model) is None


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; it must be from {low} to {high}")


def _tool_name(tool: Mapping[str, Any]) -> str:
    name = tool.get("name")
    if tool.get("type") != "function" or not isinstance(name, str) or not name:
        raise ValueError('a tool must be {"type": "function", "name": ..., "description": ..., "parameters": {...}}')
    return name


# --- writing ----------------------------------------------------------------------------------------------------


def session_update(settings: ModelSettings, event_id: str) -> bytes:
    """Return the whole `session.update`; every field in it is one that the GA protocol has."""
    return encode({"type": "session.update", "event_id": event_id, "session": session_payload(settings)})


def session_payload(settings: ModelSettings) -> dict[str, Any]:
    """Return the session object. What is off is written as null, so that it is off after a change as well."""
    audio_format = WIRE_FORMATS[settings.audio_format]
    transcription, noise_reduction = settings.transcription, settings.noise_reduction
    speed = {} if settings.speed is None else {"speed": settings.speed}
    return {
        "type": "realtime",
        "output_modalities": [settings.output],
        "instructions": settings.instructions,
        "audio": {
            "input": {
                "format": audio_format,
                "noise_reduction": None if noise_reduction is None else {"type": noise_reduction},
                "transcription": None if transcription is None else transcription.payload(),
                "turn_detection": _turn_detection(settings.turn_detection),
            },
            "output": {"format": audio_format, "voice": _voice(settings.voice), **speed},
        },
        "tools": [dict(tool) for tool in settings.tools],
        "tool_choice": settings.tool_choice,
        **_optional(settings),
    }


def needs_another_session(before: ModelSettings, after: ModelSettings) -> bool:
    """What a session cannot become: another model, another voice once it has spoken, another format of sound."""
    return (before.model, before.voice, before.audio_format) != (after.model, after.voice, after.audio_format)


def session_change(before: ModelSettings, after: ModelSettings, event_id: str) -> bytes:
    """Return the `session.update` that makes one persona's session another's: what differs, and nothing else.

    Formats and voice are never in it, nor what is as it was: a field that is left out stays.
    """
    one, other = session_payload(before), session_payload(after)
    audio = {
        name: value
        for name, value in other["audio"]["input"].items()
        if name != "format" and value != one["audio"]["input"][name]
    }
    changed = {name: value for name, value in other.items() if name != "audio" and value != one.get(name)}
    # A field that is not sent stays; what is the server's own choice again is named by its default.
    back = {name: _DEFAULTS[name] for name in one.keys() - other.keys()}
    if before.speed != after.speed:
        back["audio"] = {"output": {"speed": 1.0 if after.speed is None else after.speed}}
    session: dict[str, Any] = {"type": "realtime", **changed, **back}
    if audio:
        session["audio"] = {**session.get("audio", {}), "input": audio}
    return encode({"type": "session.update", "event_id": event_id, "session": session})


_DEFAULTS: Final[Mapping[str, Any]] = {
    "max_output_tokens": "inf",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "low"},
    "truncation": "auto",
}


def _voice(voice: str) -> str | dict[str, str]:
    """A voice of one's own is named by its id, `voice_...`; the built-in ones by their name alone."""
    return {"id": voice} if voice.startswith("voice_") else voice


def _optional(settings: ModelSettings) -> dict[str, Any]:
    effort, truncation = settings.reasoning_effort, settings.truncation
    if truncation is not None and not isinstance(truncation, str):
        truncation_payload: Any = {"type": "retention_ratio", "retention_ratio": truncation}
    else:
        truncation_payload = truncation
    wire = {
        "max_output_tokens": settings.max_output_tokens,
        "parallel_tool_calls": settings.parallel_tool_calls,
        "reasoning": None if effort is None else {"effort": effort},
        "truncation": truncation_payload,
    }
    return {name: value for name, value in wire.items() if value is not None}


def _turn_detection(detection: TurnDetection) -> dict[str, Any] | None:
    match detection:
        case None:
            return None
        case ServerVad():
            wire: dict[str, Any] = {
                "type": "server_vad",
                "threshold": detection.threshold,
                "prefix_padding_ms": detection.prefix_padding_ms,
                "silence_duration_ms": detection.silence_duration_ms,
                "idle_timeout_ms": detection.idle_timeout_ms,
            }
        case SemanticVad():
            wire = {"type": "semantic_vad", "eagerness": detection.eagerness}
    return wire | {
        "create_response": detection.create_response,
        "interrupt_response": detection.interrupt_response,
    }


# --- checking the echo ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One field of the session that is not what was asked for. fatal: the call would be static or worse."""

    field: str
    asked: str
    got: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.field}: asked for {self.asked}, got {self.got}"


_WATCHED: Final = (
    "output_modalities",
    "audio.output.voice",
    "audio.input.turn_detection.type",
    "audio.input.turn_detection.create_response",
    "audio.input.turn_detection.interrupt_response",
    "audio.input.turn_detection.silence_duration_ms",
    "audio.input.turn_detection.idle_timeout_ms",
    "audio.input.turn_detection.eagerness",
    "audio.input.transcription.model",
)


def check_session(settings: ModelSettings, session: object) -> tuple[Mismatch, ...]:
    """Compare the session that the server says it has with what was asked for.

    session: the `session` of `session.updated`, as decoded JSON; any shape is survived. Only a wrong audio format is
    fatal. A missing rate is taken as the only one that the protocol has for that type.
    """
    wanted = session_payload(settings)
    checks = [
        _check_format(settings.audio_format, session, "input"),
        _check_format(settings.audio_format, session, "output"),
        *(_compare(path, _at(wanted, *path.split(".")), _at(session, *path.split("."))) for path in _WATCHED),
        _compare("tools", _names(wanted), _names(session)),
    ]
    return tuple(mismatch for mismatch in checks if mismatch is not None)


def _compare(name: str, asked: Any, got: Any) -> Mismatch | None:
    return None if asked == got else Mismatch(name, _show(asked), _show(got))


def _check_format(audio_format: AudioFormat, session: object, leg: str) -> Mismatch | None:
    asked, got = WIRE_FORMATS[audio_format], _at(session, "audio", leg, "format")
    rate_hz = _at(got, "rate")
    if _at(got, "type") == asked["type"] and rate_hz in (None, _RATES_HZ[audio_format]):
        return None
    return Mismatch(f"audio.{leg}.format", _show(asked), _show(got), fatal=True)


def _at(value: Any, *path: str) -> Any:
    """The value at path, or None where there is none."""
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _names(session: Any) -> list[str]:
    tools = _at(session, "tools")
    functions = [tool for tool in tools if _at(tool, "type") == "function"] if isinstance(tools, list) else []
    return sorted(str(_at(tool, "name")) for tool in functions)


def _show(value: Any) -> str:
    return "nothing" if value is None else encode(value).decode()[:200]
