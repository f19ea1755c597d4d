"""Why a model leg could not be opened or came to its end: exceptions of the libraries below, put into one vocabulary.

Codes are the protocol's own where the server told one (`invalid_api_key`, `insufficient_quota`, `session_expired` ...);
otherwise `http_<status>`, `closed_<close code>`, or one of: `bad_header`, `bad_url`, `connection_refused`,
`dns_failed`, `format_mismatch`, `handshake_failed`, `model_stalled`, `network_failed`, `no_key`, `ping_timeout`,
`proxy_failed`, `timeout`, `tls_failed`.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from typing import Any

import orjson
from picows import WSError, WSHandshakeError, WSInvalidStatusError
from python_socks import ProxyError

from voice_gateway.call.events import ModelUnavailable
from voice_gateway.errors import GatewayError
from voice_gateway.model.catalogue import is_retryable
from voice_gateway.wire import ABNORMAL, Ended

EXPLAINED = (OSError, ValueError, WSError, ProxyError)
"""What opening a WebSocket may raise; `explain` knows them all."""

_NO_PONG = 1001  # picows closes with it for this reason alone, and we never do
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
        case WSInvalidStatusError():
            code, message = _http(error)
        case OSError():
            code, message = _network(error)
        case ProxyError():
            code, message = "proxy_failed", "The proxy named by the environment cannot be used (HTTPS_PROXY, NO_PROXY)"
        case WSHandshakeError():
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


def describe_end(ended: Ended) -> tuple[str, str]:
    """Return (code, message) of a connection's end, whoever ended it and however badly."""
    if ended.code == ABNORMAL:
        return "closed_1006", "The connection broke without a word"
    if ended.ours and ended.code == _NO_PONG:
        return "ping_timeout", "The model's side answered no ping"
    if "maximum duration" in ended.reason:
        return "session_expired", ended.reason
    coded = _CODED_REASON.fullmatch(ended.reason)
    who = "We" if ended.ours else "The model's side"
    message = f"{who} closed the connection: {ended.reason or 'no reason given'} ({ended.code})"
    return (coded[1] if coded else f"closed_{ended.code}"), message


def _http(error: WSInvalidStatusError) -> tuple[str, str]:
    """An HTTP answer instead of a WebSocket; its body may hold the protocol's error object."""
    status = int(error.response.status) if error.response is not None else 0
    told = _error_object(error.raw_body or b"")
    message = told.get("message")
    said = f": {message}" if isinstance(message, str) and message else ""
    code = told.get("code")
    return (code if isinstance(code, str) and code else f"http_{status}"), f"The endpoint answered HTTP {status}{said}"


def _error_object(body: bytes) -> dict[str, Any]:
    """body: as much of it as came along with the headers, with the sizes of its chunks if it came in chunks."""
    try:
        answer = orjson.loads(body[body.find(b"{") : body.rfind(b"}") + 1])
    except orjson.JSONDecodeError:
        return {}
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, dict) else {}
