"""uvicorn's WebSocket with two things more: the application may drop the connection at once, and hear at once.

ASGI has no word for dropping. A peer that has stopped reading cannot be closed politely, because the close frame waits
behind the full buffer, and so does the orderly end of the transport: connection, buffer and socket would stay for as
long as the peer likes. Give this class to uvicorn as `ws=`.

What a carrier sends fifty times a second for each call is one masked text message in one frame (RFC 6455, section 5.2).
That frame is read right here; the library's parser, a chain of generators, gets everything else, and always in whole
frames, so that it never stands within one. Who lends an ear gets the text right there, in the step of the event loop
that read it: no queue, no other task. Stock uvicorn also stops and starts the socket's reading around every message,
two system calls each; here reading stops when the application is really behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import apply_mask  # type: ignore[attr-defined]  # there the library chose the compiled one
from websockets.http11 import Request
from websockets.protocol import State

from voice_gateway.caller.socket import DROP_EXTENSION, LISTEN_EXTENSION, WRITE_EXTENSION, Listener

# How uvicorn should run the caller's sockets: `uvicorn.Config(app, **WEBSOCKET_SETTINGS)`. A message beyond 64 KiB is
# counted and survived by the dialect, one beyond this size ends the connection with 1009. Compressing µ-law costs time
# and wins nothing, and behind some proxies it breaks the stream.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024

READ_AHEAD: Final = 16
"""Messages that may wait for the application before the socket is no longer read, and TCP holds the peer back."""
_LARGEST_FRAME: Final = 128 * 1024  # kept here until it is whole; a larger one is the library's, and all after it
_WHOLE_TEXT, _FINAL, _CONTROL, _MASKED = 0x81, 0x80, 0x08, 0x80


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
    """Adds three functions to `scope["extensions"]`.

    `["voice_gateway.drop"]["drop"]` aborts the transport.
    `["voice_gateway.write"]["write"]` sends a text message at once and says whether it did: not while the peer lags.
    `["voice_gateway.listen"]["listen"]` takes a `Listener`, or None: it is offered each whole text message as it
    arrives, if none waits to be received; what it refuses is queued.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.queue: Inbox = Inbox()  # type: ignore[assignment]  # it has what is used of a queue here
        self._listener: Listener | None = None
        self._rest = b""
        self._in_fragments = False
        self._library_only = False

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # not there when the handshake was refused
        if scope is not None:
            scope["extensions"][DROP_EXTENSION] = {"drop": self._drop}
            scope["extensions"][LISTEN_EXTENSION] = {"listen": self._listen}
            scope["extensions"][WRITE_EXTENSION] = {"write": self._write}

    def _drop(self) -> None:
        self.transport.abort()

    def _write(self, text: str) -> bool:
        if not self.writable.is_set() or self.close_sent or self.disconnected:
            return False
        self.conn.send_text(text.encode())
        self.transport.write(b"".join(self.conn.data_to_send()))
        return True

    def _listen(self, listener: Listener | None) -> None:
        self._listener = listener

    # --- reading ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """The first piece is the upgrade request. A client that speaks before its answer stays with the library."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        if self._library_only or self.conn.state is not State.OPEN:
            self._library_only = self.handshake_initiated
            super().data_received(data)
            return
        at = 0
        while (span := _span(data, at)) is not None:
            body, stop = span
            if stop - at > _LARGEST_FRAME or self.conn.state is not State.OPEN:
                self._library_only = True
                super().data_received(data[at:])
                return
            if stop > len(data):
                break
            self._read_frame(data, at, body, stop)
            at = stop
        self._rest = data[at:]

    def _read_frame(self, data: bytes, at: int, body: int, stop: int) -> None:
        first = data[at]
        if first == _WHOLE_TEXT and data[at + 1] & _MASKED and not self._in_fragments:
            self.curr_msg_data_type = "text"
            self.frames = [apply_mask(data[body:stop], data[body - 4 : body])]
            self.send_receive_event_to_app()
            return
        if not first & _CONTROL:
            self._in_fragments = not first & _FINAL
        super().data_received(data[at:stop])

    def send_receive_event_to_app(self) -> None:
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "bytes":
            self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        else:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                self.conn.send_close(1007)
                self.handle_parser_exception()
                return
            if self._listener is not None and self.queue.empty() and self._listener(text):
                return
            self.queue.put_nowait({"type": "websocket.receive", "text": text})
        if not self.read_paused and self.queue.qsize() >= READ_AHEAD:
            self.read_paused = True
            self.transport.pause_reading()


def _span(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at this place begins and ends; None while its header is incomplete."""
    if len(data) - at < 2:
        return None
    size, body = data[at + 1] & 0x7F, at + 2
    if size > 125:
        body += 2 if size == 126 else 8
        size = int.from_bytes(data[at + 2 : body], "big")
    if data[at + 1] & _MASKED:
        body += 4
    return None if body > len(data) else (body, body + size)


WEBSOCKET_SETTINGS: dict[str, Any] = {
    "ws": CallerUpgrade,
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}
