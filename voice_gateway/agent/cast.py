"""The cast: every persona with its own tools, and which of them answers a call. Read anew while calls go on.

Files are looked at every two seconds, in a thread: a large one takes a tenth of a second, in which every call would
stand still. A cast that is wrong is told in the log and not used: calls go on with the last one that was right. A live
call keeps the persona it began with, even when its file is taken away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, Self

import structlog

from voice_gateway.agent.hours import OpeningHours
from voice_gateway.agent.personas import Persona, PersonaError, load_persona, persona_files
from voice_gateway.agent.routes import Routes, load_routes
from voice_gateway.agent.supervision import CONSULT
from voice_gateway.agent.toolbox.handing_over import handoff_among
from voice_gateway.agent.tools import Tool, Toolbox, tool_from
from voice_gateway.call.handoff import HANDOFF_TO
from voice_gateway.errors import GatewayError, gathered, there_are

LOOK_EVERY_S = 2.0
ELSEWHERE = "mcp:"
"""So begins in a persona's list what names tools of another program: `mcp:weather`, `mcp:weather.get_*`."""


class Elsewhere(Protocol):
    """Tools that other programs offer, which come and go while calls go on; patterns are without the `mcp:`."""

    def check(self, pattern: str) -> None:
        """Raise `GatewayError` for a pattern that cannot ever name a tool."""

    def tools(self, patterns: Sequence[str], room: int) -> Sequence[Tool]:
        """Those there are now, at most `room`."""


READ_THE_MENU = frozenset({"lookup_menu", "recommend_pairing", "get_menu", "place_order"})


@dataclass(frozen=True, slots=True)
class Role:
    """A persona and the tools it works with.

    supervisor: the tools of its supervisor, None where it has none to ask. alone: it as it works without one, where it
    has one.
    """

    persona: Persona
    toolbox: Toolbox
    supervisor: Toolbox | None = None
    alone: Role | None = None

    @property
    def needs_menu_of(self) -> str:
        """The market whose menu its tools read; empty for none, or for all there are."""
        return self.persona.market if READ_THE_MENU.intersection(self.tool_names) else ""

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Of both together."""
        return (*self.toolbox.names, *(self.supervisor.names if self.supervisor else ()))


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a cast is read from. folder, routes: the operator's own, None for none. default: the key of a persona.

    elsewhere: the other programs whose tools a persona may name. supervised: there is a text model to ask.
    """

    toolbox: Toolbox
    default: str
    folder: Path | None = None
    routes: Path | None = None
    elsewhere: Elsewhere | None = None
    supervised: bool = False


class Cast:
    """`choose` when a call comes in, `role` ever after."""

    def __init__(
        self,
        roles: Mapping[str, Role],
        routes: Routes,
        elsewhere: Elsewhere | None = None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """wall_clock: the time in UTC, for business hours."""
        self._wall_clock = wall_clock
        self._roles = dict(roles)
        self._former: dict[str, Role] = {}
        self._routes = routes
        self._elsewhere = elsewhere

    @classmethod
    def alone(cls, persona: Persona, toolbox: Toolbox) -> Self:
        """One persona for every call."""
        return cls({persona.key: Role(persona, toolbox)}, Routes((), persona.key))

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._roles)

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(self._roles.values())

    async def follow(self) -> None:
        """Stay the cast of now, as long as there is something to follow."""

    @property
    def routes(self) -> Routes:
        """Who answers which call."""
        return self._routes

    def choose(self, from_number: str, to_number: str, language: str = "") -> str:
        """The key of the persona for a call that comes in now: outside the hours of one, that of whom it names."""
        key = self._routes.choose(from_number, to_number, language)
        while (hours := self.closed(key)) is not None and hours.persona:
            key = hours.persona
        return key

    def closed(self, key: str) -> OpeningHours | None:
        """The hours of a persona that does not answer now; None of one that does."""
        role = self._roles.get(key)
        hours = None if role is None else role.persona.hours
        return None if hours is None or hours.is_open(self._wall_clock()) else hours

    def role(self, key: str) -> Role:
        """A persona of now, one that was there before, or the default one; with the tools that can be had now."""
        role = self._roles.get(key) or self._former.get(key) or self._roles[self._routes.default]
        supervisor = role.supervisor and self._joined(role.supervisor, role.persona.supervisor.tools)
        alone = role.alone and replace(role.alone, toolbox=self._joined(role.alone.toolbox, role.alone.persona.tools))
        toolbox = self._joined(role.toolbox, role.persona.tools)
        return replace(role, toolbox=toolbox, supervisor=supervisor, alone=alone)

    def _joined(self, toolbox: Toolbox, names: Sequence[str]) -> Toolbox:
        wanted = _from_elsewhere(names)
        if not wanted or self._elsewhere is None:
            return toolbox
        return toolbox.joined(self._elsewhere.tools(wanted, toolbox.room))

    def take_over(self, other: Cast) -> None:
        """Become another cast from the next call on."""
        self._former.update(self._roles)
        self._roles, self._routes = other._roles, other._routes


class LivingCast(Cast):
    """A cast that follows its files."""

    def __init__(self, sources: Sources, wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Raises `GatewayError` when the cast cannot be used as it stands."""
        super().__init__({}, Routes((), sources.default), sources.elsewhere, wall_clock)
        self._sources = sources
        self._seen = _traces_of(sources)
        self.take_over(read_cast(sources))
        self._log = structlog.get_logger()

    async def follow(self, every_s: float = LOOK_EVERY_S) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def look(self) -> None:
        """Become what the files say, where they have changed since the last look and are right."""
        try:
            seen = await asyncio.to_thread(_traces_of, self._sources)
            if seen == self._seen:
                return
            self._seen = seen
            self.take_over(await asyncio.to_thread(read_cast, self._sources))
        except GatewayError as error:
            self._log.error("personas.unusable", reason=str(error), advice="calls go on with the last good ones")
        except Exception as fault:  # noqa: BLE001 - a fault of ours must not end the looking
            self._log.error("personas.unread", exc_info=fault, advice="calls go on with the last good ones")
        else:
            self._log.info("personas.read", personas=sorted(self._roles))


def read_cast(sources: Sources) -> Cast:
    """Read personas and routes. Raises `GatewayError` with everything that is wrong in them."""
    files = persona_files(*([sources.folder] if sources.folder else []))
    problems: list[str] = []
    personas: dict[str, Persona] = {}
    for key, path in files.items():
        with gathered(problems):
            personas[key] = load_persona(path)
    if sources.default not in files:
        problems.append(f"DEFAULT_PERSONA is {sources.default}; {there_are(sorted(files), sources.default)}")
    roles: dict[str, Role] = {}
    for key, persona in personas.items():
        wrong = [*_astray(key, personas, files), *_check_handoffs(persona, files)]
        roles[key] = _role_of(persona, _with_colleagues(persona, sources, personas), wrong)
        problems += [f"persona {key}: {each}" for each in wrong]
    routes = Routes((), sources.default)
    if sources.routes is not None:
        with gathered(problems):
            routes = load_routes(sources.routes, files, sources.default)
    if problems:
        raise PersonaError("\n".join(problems))
    return Cast(roles, routes)


def _check_handoffs(persona: Persona, keys: Collection[str]) -> list[str]:
    """Whom a persona may hand the call to: somebody else who is there, and by a tool that it has."""
    named = [("handoff", other) for other in persona.handoff]
    named += [(f"keys.{pressed}", other) for pressed, other in persona.keys.items()]
    problems = [
        f"{field}: there is no {other}; {there_are(sorted(keys), other)}" for field, other in named if other not in keys
    ]
    problems += [f"{field}: is this persona itself" for field, other in named if other == persona.key]
    has_tool = HANDOFF_TO in (*persona.tools, *persona.supervisor.voice_tools)
    if persona.handoff and not has_tool:
        problems.append(f"handoff: needs the tool {HANDOFF_TO}; add it to tools")
    if has_tool and not persona.handoff:
        problems.append(f"tools: {HANDOFF_TO} needs to know whom to hand over to; name them in handoff")
    return problems


def _astray(key: str, personas: Mapping[str, Persona], keys: Collection[str]) -> list[str]:
    """Why a caller who comes outside this persona's hours might reach nobody."""
    passed = [key]
    while passed[-1] in personas and (hours := personas[passed[-1]].hours) is not None and hours.persona:
        if hours.persona not in keys:
            return [f"hours.persona: there is no {hours.persona}; {there_are(sorted(keys), hours.persona)}"]
        if hours.persona in passed:
            round_ = " -> ".join([*passed, hours.persona])
            return [f"hours.persona: {round_} goes round; one of them must answer or tell when"]
        passed.append(hours.persona)
    return []


def _with_colleagues(persona: Persona, sources: Sources, personas: Mapping[str, Persona]) -> Sources:
    """The sources of a persona's tools: among them the one that hands over, to those alone whom it names."""
    others = {key: personas[key].name for key in persona.handoff if key in personas}
    if not others:
        return sources
    handoff = tool_from(handoff_among(others))
    return replace(sources, toolbox=sources.toolbox.without(HANDOFF_TO).joined([handoff]))


def _role_of(persona: Persona, sources: Sources, problems: list[str]) -> Role:
    """A persona with its tools. problems: told what it could never have, with a supervisor or without."""
    brief = persona.supervisor
    toolbox = _tools_of("tools", persona.tools, sources, problems)
    voice = _tools_of("supervisor.voice_tools", brief.voice_tools, sources, problems)
    own = _tools_of("supervisor.tools", brief.tools, sources, problems)
    plays = persona.cast_as(supervised=sources.supervised)
    if not (sources.supervised and persona.asks):
        return Role(plays, toolbox.without(CONSULT))
    alone = Role(persona.cast_as(supervised=False), toolbox.without(CONSULT))
    return Role(plays, voice if brief.voice_tools else toolbox, own, alone)


def _tools_of(where: str, names: Sequence[str], sources: Sources, problems: list[str]) -> Toolbox:
    """The tools of the house that a persona names. problems: told of those that cannot be had."""
    wrong: list[str] = []
    for pattern in _from_elsewhere(names):
        if sources.elsewhere is None:
            wrong.append(f"{ELSEWHERE}{pattern} names an MCP server, but MCP_SERVERS_FILE is not set")
            continue
        with gathered(wrong):
            sources.elsewhere.check(pattern)
    toolbox = sources.toolbox
    with gathered(wrong):
        toolbox = toolbox.pick([name for name in names if not name.startswith(ELSEWHERE)])
    problems += [f"{where}: {each}" for each in wrong]
    return toolbox


def _from_elsewhere(names: Sequence[str]) -> list[str]:
    return [name.removeprefix(ELSEWHERE) for name in names if name.startswith(ELSEWHERE)]


def _traces_of(sources: Sources) -> frozenset[tuple[str, int, int]]:
    """Every file of the operator's own with its size and time of change."""
    files = [*(sources.folder.glob("*.toml") if sources.folder else []), *([sources.routes] if sources.routes else [])]
    found = set()
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            continue
        found.add((str(path), stat.st_mtime_ns, stat.st_size))
    return frozenset(found)
