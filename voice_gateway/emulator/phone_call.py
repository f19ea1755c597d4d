"""A call in the hands of its caller: speak, press, listen, hang up; and the truth about what was said and heard.

Times in `events` are seconds on the call's clock, which starts when the number is dialled. Everything about sound
(`played`, `heard_between`, `recording` and so on) counts from the start of the call's first media stream, at
`stream_at_s` on that clock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio import g711, resample
from voice_gateway.emulator.carrier_stream import MediaStream
from voice_gateway.emulator.phone_line import BYTES_PER_S, Segment, heard_at, render
from voice_gateway.emulator.twiml_reader import Dial

Outcome: TypeAlias = Literal[
    "", "caller-hung-up", "completed", "transferred", "rejected", "busy", "no-answer", "failed", "canceled",
    "application-error",
]  # fmt: skip
"""How a call ended; empty while it lives. `completed`: the server ended it. `transferred`: it was put through."""

Status: TypeAlias = Literal[
    "queued", "initiated", "ringing", "in-progress", "completed", "busy", "no-answer", "failed", "canceled"
]
"""CallStatus, in Twilio's words."""


class Leave(Protocol):
    """How a call is told to end."""

    def __call__(self, outcome: Outcome, *, stop_message: bool = True) -> None: ...


class CallOverError(Exception):
    """The caller wanted to do something on a line that is dead."""


class Happening(NamedTuple):
    """Something that happened. t: seconds since the number was dialled."""

    t: float
    name: str
    details: dict[str, Any]


class CarrierWarning(NamedTuple):
    """What the account's debugger would show. code: of Twilio's error dictionary."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Parties:
    """Who calls whom. direction: `inbound` or `outbound-api`, as seen by the server."""

    account_sid: str
    call_sid: str
    from_number: str
    to_number: str
    direction: str = "inbound"


class PhoneCall:
    """One call. Made by `Carrier.dial`, or by the REST side (then `Carrier.next_outbound` hands it out).

    twiml: every document read. said: what `<Say>` spoke. dialled: every `<Dial>`. warnings: as in the account's
    debugger. error: why the caller heard that an application error has occurred. events: the call's timeline:

    - web: `webhook`, `twiml`, `callback` (url, fields), `status`, `application error`, `warning` (code, reason),
      `over`;
    - verbs: `say`, `play`, `gather`, `gathered`, `prompt cut`, `dial`, `passed over`, `stream started`, `stream ended`;
    - from the server: `media` (bytes, queued_s), `mark`, `clear` (dropped_s), `ignored` (code, reason);
    - to the server: `mark returned` (mark, cleared), `caller speaks` (from_s on the stream's clock, seconds),
      `caller spoke`, `digit`, `raw`, `stall`, `drop`, `hang up`.
    """

    def __init__(self, parties: Parties) -> None:
        self.parties = parties
        self.status: Status = "queued"
        self.outcome: Outcome = ""
        self.twiml: list[str] = []
        self.said: list[str] = []
        self.dialled: list[Dial] = []
        self.warnings: list[CarrierWarning] = []
        self.error: CarrierWarning | None = None
        self.events: list[Happening] = []
        self.stream_at_s = 0.0
        self.created_at = datetime.now(UTC)
        self.ended_at: datetime | None = None
        self.on_leave: Leave = _nobody
        self._loop = asyncio.get_running_loop()
        self._dialled_s = self._loop.time()
        self._streams: list[MediaStream] = []
        self._keys: asyncio.Queue[str] = asyncio.Queue()
        self._asked = self._asked_before = 0
        self._changed: asyncio.Future[None] = self._loop.create_future()
        self._over = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<PhoneCall {self.call_sid} {self.outcome or self.status}>"

    @property
    def call_sid(self) -> str:
        return self.parties.call_sid

    @property
    def stream_sid(self) -> str:
        """Of the latest media stream; empty before there is one."""
        return self._streams[-1].stream_sid if self._streams else ""

    @property
    def now_s(self) -> float:
        """The call's clock."""
        return self._loop.time() - self._dialled_s

    # --- what a caller does ---

    async def answered(self, timeout_s: float = 20.0) -> None:
        """Wait for the media stream. Raises CallOverError when the call ends without one, TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while not self._streams:
                self._still_on()
                await self._change()

    async def answered_or_asked(self, timeout_s: float = 20.0) -> bool:
        """Wait for the media stream, or for the carrier to ask for keys once more; True when it asks. As `answered`."""
        async with asyncio.timeout(timeout_s):
            while not self._streams and self._asked <= self._asked_before:
                self._still_on()
                await self._change()
        asks, self._asked_before = self._asked > self._asked_before, self._asked
        return asks and not self._streams

    async def say(self, samples: NDArray[np.int16], rate_hz: int) -> None:
        """Speak in real time. samples: shape (n,). Returns when the last frame was sent."""
        heard = samples if rate_hz == BYTES_PER_S else resample.convert(samples, rate_hz, BYTES_PER_S)
        await self.say_ulaw(g711.encode(heard))

    async def say_ulaw(self, ulaw: bytes) -> None:
        """Speak µ-law in real time. Returns when the last frame was sent, raises CallOverError when the call ends."""
        sent = self._stream().say(ulaw)
        await asyncio.wait({sent})
        if sent.cancelled():
            raise CallOverError("the media stream ended while the caller spoke")

    def press(self, digits: str) -> None:
        """Press keys: to the media stream when there is one, else to a waiting `<Gather>`."""
        for digit in digits:
            if self._live_stream() is None:
                self._keys.put_nowait(digit)
                self.heard_changed()
            else:
                self._stream().press(digit)

    def stall(self, length_s: float) -> None:
        """Lose all of the caller's frames for so long; their timestamps jump afterwards."""
        self.note("stall", seconds=length_s)
        self._stream().stall(length_s)

    def send_raw(self, message: str | bytes) -> None:
        """Put a foreign message onto the media stream: text as a text frame, bytes as a binary one."""
        self._stream().send_raw(message)

    async def hang_up(self, *, stop_message: bool = True) -> None:
        """Put the hand-set down. stop_message: whether the carrier's stop gets through. Returns when all is over."""
        self.note("hang up")
        self.on_leave("caller-hung-up", stop_message=stop_message)
        await self.ended()

    async def drop(self) -> None:
        """Let the media stream's connection die without a close frame (1006). The call itself goes on."""
        stream = self._stream()
        self.note("drop")
        stream.lose()
        while stream.ended_s is None:
            await self._change()

    async def ended(self, timeout_s: float | None = None) -> Outcome:
        """Wait until the call is over and told to the server."""
        async with asyncio.timeout(timeout_s):
            await self._over.wait()
        if self._life is not None:
            await asyncio.wait({self._life})
            self._life.result()  # a defect of the emulator surfaces here
        return self.outcome

    async def until_heard(self, seconds: float, timeout_s: float = 30.0) -> None:
        """Wait until the caller has heard so much more sound than when asked. Raises CallOverError, TimeoutError."""
        since = self._loop.time()
        async with asyncio.timeout(timeout_s):
            while (at_s := self._heard_at(since, seconds)) is None or at_s > self._loop.time():
                self._still_on()
                await self._change(at_s)

    async def until_quiet(self, seconds: float, timeout_s: float = 60.0) -> None:
        """Wait until the caller has heard nothing for so long, counted from now at the earliest."""
        since = self._loop.time()
        async with asyncio.timeout(timeout_s):
            while not self._over.is_set():
                last_s = next((each.end_s for each in reversed(self._scheduled()) if each.audible), since)
                quiet_s = max(since, last_s) + seconds
                if quiet_s <= self._loop.time():
                    return
                await self._change(quiet_s)

    # --- the truth ---

    @property
    def played(self) -> list[Segment]:
        """What was really heard so far, in order."""
        return [self._since_start(segment) for segment in self._heard_segments()]

    @property
    def first_heard_s(self) -> float | None:
        """When the caller first heard anything, on the call's clock."""
        for segment in self._heard_segments():
            if segment.audible:
                return segment.start_s - self._dialled_s
        return None

    def heard_ulaw(self) -> bytes:
        """The whole line to the ear, 0xFF where nothing was played."""
        return self.heard_between(0.0, self.length_s)

    def heard_between(self, start_s: float, end_s: float) -> bytes:
        return render(self.played, start_s, end_s)

    def caller_ulaw(self) -> bytes:
        """What the caller said on the same clock, 0xFF between. Lost frames are included: the caller did say them."""
        said = [
            replace(segment, start_s=segment.start_s + stream.started_s - self._epoch_s)
            for stream in self._streams
            for segment in stream.voice.said
        ]
        return render(said, 0.0, self.length_s)

    def recording(self) -> NDArray[np.int16]:
        """Both sides at 8 kHz. shape: (n, 2); left the caller, right what the caller heard."""
        return np.stack([g711.decode(self.caller_ulaw()), g711.decode(self.heard_ulaw())], axis=1)

    @property
    def length_s(self) -> float:
        """From the first media stream's start until now, or until the last one's end."""
        if not self._streams:
            return 0.0
        end_s = self._streams[-1].ended_s
        return (self._loop.time() if end_s is None else end_s) - self._epoch_s

    # --- for the carrier ---

    def note(self, name: str, /, **details: object) -> None:
        self.events.append(Happening(self.now_s, name, details))

    def warn(self, code: int, reason: str) -> None:
        self.warnings.append(CarrierWarning(code, reason))
        self.note("warning", code=code, reason=reason)

    def heard_changed(self) -> None:
        """Wake whoever waits for something to happen on the line."""
        if not self._changed.done():
            self._changed.set_result(None)

    def stream_started(self, stream: MediaStream) -> None:
        if not self._streams:
            self.stream_at_s = stream.started_s - self._dialled_s
        self._streams.append(stream)
        self.note("stream started", stream_sid=stream.stream_sid)
        self.heard_changed()

    def asked_for_keys(self) -> None:
        """A `<Gather>` has said what it had to say, and waits."""
        self._asked += 1
        self.note("gather")
        self.heard_changed()

    async def key_pressed(self) -> None:
        """Wait for a key that nobody has taken yet, and leave it."""
        while self._keys.empty():
            await self._change()

    async def next_key(self) -> str:
        return await self._keys.get()

    def live(self, life: asyncio.Task[None]) -> None:
        self._life = life

    def over(self, outcome: Outcome, status: Status) -> None:
        self.outcome, self.status = outcome, status
        self.ended_at = datetime.now(UTC)
        self.note("over", outcome=outcome)
        self._over.set()
        self.heard_changed()

    def _still_on(self) -> None:
        if self._over.is_set():
            raise CallOverError(f"the call is over: {self.outcome}")

    def _live_stream(self) -> MediaStream | None:
        return self._streams[-1] if self._streams and self._streams[-1].ended_s is None else None

    def _stream(self) -> MediaStream:
        stream = self._live_stream()
        if stream is None:
            raise CallOverError(f"the call has no live media stream: {self.outcome or self.status}")
        return stream

    async def _change(self, until_s: float | None = None) -> None:
        """Wait for something to happen on the line, or until a time on the loop's clock."""
        if self._changed.done():
            self._changed = self._loop.create_future()
        timeout_s = None if until_s is None else max(0.0, until_s - self._loop.time())
        await asyncio.wait({self._changed}, timeout=timeout_s)

    def _heard_at(self, since: float, seconds: float) -> float | None:
        return heard_at(self._scheduled(), since, seconds)

    def _scheduled(self) -> list[Segment]:
        return self._streams[-1].line.schedule if self._streams else []

    def _heard_segments(self) -> list[Segment]:
        now = self._loop.time()
        return [segment for stream in self._streams for segment in stream.line.played(now)]

    @property
    def _epoch_s(self) -> float:
        return self._streams[0].started_s if self._streams else 0.0

    def _since_start(self, segment: Segment) -> Segment:
        return replace(segment, start_s=segment.start_s - self._epoch_s)


def _nobody(outcome: Outcome, *, stop_message: bool = True) -> None:
    """Before the carrier has taken the call there is nobody to tell."""
