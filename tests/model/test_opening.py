"""Opening the socket against a tiny server of the test's own: how one gets in, and every way to be refused."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest
from python_socks import ProxyError
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from voice_gateway import __version__
from voice_gateway.call import events as ev
from voice_gateway.model.refusal import explain
from voice_gateway.model.settings import ModelSettings
from voice_gateway.model.socket import ModelRefused, ModelSocket

KEY = "sk-proj-VerySecretKey1234567890"
Answer = Callable[[ServerConnection, Request], Response | None]


async def open_socket(url: str, settings: ModelSettings, **options: Any) -> ModelSocket:
    return await ModelSocket.open(url, **({"api_key": KEY, "settings": settings} | options))


async def refused(url: str, settings: ModelSettings, **options: Any) -> ModelRefused:
    with pytest.raises(ModelRefused) as caught:
        await open_socket(url, settings, **options)
    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.__dict__}"
    await asyncio.sleep(0)  # a cancelled task is a task until then
    assert not [task for task in asyncio.all_tasks() if "ping" in repr(task.get_coro())]
    return caught.value


def answer(status: int, body: str = "", **headers: str) -> Answer:
    def respond(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus(status), body)
        for name, value in headers.items():
            response.headers[name] = value
        return response

    return respond


async def test_a_session_is_opened_configured_and_checked(far_side, settings) -> None:
    requests: list[Request] = []

    async def handler(ws: ServerConnection) -> None:
        requests.append(ws.request)
        await far_side.ready(ws)

    url = await far_side.serve(handler)
    model = await open_socket(url, settings, safety_identifier="a1b2", headers={"OpenAI-Organization": "org-1"})
    assert model.ready == ev.ModelReady("sess_1", "gpt-realtime-2.1")
    assert model.alive
    assert model.dialect.warnings == ()
    assert far_side.updates[0]["session"]["instructions"] == "You take orders."
    (request,) = requests
    assert request.path == "/v1/realtime?model=gpt-realtime-2.1"
    wanted = {
        "Authorization": f"Bearer {KEY}",
        "User-Agent": f"voice-gateway/{__version__}",
        "OpenAI-Safety-Identifier": "a1b2",
        "OpenAI-Organization": "org-1",
        "OpenAI-Beta": None,
        "Sec-WebSocket-Extensions": None,
    }
    assert {name: request.headers.get(name) for name in wanted} == wanted
    await model.close()
    assert not model.alive


async def test_the_endpoints_own_query_is_kept_and_an_empty_key_is_not_sent(far_side, settings) -> None:
    requests: list[Request] = []

    async def handler(ws: ServerConnection) -> None:
        requests.append(ws.request)
        await far_side.ready(ws)

    url = await far_side.serve(handler)
    model = await open_socket(f"{url}?api-version=1&model=old", settings, api_key="  ")
    await model.close()
    assert requests[0].path == "/v1/realtime?api-version=1&model=gpt-realtime-2.1"
    assert "Authorization" not in requests[0].headers


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable"),
    [
        (401, '{"error":{"code":"invalid_api_key","message":"Wrong: ' + KEY + '"}}', "invalid_api_key", False),
        (403, "Forbidden", "http_403", False),
        (404, '{"error":null}', "http_404", False),
        (429, '{"error":{"code":"insufficient_quota"}}', "insufficient_quota", False),
        (429, "[]", "http_429", True),
        (503, "", "http_503", True),
    ],
)
async def test_an_http_answer_is_a_refusal(far_side, settings, status, body, code, retryable) -> None:
    url = await far_side.serve(far_side.ready, process_request=answer(status, body))
    refusal = await refused(url, settings)
    assert (refusal.code, refusal.retryable) == (code, retryable)
    assert str(status) in refusal.message
    assert refusal.event == ev.ModelUnavailable(code, refusal.message)


async def test_a_redirect_is_not_followed_because_the_key_would_go_with_it(far_side, settings) -> None:
    elsewhere: list[ServerConnection] = []

    async def other(ws: ServerConnection) -> None:
        elsewhere.append(ws)

    target = await far_side.serve(other)
    url = await far_side.serve(far_side.ready, process_request=answer(302, Location=target))
    assert (await refused(url, settings)).code == "http_302"
    assert elsewhere == []


async def test_an_error_and_a_close_after_the_upgrade_is_a_refusal(far_side, settings) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.error(ws, "invalid_api_key", f"Incorrect API key provided: {KEY}.")
        await ws.close(3000, "invalid_request_error.invalid_api_key")

    refusal = await refused(await far_side.serve(handler), settings)
    assert (refusal.code, refusal.retryable) == ("invalid_api_key", False)
    assert "Incorrect API key provided" in refusal.message


@pytest.mark.parametrize(
    ("close_code", "reason", "code", "retryable"),
    [
        (3000, "invalid_request_error.invalid_api_key", "invalid_api_key", False),
        (4000, "invalid_request_error.beta_api_shape_disabled", "beta_api_shape_disabled", False),
        (1013, "", "closed_1013", True),
        (1008, "no thank you", "closed_1008", False),
    ],
)
async def test_a_close_alone_is_a_refusal(far_side, settings, close_code, reason, code, retryable) -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.close(close_code, reason)

    refusal = await refused(await far_side.serve(handler), settings)
    assert (refusal.code, refusal.retryable) == (code, retryable)


async def test_settings_that_the_server_rejects_are_a_refusal(far_side, settings) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.say(ws, "session.created", session={"id": "sess_1"})
        update = json.loads(await ws.recv())
        await far_side.error(ws, "unknown_parameter", "Unknown parameter", event_id=update["event_id"])
        await far_side.stay(ws)

    refusal = await refused(await far_side.serve(handler), settings)
    assert (refusal.code, refusal.retryable) == ("unknown_parameter", False)


@pytest.mark.parametrize("leg", ["input", "output"])
async def test_a_wrong_format_in_the_echo_is_a_refusal(far_side, settings, leg) -> None:
    right = {"type": "audio/pcm", "rate": 24000}
    audio = {"input": {"format": right}, "output": {"format": right}} | {leg: {"format": {"type": "audio/pcmu"}}}

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws, audio=audio)
        await far_side.stay(ws)

    refusal = await refused(await far_side.serve(handler), settings)
    assert refusal.code == "format_mismatch"
    assert f'audio.{leg}.format: asked for {{"type":"audio/pcm","rate":24000}}' in refusal.message


async def stall_silent(far_side: Any, ws: ServerConnection) -> None:
    await far_side.stay(ws)


async def stall_after_created(far_side: Any, ws: ServerConnection) -> None:
    await far_side.say(ws, "session.created", session={"id": "sess_1"})
    await far_side.stay(ws)


async def stall_with_chatter(far_side: Any, ws: ServerConnection) -> None:
    while True:
        await far_side.say(ws, "rate_limits.updated", rate_limits=[])
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("stall", [stall_silent, stall_after_created, stall_with_chatter])
async def test_a_server_that_stalls_is_a_refusal_in_time(
    far_side, settings, stall: Callable[[Any, ServerConnection], Awaitable[None]]
) -> None:
    async def handler(ws: ServerConnection) -> None:
        await stall(far_side, ws)

    refusal = await refused(await far_side.serve(handler), settings, connect_timeout_s=0.4)
    assert (refusal.code, refusal.retryable) == ("timeout", True)
    assert "configured session within 0.4 s" in refusal.message


@asynccontextmanager
async def plain_tcp(reply: bytes, asked: asyncio.Event | None = None) -> AsyncIterator[int]:
    """A port where somebody takes what comes, says reply to it, and waits for the other to go."""
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        if asked is not None:
            asked.set()
        writer.write(reply)
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        await asyncio.wait_for(gone.wait(), 10)


async def test_a_server_that_accepts_and_says_nothing_is_a_refusal_in_time(settings) -> None:
    async with plain_tcp(b"") as port:
        refusal = await refused(f"ws://127.0.0.1:{port}", settings, connect_timeout_s=0.15)
    assert refusal.code == "timeout"
    assert "connection within" in refusal.message


async def test_a_closed_port_is_a_refusal(settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refusal = await refused(f"ws://127.0.0.1:{taken.getsockname()[1]}", settings)
    assert (refusal.code, refusal.retryable) == ("connection_refused", True)


@pytest.fixture
def no_proxies(monkeypatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy", "socks_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def no_names(monkeypatch) -> None:
    """A network in which no host has an address."""

    def nothing(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)


async def test_a_name_without_an_address_is_a_refusal(settings, no_proxies, no_names) -> None:
    refusal = await refused("wss://model.invalid/v1/realtime", settings)
    assert (refusal.code, refusal.retryable) == ("dns_failed", True)


async def test_no_tls_where_tls_was_expected_is_a_refusal(settings) -> None:
    async with plain_tcp(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        refusal = await refused(f"wss://127.0.0.1:{port}", settings)
    assert (refusal.code, refusal.retryable) == ("tls_failed", False)


async def test_a_server_that_hangs_up_without_an_answer_is_a_refusal(settings) -> None:
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0) as server:
        refusal = await refused(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", settings)
    assert refusal.code in {"handshake_failed", "network_failed"}  # it may be gone before we have asked


async def test_an_answer_in_chunks_is_understood(settings) -> None:
    body = b'{"error":{"code":"insufficient_quota","message":"Pay."}}'
    head = b"HTTP/1.1 429 Too Many Requests\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with plain_tcp(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)) as port:
        refusal = await refused(f"ws://127.0.0.1:{port}", settings)
    assert (refusal.code, refusal.retryable) == ("insufficient_quota", False)
    assert refusal.message == "The endpoint answered HTTP 429: Pay."


# --- by way of a proxy ------------------------------------------------------------------------------------------


@asynccontextmanager
async def tunnel(
    to_port: int, answer_first: bytes = b"HTTP/1.1 200 OK\r\n\r\n"
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """An HTTP proxy that leads everybody to one port of loopback; what it was asked for."""
    asked: list[bytes] = []

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer_first)
        if b" 200 " in answer_first:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to_port)
            await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))
        writer.close()

    async with await asyncio.start_server(lead, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], asked


async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def test_a_proxy_of_the_environment_is_used(far_side, settings, no_proxies, monkeypatch) -> None:
    port = int((await far_side.serve(far_side.ready)).rsplit(":", 1)[1].split("/")[0])
    async with tunnel(port) as (proxy_port, asked):
        monkeypatch.setenv("http_proxy", f"http://user:pass%40word@127.0.0.1:{proxy_port}")
        model = await open_socket("ws://model.invalid:81/v1/realtime", settings)
        await model.close()
    assert asked[0].startswith(b"CONNECT model.invalid:81 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNzQHdvcmQ=\r\n" in asked[0]


async def test_no_proxy_is_asked_for_loopback(far_side, settings, no_proxies, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    model = await open_socket(await far_side.serve(far_side.ready), settings)
    await model.close()


async def test_no_proxy_is_asked_for_what_the_environment_excepts(settings, no_proxies, no_names, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "model.invalid")
    assert (await refused("ws://model.invalid/v1/realtime", settings)).code == "dns_failed"


async def test_a_proxy_that_refuses_us_is_a_refusal(settings, no_proxies, monkeypatch) -> None:
    async with tunnel(0, b"HTTP/1.1 407 Who are you?\r\n\r\n") as (proxy_port, _):
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{proxy_port}")
        refusal = await refused("ws://model.invalid/v1/realtime", settings)
    assert refusal.code == "proxy_failed"
    assert "pass" not in str(refusal)


@pytest.mark.parametrize("proxy", ["ftp://user:pass@proxy", "http://", "socks9://proxy"])
async def test_a_proxy_that_is_none_is_a_refusal(settings, no_proxies, monkeypatch, proxy) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    refusal = await refused("wss://model.invalid/v1/realtime", settings)
    assert refusal.code == "proxy_failed"
    assert "pass" not in str(refusal)


# --- what the network does --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed certificate"), "tls_failed"),
        (ConnectionResetError(104, "Connection reset by peer"), "network_failed"),
        (OSError(101, "Network is unreachable"), "network_failed"),
        (TimeoutError(110, "Connection timed out"), "timeout"),
        (ProxyError("http://u:p@proxy: no"), "proxy_failed"),
    ],
)
def test_what_the_network_does_to_us_has_a_name(error: Exception, code: str) -> None:
    refusal = explain(error, str)
    assert refusal.code == code
    assert "u:p" not in str(refusal)


@pytest.mark.parametrize("url", ["https://api.openai.com/v1/realtime", "nonsense", "", "ws://[::1", "ws://a..b/"])
async def test_an_endpoint_that_is_none_is_a_refusal(settings, url) -> None:
    refusal = await refused(url, settings)
    assert (refusal.code, refusal.retryable) == ("bad_url", False)


async def test_a_server_without_websockets_is_a_refusal(far_side, settings) -> None:
    url = await far_side.serve(far_side.ready, process_request=answer(200, "Welcome"))
    assert (await refused(url, settings)).code == "http_200"


@pytest.mark.parametrize("key", ["sk-two\nlines-1234567", "sk-ключ-1234567"])
async def test_a_key_that_no_header_can_hold_is_a_refusal(settings, key) -> None:
    refusal = await refused("ws://127.0.0.1:1", settings, api_key=key)
    assert refusal.code == "bad_header"
    assert key not in str(refusal)


async def test_the_key_is_in_no_log_line_however_talkative_the_root_is(far_side, settings, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, logger="websockets")  # our own logging, once set up, keeps it quiet
    model = await open_socket(await far_side.serve(far_side.ready), settings)
    await model.close()
    assert caplog.records  # the far side's own library does talk
    assert not [record for record in caplog.records if record.name.startswith(("voice_gateway", "websockets.client"))]


async def test_a_cancelled_opening_leaves_nothing_open(far_side, settings) -> None:
    there, left = asyncio.Event(), asyncio.Event()

    async def handler(ws: ServerConnection) -> None:
        there.set()
        await ws.wait_closed()
        left.set()

    opening = asyncio.create_task(open_socket(await far_side.serve(handler), settings))
    await asyncio.wait_for(there.wait(), 10)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    await asyncio.wait_for(left.wait(), 10)


async def test_an_opening_cancelled_before_the_server_has_answered_leaves_nothing_open(settings) -> None:
    asked = asyncio.Event()
    async with plain_tcp(b"", asked) as port:  # which waits for us to go
        opening = asyncio.create_task(open_socket(f"ws://127.0.0.1:{port}", settings))
        await asyncio.wait_for(asked.wait(), 10)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
