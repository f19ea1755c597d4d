"""The conversation: its items as the client knows them, and what the mind is told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from voice_gateway.emulator.faculties import Line
from voice_gateway.emulator.realtime_schema import Refused

Wire: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Item:
    """One item of the conversation.

    text: what was said or written: of the user's sound what the ear made of it, of the assistant's what the voice was
        given, of a call its arguments, of an output the output.
    audio_ms: sound written by the user, or already sent to the client.
    truncated_ms: where the client cut the assistant's sound; the transcript is gone then, the sound keeps its length.
    sound: bytes of user audio, for `conversation.item.retrieve`.
    """

    id: str
    kind: Literal["message", "function_call", "function_call_output", "mcp_approval_response"]
    role: Literal["system", "user", "assistant", ""] = ""
    text: str = ""
    status: str | None = "completed"
    spoken: bool = False
    audio_ms: float = 0.0
    truncated_ms: int | None = None
    transcript: str | None = None
    name: str = ""
    call_id: str = ""
    phase: str | None = None
    sound: bytes = field(default=b"", repr=False)
    parts: tuple[Wire, ...] = ()
    extra: Wire = field(default_factory=dict)

    def wire(self, **over: Any) -> Wire:
        """The item as events show it; fields given here stand in for its own."""
        shown: Wire = {"id": self.id, "type": self.kind}
        if self.status is not None:
            shown["status"] = self.status
        if self.kind == "message":
            shown.update(role=self.role, content=self.content())
            if self.phase:
                shown["phase"] = self.phase
        elif self.kind == "function_call":
            shown.update(name=self.name, call_id=self.call_id, arguments=self.text)
        elif self.kind == "function_call_output":
            shown.update(call_id=self.call_id, output=self.text)
        return {**shown, **self.extra, **over}

    def content(self) -> list[Wire]:
        if self.parts:
            return [dict(part) for part in self.parts]
        if self.role == "user":
            return [{"type": "input_audio", "transcript": self.transcript}]
        if not self.spoken:
            return [{"type": "output_text", "text": self.text}]
        part: Wire = {"type": "output_audio"}
        if self.truncated_ms is None and self.transcript is not None:
            part["transcript"] = self.transcript
        return [part]

    def line(self) -> Line | None:
        """The item as the mind sees it; of a cut answer about as much as was heard."""
        if self.kind == "function_call":
            return Line("tool_call", self.text, self.name, self.call_id)
        if self.kind == "function_call_output":
            return Line("tool_output", self.text, self.name, self.call_id)
        if not self.role:
            return None
        text = self.text
        if self.truncated_ms is not None and self.audio_ms:
            text = text[: int(len(text) * min(self.truncated_ms / self.audio_ms, 1.0))]
        return Line(self.role, text)


class Conversation:
    """Items in order, found by id."""

    def __init__(self, conversation_id: str) -> None:
        self.id = conversation_id
        self.has_spoken = False
        self._items: dict[str, Item] = {}
        self._order: list[str] = []

    def __iter__(self) -> Iterator[Item]:
        return (self._items[item_id] for item_id in self._order)

    def find(self, item_id: str) -> Item | None:
        return self._items.get(item_id)

    @property
    def last_id(self) -> str | None:
        return self._order[-1] if self._order else None

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Put the item at the end, behind the item `after`, or in front of all (`root`). Returns its predecessor's id.

        Raises Refused for an id that is taken, a predecessor or a call that does not exist.
        """
        if item.id in self._items:
            message = f"Error adding item: an item with ID '{item.id}' already exists in the conversation."
            raise Refused("item_create_duplicate_item_id", message, "item.id")
        if item.kind == "function_call_output":
            item.name = self._name_of_call(item.call_id)
        position = self._position(after)
        self._order.insert(position, item.id)
        self._items[item.id] = item
        return self._order[position - 1] if position else None

    def delete(self, item_id: str) -> None:
        if item_id not in self._items:
            message = f"Error deleting item: the item with ID '{item_id}' does not exist."
            raise Refused("item_delete_invalid_item_id", message, "item_id")
        self._order.remove(item_id)
        del self._items[item_id]

    def truncate(self, item_id: str, audio_end_ms: int) -> None:
        """Cut an answer's sound and drop its transcript (reference section 7.3).

        Raises Refused for an unknown item, an item without sound, and a point behind the sound that was sent.
        """
        item = self._items.get(item_id)
        if item is None:
            message = f"Error truncating item: the item with ID '{item_id}' does not exist."
            raise Refused("item_truncate_invalid_item_id", message, "item_id")
        if item.role != "assistant" or not item.spoken or item.audio_ms <= 0:
            raise Refused("unsupported_content_type", "Only model output audio messages can be truncated", None)
        length_ms = int(item.audio_ms)
        if audio_end_ms > length_ms:
            message = f"Audio content of {length_ms}ms is already shorter than {audio_end_ms}ms"
            raise Refused("invalid_value", message, "audio_end_ms")
        item.truncated_ms = audio_end_ms

    def _position(self, after: str | None) -> int:
        if after is None:
            return len(self._order)
        if after == "root":
            return 0
        if after not in self._items:
            message = f"Error adding item: previous item with ID '{after}' does not exist."
            raise Refused("item_create_invalid_previous_item_id", message, "previous_item_id")
        return self._order.index(after) + 1

    def _name_of_call(self, call_id: str) -> str:
        for item in self:
            if item.kind == "function_call" and item.call_id == call_id:
                return item.name
        message = f"Tool call ID '{call_id}' not found in conversation."
        raise Refused("invalid_tool_call_id", message, "item.call_id")


def item_from_client(wire: Mapping[str, Any], item_id: str, call_id: str) -> Item:
    """The item a client wrote; it has passed the schema. item_id, call_id: for those it left to us."""
    kind = wire["type"]
    own_id = wire.get("id") or item_id
    if kind == "function_call":
        return Item(own_id, kind, text=wire["arguments"], name=wire["name"], call_id=wire.get("call_id") or call_id)
    if kind == "function_call_output":
        # The wire shows an output without a status.
        return Item(own_id, kind, text=wire["output"], call_id=wire["call_id"], status=None)
    if kind == "mcp_approval_response":
        extra = {name: wire[name] for name in ("approval_request_id", "approve", "reason") if name in wire}
        return Item(own_id, kind, status=None, extra=extra)
    parts = tuple({name: value for name, value in part.items() if name != "audio"} for part in wire["content"])
    words = [part.get("text") or part.get("transcript") or "" for part in wire["content"]]
    return Item(own_id, "message", wire["role"], text=" ".join(filter(None, words)), parts=parts)


def lines(items: Iterable[Item]) -> tuple[Line, ...]:
    return tuple(line for item in items if (line := item.line()) is not None)


def oddly_spaced(arguments: Mapping[str, Any]) -> str:
    """JSON as the model writes it: valid, and with white space nobody would choose (reference section 6.3)."""
    if not arguments:
        return "{ }"
    pairs = ",\n  ".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in arguments.items())
    return f"{{  \n  {pairs} \n}} \n"
