"""Single-use tokens that tie a media stream to the webhook it was announced by.

A token goes to the carrier as a `<Parameter>` of the stream and comes back in its `start` message, next to the CallSid.
It is good for that one call, for a short time, and once. Its bytes, before base64url:

    expiry, milliseconds since 1970 (8, big-endian) | nonce (12) | which call (16) | HMAC-SHA256 of all before (32)

Time is passed in, in seconds since 1970 (wall clock): a token may be redeemed by another process than minted it, when
both have the same secret. Single use is remembered by the process that redeemed it, and only until the token expires.
"""

from __future__ import annotations

import binascii
import enum
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from heapq import heappop, heappush

_EXPIRY, _NONCE, _CALL, _MAC = 8, 12, 16, 32
_BODY = _EXPIRY + _NONCE + _CALL
_TOKEN_CHARS = 91  # base64url of 68 bytes without its padding
_MIN_SECRET_BYTES = 16


class TokenVerdict(enum.Enum):
    """What a token is worth. True in a condition only when it is good."""

    OK = "ok"
    MALFORMED = "malformed"
    FORGED = "forged"
    WRONG_CALL = "wrong_call"
    EXPIRED = "expired"
    REPLAYED = "replayed"

    def __bool__(self) -> bool:
        return self is TokenVerdict.OK


class StreamTokens:
    """Mints tokens and redeems each of them once.

    secret: at least 16 random bytes; the same in every process that serves the same calls. ttl_s: how long a token
    lives, from the webhook's answer to the stream's `start`; the spoken line before the stream counts too.
    """

    def __init__(self, secret: bytes, ttl_s: float = 120.0) -> None:
        if len(secret) < _MIN_SECRET_BYTES:
            raise ValueError(f"the secret for stream tokens needs at least {_MIN_SECRET_BYTES} bytes")
        if ttl_s <= 0:
            raise ValueError("ttl_s must be above 0: a token would expire as it is made")
        self._secret = secret
        self._ttl_s = ttl_s
        self._latest = 0.0
        self._used: set[bytes] = set()
        self._by_expiry: list[tuple[int, bytes]] = []

    def mint(self, call_sid: str, now: float) -> str:
        """A new token for this call: 91 characters, safe in XML and URLs. A call may have several."""
        expiry_ms = int((self._clock(now) + self._ttl_s) * 1000)
        body = expiry_ms.to_bytes(_EXPIRY, "big") + secrets.token_bytes(_NONCE) + self._call_tag(call_sid)
        return urlsafe_b64encode(body + self._mac(body)).rstrip(b"=").decode()

    def redeem(self, token: str, call_sid: str, now: float) -> TokenVerdict:
        """Try a token for a call. It is used up only by OK: a thief cannot burn another call's token."""
        raw = _decode(token)
        if raw is None:
            return TokenVerdict.MALFORMED
        body, mac = raw[:_BODY], raw[_BODY:]
        if not hmac.compare_digest(mac, self._mac(body)):
            return TokenVerdict.FORGED
        if not hmac.compare_digest(body[_EXPIRY + _NONCE :], self._call_tag(call_sid)):
            return TokenVerdict.WRONG_CALL
        now_ms = int(self._clock(now) * 1000)
        expiry_ms = int.from_bytes(body[:_EXPIRY], "big")
        if expiry_ms <= now_ms:
            return TokenVerdict.EXPIRED
        self._forget(now_ms)
        return self._use(body[_EXPIRY : _EXPIRY + _NONCE], expiry_ms)

    def _use(self, nonce: bytes, expiry_ms: int) -> TokenVerdict:
        if nonce in self._used:
            return TokenVerdict.REPLAYED
        self._used.add(nonce)
        heappush(self._by_expiry, (expiry_ms, nonce))
        return TokenVerdict.OK

    def _forget(self, now_ms: int) -> None:
        while self._by_expiry and self._by_expiry[0][0] <= now_ms:
            self._used.discard(heappop(self._by_expiry)[1])

    def _clock(self, now: float) -> float:
        """`now`, but never backwards: a wall clock set back must not revive a token that was already forgotten."""
        self._latest = max(self._latest, now)
        return self._latest

    def _call_tag(self, call_sid: str) -> bytes:
        return self._hmac(b"call", call_sid.encode("utf-8", "surrogatepass"))[:_CALL]

    def _mac(self, body: bytes) -> bytes:
        return self._hmac(b"token", body)

    def _hmac(self, purpose: bytes, message: bytes) -> bytes:
        return hmac.digest(self._secret, purpose + b"\0" + message, hashlib.sha256)


def _decode(token: str) -> bytes | None:
    if len(token) != _TOKEN_CHARS or not token.isascii():
        return None
    try:
        raw = urlsafe_b64decode(token + "=")
    except binascii.Error:
        return None
    # The lenient decoder skips foreign characters, and the last character has bits to spare: one spelling only.
    return raw if urlsafe_b64encode(raw).rstrip(b"=") == token.encode() else None
