"""How the carrier proves that a request is its own: Twilio's webhook signatures, computed from their description.

The signed text is the whole URL as the carrier knows it (public scheme, host, path and query), followed, for a form
POST, by every field's name and value, sorted by name. A WebSocket upgrade is signed over its wss URL alone. HMAC-SHA1
with the account's auth token is the usual form; HMAC-SHA256 with a shared key is announced by a header of its own.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Signing: TypeAlias = Literal["sha1", "sha256", "wrong", "none"]

SIGNATURE_HEADER = "X-Twilio-Signature"
SETTINGS_HEADER = "X-Twilio-Webhooks-Signature-Settings"


@dataclass(frozen=True, slots=True)
class SharedKey:
    """The key of HMAC-SHA256 signing: its public id and its secret."""

    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """Makes the headers of a signed request. mode `wrong` signs with another token, `none` does not sign at all."""

    auth_token: str = field(repr=False)
    mode: Signing = "sha1"
    shared_key: SharedKey | None = None

    def __post_init__(self) -> None:
        if self.mode == "sha256" and self.shared_key is None:
            raise ValueError("signing 'sha256' needs a shared_key (SharedKey(key_id, secret))")

    def headers(self, url: str, fields: Mapping[str, str]) -> dict[str, str]:
        """url: as the server's owner wrote it. fields: of the form, empty for GET and WebSocket."""
        if self.mode == "none":
            return {}
        if self.mode == "sha256" and self.shared_key is not None:
            settings = f"key={self.shared_key.key_id},algorithm=HMAC_SHA256"
            signed = signature(self.shared_key.secret, url, fields, algorithm="sha256")
            return {SIGNATURE_HEADER: signed, SETTINGS_HEADER: settings}
        token = self.auth_token[::-1] + "x" if self.mode == "wrong" else self.auth_token
        return {SIGNATURE_HEADER: signature(token, url, fields)}


def signature(
    secret: str, url: str, fields: Mapping[str, str], *, algorithm: Literal["sha1", "sha256"] = "sha1"
) -> str:
    """The signature of one request, base64."""
    text = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new(secret.encode(), text.encode(), getattr(hashlib, algorithm)).digest()
    return b64encode(digest).decode("ascii")
