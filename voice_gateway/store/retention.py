"""Retention: calls that began so many days ago are removed from the file, in small bites between which others write.

Their age counts and nothing else: what was not shipped by then is removed too, which the log tells. `purge_after`,
where a call has one, stands in for its beginning. PostgreSQL has the same as the function `purge_calls` (migrations/);
where the database has no clock of its own it is called from here.

A recording goes from the folder and from the bucket alike. First its row says so and then it goes, so that what a crash
leaves undone is found again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from voice_gateway.call import entries
from voice_gateway.store import recordings
from voice_gateway.store.database import fetch
from voice_gateway.store.records import RecordingRecord, iso_utc, keeping_event
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.statements import Statement

if TYPE_CHECKING:
    from voice_gateway.store.bucket import Bucket

BITE_CALLS: Final = 25
REST_S: Final = 0.05
REMOTE_BITE_CALLS: Final = 500
REMOTE_REST_S: Final = 0.2
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


# --- in a project -----------------------------------------------------------------------------------------------


class Asked(Protocol):
    async def call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        """What a function of the database answers. Raises `RemoteError`."""


async def purge_project(project: Asked, keep_days: int, now: datetime) -> int:
    """Tell a project how long calls are kept, and where it has no clock for that, remove what is older, bite by bite.

    keep_days: 0 for ever. Returns how many calls were removed from here. Raises `RemoteError`.
    """
    sees_to_it = await project.call("keep_calls_for", {"days": keep_days})
    if sees_to_it or not keep_days:
        return 0
    bite = {"before": iso_utc(now - timedelta(days=keep_days)), "batch": REMOTE_BITE_CALLS}
    removed = 0
    while taken := int(await project.call("purge_calls", bite) or 0):
        removed += taken
        await asyncio.sleep(REMOTE_REST_S)
    return removed


# --- recordings -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shelves:
    """Where recordings lie. bucket: None where there is none."""

    folder: Path
    bucket: Bucket | None = None


async def remove_old_recordings(store: SqliteStore, shelves: Shelves, keep_days: int, now: datetime) -> int:
    """Remove recordings older than so many days from every shelf. Returns how many there were.

    In a bucket a recording counts from the end of its day. Raises `OSError` and `RemoteError`.
    """
    due = await asyncio.to_thread(recordings.older, shelves.folder, keep_days, now.timestamp())
    if shelves.bucket is not None:
        due += await _old_in(shelves.bucket, (now - timedelta(days=keep_days)).astimezone(UTC).date().isoformat())
    due = list(dict.fromkeys(due))
    for path in due:
        await _tell_removed(store, path, now)
    await asyncio.to_thread(recordings.remove, shelves.folder, due, now.timestamp())
    if shelves.bucket is not None and due:
        await shelves.bucket.remove(due)
    return len(due)


async def _old_in(bucket: Bucket, first_kept: str) -> list[str]:
    """first_kept: a day, as its folder is called; such names stand in the order of their days."""
    days = [day for day in await bucket.folders() if day < first_kept]
    found = [f"{day}/{name}" for day in days for name in await bucket.names(day)]
    return [path for path in found if recordings.is_path(path)]


async def _tell_removed(store: SqliteStore, path: str, now: datetime) -> None:
    """On the record of a call that there still is."""
    sql = "select id, call_sid, bucket from call_recordings where id = ? and status in ('stored', 'failed')"
    for row in await asyncio.to_thread(fetch, store.path, sql, [recordings.id_of(path)]):
        entry = entries.RecordingRemoved(row["id"], path, row["bucket"] or "")
        record = RecordingRecord(row["id"], row["call_sid"], "deleted", now, path=path, local=False)
        await store.write_durably(keeping_event(row["call_sid"], entry, now), None, [record])
