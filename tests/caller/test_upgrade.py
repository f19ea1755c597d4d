"""The upgrade's own reader of frames, against raw sockets that cut and mix what they send as no library would."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.caller.socket import CallerSocket
from voice_gateway.caller.upgrade import READ_AHEAD, Inbox, _span

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


async def upgrade(port: int) -> Line:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
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


async def test_fragments_pings_and_binary_go_by_way_of_the_library(upgraded: Any) -> None:
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


@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=300)), max_size=5), st.data())
def test_a_frame_s_span_is_known_as_soon_as_its_header_is_there(frames: list[tuple[int, bytes]], data: Any) -> None:
    stream = b"".join(frame(first, payload) for first, payload in frames)
    cut = data.draw(st.integers(0, len(stream)))
    at = 0
    for first, payload in frames:
        whole = frame(first, payload)
        header = len(whole) - len(payload)
        expected = (at + header, at + len(whole)) if at + header <= cut else None
        assert _span(stream[:cut], at) == expected
        at += len(whole)
