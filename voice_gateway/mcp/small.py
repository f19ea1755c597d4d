"""The small protocol: JSON messages over a WebSocket of its own port, for programs that do not speak MCP.

    → {"id": "1", "method": "tools.list"}
    ← {"id": "1", "result": {"tools": [{"name": …, "description": …, "parameters": …}]}}
    → {"id": "2", "method": "tool.call", "params": {"name": "lookup_menu", "args": {"query": "coffee"}}}
    ← {"id": "2", "result": {"items": […]}}
    ← {"id": "2", "error": {"code": "unknown_tool", "message": "There is no tool named …"}}

`params.key` makes a doing one, as in `offer.py`. Answers come as they are ready; the id says which is which. A message
that is no request is answered with the id null and never acted on. The token comes as a bearer header or, for clients
that can only be given an address, as `?token=`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voice_gateway.mcp.guard import Guard, Refusal
from voice_gateway.mcp.offer import Offer
from voice_gateway.ops import logs

PATH = "/mcp"
MOST_BYTES = 128 * 1024
CONNECTIONS = 64
REQUESTS_AT_ONCE = 8
MOST_UNANSWERED = 32
"""Of a connection: from there on it is not read, so that who asks and takes no answers fills no memory of ours."""

IDLE_S = 3600.0
LAST_ANSWERS_S = 3.0

Id = str | int


class RequestError(ValueError):
    """A message that is no request. The text says what one is."""


class SmallDoor:
    """Listens on a port of its own. A port that cannot be had is told and costs no call."""

    def __init__(self, offer: Offer, guard: Guard, host: str, port: int, *, idle_s: float = IDLE_S) -> None:
        self._offer = offer
        self._guard = guard
        self._host = host
        self._port = port
        self._idle_s = idle_s
        self._server: Server | None = None
        self._connections = 0
        self._at_work: set[asyncio.Task[None]] = set()
        self._log = logs.get("mcp.small")

    @property
    def port(self) -> int:
        """Where it listens; 0 where it does not."""
        if self._server is None:
            return 0
        return int(next(iter(self._server.sockets)).getsockname()[1])

    async def open(self) -> None:
        try:
            self._server = await serve(
                self._lead,
                self._host,
                self._port,
                process_request=self._admit,
                max_size=MOST_BYTES,
                max_queue=REQUESTS_AT_ONCE,
                compression=None,
                server_header=None,
                ping_interval=30.0,
                ping_timeout=30.0,
                close_timeout=LAST_ANSWERS_S,
                logger=logging.getLogger("websockets.server"),
            )
        except OSError as fault:
            advice = "MCP_WS_PORT and MCP_WS_HOST say where; 0 switches it off. Calls are served without it."
            self._log.error("mcp.small_closed", host=self._host, port=self._port, reason=fault.strerror, advice=advice)
        else:
            self._log.info("mcp.small_listening", host=self._host, port=self.port)

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=LAST_ANSWERS_S)
        await self._server.wait_closed()
        self._server = None

    # --- a connection -------------------------------------------------------------------------------------------

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        address = urlsplit(request.path)
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        client = str((connection.remote_address or ("",))[0])
        refusal = self._guard.refuse("ws", client, headers, parse_qs(address.query).get("token", [""])[-1])
        if refusal is None and address.path not in {PATH, "/"}:
            refusal = Refusal(404, "path", f"the small protocol is at {PATH}")
        if refusal is None and self._connections >= CONNECTIONS:
            refusal = Refusal(503, "full", f"{CONNECTIONS} programs are connected already; close one")
        if refusal is None:
            return None
        body = orjson.dumps({"error": {"code": refusal.code, "message": refusal.message}}).decode()
        response = connection.respond(refusal.status, body)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "application/json"
        for name, value in refusal.headers.items():
            response.headers[name] = value
        return response

    async def _lead(self, connection: ServerConnection) -> None:
        self._connections += 1
        at_work: set[asyncio.Task[None]] = set()
        try:
            while True:
                async with asyncio.timeout(self._idle_s):
                    message = await connection.recv()
                task = asyncio.create_task(self._answer(connection, message, busy=len(at_work) >= REQUESTS_AT_ONCE))
                for tasks in (at_work, self._at_work):
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                if len(at_work) >= MOST_UNANSWERED:
                    await asyncio.wait(at_work, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            await connection.close(1001, "nothing was asked for a long time")
        except ConnectionClosed:
            pass  # what was asked is done to its end: half an order would be worse than an answer nobody hears
        finally:
            self._connections -= 1

    async def _answer(self, connection: ServerConnection, message: str | bytes, *, busy: bool) -> None:
        identity: Id | None = None
        try:
            request = _read(message)
            identity = _identity(request)
            answer = _failed("busy", f"{REQUESTS_AT_ONCE} requests of this connection are at work; wait for an answer")
            if not busy:
                answer = await self._do(request)
        except RequestError as error:
            answer = _failed("bad_request", str(error))
        try:
            await connection.send((b'{"id":' + orjson.dumps(identity) + b"," + answer + b"}").decode())
        except ConnectionClosed:
            return

    async def _do(self, request: dict[str, Any]) -> bytes:
        match request.get("method"):
            case "tools.list":
                return b'"result":' + orjson.dumps({"tools": [_told(tool.spec()) for tool in self._offer.tools]})
            case "tool.call":
                name, arguments, key = _wish(request)
                outcome = await self._offer.call("ws", name, arguments, key)
                if outcome.ok:
                    return b'"result":' + outcome.output.encode()
                failed = orjson.loads(outcome.output)
                return _failed(failed["error"], failed["message"])
            case method:
                raise RequestError(f"there is no method {str(method)[:64]!r}; there are tools.list and tool.call")


# --- messages ---------------------------------------------------------------------------------------------------


def _read(message: str | bytes) -> dict[str, Any]:
    if isinstance(message, bytes):
        raise RequestError("send JSON as a text message, not as a binary one")
    try:
        request = orjson.loads(message)
    except ValueError:
        raise RequestError("this is no JSON") from None
    if not isinstance(request, dict):
        raise RequestError('send one object: {"id", "method", "params"}')
    return request


def _identity(request: dict[str, Any]) -> Id:
    given = request.get("id")
    if isinstance(given, bool) or not isinstance(given, str | int) or len(str(given)) > 128:
        raise RequestError("every request needs an id of its own: a text of up to 128 characters, or a whole number")
    return given


def _wish(request: dict[str, Any]) -> tuple[str, str, str]:
    """Name, arguments as JSON text, and the key of a call."""
    params = request.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(name, str):
        raise RequestError('tool.call needs params: {"name": "…", "args": {…}}')
    arguments, key = params.get("args"), params.get("key", "")
    if arguments is not None and not isinstance(arguments, dict):
        raise RequestError("args must be an object")
    if not isinstance(key, str):
        raise RequestError("key must be a text")
    try:
        written = orjson.dumps(arguments or {}).decode()
    except orjson.JSONEncodeError:
        raise RequestError("args are nested too deep; 200 levels are plenty") from None
    return name, written, key


def _told(spec: dict[str, Any]) -> dict[str, Any]:
    return {"name": spec["name"], "description": spec["description"], "parameters": spec["parameters"]}


def _failed(code: str, message: str) -> bytes:
    return b'"error":' + orjson.dumps({"code": code, "message": message})
