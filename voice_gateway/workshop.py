"""Where the tools of calls do their work, its voice's and its supervisor's; what has an effect, once for both."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from voice_gateway.agent.cast import Role
from voice_gateway.agent.once import MOST_ASIDE, Once
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.supervisor import Case, Supervisor
from voice_gateway.agent.tools import Toolbox, ToolContext, ToolOutcome
from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts, InnerEvent
from voice_gateway.call.kept import Kept
from voice_gateway.store.tables import Tables
from voice_gateway.transfers import UNANSWERED

IN_WRITING = "api"
"""The channel of conversations that nobody speaks in."""


class Workshop:
    """The toolbox as every call sees it: `session.Tools`. Knows of a live call what was said in it, as it is kept."""

    def __init__(
        self,
        tables: Tables,
        *,
        role: Callable[[CallFacts], Role],
        tell: Callable[[str, InnerEvent], bool],
        supervisor: Supervisor | None = None,
        conceal: Callable[[str], str] = str,
        stranger: Callable[[str], str] = lambda _: "",
        now_for: Callable[[Persona], datetime] = lambda _: datetime.now().astimezone(),
    ) -> None:
        """tables: what the tools read and write. role: who answers a call. tell: tells a live call.

        supervisor: whom a voice may ask, if there is one. conceal: takes out of a text what must not be kept. stranger:
        a name for a caller's number that tells nobody whose it is. now_for: the local time of a persona.
        """
        self._tables = tables
        self._once = Once(time.monotonic)
        self._role = role
        self._tell = tell
        self._supervisor = supervisor
        self._conceal = conceal
        self._stranger = stranger
        self._now_for = now_for
        self._kept: dict[str, Kept] = {}
        self._aside: OrderedDict[str, Kept] = OrderedDict()

    async def start(self) -> None:
        await self._tables.start()

    async def close(self) -> None:
        await self._tables.close()

    def note(self, facts: CallFacts, entry: entries.Entry) -> None:
        """Keep what is said while the call goes on: `journal.Listener`."""
        if isinstance(entry, entries.CallStarted):
            self._kept[facts.call_sid] = Kept()
        elif isinstance(entry, entries.CallResumed):
            self._kept[facts.call_sid] = self._aside.pop(facts.call_sid, Kept())
            self._kept[facts.call_sid].begin_again()
            self._once.take_up(facts.call_sid)
        elif isinstance(entry, entries.TransferEnded) and entry.outcome not in UNANSWERED:
            self._once.forget(facts.call_sid)
            self._aside.pop(facts.call_sid, None)
        kept = self._kept.get(facts.call_sid)
        if kept is not None:
            kept.take(entry)

    def take_back(self, facts: CallFacts, *, returns: bool = False) -> None:
        """What a call had for itself, once it is over. returns: its caller is put through, and may come back."""
        kept = self._kept.pop(facts.call_sid, None)
        if not returns:
            self._once.forget(facts.call_sid)
            return
        self._once.set_aside(facts.call_sid)
        if kept is not None:
            self._aside[facts.call_sid] = kept
        while len(self._aside) > MOST_ASIDE:
            self._aside.popitem(last=False)

    async def run(self, call: CallFacts, name: str, arguments: str) -> tuple[str, bool]:
        """Run a tool for a call: `session.Tools`."""
        role = self._role(call)
        if call.channel == IN_WRITING:  # who writes has the time to think for himself
            role = role.alone or role
        consult = None
        if self._supervisor is not None and role.supervisor is not None:
            consult = partial(self._consult, self._supervisor, call, role, role.supervisor)
        outcome = await self._use(call, role, role.toolbox, consult, name, arguments)
        return outcome.output, outcome.ok

    async def _use(
        self, call: CallFacts, role: Role, toolbox: Toolbox, consult: Any, name: str, arguments: str
    ) -> ToolOutcome:
        """Run a tool of this toolbox. consult: the way to the supervisor, which the supervisor's own tools lack."""

        async def work(key: str = "") -> ToolOutcome:
            context = ToolContext(
                call_sid=call.call_sid,
                from_number=call.from_number,
                to_number=call.to_number,
                persona=role.persona.key,
                language=call.language or role.persona.language,
                languages=role.persona.languages,
                digits=call.digits,
                market=role.persona.market or None,
                key=key,
                tables=self._tables,
                tell=partial(self._tell, call.call_sid),
                transcript=self._heard(call).turns,
                consult=consult,
            )
            return await toolbox.run(name, arguments, context)

        has_effect = toolbox.has_effect(name)
        outcome = await (self._once.run(call.call_sid, name, arguments, work) if has_effect else work())
        if undone := toolbox.undoes(name):
            self._once.undo(call.call_sid, undone, outcome)
        return outcome

    async def _consult(
        self, supervisor: Supervisor, call: CallFacts, role: Role, toolbox: Toolbox, context: str
    ) -> dict[str, Any]:
        heard = self._heard(call)
        case = Case(
            call.call_sid,
            role.persona.supervisor,
            toolbox,
            use=partial(self._use, call, role, toolbox, None),
            tell=partial(self._tell, call.call_sid),
            transcript=heard.turns(),
            now=self._now_for(role.persona),
            language=call.language or role.persona.language,
            caller=self._stranger(call.from_number),
            paused=heard.paused,
        )
        return await supervisor.consult(case, self._conceal(context))

    def _heard(self, call: CallFacts) -> Kept:
        return self._kept.get(call.call_sid) or Kept()

    async def run_outside(self, toolbox: Toolbox, name: str, arguments: str, key: str) -> ToolOutcome:
        """Run a tool for another program, without a call. key: the same for a repetition, or empty for none."""
        return await toolbox.run(name, arguments, ToolContext(key=key, tables=self._tables))
