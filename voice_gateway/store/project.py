"""A project of Supabase's: its Data API by the package `supabase`, over connections that are kept.

Facts of the package (2.34) that this file is built around: without a client of our own a request waits for 120 s, and
sockets are left open at the end; what is sent by POST is never tried again by it; its errors do not say the HTTP
status. It costs 43 MB and a third of a second to import, so it is imported only where a project is named.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Awaitable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import httpx

from voice_gateway.store.remote import (
    PASSING,
    REJECTING,
    Misconfigured,
    Rejected,
    RemoteError,
    Unavailable,
    read_retry_after,
)

if TYPE_CHECKING:
    from supabase import AsyncClient

USER_AGENT: Final = "voice-gateway"
CONNECT_PATIENCE_S: Final = 3.0

_seen: ContextVar[list[httpx.Response]] = ContextVar("responses of a request")


class Project:
    """Shared by whoever asks at the same time."""

    def __init__(
        self, url: str, key: str, *, timeout_s: float = 10.0, connections: int = 4, idle_s: float = 60.0
    ) -> None:
        """url: `https://<project>.supabase.co`. key: a secret key or a service_role key. timeout_s: of a request.

        connections: the most at a time; a request above waits for one. idle_s: how long an unused one is kept.
        """
        self._url = url
        self._key = key
        self._timeout_s = timeout_s
        self._limits = httpx.Limits(
            max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=idle_s
        )
        self._http: httpx.AsyncClient | None = None
        self._client: AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = self._client = None

    async def client(self) -> AsyncClient:
        """The package's own client, made at the first use."""
        if self._client is None:
            async with self._opening:
                if self._http is None:
                    self._http = await asyncio.to_thread(self._connection)
                if self._client is None:
                    self._client = await _client(self._url, self._key, self._http)
        return self._client

    async def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """What a function of the database answers. Raises `RemoteError`."""
        client = await self.client()
        return await self.asked(client.rpc(function, dict(arguments)).execute())

    async def asked(self, request: Awaitable[Any]) -> Any:
        """The data of the answer to a request; whatever goes wrong comes as a `RemoteError`."""
        from postgrest.exceptions import APIError  # noqa: PLC0415 - see the module's docstring

        seen: list[httpx.Response] = []
        _seen.set(seen)
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await request).data
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(f"no answer within {self._timeout_s:.0f} s") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"{type(error).__name__}: {error}", lost=True) from None
        except (APIError, ValueError, TypeError, AttributeError) as error:
            if not seen or not (seen[-1].is_error or seen[-1].is_redirect):
                raise Misconfigured(
                    f"what answers at SUPABASE_URL is no Data API of Supabase ({type(error).__name__})"
                ) from None
            raise _refusal(seen[-1], error) from None

    def _connection(self) -> httpx.AsyncClient:
        """Made in a thread: reading the certificates takes some 25 ms."""
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_PATIENCE_S, self._timeout_s)),
            limits=self._limits,
            headers={"user-agent": USER_AGENT},
            event_hooks={"response": [_look_at]},
        )


async def _look_at(response: httpx.Response) -> None:
    """Called within the request that it answers, however many others are under way."""
    seen = _seen.get(None)
    if seen is not None:
        seen.append(response)


async def _client(url: str, key: str, http: httpx.AsyncClient) -> AsyncClient:
    supabase = await asyncio.to_thread(importlib.import_module, "supabase")
    options = supabase.AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
    client: AsyncClient = await supabase.acreate_client(url, key, options=options)
    return client


def _refusal(response: httpx.Response, error: Exception) -> RemoteError:
    status = response.status_code
    told = f"HTTP {status}, {getattr(error, 'code', None) or ''} {getattr(error, 'message', None) or ''}".rstrip()
    if status in REJECTING:
        return Rejected(told)
    if status in PASSING or status >= 500:
        return Unavailable(told, read_retry_after(response.headers, time.time()))
    if status in (401, 403):
        return Misconfigured(f"{told}: check SUPABASE_SECRET_KEY, and that the migrations were applied")
    if status == 404:
        return Misconfigured(f"{told}: check SUPABASE_URL, and apply the migrations (voice-gateway migrate)")
    return Misconfigured(f"{told}: check SUPABASE_URL")
