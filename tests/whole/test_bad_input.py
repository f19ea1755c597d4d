"""What a hostile or broken far side may do, and what becomes of it: a log line, a figure, a word, nothing leaked."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.agent.cast import Cast
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.app import Gateway
from voice_gateway.cli.stage import PUBLIC_HOST, Stage
from voice_gateway.config import Settings
from voice_gateway.emulator.faults import Faults
from voice_gateway.session import Core
from voice_gateway.switchboard import LiveCall

CALL_SID = "CA" + "7" * 32
FORM = {"CallSid": CALL_SID, "From": "+15551230001", "To": "+15551230002", "Direction": "inbound"}


class Carrier:
    """A carrier by hand: it does what a test says, well or badly. Signs with Twilio's own code."""

    def __init__(self, running: Stage) -> None:
        self.running = running
        self._validator = RequestValidator(running.carrier.auth_token)
        self.ws_url = running.base_url.replace("http", "ws", 1) + "/ws/twilio"

    def signature(self, url: str, form: dict[str, str]) -> dict[str, str]:
        return {"X-Twilio-Signature": self._validator.compute_signature(url, form)}

    async def post(self, path: str, form: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
        signed = self.signature(f"https://{PUBLIC_HOST}{path}", form) if headers is None else headers
        async with httpx.AsyncClient(base_url=self.running.base_url) as client:
            return await client.post(path, data=form, headers=signed)

    async def token(self, call_sid: str = CALL_SID) -> str:
        answer = await self.post("/twilio/answer", FORM | {"CallSid": call_sid})
        found = re.search(r'name="token" value="([^"]+)"', answer.text)
        assert found is not None, answer.text
        return found[1]

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[ClientConnection]:
        headers = self.signature(f"wss://{PUBLIC_HOST}/ws/twilio", {})
        async with connect(self.ws_url, additional_headers=headers, compression=None) as ws:
            yield ws

    @asynccontextmanager
    async def stream(self, call_sid: str = CALL_SID, token: str | None = None) -> AsyncIterator[ClientConnection]:
        token = await self.token(call_sid) if token is None else token
        async with self.socket() as ws:
            await ws.send(b'{"event":"connected","protocol":"Call","version":"1.0.0"}', text=True)
            await ws.send(start_message(call_sid, token), text=True)
            yield ws


def start_message(call_sid: str, token: str) -> bytes:
    start = {
        "accountSid": "AC" + "0" * 32,
        "streamSid": "MZ1",
        "callSid": call_sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": token},
    }
    return orjson.dumps({"event": "start", "sequenceNumber": "1", "start": start, "streamSid": "MZ1"})


def media(payload: str, chunk: int = 1) -> str:
    body = {"track": "inbound", "chunk": str(chunk), "timestamp": str(chunk * 20), "payload": payload}
    return orjson.dumps({"event": "media", "sequenceNumber": "2", "media": body, "streamSid": "MZ1"}).decode()


async def heard_by(ws: ClientConnection) -> None:
    """Wait for the first sound."""
    async with asyncio.timeout(15):
        while orjson.loads(await ws.recv())["event"] != "media":
            pass


async def closed_with(ws: ClientConnection, within_s: float = 15.0) -> int | None:
    try:
        async with asyncio.timeout(within_s):
            while True:
                await ws.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


async def figure(running: Stage, series: str) -> float:
    text = running.gateway.metrics.render()[0].decode()
    found = re.search(rf"^{re.escape(series)} ([0-9.e+-]+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


# --- the webhook ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"X-Twilio-Signature": "bm90IGEgc2lnbmF0dXJl"}])
async def test_a_webhook_with_a_wrong_or_missing_signature_is_refused(
    staging: Staging, log: io.StringIO, headers: dict[str, str]
) -> None:
    async with staging() as running:
        answer = await Carrier(running).post("/twilio/answer", FORM, headers)
        assert answer.status_code == 403
        assert running.gateway.switchboard.live == 0
        assert await figure(running, 'voice_refusals_total{door="webhook",reason="signature"}') == 1
    assert '"msg":"twilio.webhook.refused"' in log.getvalue()


async def test_a_webhook_without_a_call_or_too_large_is_refused(staging: Staging) -> None:
    async with staging() as running:
        carrier = Carrier(running)
        assert (await carrier.post("/twilio/answer", {"From": "x"})).status_code == 400
        assert (await carrier.post("/twilio/answer", FORM | {"Pad": "x" * 70_000})).status_code == 413
        assert running.gateway.switchboard.live == 0


async def test_a_webhook_that_never_ends_does_not_stop_another(staging: Staging) -> None:
    async with staging() as running:
        port = int(running.base_url.rsplit(":", 1)[1])
        silent = socket.create_connection(("127.0.0.1", port))
        silent.sendall(b"POST /twilio/answer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nCall")
        assert await Carrier(running).token()
        silent.close()


async def test_a_full_gateway_says_so_in_words(staging: Staging) -> None:
    async with staging(settings={"MAX_CALLS": "1"}) as running:
        carrier = Carrier(running)
        await carrier.token()
        second = await carrier.post("/twilio/answer", FORM | {"CallSid": "CA" + "8" * 32})
        assert second.status_code == 200
        assert "All our lines are busy" in second.text
        assert "<Hangup" in second.text
        assert (await Carrier(running).post("/twilio/answer", FORM)).text.count("<Stream") == 1, "the same call again"
        async with httpx.AsyncClient() as client:
            ready = await client.get(f"{running.base_url}/ready")
        assert ready.status_code == 503
        assert ready.json()["reasons"][0]["code"] == "full"


async def test_a_disabled_gateway_says_so_in_words(staging: Staging) -> None:
    async with staging(settings={"VOICE_AGENT_ENABLED": "false"}) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.ended(15)
    assert call.outcome == "completed"
    assert call.said == ["We cannot take your call at the moment. Please try again later."]


# --- the media stream -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"X-Twilio-Signature": "bm90IGEgc2lnbmF0dXJl"}])
async def test_an_upgrade_with_a_wrong_or_missing_signature_gets_403(staging: Staging, headers: dict[str, str]) -> None:
    async with staging() as running:
        with pytest.raises(InvalidStatus) as refused:
            await connect(Carrier(running).ws_url, additional_headers=headers)
        assert refused.value.response.status_code == 403
        assert await figure(running, 'voice_refusals_total{door="stream",reason="signature"}') == 1


async def test_a_replayed_token_opens_nothing(staging: Staging) -> None:
    async with staging() as running:
        carrier = Carrier(running)
        token = await carrier.token()
        async with carrier.stream(token=token) as first:
            await first.recv()
            async with carrier.stream(token=token) as second:
                assert await closed_with(second) == 1008
            assert running.gateway.switchboard.live == 1
        assert await figure(running, 'voice_refusals_total{door="stream",reason="replayed"}') == 1


async def test_a_second_stream_for_a_live_call_is_refused_and_the_first_lives(staging: Staging) -> None:
    async with staging() as running:
        carrier = Carrier(running)
        first_token, second_token = await carrier.token(), await carrier.token()
        async with carrier.stream(token=first_token) as first:
            await first.recv()
            async with carrier.stream(token=second_token) as second:
                assert await closed_with(second) == 1008
            await first.send(media(base64.b64encode(b"\xff" * 160).decode()))
            assert running.gateway.switchboard.live == 1
        assert await figure(running, 'voice_refusals_total{door="stream",reason="second_stream"}') == 1


@pytest.mark.parametrize("token", ["", "A" * 91, "\u2603"])
async def test_a_foreign_token_is_refused(staging: Staging, token: str) -> None:
    async with staging() as running, Carrier(running).stream(token=token) as ws:
        assert await closed_with(ws) == 1008


async def test_a_token_of_another_call_is_refused(staging: Staging) -> None:
    async with staging() as running:
        carrier = Carrier(running)
        token = await carrier.token()
        async with carrier.stream("CA" + "9" * 32, token) as ws:
            assert await closed_with(ws) == 1008


async def test_a_start_that_never_comes_is_waited_for_and_no_longer(staging: Staging, log: io.StringIO) -> None:
    async with staging(settings={"START_TIMEOUT_SECONDS": "0.3"}) as running, Carrier(running).socket() as ws:
        assert await closed_with(ws) == 1008
    assert '"reason":"no_start"' in log.getvalue()


async def test_a_stream_survives_all_kinds_of_rubbish(staging: Staging) -> None:
    async with staging(["Hello, I am still here."]) as running, Carrier(running).stream() as ws:
        rubbish: list[Any] = [
            b"\x00\x01 binary", "{broken", "[]", "null", '{"event":"teleport"}', media("!!! not base64 !!!"),
            '{"event":"media"}', media("//8=").replace("MZ1", "MZ2"), "x" * 1_000_000,
            start_message(CALL_SID, "").decode(), '{"event":"mark","streamSid":"MZ1","mark":{"name":"never sent"}}',
        ]  # fmt: skip
        for message in rubbish:
            await ws.send(message)
        heard = 0
        async with asyncio.timeout(15):
            while heard < 8000:
                message = orjson.loads(await ws.recv())
                heard += len(base64.b64decode(message.get("media", {}).get("payload", "")))
                if message["event"] == "mark":
                    await ws.send(orjson.dumps({"event": "mark", "streamSid": "MZ1", "mark": message["mark"]}).decode())
        assert running.gateway.switchboard.live == 1
        await ws.send('{"event":"stop","streamSid":"MZ1"}')
        await closed_with(ws)
        text = running.gateway.metrics.render()[0].decode()
    dropped = dict(re.findall(r'voice_media_messages_dropped_total\{reason="(\w+)"\} ([1-9]\d*)', text))
    assert {"binary", "not_json", "bad_payload", "foreign_stream", "oversized", "unknown_event"} <= dropped.keys()


async def test_a_client_that_stops_reading_is_dropped_and_others_are_not_disturbed(staging: Staging) -> None:
    settings = {"PLAYOUT_LEAD_MS": "5000"}
    async with staging(["All the words there are, again and again. " * 40], settings=settings) as running:
        carrier = Carrier(running)
        token = await carrier.token()
        for listener in running.server.servers[0].sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        raw = await _deaf_stream(carrier, token)
        other = await running.carrier.dial(running.webhook_url)
        await other.answered()
        await other.until_heard(0.5)
        await other.hang_up()
        async with asyncio.timeout(15):
            while running.gateway.switchboard.live:  # noqa: ASYNC110 - a gauge, not an event
                await asyncio.sleep(0.02)
        raw.close()
        await running.gateway.store.flush()
        row = await running.gateway.store.read_call(CALL_SID)
        events = await running.gateway.store.read_events(CALL_SID)
    assert row is not None
    assert row["end_reason"] == "stalled"
    assert "send_blocked" in [fault["code"] for fault in payloads(events, "ERROR")], "noticed before it was too late"


async def _deaf_stream(carrier: Carrier, token: str) -> socket.socket:
    """A media stream whose receive buffer is tiny and never read."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.connect(("127.0.0.1", int(carrier.running.base_url.rsplit(":", 1)[1])))
    signature = carrier.signature(f"wss://{PUBLIC_HOST}/ws/twilio", {})["X-Twilio-Signature"]
    raw.sendall(
        b"GET /ws/twilio HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
        b"X-Twilio-Signature: " + signature.encode() + b"\r\n\r\n"
    )
    assert b" 101 " in await asyncio.to_thread(raw.recv, 512)
    message = start_message(CALL_SID, token)
    raw.sendall(b"\x81\xfe" + len(message).to_bytes(2, "big") + b"\0\0\0\0" + message)
    return raw


async def test_a_socket_that_dies_without_a_word_ends_the_call(staging: Staging) -> None:
    async with staging() as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.2)
        await call.drop()
        row, _ = await record_of(running, call)
        await call.hang_up()
    assert (row["status"], row["end_reason"]) == ("completed", "lost")


async def test_a_call_whose_stream_never_comes_is_closed_when_the_carrier_says_it_is_over(staging: Staging) -> None:
    async with staging() as running:
        carrier = Carrier(running)
        await carrier.token()
        status = await carrier.post("/twilio/status", {"CallSid": CALL_SID, "CallStatus": "completed"})
        assert status.status_code == 204
        assert running.gateway.switchboard.live == 0
        await running.gateway.store.flush()
        row = await running.gateway.store.read_call(CALL_SID)
    assert row is not None
    assert row["status"] == "canceled"


async def test_a_long_first_sentence_is_spoken_before_the_stream_is_missed(staging: Staging) -> None:
    async with staging(settings={"ANSWER_SENTENCE": "Please hold the line. " * 22}) as running:
        await Carrier(running).token()
        call = running.gateway.switchboard.find(CALL_SID)
        assert call is not None
        assert call.expiry is not None
        assert call.expiry.when() - asyncio.get_running_loop().time() > 30 + 22 * 1.5


async def test_a_caller_whose_stream_never_started_hears_a_polite_word(staging: Staging) -> None:
    async with staging() as running:
        carrier = Carrier(running)
        await carrier.token()
        after = await carrier.post("/twilio/after", {"CallSid": CALL_SID})
        assert SORRY in after.text
        assert running.gateway.switchboard.live == 0
        await running.gateway.store.flush()
        row = await running.gateway.store.read_call(CALL_SID)
    assert row is not None
    assert (row["status"], row["end_reason"]) == ("failed", "no_media_stream")


# --- the model --------------------------------------------------------------------------------------------------

SORRY = "Sorry, something went wrong on our side. Please call again."


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        (Faults(refuse_code="invalid_api_key"), "invalid_api_key"),
        (Faults(refuse_code="insufficient_quota"), "insufficient_quota"),
        (Faults(refuse_code="beta_api_shape_disabled"), "beta_api_shape_disabled"),
        (Faults(handshake_status=403), "forbidden"),
        (Faults(handshake_status=500), "internal_server_error"),
        (Faults(wrong_format=True), "format_mismatch"),
    ],
)
async def test_without_a_model_the_caller_hears_a_polite_word(
    staging: Staging, log: io.StringIO, faults: Faults, code: str
) -> None:
    async with staging(faults=faults) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.ended(15)
        row, events = await record_of(running, call)
        assert sum(segment.length for segment in call.played if segment.audible) == 0, "no static is ever played"
    assert call.said == [SORRY]
    assert (row["status"], row["end_reason"]) == ("failed", "model_unavailable")
    assert payloads(events, "ERROR")[0]["code"] == code
    assert '"msg":"model.refused"' in log.getvalue()


async def test_a_model_that_refuses_for_a_moment_is_asked_once_more(staging: Staging) -> None:
    async with staging(["Here after all."], faults=Faults(handshake_status=503)) as running:
        carrier = Carrier(running)
        token = await carrier.token()
        async with asyncio.timeout(10):
            while not await figure(running, 'voice_websocket_errors_total{kind="refused",leg="model"}'):  # noqa: ASYNC110 - a gauge
                await asyncio.sleep(0.005)
        running.model.faults = Faults()
        async with carrier.stream(token=token) as ws:
            await running.model.joined()
            await ws.send('{"event":"stop","streamSid":"MZ1"}')
            await closed_with(ws)


async def test_a_model_that_stalls_while_connecting_is_given_up(staging: Staging) -> None:
    settings = {"OPENAI_CONNECT_TIMEOUT_SECONDS": "0.3"}
    async with staging(faults=Faults(connect_stall_s=30), settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.ended(15)
        _, events = await record_of(running, call)
    assert call.said == [SORRY]
    assert payloads(events, "ERROR")[0]["code"] == "timeout"


@pytest.mark.parametrize("code", [1006, 1011])
async def test_a_model_that_died_while_it_was_parked_is_opened_anew(staging: Staging, code: int) -> None:
    async with staging(["Hello there."], faults=Faults(close_after_s=0.1, close_code=code)) as running:
        carrier = Carrier(running)
        token = await carrier.token()
        parked = running.gateway.switchboard.find(CALL_SID)
        assert parked is not None
        first = await parked.model
        async with asyncio.timeout(10):
            while first.alive:  # noqa: ASYNC110 - a gauge, not an event
                await asyncio.sleep(0.01)
        running.model.faults = Faults()
        async with carrier.stream(token=token) as ws:
            await heard_by(ws)
        await running.gateway.store.flush()


@pytest.mark.parametrize("code", [1001, 1006, 1011])
async def test_a_model_that_is_lost_in_mid_call_ends_it_politely(staging: Staging, code: int) -> None:
    async with staging(["A long greeting. " * 10], faults=Faults(close_after_s=0.8, close_code=code)) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.ended(15)
        row, _ = await record_of(running, call)
    assert call.said == [SORRY]
    assert (row["status"], row["end_reason"]) == ("failed", "model_lost")


async def test_errors_unknown_and_doubled_events_change_nothing(staging: Staging) -> None:
    faults = Faults(error_storm=True, unknown_events=True, duplicate_events=True)
    async with staging(["Hello, all is well."], faults=faults) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.5)
        await call.until_quiet(0.5)
        await call.hang_up()
        row, _ = await record_of(running, call)
        assert await figure(running, "voice_model_events_unknown_total") > 0
    assert row["transcript"] == "Assistant: Hello, all is well."


async def test_a_fault_on_one_call_never_touches_another(staging: Staging) -> None:
    async with staging(["Hello, this is a quiet line with a longer greeting.", "Second."]) as running:
        good = await running.carrier.dial(running.webhook_url)
        await good.until_heard(0.2)  # its session stands, and takes no fault that is set from now on
        running.model.faults = Faults(close_after_s=0.3, close_code=1006)
        bad = await running.carrier.dial(running.webhook_url)
        await bad.ended(15)
        assert running.gateway.switchboard.live == 1
        await good.until_quiet(0.5)
        await good.hang_up()
        row, _ = await record_of(running, good)
    assert row["transcript"].startswith("Assistant: Hello, this is a quiet line")
    assert bad.said == [SORRY]


async def test_a_callers_stalled_line_still_lets_the_turn_end(staging: Staging) -> None:
    async with staging(["Welcome.", "I heard you."]) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.2)
        await call.until_quiet(0.3)
        await call.say(speech(0.8), 8000)
        call.stall(60.0)  # the answer comes meanwhile
        await call.until_heard(0.3)
        await call.hang_up()
        row, events = await record_of(running, call)
    assert row["status"] == "completed"
    assert payloads(events, "CALL_ENDED")[0]["padded_ms"] > 500


def bridgeless(call: LiveCall) -> Core:
    raise MemoryError(call.facts.call_sid)


async def test_a_call_that_cannot_be_led_is_closed_and_lets_others_in(staging: Staging, log: io.StringIO) -> None:
    def make(settings: Settings) -> Gateway:
        gateway = Gateway(settings, Cast.alone(Persona("host", "Host", "You serve coffee."), house_toolbox().pick(())))
        gateway.switchboard._new_bridge = bridgeless
        return gateway

    async with staging(make=make) as running:
        call = await running.carrier.dial(running.webhook_url)
        assert await call.ended(15) == "completed"
        row, events = await record_of(running, call)
        assert (row["status"], row["end_reason"]) == ("failed", "internal_error")
        assert len(payloads(events, "CALL_ENDED")) == 1
        assert running.gateway.switchboard.live == 0
        assert await figure(running, "voice_internal_faults_total") == 1
        assert call.said, "he hears that something went wrong"
    assert '"msg":"call.fault"' in log.getvalue()
