"""Which other MCP servers there are: `MCP_SERVERS_FILE`, one table a server, by the name that personas use.

[weather]
command = "weather-server"             a program that is started and speaks MCP on standard input and output; or
url = "https://weather.example/mcp"    a server that is reached by streamable HTTP
args = ["--units", "metric"]           of the command
env = { KEY = "${WEATHER_KEY}" }       of the command, besides PATH, HOME and the like; it gets no other variable
cwd = "/srv/weather"                   of the command
headers = { Authorization = "Bearer ${WEATHER_TOKEN}" }   with a url
allow = ["get_*"]                      required: which of its tools may be used at all; ["*"] for all
prefix = "weather_"                    before its tools' names; without it the server's name and _
timeout_s = 8                          for one call of a tool, up to 120; without it 10
limit = 4                              calls of one tool at a time; without it any number
effects = ["book_*"]                   what changes something and is done once; without it what the server says does

${NAME} stands for a variable of the environment or of .env, and its value is kept out of the log.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from voice_gateway.errors import GatewayError, there_are
from voice_gateway.values import read_toml, split_url

TIMEOUT_S = 10.0
LONGEST_TIMEOUT_S = 120.0

_OF_COMMAND = ("args", "env", "cwd")
_FIELDS = ("command", "url", *_OF_COMMAND, "headers", "allow", "prefix", "timeout_s", "limit", "effects")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ServerError(GatewayError):
    """The servers cannot be used as they are written. The text names file, server, field, and what should be there."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server. Either `command`, with its arguments, or `url`. effects: None leaves it to what the server says."""

    name: str
    allow: tuple[str, ...]
    prefix: str
    command: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = TIMEOUT_S
    limit: int | None = None
    effects: tuple[str, ...] | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def allows(self, tool: str) -> bool:
        """Whether a tool, by the name that the server gives it, may be used."""
        return _fits(tool, self.allow)

    def has_effect(self, tool: str, *, told: bool) -> bool:
        """Whether a tool changes something. told: the server says so."""
        return told if self.effects is None else _fits(tool, self.effects)


def load_servers(path: Path, variables: Mapping[str, str]) -> tuple[Server, ...]:
    """Read the file. variables: for ${NAME}. Raises `ServerError` with everything that is wrong in it."""
    try:
        given, _ = read_toml(path)
    except OSError as error:
        raise ServerError(f"MCP_SERVERS_FILE: {path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # a number may be too long to be read
        raise ServerError(f"MCP_SERVERS_FILE: {path}: cannot be read as TOML: {error}") from error
    problems: list[str] = []
    servers = [_Reader(path, name, table, variables, problems).server() for name, table in given.items()]
    found = [server for server in servers if server is not None]
    problems += [
        f"{path}: [{server.name}] prefix: {server.prefix!r} is that of [{earlier.name}] too"
        for index, server in enumerate(found)
        for earlier in found[:index]
        if server.prefix == earlier.prefix
    ]
    if problems:
        raise ServerError("\n".join(problems))
    return tuple(found)


class _Reader:
    """Reads one table. What is wrong goes to `problems`, and a harmless value takes its place."""

    def __init__(self, path: Path, name: str, table: Any, variables: Mapping[str, str], problems: list[str]) -> None:
        self._path = path
        self._name = name
        self._table = table
        self._variables = variables
        self._problems = problems
        self._secrets: list[str] = []

    def server(self) -> Server | None:
        before = len(self._problems)
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", self._name):
            self._wrong("", f"a server's name has small letters, digits, _ and -, at most 32, not {self._name!r}")
        if not isinstance(self._table, dict):
            self._wrong("", f"must be a table, [{self._name}], with a command or a url")
            return None
        for name in sorted(self._table.keys() - set(_FIELDS)):
            self._wrong(name, f"no such field; {there_are(_FIELDS, name)}")
        self._check_kind()
        server = Server(
            name=self._name,
            allow=self._texts("allow"),
            prefix=self._prefix(),
            command=self._command(),
            env=self._variables_of("env"),
            cwd=self._cwd(),
            url=self._url(),
            headers=self._headers(),
            timeout_s=self._timeout(),
            limit=self._limit(),
            effects=self._texts("effects") if "effects" in self._table else None,
            secrets=tuple(self._secrets),
        )
        return server if len(self._problems) == before else None

    def _wrong(self, field_name: str, problem: str) -> None:
        where = f"{field_name}: " if field_name else ""
        self._problems.append(f"{self._path}: [{self._name}] {where}{problem}")

    def _check_kind(self) -> None:
        has_command, has_url = "command" in self._table, "url" in self._table
        if has_command == has_url:
            both = "either of the two, not both" if has_command else "is missing: name a command or a url"
            self._wrong("command", both)
        for name in _OF_COMMAND:
            if name in self._table and not has_command:
                self._wrong(name, "goes with a command")
        if "headers" in self._table and not has_url:
            self._wrong("headers", "go with a url")
        if "allow" not in self._table:
            self._wrong("allow", 'is missing: which of its tools may be used, such as ["get_*"], or ["*"] for all')

    # --- fields -------------------------------------------------------------------------------------------------

    def _text(self, name: str, value: Any) -> str:
        """A text with its references filled in."""
        if not isinstance(value, str):
            self._wrong(name, f"must be a text, not {value!r}")
            return ""

        def fill(reference: re.Match[str]) -> str:
            held = self._variables.get(reference[1], "")
            if not held:
                self._wrong(name, f"{reference[0]} is not set: set {reference[1]} in the environment or in .env")
            else:
                self._secrets.append(held)
            return held

        return _REFERENCE.sub(fill, value)

    def _texts(self, name: str) -> tuple[str, ...]:
        value = self._table.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            self._wrong(name, f"must be a list of texts, not {value!r}")
            return ()
        return tuple(value)

    def _variables_of(self, name: str) -> dict[str, str]:
        value = self._table.get(name, {})
        if not isinstance(value, dict):
            self._wrong(name, "must be a table of texts")
            return {}
        return {key: self._text(f"{name}.{key}", each) for key, each in value.items()}

    def _command(self) -> tuple[str, ...]:
        if "command" not in self._table:
            return ()
        command = self._text("command", self._table["command"])
        args = tuple(self._text("args", each) for each in self._texts("args"))
        if command and shutil.which(command, path=os.pathsep.join(_search_path(self._variables))) is None:
            self._wrong("command", f"there is no program {command!r}; install it, or write its whole path")
        return (command, *args)

    def _cwd(self) -> str | None:
        if "cwd" not in self._table:
            return None
        folder = self._text("cwd", self._table["cwd"])
        if folder and not Path(folder).is_dir():
            self._wrong("cwd", f"{folder} is no folder")
        return folder

    def _url(self) -> str:
        if "url" not in self._table:
            return ""
        url = self._text("url", self._table["url"])
        parts = urlsplit(url)
        try:
            split_url(f"{parts.scheme}://{parts.netloc}", "https", "http")
        except ValueError:
            if url:
                self._wrong("url", "must be https:// and a host, or http:// to one nearby, without a user in it")
        return url

    def _headers(self) -> dict[str, str]:
        headers = self._variables_of("headers")
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[\x20-\x7e]*", value):
                self._wrong(f"headers.{name[:40]}", "must be a header: letters, digits and -, and printable ASCII")
        return headers

    def _prefix(self) -> str:
        prefix = self._table.get("prefix", f"{self._name}_")
        if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z0-9_-]{0,32}", prefix):
            self._wrong("prefix", f"must have letters, digits, _ and -, at most 32, not {prefix!r}")
            return ""
        return prefix

    def _timeout(self) -> float:
        value = self._table.get("timeout_s", TIMEOUT_S)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_TIMEOUT_S:
            self._wrong("timeout_s", f"must be above 0 and up to {LONGEST_TIMEOUT_S:.0f} seconds, not {value!r}")
            return TIMEOUT_S
        return float(value)

    def _limit(self) -> int | None:
        value = self._table.get("limit")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            self._wrong("limit", f"must be a whole number from 1, not {value!r}")
            return None
        return value


def _search_path(variables: Mapping[str, str]) -> Sequence[str]:
    return variables.get("PATH", os.defpath).split(os.pathsep)


def _fits(tool: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(tool, pattern) for pattern in patterns)
