"""The shapes a client may send: one small checker per shape, composed as the protocol composes its objects.

A checker takes a value and its path and returns nothing, or raises `Refused` with the code, sentence and `param`
that the protocol's `error` event carries (reference: sections 5 and 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

Check: TypeAlias = Callable[[Any, str], None]


class Refused(Exception):  # noqa: N818 - a refusal is an answer of the protocol, not a fault of ours
    """A client event that is answered with an `error` event; nothing else changes."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def invalid(value: object, path: str, expected: str) -> Refused:
    shown = repr(value) if isinstance(value, str | int | float | bool) or value is None else type(value).__name__
    return Refused("invalid_value", f"Invalid value for '{path}': expected {expected}, but got {shown[:80]}.", path)


def missing(path: str) -> Refused:
    return Refused("missing_required_parameter", f"Missing required parameter: '{path}'.", path)


def anything(_value: Any, _path: str) -> None:
    """Whatever it is, it is taken."""


def text(value: Any, path: str) -> None:
    if not isinstance(value, str):
        raise invalid(value, path, "a string")


def flag(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise invalid(value, path, "a boolean")


def mapping(value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise invalid(value, path, "an object")


def number(low: float, high: float) -> Check:
    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise invalid(value, path, f"a number from {low:g} to {high:g}")

    return check


def integer(low: int, high: int) -> Check:
    def check(value: Any, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid(value, path, f"an integer from {low} to {high}")

    return check


def one_of(*values: Any) -> Check:
    def check(value: Any, path: str) -> None:
        if not any(value is known or (type(value) is type(known) and value == known) for known in values):
            raise invalid(value, path, "one of " + ", ".join(repr(known) for known in values))

    return check


def nullable(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def each(inner: Check) -> Check:
    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise invalid(value, path, "an array")
        for index, entry in enumerate(value):
            inner(entry, f"{path}[{index}]")

    return check


def record(required: Iterable[str] = (), **fields: Check) -> Check:
    """An object of these fields and no others."""
    needed = tuple(required)

    def check(value: Any, path: str) -> None:
        mapping(value, path)
        for name in value:
            if name not in fields:
                full = f"{path}.{name}" if path else name
                raise Refused("unknown_parameter", f"Unknown parameter: '{full}'.", full)
        for name in needed:
            if name not in value:
                raise missing(f"{path}.{name}" if path else name)
        for name, inner in fields.items():
            if name in value:
                inner(value[name], f"{path}.{name}" if path else name)

    return check


def by_type(shapes: Mapping[str, Check]) -> Check:
    """An object whose field `type` says which of the shapes it has."""

    def check(value: Any, path: str) -> None:
        mapping(value, path)
        if "type" not in value:
            raise missing(f"{path}.type")
        one_of(*shapes)(value["type"], f"{path}.type")
        shapes[value["type"]](value, path)

    return check


def either(kind: type, first: Check, second: Check) -> Check:
    """The first for values of the kind, second for all others."""

    def check(value: Any, path: str) -> None:
        (first if isinstance(value, kind) else second)(value, path)

    return check


# --- the session (reference section 4) --------------------------------------------------------------------------

VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")

_format = by_type(
    {
        "audio/pcm": record(("rate",), type=anything, rate=one_of(24000)),
        "audio/pcmu": record(type=anything),
        "audio/pcma": record(type=anything),
    }
)
_turn_detection = by_type(
    {
        "server_vad": record(
            type=anything,
            threshold=number(0, 1),
            prefix_padding_ms=integer(0, 5000),
            silence_duration_ms=integer(0, 10000),
            idle_timeout_ms=nullable(integer(5000, 30000)),
            create_response=flag,
            interrupt_response=flag,
        ),
        "semantic_vad": record(
            type=anything,
            eagerness=one_of("auto", "low", "medium", "high"),
            create_response=flag,
            interrupt_response=flag,
        ),
    }
)
_transcription = record(
    model=text,
    language=nullable(text),
    languages=nullable(each(text)),
    keywords=nullable(each(text)),
    prompt=nullable(text),
    delay=nullable(one_of("minimal", "low", "medium", "high", "xhigh")),
)
_noise_reduction = record(type=one_of("near_field", "far_field"), strength=number(0, 1))
_voice = either(str, one_of(*VOICES), record(("id",), id=text))
_tools = each(
    by_type(
        {
            "function": record(("name",), type=anything, name=text, description=nullable(text), parameters=mapping),
            "mcp": mapping,
        }
    )
)
_tool_choice = either(
    str,
    one_of("auto", "none", "required"),
    by_type(
        {
            "function": record(("name",), type=anything, name=text),
            "mcp": record(("server_label",), type=anything, server_label=text, name=nullable(text)),
        }
    ),
)
_modalities = one_of(["audio"], ["text"])
_max_output_tokens = either(str, one_of("inf"), integer(1, 4096))
_reasoning = record(effort=nullable(one_of("minimal", "low", "medium", "high", "xhigh")))
_truncation = either(
    str,
    one_of("auto", "disabled"),
    record(
        ("type", "retention_ratio"),
        type=one_of("retention_ratio"),
        retention_ratio=number(0, 1),
        token_limits=nullable(record(post_instructions=integer(0, 1_000_000))),
    ),
)

session_patch: Final = record(
    ("type",),
    type=one_of("realtime"),
    model=text,
    output_modalities=_modalities,
    instructions=text,
    audio=record(
        input=record(
            format=_format,
            transcription=nullable(_transcription),
            noise_reduction=nullable(_noise_reduction),
            turn_detection=nullable(_turn_detection),
        ),
        output=record(format=_format, voice=_voice, speed=number(0.25, 1.5)),
    ),
    tools=_tools,
    tool_choice=_tool_choice,
    parallel_tool_calls=flag,
    max_output_tokens=_max_output_tokens,
    truncation=_truncation,
    reasoning=nullable(_reasoning),
    tracing=nullable(either(str, one_of("auto"), record(workflow_name=text, group_id=text, metadata=anything))),
    include=nullable(each(one_of("item.input_audio_transcription.logprobs"))),
    prompt=nullable(record(("id",), id=text, version=nullable(text), variables=nullable(mapping))),
)

# --- items and responses (reference section 5) ------------------------------------------------------------------

_statuses = one_of("in_progress", "completed", "incomplete")
_user_part = by_type(
    {
        "input_text": record(("text",), type=anything, text=text),
        "input_audio": record(("audio",), type=anything, audio=text, transcript=nullable(text)),
        "input_image": record(("image_url",), type=anything, image_url=text, detail=one_of("auto", "low", "high")),
    }
)
_system_part = record(("type", "text"), type=one_of("input_text"), text=text)


def _assistant_part(value: Any, path: str) -> None:
    """A client writes assistant messages as text alone: what the server spoke cannot be handed back as sound."""
    mapping(value, path)
    if value.get("type") != "output_text" or "text" not in value:
        raise missing(f"{path}.text")
    record(type=anything, text=text)(value, path)


def _message(value: Any, path: str) -> None:
    parts = {"system": _system_part, "user": _user_part, "assistant": _assistant_part}
    if "role" not in value:
        raise missing(f"{path}.role")
    one_of(*parts)(value["role"], f"{path}.role")
    _item_record(("content",), role=anything, content=each(parts[value["role"]]), phase=anything)(value, path)


def _item_record(required: Iterable[str], **fields: Check) -> Check:
    common: dict[str, Check] = {
        "type": anything,
        "id": nullable(text),
        "object": nullable(one_of("realtime.item")),
        "status": nullable(_statuses),
    }
    return record(required, **common, **fields)


_items: Final[dict[str, Check]] = {
    "message": _message,
    "function_call": _item_record(("name", "arguments"), call_id=nullable(text), name=text, arguments=text),
    "function_call_output": _item_record(("call_id", "output"), call_id=text, output=text),
    "mcp_approval_response": _item_record(
        ("approval_request_id", "approve"), approval_request_id=text, approve=flag, reason=nullable(text)
    ),
}


def _metadata(value: Any, path: str) -> None:
    mapping(value, path)
    if len(value) > 16:
        raise invalid(len(value), path, "at most 16 pairs")
    for name, entry in value.items():
        text(entry, f"{path}.{name}")
        if len(name) > 64 or len(entry) > 512:
            raise invalid(len(entry), f"{path}.{name}", "a key of at most 64 characters and a value of at most 512")


_response = record(
    instructions=nullable(text),
    output_modalities=nullable(_modalities),
    audio=nullable(record(output=record(format=_format, voice=_voice))),
    tools=nullable(_tools),
    tool_choice=nullable(_tool_choice),
    parallel_tool_calls=nullable(flag),
    max_output_tokens=nullable(_max_output_tokens),
    reasoning=nullable(_reasoning),
    metadata=nullable(_metadata),
    conversation=nullable(one_of("auto", "none")),
    input=nullable(
        each(by_type({**_items, "item_reference": record(("id",), type=anything, id=text)})),
    ),
    prompt=anything,
)


def _event_id(value: Any, path: str) -> None:
    text(value, path)
    if len(value) > 512:
        raise invalid(len(value), path, "at most 512 characters")


def _event(required: Iterable[str] = (), **fields: Check) -> Check:
    common: dict[str, Check] = {"type": anything, "event_id": nullable(_event_id)}
    return record(required, **common, **fields)


CLIENT_EVENTS: Final[dict[str, Check]] = {
    "session.update": _event(("session",), session=session_patch),
    "input_audio_buffer.append": _event(("audio",), audio=text),
    "input_audio_buffer.commit": _event(),
    "input_audio_buffer.clear": _event(),
    "conversation.item.create": _event(("item",), item=by_type(_items), previous_item_id=nullable(text)),
    "conversation.item.retrieve": _event(("item_id",), item_id=text),
    "conversation.item.truncate": _event(
        ("item_id", "content_index", "audio_end_ms"),
        item_id=text,
        content_index=integer(0, 0),
        audio_end_ms=integer(0, 2**31),
    ),
    "conversation.item.delete": _event(("item_id",), item_id=text),
    "response.create": _event(response=nullable(_response)),
    "response.cancel": _event(response_id=nullable(text)),
    "output_audio_buffer.clear": _event(),
}


def check_client_event(event: Mapping[str, Any]) -> None:
    """Raise Refused unless the event is one of the eleven a client may send, in the shape it must have."""
    kind = event.get("type")
    if kind is None:
        raise missing("type")
    check = CLIENT_EVENTS.get(kind) if isinstance(kind, str) else None
    if check is None:
        known = ", ".join(f"'{name}'" for name in CLIENT_EVENTS)
        raise Refused("invalid_event", f"Invalid value: {kind!r:.80}. Supported values are: {known}.", "type")
    check(event, "")
