"""SIGTERM: not ready at once, live calls go on, the process ends when they have ended or at the deadline."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from whole_calls import Staging

from voice_gateway.emulator.carrier import Carrier
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice
from voice_gateway.ops import logs

TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass
class House:
    """The gateway as a process of its own."""

    process: asyncio.subprocess.Process
    url: str
    carrier: Carrier

    @property
    def webhook_url(self) -> str:
        return "https://gateway.example/twilio/answer"

    async def readiness(self) -> tuple[int, list[str]]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.url}/ready")
        return answer.status_code, [reason["code"] for reason in answer.json()["reasons"]]


@asynccontextmanager
async def house(tmp_path: Path, drain_seconds: int) -> AsyncIterator[House]:
    model = RealtimeServer(mind=ScriptedMind(["A greeting. " * 30]), voice=ToneVoice(), latency=INSTANT)
    async with model:
        settings = {
            "OPENAI_API_KEY": "offline",
            "OPENAI_REALTIME_ENDPOINT": model.url,
            "TWILIO_AUTH_TOKEN": TOKEN,
            "PUBLIC_BASE_URL": "https://gateway.example",
            "ANSWER_SENTENCE": "",
            "STORE_PATH": str(tmp_path / "calls.sqlite3"),
            "DRAIN_SECONDS": str(drain_seconds),
            "PORT": "0",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "voice_gateway", "serve", "--env-file", os.devnull,
            env=os.environ | settings, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            url = await _listening(process)
            async with Carrier("AC" + "0" * 32, TOKEN, reach={"gateway.example": url}) as carrier:
                yield House(process, url, carrier)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _listening(process: asyncio.subprocess.Process) -> str:
    """The address that the log names."""
    assert process.stdout is not None
    async with asyncio.timeout(40):
        async for line in process.stdout:
            if b'"msg":"gateway.listening"' in line:
                return line.split(b'"url":"')[1].split(b'"')[0].decode()
    pytest.fail("the gateway ended before it listened")


class Interrupted(io.StringIO):
    """A log in whose first line a signal arrives."""

    handler: Callable[[int, None], None] | None = None

    def write(self, text: str) -> int:
        handler, self.handler = self.handler, None
        if handler is not None:
            handler(signal.SIGTERM, None)
        return super().write(text)


async def test_a_signal_in_the_middle_of_a_log_line_is_taken_like_any_other(staging: Staging) -> None:
    async with staging() as running:
        stream = Interrupted()
        stream.handler = running.server.handle_exit
        logs.configure("info", stream=stream)
        logs.get("app").info("the.line")
        async with asyncio.timeout(10):
            while not running.server.should_exit:  # noqa: ASYNC110 - a flag, not an event
                await asyncio.sleep(0.01)
    assert [line.split('"msg":"')[1].split('"')[0] for line in stream.getvalue().splitlines()][:2] == [
        "the.line",
        "gateway.draining",
    ]


async def test_sigterm_lets_a_live_call_go_on_and_takes_no_new_one(tmp_path: Path) -> None:
    async with house(tmp_path, drain_seconds=20) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            while (await running.readiness())[0] == 200:  # noqa: ASYNC110 - asked as a load balancer asks
                await asyncio.sleep(0.02)
        assert await running.readiness() == (503, ["draining"])
        await call.until_heard(1.0)
        late = await running.carrier.dial(running.webhook_url)
        await late.ended(15)
        assert late.said == ["All our lines are busy. Please call again in a few minutes."]
        assert call.outcome == ""
        await call.hang_up()
        assert await asyncio.wait_for(running.process.wait(), 20) == 0


async def test_at_the_deadline_the_calls_that_are_left_are_ended(tmp_path: Path) -> None:
    async with house(tmp_path, drain_seconds=1) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        running.process.send_signal(signal.SIGTERM)
        await call.ended(15)
        assert call.outcome == "completed"
        assert await running.readiness() == (503, ["draining"]), "far carriers still get their answer"
        assert await asyncio.wait_for(running.process.wait(), 20) == 0


@pytest.mark.parametrize(("signals", "last_answers_s"), [(1, 0.5), (2, 60.0)])
async def test_a_client_that_takes_no_answer_does_not_hold_the_process(
    staging: Staging, signals: int, last_answers_s: float
) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        async with asyncio.timeout(30), staging() as running:
            server = running.server
            server.last_answers_s = last_answers_s
            client.connect(server.servers[0].sockets[0].getsockname())
            client.sendall(b"GET /ai/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 400)
            connections = server.server_state.connections
            while not any(each.transport.get_write_buffer_size() for each in connections):  # noqa: ASYNC110 - a gauge
                await asyncio.sleep(0.01)
            for _ in range(signals):
                server.handle_exit(signal.SIGTERM, None)
                await asyncio.sleep(0.01)
            server._captured_signals.clear()  # uvicorn would raise them again, in the process of the tests
