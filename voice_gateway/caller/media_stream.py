"""Twilio's Media Streams dialect: JSON text on one side, events of the call on the other. Pure, one per socket.

The rules of a bidirectional stream:

    state       message                    then        what comes out
    CONNECTING  connected                  CONNECTED   nothing
    CONNECTING, start, usable              STREAMING   StreamStarted
    CONNECTED   start, not µ-law 8 kHz     CLOSED      StreamRefused: its sound would be static
    STREAMING   media (inbound)            STREAMING   CallerAudio
                dtmf                       STREAMING   DigitPressed
                mark                       STREAMING   MarkReached
                stop                       CLOSED      CallerLeft("hangup")
    CLOSED      anything                   CLOSED      nothing

Whatever breaks these rules is dropped, counted by reason in `dropped`, and survived: a far side that errs costs the
call one message and not its life. What is odd but usable is counted in `noticed`. If *we* err, by writing before the
stream has a name or a mark without one, that is a bug here and raises.

Every number on the wire is a string, outside `mediaFormat`; plain integers are taken too.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import orjson
from pybase64 import b64decode, b64encode_as_string

from voice_gateway.call.events import CallerAudio, CallerLeft, DigitPressed, MarkReached

MAX_MESSAGE_CHARS = 65_536
_MAX_NAME_CHARS = 256
_MAX_DIGITS = 15  # a counter of more than 30,000 years in milliseconds is not one
_ENCODING, _RATE_HZ, _CHANNELS = "audio/x-mulaw", 8000, 1
_KEYS = frozenset("0123456789*#")


@dataclass(frozen=True, slots=True)
class MediaFormat:
    """The sound that a stream carries."""

    encoding: str
    rate_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """A media stream has begun. custom_parameters: what the TwiML gave along; they hold a token and phone numbers."""

    stream_sid: str
    call_sid: str
    account_sid: str
    custom_parameters: Mapping[str, str] = field(repr=False)
    media_format: MediaFormat


@dataclass(frozen=True, slots=True)
class StreamRefused:
    """A stream that cannot be used at all. reason: a sentence for the log."""

    reason: str


MediaStreamEvent: TypeAlias = StreamStarted | StreamRefused | CallerAudio | DigitPressed | MarkReached | CallerLeft


class NotStreaming(RuntimeError):  # noqa: N818  # says what is the case, as the dialect's states do
    """Our own mistake: nothing may be written before `start` has named the stream."""


class _State(enum.Enum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    STREAMING = "streaming"
    CLOSED = "closed"


class _Dropped(Exception):  # noqa: N818  # never leaves this file
    """A message that breaks the rules; its one argument is the reason to count it under."""


class MediaStreamDialect:
    """Reads what the carrier says and writes what it understands.

    dropped: messages not used, by reason. noticed: messages used in spite of something odd, by reason.
    started: the stream, once it has begun.
    """

    __slots__ = (
        "_count",
        "_live",
        "_media_head",
        "_next",
        "_state",
        "_tail",
        "dropped",
        "max_chars",
        "noticed",
        "started",
    )

    def __init__(self, max_message_chars: int = MAX_MESSAGE_CHARS) -> None:
        self.max_chars = max_message_chars
        self.dropped: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()
        self.started: StreamStarted | None = None
        self._state = _State.CONNECTING
        self._live: str | object = object()  # the stream's name while it runs; before and after, equal to nothing
        self._count = 0  # the next sequence number
        self._next = ""  # the same, as it is written
        self._media_head = ""
        self._tail = ""

    def read(self, message: str | bytes) -> MediaStreamEvent | None:
        """One WebSocket message from the carrier. None when it says nothing to the call. Raises nothing."""
        try:
            parsed = self._parse(message)
            if parsed.get("event") == "media":  # fifty a second: no table, no detour
                return self._media(parsed)
            return self._other(parsed)
        except _Dropped as dropped:
            self.dropped[dropped.args[0]] += 1
            return None

    def media(self, ulaw: bytes) -> str:
        """Sound to be played after all that was sent before. ulaw: G.711 µ-law, 8 kHz, any length, no header."""
        if not self._media_head:
            raise NotStreaming("media was written before the stream started")
        return self._media_head + b64encode_as_string(ulaw) + '"}}'

    def mark(self, name: str) -> str:
        """A request for a receipt, once everything sent before has been played or cleared."""
        if not name:
            raise ValueError("a mark needs a name: Twilio drops one without, and says so only in its debugger")
        return f'{{"event":"mark"{self._named()},"mark":{{"name":{orjson.dumps(name).decode()}}}}}'

    def clear(self) -> str:
        """Drop what is not yet played; all pending marks come back at once."""
        return f'{{"event":"clear"{self._named()}}}'

    def _named(self) -> str:
        if not self._tail:
            raise NotStreaming("a message was written before the stream started")
        return self._tail

    def _parse(self, message: str | bytes) -> dict[str, Any]:
        if isinstance(message, bytes):
            raise _Dropped("binary")
        if len(message) > self.max_chars:
            raise _Dropped("oversized")
        try:
            parsed = orjson.loads(message)
        except orjson.JSONDecodeError:
            raise _Dropped("not_json") from None
        if type(parsed) is not dict:
            raise _Dropped("not_an_object")
        return parsed

    def _media(self, parsed: dict[str, Any]) -> CallerAudio:
        if parsed.get("streamSid") != self._live or parsed.get("sequenceNumber") != self._next:
            self._check_streaming(parsed)
        else:
            self._count += 1
            self._next = str(self._count)
        media = parsed.get("media")
        if type(media) is not dict:
            raise _Dropped("bad_media")
        if media.get("track", "inbound") != "inbound":
            raise _Dropped("wrong_track")
        timestamp_ms = _number(media.get("timestamp"))
        if timestamp_ms is None:
            raise _Dropped("bad_timestamp")
        payload = media.get("payload")
        if type(payload) is not str or not payload:
            raise _Dropped("bad_payload")
        try:
            return CallerAudio(b64decode(payload, validate=True), timestamp_ms)
        except ValueError:  # binascii's error is one, and so is a character beyond ASCII
            raise _Dropped("bad_payload") from None

    def _other(self, parsed: dict[str, Any]) -> MediaStreamEvent | None:
        match parsed.get("event"):
            case "mark":
                return self._mark(parsed)
            case "dtmf":
                return self._dtmf(parsed)
            case "connected":
                self._connected(parsed)
            case "start":
                return self._start(parsed)
            case "stop":
                return self._stop(parsed)
            case _:
                raise _Dropped("unknown_event")
        return None

    def _connected(self, parsed: dict[str, Any]) -> None:
        if self._state is not _State.CONNECTING:
            raise _Dropped("out_of_order")
        if parsed.get("protocol") != "Call":
            self.noticed["unknown_protocol"] += 1
        self._state = _State.CONNECTED

    def _start(self, parsed: dict[str, Any]) -> StreamStarted | StreamRefused:
        if self._state is _State.STREAMING:
            raise _Dropped("second_start")
        if self._state is _State.CLOSED:
            raise _Dropped("after_stop")
        start = parsed.get("start")
        if type(start) is not dict:
            raise _Dropped("bad_start")
        stream_sid, call_sid = _name(start.get("streamSid")), _name(start.get("callSid"))
        if stream_sid is None or call_sid is None or parsed.get("streamSid", stream_sid) != stream_sid:
            raise _Dropped("bad_start")
        media_format = _media_format(start.get("mediaFormat"))
        if media_format is None:
            self._state = _State.CLOSED
            return StreamRefused("the stream's media format is not audio/x-mulaw at 8000 Hz with 1 channel")
        if self._state is _State.CONNECTING:
            self.noticed["start_without_connected"] += 1
        account_sid, parameters = _name(start.get("accountSid")) or "", _parameters(start.get("customParameters"))
        self.started = StreamStarted(stream_sid, call_sid, account_sid, parameters, media_format)
        self._name_stream(stream_sid)
        self._watch_sequence(parsed)
        self._state = _State.STREAMING
        return self.started

    def _name_stream(self, stream_sid: str) -> None:
        """From now on messages belong to this stream; those we write have its name built in."""
        self._live = stream_sid
        self._tail = f',"streamSid":{orjson.dumps(stream_sid).decode()}'
        self._media_head = f'{{"event":"media"{self._tail},"media":{{"payload":"'

    def _dtmf(self, parsed: dict[str, Any]) -> DigitPressed:
        self._check_streaming(parsed)
        dtmf = parsed.get("dtmf")
        digit = dtmf.get("digit") if type(dtmf) is dict else None
        if type(digit) is not str or digit not in _KEYS:
            raise _Dropped("bad_digit")
        return DigitPressed(digit)

    def _mark(self, parsed: dict[str, Any]) -> MarkReached:
        self._check_streaming(parsed)
        mark = parsed.get("mark")
        name = _name(mark.get("name")) if type(mark) is dict else None
        if name is None:
            raise _Dropped("bad_mark")
        return MarkReached(name)

    def _stop(self, parsed: dict[str, Any]) -> CallerLeft:
        self._check_streaming(parsed)
        self._state = _State.CLOSED
        self._live = object()
        return CallerLeft("hangup")

    def _check_streaming(self, parsed: dict[str, Any]) -> None:
        if self._state is not _State.STREAMING:
            raise _Dropped("after_stop" if self._state is _State.CLOSED else "before_start")
        if parsed.get("streamSid") != self._live:
            raise _Dropped("foreign_stream")
        self._watch_sequence(parsed)

    def _watch_sequence(self, parsed: dict[str, Any]) -> None:
        """The carrier counts its messages. A hole is only noticed: the sound's own clock says what is missing."""
        number = _number(parsed.get("sequenceNumber"))
        if number is None:
            self.noticed["no_sequence_number"] += 1
            return
        if self._next and number != self._count:
            self.noticed["sequence_jump"] += 1
        self._count = number + 1
        self._next = str(self._count)


def _number(value: Any) -> int | None:
    """A non-negative integer as the carrier writes it ("42"), or as one would expect it (42)."""
    if type(value) is str:
        return int(value) if len(value) <= _MAX_DIGITS and value.isdecimal() else None
    if type(value) is int and 0 <= value < 10**_MAX_DIGITS:
        return value
    return None


def _name(value: Any) -> str | None:
    return value if type(value) is str and 0 < len(value) <= _MAX_NAME_CHARS else None


def _media_format(value: Any) -> MediaFormat | None:
    if type(value) is not dict:
        return None
    rate_hz, channels = _number(value.get("sampleRate")), _number(value.get("channels"))
    if (value.get("encoding"), rate_hz, channels) != (_ENCODING, _RATE_HZ, _CHANNELS):
        return None
    return MediaFormat(_ENCODING, _RATE_HZ, _CHANNELS)


def _parameters(value: Any) -> dict[str, str]:
    if type(value) is not dict:
        return {}
    return {name: text for name, text in value.items() if type(text) is str}
