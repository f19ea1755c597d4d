"""One JSON object a line on standard output; the same in colours where standard output is a terminal.

    log = logs.get("caller.socket").bind(call_sid=..., from_number=..., to_number=..., direction=...)
    log.info("twilio.session.started", stream_sid=...)

`msg` is a constant, so that it can be searched for and counted; everything that varies is a field beside it. Fields are
named as in Python and come out in camel case, `from_number` and `to_number` as `from` and `to`. Numbers are masked and
secrets hidden on the way out: in every field, in exceptions, and in what libraries log (see `privacy`).

Loggers may be made before `configure` and follow every later one: threshold, stream and secrets belong to the process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Iterable, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import IO, Any, Final, TypeAlias

import orjson
import structlog

from voice_gateway.ops.privacy import HIDDEN, Scrubber, mask_number

SERVICE: Final = "voice-agent"

Fields: TypeAlias = MutableMapping[str, Any]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

# At their chattiest these print audio, headers and whole addresses; what they have to say matters from here on.
_LIBRARIES: Final = {
    "asyncio": logging.INFO,
    "hpack": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "mcp": logging.CRITICAL,
    "openai": logging.WARNING,  # at debug it logs what is asked, word for word
    "twilio": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.WARNING,
    "websockets": logging.WARNING,
}

_FIRST: Final = ("msg", "logger", "correlationId", "callSid", "from", "to", "direction")
_NUMBERS: Final = frozenset({"from", "to", "caller", "called", "number", "phone"})
_NEVER: Final = frozenset({"apiKey", "authToken", "authorization", "password", "secret", "signature", "token"})
_RENAMED: Final = {"event": "msg", "from_number": "from", "to_number": "to"}


class Logger(structlog.BoundLoggerBase):
    """Writes lines with the fields bound to it. Below the threshold a call costs one comparison."""

    def debug(self, msg: str, **fields: object) -> None:
        if _outlet.threshold <= 10:
            self._proxy_to_logger("debug", msg, **fields)

    def info(self, msg: str, **fields: object) -> None:
        if _outlet.threshold <= 20:
            self._proxy_to_logger("info", msg, **fields)

    def warning(self, msg: str, **fields: object) -> None:
        if _outlet.threshold <= 30:
            self._proxy_to_logger("warning", msg, **fields)

    def error(self, msg: str, **fields: object) -> None:
        if _outlet.threshold <= 40:
            self._proxy_to_logger("error", msg, **fields)

    def exception(self, msg: str, **fields: object) -> None:
        """`error` with the exception being handled and its traceback."""
        if _outlet.threshold <= 40:
            self._proxy_to_logger("error", msg, exc_info=True, **fields)


def get(name: str, **fields: object) -> Logger:
    """A logger for the room `name`, such as `caller.socket`, with `fields` on every line."""
    return Logger(_outlet, (_render,), {"logger": name, **fields})


def configure(
    level: str = "info", *, secrets: Iterable[str] = (), stream: IO[str] | None = None, color: bool | None = None
) -> None:
    """Set what the process logs, and where; libraries that use `logging` go the same way.

    level: debug, info, warning, error or critical. secrets: values that must never be seen. stream: standard output
    when None. color: lines for people; when None, only where the stream is a terminal. May be called again.
    """
    threshold = LEVELS[level.lower()]
    target = sys.stdout if stream is None else stream
    _outlet.stream = target
    _outlet.threshold = threshold
    _outlet.secrets = tuple(secrets)
    _outlet.scrubber = Scrubber(_outlet.secrets)
    _outlet.color = target.isatty() if color is None else color
    structlog.configure(
        processors=[_render], wrapper_class=Logger, logger_factory=lambda *_: _outlet, cache_logger_on_first_use=False
    )
    _take_over_logging(threshold)


def hide(secrets: Iterable[str]) -> None:
    """Keep these values out of the log too, until the next `configure`."""
    _outlet.secrets = (*_outlet.secrets, *secrets)
    _outlet.scrubber = Scrubber(_outlet.secrets)


def _take_over_logging(threshold: int) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        # A plain console handler, as `logging.basicConfig` adds it, would print every line a second time, unscrubbed.
        if type(handler) in {_LibraryHandler, logging.StreamHandler}:
            root.removeHandler(handler)
    root.addHandler(_LibraryHandler())
    root.setLevel(threshold)
    for name, least in _LIBRARIES.items():
        library = logging.getLogger(name)
        library.setLevel(max(threshold, least))
        library.handlers.clear()
        library.propagate = True


class _LibraryHandler(logging.Handler):
    """Takes what libraries log: `msg` is the constant `library.log`, their text is the field `detail`."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: Fields = {"logger": record.name, "event": "library.log", "detail": record.getMessage()}
            if record.exc_info:
                fields["exc_info"] = record.exc_info
            _outlet.write(_render(_outlet, record.levelname.lower(), fields))
        except Exception:  # noqa: BLE001  # a record with wrong arguments must not break its library
            self.handleError(record)


class _Outlet:
    """Where lines leave the process. There is one; structlog calls the method named like the level."""

    def __init__(self) -> None:
        self.stream: IO[str] = sys.stdout
        self.threshold = LEVELS["info"]
        self.secrets: tuple[str, ...] = ()
        self.scrubber = Scrubber()
        self.color = False
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        # A reader that went away, or a closed stream, must not end a call.
        try:
            with self._lock:
                self.stream.write(line)
                self.stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = write


_outlet = _Outlet()


# --- from fields to a line --------------------------------------------------------------------------------------


def _render(_logger: object, level: str, fields: Fields) -> str:
    """The one structlog processor: names, order, privacy, and text with its line end."""
    fields = structlog.contextvars.merge_contextvars(_logger, level, fields)
    if fields.get("exc_info"):
        fields = structlog.processors.format_exc_info(_logger, level, fields)
    fields.pop("exc_info", None)
    named = {_name(key): value for key, value in fields.items()}
    line: dict[str, Any] = {"level": level, "time": _time(), "service": SERVICE, "pid": os.getpid()}
    for key in _FIRST:
        if key in named:
            line[key] = _private(key, named.pop(key))
    for key, value in named.items():
        line[f"{key}_" if key in line else key] = _private(key, value)
    return _for_people(line) if _outlet.color else _as_json(line)


@lru_cache(maxsize=512)
def _name(key: str) -> str:
    if key in _RENAMED:
        return _RENAMED[key]
    first, *rest = key.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _private(key: str, value: object) -> object:
    if key in _NEVER:
        return HIDDEN if value else value
    scrubbed = _outlet.scrubber.scrub_value(value)
    # A number is masked after the scrubbing: a registered secret in this field must not survive as its own ends.
    return mask_number(scrubbed) if key in _NUMBERS and isinstance(scrubbed, str) else scrubbed


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_json(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode()
    except TypeError:  # a lone surrogate or a number above 64 bits; the standard library writes both
        return json.dumps(line, default=str) + "\n"


_console = structlog.dev.ConsoleRenderer(
    colors=True, force_colors=True, sort_keys=False, event_key="msg", timestamp_key="time", pad_event_to=28
)


def _for_people(line: dict[str, Any]) -> str:
    """The time of day, the level, what happened, and its fields; what is the same on every line is left out."""
    exception = line.pop("exception", "")
    shown: Fields = {key: _visible(value) for key, value in line.items() if key not in {"service", "pid", "logger"}}
    shown["time"] = line["time"][11:23]
    text = _console(None, line["level"], shown)
    below = f"\n{_visible(exception)}" if exception else ""
    return f"{text}{below}\n"


def _visible(value: object) -> object:
    """A far side's text may hold control characters that a terminal would obey."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in value)
