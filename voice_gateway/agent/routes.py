"""Who answers which call: `routes.toml`, read from top to bottom; the first route that fits decides.

[[route]]
persona = "cfo"                        required: the key of a persona
to = ["+15550100002", "sip:cfo@*"]     numbers or addresses that were called; `*` stands for anything
from = ["+250*"]                       callers, in the same way
language = ["fr", "rw"]                what the webhook's address says: .../twilio/answer?language=fr
percent = 20                           of the callers that fit; who is among them stays among them

A route without `to`, `from` or `language` fits every call in that respect. Calls that no route fits go to the default.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voice_gateway.errors import GatewayError, there_are
from voice_gateway.ops.privacy import scrub
from voice_gateway.values import read_toml

_FIELDS = ("persona", "to", "from", "language", "percent")
_SPACING = re.compile(r"[\s().\-]")
_NATIONAL = re.compile(r"0[0-9*]*")


class RouteError(GatewayError):
    """The routes cannot be used. The text names file, line and field, and what should be there."""


@dataclass(frozen=True, slots=True)
class Route:
    """One rule. Empty patterns fit everything. percent: 0 to 100. written: patterns as in the file."""

    persona: str
    called: tuple[re.Pattern[str], ...] = ()
    callers: tuple[re.Pattern[str], ...] = ()
    languages: tuple[str, ...] = ()
    percent: float = 100.0
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def takes_all(self) -> bool:
        """Whether there is no call that it leaves to another."""
        return not (self.called or self.callers or self.languages) and self.percent >= 100

    def fits(self, from_number: str, to_number: str, language: str) -> bool:
        return (
            _matches(self.called, to_number)
            and _matches(self.callers, from_number)
            and (not self.languages or _primary(language) in self.languages)
            and _share_of(from_number, self.persona) < self.percent
        )


@dataclass(frozen=True, slots=True)
class Routes:
    """All rules, in their order."""

    routes: tuple[Route, ...]
    default: str

    def choose(self, from_number: str, to_number: str, language: str = "") -> str:
        """The key of the persona for a call. Numbers and addresses as the carrier gave them."""
        for route in self.routes:
            if route.fits(from_number, to_number, language):
                return route.persona
        return self.default

    def doubts(self) -> tuple[str, ...]:
        """Sentences about rules that can be used and will never decide."""
        found: list[str] = []
        for number, route in enumerate(self.routes, start=1):
            found += [
                f"ROUTES_FILE, route {number} ({route.persona}): {name}: {scrub(pattern)} fits no call: "
                "numbers come with + and country code, such as +250788000123."
                for name, patterns in route.written.items()
                for pattern in patterns
                if _NATIONAL.fullmatch(_compact(pattern))
            ]
        everybody = next((number for number, route in enumerate(self.routes, start=1) if route.takes_all), None)
        if everybody is not None and everybody < len(self.routes):
            found.append(f"ROUTES_FILE, route {everybody} takes every call; those after it are never asked.")
        return tuple(found)


def load_routes(path: Path, personas: Collection[str], default: str) -> Routes:
    """Read the rules. Raises `RouteError` with everything that is wrong in the file."""
    try:
        given, text = read_toml(path)
    except OSError as error:
        raise RouteError(f"ROUTES_FILE: {path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # a number may be too long to be read
        raise RouteError(f"{path}: cannot be read as TOML: {error}") from error
    reading = _Reading(path, text.splitlines(), personas)
    routes = reading.routes(given)
    if reading.problems:
        raise RouteError("\n".join(reading.problems))
    return Routes(routes, default)


class _Reading:
    """One file on its way in; collects what is wrong with it."""

    def __init__(self, path: Path, lines: Sequence[str], personas: Collection[str]) -> None:
        self._path = path
        self._lines = lines
        self._personas = personas
        self._heads = [number for number, line in enumerate(lines) if re.match(r"\s*\[\[\s*route\s*\]\]", line)]
        self._number = 0
        self.problems: list[str] = []

    def routes(self, given: Mapping[str, Any]) -> tuple[Route, ...]:
        for name in given.keys() - {"route"}:
            self._complain(name, "there are only [[route]] tables in this file")
        tables = given.get("route", [])
        if not isinstance(tables, list):
            self._complain("route", "write [[route]], in two brackets: there may be several")
            return ()
        found = []
        for self._number, table in enumerate(tables, start=1):
            found.append(self._route(table))
        return tuple(found)

    def _route(self, table: Mapping[str, Any]) -> Route:
        for name in sorted(table.keys() - set(_FIELDS)):
            self._complain(name, f"no such field; {there_are(_FIELDS, name)}")
        persona = table.get("persona")
        if not isinstance(persona, str) or persona not in self._personas:
            self._complain("persona", f"{persona!r} is no persona; {there_are(sorted(self._personas), str(persona))}")
        percent = table.get("percent", 100)
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            self._complain("percent", f"must be a number from 0 to 100, not {percent!r}")
            percent = 100
        languages = self._texts(table, "language")
        for language in languages:
            if not re.fullmatch(r"[a-z]{2,3}", language):
                self._complain("language", f"must be ISO 639 codes such as en or rw, not {language!r}")
        written = {name: self._texts(table, name) for name in ("to", "from")}
        return Route(
            persona=str(persona),
            called=tuple(map(_pattern, written["to"])),
            callers=tuple(map(_pattern, written["from"])),
            languages=languages,
            percent=float(percent),
            written=written,
        )

    def _texts(self, table: Mapping[str, Any], name: str) -> tuple[str, ...]:
        """One text or a list of them; an empty list would silently fit everything, so it is refused."""
        value = table.get(name)
        if value is None:
            return ()
        values = [value] if isinstance(value, str) else value
        good = isinstance(values, list) and values and all(isinstance(each, str) and each.strip() for each in values)
        if not good:
            self._complain(name, f"must be a text or a list of texts with something in it, not {value!r}")
            return ()
        return tuple(each.strip() for each in values)

    def _complain(self, field: str, problem: str) -> None:
        self.problems.append(f"{self._path}, line {self._line(field)}: {field}: {problem}")

    def _line(self, field: str) -> int:
        """Where a field of the route in hand stands; the route's own line where it is missing. Counted from 1."""
        inside = 0 < self._number <= len(self._heads)
        first = self._heads[self._number - 1] if inside else 0
        last = self._heads[self._number] if inside and self._number < len(self._heads) else len(self._lines)
        for number in range(first, last):
            if re.match(rf"""\s*\[*\s*["']?{re.escape(field)}["']?\s*[=.\]]""", self._lines[number]):
                return number + 1
        return first + 1


def _pattern(text: str) -> re.Pattern[str]:
    """Numbers are compared without spacing, addresses without regard to case."""
    return re.compile(".*".join(map(re.escape, _compact(text).split("*"))), re.DOTALL)


def _compact(address: str) -> str:
    """A number without what people put between digits; any other address in small letters."""
    compact = _SPACING.sub("", address)
    return compact if re.fullmatch(r"\+?[0-9*]+", compact) else address.strip().lower()


def _matches(patterns: tuple[re.Pattern[str], ...], address: str) -> bool:
    compact = _compact(address)
    return not patterns or any(pattern.fullmatch(compact) for pattern in patterns)


def _primary(language: str) -> str:
    """`fr` of `fr-CA` (RFC 5646, section 2.1)."""
    return language.strip().lower().replace("_", "-").partition("-")[0]


def _share_of(from_number: str, persona: str) -> float:
    """A place from 0 up to 100 that is a caller's own, a different one for each persona."""
    digest = hashlib.sha256(f"{persona}\n{_compact(from_number)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * 100
