"""The cast: every persona with its own tools, and which of them answers a call. Read anew while calls go on.

Files are looked at when a call comes in, at most every two seconds. A cast that is wrong is told in the log and not
used: calls go on with the last one that was right. A live call keeps the persona it began with, even when its file is
taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from voice_gateway.agent.personas import Persona, PersonaError, load_personas
from voice_gateway.agent.routes import Routes, load_routes
from voice_gateway.agent.tools import Toolbox, ToolError
from voice_gateway.errors import GatewayError

LOOK_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Role:
    """A persona and the tools it works with."""

    persona: Persona
    toolbox: Toolbox


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a cast is read from. folder, routes: the operator's own, None for none. default: the key of a persona."""

    toolbox: Toolbox
    default: str
    folder: Path | None = None
    routes: Path | None = None


class Cast:
    """`choose` when a call comes in, `role` ever after."""

    def __init__(self, roles: Mapping[str, Role], routes: Routes) -> None:
        self._roles = dict(roles)
        self._former: dict[str, Role] = {}
        self._routes = routes

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

    def choose(self, from_number: str, to_number: str, language: str = "") -> str:
        """The key of the persona for a call that comes in now."""
        return self._routes.choose(from_number, to_number, language)

    def role(self, key: str) -> Role:
        """A persona of now, one that was there before, or the default one."""
        return self._roles.get(key) or self._former.get(key) or self._roles[self._routes.default]

    def take_over(self, other: Cast) -> None:
        """Become another cast from the next call on."""
        self._former.update(self._roles)
        self._roles, self._routes = other._roles, other._routes


class LivingCast(Cast):
    """A cast that follows its files."""

    def __init__(self, sources: Sources, clock: Callable[[], float]) -> None:
        """clock: monotonic seconds. Raises `GatewayError` when the cast cannot be used as it stands."""
        super().__init__({}, Routes((), sources.default))
        self.take_over(read_cast(sources))
        self._sources = sources
        self._clock = clock
        self._looked_at = clock()
        self._seen = _traces_of(sources)
        self._log = structlog.get_logger()

    def choose(self, from_number: str, to_number: str, language: str = "") -> str:
        self._look()
        return super().choose(from_number, to_number, language)

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        seen = _traces_of(self._sources)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.take_over(read_cast(self._sources))
        except GatewayError as error:
            self._log.error("personas.unusable", reason=str(error), advice="calls go on with the last good ones")
        else:
            self._log.info("personas.read", personas=sorted(self.keys))


def read_cast(sources: Sources) -> Cast:
    """Read personas and routes. Raises `GatewayError` with what is wrong in them."""
    personas = load_personas(*([sources.folder] if sources.folder else []))
    if sources.default not in personas:
        raise PersonaError(f"DEFAULT_PERSONA is {sources.default}; there are {', '.join(sorted(personas))}.")
    roles = {key: Role(persona, _tools_of(persona, sources.toolbox)) for key, persona in personas.items()}
    if sources.routes is None:
        return Cast(roles, Routes((), sources.default))
    return Cast(roles, load_routes(sources.routes, personas, sources.default))


def _tools_of(persona: Persona, toolbox: Toolbox) -> Toolbox:
    try:
        return toolbox.pick(persona.tools)
    except ToolError as error:
        raise PersonaError(f"persona {persona.key}: tools: {error}") from None


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
