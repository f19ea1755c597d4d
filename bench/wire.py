"""Just enough WebSocket (RFC 6455) for far sides that must cost less than what they measure.

Text messages in one frame each, as the gateway's two neighbours send them. A client's mask is zero: legal on the wire,
the receiver's work with it is the same, and the sender has none.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os

from websockets.speedups import apply_mask

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
ZERO_MASK = bytes(4)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


def frame(payload: bytes, *, opcode: int = TEXT, masked: bool = False) -> bytes:
    """One whole message. masked: as a client must send it."""
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | opcode, bit | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + size.to_bytes(8, "big")
    return head + ZERO_MASK + payload if masked else head + payload


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The whole frames at the beginning of what was received, as (opcode, payload unmasked), and the rest."""
    found: list[tuple[int, bytes]] = []
    at, end = 0, len(data)
    while end - at >= 2:
        size, body = data[at + 1] & 0x7F, at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[body : body + width], "big")
            body += width
        masked = data[at + 1] & 0x80
        start = body + 4 if masked else body
        if start + size > end:
            break
        payload = data[start : start + size]
        found.append((data[at] & 0x0F, apply_mask(payload, data[body:start]) if masked else payload))
        at = start + size
    return found, data[at:]


class Peer(asyncio.Protocol):
    """One WebSocket, client or server, after its handshake. `told` takes each text message."""

    def __init__(self) -> None:
        self.client = True
        self.upgraded: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.gone = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment] # sockets give no other kind

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        if not self.upgraded.done():
            self.upgraded.set_exception(exc or ConnectionError("closed before the upgrade"))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not self.upgraded.done():
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._rest = head
                return
            self.upgraded.set_result(head)
            self.opened(head)
        messages, self._rest = split(data)
        for opcode, payload in messages:
            if opcode == TEXT:
                self.told(payload)
            elif opcode == PING:
                self.transport.write(frame(payload, opcode=PONG, masked=self.client))
            elif opcode == CLOSE:
                self.transport.write(frame(payload[:2], opcode=CLOSE, masked=self.client))
                self.transport.close()

    def opened(self, head: bytes) -> None:
        """The HTTP head of the other side has come."""

    def told(self, payload: bytes) -> None:
        """One text message has come."""

    def tell(self, payload: bytes) -> None:
        self.transport.write(frame(payload, masked=self.client))


def upgrade_request(host: str, path: str, headers: dict[str, str]) -> bytes:
    fields = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **headers,
    }
    return "\r\n".join([f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]).encode()


def upgrade_answer(head: bytes) -> bytes:
    """What a server answers to an upgrade request."""
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    key = next(value.strip() for name, _, value in lines if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
