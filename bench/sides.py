"""Both far sides of a call, as light as they can be: a phone with its carrier, and a model. They are no emulators.

A phone sends a frame every 20 ms, plays what it is sent on its own clock and returns the marks. A model takes what the
caller says and, when told to, talks at four times real time in pieces of 100 ms, as the real one does. Both know marked
sound when they hear it: a step to a constant that nothing else in the call is as loud as.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import orjson
import pybase64

from bench.wire import Peer, frame, upgrade_answer
from voice_gateway.audio import g711
from voice_gateway.audio.resample import FILTER_DELAY_MS

STEP, LOUD = 16_000, 8_000
FRAMES_BETWEEN_MARKS = 25
DELTA_S, FASTER = 0.1, 4.0


@dataclass
class Call:
    """What is seen of one call, in seconds. marked_at, delta_at, speech_at: sent, and not yet seen at the other end."""

    number: int
    in_s: list[float] = field(default_factory=list)
    out_s: list[float] = field(default_factory=list)
    clear_s: list[float] = field(default_factory=list)
    marked_at: float | None = None
    delta_at: float | None = None
    speech_at: float | None = None
    frames_lost: int = 0

    def forget(self) -> None:
        self.in_s, self.out_s, self.clear_s = [], [], []


def sound(samples: int, *, stepped: int = 0) -> np.ndarray:
    """A faint noise, its first samples replaced by the step."""
    noise = np.random.default_rng(1).normal(0, 300, samples).astype(np.int16)
    noise[:stepped] = STEP
    return noise


def encoded(samples: np.ndarray, wire_format: str) -> bytes:
    return pybase64.b64encode(g711.encode(samples) if wire_format == "audio/pcmu" else samples.tobytes())


def onset(base64_text: bytes, wire_format: str) -> int | None:
    """The first sample that is as loud as marked sound only; None when there is none."""
    raw = pybase64.b64decode(base64_text)
    samples = g711.decode(raw) if wire_format == "audio/pcmu" else np.frombuffer(raw, "<i2")
    loud = np.abs(samples.astype(np.int32)) >= LOUD
    return int(loud.argmax()) if loud.any() else None


def last_text(payload: bytes) -> bytes:
    """The last string of a JSON message, which is where both protocols have their sound."""
    end = payload.rindex(b'"')
    return payload[payload.rindex(b'"', 0, end) + 1 : end]


_QUIET = encoded(sound(160), "audio/pcmu")
_MARKED = encoded(sound(160, stepped=160), "audio/pcmu")


class Phone(Peer):
    """The phone side of one media stream. `beat` is to be called every 20 ms."""

    def __init__(self, call: Call) -> None:
        super().__init__()
        self.call = call
        self.stream_sid = f"MZ{call.number:032x}"
        self.call_sid = f"CA{call.number:032x}"
        self._sequence = 0
        self._frames = 0
        self._next_mark = 10 + call.number % FRAMES_BETWEEN_MARKS
        self._plays_until = 0.0
        self._marks: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()

    def start(self, parameters: dict[str, str]) -> None:
        self.tell(b'{"event":"connected","protocol":"Call","version":"1.0.0"}')
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {
            "accountSid": "AC" + "0" * 32,
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "tracks": ["inbound"],
            "mediaFormat": media_format,
            "customParameters": parameters,
        }
        self._send("start", start)

    def hang_up(self) -> None:
        self._send("stop", {"accountSid": "AC" + "0" * 32, "callSid": self.call_sid})

    def mark_never(self) -> None:
        """From now on only the faint noise."""
        self._next_mark = sys.maxsize

    def beat(self) -> None:
        """Say the next 20 ms."""
        if self.gone:
            self.call.frames_lost += 1
            return
        self._sequence += 1
        self._frames += 1
        marked = self._frames >= self._next_mark
        if marked:
            self._next_mark = self._frames + FRAMES_BETWEEN_MARKS
        message = b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d",' % (
            self._sequence,
            self._frames,
        ) + b'"timestamp":"%d","payload":"%b"},"streamSid":"%b"}' % (
            (self._frames - 1) * 20,
            _MARKED if marked else _QUIET,
            self.stream_sid.encode(),
        )
        whole = frame(message, masked=True)
        if marked:
            self.call.marked_at = time.monotonic()
        self.transport.write(whole)

    def told(self, payload: bytes) -> None:
        now = time.monotonic()
        kind = payload[:24]
        if b"media" in kind:
            self._play(last_text(payload), now)
        elif b"mark" in kind:
            self._mark(orjson.loads(payload)["mark"]["name"], now)
        elif b"clear" in kind:
            self._clear(now)

    def _play(self, base64_text: bytes, now: float) -> None:
        call = self.call
        if call.delta_at is not None and onset(base64_text, "audio/pcmu") is not None:
            call.out_s.append(now - call.delta_at)
            call.delta_at = None
        self._plays_until = max(now, self._plays_until) + len(base64_text) * 0.75 / 8000

    def _mark(self, name: str, now: float) -> None:
        if self._plays_until <= now:
            self._send("mark", {"name": name})
            return
        self._marks.append((self._plays_until, name.encode()))
        if len(self._marks) == 1:
            self._loop.call_at(self._plays_until, self._return_marks)

    def _return_marks(self) -> None:
        now = self._loop.time()
        while self._marks and self._marks[0][0] <= now + 0.001:
            self._send("mark", {"name": self._marks.popleft()[1].decode()})
        if self._marks:
            self._loop.call_at(self._marks[0][0], self._return_marks)

    def _clear(self, now: float) -> None:
        call = self.call
        if call.speech_at is not None:
            call.clear_s.append(now - call.speech_at)
            call.speech_at = None
        self._plays_until = now
        pending, self._marks = self._marks, deque()
        for _, name in pending:
            self._send("mark", {"name": name.decode()})

    def _send(self, event: str, body: dict[str, object]) -> None:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), event: body, "streamSid": self.stream_sid}
        if not self.gone:
            self.tell(orjson.dumps(message))


class Model(Peer):
    """The model's side of one session. Belongs to no call until `call` is set."""

    def __init__(self, configured: asyncio.Queue[Model]) -> None:
        super().__init__()
        self.client = False
        self.call: Call | None = None
        self.appends = 0
        self.deltas = 0
        self._configured = configured
        self._format = "audio/pcm"
        self._answers = 0
        self._deltas: tuple[bytes, bytes] = (b"", b"")
        self._talks = False
        self._loop = asyncio.get_running_loop()

    def opened(self, head: bytes) -> None:
        self.transport.write(upgrade_answer(head))
        self._say({"type": "session.created", "event_id": "event_0", "session": {"type": "realtime", "id": "sess_1"}})

    def told(self, payload: bytes) -> None:
        if b"audio_buffer.append" in payload[:50]:
            self.appends += 1
            if self.call is not None and self.call.marked_at is not None:
                self._listen(self.call, payload)
        elif b"session.update" in payload[:50]:
            session = orjson.loads(payload)["session"] | {"id": "sess_1"}
            self._format = session["audio"]["input"]["format"]["type"]
            samples = int(DELTA_S * (8000 if self._format == "audio/pcmu" else 24_000))
            quiet, marked = sound(samples), sound(samples, stepped=samples // 2)
            self._deltas = (encoded(quiet, self._format), encoded(marked, self._format))
            self._say({"type": "session.updated", "event_id": "event_1", "session": session})
            self._configured.put_nowait(self)
        elif b"response.create" in payload[:50]:
            self._say_nothing()

    def _listen(self, call: Call, payload: bytes) -> None:
        now = time.monotonic()
        at = onset(last_text(payload), self._format)
        if at is None or call.marked_at is None:
            return
        straight = self._format == "audio/pcmu"
        inside_s = at / (8000 if straight else 24_000) - (0.0 if straight else FILTER_DELAY_MS / 1000)
        call.in_s.append(now + inside_s - call.marked_at)
        call.marked_at = None

    # --- talking ------------------------------------------------------------------------------------------------

    def talk(self, *, first_in_s: float, length_s: float, every_s: float, interrupted_after_s: float = 0.0) -> None:
        """Give answers until `hush`. interrupted_after_s: when the caller is heard to speak, 0 for never."""
        self._talks = True
        self._loop.call_later(first_in_s, self._answer, length_s, every_s, interrupted_after_s)

    def hush(self) -> None:
        self._talks = False

    def _answer(self, length_s: float, every_s: float, interrupted_after_s: float) -> None:
        if not self._talks or self.gone or self.call is None:
            return
        began = self._loop.time()
        self._loop.call_at(began + every_s, self._answer, length_s, every_s, interrupted_after_s)
        self._answers += 1
        response_id, item_id = f"resp_{self._answers}", f"item_{self._answers}"
        response = {"id": response_id, "object": "realtime.response", "status": "in_progress"}
        item = {"id": item_id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self._say({"type": "response.created", "response": response | {"conversation_id": "conv_1"}})
        self._say({"type": "response.output_item.added", "response_id": response_id, "item": item})
        if interrupted_after_s:
            self._loop.call_at(began + interrupted_after_s, self._interrupt, self._answers)
        self._piece(self._answers, 0, round(length_s / DELTA_S), began)

    def _say_nothing(self) -> None:
        """Answer a wish with an empty response: the trial decides when a model talks."""
        self._answers += 1
        response = {"id": f"resp_{self._answers}", "object": "realtime.response", "conversation_id": "conv_1"}
        self._say({"type": "response.created", "response": response | {"status": "in_progress"}})
        self._say({"type": "response.done", "response": response | {"status": "completed", "output": []}})

    def _piece(self, answer: int, index: int, pieces: int, began: float) -> None:
        if answer != self._answers or self.gone or self.call is None:
            return
        names = b'"response_id":"resp_%d","item_id":"item_%d","output_index":0,"content_index":0' % (answer, answer)
        if index == pieces:
            self._finish(answer, "completed", names)
            return
        delta = self._deltas[index == 0]
        event_id = b'","event_id":"event_%d_%d",' % (answer, index)
        message = frame(b'{"type":"response.output_audio.delta' + event_id + names + b',"delta":"' + delta + b'"}')
        self.deltas += 1
        if index == 0:
            self.call.delta_at = time.monotonic()
        self.transport.write(message)
        if index % 3 == 0:
            self._text(b"response.output_audio_transcript.delta" + event_id + names + b',"delta":" and so on"}')
        self._loop.call_at(began + (index + 1) * DELTA_S / FASTER, self._piece, answer, index + 1, pieces, began)

    def _text(self, rest: bytes) -> None:
        self.transport.write(frame(b'{"type":"' + rest))

    def _finish(self, answer: int, status: str, names: bytes) -> None:
        self._text(b'response.output_audio.done","event_id":"event_%d_done",' % answer + names + b"}")
        response = {"id": f"resp_{answer}", "object": "realtime.response", "status": status, "output": []}
        self._say({"type": "response.done", "event_id": f"event_{answer}_over", "response": response})

    def _interrupt(self, answer: int) -> None:
        """The caller speaks: half a second later he has ended."""
        if self.gone or self.call is None or answer != self._answers:
            return
        item_id = f"user_{answer}"
        told = {"type": "input_audio_buffer.speech_started", "event_id": f"event_{item_id}_1", "item_id": item_id}
        message = frame(orjson.dumps(told | {"audio_start_ms": self.appends * 20}))
        self.call.speech_at = time.monotonic()
        self.transport.write(message)
        names = b'"response_id":"resp_%d","item_id":"item_%d","output_index":0,"content_index":0' % (answer, answer)
        self._finish(answer, "cancelled", names)
        self._answers += 1
        self._loop.call_later(0.5, self._fall_silent, item_id)

    def _fall_silent(self, item_id: str) -> None:
        if not self.gone:
            told = {"type": "input_audio_buffer.speech_stopped", "event_id": f"event_{item_id}_2", "item_id": item_id}
            self._say(told | {"audio_end_ms": self.appends * 20})

    def _say(self, message: dict[str, object]) -> None:
        self.tell(orjson.dumps(message))
