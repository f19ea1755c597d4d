"""Supabase on a port of this machine, and a wire to it that can be cut in every way that wires are."""

from __future__ import annotations

import asyncio
import importlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import uvicorn
from postgrest_double import SECRET_KEY, PostgrestDouble
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from storage_double import StorageDouble

from voice_gateway.store.delivery import Pauses
from voice_gateway.store.shipper import Pace, Shipper
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.supabase import SupabaseRecord

__all__ = ["QUICK", "SECRET_KEY", "Shipped", "Supabase", "Wire", "shipped", "supabase"]

importlib.import_module("supabase")  # half a second that no test should find on its clock

Mood = Literal["well", "down", "mute", "loses answers", "cuts"]
CUT_AFTER = 100_000


@dataclass
class Wire:
    """A TCP relay.

    down: nobody there. mute: takes everything, says nothing. loses answers: reset when one comes. cuts: reset in the
    midst of what is said, after `CUT_AFTER` bytes.
    """

    upstream: int
    mood: Mood = "well"
    port: int = 0
    links: set[asyncio.StreamWriter] = field(default_factory=set)
    carried: int = 0

    def become(self, mood: Mood) -> None:
        """From now on, and for the links there are."""
        self.mood = mood
        for link in [*self.links] if mood in ("down", "well") else []:
            reset(link)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mood == "down":
            reset(writer)
            return
        self.links.add(writer)
        self.carried += 1
        back: asyncio.StreamWriter | None = None
        try:
            answers, back = await asyncio.open_connection("127.0.0.1", self.upstream)
            await asyncio.gather(self._pass(reader, back, answer=False), self._pass(answers, writer, answer=True))
        finally:
            self.links.discard(writer)
            for each in filter(None, (writer, back)):
                each.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool) -> None:
        passed = 0
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                passed += len(data)
                if answer and self.mood == "loses answers":
                    reset(writer)
                    return
                if self.mood == "cuts" and passed > CUT_AFTER:
                    for link in [writer, *self.links]:
                        reset(link)
                    return
                if not (answer and self.mood == "mute"):
                    writer.write(data)
                    await writer.drain()
        writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close without a goodbye: RST."""
    peer = writer.get_extra_info("socket")
    with suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Supabase:
    """url: to give to a client. wire: to cut. answers: said instead of the Data API's, one each, in order.

    rest: what the Data API says where there is no database.
    """

    url: str
    wire: Wire
    storage: StorageDouble = field(default_factory=StorageDouble)
    answers: list[Response | Callable[[], Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    rest: Response = field(default_factory=lambda: Response("{}", 503))


@asynccontextmanager
async def supabase(address: str = "") -> AsyncIterator[Supabase]:
    """A project whose database is at this address; without one it has nothing but Storage."""
    double = PostgrestDouble(address) if address else None
    far = Supabase("", Wire(0))

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/storage/"):
            await far.storage.asgi(scope, receive, send)
            return
        if scope["type"] == "http":
            far.asked.append(scope["path"])
            if far.answers:
                answer = far.answers.pop(0)
                await (answer if isinstance(answer, Response) else answer())(scope, receive, send)
                return
        if double is None:
            await far.rest(scope, receive, send)
            return
        await double.asgi(scope, receive, send)

    config = uvicorn.Config(asgi, log_config=None, access_log=False, lifespan="on" if double else "off", loop="asyncio")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        far.wire.upstream = listener.getsockname()[1]
        relay = await asyncio.start_server(far.wire.carry, "127.0.0.1", 0)
        far.wire.port = relay.sockets[0].getsockname()[1]
        far.url = f"http://127.0.0.1:{far.wire.port}"
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
            await asyncio.sleep(0.005)
        try:
            yield far
        finally:
            relay.close()
            far.wire.become("down")
            server.should_exit = True
            await serving


# --- and our side of it ---


@dataclass
class Shipped:
    """A store whose record rests in Supabase: written here, read there."""

    local: SqliteStore
    remote: SupabaseRecord
    shipper: Shipper
    far: Supabase

    def __post_init__(self) -> None:
        self.write = self.local.write
        self.read_call = self.remote.read_call
        self.read_events = self.remote.read_events
        self.recent_calls = self.remote.recent_calls

    async def flush(self, timeout_s: float = 20.0) -> bool:
        return await self.shipper.flush(timeout_s)


QUICK = Pace(collect_s=0.02, pauses=Pauses(0.01, 0.05))


@asynccontextmanager
async def shipped(
    path: Path, far: Supabase, *, key: str = SECRET_KEY, pace: Pace = QUICK, timeout_s: float = 10.0
) -> AsyncIterator[Shipped]:
    store = SqliteStore(path, linger_s=0.001)
    await store.start()
    remote = SupabaseRecord(far.url, key, timeout_s=timeout_s)
    shipper = Shipper(store, remote, pace)
    shipper.start()
    try:
        yield Shipped(store, remote, shipper, far)
    finally:
        await shipper.close(0.0)
        await remote.close()
        await store.close()
