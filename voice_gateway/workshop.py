"""Where the tools of calls do their work: each call's tools by its persona, what has an effect once."""

from __future__ import annotations

import time
from collections.abc import Callable

from voice_gateway.agent.cast import Role
from voice_gateway.agent.once import Once
from voice_gateway.agent.tools import ToolContext, ToolOutcome
from voice_gateway.call.events import CallFacts, InnerEvent
from voice_gateway.store.tables import Tables


class Workshop:
    """The toolbox as every call sees it: `session.Tools`."""

    def __init__(
        self, tables: Tables, *, role: Callable[[CallFacts], Role], tell: Callable[[str, InnerEvent], bool]
    ) -> None:
        """tables: what the tools read and write. role: who answers a call. tell: tells a live call."""
        self._tables = tables
        self._once = Once(time.monotonic)
        self._role = role
        self._tell = tell

    async def start(self) -> None:
        await self._tables.start()

    async def close(self) -> None:
        await self._tables.close()

    def take_back(self, facts: CallFacts) -> None:
        """What a call had for itself, once it is over."""
        self._once.forget(facts.call_sid)

    async def run(self, call: CallFacts, name: str, arguments: str) -> tuple[str, bool]:
        """Run a tool for a call: `session.Tools`."""
        persona, toolbox = (role := self._role(call)).persona, role.toolbox

        async def work(key: str = "") -> ToolOutcome:
            context = ToolContext(
                call_sid=call.call_sid,
                from_number=call.from_number,
                to_number=call.to_number,
                persona=persona.key,
                language=persona.language,
                digits=call.digits,
                market=persona.market or None,
                key=key,
                tables=self._tables,
                tell=lambda event: self._tell(call.call_sid, event),
            )
            return await toolbox.run(name, arguments, context)

        has_effect = toolbox.has_effect(name)
        outcome = await (self._once.run(call.call_sid, name, arguments, work) if has_effect else work())
        return outcome.output, outcome.ok
