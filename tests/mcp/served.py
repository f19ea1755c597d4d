"""A gateway with its doors of MCP open, behind a real server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from voice_gateway import app, config

TOKEN = "k9-a-long-random-token"
AUTHORIZATION = f"Bearer {TOKEN}"


@dataclass
class Served:
    """url: of the gateway. ws: of the small protocol."""

    gateway: app.Gateway
    url: str

    @property
    def ws(self) -> str:
        assert self.gateway.mcp is not None
        assert self.gateway.mcp.small is not None
        return f"ws://127.0.0.1:{self.gateway.mcp.small.port}/mcp"


Serve = Callable[..., Awaitable[Served]]


@asynccontextmanager
async def serving(tmp_path: Path, **settings: str) -> AsyncIterator[Served]:
    environment = {
        "OPENAI_API_KEY": "any", "TWILIO_AUTH_TOKEN": "0" * 32, "PUBLIC_BASE_URL": "https://calls.example",
        "STORE_PATH": str(tmp_path / "store.db"), "MCP_TOKEN": TOKEN, **settings,
    }  # fmt: skip
    gateway = app.build(config.load(environment, None))
    if gateway.mcp is not None and gateway.mcp.small is not None and "MCP_WS_PORT" not in settings:
        gateway.mcp.small._port = 0
    server = uvicorn.Server(uvicorn.Config(gateway.asgi, port=0, log_config=None, ws="none"))
    serve = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serve.done()
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Served(gateway, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        await serve


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:
        yield lambda **settings: stack.enter_async_context(serving(tmp_path, **settings))


@asynccontextmanager
async def client(url: str, mode: str = "auto", **headers: str) -> AsyncIterator[Client]:
    """The official client."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": AUTHORIZATION, **headers}) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as each,
    ):
        yield each


def text(result: Any) -> str:
    (content,) = result.content
    return str(content.text)
