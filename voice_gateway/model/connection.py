"""The model leg's connection: where to, by which proxy, over which TLS, and nothing left open when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

from picows import WSAutoPingStrategy, WSParsedURL, ws_connect

from voice_gateway import __version__
from voice_gateway.model.refusal import ModelRefused
from voice_gateway.wire import FaultsOnly, Wire

_log: Final[Any] = FaultsOnly()


async def connect(
    url: SplitResult, headers: Mapping[str, str], wire: Wire, *, most_bytes: int, ping_every_s: float, patience_s: float
) -> None:
    """Open a connection for wire. most_bytes: of one frame. ping_every_s: of silence. patience_s: with an answer.

    Raises:
        refusal.EXPLAINED: one of them. Nothing is left open then, nor after a cancellation.
    """
    dialled: list[socket.socket] = []

    async def dial(where: WSParsedURL) -> socket.socket:
        sock = await _dial(where.host, where.port)
        dialled.append(sock)
        return sock

    try:
        _, listener = await ws_connect(
            lambda _request, _response: wire,
            url.geturl(),
            ssl_context=_tls_context() if url.scheme == "wss" else None,
            websocket_handshake_timeout=None,  # `ModelSocket.open` has the one clock for everything
            logger_name=_log,
            enable_auto_ping=True,
            auto_ping_idle_timeout=ping_every_s,
            auto_ping_reply_timeout=patience_s,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            max_frame_size=most_bytes,
            extra_headers={"User-Agent": f"voice-gateway/{__version__}", **headers},
            max_redirects=0,  # the headers, the key among them, would go to the other host
            proxy=_proxy(url),
            socket_factory=dial,
        )
    except BaseException:
        # A cancelled `ws_connect` may leave its transport open. A socket shut down is an end that it sees.
        for sock in dialled:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        raise
    if listener is None:
        raise ModelRefused("handshake_failed", "The endpoint does not speak WebSocket: it hung up without an answer")


async def _dial(host: str, port: int) -> socket.socket:
    """Connect to the first of a host's addresses that answers."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError("the host has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)  # noqa: FBT003 - the standard library's shape
            await loop.sock_connect(sock, address)
        except OSError as error:
            failure = error
            sock.close()
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """One for all calls: reading the system's certificates stops the event loop for 20 to 50 ms."""
    return ssl.create_default_context()


def with_model(url: str, model: str) -> SplitResult:
    """The endpoint's address with the model in its query, as the protocol wants it."""
    parts = urlsplit(url.strip())
    others = [(name, value) for name, value in parse_qsl(parts.query) if name != "model"]
    return parts._replace(query=urlencode([*others, ("model", model)]))


def _proxy(url: SplitResult) -> str | None:
    """The proxy that the environment names for this address (HTTPS_PROXY, ALL_PROXY ...; NO_PROXY), if any."""
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "wss" else 80)
    if _is_loopback(host) or proxy_bypass(f"{host}:{port}"):
        return None
    named = getproxies()
    kinds = ("wss", "socks", "https", "all") if url.scheme == "wss" else ("ws", "socks", "https", "http", "all")
    found = next((named[kind] for kind in kinds if named.get(kind)), None)
    if found is None:
        return None
    parts = urlsplit(found if "://" in found else f"http://{found}")
    scheme = {"socks": "socks5", "socks5h": "socks5", "socks4a": "socks4"}.get(parts.scheme, parts.scheme)
    if scheme not in {"http", "https", "socks4", "socks5"} or not parts.hostname:
        raise ModelRefused("proxy_failed", "The proxy named by the environment is none that can be used")
    return parts._replace(scheme=scheme).geturl()


def _is_loopback(host: str) -> bool:
    """A proxy of the environment cannot reach this machine's own loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def request_headers(api_key: str, safety_identifier: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The beta's header is not among them: the GA endpoint refuses whoever sends it."""
    wanted = {"Authorization": f"Bearer {api_key}" if api_key else "", "OpenAI-Safety-Identifier": safety_identifier}
    given = {name: value for name, value in (wanted | dict(headers)).items() if value}
    for name, value in given.items():
        if not (value.isascii() and value.isprintable()):
            raise ModelRefused("bad_header", f"The value of {name} holds a character that no HTTP header may have")
    return given
