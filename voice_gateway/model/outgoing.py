"""The call's commands as messages of the Realtime protocol (GA client events)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
import pybase64

from voice_gateway.call import commands as do

_APPEND: Final = b'{"type":"input_audio_buffer.append","audio":"'


def append(audio: bytes) -> bytes:
    """Return the message that lets the model hear audio. Base64 needs no escaping: three pieces joined are JSON."""
    return b"".join((_APPEND, pybase64.b64encode(audio), b'"}'))


def message(command: do.ModelCommand) -> dict[str, Any]:
    """Return the message for any command but `AppendAudio`, still without its `event_id`.

    Raises:
        TypeError: for what is no command to the model leg.
    """
    writer = _WRITERS.get(type(command))
    if writer is None:
        raise TypeError(f"{type(command).__name__} is not a command that can be written to the model leg")
    return writer(command)


def encode(wire: Any) -> bytes:
    """Return wire as JSON. Lone surrogates, which UTF-8 cannot hold, become U+FFFD."""
    try:
        return orjson.dumps(wire)
    except TypeError:
        return orjson.dumps(_encodable(wire))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(part) for part in value]
    return value


def _create_response(command: do.CreateResponse) -> dict[str, Any]:
    own = {} if command.instructions is None else {"instructions": command.instructions}
    if not command.may_use_tools:
        own["tool_choice"] = "none"
    return {"type": "response.create", **({"response": own} if own else {})}


def _cancel_response(command: do.CancelResponse) -> dict[str, Any]:
    return {"type": "response.cancel", "response_id": command.response_id}


def _truncate_item(command: do.TruncateItem) -> dict[str, Any]:
    return {
        "type": "conversation.item.truncate",
        "item_id": command.item_id,
        "content_index": command.content_index,
        "audio_end_ms": command.audio_end_ms,
    }


def _delete_item(command: do.DeleteItem) -> dict[str, Any]:
    return {"type": "conversation.item.delete", "item_id": command.item_id}


def _send_tool_output(command: do.SendToolOutput) -> dict[str, Any]:
    item = {"type": "function_call_output", "call_id": command.call_id, "output": command.output}
    return {"type": "conversation.item.create", "item": item}


def _add_note(command: do.AddNote) -> dict[str, Any]:
    content = [{"type": "input_text", "text": command.text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "system", "content": content}}


def _add_line(command: do.AddLine) -> dict[str, Any]:
    kind, role = ("input_text", "user") if command.speaker == "caller" else ("output_text", "assistant")
    content = [{"type": kind, "text": command.text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": content}}


def _add_tool_call(command: do.AddToolCall) -> dict[str, Any]:
    called = {"call_id": command.call_id, "name": command.name, "arguments": command.arguments}
    return {"type": "conversation.item.create", "item": {"type": "function_call", **called}}


def _add_first_words(command: do.AddFirstWords) -> dict[str, Any]:
    content = [{"type": "output_text", "text": command.text}]
    item = {"id": command.item_id, "type": "message", "role": "assistant", "content": content}
    return {"type": "conversation.item.create", "previous_item_id": "root", "item": item}


def _ask_aside(command: do.AskAside) -> dict[str, Any]:
    content = [{"type": "input_text", "text": command.text}]
    response = {
        "conversation": "none",
        "metadata": {"purpose": command.purpose},
        "output_modalities": ["text"],
        "instructions": command.instructions,
        "input": [{"type": "message", "role": "user", "content": content}],
        "tools": [],
        "tool_choice": "none",
        "max_output_tokens": command.most_tokens,
    }
    return {"type": "response.create", "response": response}


def _check_turn(command: do.CheckTurn) -> dict[str, Any]:
    data = encode({"speaker": command.speaker, "said": command.said}).decode()
    return _ask_aside(do.AskAside(command.purpose, command.instructions, data, command.most_tokens))


_WRITERS: Final[Mapping[type, Callable[[Any], dict[str, Any]]]] = {
    do.CreateResponse: _create_response,
    do.CancelResponse: _cancel_response,
    do.TruncateItem: _truncate_item,
    do.DeleteItem: _delete_item,
    do.SendToolOutput: _send_tool_output,
    do.AddNote: _add_note,
    do.AddLine: _add_line,
    do.AddToolCall: _add_tool_call,
    do.AddFirstWords: _add_first_words,
    do.AskAside: _ask_aside,
    do.CheckTurn: _check_turn,
}
