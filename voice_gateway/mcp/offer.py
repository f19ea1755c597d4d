"""What other programs are offered of the toolbox, outside any call.

Left out is what works on a live call alone, and what changes something unless the operator wants it (`MCP_EFFECTS`).
A program that may ask twice for one thing sends a key with it: the same key, tool and arguments are one doing, however
often they come (`Once` for what is under way or just over, the key in the tables for ever after).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from voice_gateway.agent.once import Once, digest
from voice_gateway.agent.tools import Tool, Toolbox, ToolOutcome, failure
from voice_gateway.ops import logs

AT_ONCE = 16
"""Tools at work for other programs at a time, over all doors: each may hold a thread, and calls need them too."""

LONGEST_KEY = 128
REMEMBERED_S = 600.0

Work = Callable[[Toolbox, str, str, str], Awaitable[ToolOutcome]]
Count = Callable[[str, str], None]


class Offer:
    """The tools that a program may ask for, and their doing."""

    def __init__(self, toolbox: Toolbox, work: Work, *, effects: bool, count: Count = lambda *_: None) -> None:
        """work: runs (toolbox, name, arguments, key). count: told (door, outcome) of every call."""
        self._all = toolbox
        self._work = work
        self._count = count
        chosen = [each.name for each in toolbox.tools if not each.in_call and (effects or not each.has_effect)]
        self._toolbox = toolbox.pick(chosen)
        self._once = Once(time.monotonic, REMEMBERED_S)
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._at_work = 0
        self._log = logs.get("mcp.offer")

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._toolbox.tools

    async def call(self, door: str, name: str, arguments: str, key: str = "") -> ToolOutcome:
        """Have a tool do its work. arguments: JSON text. key: the client's own, the same for a repetition; or empty.

        Never raises but for cancellation: what went wrong is the outcome.
        """
        outcome = await self._call(name, arguments, key)
        self._count(door, "ok" if outcome.ok else "failed")
        self._log.info("mcp.tool_called", door=door, tool=name[:64], ok=outcome.ok)
        return outcome

    async def _call(self, name: str, arguments: str, key: str) -> ToolOutcome:
        if name not in self._toolbox.names:
            return self._not_offered(name)
        if len(key) > LONGEST_KEY:
            return failure("invalid_key", f"A key may have {LONGEST_KEY} characters, this one has {len(key)}.")
        if self._at_work >= AT_ONCE:
            return failure("busy", f"{AT_ONCE} tools are at work for other programs already. Ask again in a second.")
        self._at_work += 1
        try:
            if not key or not self._toolbox.has_effect(name):
                return await self._work(self._toolbox, name, arguments, "")
            return await self._do_once(name, arguments, key)
        finally:
            self._at_work -= 1

    async def _do_once(self, name: str, arguments: str, key: str) -> ToolOutcome:
        client = f"mcp:{key}"
        wish = digest(arguments, key, name)[:40]
        if (expiry := self._expiries.pop(client, None)) is not None:
            expiry.cancel()
        self._expiries[client] = asyncio.get_running_loop().call_later(REMEMBERED_S, self._forget, client)
        return await self._once.run(
            client, name, arguments, lambda _: self._work(self._toolbox, name, arguments, f"mcp:{wish}")
        )

    def _forget(self, client: str) -> None:
        self._expiries.pop(client, None)
        self._once.forget(client)

    def _not_offered(self, name: str) -> ToolOutcome:
        tool = next((each for each in self._all.tools if each.name == name), None)
        if tool is None:
            known = ", ".join(self._toolbox.names) or "none"
            return failure("unknown_tool", f"There is no tool named {name[:64]!r}. There are: {known}.")
        if tool.in_call:
            return failure("not_offered", f"{name} works on a live call alone and is not offered here.")
        return failure("not_offered", f"{name} changes something and is not offered here: MCP_EFFECTS is false.")
