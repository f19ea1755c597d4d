"""The record in Supabase, by its Data API and the package `supabase`. Nothing here is on a call's path.

Facts of the package (2.34) that this file is built around: without a client of our own a request waits for 120 s, and
sockets are left open at the end; writes are never tried again by it; its errors do not say the HTTP status. It costs
43 MB and a third of a second to import, so it is imported only where a project is named.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import httpx

from voice_gateway.store.records import Row, iso_utc
from voice_gateway.store.remote import Misconfigured, Rejected, RemoteError, Unavailable, read_retry_after
from voice_gateway.store.shipper import Shipper
from voice_gateway.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from supabase import AsyncClient

USER_AGENT: Final = "voice-gateway"
CONNECT_PATIENCE_S: Final = 3.0

_REJECTING: Final = frozenset({400, 409, 413, 422})
_PASSING: Final = frozenset({408, 425, 429})
_TIMES: Final = frozenset(
    {"created_at", "updated_at", "answered_at", "ended_at", "occurred_at", "purge_after"}
)  # fmt: skip


def shipper_to(url: str, key: str, store: SqliteStore) -> Shipper:
    """What ships a store's record to a project; see `SupabaseRecord` for url and key."""
    return Shipper(store, SupabaseRecord(url, key))


class SupabaseRecord:
    """A project that holds the tables of `migrations/`."""

    def __init__(self, url: str, key: str, *, timeout_s: float = 10.0) -> None:
        """url: `https://<project>.supabase.co`. key: a secret key or a service_role key. timeout_s: of a request."""
        self._url = url
        self._key = key
        self._timeout_s = timeout_s
        self._refusal: httpx.Response | None = None
        self._http: httpx.AsyncClient | None = None
        self._client: AsyncClient | None = None

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = self._client = None

    async def ingest(self, facts: str) -> dict[int, str]:
        """Have facts stored: a JSON array as `ingest_call_events` takes it. Returns why some were refused, by index.

        Sending the same again changes nothing. Raises `RemoteError`; then all, some or none of them may be stored.
        """
        client = await self._ready()
        # As a string: stored JSON is not read and written once more on its way.
        answer = await self._asked(client.rpc("ingest_call_events", {"events": facts}).execute())
        try:
            return _reasons(answer["refused"])
        except (KeyError, TypeError):
            raise Misconfigured(
                "the project's ingest_call_events is not ours: apply the migrations of this version"
            ) from None

    async def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """What a function of the database answers. Raises `RemoteError`."""
        client = await self._ready()
        return await self._asked(client.rpc(function, dict(arguments)).execute())

    # --- reading ------------------------------------------------------------------------------------------------

    async def read_call(self, call_sid: str) -> Row | None:
        """A row of `calls`, as `records.Store` gives it."""
        client = await self._ready()
        rows = await self._asked(client.table("calls").select("*").eq("call_sid", call_sid).limit(1).execute())
        return _as_stored(rows[0]) if rows else None

    async def read_events(self, call_sid: str) -> list[Row]:
        """A call's rows of `call_events` in their order."""
        client = await self._ready()
        query = client.table("call_events").select("*").eq("call_sid", call_sid)
        rows = await self._asked(query.order("leg").order("seq").order("id").execute())
        return [_as_stored(row) for row in rows]

    async def recent_calls(self, limit: int = 20) -> list[Row]:
        """Rows of `calls`, newest first."""
        client = await self._ready()
        query = client.table("calls").select("*").order("created_at", desc=True).limit(limit)
        return [_as_stored(row) for row in await self._asked(query.execute())]

    # --- asking -------------------------------------------------------------------------------------------------

    async def _ready(self) -> AsyncClient:
        if self._client is None:
            self._http = await asyncio.to_thread(self._connection)
            self._client = await _client(self._url, self._key, self._http)
        return self._client

    def _connection(self) -> httpx.AsyncClient:
        """Made in a thread: reading the certificates takes some 25 ms."""
        return httpx.AsyncClient(
            timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_PATIENCE_S, self._timeout_s)),
            limits=httpx.Limits(max_connections=4, keepalive_expiry=60),
            headers={"user-agent": USER_AGENT},
            event_hooks={"response": [self._look_at]},
        )

    async def _look_at(self, response: httpx.Response) -> None:
        self._refusal = response if response.is_error or response.is_redirect else None

    async def _asked(self, request: Awaitable[Any]) -> Any:
        """The data of the answer to a request; whatever goes wrong comes as a `RemoteError`."""
        from postgrest.exceptions import APIError  # noqa: PLC0415 - see the module's docstring

        self._refusal = None
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await request).data
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(f"no answer within {self._timeout_s:.0f} s") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"{type(error).__name__}: {error}") from None
        except (APIError, ValueError, TypeError, AttributeError) as error:
            if self._refusal is None:
                raise Misconfigured(
                    f"what answers at SUPABASE_URL is no Data API of Supabase ({type(error).__name__})"
                ) from None
            raise _refusal(self._refusal, error) from None


async def _client(url: str, key: str, http: httpx.AsyncClient) -> AsyncClient:
    supabase = await asyncio.to_thread(importlib.import_module, "supabase")
    options = supabase.AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
    client: AsyncClient = await supabase.acreate_client(url, key, options=options)
    return client


def _reasons(refused: list[dict[str, Any]]) -> dict[int, str]:
    """Why, by index; several parts of a fact may be refused."""
    reasons: dict[int, str] = {}
    for each in refused:
        reason = f"{each['part']}: {each['code']} {each['message']}"
        known = reasons.get(each["index"])
        reasons[each["index"]] = f"{known}; {reason}" if known else reason
    return reasons


def _refusal(response: httpx.Response, error: Exception) -> RemoteError:
    status = response.status_code
    told = f"HTTP {status}, {getattr(error, 'code', None) or ''} {getattr(error, 'message', None) or ''}".rstrip()
    if status in _REJECTING:
        return Rejected(told)
    if status in _PASSING or status >= 500:
        return Unavailable(told, read_retry_after(response.headers, time.time()))
    if status in (401, 403):
        return Misconfigured(f"{told}: check SUPABASE_SECRET_KEY, and that the migrations were applied")
    if status == 404:
        return Misconfigured(f"{told}: check SUPABASE_URL, and apply the migrations (voice-gateway migrate)")
    return Misconfigured(f"{told}: check SUPABASE_URL")


def _as_stored(row: Any) -> Row:
    """A row as the embedded store gives it: times in its format."""
    return {name: iso_utc(value) if name in _TIMES and value else value for name, value in row.items()}
