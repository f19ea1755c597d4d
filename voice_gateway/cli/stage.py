"""The whole world on one machine: a gateway at a free port between an emulated carrier and an emulated model.

The gateway is the product's own, built from settings like any other and spoken to over real HTTP and WebSockets.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from voice_gateway import app, config, launch
from voice_gateway.emulator.carrier import Carrier, Manners
from voice_gateway.emulator.realtime import RealtimeServer
from voice_gateway.emulator.weather import Weather
from voice_gateway.server import Server

ACCOUNT_SID = "AC" + "0" * 32
PUBLIC_HOST = "gateway.example"
"""Under this name the carrier knows the gateway; the emulator takes it to the loopback address."""


@dataclass(frozen=True, slots=True)
class Stage:
    """All three, running. server: the gateway's own HTTP server. base_url: where it really listens."""

    gateway: app.Gateway
    server: Server
    carrier: Carrier
    model: RealtimeServer
    base_url: str

    @property
    def webhook_url(self) -> str:
        """What to dial."""
        return f"https://{PUBLIC_HOST}/twilio/answer"


@asynccontextmanager
async def stage(
    model: RealtimeServer,
    store_path: Path,
    *,
    weather: Weather | None = None,
    manners: Manners | None = None,
    settings: Mapping[str, str] | None = None,
    make: Callable[[config.Settings], app.Gateway] = app.build,
) -> AsyncIterator[Stage]:
    """Run everything while the context is open.

    manners: of the carrier. settings: variables of the gateway to set otherwise.
    make: builds the gateway, to give it a persona of one's own.
    """
    auth_token = secrets.token_hex(16)
    listener = socket.create_server(("127.0.0.1", 0))
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    reach = {PUBLIC_HOST: base_url}
    carrier = Carrier(ACCOUNT_SID, auth_token, weather=weather or Weather(), reach=reach, manners=manners or Manners())
    async with model, carrier:
        chosen = config.load(
            {
                "OPENAI_API_KEY": "offline",
                "OPENAI_REALTIME_ENDPOINT": model.url,
                "TWILIO_AUTH_TOKEN": auth_token,
                "PUBLIC_BASE_URL": f"https://{PUBLIC_HOST}",
                "STORE_PATH": str(store_path),
                "ANSWER_SENTENCE": "",
                "GREETING_CLIPS": "false",  # the second call on a stage begins as the first one did
                "DRAIN_SECONDS": "5",
                **(settings or {}),
            },
            env_file=None,
        )
        gateway = make(chosen)
        server = launch.server(gateway, chosen)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await _started(server, serving)
            yield Stage(gateway, server, carrier, model, base_url)
        finally:
            server.should_exit = True
            await serving


async def _started(server: Server, serving: asyncio.Task[None]) -> None:
    """Wait until connections are answered. What keeps the gateway from starting is raised here."""
    while not server.started:
        if serving.done():
            serving.result()
            raise RuntimeError("the gateway did not start; its log says why")
        await asyncio.sleep(0.01)
