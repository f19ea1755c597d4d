"""A call in which the model uses a tool of another program."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.scenarios import TypedEar, When

SCRIPT = Path(__file__).parents[1] / "mcp" / "strange_server.py"
SERVERS = f"""
[weather]
command = "{sys.executable}"
args = ["{SCRIPT}", "stdio"]
allow = ["get_forecast", "die"]
"""
PORTER = """
name = "Porter"
instructions = "You tell the weather."
greeting = "Welcome!"
tools = ["mcp:weather"]
"""


async def test_the_model_uses_a_foreign_tool_and_the_call_outlives_the_server(staging: Staging, tmp_path: Path) -> None:
    (tmp_path / "porter.toml").write_text(PORTER)
    servers = tmp_path / "servers" / "servers.toml"
    servers.parent.mkdir()
    servers.write_text(SERVERS)
    settings = {"PERSONAS_DIR": str(tmp_path), "DEFAULT_PERSONA": "porter", "MCP_SERVERS_FILE": str(servers)}
    replies = [
        "Welcome!",
        When("rain", (UseTool("weather_get_forecast", {"city": "Kigali"}),)),
        When("rain_mm", (Say("It will rain."),), tool="weather_get_forecast"),
        When("again", (UseTool("weather_die", {}),)),
        When("not known", (Say("I do not know."),), tool="weather_die"),
    ]
    ear = TypedEar(["Will it rain?", "And again?"])
    async with (
        staging(replies, ear=ear, settings=settings) as running,
        httpx.AsyncClient(base_url=running.base_url) as http,
    ):
        while (await http.get("/health")).json()["mcpServers"]["weather"]["state"] != "up":  # noqa: ASYNC110 - as told
            await asyncio.sleep(0.02)
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.4)
        for _ in range(2):
            await call.say(speech(0.8), 8000)
            await call.until_heard(0.4)
            await call.until_quiet(0.5)
        assert (await http.get("/ready")).status_code == 200
        await call.hang_up()
        row, events = await record_of(running, call)
        metrics = (await http.get("/metrics")).text
    forecast, died = payloads(events, "TOOL_RESULT")
    told = json.loads(forecast["output"])
    assert (forecast["ok"], told["from"], told["data"]) == (True, "weather", {"city": "Kigali", "rain_mm": 3})
    assert not died["ok"]
    assert row["status"] == "completed"
    assert row["transcript"].endswith("Assistant: I do not know.")
    assert 'voice_mcp_server_calls_total{outcome="ok",server="weather"} 1.0' in metrics
    assert 'voice_mcp_server_calls_total{outcome="failed",server="weather"} 1.0' in metrics
    assert 'voice_mcp_server_up{server="weather"}' in metrics
