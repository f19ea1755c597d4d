"""One bidirectional media stream as the carrier runs it: a WebSocket client around the two pure lines.

`PlayoutLine` knows what the ear hears, `CallerVoice` what the mouth sends; this shell only moves messages and wakes
in time. Two tasks: the one that runs the stream reads, another, the pump, is the only one that sends, so the sequence
numbers are in the order of the wire. The pump sleeps until the next frame or echo is due, whichever comes first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from voice_gateway.emulator.caller_voice import FRAME_S, CallerVoice, Utterance
from voice_gateway.emulator.phone_line import BYTES_PER_S, PlayoutLine
from voice_gateway.emulator.stream_messages import (
    CONNECTED,
    InvalidMessageError,
    Mark,
    Media,
    StreamWriter,
    read,
)
from voice_gateway.emulator.weather import Weather

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
OVERFLOW_S = 5.0
"""A server that reads so slowly loses the caller's older frames."""

MESSAGE_LIMIT = 16 * 2**20


class Witness(Protocol):
    """Who wants to know what happens on a stream: the call."""

    def note(self, name: str, /, **details: object) -> None: ...
    def warn(self, code: int, reason: str) -> None: ...
    def heard_changed(self) -> None: ...
    def stream_started(self, stream: MediaStream) -> None: ...


def _nothing() -> None: ...


@dataclass(frozen=True, slots=True)
class Offer:
    """Where to connect. address: as dialled. headers: the signature. parameters: for the start message."""

    address: str
    headers: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How a stream ended by the server's doing. code: 0 when clean, else of Twilio's error dictionary."""

    code: int = 0
    reason: str = ""


class MediaStream:
    """A stream from upgrade to close. `run` it once; the other methods act on it while it runs."""

    def __init__(
        self, offer: Offer, writer: StreamWriter, weather: Weather, witness: Witness, *, keep_audio: bool = True
    ) -> None:
        self.line = PlayoutLine(weather, keep_audio=keep_audio)
        self.voice = CallerVoice(weather)
        self.started_s = 0.0
        self.ended_s: float | None = None
        self.stop_message = True
        self.on_start: Callable[[], None] = _nothing
        self._offer = offer
        self._writer = writer
        self._witness = witness
        self._loop = asyncio.get_running_loop()
        self._outbox: deque[str | bytes | _Digit] = deque()
        self._saying: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._alarm: asyncio.Future[None] | None = None
        self._socket: ClientConnection | None = None
        self._warned: set[int] = set()

    @property
    def stream_sid(self) -> str:
        return self._writer.stream_sid

    async def run(self) -> StreamEnd:
        """Connect and serve until the server ends it. When cancelled, the call ends it: stop message, then close."""
        try:
            socket = await self._connect()
        except _NoStreamError as error:
            return StreamEnd(error.code, error.reason)
        self._socket = socket
        pump: asyncio.Task[None] | None = None
        try:
            await socket.send(CONNECTED, text=True)
            await socket.send(self._writer.start(self._offer.parameters), text=True)
            self.started_s = self._loop.time()
            self._witness.stream_started(self)
            self.on_start()
            pump = asyncio.create_task(self._pump(socket), name="carrier pump")
            return await self._read(socket)
        except ConnectionClosed as closed:
            return _end_of(closed)
        finally:
            self._end()
            if pump is not None:
                pump.cancel()
                await asyncio.wait({pump})
            await self._leave(socket)

    def say(self, ulaw: bytes) -> asyncio.Future[None]:
        """Speak. Done when the last frame was sent."""
        sent: asyncio.Future[None] = self._loop.create_future()
        if self.ended_s is not None:
            sent.cancel()
            return sent
        utterance: Utterance = self.voice.say(self._loop.time() - self.started_s, ulaw)
        self._saying.append((utterance.last, sent))
        self._witness.note("caller speaks", from_s=utterance.first * FRAME_S, seconds=len(ulaw) / BYTES_PER_S)
        return sent

    def press(self, digit: str) -> None:
        self._outbox.append(_Digit(digit))
        self._wake()

    def send_raw(self, message: str | bytes) -> None:
        self._outbox.append(message)
        self._wake()

    def stall(self, length_s: float) -> None:
        self.voice.stall(self._loop.time() - self.started_s, length_s)

    def lose(self) -> None:
        """Cut the connection without a close frame, as a dying network does."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def _connect(self) -> ClientConnection:
        try:
            return await connect(
                self._offer.address,
                additional_headers=dict(self._offer.headers),
                user_agent_header="Twilio.TmeWs/1.0",
                compression=None,
                proxy=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=None,
                max_size=MESSAGE_LIMIT,
            )
        except InvalidURI as error:
            raise _NoStreamError(31923, str(error)) from None
        except InvalidHandshake as error:
            raise _NoStreamError(31920, f"the upgrade was not answered with 101: {error}") from None
        except TimeoutError:
            raise _NoStreamError(31901, "the upgrade was not answered in time") from None
        except ConnectionRefusedError as error:
            raise _NoStreamError(31902, str(error)) from None
        except (OSError, EOFError) as error:
            raise _NoStreamError(31904, f"{type(error).__name__}: {error}") from None

    async def _read(self, socket: ClientConnection) -> StreamEnd:
        while True:
            message = await socket.recv()
            now = self._loop.time()
            try:
                self._take(message, now)
            except InvalidMessageError as error:
                self._witness.note("ignored", code=error.code, reason=error.reason)
                self._warn(error.code, error.reason)

    def _take(self, message: str | bytes, now: float) -> None:
        order = read(message, self.stream_sid)
        if isinstance(order, Media):
            if dropped := self.line.receive(now, order.ulaw):
                self._warn(31931, f"more than ten minutes are queued; {dropped} bytes dropped")
            self._witness.note("media", bytes=len(order.ulaw), queued_s=max(0.0, self.line.empty_s - now))
        elif isinstance(order, Mark):
            self.line.mark(now, order.name)
            self._witness.note("mark", mark=order.name)
        else:
            dropped = self.line.clear(now)
            self._witness.note("clear", dropped_s=dropped / BYTES_PER_S)
        if not isinstance(order, Media):
            self._wake()
        if not isinstance(order, Mark):
            self._witness.heard_changed()

    async def _pump(self, socket: ClientConnection) -> None:
        """Send what is due, sleep until more is. Ends with the connection."""
        try:
            while True:
                now = self._loop.time()
                await self._send_echoes(socket, now)
                await self._send_outbox(socket)
                await self._send_frames(socket, now - self.started_s)
                if self._outbox:
                    continue
                wake_s = self.started_s + self.voice.deadline()
                echo_s = self.line.deadline()
                await self._nap(wake_s if echo_s is None else min(wake_s, echo_s))
        except ConnectionClosed:
            return

    async def _send_echoes(self, socket: ClientConnection, now: float) -> None:
        for echo in self.line.due(now):
            await socket.send(self._writer.mark(echo.name), text=True)
            self._witness.note("mark returned", mark=echo.name, cleared=echo.cleared)

    async def _send_outbox(self, socket: ClientConnection) -> None:
        while self._outbox:
            message = self._outbox.popleft()
            if isinstance(message, _Digit):
                await socket.send(self._writer.dtmf(message.digit), text=True)
                self._witness.note("digit", digit=message.digit)
            else:
                await socket.send(message)
                self._witness.note("raw", bytes=len(message))

    async def _send_frames(self, socket: ClientConnection, now: float) -> None:
        if now - self.voice.deadline() > OVERFLOW_S:
            lost = self.voice.skip(now - OVERFLOW_S)
            self._warn(31930, f"the server reads too slowly; {lost} frames dropped")
        for frame in self.voice.due(now):
            await socket.send(self._writer.media(frame.timestamp_ms, frame.payload), text=True)
        while self._saying and self._saying[0][0] < self.voice.next_frame:
            sent = self._saying.popleft()[1]
            if not sent.done():
                sent.set_result(None)
            self._witness.note("caller spoke")

    async def _nap(self, until_s: float) -> None:
        alarm: asyncio.Future[None] = self._loop.create_future()
        self._alarm = alarm
        timer = self._loop.call_at(until_s, self._wake)
        try:
            await alarm
        finally:
            timer.cancel()

    def _wake(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    def _warn(self, code: int, reason: str) -> None:
        """Twilio's debugger gets each kind of warning once per stream."""
        if code not in self._warned:
            self._warned.add(code)
            self._witness.warn(code, reason)

    def _end(self) -> None:
        now = self._loop.time()
        self.ended_s = now
        self.line.end(now)
        self.voice.hush(now - self.started_s)
        for _, sent in self._saying:
            sent.cancel()
        self._saying.clear()

    async def _leave(self, socket: ClientConnection) -> None:
        """Say goodbye, as far as the other side still takes it."""
        if socket.close_code is None and self.started_s and self.stop_message:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await socket.send(self._writer.stop(), text=True)
            except (ConnectionClosed, TimeoutError):
                pass
        await socket.close()


@dataclass(frozen=True, slots=True)
class _Digit:
    digit: str


class _NoStreamError(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def _end_of(closed: ConnectionClosed) -> StreamEnd:
    """1000 and its polite relatives end a stream cleanly, every other code and a dead connection are 31921."""
    code = closed.rcvd.code if closed.rcvd is not None else 1006
    if code in {1000, 1001, 1005}:
        return StreamEnd()
    reason = closed.rcvd.reason if closed.rcvd is not None else "no close frame"
    return StreamEnd(31921, f"closed with {code} {reason}".rstrip())
