"""Calls without sound: the emulated mind talks with a caller who types, and works with the product's own tools.

The tools are the house's, over real tables in SQLite; only the telephone and the session in between are left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from voice_gateway.agent.once import Once
from voice_gateway.agent.personas import Persona, load_personas
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.toolbox.handing_over import handoff_among
from voice_gateway.agent.tools import Toolbox, ToolContext, tool_from
from voice_gateway.call.handoff import HANDOFF_TO
from voice_gateway.emulator.faculties import Line, Say, Situation, UseTool
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.scenario import Scenario
from voice_gateway.emulator.text_mind import TextMind
from voice_gateway.emulator.verdict import Happened, Used
from voice_gateway.store.local_rows import LocalRows
from voice_gateway.store.tables import Tables

NOBODY = "+15550100001"
_END = "end_call"
MOST_RESPONSES = 8


@dataclass
class TypedCall:
    """One call. now: of the gateway and of the caller."""

    persona: str
    tables: Tables
    number: str = NOBODY
    sid: str = "CA1"
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    lines: list[Line] = field(default_factory=list)
    uses: list[Used] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    ended: bool = False
    supervised: bool = False

    def __post_init__(self) -> None:
        self._whole = load_personas()[self.persona]
        self._persona = self._whole.cast_as(supervised=self.supervised)
        self._toolbox = self._tools_of(self._persona)
        self.personas = [self.persona]
        self._once = Once(lambda: 0.0)
        self._mind = RuleMind(today=self.now.date)
        self._count = 0

    def _tools_of(self, persona: Persona) -> Toolbox:
        """As the cast has them: a handoff knows its colleagues."""
        colleagues = {key: load_personas()[key].name for key in persona.handoff}
        own = tool_from(handoff_among(colleagues)) if colleagues else None
        return house_toolbox().without(HANDOFF_TO).joined([own] if own else []).pick(persona.tools)

    def _hand_over(self, key: str) -> None:
        """Another persona leads the call from now on; what was said stays."""
        self.personas.append(key)
        self._whole = load_personas()[key]
        self._persona = self._whole.cast_as(supervised=self.supervised)
        self._toolbox = self._tools_of(self._persona)

    async def greet(self) -> None:
        await self._respond(self._persona.greeting_instructions)

    async def say(self, text: str) -> None:
        """The caller says something; returns when it is answered."""
        self.lines.append(Line("user", text))
        await self._respond()

    async def _respond(self, instructions: str = "") -> None:
        for _ in range(MOST_RESPONSES):
            acts = self._mind.respond(
                Situation(instructions or self._persona.instructions, list(self.lines), self._toolbox.specs())
            )
            assert acts, "a response without an act"
            for act in acts:
                if isinstance(act, Say):
                    self.said.append(act.text)
                    self.lines.append(Line("assistant", act.text))
            calls = [act for act in acts if isinstance(act, UseTool)]
            if not calls:
                return
            ids = [f"c{self._count + place}" for place in range(len(calls))]
            self._count += len(calls)
            self.lines += [
                Line("tool_call", json.dumps(_read(call)), call.name, call_id)
                for call, call_id in zip(calls, ids, strict=True)
            ]
            for call, call_id in zip(calls, ids, strict=True):
                place = len(self.uses)
                output = await self._run(call)
                self.uses.insert(place, Used(call.name, _read(call), output))
                self.lines.append(Line("tool_output", output, call.name, call_id))
        raise AssertionError(f"it never spoke: {self.uses}")

    async def _run(self, call: UseTool) -> str:
        if call.name == HANDOFF_TO:  # the bridge's own, too
            self._hand_over(_read(call)["persona"])
            return '{"say":"One moment, I am handing you over."}'
        if call.name == _END:  # the bridge's own, see call/goodbye.py
            self.ended = True
            return '{"ok":true,"say":"Goodbye!"}'
        return await self._use(self._toolbox, call)

    async def _consult(self, context: str) -> dict[str, Any]:
        """The supervisor, asked as `agent/supervisor.py` asks it, about a conversation that has its last words."""
        box, uses = house_toolbox().pick(self._whole.supervisor.tools), list[Line]()
        heard = [line for line in self.lines if line.role in {"user", "assistant"}]
        transcript = [
            {"speaker": "assistant" if line.role == "assistant" else "caller", "said": line.text} for line in heard
        ]
        told = Line("user", json.dumps({"transcript": transcript, "context": context}))
        for _ in range(MOST_RESPONSES):
            acts = TextMind(self._mind).respond(
                Situation(self._whole.supervisor.instructions, [told, *uses], box.specs())
            )
            if all(isinstance(act, Say) for act in acts):
                return {"say": " ".join(act.text for act in acts if isinstance(act, Say))}
            for act in acts:
                if isinstance(act, UseTool):
                    call_id = f"s{len(uses)}"
                    output = await self._use(box, act)
                    self.uses.append(Used(act.name, _read(act), output))
                    uses.append(Line("tool_call", json.dumps(_read(act)), act.name, call_id))
                    uses.append(Line("tool_output", output, act.name, call_id))
        raise AssertionError(f"the supervisor never answered: {self.uses}")

    async def _use(self, box: Toolbox, call: UseTool) -> str:
        arguments = json.dumps(_read(call))

        async def work(key: str) -> Any:
            context = ToolContext(
                call_sid=self.sid,
                from_number=self.number,
                persona=self.persona,
                market=self._persona.market or None,
                now=self.now,
                key=key,
                tables=self.tables,
                consult=self._consult if self.supervised else None,
            )
            return await box.run(call.name, arguments, context)

        if box.has_effect(call.name):
            return (await self._once.run(self.sid, call.name, arguments, work)).output
        return (await work("")).output


def _read(call: UseTool) -> dict[str, Any]:
    assert not isinstance(call.arguments, str), "the mind gives arguments, no text"
    return dict(call.arguments)


async def play(scenario: Scenario, tables: Tables, now: datetime, sid: str = "CA1") -> Happened:
    """All of a scenario's lines, typed."""
    number = scenario.number or NOBODY
    call = TypedCall(scenario.persona or "waiter", tables, number, sid, now, supervised=scenario.supervised)
    await call.greet()
    for line in scenario.lines:
        await call.say(line)
        if call.ended:
            break
    return Happened(call.said, call.uses, "gateway" if call.ended else "caller", tuple(call.personas))


async def fresh_tables(folder: Path) -> Tables:
    tables = Tables(LocalRows(folder / "tables.sqlite3"))
    await tables.start()
    return tables
