"""The dialect of the OpenAI Realtime API (GA): server events into the call's events, the call's commands into JSON.

Pure: text in, events out. A `Dialect` belongs to one session and remembers as little of it as it can.

Rules
-----
1. Nothing that a server sends raises here. What has no meaning for a call is known by name and ignored; unknown names
   are counted in `unknown`, broken messages in `malformed`.
2. Responses outside the conversation are not the call's: all of their events are ignored, but the end of one that we
   asked for with `AskAside`, which tells all that was written. They are those with both a
   null `conversation_id` and metadata. Only we can have asked for one, so it must have been asked for with metadata;
   were null enough, a server that leaves the field empty would make a mute call.
3. A function is called once, when its item is *completed*. `response.function_call_arguments.done` proves nothing: it
   comes for interrupted responses too, with half the JSON.
4. After an idle timeout the server writes a system message and commits an empty user item. Neither was said by anyone.
5. Audio leaves in whole samples: an odd byte of PCM16 waits for its other half.
6. Every event that we send has its own `event_id`, `<type>:<number>`, which comes back in `ModelErred` when it fails.
   `input_audio_buffer.append` has none: it is sent fifty times a second and nothing could be done about it.
7. An event that arrives twice, byte for byte and with its own `event_id`, happened once. Deltas are not looked at: two
   pieces of silence may well be equal at a server that numbers nothing.
8. A session that says it has other audio formats than ours is lost: no static is ever played. So is one that has them
   after a change of persona, which never names a format.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import orjson
import pybase64

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.usage import Usage
from voice_gateway.model import outgoing
from voice_gateway.model.catalogue import FATAL_CODES, SERVER_EVENTS
from voice_gateway.model.settings import Mismatch, ModelSettings, check_session, session_change, session_update

Wire: TypeAlias = dict[str, Any]
Events: TypeAlias = tuple[ev.ModelEvent, ...]

_NONE: Final[Events] = ()
_MOST_NAMES: Final = 64
_REMEMBERED: Final = 8
_DELTAS: Final = frozenset(
    {"response.output_audio.delta", "response.output_audio_transcript.delta", "response.output_text.delta"}
)
_WRITTEN: Final = frozenset({"output_text", "text"})
_BROKEN: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


class _Change(NamedTuple):
    """A `session.update` that was sent and not answered yet."""

    settings: ModelSettings
    persona: str
    event_id: str


class Dialect:
    """One session's protocol state.

    unknown: server events that we do not know, by name. malformed: messages that broke the protocol, by event name, or
    `json`, `shape` and `type` for those that have none. repeated: events that came again, and were told once.
    warnings: what of the session is not as asked, but tolerable. session: it as the server last told it.
    created, ready: `session.created` came; the session is as we asked. active: the response of the conversation that is
    being made, if any.
    """

    def __init__(self, settings: ModelSettings) -> None:
        self.settings = settings
        self.unknown: Counter[str] = Counter()
        self.malformed: Counter[str] = Counter()
        self.repeated = 0
        self.warnings: tuple[Mismatch, ...] = ()
        self.session: Wire = {}
        self.created = False
        self.ready = False
        self._asked = False
        self._changes: deque[_Change] = deque()
        self._sample_bytes = 2 if settings.audio_format == "pcm16" else 1
        self._half_sample = ("", b"")
        self._recent: deque[str | bytes] = deque(maxlen=_REMEMBERED)
        self._sent = 0
        self.active: str | None = None
        self._outside: set[str] = set()
        self._purposes: set[str] = set()
        self._called: set[str] = set()
        self._idle_items: set[str] = set()
        self._handlers: dict[str, Callable[[Wire], Events]] = {
            "response.output_audio.delta": self._on_audio,
            "response.output_audio.done": self._on_audio_done,
            "response.output_audio_transcript.delta": self._on_text,
            "response.output_audio_transcript.done": self._on_text_done,
            "response.created": self._on_response_created,
            "response.output_item.added": self._on_item_added,
            "response.output_item.done": self._on_item_done,
            "response.done": self._on_response_done,
            "input_audio_buffer.speech_started": self._on_speech_started,
            "input_audio_buffer.speech_stopped": self._on_speech_stopped,
            "input_audio_buffer.committed": self._on_committed,
            "input_audio_buffer.timeout_triggered": self._on_idle,
            "conversation.item.input_audio_transcription.completed": self._on_transcribed,
            "conversation.item.input_audio_transcription.failed": self._on_transcription_failed,
            "session.created": self._on_session_created,
            "session.updated": self._on_session_updated,
            "error": self._on_error,
        }
        if settings.output == "text":
            self._handlers["response.output_text.delta"] = self._on_text
            self._handlers["response.output_text.done"] = self._on_writing_done

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, raw: str | bytes) -> Events:
        """Translate one message of the server. Never raises; most messages mean nothing or one event."""
        try:
            message = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return self._broken("json")
        if not isinstance(message, dict):
            return self._broken("shape")
        name = message.get("type")
        if not isinstance(name, str):
            return self._broken("type")
        handler = self._handlers.get(name)
        if handler is None:
            if name not in SERVER_EVENTS:
                _count(self.unknown, name)
            return _NONE
        try:
            return _NONE if self._is_repeated(name, message, raw) else handler(message)
        except _BROKEN:
            return self._broken(name)

    def _is_repeated(self, name: str, message: Wire, raw: str | bytes) -> bool:
        if name in _DELTAS or "event_id" not in message:
            return False
        if raw in self._recent:
            self.repeated += 1
            return True
        self._recent.append(raw)
        return False

    def _broken(self, name: str) -> Events:
        self.malformed[name] += 1
        return _NONE

    # The response stream.

    def _on_audio(self, message: Wire) -> Events:
        response_id, item_id, content_index = self._part(message)
        if response_id in self._outside:
            return _NONE
        audio = pybase64.b64decode(_text(message, "delta"), validate=True)
        if self._sample_bytes > 1:
            audio = self._whole_samples(item_id, audio)
        return (ev.AudioReceived(response_id, item_id, content_index, audio),) if audio else _NONE

    def _whole_samples(self, item_id: str, audio: bytes) -> bytes:
        owner, half = self._half_sample
        if half and owner == item_id:
            audio = half + audio
        odd = len(audio) % 2
        self._half_sample = (item_id, audio[-1:]) if odd else ("", b"")
        return audio[:-1] if odd else audio

    def _on_audio_done(self, message: Wire) -> Events:
        response_id, item_id, content_index = self._part(message)
        self._half_sample = ("", b"")
        return _NONE if response_id in self._outside else (ev.AudioFinished(response_id, item_id, content_index),)

    def _on_text(self, message: Wire) -> Events:
        response_id, item_id, _ = self._part(message)
        return (
            _NONE if response_id in self._outside else (ev.TextReceived(response_id, item_id, _text(message, "delta")),)
        )

    def _on_text_done(self, message: Wire) -> Events:
        response_id, item_id, _ = self._part(message)
        if response_id in self._outside:
            return _NONE
        return (ev.TextFinished(response_id, item_id, _text(message, "transcript")),)

    def _on_writing_done(self, message: Wire) -> Events:
        response_id, item_id, _ = self._part(message)
        if response_id in self._outside:
            return _NONE
        return (ev.TextFinished(response_id, item_id, _text(message, "text")),)

    def _part(self, message: Wire) -> tuple[str, str, int]:
        return _text(message, "response_id"), _text(message, "item_id"), _whole(message, "content_index")

    def _on_response_created(self, message: Wire) -> Events:
        response = _object(message, "response")
        response_id = _text(response, "id")
        if response.get("conversation_id") is None and response.get("metadata"):
            self._outside.add(response_id)
            return _NONE
        self.active = response_id
        return (ev.ResponseStarted(response_id),)

    def _on_item_added(self, message: Wire) -> Events:
        response_id, item = _text(message, "response_id"), _object(message, "item")
        if response_id in self._outside:
            return _NONE
        return (ev.ItemStarted(response_id, _text(item, "id"), _text(item, "type")),)

    def _on_item_done(self, message: Wire) -> Events:
        response_id, item = _text(message, "response_id"), _object(message, "item")
        return _NONE if response_id in self._outside else self._call(response_id, item)

    def _call(self, response_id: str, item: Wire) -> Events:
        if item.get("type") != "function_call" or item.get("status") != "completed":
            return _NONE
        call_id = _text(item, "call_id")
        if call_id in self._called:
            return _NONE
        called = ev.ToolCalled(response_id, _text(item, "id"), call_id, _text(item, "name"), _text(item, "arguments"))
        self._called.add(call_id)
        return (called,)

    def _on_response_done(self, message: Wire) -> Events:
        response = _object(message, "response")
        response_id = _text(response, "id")
        if response_id in self._outside:
            self._outside.discard(response_id)
            return self._aside(response_id, response)
        if self.active == response_id:
            self.active = None
        reason, error = _why(response)
        finished = ev.ResponseFinished(
            response_id,
            _text(response, "status"),
            reason,
            str(error.get("message") or ""),
            _usage(response.get("usage")),
        )
        return (*self._missed_calls(response_id, response.get("output")), finished)

    def _aside(self, response_id: str, response: Wire) -> Events:
        purpose = (response.get("metadata") or {}).get("purpose")
        if purpose not in self._purposes:
            return _NONE
        items = response.get("output") or []
        parts = [part for item in items if item.get("type") == "message" for part in item.get("content") or []]
        text = "".join(str(part.get("text") or "") for part in parts if part.get("type") in _WRITTEN)
        reason, _ = _why(response)
        usage = _usage(response.get("usage"))
        return (ev.AsideFinished(response_id, purpose, _text(response, "status"), text, reason, usage),)

    def _missed_calls(self, response_id: str, output: Any) -> Events:
        """Calls whose `output_item.done` never came, or came broken; the response repeats all of its items."""
        items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
        return tuple(called for item in items for called in self._call(response_id, item))

    # The caller's turn.

    def _on_speech_started(self, message: Wire) -> Events:
        return (ev.SpeechStarted(_text(message, "item_id"), _whole(message, "audio_start_ms")),)

    def _on_speech_stopped(self, message: Wire) -> Events:
        return (ev.SpeechStopped(_text(message, "item_id"), _whole(message, "audio_end_ms")),)

    def _on_committed(self, message: Wire) -> Events:
        item_id = _text(message, "item_id")
        return _NONE if item_id in self._idle_items else (ev.TurnCommitted(item_id),)

    def _on_idle(self, message: Wire) -> Events:
        item_id = _text(message, "item_id")
        self._idle_items.add(item_id)
        return (ev.IdleTimedOut(item_id),)

    def _on_transcribed(self, message: Wire) -> Events:
        item_id, text = _text(message, "item_id"), _text(message, "transcript")
        if item_id in self._idle_items and not text.strip():
            return _NONE
        return (ev.UserTranscribed(item_id, text, _billed_s(message.get("usage"))),)

    def _on_transcription_failed(self, message: Wire) -> Events:
        item_id, error = _text(message, "item_id"), message.get("error") or {}
        if item_id in self._idle_items:
            return _NONE
        code = error.get("code") or error.get("type") or "transcription_failed"
        return (ev.UserTranscriptionFailed(item_id, str(code), str(error.get("message") or "")),)

    # The session.

    def _on_session_created(self, message: Wire) -> Events:
        self.session = _object(message, "session")
        self.created = True
        return _NONE

    def _on_session_updated(self, message: Wire) -> Events:
        self.session = session = _object(message, "session")
        if not self._asked:
            return _NONE
        # Its acknowledgement names no event; they come in order.
        change = self._changes.popleft() if self.ready and self._changes else None
        if change is not None:
            self.settings = change.settings
        mismatches = check_session(self.settings, session)
        fatal = [str(mismatch) for mismatch in mismatches if mismatch.fatal]
        if fatal:
            return (ev.ModelLost("format_mismatch", "; ".join(fatal)),)
        self.warnings = mismatches
        if self.ready:
            return _NONE if change is None else (ev.SessionUpdated(change.persona, tuple(map(str, mismatches))),)
        self.ready = True
        return (ev.ModelReady(str(session.get("id") or ""), str(session.get("model") or self.settings.model)),)

    def _on_error(self, message: Wire) -> Events:
        error = _object(message, "error")
        code = str(error.get("code") or error.get("type") or "unknown_error")
        text, event_id = str(error.get("message") or ""), error.get("event_id")
        if code in FATAL_CODES:
            return (ev.ModelLost(code, text),)
        refused = next((change for change in self._changes if change.event_id == event_id), None)
        if refused is not None:
            self._changes.remove(refused)
            return (ev.UpdateRefused(refused.persona, code, text),)
        return (ev.ModelErred(code, text, event_id if isinstance(event_id, str) else None),)

    # --- writing ------------------------------------------------------------------------------------------------

    def configure(self) -> bytes:
        """The `session.update` that asks for `settings`. Its acknowledgement names no event: the next one is it."""
        self._asked = True
        return session_update(self.settings, self._event_id("session.update"))

    def change(self, settings: ModelSettings, persona: str) -> bytes:
        """The `session.update` to other settings; `SessionUpdated` or `UpdateRefused` of this persona comes back.

        They count once they are confirmed. Settings that need another session are not for this (`settings`).
        """
        before = self._changes[-1].settings if self._changes else self.settings
        event_id = self._event_id("session.update")
        self._changes.append(_Change(settings, persona, event_id))
        return session_change(before, settings, event_id)

    def write(self, command: do.ModelCommand) -> bytes:
        """Return the one message that tells the server command."""
        if isinstance(command, do.AppendAudio):
            return outgoing.append(command.audio)
        message = outgoing.message(command)
        message["event_id"] = self._event_id(message["type"])
        if isinstance(command, do.AskAside | do.CheckTurn):
            self._purposes.add(command.purpose)
        return outgoing.encode(message)

    def _event_id(self, name: str) -> str:
        self._sent += 1
        return f"{name}:{self._sent}"


# --- fields of a message: of the right type, or the message is broken -------------------------------------------


def _text(message: Wire, key: str) -> str:
    value = message[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value


def _why(response: Wire) -> tuple[str, Wire]:
    """Why a response ended as it did, in a word, and the error if it was one."""
    details = response.get("status_details") or {}
    error = details.get("error") or {}
    return str(details.get("reason") or error.get("code") or error.get("type") or ""), error


def _whole(message: Wire, key: str) -> int:
    value = message[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(key)
    return int(value)


def _object(message: Wire, key: str) -> Wire:
    value = message[key]
    if not isinstance(value, dict):
        raise TypeError(key)
    return value


def _usage(usage: Any) -> Usage | None:
    """Tokens by modality, or None when the server told none. Image tokens have no place in a call."""
    if not isinstance(usage, dict):
        return None
    read, written = _part_of(usage, "input_token_details"), _part_of(usage, "output_token_details")
    cached = _part_of(read, "cached_tokens_details")
    return Usage(
        input_text=_tokens(read, "text_tokens"),
        input_audio=_tokens(read, "audio_tokens"),
        cached_text=_tokens(cached, "text_tokens"),
        cached_audio=_tokens(cached, "audio_tokens"),
        output_text=_tokens(written, "text_tokens"),
        output_audio=_tokens(written, "audio_tokens"),
    )


def _billed_s(usage: Any) -> float:
    """Seconds of a transcription that is billed by time; one that is billed by tokens tells none."""
    seconds = usage.get("seconds") if isinstance(usage, dict) and usage.get("type") == "duration" else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return 0.0
    return min(max(0.0, float(seconds)), 86_400.0)


def _part_of(usage: Wire, key: str) -> Wire:
    part = usage.get(key)
    return part if isinstance(part, dict) else {}


def _tokens(details: Wire, key: str) -> int:
    count = details.get(key)
    return count if isinstance(count, int) and not isinstance(count, bool) else 0


def _count(counter: Counter[str], name: str) -> None:
    """Names come from the far side, so both their length and their number are bounded."""
    name = name[:80]
    counter[name if name in counter or len(counter) < _MOST_NAMES else "(others)"] += 1
