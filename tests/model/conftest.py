"""A tiny Realtime server on a loopback port: as much of the far side as one test says, and no more."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from voice_gateway.model.settings import ModelSettings

Handler = Callable[[ServerConnection], Awaitable[None]]


class FarSide:
    """Serves one handler at a time. `updates` holds the sessions that clients asked for."""

    def __init__(self) -> None:
        self.updates: list[dict[str, Any]] = []
        self.servers: list[Server] = []

    async def serve(self, handler: Handler, **options: Any) -> str:
        """Return the URL at which handler answers."""

        async def survive(ws: ServerConnection) -> None:
            try:
                await handler(ws)
            except ConnectionClosed:
                return

        server = await serve(survive, "127.0.0.1", 0, compression=None, ping_interval=None, **options)
        self.servers.append(server)
        return f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"

    async def say(self, ws: ServerConnection, type_: str, **fields: Any) -> None:
        await ws.send(json.dumps({"type": type_, "event_id": "event_1", **fields}))

    async def configure(self, ws: ServerConnection, **echo: Any) -> None:
        """Do what the service does at first, down to `session.updated`; echo replaces fields of the session."""
        session = {"id": "sess_1", "type": "realtime", "model": "gpt-realtime-2.1"}
        await self.say(ws, "session.created", session=session)
        update = json.loads(await ws.recv())
        assert update["type"] == "session.update"
        self.updates.append(update)
        await self.say(ws, "session.updated", session=session | update["session"] | echo)

    async def error(self, ws: ServerConnection, code: str, message: str = "No.", **fields: Any) -> None:
        await self.say(ws, "error", error={"type": "x", "code": code, "message": message, "param": None, **fields})

    async def stay(self, ws: ServerConnection) -> None:
        """Until the client goes."""
        await ws.wait_closed()

    async def ready(self, ws: ServerConnection) -> None:
        await self.configure(ws)
        await self.stay(ws)

    async def close(self) -> None:
        for server in self.servers:
            server.close()
        await asyncio.gather(*(server.wait_closed() for server in self.servers))


@pytest.fixture
async def far_side() -> AsyncIterator[FarSide]:
    side = FarSide()
    yield side
    await side.close()


@pytest.fixture
def settings() -> ModelSettings:
    tool = {
        "type": "function",
        "name": "look_up_menu",
        "description": "Find dishes.",
        "parameters": {"type": "object", "properties": {"dish": {"type": "string"}}},
    }
    return ModelSettings(instructions="You take orders.", tools=(tool,))
