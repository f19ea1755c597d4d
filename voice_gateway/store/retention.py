"""Retention: calls that began so many days ago are removed from the file, in small bites between which others write.

Their age counts and nothing else: what was not shipped by then is removed too, which the log tells. `purge_after`,
where a call has one, stands in for its beginning. PostgreSQL has the same as the function `purge_calls` (migrations/).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from voice_gateway.store.database import fetch
from voice_gateway.store.records import iso_utc
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.statements import Statement

BITE_CALLS: Final = 25
REST_S: Final = 0.05
TABLES: Final = (
    "call_events", "call_turns", "call_usage", "call_consents", "call_recordings", "outbox", "webhook_outbox", "calls",
)  # fmt: skip

_DUE: Final = "select call_sid from calls where coalesce(purge_after, created_at) < :before limit :bite"
_DUE_WITHOUT_CALL: Final = """
select distinct call_sid from call_events e where created_at < :before
  and not exists (select 1 from calls c where c.call_sid = e.call_sid) limit :bite
"""


@dataclass(frozen=True, slots=True)
class Swept:
    """calls: how many were removed. untold: how many facts of theirs Supabase did not have yet."""

    calls: int = 0
    untold: int = 0


async def remove_older(store: SqliteStore, keep_days: int, now: datetime) -> Swept:
    """Remove what is older. Ends early, to be gone on with next time, when the file cannot be written."""
    before = iso_utc(now - timedelta(days=keep_days))
    swept = Swept()
    for due in (_DUE, _DUE_WITHOUT_CALL):
        while sids := await _sids(store, due, before):
            untold = await _remove(store, sids)
            if untold is None:
                return swept
            swept = Swept(swept.calls + len(sids), swept.untold + untold)
            await asyncio.sleep(REST_S)
    return swept


async def _sids(store: SqliteStore, due: str, before: str) -> list[str]:
    rows = await asyncio.to_thread(fetch, store.path, due, {"before": before, "bite": BITE_CALLS})
    return [row["call_sid"] for row in rows]


async def _remove(store: SqliteStore, sids: Sequence[str]) -> int | None:
    """Returns how many of their facts were untold; None when nothing was removed."""
    count = f"select count(*) as n from outbox where call_sid in ({', '.join('?' * len(sids))})"  # noqa: S608 - marks
    untold: int = (await asyncio.to_thread(fetch, store.path, count, list(sids)))[0]["n"]
    delete = [
        Statement(f"delete from {table} where call_sid = :call_sid", {"call_sid": sid})  # noqa: S608 - our own names
        for table in TABLES
        for sid in sids
    ]
    return untold if await store.work(delete) else None
