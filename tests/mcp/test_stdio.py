"""`voice-gateway mcp`: the tools on standard input and output, by the official client."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from served import text
from typer.testing import CliRunner

from voice_gateway import app, config
from voice_gateway.cli.verbs import app as verbs
from voice_gateway.errors import GatewayError

ENVIRONMENT = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}


async def test_a_program_on_this_machine_gets_one_personas_tools(tmp_path: Path) -> None:
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "voice_gateway", "mcp", "--persona", "member-services"],
        env={**ENVIRONMENT, "STORE_PATH": str(tmp_path / "store.db"), "LOG_LEVEL": "debug"},
        cwd=tmp_path,
    )
    async with Client(command) as mcp:
        names = {tool.name for tool in (await mcp.list_tools()).tools}
        balance = await mcp.call_tool("get_member_balance", {"memberId": "member_123"})
        refused = await mcp.call_tool("redeem_voucher", {"code": "SAVE2024"})
    assert "get_member_balance" in names
    assert not names & {"lookup_menu", "redeem_voucher", "end_call"}
    assert '"balance":50000' in text(balance)
    assert refused.is_error


async def test_it_ends_cleanly_with_its_input_and_says_nothing_beside_the_protocol(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voice_gateway", "mcp", cwd=tmp_path, env=ENVIRONMENT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(b""), 30)
    assert (process.returncode, out) == (0, b"")
    assert b"Traceback" not in err


async def test_a_persona_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    settings = config.load({"STORE_PATH": str(tmp_path / "store.db")}, None)
    with pytest.raises(GatewayError, match="there is no persona nobody; there are bartender, "):
        async with app.tools_alone(settings, "nobody"):
            pass


async def test_who_opens_no_door_and_names_no_server_does_not_pay_for_the_package(tmp_path: Path) -> None:
    program = (
        "import sys; from voice_gateway import app, config; app.build(config.load({}, None));"
        "print([name for name in ('mcp', 'mcp_types', 'httpx2') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=tmp_path, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert out == b"[]\n"


def test_the_servers_are_reached_and_their_tools_listed(tmp_path: Path) -> None:
    servers = tmp_path / "servers.toml"
    strange = Path(__file__).with_name("strange_server.py")
    servers.write_text(
        f'[weather]\ncommand = "{sys.executable}"\nargs = ["{strange}", "stdio"]\nallow = ["get_*", "x*"]\n'
        '[gone]\nurl = "http://127.0.0.1:9/mcp"\nallow = ["*"]\n'
    )
    given = {"STORE_PATH": str(tmp_path / "store.db"), "MCP_SERVERS_FILE": str(servers), "COLUMNS": "200"}
    result = CliRunner().invoke(verbs, ["mcp", "--servers", "--env-file", os.devnull], env=given)
    assert result.exit_code == 1, "one of them could not be reached"
    assert "weather: up" in result.output
    assert "weather_get_forecast  mcp:weather.get_forecast" in result.output
    assert "refused: its name has 88 characters" in result.output
    assert "gone: down, it cannot be reached" in result.output
