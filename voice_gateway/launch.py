"""Start: what must be in order before the first call, and the server around a gateway."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from typing import Final

import uvicorn

from voice_gateway import __version__
from voice_gateway.agent.cast import Elsewhere, read_cast
from voice_gateway.agent.own import whole_toolbox
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import Tool, Toolbox
from voice_gateway.app import Gateway, build, foreign_of, sources_of
from voice_gateway.caller.upgrade import WEBSOCKET_SETTINGS
from voice_gateway.config import Settings
from voice_gateway.errors import ConfigError, GatewayError, gathered
from voice_gateway.makings import consents_of, prices_of
from voice_gateway.ops import logs
from voice_gateway.server import Server
from voice_gateway.store.database import StoreError, open_sound_database
from voice_gateway.store.recordings import check_folder

UNSERVED: Final = (
    "Until then no call is served: callers hear DISABLED_SENTENCE, and /ready answers 503. What needs no call works: "
    "/health, /metrics, the lists of /ai, the tools at /mcp."
)


def run(settings: Settings, variables: Mapping[str, str] | None = None) -> None:
    """Serve until told to stop. variables: as `app.build` takes them."""
    log = logs.get("app")
    for sentence in settings.warnings_at_start():
        log.warning("config.warning", detail=sentence)
    if settings.missing():
        log.error("config.missing", detail=" ".join(settings.missing()), effect=UNSERVED)
    log.info("gateway.starting", version=__version__, host=settings.host, port=settings.port)
    gateway = prepare(settings, variables)
    logs.hide(gateway.secrets)
    for sentence in (*gateway.unpriced(), *gateway.doubts(), *gateway.routes.doubts()):
        log.warning("config.warning", detail=sentence)
    try:
        listener = socket.create_server((settings.host, settings.port))
    except OSError as fault:
        raise ConfigError([f"HOST and PORT are {settings.host} and {settings.port}: {fault.strerror}."]) from None
    server(gateway, settings).run(sockets=[listener])


def prepare(settings: Settings, variables: Mapping[str, str] | None = None) -> Gateway:
    """A gateway, and a place for all that it keeps. Raises `GatewayError` with everything that is wrong at once."""
    try:
        gateway = build(settings, variables=variables)
        check_places(settings)
    except GatewayError as first:
        told = "\n".join(dict.fromkeys([*_mistakes(settings, variables), str(first)]))
        raise GatewayError(told) from None
    return gateway


def _mistakes(settings: Settings, variables: Mapping[str, str] | None) -> list[str]:
    """Everything that is wrong in what the operator brought along."""
    problems: list[str] = []
    toolbox: Toolbox = house_toolbox()
    elsewhere: Elsewhere | None = _Unread()
    with gathered(problems):
        toolbox = whole_toolbox(settings.tool_modules)
    with gathered(problems):
        elsewhere = foreign_of(settings, toolbox, variables)
    with gathered(problems):
        cast = read_cast(sources_of(settings, toolbox, elsewhere))
        if settings.recording_enabled:
            consents_of(settings, cast)
    with gathered(problems):
        prices_of(settings)
    with gathered(problems):
        check_places(settings)
    return problems


class _Unread:
    """Servers whose file cannot be read: `agent.cast.Elsewhere`. Who names one of them is not blamed for it."""

    def check(self, pattern: str) -> None:
        del pattern

    def tools(self, patterns: Sequence[str], room: int) -> Sequence[Tool]:
        del patterns, room
        return ()


def server(gateway: Gateway, settings: Settings) -> Server:
    """The HTTP and WebSocket server for a gateway, not yet running."""
    config = uvicorn.Config(
        gateway.asgi,
        host=settings.host,
        port=settings.port,
        http="h11",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        **WEBSOCKET_SETTINGS,
    )
    return Server(config, gateway.switchboard, settings.drain_seconds)


def check_places(settings: Settings) -> None:
    """Whether everything that is kept has its place. Raises `ConfigError`."""
    problems = []
    try:
        open_sound_database(settings.store_path).close()
    except (StoreError, OSError) as fault:
        problems.append(f"STORE_PATH is {settings.store_path}: {fault}")
    if settings.recording_enabled:
        try:
            check_folder(settings.recordings_dir)
        except OSError as fault:
            problems.append(f"RECORDINGS_DIR is {settings.recordings_dir}: {fault.strerror}.")
    if problems:
        raise ConfigError(problems)
