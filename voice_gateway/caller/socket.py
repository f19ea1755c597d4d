"""The caller leg's socket: a thin shell over one ASGI WebSocket. It moves messages and knows nothing of their meaning.

A message leaves at once by `write`, as long as the peer reads; `send` waits until it does.

Three things go wrong with a carrier's socket, and each has its limit here: `start` never comes (closed with 1008), the
peer is gone (every later call does nothing, `read` gives None), and the peer stops reading. Then `send` waits, which
holds back whoever sends and keeps the write buffer small; when it has waited for `stall_limit_s` the connection is
dropped without ceremony, for a close frame would wait behind the same full buffer.

Dropping needs the transport, which ASGI does not show; `upgrade.CallerUpgrade` lends it through the scope, and so it
does with writing and hearing at once. On a server without it a stalled peer is held until TCP gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal, Self, TypeAlias

from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_gateway.caller.media_stream import MediaStreamDialect, StreamRefused, StreamStarted

DROP_EXTENSION = "voice_gateway.drop"
LISTEN_EXTENSION = "voice_gateway.listen"
WRITE_EXTENSION = "voice_gateway.write"
UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
_CLOSE_WAIT_S = 1.0  # for the close frame to get into the buffer
Listener: TypeAlias = Callable[[str], bool]
"""Offered each text message as it arrives; says whether it took it. Must be quick and must not raise."""

# What a send raises when nobody is there: ASGI 2.4 an OSError, Starlette its own; a RuntimeError after a close.
_GONE = (OSError, WebSocketDisconnect, RuntimeError)


class StreamNeverStarted(Exception):  # noqa: N818  # says what did not happen
    """No usable `start` came; the socket is closed. reason: `timeout`, `gone` or `unusable`, to count by."""

    def __init__(self, reason: Literal["timeout", "gone", "unusable"], sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class CallerSocket:
    """One caller's WebSocket, from the upgrade request to the end.

    start_timeout_s: for `start` to come. stall_limit_s: for one send to wait. close_grace_s: for the peer to answer a
    close. blocked_since: loop time since when a send has been waiting, None when none is.
    close_code: the peer's, once it is gone (1005 without one, 1006 when the connection broke).
    stalled: True when we dropped it because it had stopped reading.
    """

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        start_timeout_s: float = 3.0,
        stall_limit_s: float = 5.0,
        close_grace_s: float = 5.0,
    ) -> None:
        self._receive = receive
        self._send = send
        self._start_timeout_s = start_timeout_s
        self._stall_limit_s = stall_limit_s
        self._close_grace_s = close_grace_s
        lent = scope.get("extensions", {})
        self._drop: Callable[[], None] | None = lent.get(DROP_EXTENSION, {}).get("drop")
        self._listen: Callable[[Listener | None], None] | None = lent.get(LISTEN_EXTENSION, {}).get("listen")
        self._write: Callable[[str], bool] | None = lent.get(WRITE_EXTENSION, {}).get("write")
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.TimerHandle | None = None
        self._asked = False  # whether the ASGI `websocket.connect` was taken
        self._gone = False
        self._sending = 0
        self.blocked_since: float | None = None
        self.close_code: int | None = None
        self.stalled = False

    @classmethod
    def over(cls, websocket: WebSocket, **limits: float) -> Self:
        """The same, from Starlette's object, as a route's function is given it."""
        return cls(websocket.scope, websocket.receive, websocket.send, **limits)

    async def accept(self) -> None:
        """Let the upgrade happen. From now on the socket must be ended by `close`."""
        if await self._take_request():
            await self._tell({"type": "websocket.accept"})
            self._watch = self._loop.call_later(self._stall_limit_s / 4, self._look)

    async def reject(self) -> None:
        """Answer the upgrade request with HTTP 403."""
        if await self._take_request():
            await self._tell({"type": "websocket.close", "code": POLICY_VIOLATION})
        self._gone = True

    async def start(self, dialect: MediaStreamDialect) -> StreamStarted:
        """Read until the stream has begun. Otherwise close the socket and raise StreamNeverStarted."""
        try:
            async with asyncio.timeout(self._start_timeout_s):
                event = await self._first_event(dialect)
        except TimeoutError:
            await self.close(POLICY_VIOLATION, "no start message")
            raise StreamNeverStarted("timeout", f"no start message within {self._start_timeout_s:g} s") from None
        if isinstance(event, StreamStarted):
            return event
        if event is None:
            await self.close()
            raise StreamNeverStarted("gone", "the socket was closed before a start message")
        await self.close(UNSUPPORTED_DATA, "unusable media format")
        raise StreamNeverStarted("unusable", event.reason)

    async def read(self) -> str | bytes | None:
        """The next message; text is str and binary is bytes. None when the peer is gone, and ever after."""
        if self._gone:
            return None
        message = await self._receive()
        text: str | None = message.get("text")
        if text is not None:
            return text
        if message["type"] == "websocket.receive":
            return message.get("bytes") or b""
        self._gone = True
        self.close_code = message.get("code", 1005)
        return None

    def listen(self, listener: Listener | None) -> None:
        """Have messages as they arrive, without waiting for a `read`; None ends it.

        What the listener refuses is read in its turn, and so is everything on a server that cannot lend an ear.
        """
        if self._listen is not None:
            self._listen(listener)

    def write(self, text: str) -> bool:
        """Hand over one text message at once. False when only `send` can: the peer does not read, or the server waits.

        Does nothing when the peer is gone.
        """
        return self._gone or (self._write is not None and self._write(text))

    async def send(self, text: str) -> None:
        """Hand over one text message; waits while the peer does not read. Does nothing when it is gone."""
        if self._gone:
            return
        if not self._sending:
            self.blocked_since = self._loop.time()
        self._sending += 1
        try:
            await self._send({"type": "websocket.send", "text": text})
        except _GONE:
            self._gone = True
        finally:
            self._sending -= 1
            # Others may still wait, but the peer has read something: their time starts anew.
            self.blocked_since = self._loop.time() if self._sending else None

    def drop(self) -> None:
        """Let the connection go without ceremony, where the server can. `read` then tells that the peer is gone."""
        self._drop_now()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End the socket, once. Never waits long, and leaves no connection behind if the peer does not answer."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self._loop.call_later(self._close_grace_s, self._drop_now)
        if self._gone:
            return
        self._gone = True
        try:
            async with asyncio.timeout(_CLOSE_WAIT_S):
                await self._tell({"type": "websocket.close", "code": code, "reason": reason})
        except TimeoutError:
            self._drop_now()

    async def _first_event(self, dialect: MediaStreamDialect) -> StreamStarted | StreamRefused | None:
        while (message := await self.read()) is not None:
            event = dialect.read(message)
            if isinstance(event, StreamStarted | StreamRefused):
                return event
        return None

    async def _take_request(self) -> bool:
        if not self._asked and not self._gone:
            self._asked = True
            message = await self._receive()
            self._gone = message["type"] != "websocket.connect"
        return not self._gone

    async def _tell(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except _GONE:
            self._gone = True

    def _look(self) -> None:
        """Has a send waited for too long? One timer for the socket's life costs less than one for each send."""
        if self._gone:
            return
        if self.blocked_since is not None and self._loop.time() - self.blocked_since >= self._stall_limit_s:
            self.stalled = True
            self._drop_now()
            return
        self._watch = self._loop.call_later(self._stall_limit_s / 4, self._look)

    def _drop_now(self) -> None:
        if self._drop is not None:
            self._drop()
