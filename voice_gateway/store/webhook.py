"""The webhook: each call event also goes to an HTTPS address of the operator's, signed, in order, until it has arrived.

A request is a POST of `{"events": [...]}`, up to a hundred of them in the order they were written. Each has the columns
of `call_events`, and beside them what it changes (`call`, `turn`, `usage`, `consent`, `recording`), as Supabase is told
it. Two headers go with it:

    X-Voice-Gateway-Timestamp: 1795262400
    X-Voice-Gateway-Signature: v1=5f0c...

The signature is the HMAC-SHA256, in hexadecimal, of the timestamp, a full stop and the body's bytes, with the secret as
its key. Whoever receives it checks the signature in constant time, refuses timestamps that are more than five minutes
away, and takes an event whose id it knows for told already: when an answer is lost, the same is sent again.

The answer counts by its status. 2xx: taken; a body `{"refused": [{"index": 3, "message": "..."}]}` names events that
were not. 408, 425, 429, 5xx, no answer: tried again, later and later. 3xx: nobody follows it, for the signature belongs
to one address; the same is tried again. 400, 409, 413 and 422: halved until the event is found that is to blame. Any
other 4xx: all of these are set aside with the reason. What is set aside is tried once more when the gateway starts.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import orjson

from voice_gateway.store.delivery import Pauses
from voice_gateway.store.outbox import WEBHOOK
from voice_gateway.store.remote import (
    PASSING,
    REJECTING,
    Misconfigured,
    Refused,
    Rejected,
    Unavailable,
    read_retry_after,
)
from voice_gateway.store.shipper import Pace, Shipper
from voice_gateway.store.sqlite import SqliteStore

TIMESTAMP_HEADER: Final = "X-Voice-Gateway-Timestamp"
SIGNATURE_HEADER: Final = "X-Voice-Gateway-Signature"
USER_AGENT: Final = "voice-gateway"
CONNECT_PATIENCE_S: Final = 3.0
LONGEST_ANSWER: Final = 65_536
PACE: Final = Pace(most=100, most_bytes=256 << 10, pauses=Pauses(longest_s=60.0))


def shipper_to(url: str, secret: str, store: SqliteStore, pace: Pace = PACE) -> Shipper:
    """What tells a store's events to a webhook. The store must have been opened with `outbox.collecting`."""
    return Shipper(store, Webhook(url, secret), pace, outbox=WEBHOOK)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What stands in the header, as described above."""
    return f"v1={hmac.new(secret.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


class Webhook:
    """An address that takes events; `remote.Remote`."""

    def __init__(
        self, url: str, secret: str, *, timeout_s: float = 10.0, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """url: may hold a key of the receiver's, so it is never told. wall_clock: seconds since 1970."""
        self._url = url
        self._secret = secret
        self._timeout_s = timeout_s
        self._wall_clock = wall_clock
        self._http: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def ingest(self, facts: str) -> dict[int, str]:
        """Tell these: a JSON array. Returns why some were refused, by index. Raises `RemoteError`."""
        body = b'{"events":%s}' % facts.encode()
        timestamp = str(int(self._wall_clock()))
        headers = {
            "content-type": "application/json",
            "user-agent": USER_AGENT,
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signature(self._secret, timestamp, body),
        }
        if self._http is None:
            self._http = await asyncio.to_thread(self._connection)
        try:
            async with asyncio.timeout(self._timeout_s):
                async with self._http.stream("POST", self._url, content=body, headers=headers) as response:
                    return _reasons(response, await _beginning(response))
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(f"no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # its text may hold the address
            raise Unavailable(type(error).__name__) from None

    def _connection(self) -> httpx.AsyncClient:
        """Made in a thread: reading the certificates takes some 25 ms. It follows no redirect and keeps no cookie."""
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_PATIENCE_S, self._timeout_s)),
            limits=httpx.Limits(max_connections=2, keepalive_expiry=60),
            follow_redirects=False,
        )


async def _beginning(response: httpx.Response) -> bytes:
    """As much of the body as may be of interest; a receiver is not believed to be brief."""
    found = b""
    async for piece in response.aiter_bytes(8192):
        found += piece
        if len(found) > LONGEST_ANSWER:
            return b""
    return found


def _reasons(response: httpx.Response, body: bytes) -> dict[int, str]:
    status = response.status_code
    told = f"HTTP {status}"
    if response.is_success:
        return _refused(body)
    if status in PASSING or status >= 500:
        raise Unavailable(told, read_retry_after(response.headers, time.time()))
    if status in REJECTING:
        raise Rejected(told)
    if status >= 400:
        raise Refused(f"{told}: check CALL_WEBHOOK_URL and CALL_WEBHOOK_SECRET")
    raise Misconfigured(f"{told}, which is not followed: set CALL_WEBHOOK_URL to the address that takes the events")


def _refused(body: bytes) -> dict[int, str]:
    """What an answer says it did not take; most say nothing."""
    try:
        answer: Any = orjson.loads(body)
        return {
            int(each["index"]): f"{each.get('code') or 'refused'} {each.get('message') or ''}".strip()[:500]
            for each in answer["refused"]
        }
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return {}
