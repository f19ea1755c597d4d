"""Standard MCP, by the official package: streamable HTTP at `/mcp`, and stdio.

HTTP is served without sessions: every request stands for itself, so nothing is kept of a client that went away, and
any replica may answer. A tool that fails is a result with `isError` and a text, which is how MCP tells a model what it
can act on. A client's key for what must be done once stands in `_meta` as `idempotencyKey`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as StandardTool
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from voice_gateway.agent.tools import Tool, ToolOutcome
from voice_gateway.mcp.guard import Guard
from voice_gateway.mcp.offer import Offer

NAME = "voice-gateway"
KEY = "idempotencyKey"
MOST_BYTES = 256 * 1024

Context = ServerRequestContext[dict[str, Any], Any]


def standard_server(offer: Offer, door: str, version: str) -> Server[dict[str, Any]]:
    """The tools on offer as an MCP server. door: what its calls are counted under."""
    listed = ListToolsResult(tools=[_told(tool) for tool in offer.tools])

    async def list_tools(_context: Context, _params: PaginatedRequestParams | None) -> ListToolsResult:
        return listed

    async def call_tool(_context: Context, params: CallToolRequestParams) -> CallToolResult:
        key = (params.meta or {}).get(KEY)
        arguments = json.dumps(params.arguments or {})  # the standard library's takes whatever its `loads` gave
        return _result(await offer.call(door, params.name, arguments, key if isinstance(key, str) else ""))

    return Server(NAME, version=version, on_list_tools=list_tools, on_call_tool=call_tool)


class HttpDoor:
    """The ASGI application at `/mcp`. Serves while it is `open`."""

    def __init__(self, offer: Offer, guard: Guard, version: str) -> None:
        self._guard = guard
        self._server = standard_server(offer, "http", version)
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        manager = StreamableHTTPSessionManager(
            self._server, json_response=True, stateless=True, max_request_body_size=MOST_BYTES
        )
        async with manager.run():
            self._manager = manager
            try:
                yield
            finally:
                self._manager = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address, _ = scope.get("client") or ("", 0)
        refusal = self._guard.refuse("http", address, Headers(scope=scope))
        if refusal is not None:
            body = {"error": {"code": refusal.code, "message": refusal.message}}
            await JSONResponse(body, refusal.status, refusal.headers)(scope, receive, send)
        elif scope["method"] != "POST":  # there are no sessions: nothing to listen to, and nothing to end
            body = {"error": {"code": "method", "message": "send MCP requests by POST"}}
            await JSONResponse(body, 405, {"allow": "POST"})(scope, receive, send)
        elif self._manager is None:
            body = {"error": {"code": "closed", "message": "the gateway is starting or ending; ask again"}}
            await JSONResponse(body, 503)(scope, receive, send)
        else:
            await self._manager.handle_request(scope, receive, send)


async def serve_stdio(offer: Offer, version: str) -> None:
    """Serve one client over standard input and output, until its end of input."""
    server = standard_server(offer, "stdio", version)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _told(tool: Tool) -> StandardTool:
    """An effect may be anything that cannot be undone; which of them can, a tool does not say."""
    return StandardTool(
        name=tool.name,
        description=tool.description,
        input_schema=dict(tool.parameters),
        annotations=ToolAnnotations(
            read_only_hint=not tool.has_effect,
            destructive_hint=tool.has_effect,
            idempotent_hint=not tool.has_effect,
            open_world_hint=False,
        ),
    )


def _result(outcome: ToolOutcome) -> CallToolResult:
    told = orjson.loads(outcome.output)
    return CallToolResult(
        content=[TextContent(type="text", text=outcome.output)],
        structured_content=told if isinstance(told, dict) else None,
        is_error=not outcome.ok,
    )
