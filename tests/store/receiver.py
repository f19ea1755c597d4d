"""A webhook's receiver on a port of this machine, which answers as it is told to."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

from voice_gateway.store.delivery import Pauses
from voice_gateway.store.shipper import Pace

SECRET = "a-secret-of-24-characters"
QUICK = Pace(collect_s=0.01, most=100, pauses=Pauses(0.01, 0.05))


@dataclass
class Asked:
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """answers: given instead of a yes, one each: a status, JSON, bytes, silence, reset, wait, (redirect, url)."""

    url: str = ""
    requests: list[Asked] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    refuses: Callable[[bytes], int | None] = lambda _: None
    events: list[dict[str, Any]] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(Asked(headers, body))
        answer = self.answers.pop(0) if self.answers else self.refuses(body)
        if answer == "silence":
            await asyncio.sleep(1)
        elif answer == "reset":
            raise ConnectionResetError
        elif answer == "wait":
            self.waiting.set()
            await self.go_on.wait()
            answer = None
        status = answer if isinstance(answer, int) else 307 if isinstance(answer, tuple) else 200
        if status == 200:
            self.events += orjson.loads(body)["events"]
        said = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        more_headers = [(b"location", answer[1].encode())] if isinstance(answer, tuple) else []
        await send({"type": "http.response.start", "status": status, "headers": more_headers})
        await send({"type": "http.response.body", "body": b"" if status == 304 else said})


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    far = Receiver()
    server = uvicorn.Server(
        uvicorn.Config(far.asgi, log_config=None, access_log=False, lifespan="off", loop="asyncio", interface="asgi3")
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        far.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.005)
        try:
            yield far
        finally:
            server.should_exit = True
            server.force_exit = True
            await serving
