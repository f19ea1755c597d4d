"""The emulated model on a socket: the official client converses with it, and every way to be refused or cut off."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import websockets
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect

from voice_gateway.emulator.faculties import Act, Say, Situation, UseTool
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar

KEY = "sk-test-0123456789"
LONG = "This answer is long enough that somebody can cut in while it is still being made, word after word after word."
HUM = b"".join(ToneVoice().speak("x" * 17)).ljust(48 * 1020, b"\0")


SERVERS: list[RealtimeServer] = []


@pytest.fixture(autouse=True)
def _all_that_was_sent_is_known_to_the_sdk(checked):
    SERVERS.clear()
    yield
    for far in SERVERS:
        for session in far.sessions:
            for event in session.sent:
                checked(event)


def server(*replies: Any, texts: Sequence[str] = ("hello", "again"), **more: Any) -> RealtimeServer:
    mind = more.pop("mind", None) or ScriptedMind(replies or ["Hello there."])
    settings = {"api_key": KEY, "latency": INSTANT, "speed": 40} | more
    SERVERS.append(RealtimeServer(mind=mind, voice=ToneVoice(), ear=TypedEar(texts), **settings))
    return SERVERS[-1]


@pytest.fixture
async def link_to():
    """Connect the official client: by the address of HTTP, as most do."""
    clients: list[AsyncOpenAI] = []

    def to(far: RealtimeServer, model: str = "gpt-realtime-2.1") -> Any:
        clients.append(AsyncOpenAI(api_key=KEY, base_url=far.http_url))
        return clients[-1].realtime.connect(model=model)

    yield to
    for client in clients:
        await client.close()


async def raw(
    far: RealtimeServer, key: str = KEY, query: str = "?model=gpt-realtime-2.1", **more: Any
) -> ClientConnection:
    return await connect(
        far.url + query, compression=None, additional_headers={"Authorization": f"Bearer {key}", **more}
    )


def append(sound: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(sound).decode()})


async def frames(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    async for message in socket:
        yield json.loads(message)


async def until(link: Any, kind: str) -> list[Any]:
    seen = []
    async for event in link:
        seen.append(event)
        if event.type == kind:
            return seen
    raise AssertionError(f"the connection ended before {kind}: {[event.type for event in seen]}")


async def write(link: Any, sound: bytes, piece_ms: int = 20) -> None:
    for start in range(0, len(sound), 48 * piece_ms):
        await link.input_audio_buffer.append(audio=base64.b64encode(sound[start : start + 48 * piece_ms]).decode())


# --- the official client ----------------------------------------------------------------------------------------


async def test_the_official_client_speaks_and_is_answered(link_to, checked):
    async with server("Good evening to you.") as far, link_to(far) as link:
        await until(link, "session.created")
        await write(link, HUM + bytes(48 * 600))
        seen = await until(link, "rate_limits.updated")
        for event in seen:
            checked(event.to_dict(mode="json"))
        kinds = [event.type for event in seen]
        assert kinds[:6] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
        ]
        spoken = b"".join(
            base64.b64decode(event.delta) for event in seen if event.type == "response.output_audio.delta"
        )
        assert len(spoken) == 48 * 60 * len("Good evening to you.")
        done = seen[-2].response
        assert done.status == "completed"
        assert done.output[0].content[0].transcript == "Good evening to you."
        assert far.sessions[0].input_ms == 1620
        assert far.sessions[0].items[0].text == "hello"


async def test_the_official_client_finds_the_websocket_by_its_own_address():
    async with server() as far:
        client = AsyncOpenAI(
            api_key=KEY, base_url="http://127.0.0.1:9/v1", websocket_base_url=far.url.removesuffix("/realtime")
        )
        async with client.realtime.connect(model="gpt-realtime") as link:
            (created,) = await until(link, "session.created")
        assert created.session.model == "gpt-realtime"
        await client.close()


async def test_the_official_client_interrupts_and_truncates(link_to):
    async with server(LONG, "Go on.", speed=8) as far, link_to(far) as link:
        await link.response.create()
        await until(link, "response.output_audio.delta")
        await write(link, HUM)
        seen = await until(link, "response.done")
        assert seen[-1].response.status == "cancelled"
        assert seen[-1].response.status_details.reason == "turn_detected"
        (item,) = far.sessions[0].items
        await link.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=40)
        cut = (await until(link, "conversation.item.truncated"))[-1]
        assert (cut.item_id, cut.audio_end_ms) == (item.id, 40)
        await link.conversation.item.truncate(item_id=item.id, content_index=0, audio_end_ms=999_999, event_id="late")
        error = (await until(link, "error"))[-1].error
        assert (error.code, error.event_id) == ("invalid_value", "late")
        assert far.sessions[0].truncations == [(item.id, 40)]


async def test_the_official_client_calls_a_tool(link_to):
    async with server([Say("One moment."), UseTool("look_up", {"item": "latte"})], "It is {output}.") as far:
        async with link_to(far) as link:
            tool = {"type": "function", "name": "look_up", "parameters": {"type": "object", "properties": {}}}
            await link.session.update(session={"type": "realtime", "tools": [tool]})
            await link.response.create()
            done = (await until(link, "response.done"))[-1].response
            call = done.output[1]
            assert json.loads(call.arguments) == {"item": "latte"}
            output = {"type": "function_call_output", "call_id": call.call_id, "output": "4.50"}
            await link.conversation.item.create(item=output)
            await link.response.create()
            done = (await until(link, "response.done"))[-1].response
            assert done.output[0].content[0].transcript == "It is 4.50."
        assert far._mind.situations[0].tools[0]["name"] == "look_up"


async def test_the_models_are_listed_with_their_end():
    async with server() as far:
        client = AsyncOpenAI(api_key=KEY, base_url=far.http_url)
        models = {model.id: model for model in (await client.models.list()).data}
        await client.close()
    assert models["gpt-realtime"].to_dict()["shutdown_date"] == "2027-01-20"
    assert "shutdown_date" not in models["gpt-realtime-2.1"].to_dict()


# --- the way in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "query", "status", "code"),
    [
        ({}, "?model=gpt-realtime", 401, "missing_api_key"),
        ({"Authorization": f"Bearer {KEY}"}, "", 400, "missing_required_parameter"),
        ({"Authorization": f"Bearer {KEY}"}, "/else?model=gpt-realtime", 404, "not_found"),
    ],
)
async def test_an_upgrade_that_is_refused(headers, query, status, code):
    async with server() as far:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(far.url + query, additional_headers=headers)
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body or b"")["error"]["code"] == code
        assert far.sessions == []


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_an_upgrade_that_is_refused_on_demand(status):
    async with server(faults=Faults(handshake_status=status)) as far:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await raw(far)
        assert refused.value.response.status_code == status
        far.faults = Faults()
        async with await raw(far):
            await far.joined()


@pytest.mark.parametrize(
    ("key", "query", "headers", "code", "close"),
    [
        ("wrong", "?model=gpt-realtime-2.1", {}, "invalid_api_key", 3000),
        (KEY, "?model=gpt-9", {}, "model_not_found", 3000),
        (KEY, "?model=gpt-realtime-2.1", {"OpenAI-Beta": "realtime=v1"}, "beta_api_shape_disabled", 4000),
    ],
)
async def test_a_session_that_is_refused_inside_the_socket(key, query, headers, code, close):
    async with server() as far, await raw(far, key, query, **headers) as socket:
        events = [event async for event in frames_until_close(socket)]
        assert [event["type"] for event in events] == ["error"]
        assert events[0]["error"]["code"] == code
        assert (socket.close_code, socket.close_reason) == (close, f"invalid_request_error.{code}")


async def frames_until_close(socket: ClientConnection) -> AsyncIterator[dict[str, Any]]:
    try:
        async for event in frames(socket):
            yield event
    except websockets.ConnectionClosedError:
        return


async def test_a_browser_shows_its_key_among_the_subprotocols():
    async with server() as far:
        protocols = ["realtime", f"openai-insecure-api-key.{KEY}"]
        async with connect(far.url + "?model=gpt-realtime", subprotocols=protocols) as socket:
            assert socket.subprotocol == "realtime"
            assert json.loads(await socket.recv())["type"] == "session.created"


async def test_an_upgrade_can_stall_and_the_server_still_ends():
    async with server(faults=Faults(connect_stall_s=60)) as far:
        with pytest.raises(TimeoutError):
            await connect(far.url + "?model=gpt-realtime", open_timeout=0.05)


async def test_any_key_is_good_where_none_is_asked_for():
    async with server(api_key=None) as far, await raw(far, "whatever") as socket:
        assert json.loads(await socket.recv())["type"] == "session.created"


# --- the way out ------------------------------------------------------------------------------------------------


async def test_an_expired_session_ends_with_1001_and_its_sentence():
    async with server(faults=Faults(close_after_s=0.02)) as far, await raw(far) as socket:
        kinds = [event["type"] async for event in frames_until_close(socket)]
        assert kinds == ["session.created", "error"]
        assert socket.close_code == 1001
        assert socket.close_reason == "Your session hit the maximum duration of 60 minutes."


@pytest.mark.parametrize("code", [1006, 1011])
async def test_a_session_that_breaks(code):
    async with server(faults=Faults(close_after_s=0.02, close_code=code)) as far, await raw(far) as socket:
        assert [event["type"] async for event in frames_until_close(socket)] == ["session.created"]
        assert socket.close_code == code


async def test_a_session_can_be_dropped_by_the_test_itself():
    async with server() as far, await raw(far) as socket:
        session = await far.joined()
        await far.drop(session, 1011, "because")
        assert [event["type"] async for event in frames_until_close(socket)] == ["session.created"]
        assert (socket.close_code, socket.close_reason) == (1011, "because")
        await far.drop(session)


async def test_faults_hold_for_the_sessions_that_begin_after_them():
    async with server() as far, await raw(far) as first:
        await far.joined()
        far.faults = Faults(refuse_code="insufficient_quota")
        async with await raw(far) as second:
            assert [event["error"]["code"] async for event in frames_until_close(second)] == ["insufficient_quota"]
        await first.send(json.dumps({"type": "response.create"}))
        assert [json.loads(await first.recv())["type"] for _ in range(2)] == ["session.created", "response.created"]


async def test_nothing_is_left_of_a_client_that_goes_in_the_middle_of_an_answer():
    before = asyncio.all_tasks()
    async with server(LONG, speed=2) as far:
        async with await raw(far) as socket:
            await socket.send(json.dumps({"type": "response.create"}))
            async for event in frames(socket):
                if event["type"] == "response.output_audio.delta":
                    break
            socket.transport.abort()
        await far.emptied()
        assert far.connected == 0
    assert asyncio.all_tasks() == before


async def test_messages_that_are_no_events_do_not_end_the_session():
    async with server() as far, await raw(far) as socket:
        await socket.recv()
        for message in ("not json", "[]", b"\x00\x01", '{"type": 3}'):
            await socket.send(message)
            event = json.loads(await socket.recv())
            assert (event["type"], event["error"]["code"]) == ("error", "invalid_event")
        await socket.send(json.dumps({"type": "response.create"}))
        assert json.loads(await socket.recv())["type"] == "response.created"


class Broken:
    """Fails whenever it is asked."""

    rate_hz = 24000

    def respond(self, situation: Situation) -> Sequence[Act]:
        raise RuntimeError(f"{len(situation.lines)} lines are too many")

    def speak(self, text: str) -> Any:
        raise RuntimeError(text)

    def transcribe(self, samples: Any, rate_hz: int, *, vocabulary: Sequence[str] = ()) -> str:
        raise RuntimeError(f"{len(samples)} at {rate_hz} with {vocabulary}")


@pytest.mark.parametrize("part", ["mind", "voice"])
async def test_a_mind_or_voice_that_breaks_fails_the_response_alone(part, caplog):
    parts = {"mind": ScriptedMind(["a", "b"]), "voice": ToneVoice(), part: Broken()}
    async with RealtimeServer(**parts, latency=INSTANT) as far, await raw(far) as socket:
        for _ in range(2):
            await socket.send(json.dumps({"type": "response.create"}))
            async for event in frames(socket):
                if event["type"] == "response.done":
                    assert event["response"]["status"] == "failed"
                    break
    assert "the emulated model could not" in caplog.text


async def test_an_ear_that_breaks_fails_the_transcript_alone(caplog):
    broken = RealtimeServer(mind=ScriptedMind(["Yes?"]), voice=ToneVoice(), ear=Broken(), latency=INSTANT)
    async with broken as far, await raw(far) as socket:
        transcription = {"transcription": {"model": "gpt-realtime-whisper"}}
        update = {"type": "realtime", "audio": {"input": transcription}}
        await socket.send(json.dumps({"type": "session.update", "session": update}))
        await socket.send(append(HUM + bytes(48 * 600)))
        kinds = []
        async for event in frames(socket):
            kinds.append(event["type"])
            if event["type"] == "response.done":
                assert event["response"]["status"] == "completed"
                break
    assert "conversation.item.input_audio_transcription.failed" in kinds
    assert "could not hear" in caplog.text


async def test_a_large_append_is_taken_whole():
    async with server() as far, await raw(far) as socket:
        await socket.send(append(bytes(9_600_000)))
        await socket.send(json.dumps({"type": "input_audio_buffer.clear"}))
        assert [json.loads(await socket.recv())["type"] for _ in range(2)][1] == "input_audio_buffer.cleared"
        assert far.sessions[0].input_ms == 200_000


async def test_what_was_sent_and_received_can_be_read_without_its_sound():
    async with server() as far, await raw(far) as socket:
        for _ in range(3):
            await socket.send(append(bytes(960)))
        await socket.send(json.dumps({"type": "response.create", "event_id": "r"}))
        async for event in frames(socket):
            if event["type"] == "response.done":
                break
        session = far.sessions[0]
        assert session.received == [
            {"type": "input_audio_buffer.append", "count": 3, "written_ms": 60},
            {"type": "response.create", "event_id": "r"},
        ]
        assert sum(len(json.dumps(event)) for event in session.sent) < 20_000
