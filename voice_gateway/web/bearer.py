"""Who may come in: the one check of bearer tokens for every door that has them."""

from __future__ import annotations

import hashlib
import hmac


def bears(header: str, token: str) -> bool:
    """Whether an `Authorization` header brings this token; never for an empty one."""
    kind, _, given = header.partition(" ")
    return is_token(given, token) and kind.lower() == "bearer"


def is_token(given: str, token: str) -> bool:
    """Is this the token? In constant time: not even its length shows in how long it takes."""
    one, other = (hashlib.sha256(text.strip().encode("utf-8", "replace")).digest() for text in (given, token))
    return hmac.compare_digest(one, other) and bool(token)
