"""What a foreign server sends, before the package reads it: no faster than calls can bear, and each tool by itself.

All of it is read on the loop that carries the calls. A server that talks without end is read so slowly that its pipe
or its connection fills; of a list of tools the first ones are kept, and one that is none costs no other.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import anyio
from mcp.shared._stream_protocols import ReadStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse
from mcp_types import Tool as ForeignTool
from pydantic import ValidationError

MOST_LISTED: Final = 1000
"""Tools of one page that are looked at."""

PER_S: Final = 4_000_000
BURST: Final = 4 * PER_S
LINE: Final = 16_000
"""In bytes: 250 lines, or 4 MB, a second; and at once four times as much. A line costs some 0.2 ms of the loop."""


class Allowance:
    """How much may be read of a server. `floods`: it has sent more."""

    def __init__(self, per_s: float = PER_S, burst: float = BURST) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at: float | None = None
        self.floods = False

    async def take(self, much: float) -> None:
        """Wait until so much may have been read."""
        now = anyio.current_time()
        since = 0.0 if self._at is None else now - self._at
        self._at, self._left = now, min(self._burst, self._left + since * self._per_s) - much
        if self._left < 0:
            self.floods = True
            await anyio.sleep(-self._left / self._per_s)


class Sieve:
    """The messages of a transport; itself a stream to read from. `refused`: what stood in lists and is no tool."""

    def __init__(self, inner: ReadStream[SessionMessage | Exception]) -> None:
        self.refused: dict[str, str] = {}
        self.unread = 0
        """Tools that no page had room for."""
        self._inner = inner
        self._allowance = Allowance()

    @property
    def last_context(self) -> Any:
        """In which the message last read was sent, where the transport knows."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        message = await self._inner.receive()
        await self._allowance.take(LINE)
        if isinstance(message, SessionMessage) and isinstance(message.message, JSONRPCResponse):
            self._sift(message.message.result)
        return message

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def forget(self) -> None:
        """A new list is about to be read."""
        self.refused, self.unread = {}, 0

    def _sift(self, result: dict[str, Any]) -> None:
        tools = result.get("tools")
        if not isinstance(tools, list):
            return
        self.unread += max(0, len(tools) - MOST_LISTED)
        result["tools"] = [each for each in tools[:MOST_LISTED] if self._is_tool(each)]

    def _is_tool(self, given: Any) -> bool:
        try:
            ForeignTool.model_validate(given, by_name=False)
        except ValidationError as error:
            name = given.get("name") if isinstance(given, dict) else None
            wrong = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part)[:40] for part in wrong["loc"][:4])
            self.refused[name if isinstance(name, str) else "?"] = f"it is no tool of MCP: {where}: {wrong['msg']}"
            return False
        return True
