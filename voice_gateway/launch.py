"""Start: what must be in order before the first call, and the server around a gateway."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from voice_gateway import __version__
from voice_gateway.app import Gateway, build
from voice_gateway.caller.upgrade import WEBSOCKET_SETTINGS
from voice_gateway.config import Settings
from voice_gateway.errors import ConfigError
from voice_gateway.ops import logs
from voice_gateway.server import Server
from voice_gateway.store.database import StoreError, open_sound_database
from voice_gateway.store.recordings import check_folder


def run(settings: Settings, variables: Mapping[str, str] | None = None) -> None:
    """Serve until told to stop. variables: as `app.build` takes them."""
    log = logs.get("app")
    for sentence in settings.warnings_at_start():
        log.warning("config.warning", detail=sentence)
    for sentence in settings.missing():
        log.error("config.missing", detail=sentence)
    log.info("gateway.starting", version=__version__, host=settings.host, port=settings.port)
    gateway = build(settings, variables=variables)
    logs.hide(gateway.secrets)
    for sentence in (*gateway.unpriced(), *gateway.doubts()):
        log.warning("config.warning", detail=sentence)
    check_places(settings)
    try:
        listener = socket.create_server((settings.host, settings.port))
    except OSError as fault:
        raise ConfigError([f"HOST and PORT are {settings.host} and {settings.port}: {fault.strerror}."]) from None
    server(gateway, settings).run(sockets=[listener])


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
        **WEBSOCKET_SETTINGS,
    )
    return Server(config, gateway.switchboard, settings.drain_seconds)


def check_places(settings: Settings) -> None:
    """Whether everything that is kept has its place. Raises `GatewayError`."""
    _check_store(settings.store_path)
    if settings.recording_enabled:
        _check_recordings(settings.recordings_dir)


def _check_recordings(folder: Path) -> None:
    """Say in a sentence, before anything starts, when calls could not be recorded. Raises `GatewayError`."""
    try:
        check_folder(folder)
    except OSError as fault:
        raise ConfigError([f"RECORDINGS_DIR is {folder}: {fault.strerror}."]) from None


def _check_store(path: Path) -> None:
    """Say in a sentence, before anything starts, when the record could not be kept. Raises `GatewayError`."""
    try:
        open_sound_database(path).close()
    except (StoreError, OSError) as fault:
        raise ConfigError([f"STORE_PATH is {path}: {fault}"]) from None
