"""Fixtures for the far sides: a dialogue with the emulated model without network and clock, checked event by event."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import pytest
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel

from voice_gateway.emulator.faculties import Ear, Mind
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime import Hear, Item, Profile, RealtimeSession, Speak
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar

Event = dict[str, Any]

_UNION = get_args(get_args(RealtimeServerEvent)[0])
_CLASSES: dict[str, type[BaseModel]] = {
    literal: shape for shape in _UNION for literal in get_args(shape.model_fields["type"].annotation)
}
NEVER_SENT = {"conversation.created", "conversation.item.created"}


def check_server_event(event: Mapping[str, Any]) -> None:
    """Hold an event against the class the `openai` package has for its type."""
    assert event["type"] in _CLASSES, f"the SDK knows no {event['type']}"
    assert event["type"] not in NEVER_SENT
    assert not event["type"].startswith("output_audio_buffer."), "a plain WebSocket never sees these"
    assert event["event_id"].startswith("event_")
    assert len(event["event_id"]) == len("event_") + 21
    _CLASSES[event["type"]].model_validate(event)


class Dialogue:
    """A session, its faculties working in no time, and all that was said. Times are seconds since it began."""

    def __init__(
        self, mind: Mind | None = None, ear: Ear | None = None, *, model: str, seed: int, **profile: Any
    ) -> None:
        self.now = 0.0
        self.mind = mind or ScriptedMind(["Hello there."])
        self.ear = ear or TypedEar(["one", "two", "three"])
        self.voice = ToneVoice()
        self.seen: list[Event] = []
        self.times: list[float] = []
        self.session = RealtimeSession(model, Profile(**profile), seed=seed)
        self.strange = profile.get("faults", Faults()).unknown_events
        self._perform(self.session.open(0.0))

    def send(self, kind: str, **fields: Any) -> list[Event]:
        """Send one event; returns what came at once."""
        return self._perform(self.session.handle({"type": kind, **fields}, self.now))

    def configure(self, **session: Any) -> list[Event]:
        return self.send("session.update", session={"type": "realtime", **session})

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass."""
        start, end = len(self.seen), self.now + seconds
        while (deadline := self.session.deadline()) is not None and deadline <= end:
            self.now = max(deadline, self.now)
            self._perform(self.session.wake(self.now))
        self.now = end
        return self.seen[start:]

    def until(self, kind: str, patience_s: float = 60.0) -> Event:
        """Let time pass until such an event comes."""
        start, end = len(self.seen), self.now + patience_s
        while not (found := [event for event in self.seen[start:] if event["type"] == kind]):
            deadline = self.session.deadline()
            assert deadline is not None, f"no {kind} will come: {self.kinds(start)}"
            assert deadline <= end, f"no {kind} came: {self.kinds(start)}"
            self.now = max(deadline, self.now)
            self._perform(self.session.wake(self.now))
        return found[0]

    def write(self, seconds: float, level: float, chunk_ms: int = 20) -> list[Event]:
        """Write sound in real time: a hum of this level (0: silence) in the session's input format."""
        start = len(self.seen)
        sound = self.session._input.format
        for _ in range(round(seconds * 1000 / chunk_ms)):
            phase = np.arange(chunk_ms * 24) * 2 * np.pi * 300 / 24000
            data = sound.encode((level * 32767 * np.sin(phase)).astype(np.int16), 24000)
            self.wait(chunk_ms / 1000)
            self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())
        return self.seen[start:]

    def speak(self, seconds: float = 1.0) -> list[Event]:
        """Speak, and be silent until the turn must be over."""
        return [*self.write(seconds, 0.3), *self.write(0.6, 0.0)]

    def kinds(self, start: int = 0, without: str = "\n") -> list[str]:
        """The types of all events, runs of the same type as one."""
        kinds = [event["type"] for event in self.seen[start:] if without not in event["type"]]
        return [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]

    def all(self, kind: str) -> list[Event]:
        return [event for event in self.seen if event["type"] == kind]

    def until_seen(self, kind: str) -> Event:
        """The first event whose type ends so."""
        return next(event for event in self.seen if event["type"].endswith(kind))

    def error(self) -> Event:
        """The error of the dialogue; there must be one and no more."""
        (error,) = self.all("error")
        detail: Event = error["error"]
        return detail

    @property
    def answer(self) -> Item:
        """The last thing the model said."""
        return [item for item in self.session.items if item.role == "assistant"][-1]

    def _perform(self, events: list[Event]) -> list[Event]:
        for event in events:
            if not self.strange:
                check_server_event(event)
            self.seen.append(event)
            self.times.append(self.now)
        said = list(events)
        for work in self.session.take_work():
            if isinstance(work, Speak):
                for samples in self.voice.speak(work.text):
                    said += self._perform(self.session.spoke(work, work.sound.encode(samples, 24000), self.now))
                said += self._perform(self.session.spoke(work, None, self.now))
                continue
            if isinstance(work, Hear):
                result: Any = self.ear.transcribe(work.samples, work.rate_hz, vocabulary=work.vocabulary)
            else:
                result = self.mind.respond(work.situation)
            said += self._perform(self.session.finished(work, result, self.now))
        return said


@pytest.fixture
def dialogue() -> Callable[..., Dialogue]:
    """Begin a dialogue: `dialogue(mind, ear, model=…, seed=…, **profile)`."""

    def begin(mind: Mind | None = None, ear: Ear | None = None, **more: Any) -> Dialogue:
        return Dialogue(mind, ear, model=more.pop("model", "gpt-realtime-2.1"), seed=more.pop("seed", 7), **more)

    return begin


@pytest.fixture
def checked() -> Callable[[Mapping[str, Any]], None]:
    """Holds an event against the class the `openai` package has for its type."""
    return check_server_event
