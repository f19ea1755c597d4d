"""What the carrier says, as the caller room's tests need it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvicorn

from voice_gateway.caller.upgrade import WEBSOCKET_SETTINGS

STREAM_SID, CALL_SID, ACCOUNT_SID = "MZ" + "1" * 32, "CA" + "2" * 32, "AC" + "3" * 32


class Carrier:
    """Writes messages as the carrier does, counting them; a test may change any field."""

    stream_sid, call_sid, account_sid = STREAM_SID, CALL_SID, ACCOUNT_SID

    def __init__(self) -> None:
        self.sent = 0

    def connected(self, **changes: Any) -> str:
        return json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"} | changes)

    def start(self, **changes: Any) -> str:
        start = {
            "accountSid": ACCOUNT_SID,
            "streamSid": STREAM_SID,
            "callSid": CALL_SID,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "t0p-secret", "from": "+15550001111"},
        }
        return self._numbered("start", {"start": start | changes})

    def media(self, ulaw: bytes = b"\x7f" * 160, timestamp_ms: int = 5, **changes: Any) -> str:
        media = {
            "track": "inbound",
            "chunk": "1",
            "timestamp": str(timestamp_ms),
            "payload": b64encode(ulaw).decode(),
        }
        return self._numbered("media", {"media": media | changes})

    def dtmf(self, digit: Any = "1") -> str:
        return self._numbered("dtmf", {"dtmf": {"track": "inbound_track", "digit": digit}})

    def mark(self, name: Any = "g1:m1") -> str:
        return self._numbered("mark", {"mark": {"name": name}})

    def stop(self) -> str:
        return self._numbered("stop", {"stop": {"accountSid": ACCOUNT_SID, "callSid": CALL_SID}})

    def _numbered(self, event: str, fields: dict[str, Any]) -> str:
        self.sent += 1
        return json.dumps({"event": event, "sequenceNumber": str(self.sent), "streamSid": STREAM_SID} | fields)


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


Serve = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def serve() -> Serve:
    """A server on loopback for any ASGI application; entering gives the port. Settings are uvicorn's."""
    return _serve


@asynccontextmanager
async def _serve(app: Any, **settings: Any) -> AsyncIterator[int]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=2,
        **(WEBSOCKET_SETTINGS | settings),
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()
        assert not server.server_state.connections
