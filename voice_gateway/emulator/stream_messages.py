"""The carrier's side of the media stream dialect: Twilio's messages, written as Twilio writes them and read strictly.

Every number on the wire is a string, but for those inside `mediaFormat`. What a server may send is exactly `media`,
`mark` and `clear`, with exactly the fields shown in Twilio's description; anything else is a warning in the account's
debugger and has no effect. The server never learns of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import orjson
import pybase64

CONNECTED = b'{"event":"connected","protocol":"Call","version":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class Media:
    ulaw: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    pass


Order: TypeAlias = Media | Mark | Clear
"""What a server can ask of the carrier."""


class InvalidMessageError(Exception):
    """A server sent what the carrier does not take. code: of Twilio's error dictionary."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


_FIELDS: Mapping[str, frozenset[str]] = {
    "media": frozenset({"event", "streamSid", "media"}),
    "mark": frozenset({"event", "streamSid", "mark"}),
    "clear": frozenset({"event", "streamSid"}),
}


def read(message: str | bytes, stream_sid: str) -> Order:
    """What a server's message asks for. Raises InvalidMessageError (31950 for a binary one, else 31951)."""
    if isinstance(message, bytes):
        raise InvalidMessageError(31950, "a binary message; only text is understood")
    try:
        told = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise InvalidMessageError(31951, f"not JSON: {error}") from None
    if not isinstance(told, dict):
        raise InvalidMessageError(31951, "not a JSON object")
    event = told.get("event")
    if not isinstance(event, str) or event not in _FIELDS:
        raise InvalidMessageError(31951, f"unknown event {event!r}")
    if told.keys() != _FIELDS[event]:
        raise InvalidMessageError(31951, f"{event} has the fields {sorted(told)}, not {sorted(_FIELDS[event])}")
    if told["streamSid"] != stream_sid:
        raise InvalidMessageError(31951, f"{event} names another stream: {told['streamSid']!r}")
    if event == "media":
        return Media(_payload(told["media"]))
    return Mark(_text(told["mark"], "mark", "name")) if event == "mark" else Clear()


def _text(told: object, inside: str, name: str) -> str:
    if not isinstance(told, dict) or told.keys() != {name} or not isinstance(told[name], str):
        raise InvalidMessageError(31951, f"{inside} must hold {name!r}, a text, and nothing else")
    text: str = told[name]
    return text


def _payload(told: object) -> bytes:
    try:
        return pybase64.b64decode(_text(told, "media", "payload"), validate=True)
    except ValueError as error:
        raise InvalidMessageError(31951, f"media.payload is not base64: {error}") from None


@dataclass(slots=True)
class StreamWriter:
    """Writes one stream's messages and counts them: one sequence over all, one over the frames, both from 1."""

    account_sid: str
    call_sid: str
    stream_sid: str
    sequence: int = 0
    chunk: int = 0

    def start(self, parameters: Mapping[str, str]) -> bytes:
        start = {
            "accountSid": self.account_sid,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(parameters),
        }
        return self._write("start", {"start": start})

    def media(self, timestamp_ms: int, payload: bytes) -> bytes:
        """payload: base64. Written by hand: this is the one message that is sent fifty times a second."""
        self.sequence += 1
        self.chunk += 1
        return (
            b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d",'
            b'"payload":"%b"},"streamSid":"%b"}'
        ) % (self.sequence, self.chunk, timestamp_ms, payload, self.stream_sid.encode())

    def dtmf(self, digit: str) -> bytes:
        return self._write("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}})

    def mark(self, name: str) -> bytes:
        return self._write("mark", {"mark": {"name": name}})

    def stop(self) -> bytes:
        return self._write("stop", {"stop": {"accountSid": self.account_sid, "callSid": self.call_sid}})

    def _write(self, event: str, body: Mapping[str, object]) -> bytes:
        self.sequence += 1
        numbered = {"event": event, "sequenceNumber": str(self.sequence), **body, "streamSid": self.stream_sid}
        return orjson.dumps(numbered)
