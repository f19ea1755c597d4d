"""uvicorn's WebSocket with one thing more: the application may drop the connection at once.

ASGI has no word for that. A peer that has stopped reading cannot be closed politely, because the close frame waits
behind the full buffer, and so does the orderly end of the transport: connection, buffer and socket would stay for as
long as the peer likes. Give this class to uvicorn as `ws=`.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from voice_gateway.caller.socket import DROP_EXTENSION

# How uvicorn should run the caller's sockets: `uvicorn.Config(app, **WEBSOCKET_SETTINGS)`. A message beyond 64 KiB is
# counted and survived by the dialect, one beyond this size ends the connection with 1009. Compressing µ-law costs time
# and wins nothing, and behind some proxies it breaks the stream.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024


class DroppableWebSocket(WebSocketsSansIOProtocol):
    """Adds `scope["extensions"]["voice_gateway.drop"]["drop"]`, a function that aborts the transport."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # not there when the handshake was refused
        if scope is not None:
            scope["extensions"][DROP_EXTENSION] = {"drop": self._drop}

    def _drop(self) -> None:
        self.transport.abort()


WEBSOCKET_SETTINGS: dict[str, Any] = {
    "ws": DroppableWebSocket,
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}
