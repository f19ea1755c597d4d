"""The caller's socket behind a real server, with real clients, some of them badly behaved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_gateway.call.events import CallerAudio
from voice_gateway.caller.media_stream import MediaStreamDialect, StreamStarted
from voice_gateway.caller.socket import CallerSocket, StreamNeverStarted

Handler = Callable[[CallerSocket], Awaitable[Any]]


class Gateway:
    """One served socket. outcome: what the handler returned, or its exception."""

    def __init__(self, url: str, outcome: asyncio.Future[Any]) -> None:
        self.url = url
        self.outcome = outcome


@pytest.fixture
def gateway(serve: Any) -> Any:
    """A server whose every connection becomes a CallerSocket and is given to the handler."""

    @asynccontextmanager
    async def open_gateway(handler: Handler, settings: dict[str, Any] | None = None, **limits: float) -> Any:
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            try:
                outcome.set_result(await handler(CallerSocket(scope, receive, send, **limits)))
            except StreamNeverStarted as error:
                outcome.set_exception(error)

        async with serve(app, **(settings or {})) as port:
            yield Gateway(f"ws://127.0.0.1:{port}/ws/twilio", outcome)

    return open_gateway


async def begin(socket: CallerSocket) -> MediaStreamDialect:
    """Accept, and read up to the start. Returns the dialect that read it."""
    await socket.accept()
    dialect = MediaStreamDialect()
    await socket.start(dialect)
    return dialect


async def read_all(socket: CallerSocket) -> list[str | bytes]:
    messages = []
    while (message := await socket.read()) is not None:
        messages.append(message)
    return messages


async def test_a_refused_upgrade_is_answered_403(gateway: Any) -> None:
    async def refuse(socket: CallerSocket) -> None:
        await socket.reject()
        assert await socket.read() is None

    async with gateway(refuse) as it:
        with pytest.raises(InvalidStatus) as refused:
            await connect(it.url)
        assert refused.value.response.status_code == 403
        await it.outcome


async def test_a_stream_starts_and_messages_go_both_ways(gateway: Any, carrier: Any) -> None:
    async def talk(socket: CallerSocket) -> tuple[StreamStarted | None, Any]:
        dialect = await begin(socket)
        heard = dialect.read(await socket.read() or "")
        await socket.send(dialect.media(b"\xff" * 160))
        await socket.close()
        return dialect.started, heard

    async with gateway(talk) as it:
        async with connect(it.url) as client:
            for message in (carrier.connected(), carrier.start(), carrier.media(b"\x01", 5)):
                await client.send(message)
            payload = "/" * 213 + "w=="  # 160 times 0xFF
            assert json.loads(await client.recv()) == {
                "event": "media",
                "streamSid": carrier.stream_sid,
                "media": {"payload": payload},
            }
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1000
        started, heard = await it.outcome
        assert started.call_sid == carrier.call_sid
        assert heard == CallerAudio(b"\x01", 5)


async def test_a_start_that_never_comes_is_closed_with_1008(gateway: Any, carrier: Any) -> None:
    async with gateway(begin, start_timeout_s=0.05) as it, connect(it.url) as client:
        await client.send(carrier.connected())
        with pytest.raises(StreamNeverStarted, match=r"within 0\.05 s") as never:
            await it.outcome
        assert never.value.reason == "timeout"
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert (client.close_code, client.close_reason) == (1008, "no start message")


async def test_chatter_does_not_put_off_the_time_limit_for_the_start(gateway: Any, carrier: Any) -> None:
    dialect = MediaStreamDialect()

    async def wait(socket: CallerSocket) -> None:
        await socket.accept()
        await socket.start(dialect)

    async with gateway(wait, start_timeout_s=0.1) as it, connect(it.url) as client:
        with pytest.raises(ConnectionClosed):
            await chatter(client, carrier)
        with pytest.raises(StreamNeverStarted):
            await it.outcome
        assert client.close_code == 1008
        assert dialect.dropped["before_start"] > 1
        assert dialect.dropped["binary"] > 1


async def chatter(client: ClientConnection, carrier: Any) -> None:
    while True:
        await client.send(carrier.media())
        await client.send(b"\x00")
        await asyncio.sleep(0.005)


async def test_a_client_that_leaves_before_the_start_is_told_apart(gateway: Any, carrier: Any) -> None:
    async with gateway(begin) as it:
        async with connect(it.url) as client:
            await client.send(carrier.connected())
        with pytest.raises(StreamNeverStarted) as never:
            await it.outcome
        assert never.value.reason == "gone"


async def test_sound_that_we_cannot_read_is_closed_with_1003(gateway: Any, carrier: Any) -> None:
    async with gateway(begin) as it, connect(it.url) as client:
        await client.send(carrier.start(mediaFormat={"encoding": "audio/x-l16", "sampleRate": 8000, "channels": 1}))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1003
        with pytest.raises(StreamNeverStarted, match="media format") as never:
            await it.outcome
        assert never.value.reason == "unusable"


async def test_a_megabyte_and_binary_frames_are_counted_and_the_call_goes_on(gateway: Any, carrier: Any) -> None:
    async def listen(socket: CallerSocket) -> tuple[Any, list[Any]]:
        dialect = await begin(socket)
        events = [dialect.read(message) for message in await read_all(socket)]
        return dialect.dropped, events

    async with gateway(listen) as it:
        async with connect(it.url) as client:
            await client.send(carrier.start())
            for message in ("x" * 1_048_576, b"\x00" * 160, "{", carrier.media(b"\x01", 5)):
                await client.send(message)
        dropped, events = await it.outcome
    assert dropped == {"oversized": 1, "binary": 1, "not_json": 1}
    assert events == [None, None, None, CallerAudio(b"\x01", 5)]


async def test_a_message_that_no_limit_allows_ends_the_connection_with_1009(gateway: Any) -> None:
    async def listen(socket: CallerSocket) -> tuple[list[str | bytes], int | None]:
        await socket.accept()
        return await read_all(socket), socket.close_code

    async with gateway(listen) as it, connect(it.url) as client:
        await client.send("x" * (2 * 1024 * 1024 + 1))
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1009
        assert await it.outcome == ([], 1009)


async def test_a_peer_that_vanished_makes_every_later_call_a_quiet_nothing(gateway: Any, carrier: Any) -> None:
    async def outlive(socket: CallerSocket) -> int | None:
        await begin(socket)
        assert await read_all(socket) == []
        assert await socket.read() is None
        await socket.send("to nobody")
        await socket.close()
        await socket.close(1011, "again")
        return socket.close_code

    async with gateway(outlive) as it:
        client = await connect(it.url)
        await client.send(carrier.start())
        client.transport.abort()
        assert await it.outcome in {1005, 1006}


async def test_the_peer_s_close_code_is_kept(gateway: Any) -> None:
    async def listen(socket: CallerSocket) -> int | None:
        await socket.accept()
        await read_all(socket)
        await socket.close()
        return socket.close_code

    async with gateway(listen) as it:
        async with connect(it.url) as client:
            await client.close(4001, "bye")
        assert await it.outcome == 4001


async def test_a_close_ends_a_read_that_is_waiting(gateway: Any) -> None:
    async def close_beside(socket: CallerSocket) -> Any:
        await socket.accept()
        reader = asyncio.create_task(read_all(socket))
        await asyncio.sleep(0)
        await socket.close()
        return await reader

    async with gateway(close_beside) as it, connect(it.url):
        assert await it.outcome == []


async def blocked_since(socket: CallerSocket) -> float:
    while (since := socket.blocked_since) is None:  # noqa: ASYNC110 - a gauge, not an event
        await asyncio.sleep(0.005)
    return since


async def test_a_client_that_stops_reading_is_dropped_and_little_is_kept_for_it(gateway: Any) -> None:
    message = "x" * 50_000
    sent = 0

    async def flood(socket: CallerSocket) -> tuple[bool, float, Any]:
        nonlocal sent
        await socket.accept()
        noticed = asyncio.create_task(blocked_since(socket))
        while not socket.stalled:
            await socket.send(message)
            sent += len(message)
        last_words = await socket.read()
        await socket.close()
        return socket.stalled, await noticed, last_words

    async with gateway(flood, stall_limit_s=0.3) as it:
        client = await connect(it.url, max_queue=1)
        stalled, since, last_words = await asyncio.wait_for(it.outcome, 10)
        client.transport.abort()
    assert stalled
    assert since > 0
    assert last_words is None
    assert sent < 20_000_000  # the kernel's buffers, not ours


async def test_a_socket_on_which_nothing_is_sent_is_not_stalled(gateway: Any) -> None:
    async def idle(socket: CallerSocket) -> tuple[float | None, list[str | bytes], bool]:
        await socket.accept()
        await socket.send("one word")
        blocked_since = socket.blocked_since
        messages = await read_all(socket)
        await socket.close()
        return blocked_since, messages, socket.stalled

    async with gateway(idle, stall_limit_s=0.02) as it:
        async with connect(it.url) as client:
            assert await client.recv() == "one word"
            await asyncio.sleep(0.1)  # five limits long, in which the watch must find nothing
            await client.send("still here")
        assert await it.outcome == (None, ["still here"], False)


async def test_a_slow_reader_is_waited_for_and_not_dropped(gateway: Any) -> None:
    async def flood(socket: CallerSocket) -> bool:
        await socket.accept()
        for _ in range(100):
            await socket.send("x" * 100_000)
        await socket.close()
        return socket.stalled

    async with gateway(flood, stall_limit_s=0.6) as it:
        async with connect(it.url, max_queue=1) as client:
            received = []
            async for message in client:  # for longer than the limit in all
                received.append(len(message))
                await asyncio.sleep(0.01)
        assert received == [100_000] * 100
        assert await it.outcome is False


async def test_a_peer_that_never_answers_a_close_keeps_no_connection(gateway: Any) -> None:
    async def hang_up(socket: CallerSocket) -> None:
        await socket.accept()
        await socket.close()

    async with gateway(hang_up, close_grace_s=0.05) as it:
        host, port = it.url.removeprefix("ws://").split("/")[0].split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /ws/twilio HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with asyncio.timeout(8):  # uvicorn alone would wait for ten seconds
            try:
                answer = await reader.read(-1)
            except ConnectionResetError:
                answer = b""
        writer.close()
        assert answer == b"" or answer.endswith(b"\x88\x02\x03\xe8")


async def test_it_also_stands_on_starlette_s_own_object(serve: Any, carrier: Any) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        socket = CallerSocket.over(websocket, start_timeout_s=2.0)
        dialect = await begin(socket)
        await socket.send(dialect.clear())
        assert await read_all(socket) == [b"\x01"]
        await socket.send("to nobody")
        await socket.close()

    app = Starlette(routes=[WebSocketRoute("/ws", endpoint)])
    async with serve(app) as port, connect(f"ws://127.0.0.1:{port}/ws") as client:
        await client.send(carrier.start())
        assert await client.recv() == f'{{"event":"clear","streamSid":"{carrier.stream_sid}"}}'
        await client.send(b"\x01")


async def test_a_request_withdrawn_before_the_answer_is_no_error() -> None:
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(message: Any) -> None:
        told.append(message)

    for answer in (CallerSocket.accept, CallerSocket.reject):
        socket = CallerSocket({"type": "websocket"}, receive, send)
        await answer(socket)
        assert await socket.read() is None
        await socket.send("x")
        await socket.close()
    assert told == []
