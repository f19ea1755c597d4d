"""An open socket against a tiny server of the test's own: what goes both ways, and every way to be lost."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from hearing import hear
from websockets.asyncio.server import ServerConnection

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.model import socket as model_socket
from voice_gateway.model.settings import ModelSettings
from voice_gateway.model.socket import ModelSocket

KEY = "sk-proj-VerySecretKey1234567890"


async def open_socket(url: str, settings: ModelSettings, **options: Any) -> ModelSocket:
    return await ModelSocket.open(url, **({"api_key": KEY, "settings": settings} | options))


# --- being there ------------------------------------------------------------------------------------------------


async def test_a_conversation_goes_both_ways(far_side, settings) -> None:
    received: list[dict[str, Any]] = []

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        received.append(json.loads(await ws.recv()))
        received.append(json.loads(await ws.recv()))
        await far_side.say(ws, "response.created", response={"id": "resp_1", "conversation_id": "conv_1"})
        part = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
        await far_side.say(ws, "response.output_audio.delta", **part, delta=base64.b64encode(b"\1\0").decode())
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    model.send(model.dialect.write(do.AppendAudio(b"\0\0" * 480)))
    model.send(model.dialect.write(do.CreateResponse()))
    told = await hear(model, most=2)
    assert told == [ev.ResponseStarted("resp_1"), ev.AudioReceived("resp_1", "item_1", 0, b"\1\0")]
    assert [message["type"] for message in received] == ["input_audio_buffer.append", "response.create"]
    await model.close()
    assert await hear(model) == []


async def test_messages_of_every_size_arrive_whole(far_side, settings) -> None:
    outputs = ["", "x" * 300, "ü" * 50_000]
    arrived: asyncio.Queue[str] = asyncio.Queue()

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        async for message in ws:
            arrived.put_nowait(json.loads(message)["item"]["output"])

    model = await open_socket(await far_side.serve(handler), settings)
    for output in outputs:
        model.send(model.dialect.write(do.SendToolOutput("call_1", output)))
    async with asyncio.timeout(5):
        assert [await arrived.get() for _ in outputs] == outputs
    await model.close()


async def test_messages_are_text_frames(far_side, settings) -> None:
    frames: list[str | bytes] = []

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        frames.append(await ws.recv())

    model = await open_socket(await far_side.serve(handler), settings)
    model.send(model.dialect.write(do.AppendAudio(b"\0\0")))
    await hear(model)
    assert frames == ['{"type":"input_audio_buffer.append","audio":"AAA="}']


async def test_errors_and_unknown_and_broken_messages_never_end_the_reading(far_side, settings) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await far_side.error(ws, "response_cancel_not_active", "None.", event_id="response.cancel:2")
        await far_side.say(ws, "response.telepathy.delta", delta="…")
        await ws.send("{")
        await ws.send(b"\x00\x01")
        await far_side.say(ws, "input_audio_buffer.committed", item_id="item_1", previous_item_id=None)

    model = await open_socket(await far_side.serve(handler), settings)
    told = await hear(model)
    assert told[:2] == [
        ev.ModelErred("response_cancel_not_active", "None.", "response.cancel:2"),
        ev.TurnCommitted("item_1"),
    ]
    assert isinstance(told[2], ev.ModelLost)
    assert model.dialect.unknown == {"response.telepathy.delta": 1}
    assert model.dialect.malformed == {"json": 2}


async def test_what_a_parked_session_receives_is_kept(far_side, settings) -> None:
    said = asyncio.Event()

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        for number in range(10):
            await far_side.say(ws, "input_audio_buffer.committed", item_id=f"item_{number}")
        said.set()
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    await said.wait()
    assert await hear(model, most=10) == [ev.TurnCommitted(f"item_{n}") for n in range(10)]
    await model.close()


async def test_a_slow_consumer_holds_the_server_back_and_misses_nothing(far_side, settings) -> None:
    total, sent = 1500, 0
    text = "x" * 2**15

    async def handler(ws: ServerConnection) -> None:
        nonlocal sent
        await far_side.configure(ws)
        for number in range(total):
            wire = {"type": "response.output_audio_transcript.delta", "response_id": f"{number}"}
            await ws.send(json.dumps(wire | {"item_id": "a", "content_index": 0, "delta": text}))
            sent += 1

    model = await open_socket(await far_side.serve(handler), settings)
    before = -1
    while before < sent:
        before = sent
        await asyncio.sleep(0.1)
    assert sent < total * 0.8  # 48 MB wanted to come; what did is in the sockets' own buffers
    told = await hear(model)
    assert [event.response_id for event in told[:-1]] == [str(number) for number in range(total)]


async def test_a_server_that_stops_reading_is_given_up_and_never_blocks_us(far_side, settings, monkeypatch) -> None:
    monkeypatch.setattr(model_socket, "MOST_UNSENT", 2**16)

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        ws.transport.pause_reading()
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    message = model.dialect.write(do.AppendAudio(b"\0" * 48_000))
    async with asyncio.timeout(5):
        while model.alive:
            model.send(message)
        (lost,) = await hear(model)
    assert isinstance(lost, ev.ModelLost)
    assert lost.code == "model_stalled"
    await far_side_gone(far_side)


async def far_side_gone(far_side: Any) -> None:
    """A server that does not read does not see us go; let it go first."""
    for server in far_side.servers:
        for connection in server.connections:
            connection.transport.abort()


async def test_a_server_that_is_held_back_waits_and_goes_on(far_side, settings) -> None:
    said = asyncio.Event()

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await ws.recv()
        for number in range(3):
            await far_side.say(ws, "input_audio_buffer.committed", item_id=f"item_{number}")
        said.set()
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    told: list[ev.ModelEvent] = []
    model.listen(told.append)
    model.hold_back(held=True)
    model.send(model.dialect.write(do.CreateResponse()))
    await asyncio.wait_for(said.wait(), 5)
    await asyncio.sleep(0.02)
    assert told == []
    model.hold_back(held=False)
    async with asyncio.timeout(5):
        while len(told) < 3:  # noqa: ASYNC110 - what is waited for is the socket's
            await asyncio.sleep(0.001)
    assert told == [ev.TurnCommitted(f"item_{number}") for number in range(3)]
    await model.close()


async def test_messages_in_fragments_arrive_whole(far_side, settings) -> None:
    text = json.dumps({"type": "input_audio_buffer.committed", "item_id": "item_ü"}, ensure_ascii=False)

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await ws.ping("in between")
        await ws.send([text[:7], text[7:20], text[20:]])
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    assert await hear(model, most=1) == [ev.TurnCommitted("item_ü")]
    await model.close()


async def test_a_server_that_breaks_the_protocol_is_lost_after_its_last_good_message(far_side, settings) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await far_side.say(ws, "input_audio_buffer.committed", item_id="item_1")
        ws.transport.write(b"\x83\x00")  # no frame is of this kind
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    told = await hear(model)
    assert told[0] == ev.TurnCommitted("item_1")
    assert isinstance(told[1], ev.ModelLost)
    assert told[1].code == "closed_1002"


async def test_the_tap_sees_every_message_both_ways(far_side, settings) -> None:
    seen: list[tuple[str, str]] = []
    url = await far_side.serve(far_side.ready)
    model = await open_socket(url, settings, tap=lambda way, raw: seen.append((way, json.loads(raw)["type"])))
    await model.close()
    assert seen == [("received", "session.created"), ("sent", "session.update"), ("received", "session.updated")]


# --- losing it --------------------------------------------------------------------------------------------------


EXPIRED = "Your session hit the maximum duration of 60 minutes."


@pytest.mark.parametrize(
    ("close_code", "reason", "code"),
    [
        (1001, EXPIRED, "session_expired"),
        (1001, "", "closed_1001"),
        (1000, "", "closed_1000"),
        (1011, "internal error", "closed_1011"),
        (3000, "invalid_request_error.insufficient_quota", "insufficient_quota"),
    ],
)
async def test_a_close_is_a_loss_even_a_polite_one(far_side, settings, close_code, reason, code) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await ws.close(close_code, reason)

    model = await open_socket(await far_side.serve(handler), settings)
    (lost,) = await hear(model)
    assert isinstance(lost, ev.ModelLost)
    assert lost.code == code
    assert reason in lost.message


async def test_a_fatal_error_is_a_loss_although_the_server_stays(far_side, settings) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await far_side.error(ws, "insufficient_quota", f"You exceeded your quota, {KEY}.")
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    (lost,) = await hear(model)
    assert isinstance(lost, ev.ModelLost)
    assert lost.code == "insufficient_quota"
    assert KEY not in lost.message
    assert not model.alive


async def test_a_broken_connection_is_a_loss_and_is_seen_while_parked(far_side, settings) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        ws.transport.abort()

    model = await open_socket(await far_side.serve(handler), settings)
    await asyncio.wait_for(model._gone(), 10)  # nobody reads; the library notices all the same
    assert not model.alive
    model.send(b'{"type":"input_audio_buffer.append","audio":""}')
    assert model.unsent == 1
    assert await hear(model) == [ev.ModelLost("closed_1006", "The connection broke without a word")]


async def test_a_message_beyond_all_measure_is_a_loss(far_side, settings, monkeypatch) -> None:
    monkeypatch.setattr(model_socket, "LARGEST_MESSAGE", 10_000)

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await ws.send("x" * 20_000)
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    (lost,) = await hear(model)
    assert isinstance(lost, ev.ModelLost)
    assert lost.code == "closed_1009"


async def test_a_dead_network_is_found_by_the_ping(far_side, settings, monkeypatch) -> None:
    monkeypatch.setattr(model_socket, "PING_EVERY_S", 0.3)
    monkeypatch.setattr(model_socket, "PING_TIMEOUT_S", 0.3)

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        ws.transport.pause_reading()
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    (lost,) = await hear(model)
    assert lost == ev.ModelLost("ping_timeout", "The model's side answered no ping")
    await far_side_gone(far_side)


async def test_closing_takes_a_second_at_most_and_twice_is_fine(far_side, settings, monkeypatch) -> None:
    monkeypatch.setattr(model_socket, "CLOSE_TIMEOUT_S", 0.1)

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        ws.transport.pause_reading()
        await far_side.stay(ws)

    model = await open_socket(await far_side.serve(handler), settings)
    async with asyncio.timeout(10):
        await model.close()
        await model.close()
    assert await hear(model) == []
    await far_side_gone(far_side)
