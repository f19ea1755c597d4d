"""Unsaid: items that the model made and the caller never heard any sound of, because their response was cut before it.

The playout does not know them, and the model must not believe that it said them. When sound of such an item comes after
all, the item is truncated at 0. When none has come by the end of its response there is nothing to truncate, which the
model would refuse; the item is deleted then.
"""

from __future__ import annotations

from voice_gateway.call.commands import DeleteItem, ModelCommand, TruncateItem
from voice_gateway.call.events import AudioReceived, ItemStarted


class Unsaid:
    def __init__(self) -> None:
        self._silent: dict[str, str] = {}
        """Spoken items without sound so far, each with its response."""

    def start(self, event: ItemStarted) -> None:
        if event.kind == "message":
            self._silent[event.item_id] = event.response_id

    def say(self, item_id: str) -> None:
        """Sound of it is on its way to the ear: from now on the playout answers for it."""
        self._silent.pop(item_id, None)

    def drop(self, event: AudioReceived) -> list[ModelCommand]:
        """Sound of a response that was cut: the caller will not hear it."""
        if not event.audio or self._silent.pop(event.item_id, None) is None:
            return []
        return [TruncateItem(event.item_id, event.content_index, 0)]

    def finish(self, response_id: str, *, cut: bool) -> list[ModelCommand]:
        """A response is over, and all that will ever come of it has come."""
        silent = [item_id for item_id, response in self._silent.items() if response == response_id]
        self._silent.clear()  # at most one response is active: what is left belongs to none that will end
        return [DeleteItem(item_id) for item_id in silent] if cut else []
