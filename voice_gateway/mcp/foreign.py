"""The foreign servers of a gateway, and their tools as personas name them: `mcp:weather`, `mcp:weather.get_*`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from fnmatch import fnmatchcase

from voice_gateway.agent.tools import Tool, ToolError
from voice_gateway.errors import there_are
from voice_gateway.mcp.connection import Connection, Pace
from voice_gateway.mcp.servers import Server
from voice_gateway.ops import logs

LAST_WORDS_S = 8.0
"""For the servers to end, all at the same time; longer than the grace of one."""


class ForeignServers:
    """`agent.cast.Elsewhere`: what calls may use of other programs. `count` is told (server, outcome) of every use."""

    def __init__(
        self,
        servers: Sequence[Server],
        house: Collection[str],
        *,
        pace: Pace | None = None,
    ) -> None:
        """house: names of tools that are taken."""
        self.count: Callable[[str, str], None] = lambda *_: None
        self._house = frozenset(house)
        self._connections = {
            each.name: Connection(each, taken=self._owner_beside(each.name), count=self._counted, pace=pace or Pace())
            for each in servers
        }
        self._running: list[asyncio.Task[None]] = []
        self._log = logs.get("mcp.foreign")

    def __getitem__(self, name: str) -> Connection:
        return self._connections[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._connections)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be kept out of the log."""
        return tuple(secret for each in self._connections.values() for secret in each.server.secrets)

    def is_up(self, name: str) -> bool:
        return self._connections[name].state == "up"

    def start(self) -> None:
        """Begin to reach them. Nobody waits for it."""
        self._running = [asyncio.create_task(each.run()) for each in self._connections.values()]

    async def settled(self, patience_s: float) -> None:
        """Wait until each is reached, or was tried once."""
        ends_at = asyncio.get_running_loop().time() + patience_s
        waiting = [each for each in self._connections.values() if each.state == "starting"]
        while waiting and asyncio.get_running_loop().time() < ends_at:
            await asyncio.sleep(0.05)
            waiting = [each for each in waiting if each.state == "starting"]

    async def close(self) -> None:
        """End them, and every process of theirs."""
        for each in self._connections.values():
            each.end()
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=LAST_WORDS_S)
            for task in left:
                self._log.error("mcp.server_left", advice="a foreign server does not end; its task is broken off")
                task.cancel()

    def tell(self) -> dict[str, object]:
        """How each stands, by name."""
        return {name: each.tell() for name, each in self._connections.items()}

    # --- what a persona names -----------------------------------------------------------------------------------

    def check(self, pattern: str) -> None:
        name, dot, tool = pattern.partition(".")
        connection = self._connections.get(name)
        if connection is None:
            known = there_are(self._connections, name)
            raise ToolError(f"mcp:{pattern}: there is no MCP server named {name!r} in MCP_SERVERS_FILE; {known}")
        if dot and not tool:
            raise ToolError(f"mcp:{pattern}: names no tool; write mcp:{name} for all, or mcp:{name}.get_* for some")
        plain = tool and not set(tool) & set("*?[")
        if plain and not connection.server.allows(tool):
            raise ToolError(f"mcp:{pattern}: [{name}] does not allow {tool}; add it to allow in MCP_SERVERS_FILE")

    def tools(self, patterns: Sequence[str], room: int) -> Sequence[Tool]:
        found: dict[str, Tool] = {}
        for pattern in patterns:
            name, _, wanted = pattern.partition(".")
            connection = self._connections.get(name)
            if connection is None:
                continue
            for tool in connection.tools.values():
                if fnmatchcase(connection.originals[tool.name], wanted or "*"):
                    found[tool.name] = tool
        if len(found) > room:
            self._log.warning("mcp.tools_too_many", tools=len(found), room=room)
        return list(found.values())[:room]

    def _counted(self, server: str, outcome: str) -> None:
        self.count(server, outcome)

    def _owner_beside(self, server: str) -> Callable[[str], str]:
        """Who has a name already, as a connection of this server asks."""

        def owner(tool: str) -> str:
            if tool in self._house:
                return "a tool of the house"
            others = (name for name, each in self._connections.items() if name != server and tool in each.tools)
            return next((f"a tool of [{name}]" for name in others), "")

        return owner
