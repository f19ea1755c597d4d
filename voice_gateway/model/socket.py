"""The model leg's socket: a WebSocket client around the dialect. It opens, configures, reads, sends and closes.

No meaning lives here. Secrets go into the request's headers and nowhere else: not into messages, not into logs.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import os
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from typing import Final, Literal, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import apply_mask  # type: ignore[attr-defined]  # there the library chose the compiled one
from websockets.protocol import State

from voice_gateway import __version__
from voice_gateway.call.events import ModelErred, ModelEvent, ModelLost, ModelReady
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.refusal import EXPLAINED, ModelRefused, describe_close, explain
from voice_gateway.model.settings import ModelSettings
from voice_gateway.ops.privacy import Scrubber

__all__ = ["ModelRefused", "ModelSocket", "Tap"]

Tap: TypeAlias = Callable[[Literal["sent", "received"], bytes], None]
"""Sees every message as it is on the wire, for a trace. Must be quick and must not raise."""

PING_EVERY_S: Final = 20.0
PING_TIMEOUT_S: Final = 20.0
CLOSE_TIMEOUT_S: Final = 1.0
LARGEST_MESSAGE: Final = 16 * 2**20
LONGEST_QUEUE: Final = 16
"""Messages read ahead of the consumer; beyond them the socket is not read, and TCP holds the server back."""
MOST_UNSENT: Final = 2**20
"""Bytes that may wait because the server does not read, 16 s of PCM16; beyond them the leg is given up."""

_TOLD_ALONE: Final = (ModelErred, ModelLost)

# At DEBUG the library logs the request's headers, the key among them; this logger stays above it whatever the root is.
_wire_log = logging.getLogger("voice_gateway.model.wire")
_wire_log.setLevel(logging.WARNING)


class ModelSocket:
    """A configured session; `open` is the only way to one.

    ready: the event that says so, for the bridge. dialect: the session's protocol state, its counters and warnings.
    unsent: messages that came after the connection was gone.
    """

    __slots__ = ("_closing", "_scrub", "_stalled", "_tap", "_ws", "dialect", "ready", "unsent")

    def __init__(self, ws: ClientConnection, dialect: Dialect, scrub: Callable[[str], str], tap: Tap | None) -> None:
        self._ws = ws
        self._scrub = scrub
        self._tap = tap
        self._closing = False
        self._stalled = False
        self.dialect = dialect
        self.ready = ModelReady("", "")
        self.unsent = 0

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        api_key: str,
        settings: ModelSettings,
        connect_timeout_s: float = 10.0,
        safety_identifier: str = "",
        headers: Mapping[str, str] | None = None,
        tap: Tap | None = None,
    ) -> ModelSocket:
        """Connect, wait for `session.created`, send `session.update`, and check what `session.updated` says.

        url: the endpoint without the model, `wss://api.openai.com/v1/realtime`. api_key: empty for a server that wants
        none. connect_timeout_s: for all of it together. safety_identifier: a hash that stands for the caller.
        headers: further ones, such as an organization's.

        Raises:
            ModelRefused: whatever the reason. Nothing is left open then, nor after a cancellation.
        """
        api_key = api_key.strip()
        scrub = Scrubber((api_key, *(headers or {}).values())).scrub
        awaited = "a connection"
        try:
            request_headers = _request_headers(api_key, safety_identifier, headers or {})
            async with asyncio.timeout(connect_timeout_s):
                ws = await _connect(_with_model(url, settings.model), request_headers)
                awaited = "a configured session"
                socket = cls(ws, Dialect(settings), scrub, tap)
                await socket._configure()
        except TimeoutError:
            raise ModelRefused("timeout", f"There was not {awaited} within {connect_timeout_s:g} s") from None
        except (ModelRefused, *EXPLAINED) as error:
            # Not chained: the library's exceptions may hold what the far side wrote, and it could echo a header.
            raise explain(error, scrub) from None
        return socket

    async def _configure(self) -> None:
        """Go from the open connection to `ready`. Whatever else comes before has no meaning: nothing was asked yet."""
        asked = False
        try:
            while not self.dialect.ready:
                for event in await self._read():
                    self._note(event)
                if self.dialect.created and not asked:
                    asked = True
                    self.send(self.dialect.configure())
        except BaseException:
            self._ws.transport.abort()
            await self._ws.wait_closed()
            raise

    def _note(self, event: ModelEvent) -> None:
        if isinstance(event, ModelErred | ModelLost):
            raise ModelRefused(event.code, event.message)
        if isinstance(event, ModelReady):
            self.ready = event

    @property
    def alive(self) -> bool:
        """False as soon as the connection is known to be going; true for a parked one that is still good."""
        return self._ws.state is State.OPEN and not self._stalled

    async def _read(self) -> tuple[ModelEvent, ...]:
        raw = await self._ws.recv(decode=False)
        if self._tap is not None:
            self._tap("received", raw)
        events = self.dialect.read(raw)
        if events and isinstance(told := events[0], _TOLD_ALONE):
            return (replace(told, message=self._scrub(told.message)),)
        return events

    async def events(self) -> AsyncGenerator[ModelEvent, None]:
        """Yield what the model says until the end, which is a `ModelLost`, or nothing after `close`.

        Messages that came while nobody iterated are the first. A slow consumer holds the server back.
        """
        while True:
            try:
                events = await self._read()
            except ConnectionClosed as closed:
                if not self._closing:
                    yield self._lost(closed)
                return
            for event in events:
                yield event
                if isinstance(event, ModelLost):
                    await self.close()
                    return

    def _lost(self, closed: ConnectionClosed) -> ModelLost:
        if self._stalled:
            return ModelLost("model_stalled", f"The model's side stopped reading; {MOST_UNSENT} bytes were waiting")
        code, message = describe_close(closed)
        return ModelLost(code, self._scrub(message))

    def send(self, data: bytes) -> None:
        """Send one message of the dialect. Never waits for the far side and never raises.

        After the connection's end the message is counted in `unsent`; `events` tells the loss, once.
        """
        if not self.alive:
            self.unsent += 1
            return
        if self._ws.transport.get_write_buffer_size() > MOST_UNSENT:
            self._stalled = True
            self.unsent += 1
            self._ws.transport.abort()
            return
        mask = os.urandom(4)
        try:
            # What `ws.send` does with a text frame, less the asynchronous context around it: half of its cost.
            self._ws.transport.write(b"".join((_head(len(data)), mask, apply_mask(data, mask))))
        except (OSError, RuntimeError):  # the transport is going; `events` is told in a moment
            self.unsent += 1
            return
        if self._tap is not None:
            self._tap("sent", data)

    async def close(self) -> None:
        """End the session. Takes a second at most, whatever the far side does; twice is fine."""
        self._closing = True
        await self._ws.close()


def _head(size: int) -> bytes:
    """The first bytes of a text message in one masked frame (RFC 6455, section 5.2)."""
    if size < 126:
        return bytes((0x81, 0x80 | size))
    if size < 65_536:
        return b"\x81\xfe" + size.to_bytes(2, "big")
    return b"\x81\xff" + size.to_bytes(8, "big")


# --- the connection ---------------------------------------------------------------------------------------------


class _Connect(connect):
    """The library follows redirects and takes the headers, the key among them, to the other host. We do not."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def _connect(url: SplitResult, headers: Mapping[str, str]) -> ClientConnection:
    return await _Connect(
        url.geturl(),
        additional_headers=headers,
        user_agent_header=f"voice-gateway/{__version__}",
        compression=None,  # base64 audio: costs time, saves nothing
        proxy=None if _is_loopback(url.hostname or "") else True,
        ssl=_tls_context() if url.scheme == "wss" else None,
        open_timeout=None,  # `open` has the one clock for everything
        ping_interval=PING_EVERY_S,
        ping_timeout=PING_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=LARGEST_MESSAGE,
        max_queue=LONGEST_QUEUE,
        write_limit=4 * MOST_UNSENT,  # so high that sending never waits; `send` has the limit that counts
        logger=_wire_log,
    )


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """One for all calls: reading the system's certificates stops the event loop for 20 to 50 ms."""
    return ssl.create_default_context()


def _with_model(url: str, model: str) -> SplitResult:
    parts = urlsplit(url.strip())
    others = [(name, value) for name, value in parse_qsl(parts.query) if name != "model"]
    return parts._replace(query=urlencode([*others, ("model", model)]))


def _is_loopback(host: str) -> bool:
    """A proxy of the environment cannot reach this machine's own loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _request_headers(api_key: str, safety_identifier: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The beta's header is not among them: the GA endpoint refuses whoever sends it."""
    wanted = {"Authorization": f"Bearer {api_key}" if api_key else "", "OpenAI-Safety-Identifier": safety_identifier}
    given = {name: value for name, value in (wanted | dict(headers)).items() if value}
    for name, value in given.items():
        if not (value.isascii() and value.isprintable()):
            raise ModelRefused("bad_header", f"The value of {name} holds a character that no HTTP header may have")
    return given
