"""The doors that MCP opens in a gateway: standard MCP at `/mcp`, and the small protocol on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import BaseRoute, Route

from voice_gateway.mcp.guard import Guard
from voice_gateway.mcp.offer import Offer
from voice_gateway.mcp.small import PATH, SmallDoor
from voice_gateway.mcp.standard import HttpDoor


class Doors:
    def __init__(self, offer: Offer, guard: Guard, *, version: str, ws_host: str, ws_port: int) -> None:
        """ws_port: of the small protocol; 0 leaves it closed."""
        self._http = HttpDoor(offer, guard, version)
        self.small = SmallDoor(offer, guard, ws_host, ws_port) if ws_port else None

    def routes(self) -> list[BaseRoute]:
        return [Route(PATH, self._http)]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Both are open in here. A door that cannot be opened is told in the log."""
        async with self._http.open():
            if self.small is not None:
                await self.small.open()
            try:
                yield
            finally:
                if self.small is not None:
                    await self.small.close()
