"""Server-sent events: an answer that is told while it arises (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

import orjson
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

MEDIA_TYPE: Final = "text/event-stream"
ALIVE_EVERY_S: Final = 15.0
"""A comment goes out after so long a silence, so that no proxy takes the connection for dead."""


def event(name: str, data: Any) -> bytes:
    """One event. data: becomes JSON, which holds no line break."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


class EventStream(StreamingResponse):
    """Events as they come. Whoever leaves ends the generator, and with it what it waits for."""

    def __init__(self, events: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        self._events = events
        self._coming: asyncio.Task[bytes] | None = None
        fresh = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(self._kept_alive(), headers={**fresh, **headers}, media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._coming is not None:
                self._coming.cancel()
                await asyncio.wait({self._coming})
            await self._events.aclose()

    async def _kept_alive(self) -> AsyncGenerator[bytes, None]:
        """The events, and a comment wherever nothing comes for long."""
        while True:
            self._coming = self._coming or asyncio.ensure_future(_next(self._events))
            done, _ = await asyncio.wait({self._coming}, timeout=ALIVE_EVERY_S)
            if not done:
                yield b": still here\n\n"
                continue
            told, self._coming = self._coming.result(), None
            if not told:
                return
            yield told


async def _next(events: AsyncGenerator[bytes, None]) -> bytes:
    """Empty at the end."""
    return await anext(events, b"")
