"""One foreign server, for as long as the gateway lives: reached, listed, watched, and reached again when it was lost.

All of it happens in one task beside the calls. A call's tool finds the connection as it is: while there is none, the
model is told so at once; an answer that does not come is left to the tool's own time limit. After a call that timed
out, and every minute, the server is asked for its list; one that does not answer is taken for lost and reached anew.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from typing import Any, Final, Literal

import anyio
import anyio.lowlevel
import httpx2
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    CONNECTION_CLOSED,
    PARSE_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    ListToolsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    ToolListChangedNotification,
)
from mcp_types import Tool as ForeignTool
from pydantic import ValidationError

from voice_gateway import __version__
from voice_gateway.agent.tools import Tool, ToolContext, ToolFailed
from voice_gateway.mcp import reading
from voice_gateway.mcp.process import process_transport
from voice_gateway.mcp.reach import http_client
from voice_gateway.mcp.servers import Server
from voice_gateway.mcp.sieve import MOST_LISTED, Sieve
from voice_gateway.ops import logs

MOST_TOOLS: Final = 64
"""Of one server: more would crowd a model, which takes 128 in all."""

MOST_PAGES: Final = 20
KEY: Final = "voice-gateway/idempotency-key"
State = Literal["starting", "up", "down"]


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds. connect: until a server has answered and is listed. look: between two looks at a quiet one.

    least_look: between two looks at one that tells of changes without end.
    """

    connect_s: float = 15.0
    look_s: float = 60.0
    least_look_s: float = 1.0
    first_retry_s: float = 1.0
    longest_retry_s: float = 60.0


class Connection:
    """One server. `tools`: those there are now, none while it is away; `originals`: as the server calls them.

    `reason`: why it is away. `refused`: why a tool of it cannot be used. `unused`: what `allow` does not name.
    """

    def __init__(
        self,
        server: Server,
        *,
        taken: Callable[[str], str],
        count: Callable[[str, str], None],
        pace: Pace,
    ) -> None:
        """taken: who has a tool's name already, empty for nobody. count: told (server, outcome) of every call."""
        self.server = server
        self.state: State = "starting"
        self.reason = ""
        self.refused: dict[str, str] = {}
        self.unused: tuple[str, ...] = ()
        self.tools: dict[str, Tool] = {}
        self.originals: dict[str, str] = {}
        self._taken = taken
        self._count = count
        self._pace = pace
        self._client: Client | None = None
        self._sieve: Sieve | None = None
        self._stir = anyio.Event()
        self._lost = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._ending = asyncio.Event()
        self._idle: list[str] = []
        self._unread = False
        self._log = logs.get("mcp.connection")

    def tell(self) -> dict[str, Any]:
        """How it stands, for anybody: why, the log says."""
        return {"state": self.state, "tools": len(self.tools), "refused": len(self.refused)}

    # --- its life -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `end`."""
        delay = self._pace.first_retry_s
        while not self._ending.is_set():
            began_at = time.monotonic()
            with anyio.CancelScope() as self._scope:
                try:
                    await self._lead()
                except Exception as error:  # noqa: BLE001 - whatever a foreign server does ends here; it is told and tried again
                    self._away(_reason(error))
            if self._ending.is_set():
                break
            if time.monotonic() - began_at > self._pace.longest_retry_s:
                delay = self._pace.first_retry_s
            try:
                await asyncio.wait_for(self._ending.wait(), delay)
            except TimeoutError:
                delay = min(delay * 2, self._pace.longest_retry_s)
        self._client, self.tools, self.state = None, {}, "down"

    def end(self) -> None:
        """Let go of the server; `run` comes to its end when it is gone."""
        self._ending.set()
        if self._scope is not None:
            self._scope.cancel()

    async def _lead(self) -> None:
        """One connection, from the first word to the last. Raises when it is lost."""
        self._lost, self._stir = anyio.Event(), anyio.Event()
        try:
            async with anyio.create_task_group() as tasks:
                async with self._reach(tasks) as client:
                    self._client = client
                    self.state, self.reason = "up", ""
                    self._log.info("mcp.server_up", server=self.server.name, tools=len(self.tools))
                    while not self._lost.is_set():
                        with anyio.move_on_after(self._pace.least_look_s):
                            await self._lost.wait()
                        with anyio.move_on_after(self._pace.look_s):
                            await self._stir.wait()
                        self._stir = anyio.Event()
                        if not self._lost.is_set():
                            with anyio.fail_after(self._pace.connect_s):
                                await self._list(client)
                tasks.cancel_scope.cancel()
        finally:
            self._client = None
        raise ConnectionError("it ended the connection")

    @asynccontextmanager
    async def _reach(self, tasks: anyio.abc.TaskGroup) -> AsyncIterator[Client]:
        with anyio.CancelScope() as patience:
            patience.deadline = anyio.current_time() + self._pace.connect_s
            async with self._transport() as transport, self._client_of(transport) as client:
                await self._list(client)
                patience.deadline = float("inf")
                capability = client.server_capabilities.tools
                if capability is not None and capability.list_changed and client.protocol_version >= "2026":
                    tasks.start_soon(self._hear_changes, client)
                tasks.start_soon(self._hear_loss)
                yield client
        if patience.cancelled_caught:
            raise TimeoutError(f"it did not answer within {self._pace.connect_s:g} s")

    @asynccontextmanager
    async def _transport(self) -> AsyncIterator[Any]:
        """A context manager that gives the two streams, as `Client` wants it."""
        if self.server.command:
            yield self._sieved(process_transport(self.server, self._lost))
        else:
            async with http_client(self.server) as http:
                yield self._sieved(streamable_http_client(self.server.url, http_client=http))

    @asynccontextmanager
    async def _sieved(self, transport: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        async with transport as (read, write):
            self._sieve = Sieve(read)
            yield self._sieve, write

    def _client_of(self, transport: Any) -> Client:
        return Client(
            transport,
            read_timeout_seconds=self._pace.connect_s,
            message_handler=self._hear,
            client_info=Implementation(name="voice-gateway", version=__version__),
            cache=None,
        )

    async def _hear(self, message: IncomingMessage) -> None:
        """What an older server says unasked."""
        if isinstance(message, ToolListChangedNotification):
            self._stir.set()

    async def _hear_changes(self, client: Client) -> None:
        """What a newer one says when it is listened to; without it there is the look every minute."""
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self._stir.set()
        except Exception as error:  # noqa: BLE001 - see above
            self._log.info("mcp.server_silent", server=self.server.name, reason=_reason(error))

    async def _hear_loss(self) -> None:
        await self._lost.wait()
        self._stir.set()

    def _away(self, reason: str) -> None:
        if self.state != "down" or reason != self.reason:
            self._log.warning("mcp.server_down", server=self.server.name, reason=reason)
        self.state, self.reason, self.tools = "down", reason, {}

    # --- its tools ----------------------------------------------------------------------------------------------

    async def _list(self, client: Client) -> None:
        """Read its tools. Those that cannot be used are left out, each with a reason."""
        found = await self._found(client)
        refused: dict[str, str] = {} if self._sieve is None else dict(self._sieve.refused)
        originals: dict[str, str] = {}
        tools: dict[str, Tool] = {}
        for each in found:
            await anyio.lowlevel.checkpoint()  # calls go on between two of them
            if not self.server.allows(each.name):
                continue
            try:
                tool = self._made(each, tools)
            except reading.Unfit as unfit:
                refused[each.name] = str(unfit)
            else:
                tools[tool.name] = tool
                originals[tool.name] = each.name
        self.tools, self.originals = tools, originals
        self.unused = tuple(each.name[: reading.LONGEST_NAME] for each in found if not self.server.allows(each.name))
        self._tell_idle([each.name for each in found])
        told = {name[: reading.LONGEST_NAME]: why for name, why in list(refused.items())[:MOST_TOOLS]}
        if told != self.refused:
            self.refused = told
            for name, reason in told.items():
                self._log.error("mcp.tool_refused", server=self.server.name, tool=name, reason=reason)

    async def _found(self, client: Client) -> list[ForeignTool]:
        """The tools that it lists, as far as a list is read."""
        found: list[ForeignTool] = []
        cursor: str | None = None
        if self._sieve is not None:
            self._sieve.forget()
        for _ in range(MOST_PAGES):
            page = await client.session.send_request(
                ListToolsRequest(params=PaginatedRequestParams(cursor=cursor)), ListToolsResult
            )
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) >= MOST_LISTED:
                break
        unread = cursor is not None or (self._sieve is not None and self._sieve.unread > 0)
        if unread and not self._unread:
            self._log.warning("mcp.tools_unread", server=self.server.name, read=len(found))
        self._unread = unread
        return found

    def _tell_idle(self, names: Sequence[str]) -> None:
        """A pattern that fits no tool is a mistake, or the server has changed."""
        idle = [each for each in self.server.allow if not any(fnmatchcase(name, each) for name in names)]
        if idle != self._idle:
            self._idle = idle
            for each in idle:
                self._log.warning("mcp.allow_fits_nothing", server=self.server.name, allow=each)

    def _made(self, foreign: ForeignTool, others: Collection[str]) -> Tool:
        if len(others) >= MOST_TOOLS:
            raise reading.Unfit(f"{MOST_TOOLS} tools of this server are used already; name fewer in allow")
        name = reading.tool_name(self.server.prefix, foreign.name)
        owner = f"another tool of [{self.server.name}]" if name in others else self._taken(name)
        if owner:
            raise reading.Unfit(f"{owner} is named {name} already; set another prefix")
        parameters = reading.clean_schema(foreign.input_schema)
        hints = foreign.annotations
        told = hints is not None and (hints.read_only_hint is False or hints.destructive_hint is True)
        made = Tool(
            name=name,
            description=reading.description(self.server.name, foreign),
            parameters=parameters,
            timeout_s=self.server.timeout_s,
            function=partial(self._call, foreign.name),
            arguments=None,
            takes_context=True,
            has_effect=self.server.has_effect(foreign.name, told=told),
            limit=self.server.limit,
            place=f"MCP server {self.server.name}",
        )
        known = self.tools.get(name)
        unchanged = known is not None and known.spec() == made.spec() and known.has_effect == made.has_effect
        return known if known is not None and unchanged else made

    # --- calls --------------------------------------------------------------------------------------------------

    async def _call(self, name: str, given: Mapping[str, Any], context: ToolContext) -> dict[str, Any]:
        """Have a tool do its work. Raises `ToolFailed` in words for the model."""
        outcome = "failed"
        try:
            result = await self._ask(name, given, context)
            outcome = "refused" if result.is_error else "ok"
        except asyncio.CancelledError:
            outcome = "timeout"  # or the call is over; whether the server is still there is worth a look
            self._stir.set()
            raise
        finally:
            self._count(self.server.name, outcome)
        if result.is_error:
            raise ToolFailed(reading.complaint(self.server.name, result))
        return reading.answer(self.server.name, result)

    async def _ask(self, name: str, given: Mapping[str, Any], context: ToolContext) -> CallToolResult:
        client = self._client
        if client is None:
            raise ToolFailed(f"The outside server {self.server.name} is away at the moment. Do without it, and say so.")
        meta: Any = {KEY: sha256(context.key.encode()).hexdigest()[:32]} if context.key else None
        request = CallToolRequest(params=CallToolRequestParams(name=name, arguments=dict(given), _meta=meta))
        try:
            # Not `call_tool`: that would hold the answer against the server's own schema, whatever that costs.
            return await client.session.send_request(
                request, CallToolResult, request_read_timeout_seconds=self.server.timeout_s + 1.0
            )
        except ValidationError:
            raise ToolFailed(self._useless()) from None
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                raise self._broken() from None
            if error.code == PARSE_ERROR:
                raise ToolFailed(self._useless()) from None
            said = reading.quoted(error.message)
            raise ToolFailed(
                f"The outside server {self.server.name} refused, in its own words (data): {said}"
            ) from None
        except (httpx2.HTTPError, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError, RuntimeError):
            raise self._broken() from None

    def _useless(self) -> str:
        return f"The outside server {self.server.name} gave an answer that is too long, or is none. Ask it for less."

    def _broken(self) -> ToolFailed:
        """The connection ended under a call; whether it was done nobody can tell."""
        self._stir.set()
        return ToolFailed(
            f"The outside server {self.server.name} broke off, and it is not known what was done. "
            "Say so, or try once more."
        )


def _reason(error: BaseException) -> str:
    """Why a connection failed, in few words and without an address: it may hold a secret."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return f"it answered with an error: {reading.quoted(error.message)[:200]}"
    if isinstance(error, httpx2.HTTPStatusError):
        return f"it answered with HTTP status {error.response.status_code}"
    if isinstance(error, TimeoutError | ConnectionError) and str(error):
        return str(error)
    if isinstance(error, ValidationError):
        return "its answer is no MCP"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it cannot be reached ({type(error).__name__})"
