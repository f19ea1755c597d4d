"""uvicorn's WebSocket by picows: the request stays uvicorn's and Starlette's, and what follows the answer is picows'.

Give `CallerUpgrade` to uvicorn as `ws=`; routes and everything else of ASGI are as ever. Three things more are offered
in `scope["extensions"]`, because ASGI has no words for them: the application may drop the connection, write at once and
hear at once. A peer that has stopped reading cannot be closed politely: the close frame waits behind the full buffer,
and so does the orderly end of the transport; connection, buffer and socket would stay for as long as the peer likes.

Stock uvicorn stops and starts the socket's reading around every message, two system calls each; here reading stops when
the application is really behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from picows import (
    WSAutoPingStrategy,
    WSCloseCode,
    WSMsgType,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # its own servers only are public, and uvicorn has one
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from voice_gateway.caller.socket import DROP_EXTENSION, LISTEN_EXTENSION, WRITE_EXTENSION, Listener
from voice_gateway.wire import Ended, FaultsOnly, Wire

# How uvicorn should run the caller's sockets: `uvicorn.Config(app, **WEBSOCKET_SETTINGS)`. A message beyond 64 KiB is
# counted and survived by the dialect, one beyond this size ends the connection with 1009. Compressing µ-law costs time
# and wins nothing, and behind some proxies it breaks the stream.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024

READ_AHEAD: Final = 16
"""Messages that may wait for the application before the socket is no longer read, and TCP holds the peer back."""
_READ_BUFFER: Final = 4096  # at first; it grows with what comes. A carrier's frame has some 400 bytes


class Inbox:
    """Messages for the one reader there is: what `asyncio.Queue` does for many, at a third of the cost."""

    __slots__ = ("_arrival", "_messages")

    def __init__(self) -> None:
        self._messages: deque[Any] = deque()
        self._arrival: asyncio.Future[None] | None = None

    def put_nowait(self, message: Any) -> None:
        self._messages.append(message)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    async def get(self) -> Any:
        while not self._messages:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        return self._messages.popleft()

    def empty(self) -> bool:
        return not self._messages

    def qsize(self) -> int:
        return len(self._messages)


class CallerUpgrade(WebSocketsSansIOProtocol):
    """What uvicorn calls a WebSocket protocol. Adds three functions to `scope["extensions"]`.

    `["voice_gateway.drop"]["drop"]` aborts the transport.
    `["voice_gateway.write"]["write"]` sends a text message at once and says whether it did: not while the peer lags.
    `["voice_gateway.listen"]["listen"]` takes a `Listener`, or None: it is offered each whole text message as it
    arrives, if none waits to be received; what it refuses is queued.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue: Inbox = Inbox()  # type: ignore[assignment]  # it has what is used of a queue here
        self._wire: Wire | None = None  # once the upgrade was accepted
        self._listener: Listener | None = None
        self._early = b""

    # --- the request ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """The request is given here by uvicorn, and what a hasty client says before the answer."""
        if not self.handshake_initiated:
            super().data_received(data)
            return
        self._early += data
        self.transport.pause_reading()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # not there when the handshake was refused
        if scope is not None:
            scope["extensions"][DROP_EXTENSION] = {"drop": self._drop}
            scope["extensions"][LISTEN_EXTENSION] = {"listen": self._listen}
            scope["extensions"][WRITE_EXTENSION] = {"write": self._write}

    async def send(self, message: Any) -> None:
        """ASGI's `send`."""
        kind = message["type"]
        if self._wire is not None:
            await self._send_on(self._wire, kind, message)
        elif kind == "websocket.accept" and not self.handshake_complete and self.initial_response is None:
            if self.disconnected or self.transport.is_closing():
                raise ClientDisconnected
            self._accept(message)
        else:
            await super().send(message)

    def _accept(self, message: Any) -> None:
        """Let picows answer the request and take the transport over. It is told what it needs of the request."""
        headers = [*self.default_headers, *message.get("headers", [])]
        answer = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        if message.get("subprotocol"):
            answer.append(("Sec-WebSocket-Protocol", message["subprotocol"]))
        wire = Wire(
            self.config.ws_max_size,
            self._hear,
            self._end,
            on_flow=self._flow,
            on_gone=self._gone,
        )

        def listen(_request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(answer), wire)

        protocol = self._protocol(listen)
        self.handshake_complete = True
        self._wire = wire
        self.transport.pause_reading()  # a transport of uvloop looks at its protocol's kind when it begins to read
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        request = f"Sec-WebSocket-Key: {self.request.headers['Sec-WebSocket-Key']}\r\n\r\n"
        _feed(protocol, _REQUEST + request.encode() + self._early)
        self._early = b""
        self.transport.resume_reading()

    def _protocol(self, listen: Any) -> Any:
        interval, patience = self.ping_interval, self.ping_timeout
        return WSProtocol(
            None,  # host and
            None,  # path of the server, for clients
            False,  # noqa: FBT003 - whether it is a client; the library takes places, not names
            listen,
            FaultsOnly(),
            True,  # noqa: FBT003 - ends the connection after an exception of ours
            None,  # seconds to wait for the request, which is here
            bool(interval),
            interval,
            min(interval, patience) if interval and patience else interval,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # noqa: FBT003 - answers pings
            self.config.ws_max_size,
            None,  # headers, for clients
            _READ_BUFFER,
        )

    # --- afterwards -------------------------------------------------------------------------------------------------

    async def _send_on(self, wire: Wire, kind: str, message: Any) -> None:
        await self.writable.wait()
        if self.disconnected:
            raise ClientDisconnected
        if self.close_sent or kind not in {"websocket.send", "websocket.close"}:
            raise RuntimeError(f"Unexpected ASGI message '{kind}' on an open or closing WebSocket.")
        if kind == "websocket.close":
            self._close(wire, message.get("code", 1000), message.get("reason") or "")
        elif message.get("text") is not None:
            wire.transport.send(WSMsgType.TEXT, message["text"])
        else:
            wire.transport.send(WSMsgType.BINARY, message["bytes"])

    def _close(self, wire: Wire, code: int, reason: str) -> None:
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        wire.close(code, reason)
        self._read_on()  # for the peer's answer; nothing else is heard of it any more
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)

    def shutdown(self) -> None:
        """The server ends."""
        if self._wire is None:
            super().shutdown()
            return
        if not self.close_sent:
            self._close(self._wire, int(WSCloseCode.SERVICE_RESTART.value), "")
        self.transport.close()

    def _drop(self) -> None:
        self.transport.abort()

    def _listen(self, listener: Listener | None) -> None:
        self._listener = listener

    def _write(self, text: str) -> bool:
        if self._wire is None or self.close_sent or self.disconnected or not self.writable.is_set():
            return False
        self._wire.transport.send(WSMsgType.TEXT, text)
        return True

    def _hear(self, payload: bytes, is_text: bool) -> None:  # noqa: FBT001 - the wire's shape
        if not is_text:
            self.queue.put_nowait({"type": "websocket.receive", "bytes": payload})
        else:
            text = self._decode(payload)
            if self._listener is not None and self.queue.empty() and self._listener(text):
                return
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
        if not self.read_paused and self.queue.qsize() >= READ_AHEAD:
            self.read_paused = True
            self.transport.pause_reading()

    def _decode(self, payload: bytes) -> str:
        try:
            return payload.decode()
        except UnicodeDecodeError:
            assert self._wire is not None  # noqa: S101 - nobody else has read this
            self._wire.fail(WSCloseCode.INVALID_TEXT, "text must be UTF-8")

    def _read_on(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()

    def _end(self, ended: Ended) -> None:
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": ended.code, "reason": ended.reason})

    def _gone(self) -> None:
        self._wire = None
        self.connection_lost(None)

    def _flow(self, free: bool) -> None:  # noqa: FBT001 - the wire's shape
        if free:
            self.resume_writing()
        else:
            self.pause_writing()


# As much of a request as picows asks for. The real one was read by uvicorn; its `Connection` may name more.
_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nHost: -\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
)


def _feed(protocol: Any, data: bytes) -> None:
    """Give a protocol of asyncio's buffered kind what was read before it was there."""
    while data:
        buffer = protocol.get_buffer(len(data))
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]


WEBSOCKET_SETTINGS: dict[str, Any] = {
    "ws": CallerUpgrade,
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}
