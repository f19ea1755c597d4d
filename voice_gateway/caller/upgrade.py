"""uvicorn's WebSocket with one thing more: the application may drop the connection at once.

ASGI has no word for that. A peer that has stopped reading cannot be closed politely, because the close frame waits
behind the full buffer, and so does the orderly end of the transport: connection, buffer and socket would stay for as
long as the peer likes. Give this class to uvicorn as `ws=`.
"""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from voice_gateway.caller.socket import DROP_EXTENSION


class DroppableWebSocket(WebSocketsSansIOProtocol):
    """Adds `scope["extensions"]["voice_gateway.drop"]["drop"]`, a function that aborts the transport."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # not there when the handshake was refused
        if scope is not None:
            scope["extensions"][DROP_EXTENSION] = {"drop": self._drop}

    def _drop(self) -> None:
        self.transport.abort()
