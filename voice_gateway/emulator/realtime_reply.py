"""One response being generated, as a script of steps in the protocol's own order (reference sections 7.1 and 7.4).

`Reply.script` is a generator: it yields events to send, pauses, and questions whose answers are sent back into it. It
reads no clock and starts no thread; the session drives it, and may drop it at any step when the caller cuts in.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

import pybase64

from voice_gateway.emulator.faculties import Act, Say, UseTool
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime_items import Conversation, Item, Wire, oddly_spaced
from voice_gateway.emulator.realtime_sound import Format
from voice_gateway.emulator.realtime_usage import ASSISTANT_MS_PER_TOKEN, Tokens, of_output, of_text, usage

WORDS_AHEAD: Final = 3
WORDS_PER_DELTA: Final = 2  # faster than anybody speaks: the text runs ahead of the sound
FIRST_DELTAS: Final = (0.5, 0.75)  # the first sound comes in smaller pieces, parts of the full length

_LETTERS: Final = (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" * 5)[:256]
_PIECE = re.compile(r"\s*\S+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the emulated model takes, seconds. The defaults are what was seen of the real one.

    session_updated_s: from an update to its echo. response_created_s: from `response.create` to `response.created`.
    first_item_s, first_audio_s: from `response.created`. token_s: between pieces of text and arguments.
    cancelled_s: from speech to the `response.done` of what it interrupts. transcript_s: the caller's words, on average.
    """

    session_updated_s: float = 0.065
    response_created_s: float = 0.03
    first_item_s: float = 0.3
    first_audio_s: float = 0.4
    token_s: float = 0.01
    cancelled_s: float = 0.02
    transcript_s: float = 0.25


INSTANT: Final = Latency(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""No waiting beyond what the sound's own pace asks for."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Go on this much later, seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Until:
    """Go on no earlier than this long after `response.created`, seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AskMind:
    """Answered with the acts of this response."""


@dataclass(frozen=True, slots=True)
class AskVoice:
    """Begin to make the sound of a text. Not answered: the sound comes by `NextSound` of the same index."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class NextSound:
    """Answered with the next bytes of this item's sound, or with None at its end."""

    index: int


Step: TypeAlias = Wire | Pause | Until | AskMind | AskVoice | NextSound
Script: TypeAlias = Generator[Step, Any, None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is settled when a response begins: the session's settings with this response's own over them.

    given: the items to answer to, where they are not the conversation's. shown: the fields every response object names.
    """

    sound: Format
    speaks: bool
    instructions: str
    tools: Sequence[Wire]
    tool_choice: Any
    given: list[Item] | None
    max_output_tokens: int | str
    shown: Wire
    reasoning: bool
    speed: float
    delta_ms: int
    latency: Latency
    faults: Faults
    fails: bool = False


@dataclass(slots=True)
class Reply:
    """A response from `response.created` to `response.done`.

    conversation: None out of band. new_id: makes an id from its prefix. head: instructions and tools as text; context:
    what the input counts, with cached the part of it that the cache had. sounds: by index what the voice has made and
    nobody has sent. interrupted: somebody speaks, and hurry more deltas are on their way. began_at: seconds.
    """

    id: str
    plan: Plan
    conversation: Conversation | None
    new_id: Callable[[str], str]
    rng: Random
    status: str = "in_progress"
    reason: str | None = None
    items: list[Item] = field(default_factory=list)
    head: str = ""
    context: Tokens = field(default_factory=Tokens)
    cached: Tokens = field(default_factory=Tokens)
    sounds: dict[int, deque[bytes | None]] = field(default_factory=dict)
    steps: Script = field(init=False)
    waits_for: AskMind | NextSound | None = None
    asked: bool = False
    wake_number: int | None = None
    hurry: int = 0
    interrupted: bool = False
    began_at: float = 0.0

    def __post_init__(self) -> None:
        self.steps = self.script()

    @property
    def audio_ms(self) -> float:
        return sum(item.audio_ms for item in self.items)

    @property
    def output(self) -> Tokens:
        return sum((of_output(item) for item in self.items), Tokens())

    def wire(self) -> Wire:
        """The response object as it stands."""
        details: Wire | None = None
        if self.status not in {"in_progress", "completed"}:
            details = {"type": self.status}
            if self.reason:
                details["reason"] = self.reason
            if self.status == "failed":
                code = self.plan.faults.fail_code
                details["error"] = {"type": "server_error", "code": code, "message": f"The response failed: {code}."}
        counted = None
        if self.status not in {"in_progress", "failed"}:
            counted = usage(self.context, self.cached, self.output, reasoning=self.plan.reasoning)
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": details,
            "output": [item.wire() for item in self.items] if self.status != "in_progress" else [],
            "conversation_id": self.conversation.id if self.conversation is not None else None,
            **self.plan.shown,
            "usage": counted,
        }

    def script(self) -> Script:
        yield {"type": "response.created", "response": self.wire()}
        if self.plan.fails:
            yield Until(self.plan.latency.first_item_s)
            self.status = "failed"
        else:
            yield from self._answer()
            if self.status == "in_progress":
                self.status = "completed"
        yield {"type": "response.done", "response": self.wire()}

    def cut(self, reason: str) -> Iterator[Wire]:
        """The events of a cancelled response: what was begun stays incomplete."""
        self.status, self.reason = "cancelled", reason
        for index, item in enumerate(self.items):
            if item.status != "in_progress":
                continue
            item.status = "incomplete"
            if self.plan.faults.events_on_cancel:
                yield from self._close_part(index, item) if item.kind == "message" else ()
                yield from self._close_item(index, item)
        yield {"type": "response.done", "response": self.wire()}

    # --- the answer -------------------------------------------------------------------------------------------

    def _answer(self) -> Script:
        acts: Sequence[Act] = yield AskMind()
        yield Until(self.plan.latency.first_item_s)
        acts = list(self._split(acts) if self.plan.faults.two_items else acts)
        index = 0
        while index < len(acts) and self.status == "in_progress":
            act = acts[index]
            calls = _calls_behind(acts, index)
            if isinstance(act, UseTool):
                yield from self._call(index, act)
            else:
                commentary = any(isinstance(later, UseTool) for later in acts[index:])
                phase = act.phase or ("commentary" if commentary else "final_answer")
                message = self._message(index, act.text, phase)
                yield from _interleaved(message, self._calls(index + 1, calls))
                index += len(calls)
            index += 1

    @staticmethod
    def _split(acts: Sequence[Act]) -> Iterator[Act]:
        for act in acts:
            if isinstance(act, UseTool):
                yield act
                continue
            sentences = _SENTENCE.split(act.text)
            if len(sentences) < 2:
                words = act.text.split()
                middle = (len(words) + 1) // 2
                sentences = [" ".join(words[:middle]), " ".join(words[middle:])]
            yield from (Say(text, act.phase) for text in (sentences[0], " ".join(sentences[1:])) if text)

    def _calls(self, index: int, calls: Sequence[UseTool]) -> Script:
        for offset, call in enumerate(calls):
            if self.status == "in_progress":
                yield from self._call(index + offset, call)

    def _message(self, index: int, text: str, phase: str) -> Script:
        item = Item(self.new_id("item"), "message", "assistant", text, "in_progress", spoken=self.plan.speaks)
        item.phase = phase if self.plan.reasoning else None
        if self.plan.speaks:
            yield AskVoice(index, text)
        yield from self._open_item(index, item, content=[])
        part = {"type": "audio", "transcript": ""} if item.spoken else {"type": "text", "text": ""}
        yield self._event("response.content_part.added", index, item, content_index=0, part=part)
        yield from self._speech(index, item) if item.spoken else self._writing(index, item)
        item.status = "completed" if self.status == "in_progress" else "incomplete"
        yield from self._close_part(index, item)
        yield from self._close_item(index, item)

    def _writing(self, index: int, item: Item) -> Script:
        for piece in _PIECE.findall(item.text):
            yield self._delta("response.output_text.delta", index, item, piece)
            yield Pause(self.plan.latency.token_s)

    def _speech(self, index: int, item: Item) -> Script:
        """The text ahead, then sound and text in turn, each delta as much later as its length asks for."""
        plan = self.plan
        words = deque(_PIECE.findall(item.text))
        wait_s = plan.latency.first_audio_s if not self.audio_ms else 0.0
        yield from self._words(index, item, words, WORDS_AHEAD)
        yield Until(wait_s)
        if plan.faults.slow_first_audio_s:
            yield Pause(plan.faults.slow_first_audio_s)
        sizes = _delta_bytes(plan)
        while (sound := (yield NextSound(index))) is not None:
            start = 0
            while start < len(sound):
                piece = sound[start : start + next(sizes)]
                if self._spent(item):
                    return
                yield from self._words(index, item, words, WORDS_PER_DELTA)
                start += len(piece)
                length_ms = len(piece) / plan.sound.bytes_per_ms
                item.audio_ms += length_ms
                delta = pybase64.b64encode_as_string(piece)
                yield self._event("response.output_audio.delta", index, item, content_index=0, delta=delta)
                yield Pause(length_ms / 1000 / plan.speed)
        yield from self._words(index, item, words, len(words))

    def _words(self, index: int, item: Item, words: deque[str], count: int) -> Script:
        for _ in range(min(count, len(words))):
            piece = words.popleft()
            item.transcript = (item.transcript or "") + piece
            if not self.plan.faults.no_transcript:
                yield self._delta("response.output_audio_transcript.delta", index, item, piece)

    def _spent(self, item: Item) -> bool:
        limit = self.plan.max_output_tokens
        if not isinstance(limit, int):
            return False
        spent = of_text(item.transcript or "") + self.audio_ms / ASSISTANT_MS_PER_TOKEN
        if spent >= limit:
            self.status, self.reason = "incomplete", "max_output_tokens"
        return spent >= limit

    def _call(self, index: int, act: UseTool) -> Script:
        item = Item(self.new_id("item"), "function_call", status="in_progress", name=act.name)
        item.call_id = self.new_id("call")
        yield from self._open_item(index, item)
        arguments = act.arguments if isinstance(act.arguments, str) else oddly_spaced(act.arguments)
        for start in range(0, len(arguments), 6):
            piece = arguments[start : start + 6]
            item.text += piece
            kind = "response.function_call_arguments.delta"
            yield {**self._delta(kind, index, item, piece, content_index=None), "call_id": item.call_id}
            yield Pause(self.plan.latency.token_s)
        item.status = "completed"
        done = self._event("response.function_call_arguments.done", index, item)
        yield {**done, "call_id": item.call_id, "name": item.name, "arguments": item.text}
        yield from self._close_item(index, item)

    # --- the events -------------------------------------------------------------------------------------------

    def _open_item(self, index: int, item: Item, **over: Any) -> Script:
        self.items.append(item)
        yield self._item_event("response.output_item.added", index, item, **over)
        if self.conversation is not None:
            previous = self.conversation.add(item)
            yield {"type": "conversation.item.added", "previous_item_id": previous, "item": item.wire(**over)}
            self.conversation.has_spoken = self.conversation.has_spoken or item.spoken

    def _close_part(self, index: int, item: Item) -> Iterator[Wire]:
        if not item.spoken:
            yield self._event("response.output_text.done", index, item, content_index=0, text=item.text)
            part: Wire = {"type": "text", "text": item.text}
        else:
            yield self._event("response.output_audio.done", index, item, content_index=0)
            part = {"type": "audio"}
            if self.plan.faults.no_transcript:
                item.transcript = None
            else:
                item.transcript = item.transcript or ""
                kind = "response.output_audio_transcript.done"
                yield self._event(kind, index, item, content_index=0, transcript=item.transcript)
                part["transcript"] = item.transcript
        yield self._event("response.content_part.done", index, item, content_index=0, part=part)

    def _close_item(self, index: int, item: Item) -> Iterator[Wire]:
        if self.conversation is not None:
            # Of an assistant's item the wire shows no predecessor here, even where `.added` had one.
            yield {"type": "conversation.item.done", "previous_item_id": None, "item": item.wire()}
        yield self._item_event("response.output_item.done", index, item)

    def _item_event(self, kind: str, index: int, item: Item, **over: Any) -> Wire:
        return {"type": kind, "response_id": self.id, "output_index": index, "item": item.wire(**over)}

    def _event(self, kind: str, index: int, item: Item, **fields: Any) -> Wire:
        return {"type": kind, "response_id": self.id, "item_id": item.id, "output_index": index, **fields}

    def _delta(self, kind: str, index: int, item: Item, piece: str, content_index: int | None = 0) -> Wire:
        where = {} if content_index is None else {"content_index": content_index}
        noise = letters(self.rng, 2 + len(self.id + piece) % 11)
        return self._event(kind, index, item, **where, delta=piece, obfuscation=noise)


def letters(rng: Random, count: int) -> str:
    """Letters and digits at random; every event needs some, so this is quick."""
    return rng.randbytes(count).translate(_LETTERS).decode()


def _calls_behind(acts: Sequence[Act], index: int) -> list[UseTool]:
    """The calls that follow this act directly: they are made while it is still being spoken."""
    calls: list[UseTool] = []
    for act in acts[index + 1 :]:
        if not isinstance(act, UseTool):
            break
        calls.append(act)
    return calls


def _interleaved(spoken: Script, beside: Script) -> Script:
    """Both scripts at once: the spoken one sets the pace, and the other takes a step at each of its pauses."""
    answer: Any = None
    while True:
        try:
            step = spoken.send(answer)
        except StopIteration:
            break
        if isinstance(step, Pause):
            aside = next((other for other in beside if not isinstance(other, Pause)), None)
            if aside is not None:
                yield aside
        answer = yield step
    yield from beside


def _delta_bytes(plan: Plan) -> Iterator[int]:
    """How long the next delta is, without end. Whole samples."""
    full = plan.delta_ms * plan.sound.bytes_per_ms
    for part in FIRST_DELTAS:
        yield max(int(full * part) // plan.sound.sample_bytes, 1) * plan.sound.sample_bytes
    while True:
        yield full
