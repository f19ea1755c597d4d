"""Who asks at the API: each client has a name, a key and a rate of its own."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from voice_gateway.web.bearer import bears, is_token
from voice_gateway.web.problem import Problem
from voice_gateway.web.strangers import Strangers

if TYPE_CHECKING:
    from limits import RateLimitItem

CHALLENGE = 'Bearer realm="voice-gateway"'


class Clients:
    def __init__(self, keys: Mapping[str, str], rate: str) -> None:
        """keys: by the client's name. rate: of each client, such as `60/minute` or `5/second;600/hour`."""
        self._keys = dict(keys)
        self._strangers = Strangers()
        if not keys:
            return
        from limits import parse_many  # noqa: PLC0415 - it costs time that only who has clients should pay
        from limits.storage import MemoryStorage  # noqa: PLC0415
        from limits.strategies import MovingWindowRateLimiter  # noqa: PLC0415

        self._limits = parse_many(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def admit(self, headers: Mapping[str, str], address: str) -> tuple[str, dict[str, str]]:
        """The client's name, and what its answer's headers say of its rate. Raises `Problem`.

        headers: by names in small letters. address: where the request came from, empty where nobody knows.
        """
        if not self._keys:
            raise Problem("not_configured", "set AI_API_KEYS on the gateway, such as AI_API_KEYS=shop:<a long key>")
        client = self._who(headers)
        self._strangers.check(address, client or "")
        if client is None:
            advice = "send a key of AI_API_KEYS as `Authorization: Bearer <key>` or as `X-API-Key: <key>`"
            raise Problem("key", advice, headers={"www-authenticate": CHALLENGE})
        return client, self._count(client)

    def _who(self, headers: Mapping[str, str]) -> str | None:
        """Whose key it is. A request that carries two must carry the same one's twice; each is compared with all."""
        bearer, key = headers.get("authorization"), headers.get("x-api-key")
        found: list[str | None] = []
        if bearer is not None:
            found.append(_match(name for name, secret in self._keys.items() if bears(bearer, secret)))
        if key is not None:
            found.append(_match(name for name, secret in self._keys.items() if is_token(key, secret)))
        return found[0] if len(set(found)) == 1 else None

    def _count(self, client: str) -> dict[str, str]:
        refused = [limit for limit in self._limits if not self._limiter.test(limit, client)]
        if not refused:
            for limit in self._limits:
                self._limiter.hit(limit, client)
        told = self._tell(client, refused[0] if refused else self._limits[0])
        if refused:
            detail = f"{refused[0]} are allowed to a client (AI_RATE_LIMIT); wait {told['ratelimit-reset']} s"
            raise Problem("rate_limited", detail, headers={**told, "retry-after": told["ratelimit-reset"]})
        return told

    def _tell(self, client: str, limit: RateLimitItem) -> dict[str, str]:
        window = self._limiter.get_window_stats(limit, client)
        wait_s = max(1, math.ceil(window.reset_time - time.time()))
        return {
            "ratelimit-limit": str(limit.amount),
            "ratelimit-remaining": str(max(0, window.remaining)),
            "ratelimit-reset": str(wait_s),
        }


def _match(names: Iterable[str]) -> str | None:
    """The one name there is, when all were looked at: the time it takes tells nothing."""
    return next(iter(list(names)), None)
