"""The upgrade behind uvicorn, against raw sockets that cut and mix what they send as no library would."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_gateway.caller.socket import CallerSocket
from voice_gateway.caller.upgrade import READ_AHEAD, Inbox

TEXT, MORE, BINARY, CLOSE, PING = 0x81, 0x80, 0x82, 0x88, 0x89


def frame(first: int, payload: bytes) -> bytes:
    """A masked frame; first: its first byte, with the final bit."""
    mask, size = os.urandom(4), len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = bytes((first, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0xFF)) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


class Line:
    """A client's raw socket, upgraded, and what the gateway read of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.read: list[str | bytes] = []
        self.ended = asyncio.Event()

    async def rest(self) -> bytes:
        """All that the gateway still sends, up to its end."""
        async with asyncio.timeout(5):
            return await self.reader.read()


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def upgrade(port: int) -> Line:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    return Line(reader, writer)


@pytest.fixture
def upgraded(serve: Any) -> Any:
    @asynccontextmanager
    async def open_line() -> Any:
        line: Line

        async def app(scope: Any, receive: Any, send: Any) -> None:
            socket = CallerSocket(scope, receive, send)
            await socket.accept()
            while (message := await socket.read()) is not None:
                line.read.append(message)
            await socket.close()
            line.ended.set()

        async with serve(app) as port:
            line = await upgrade(port)
            try:
                yield line
            finally:
                line.writer.close()

    return open_line


async def hang_up(line: Line) -> bytes:
    """Close as a peer should; returns what the gateway sent until its end."""
    line.writer.write(frame(CLOSE, b"\x03\xe8"))
    said = await line.rest()
    await asyncio.wait_for(line.ended.wait(), 5)
    return said


async def test_frames_cut_anywhere_are_the_same_messages(upgraded: Any) -> None:
    messages = ["a", "ü" * 80, "long " * 2000]
    sent = b"".join(frame(TEXT, message.encode()) for message in messages)
    async with upgraded() as line:
        for at in (*range(12), *range(12, len(sent), 97)):
            line.writer.write(sent[at : at + (1 if at < 12 else 97)])
            await asyncio.sleep(0)
        assert await hang_up(line) == b"\x88\x02\x03\xe8"
    assert line.read == messages


async def test_many_frames_in_one_piece_are_read_in_order_beyond_the_read_ahead(upgraded: Any) -> None:
    messages = [str(number) for number in range(10 * READ_AHEAD)]
    async with upgraded() as line:
        line.writer.write(b"".join(frame(TEXT, message.encode()) for message in messages))
        await hang_up(line)
    assert line.read == messages


async def test_fragments_with_a_ping_between_them_and_binary_arrive_whole(upgraded: Any) -> None:
    async with upgraded() as line:
        line.writer.write(
            frame(0x01, b"one ")  # the first of three fragments
            + frame(PING, b"there?")
            + frame(0x00, b"message")
            + frame(MORE, b"!")
            + frame(TEXT, b"whole")
            + frame(BINARY, b"\0\1")
        )
        said = await hang_up(line)
    assert line.read == ["one message!", "whole", b"\0\1"]
    assert said == b"\x8a\x06there?" + b"\x88\x02\x03\xe8"


async def test_a_text_frame_within_fragments_breaks_the_protocol(upgraded: Any) -> None:
    async with upgraded() as line:
        line.writer.write(frame(0x01, b"begun") + frame(TEXT, b"and another"))
        assert b"\x03\xea" in await line.rest()  # 1002
    assert line.read == []


async def test_a_frame_without_a_mask_breaks_the_protocol(upgraded: Any) -> None:
    async with upgraded() as line:
        line.writer.write(b"\x81\x02hi")
        assert b"\x03\xea" in await line.rest()
    assert line.read == []


async def test_text_that_is_not_utf8_ends_the_connection_with_1007(upgraded: Any) -> None:
    async with upgraded() as line:
        line.writer.write(frame(TEXT, b"fine") + frame(TEXT, b"\xff\xfe"))
        assert b"\x03\xef" in await line.rest()
    assert line.read == ["fine"]


async def test_a_large_frame_and_all_after_it_arrive(upgraded: Any) -> None:
    large = "x" * 200_000
    async with upgraded() as line:
        line.writer.write(frame(TEXT, b"before") + frame(TEXT, large.encode()) + frame(TEXT, b"after"))
        await hang_up(line)
    assert line.read == ["before", large, "after"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"\x83\x80\0\0\0\0", 1002),  # no frame is of this kind
        (frame(0xC1, b"hi"), 1002),  # a bit of an extension that nobody agreed on
        (frame(MORE, b"of what?"), 1002),
        (frame(0x01, b"begun") + frame(BINARY, b"and another"), 1002),
        (frame(0x09, b"half a ping"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, b"\x03\xee"), 1002),  # 1006 is for nobody to send
        (frame(CLOSE, b"\0\0"), 1002),
        (frame(CLOSE, b"\x13\x88"), 1002),  # 5000
        (frame(0x01, b"\xe2\x82") + frame(MORE, b"a"), 1007),
    ],
    ids=itertools.count(),  # the masks are random, and no name
)
async def test_what_breaks_the_protocol_is_answered_with_its_code(upgraded: Any, wrong: bytes, code: int) -> None:
    async with upgraded() as line:
        line.writer.write(frame(TEXT, b"fine") + wrong)
        said = await line.rest()
        await asyncio.wait_for(line.ended.wait(), 5)
    assert said[0] == CLOSE
    assert int.from_bytes(said[2:4], "big") == code
    assert line.read == ["fine"]


async def test_fragments_have_the_limit_of_a_message_together(serve: Any) -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        socket = CallerSocket(scope, receive, send)
        await socket.accept()
        assert await socket.read() is None
        ended.set_result(socket.close_code)

    async with serve(app, ws_max_size=1000) as port:
        line = await upgrade(port)
        line.writer.write(frame(0x01, b"x" * 400) + 2 * frame(0x00, b"x" * 400) + frame(MORE, b""))
        assert int.from_bytes((await line.rest())[2:4], "big") == 1009
        assert await asyncio.wait_for(ended, 5) == 1009
        line.writer.close()


async def test_what_a_hasty_client_says_before_the_answer_is_read_after_it(serve: Any) -> None:
    read: list[str | bytes] = []
    ended = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        socket = CallerSocket(scope, receive, send)
        await asyncio.sleep(0.05)
        await socket.accept()
        while (message := await socket.read()) is not None:
            read.append(message)
        ended.set()

    two = frame(TEXT, b"two" * 2000)
    async with serve(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await asyncio.sleep(0.02)
        writer.write(frame(TEXT, b"one") + two[:5000])
        await reader.readuntil(b"\r\n\r\n")
        writer.write(two[5000:] + frame(TEXT, b"three"))
        writer.close()
        await asyncio.wait_for(ended.wait(), 5)
    assert read == ["one", "two" * 2000, "three"]


async def test_a_peer_that_answers_no_ping_is_given_up(serve: Any) -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        socket = CallerSocket(scope, receive, send)
        await socket.accept()
        assert await socket.read() is None
        ended.set_result(socket.close_code)

    async with serve(app, ws_ping_interval=0.05, ws_ping_timeout=0.05) as port:
        line = await upgrade(port)
        said = await line.rest()
        assert await asyncio.wait_for(ended, 5) == 1001
        line.writer.close()
    assert said[:2] == b"\x89\0", "a ping was sent"


async def test_a_server_that_ends_says_so_to_an_open_connection(serve: Any) -> None:
    ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        socket = CallerSocket(scope, receive, send)
        await socket.accept()
        assert await socket.read() is None
        ended.set_result(socket.close_code)

    async with serve(app) as port:
        line = await upgrade(port)
    assert await line.rest() == b"\x88\x02\x03\xf4"  # 1012
    assert await asyncio.wait_for(ended, 5) == 1012
    line.writer.close()


async def test_headers_a_subprotocol_and_a_refusal_with_a_body_are_as_asgi_has_them(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] == "/no":
            await send({"type": "websocket.http.response.start", "status": 418, "headers": [(b"x-tea", b"1")]})
            await send({"type": "websocket.http.response.body", "body": b"short and stout"})
            return
        await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][1], "headers": [(b"x-tea", b"2")]})
        await send({"type": "websocket.send", "bytes": b"\0\1"})
        await send({"type": "websocket.close", "code": 4002, "reason": "ü" * 100})
        with pytest.raises(RuntimeError):
            await send({"type": "websocket.send", "text": "too late"})

    async with serve(app) as port:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}/no")
        assert (refused.value.response.status_code, refused.value.response.body) == (418, b"short and stout")
        assert refused.value.response.headers["X-Tea"] == "1"
        async with connect(f"ws://127.0.0.1:{port}/", subprotocols=["a", "b"]) as client:
            assert client.subprotocol == "b"
            assert client.response.headers["X-Tea"] == "2"
            assert await client.recv() == b"\0\1"
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert (client.close_code, client.close_reason) == (4002, "ü" * 61)


async def test_writing_at_once_is_refused_while_the_peer_lags(serve: Any) -> None:
    message = "x" * 50_000
    full, ended = asyncio.Event(), asyncio.Event()
    taken = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal taken
        socket = CallerSocket(scope, receive, send)
        assert not socket.write("before it is open")
        await socket.accept()
        while socket.write(message):
            taken += 1
        full.set()
        await socket.send("the last")
        assert socket.write("and one more"), "it reads again"
        await socket.close()
        assert socket.write("to nobody"), "there is nothing to wait for"
        ended.set()

    async with serve(app) as port, connect(f"ws://127.0.0.1:{port}/", max_queue=1) as client:
        await asyncio.wait_for(full.wait(), 5)
        received = [text async for text in client]
        await asyncio.wait_for(ended.wait(), 5)
    assert 0 < taken < 300, "the kernel's buffers and little more"
    assert received == [message] * taken + ["the last", "and one more"]


def streams(seed: int) -> tuple[bytes, list[int]]:
    """A client's life in whole frames, and where to cut it."""
    dice = random.Random(seed)  # noqa: S311 - a dice, and the same each time
    said: list[bytes] = []
    for _ in range(dice.randrange(1, 9)):
        text = dice.choice(("", "a", "ü" * 62 + "a", "ü" * 63, "long " * 1000, "x" * 70_000)).encode()
        at = dice.randrange(len(text) + 1)
        said += dice.choice(
            (
                [frame(TEXT, text)],
                [frame(BINARY, text)],
                [frame(PING, text[:125])],
                [frame(0x01, text[:at]), frame(PING, b"?"), frame(0x00, b""), frame(MORE, text[at:])],
            )
        )
    whole = b"".join((*said, frame(CLOSE, b"\x0f\xa1bye")))
    return whole, sorted(dice.randrange(len(whole)) for _ in range(dice.choice((0, 1, 5, 30))))


async def test_any_stream_is_read_and_answered_as_stock_uvicorn_would(serve: Any) -> None:
    read: list[Any] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            read.append(message.get("text") or message.get("bytes"))
        read.append((message["code"], message["reason"]))

    async def lead(port: int, whole: bytes, cuts: list[int]) -> tuple[bytes, list[Any]]:
        read.clear()
        line = await upgrade(port)
        for begin, end in itertools.pairwise((0, *cuts, len(whole))):
            line.writer.write(whole[begin:end])
            await asyncio.sleep(0)
        said = await line.rest()
        line.writer.close()
        return said, list(read)

    async with serve(app) as ours, serve(app, ws="websockets-sansio") as stock:
        for seed in range(25):
            whole, cuts = streams(seed)
            assert await lead(ours, whole, cuts) == await lead(stock, whole, cuts), f"seed {seed}"


async def test_what_follows_a_close_is_not_read(upgraded: Any) -> None:
    async with upgraded() as line:
        line.writer.write(frame(TEXT, b"bye") + frame(CLOSE, b"\x03\xe8") + frame(TEXT, b"one more thing"))
        await line.rest()
        await asyncio.wait_for(line.ended.wait(), 5)
    assert line.read == ["bye"]


async def test_a_listener_hears_at_once_and_what_it_refuses_is_read_in_its_turn(serve: Any) -> None:
    heard: list[str] = []
    read: list[str | bytes] = []
    enough, ended = asyncio.Event(), asyncio.Event()

    def listener(text: str) -> bool:
        heard.append(text)
        return text.startswith("sound")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        socket = CallerSocket(scope, receive, send)
        await socket.accept()
        socket.listen(listener)
        while (message := await socket.read()) is not None:
            read.append(message)
            if message == "enough":
                socket.listen(None)
                enough.set()
        await socket.close()
        ended.set()

    async with serve(app) as port:
        line = await upgrade(port)
        messages = ["sound 1", "a mark", "sound 2", "enough"]
        line.writer.write(b"".join(frame(TEXT, message.encode()) for message in messages))
        await asyncio.wait_for(enough.wait(), 5)
        line.writer.write(frame(TEXT, b"sound 3"))
        line.writer.write(frame(CLOSE, b"\x03\xe8"))
        await line.rest()
        await asyncio.wait_for(ended.wait(), 5)
        line.writer.close()
    assert heard == ["sound 1", "a mark"], "what comes behind a waiting message must not overtake it"
    assert read == ["a mark", "sound 2", "enough", "sound 3"]


async def test_the_inbox_wakes_its_reader_and_survives_one_that_gave_up() -> None:
    inbox = Inbox()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await inbox.get()
    waiting = asyncio.ensure_future(inbox.get())
    await asyncio.sleep(0)
    inbox.put_nowait("first")
    inbox.put_nowait("second")
    assert (await waiting, inbox.qsize()) == ("first", 1)
    assert (await inbox.get(), inbox.empty()) == ("second", True)
