"""`voice-gateway mcp`: the tools as an MCP server on standard input and output, for a program on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Annotated

import typer

from voice_gateway import __version__, app, config
from voice_gateway.cli.env_file import DEFAULT, EnvFile
from voice_gateway.cli.show import Teller
from voice_gateway.config import Settings
from voice_gateway.errors import GatewayError
from voice_gateway.ops import logs

PATIENCE_S = 20.0


def mcp(
    env_file: EnvFile = DEFAULT,
    persona: Annotated[str, typer.Option(help="Only the tools of this persona.")] = "",
    servers: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--servers", help="Reach the servers of MCP_SERVERS_FILE once, and list their tools.")
    ] = False,
) -> None:
    """Serve the tools over MCP on standard input and output, until the input ends.

    For a program that starts its MCP servers itself, on the machine where STORE_PATH is. What works on a live call
    alone is left out, and what changes something unless MCP_EFFECTS is true. The log goes to standard error.

    Example: {"command": "voice-gateway", "args": ["mcp", "--persona", "waiter"]} in such a program's settings
    """
    settings = config.load(env_file=env_file)
    logs.configure(settings.log_level, secrets=settings.secrets(), stream=sys.stderr)
    if not settings.mcp_enabled:
        raise GatewayError("MCP_ENABLED is false: set it to true to offer the tools.")
    if servers:
        reached = asyncio.run(_reach(app.build(settings, variables=config.variables(env_file))))
        raise typer.Exit(0 if reached else 1)
    asyncio.run(_serve(settings, persona))


async def _serve(settings: Settings, persona: str) -> None:
    from voice_gateway.mcp.standard import serve_stdio  # noqa: PLC0415 - it serves this verb alone

    async with contextlib.AsyncExitStack() as stack:
        with contextlib.redirect_stdout(sys.stderr):  # a module of tools may print; standard output is the protocol's
            offer = await stack.enter_async_context(app.tools_alone(settings, persona))
        await serve_stdio(offer, __version__)


async def _reach(gateway: app.Gateway) -> bool:
    """List what foreign servers offer, as personas would be given it. False: one of them could not be reached."""
    if gateway.foreign is None:
        raise GatewayError("MCP_SERVERS_FILE is not set: it names the servers whose tools personas may use.")
    logs.hide(gateway.secrets)
    from voice_gateway.mcp.reading import plain  # noqa: PLC0415 - as above

    teller = Teller()
    gateway.foreign.start()
    try:
        await gateway.foreign.settled(PATIENCE_S)
        for name in gateway.foreign.names:
            server = gateway.foreign[name]
            teller.heading(f"{name}: {server.state}{f', {server.reason}' if server.reason else ''}")
            rows = [
                (tool.name, f"mcp:{name}.{plain(server.originals[tool.name])}", "once" if tool.has_effect else "")
                for tool in server.tools.values()
            ]
            rows += [("", f"mcp:{name}.{plain(tool)}", f"refused: {reason}") for tool, reason in server.refused.items()]
            rows += [("", f"mcp:{name}.{plain(tool)}", "not in allow") for tool in server.unused]
            teller.table(("the model's name", "in a persona", ""), rows)
        return all(map(gateway.foreign.is_up, gateway.foreign.names))
    finally:
        await gateway.foreign.close()
