"""The record in Supabase, by its Data API. Nothing here is on a call's path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from voice_gateway.store.project import Project
from voice_gateway.store.records import Row, iso_utc
from voice_gateway.store.remote import Misconfigured
from voice_gateway.store.shipper import Shipper
from voice_gateway.store.sqlite import SqliteStore

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
        self._project = Project(url, key, timeout_s=timeout_s)

    async def close(self) -> None:
        await self._project.close()

    async def ingest(self, facts: str) -> dict[int, str]:
        """Have facts stored: a JSON array as `ingest_call_events` takes it. Returns why some were refused, by index.

        Sending the same again changes nothing. Raises `RemoteError`; then all, some or none of them may be stored.
        """
        # As a string: stored JSON is not read and written once more on its way.
        answer = await self.call("ingest_call_events", {"events": facts})
        try:
            return _reasons(answer["refused"])
        except (KeyError, TypeError):
            raise Misconfigured(
                "the project's ingest_call_events is not ours: apply the migrations of this version"
            ) from None

    async def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """What a function of the database answers. Raises `RemoteError`."""
        return await self._project.call(function, arguments)

    # --- reading ------------------------------------------------------------------------------------------------

    async def read_call(self, call_sid: str) -> Row | None:
        """A row of `calls`, as `records.Store` gives it."""
        client = await self._project.client()
        rows = await self._project.asked(client.table("calls").select("*").eq("call_sid", call_sid).limit(1).execute())
        return _as_stored(rows[0]) if rows else None

    async def read_events(self, call_sid: str) -> list[Row]:
        """A call's rows of `call_events` in their order."""
        client = await self._project.client()
        query = client.table("call_events").select("*").eq("call_sid", call_sid)
        rows = await self._project.asked(query.order("leg").order("seq").order("id").execute())
        return [_as_stored(row) for row in rows]

    async def recent_calls(self, limit: int = 20) -> list[Row]:
        """Rows of `calls`, newest first."""
        client = await self._project.client()
        query = client.table("calls").select("*").order("created_at", desc=True).limit(limit)
        return [_as_stored(row) for row in await self._project.asked(query.execute())]


def _reasons(refused: list[dict[str, Any]]) -> dict[int, str]:
    """Why, by index; several parts of a fact may be refused."""
    reasons: dict[int, str] = {}
    for each in refused:
        reason = f"{each['part']}: {each['code']} {each['message']}"
        known = reasons.get(each["index"])
        reasons[each["index"]] = f"{known}; {reason}" if known else reason
    return reasons


def _as_stored(row: Any) -> Row:
    """A row as the embedded store gives it: times in its format."""
    return {name: iso_utc(value) if name in _TIMES and value else value for name, value in row.items()}
