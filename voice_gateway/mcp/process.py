"""A foreign server as a program of ours: started, spoken with line by line, and ended with everything it started.

The package's own transport reads a line whatever its length, on the loop that carries the calls; here a line has a
bound. Of one that is too long both ends are kept, enough to know whom it answers. What a server says on standard error
goes to our log, so much of it and no more. Who writes without end is read ever more slowly.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import orjson
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from voice_gateway.mcp.servers import Server
from voice_gateway.mcp.sieve import LINE, Allowance
from voice_gateway.ops import logs

MOST_LINE_BYTES = 1024 * 1024
END_BYTES = 512
GRACE_S = 2.0
"""After its input is closed; then SIGTERM, and as long again, then SIGKILL."""

MOST_COMPLAINTS = 5
"""Of a connection: a program that prints its log on standard output would fill ours."""

LOG_LINES = 50
LOG_WINDOW_S = 60.0
LONGEST_LOG_LINE = 500

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was not kept. ends: its first and its last bytes."""

    length: int
    ends: tuple[bytes, bytes]


class Lines:
    """Whole lines out of chunks, none above `most` bytes."""

    def __init__(self, most: int = MOST_LINE_BYTES) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._length = 0

    def feed(self, chunk: bytes) -> Iterator[bytes | TooLong]:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            self._keep(part)
            yield self._take()
        self._keep(rest)

    def _keep(self, part: bytes) -> None:
        self._length += len(part)
        self._parts.append(part)
        if self._length > self._most:
            line = b"".join(self._parts)
            self._parts = [line[:END_BYTES], line[-END_BYTES:]]

    def _take(self) -> bytes | TooLong:
        parts, length = self._parts, self._length
        self._parts, self._length = [], 0
        if length <= self._most:
            return b"".join(parts)
        return TooLong(length, (parts[0][:END_BYTES], b"".join(parts)[-END_BYTES:]))


def answered(line: TooLong) -> int | None:
    """Which request of ours a line answers that was too long to be kept; None where its ends do not tell."""
    head, tail = line.ends
    in_head = re.search(rb'"id"\s*:\s*(\d{1,15})\s*[,}]', head.partition(b'"result"')[0])
    found = in_head or (re.findall(rb'"id"\s*:\s*(\d{1,15})\s*[,}]', tail) or [None])[-1]
    if found is None:
        return None
    return int(found if isinstance(found, bytes) else found[1])


@asynccontextmanager
async def process_transport(server: Server, lost: anyio.Event) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Start a server's program and give its two streams. lost: set when it speaks no more.

    In the end it is gone, and what it started in its own session with it. Raises OSError where it cannot be started.
    """
    process = await anyio.open_process(
        server.command,
        env={**get_default_environment(), **server.env},
        cwd=server.cwd,
        start_new_session=True,
    )
    incoming, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen, process, incoming, server.name, lost)
            tasks.start_soon(_speak, process, outgoing, lost)
            tasks.start_soon(_overhear, process, server.name)
            try:
                yield read, write
            finally:
                with anyio.CancelScope(shield=True):
                    await _end(process)
                tasks.cancel_scope.cancel()
    finally:
        for stream in (incoming, read, write, outgoing):
            stream.close()
        _kill(process)
        with anyio.CancelScope(shield=True), anyio.move_on_after(GRACE_S):
            await process.aclose()


async def _listen(
    process: Process, incoming: MemoryObjectSendStream[SessionMessage | Exception], name: str, lost: anyio.Event
) -> None:
    lines, log, unreadable = Lines(), logs.get("mcp.process"), 0
    try:
        async for chunk in _chunks(process.stdout, name):
            for line in lines.feed(chunk):
                message = _message(line)
                if message is None:
                    unreadable += 1
                    if unreadable <= MOST_COMPLAINTS:
                        size = line.length if isinstance(line, TooLong) else len(line)
                        log.warning("mcp.server_unreadable", server=name, bytes=size)
                    await anyio.lowlevel.checkpoint()  # a chunk may hold thousands
                    continue
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await incoming.send(message)
    finally:
        incoming.close()
        lost.set()


def _message(line: bytes | TooLong) -> SessionMessage | None:
    """None: nothing that can be understood. A long answer becomes an error for who waits for it."""
    if isinstance(line, TooLong):
        identity = answered(line)
        if identity is None:
            return None
        error = ErrorData(code=PARSE_ERROR, message=f"the answer has {line.length} bytes, which is too many")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=identity, error=error))
    try:
        # Not `validate_json`: trying each kind of message on a long one, it takes four times as long.
        return SessionMessage(jsonrpc_message_adapter.validate_python(orjson.loads(line), by_name=False))
    except ValueError:
        return None


async def _speak(process: Process, outgoing: MemoryObjectReceiveStream[SessionMessage], lost: anyio.Event) -> None:
    if process.stdin is None:
        return
    try:
        async for each in outgoing:
            text = each.message.model_dump_json(by_alias=True, exclude_unset=True)
            await process.stdin.send(text.encode() + b"\n")
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        lost.set()


async def _overhear(process: Process, name: str) -> None:
    """Its standard error into our log: so many lines a minute; of the others the number alone."""
    log, lines = logs.get("mcp.process"), Lines(64 * 1024)
    window_ends, told, unsaid = anyio.current_time() + LOG_WINDOW_S, 0, 0
    async for chunk in _chunks(process.stderr, name):
        if anyio.current_time() >= window_ends:
            if unsaid:
                log.warning("mcp.server_said_more", server=name, lines=unsaid)
            window_ends, told, unsaid = anyio.current_time() + LOG_WINDOW_S, 0, 0
        for line in lines.feed(chunk):
            if told >= LOG_LINES:
                unsaid += 1
                continue
            told += 1
            text = line.ends[0] if isinstance(line, TooLong) else line
            log.info("mcp.server_said", server=name, text=text[:LONGEST_LOG_LINE].decode("utf-8", "replace"))


async def _chunks(stream: ByteReceiveStream | None, name: str) -> AsyncIterator[bytes]:
    if stream is None:
        return
    allowance, told = Allowance(), False
    with suppress(anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
        while True:
            chunk = await stream.receive()
            yield chunk
            await allowance.take(len(chunk) + LINE * chunk.count(b"\n"))
            if allowance.floods and not told:
                told = True
                logs.get("mcp.process").warning("mcp.server_floods", server=name)


async def _end(process: Process) -> None:
    """First its input ends, as MCP wants it; then it is asked, then it is killed."""
    if process.stdin is not None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            await process.stdin.aclose()
    deadline = anyio.current_time() + GRACE_S
    while process.returncode is None and anyio.current_time() < deadline:  # noqa: ASYNC110 - `wait` awaits the pipes too
        await anyio.sleep(0.01)
    await terminate_posix_process_tree(process, GRACE_S)


def _kill(process: Process) -> None:
    """Nothing of its session is left, whatever broke off its end."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
