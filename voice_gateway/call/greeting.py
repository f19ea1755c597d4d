"""The first words of a call: spoken by the model, or from a clip of what it once spoke.

A clip is made of the first greeting that the model spoke from beginning to end (`Take`), and played at the start of
later calls, before the model is even ready. The model did not speak it in this session, so it is told what the caller
heard (`FirstWords`).
"""

from __future__ import annotations

from difflib import SequenceMatcher

from voice_gateway.audio.transcode import ULAW_BYTES_PER_MS
from voice_gateway.audio.trim import trim
from voice_gateway.call import commands as do
from voice_gateway.call.clip import Clip

SHORTEST_CLIP_MS = 300
LONGEST_CLIP_MS = 30_000
CLOSE_ENOUGH = 0.8
"""How much of the greeting's letters the model must have kept: it may say `Hi` for `Hello`, and no more."""

ITEM = "greeting"


class Take:
    """The first response of a call on its way to become a clip. One that is not perfect is dropped: more calls come.

    response_id, item_id: of the response and the message that are taken, once they have begun.

    Perfect is a response that completed, with one message in it and no function call, whose text is the greeting that
    was asked for. (One that somebody spoke into before it was done is not even brought to an end here.)
    """

    def __init__(self, greeting: str) -> None:
        """greeting: the words that were asked for."""
        self._greeting = greeting
        self._sound = bytearray()
        self._spoilt = False
        self.response_id: str | None = None
        self.item_id = ""

    def start(self, response_id: str) -> None:
        """A response began; the first one is taken."""
        if self.response_id is None:
            self.response_id = response_id

    def open_item(self, response_id: str, item_id: str, kind: str) -> None:
        """A response opened an item. kind: as in `events.ItemStarted`."""
        if response_id != self.response_id or item_id == self.item_id:
            return
        if kind == "function_call" or (kind == "message" and self.item_id):
            self._spoilt = True
        elif kind == "message":
            self.item_id = item_id

    def add(self, item_id: str, ulaw: bytes) -> None:
        """Sound of an item, as it goes to the caller."""
        if item_id == self.item_id and not self._spoilt:
            self._sound += ulaw
            self._spoilt = len(self._sound) > LONGEST_CLIP_MS * ULAW_BYTES_PER_MS

    def finish(self, status: str, text: str) -> Clip | None:
        """The response is done. text: all that its message says. Returns the clip if it is perfect."""
        if self._spoilt or status != "completed":
            return None
        ulaw = trim(bytes(self._sound))
        if len(ulaw) < SHORTEST_CLIP_MS * ULAW_BYTES_PER_MS or not is_close(text, self._greeting):
            return None
        return Clip(ulaw, text.strip())


def is_close(said: str, asked: str) -> bool:
    """Whether the model said what it was asked to say: letters and digits count, spelling them out is forgiven."""
    one, other = _letters(said), _letters(asked)
    if not one or not other:
        return False
    likeness = SequenceMatcher(None, one, other, autojunk=False)
    return likeness.real_quick_ratio() >= CLOSE_ENOUGH and likeness.ratio() >= CLOSE_ENOUGH


def _letters(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())


class FirstWords:
    """What the model is told of a clip that the caller hears.

    Rules
    -----
    1. The model is told when it is known how much was heard: all of it, or the words before the cut.
    2. A model that may answer sooner is told all of it at once; if the clip is then cut after all, that is taken back
       and the words that were heard take its place.
    3. It stands before everything else in the conversation. Of what nobody heard, nothing is told.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self._heard: str | None = None
        self._told: str | None = None
        self._item_id = ITEM

    @property
    def settled(self) -> bool:
        """True once nothing more will have to be told."""
        return self._heard is not None and self._told == self._heard

    def hear(self, text: str) -> None:
        """So much was heard, and no more will be."""
        self._heard = text

    def tell(self, *, may_answer: bool) -> list[do.ModelCommand]:
        """What a model that is ready must be told now. may_answer: it could speak before the clip is over."""
        text = self.clip.text if self._heard is None and may_answer else self._heard
        if text is None or text == self._told:
            return []
        commands: list[do.ModelCommand] = []
        if self._told:
            commands.append(do.DeleteItem(self._item_id))
            self._item_id = f"{ITEM}_heard"
        if text:
            commands.append(do.AddFirstWords(self._item_id, text))
        self._told = text
        return commands
