"""Does this request really come from the carrier? Twilio's signatures on webhooks and on the WebSocket upgrade.

`X-Twilio-Signature` is the base64 of an HMAC over the URL and the sorted form fields: with SHA-1 and the account's auth
token, or, when `X-Twilio-Webhooks-Signature-Settings` says so, with SHA-256 and a shared key. On the upgrade there are
no fields and the URL is the `wss://` one of the TwiML, byte for byte.

The scheme has no time in it, so a signature seen once is good for ever: the single-use token (`tokens`) closes that.
The URL is always built from the configured public address. What `Host` and `X-Forwarded-*` say is the client's word.
"""

from __future__ import annotations

import enum
import hmac
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from twilio.request_validator import (  # type: ignore[import-untyped]  # has no py.typed
    HMAC_SHA1,
    HMAC_SHA256,
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)

_DEFAULT_PORTS = {"http": ":80", "ws": ":80", "https": ":443", "wss": ":443"}


class SignatureVerdict(enum.Enum):
    """What a signature is worth. True in a condition only when it is good."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"

    def __bool__(self) -> bool:
        return self is SignatureVerdict.OK


class SignatureCheck:
    """Checks signatures against every key that may be in use: of subaccounts, and of the time of a rotation.

    auth_tokens: for HMAC-SHA1. shared_keys: secrets for HMAC-SHA256. Raises ValueError when there is no key at all, or
    an empty one: an HMAC under an empty key is one that anybody can make.
    """

    def __init__(self, auth_tokens: Iterable[str], shared_keys: Iterable[str] = ()) -> None:
        self._validators = {
            HMAC_SHA1: tuple(map(_validator, auth_tokens)),
            HMAC_SHA256: tuple(map(_validator, shared_keys)),
        }
        if not any(self._validators.values()):
            raise ValueError("no key to check Twilio's signatures with: give an auth token or a shared key")

    def check_http(self, url: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> SignatureVerdict:
        """A webhook. url: from `public_url`. params: the form's fields (a multidict or a dict; empty for GET)."""
        return self._check(url, params, headers)

    def check_websocket(self, url: str, headers: Mapping[str, str]) -> SignatureVerdict:
        """A WebSocket upgrade. url: exactly the `wss://` one that was written into the TwiML."""
        return self._check(url, {}, headers)

    def _check(self, url: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> SignatureVerdict:
        claimed = _header(headers, SIGNATURE_HEADER)
        if not claimed:
            return SignatureVerdict.MISSING
        algorithm = get_signature_algorithm(_header(headers, SIGNATURE_SETTINGS_HEADER)).upper()
        validators = self._validators.get(algorithm, ())
        if not validators:
            return SignatureVerdict.UNSUPPORTED_ALGORITHM
        good = False
        claimed_bytes = claimed.encode("utf-8", "replace")
        try:
            # Every key and every spelling is tried, and none ends the loop early: time tells nothing.
            for validator in validators:
                for spelling in _spellings(url):
                    computed = validator.compute_signature(spelling, params, algorithm).encode()
                    good |= hmac.compare_digest(computed, claimed_bytes)
        except (TypeError, UnicodeEncodeError):  # an uploaded file or half a surrogate: not of the carrier's making
            return SignatureVerdict.WRONG
        return SignatureVerdict.OK if good else SignatureVerdict.WRONG


def public_url(base: str, path: str | bytes, query: str | bytes = "") -> str:
    """The URL that the carrier asked for: the configured `https://host` with the request's own path and query.

    path, query: raw, still percent-encoded (ASGI's `raw_path` and `query_string`): the signature covers those bytes.
    """
    path = path.decode("latin-1") if isinstance(path, bytes) else path
    query = query.decode("latin-1") if isinstance(query, bytes) else query
    url = base.rstrip("/") + "/" + path.removeprefix("/")
    return f"{url}?{query}" if query else url


def _validator(key: str) -> RequestValidator:
    if not key.strip():
        raise ValueError("an empty key cannot check Twilio's signatures: give its value or leave it out")
    return RequestValidator(key)


def _spellings(url: str) -> tuple[str, ...]:
    """The URL as it is, and with its scheme's usual port added or removed: the carrier is known to do either."""
    parts = urlsplit(url)
    port = _DEFAULT_PORTS.get(parts.scheme, "")
    if port and parts.netloc.endswith(port):
        other = parts.netloc.removesuffix(port)
    elif port and ":" not in parts.netloc:
        other = parts.netloc + port
    else:
        return (url,)
    return (url, url.replace(parts.netloc, other, 1))


def _header(headers: Mapping[str, str], name: str) -> str:
    wanted = name.lower()
    return next((value for key, value in headers.items() if key.lower() == wanted), "")
