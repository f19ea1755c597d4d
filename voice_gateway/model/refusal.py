"""Why a model leg could not be opened or came to its end: exceptions of the libraries below, put into one vocabulary.

Codes are the protocol's own where the server told one (`invalid_api_key`, `insufficient_quota`, `session_expired` ...);
otherwise `http_<status>`, `closed_<close code>`, or one of: `bad_header`, `bad_url`, `connection_refused`,
`dns_failed`, `format_mismatch`, `handshake_failed`, `model_stalled`, `network_failed`, `ping_timeout`, `proxy_failed`,
`timeout`, `tls_failed`.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

import orjson
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    WebSocketException,
)

from voice_gateway.call.events import ModelUnavailable
from voice_gateway.errors import GatewayError
from voice_gateway.model.catalogue import is_retryable

EXPLAINED = (OSError, ValueError, ImportError, WebSocketException)
"""What opening a WebSocket may raise; `explain` knows them all. ImportError: a SOCKS proxy without its library."""

_CODED_REASON = re.compile(r"[a-z_]+\.([a-z_]+)")


class ModelRefused(GatewayError):  # noqa: N818 - one of the house's words: the model refused
    """No session could be had. retryable: whether a second attempt, soon, may end differently."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.retryable = is_retryable(code)

    @property
    def event(self) -> ModelUnavailable:
        return ModelUnavailable(self.code, self.message)


def explain(error: Exception, scrub: Callable[[str], str]) -> ModelRefused:
    """Return the refusal that error amounts to. scrub takes secrets out of what the far side wrote."""
    match error:
        case ModelRefused():
            return error
        case InvalidStatus():
            code, message = _http(error.response.status_code, error.response.body)
        case ConnectionClosed():
            code, message = describe_close(error)
        case OSError():
            code, message = _network(error)
        case InvalidProxy() | ProxyError() | ImportError():
            code, message = "proxy_failed", "The proxy named by the environment cannot be used (HTTPS_PROXY, NO_PROXY)"
        case InvalidHandshake() if not isinstance(error, InvalidURI):
            code, message = "handshake_failed", f"The endpoint does not speak WebSocket: {error}"
        case _:
            code, message = "bad_url", "The endpoint must be a URL that begins with wss:// or ws://"
    return ModelRefused(code, scrub(message))


def _network(error: OSError) -> tuple[str, str]:
    match error:
        case TimeoutError():
            return "timeout", "The network gave no answer"
        case ssl.SSLError():
            return "tls_failed", f"No secure connection: {getattr(error, 'reason', None) or error.strerror}"
        case socket.gaierror():
            return "dns_failed", f"The endpoint's host name has no address: {error.strerror}"
        case ConnectionRefusedError():
            return "connection_refused", "Nothing listens at the endpoint"
        case _:
            return "network_failed", f"The network failed: {error.strerror or type(error).__name__}"


def describe_close(closed: ConnectionClosed) -> tuple[str, str]:
    """Return (code, message) of a connection's end, whoever ended it and however badly."""
    ours = closed.sent is not None and not closed.rcvd_then_sent
    frame = closed.sent if ours else closed.rcvd
    if frame is None:
        return "closed_1006", "The connection broke without a word"
    if ours and "ping timeout" in frame.reason:
        return "ping_timeout", "The model's side answered no ping"
    if "maximum duration" in frame.reason:
        return "session_expired", frame.reason
    coded = _CODED_REASON.fullmatch(frame.reason)
    who = "We" if ours else "The model's side"
    message = f"{who} closed the connection: {frame.reason or 'no reason given'} ({int(frame.code)})"
    return (coded[1] if coded else f"closed_{int(frame.code)}"), message


def _http(status: int, body: bytes | None) -> tuple[str, str]:
    """An HTTP answer instead of a WebSocket; its body may hold the protocol's error object."""
    error = _error_object(body)
    message = error.get("message")
    said = f": {message}" if isinstance(message, str) and message else ""
    code = error.get("code")
    return (code if isinstance(code, str) and code else f"http_{status}"), f"The endpoint answered HTTP {status}{said}"


def _error_object(body: bytes | None) -> dict[str, Any]:
    try:
        answer = orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}
