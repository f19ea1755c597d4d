"""The server's own life: from the first connection to the last word of the last call."""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType

import uvicorn

from voice_gateway.ops import logs
from voice_gateway.switchboard import Switchboard

LAST_QUESTIONS_S = 2.0
LAST_ANSWERS_S = 5.0
"""When the calls have ended: so long for whoever is still being answered, in writing or over MCP. A client that takes
nothing, or sends half a request, would hold the process for ever, and with it what the record has not written yet."""


class Server(uvicorn.Server):
    """uvicorn that lets live calls end: the first signal starts the drain, the second one stops at once.

    Stock uvicorn cuts every WebSocket as soon as it is asked to stop.
    """

    def __init__(self, config: uvicorn.Config, switchboard: Switchboard, drain_s: float) -> None:
        super().__init__(config)
        self._switchboard = switchboard
        self._drain_s = drain_s
        self.last_answers_s = LAST_ANSWERS_S
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal. This runs between two lines of anything, a log line half written among them: ask the loop."""
        idle = sig == signal.SIGINT and self._switchboard.live == 0
        if self._draining is not None:
            self.last_answers_s = 0.0  # not uvicorn's force_exit: that would not close the store
        if self._loop is None or self._draining is not None or idle:
            super().handle_exit(sig, frame)
            return
        self._switchboard.start_drain()
        self._loop.call_soon_threadsafe(self._drain, self._loop)

    def _drain(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._draining is None:
            calls = self._switchboard.live
            logs.get("app").info("gateway.draining", calls=calls, deadline_seconds=self._drain_s)
            self._draining = loop.create_task(self._wait_for_calls())

    async def _wait_for_calls(self) -> None:
        if not await self._switchboard.drained(self._drain_s):
            # The carrier now asks what comes next for the calls just ended; silence would be an error to the caller.
            await asyncio.sleep(LAST_QUESTIONS_S)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        cutting = asyncio.get_running_loop().call_later(self.last_answers_s, self._cut)
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    def _cut(self) -> None:
        """Nobody waits for these connections any longer; each door is told that its client has left."""
        logs.get("app").warning("gateway.connections_cut", connections=len(self.server_state.connections))
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            logs.get("app").info("gateway.listening", url=f"http://{host}:{port}")
