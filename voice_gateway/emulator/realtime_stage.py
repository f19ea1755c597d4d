"""What all parts of an emulated session share: the time, the agenda, the way out, ids, and work to hand out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeAlias

from voice_gateway.emulator.faculties import Samples, Situation
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime_agenda import Agenda
from voice_gateway.emulator.realtime_items import Wire
from voice_gateway.emulator.realtime_reply import Latency, letters
from voice_gateway.emulator.realtime_schema import Refused
from voice_gateway.emulator.realtime_sound import Format

EXPIRED: Final = "Your session hit the maximum duration of 60 minutes."
KEPT_EVENTS: Final = 5000
STORM: Final = 20
STRANGE_EVERY: Final = 5
_FORGOTTEN: Final = frozenset({"delta", "audio", "obfuscation"})


@dataclass(frozen=True, slots=True)
class Profile:
    """What kind of model this is.

    listens: False counts appended bytes alone. hears: there is an ear; without one every turn is an empty text.
    speed: sound comes this many times faster than it plays. session_s: how long a session may last.
    """

    listens: bool = True
    hears: bool = True
    speed: float = 5.0
    delta_ms: int = 100
    latency: Latency = field(default_factory=Latency)
    faults: Faults = field(default_factory=Faults)
    session_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Hear:
    """Work for the ear; its result is the text. samples are at rate_hz."""

    item_id: str
    samples: Samples
    rate_hz: int
    vocabulary: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Think:
    """Work for the mind; its result is a list of acts."""

    response_id: str
    situation: Situation


@dataclass(frozen=True, slots=True)
class Speak:
    """Work for the voice; its results go to `spoke`, piece by piece, as bytes in this format."""

    response_id: str
    index: int
    text: str
    sound: Format


Work: TypeAlias = Hear | Think | Speak


@dataclass(frozen=True, slots=True)
class Close:
    """The session is over. code 1006 means without a close frame."""

    code: int
    reason: str


class Stage:
    """now: seconds. Events that were emitted wait in order until `flush`."""

    def __init__(self, profile: Profile, seed: int, now: float) -> None:
        self.profile = profile
        self.now = now
        self.opened_at = now
        self.rng = Random(seed)
        self.agenda = Agenda()
        self.work: list[Work] = []
        self.closing: Close | None = None
        self.sent: deque[Wire] = deque(maxlen=KEPT_EVENTS)
        self.received: deque[Wire] = deque(maxlen=KEPT_EVENTS)
        self.exchanged: deque[tuple[str, Wire]] = deque(maxlen=KEPT_EVENTS)
        self._out: list[Wire] = []
        self._emitted = 0

    def new_id(self, prefix: str) -> str:
        length = 16 if prefix == "call" else 21
        return f"{prefix}_{letters(self.rng, length)}"

    def later(self, seconds: float, do: Callable[[], None]) -> int:
        return self.agenda.at(self.now + seconds, do)

    def run_due(self, now: float) -> None:
        """Do what was to be done by now, each at its own time, so that waits do not add up."""
        while self.closing is None and (due := self.agenda.due(now)) is not None:
            when, do = due
            self.now = max(when, self.now)
            do()
        self.now = max(now, self.now)

    def flush(self) -> list[Wire]:
        out, self._out = self._out, []
        return out

    def emit(self, kind: str, **fields: Any) -> None:
        faults = self.profile.faults
        stalled = faults.stall_after_s is not None and self.now >= self.opened_at + faults.stall_after_s
        if self.closing is not None or stalled:
            return
        event = {"type": kind, "event_id": self.new_id("event"), **fields}
        self._put(event)
        if faults.duplicate_events and not kind.endswith(".delta"):
            self._put(event)
        self._emitted += 1
        if faults.unknown_events and self._emitted % STRANGE_EVERY == 0:
            strange = {"type": "conversation.mood.updated", "event_id": self.new_id("event"), "mood": "fine"}
            self._put(strange)

    def error(self, refused: Refused, event_id: object = None, kind: str = "invalid_request_error") -> None:
        detail = {"type": kind, "code": refused.code, "message": refused.message, "param": refused.param}
        self.emit("error", error={**detail, "event_id": event_id if isinstance(event_id, str) else None})

    def storm(self, count: int) -> None:
        """Errors that mean nothing, where the fault asks for them."""
        if self.profile.faults.error_storm:
            storm = Refused("server_error", "The server had an error; nothing was changed.")
            for _ in range(count):
                self.error(storm, kind="server_error")

    def close(self, code: int, refused: Refused | None = None) -> None:
        """End the session, with an `error` first where the protocol sends one."""
        if refused is None and code == 1001:
            refused = Refused("session_expired", EXPIRED)
            self.error(refused)
            self.closing = self.closing or Close(code, EXPIRED)
        elif refused is None:
            self.closing = self.closing or Close(code, "" if code == 1000 else "internal error")
        else:
            self.error(refused)
            self.closing = self.closing or Close(code, f"invalid_request_error.{refused.code}")

    def note(self, event: Mapping[str, Any]) -> None:
        """Keep a received event, without the sound in it."""
        light = _light(event)
        self.received.append(light)
        self.exchanged.append(("->", light))

    def note_sound(self, total_ms: int) -> None:
        """Appends in a row are one entry: how many they were and how much had been written after the last."""
        last = self.received[-1] if self.received else {}
        if last.get("type") == "input_audio_buffer.append":
            last["count"] += 1
            last["written_ms"] = total_ms
        else:
            self.received.append({"type": "input_audio_buffer.append", "count": 1, "written_ms": total_ms})

    def _put(self, event: Wire) -> None:
        self._out.append(event)
        if event["type"] == "response.output_audio.delta":
            event = {**event, "delta": f"<{len(event['delta'])} letters>"}
        self.sent.append(event)
        self.exchanged.append(("<-", event))


def _light(event: Mapping[str, Any]) -> Wire:
    item = event.get("item")
    if not isinstance(item, dict) or not isinstance(item.get("content"), list):
        return dict(event)
    parts = [
        {name: value for name, value in part.items() if name not in _FORGOTTEN} if isinstance(part, dict) else part
        for part in item["content"]
    ]
    return {**event, "item": {**item, "content": parts}}
