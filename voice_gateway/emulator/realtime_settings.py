"""The session object: what it is at first, and what an update makes of it (reference section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, Final

from voice_gateway.emulator.faculties import Line
from voice_gateway.emulator.realtime_schema import Refused, invalid
from voice_gateway.emulator.vocabulary import vocabulary

Settings = dict[str, Any]

MODELS: Final = (
    "gpt-realtime-2.1",
    "gpt-realtime-2.1-mini",
    "gpt-realtime-2",
    "gpt-realtime-1.5",
    "gpt-realtime",
    "gpt-realtime-2025-08-28",
    "gpt-realtime-mini",
    "gpt-realtime-mini-2025-12-15",
)
SHUTDOWNS: Final[Mapping[str, str]] = {
    "gpt-realtime": "2027-01-20",
    "gpt-realtime-2025-08-28": "2027-01-20",
    "gpt-realtime-mini": "2027-01-20",
    "gpt-realtime-mini-2025-12-15": "2027-01-20",
}
DEFAULT_INSTRUCTIONS: Final = (
    "You are a friendly, quick-witted voice assistant. Answer in short spoken sentences, in the language you are "
    "spoken to, and use a tool whenever one fits."
)
_VAD_DEFAULTS: Final[dict[str, Settings]] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}


def reasons(model: str) -> bool:
    """Whether the model is of the generation that takes `reasoning`, speaks commentary and names its phases."""
    return model.startswith("gpt-realtime-2.") or model == "gpt-realtime-2"


def default_session(model: str, session_id: str, expires_at: int) -> Settings:
    """The complete object as `session.created` shows it before any update."""
    turn_detection = dict(_VAD_DEFAULTS["server_vad"])
    if not reasons(model):
        turn_detection["silence_duration_ms"] = 200
    session: Settings = {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": turn_detection,
            },
            "output": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "voice": "marin" if reasons(model) else "alloy",
                "speed": 1.0,
            },
        },
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "include": None,
        "prompt": None,
        "expires_at": expires_at,
    }
    if reasons(model):
        session["reasoning"] = {"effort": "low"}
        session["parallel_tool_calls"] = True
    return session


def updated(session: Settings, patch: Settings, *, has_spoken: bool, responding: bool) -> Settings:
    """A new session object with the patch merged in; the patch has passed the schema.

    has_spoken: the conversation holds assistant audio. responding: a response is being generated.

    Raises Refused for what may not change now. Then nothing of the patch counts.
    """
    audio_in = patch.get("audio", {}).get("input", {})
    audio_out = patch.get("audio", {}).get("output", {})
    now_out = session["audio"]["output"]
    if has_spoken and audio_out.get("voice", now_out["voice"]) != now_out["voice"]:
        raise Refused(
            "cannot_update_voice",
            "Cannot update a conversation's voice if assistant audio is present.",
            "session.audio.output.voice",
        )
    if responding and audio_out.get("speed", now_out["speed"]) != now_out["speed"]:
        raise invalid(audio_out["speed"], "session.audio.output.speed", "no change of speed while a response is active")
    if session["tracing"] is not None and patch.get("tracing", session["tracing"]) != session["tracing"]:
        raise invalid(patch["tracing"], "session.tracing", "no change once tracing is enabled")
    if not reasons(session["model"]) and patch.get("reasoning") is not None:
        raise invalid(patch["reasoning"], "session.reasoning", f"nothing: {session['model']} takes no reasoning")

    merged = deepcopy(session)
    merged.update({name: deepcopy(value) for name, value in patch.items() if name not in {"type", "model", "audio"}})
    merged["audio"]["input"].update(deepcopy(audio_in))
    merged["audio"]["output"].update(deepcopy(audio_out))
    detection = audio_in.get("turn_detection")
    if detection is not None:
        merged["audio"]["input"]["turn_detection"] = {**_VAD_DEFAULTS[detection["type"]], **detection}
    return merged


def silence_ms(turn_detection: Mapping[str, Any]) -> int:
    """How much silence ends a turn. The semantic kind judges words; here its eagerness becomes a wait."""
    if turn_detection["type"] == "server_vad":
        return int(turn_detection["silence_duration_ms"])
    return {"low": 1000, "medium": 600, "auto": 600, "high": 350}[turn_detection["eagerness"]]


def expected_words(session: Settings, said: Iterable[Line]) -> list[str]:
    """What a listener should expect: the transcription's hints, then what tools, instructions and said lines name."""
    hints = session["audio"]["input"]["transcription"] or {}
    told = [*(hints.get("keywords") or ()), *([hints["prompt"]] if hints.get("prompt") else ())]
    tools = [tool for tool in session["tools"] if tool["type"] == "function"]
    return list(dict.fromkeys([*told, *vocabulary(session["instructions"], tools, said)]))
