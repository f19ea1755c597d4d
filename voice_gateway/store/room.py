"""Keeping the SQLite file within its size, by a policy that anyone can foretell.

Past nine tenths of STORE_MAX_MB room is made, in this order and only as far as needed, the oldest first:

1. what Supabase has already: all rows of calls that are over and wholly told, but for the call's own one, which stays
   until it began more than two days ago;
2. what waits for the webhook alone: it is not told there any more, and counted as cleared;
3. events that still wait to be told and that the record can best do without: `CLEARED_FIRST`, kind by kind. They are
   counted as cleared. What was said, decided, recorded and paid, and a call's beginning and end, are never given up.

When that is not enough the file is full: what comes then waits in memory, `/ready` says 503, and no more calls are
taken. Without Supabase nothing is ever told, so that only the last step is left.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

FULL_SHARE: Final = 0.9
BITE_CALLS: Final = 50
BITE_EVENTS: Final = 1000
KEPT_S: Final = 2 * 86_400

CLEARED_FIRST: Final = (
    "HELD_IN_VAIN", "IDLE_PROMPT", "GOODBYE_TAKEN_BACK", "GOODBYE", "BARGE_IN", "DTMF", "ERROR", "TOOL_CALL",
    "TOOL_RESULT", "SAYING_ASKED", "SAYING_ENDED",
)  # fmt: skip

_TOLD: Final = """
select call_sid from calls c where (ended_at is not null or created_at < :before)
  and not exists (select 1 from outbox o where o.call_sid = c.call_sid)
  and not exists (select 1 from webhook_outbox w where w.call_sid = c.call_sid)
  and (created_at < :before or exists (select 1 from call_events e where e.call_sid = c.call_sid))
  order by created_at limit :bite
"""
_HOOKED: Final = """
delete from webhook_outbox where n in (select n from webhook_outbox w
  where not exists (select 1 from outbox o where o.call_sid = w.call_sid) order by n limit ?)
"""
_UNTOLD: Final = """
select o.n, o.event_id from outbox o join call_events e on e.id = o.event_id
  where o.changes is null and e.event_type = :kind order by o.n limit :bite
"""


def is_tight(db: sqlite3.Connection, max_bytes: int) -> bool:
    """Whether room should be made. Costs some microseconds."""
    pages, free, page_bytes = (
        db.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return bool((pages - free) * page_bytes > FULL_SHARE * max_bytes)


class Room(NamedTuple):
    """What a bite took. told: calls that Supabase has. cleared: untold events."""

    told: int = 0
    cleared: int = 0

    def __bool__(self) -> bool:
        return any(self)


def make_room(db: sqlite3.Connection, now: float) -> Room:
    """Take one bite, within the caller's transaction; nothing when there is nothing to take. now: since 1970."""
    since = db.execute("select strftime('%Y-%m-%dT%H:%M:%fZ', ?, 'unixepoch')", [now - KEPT_S]).fetchone()[0]
    sids = [(row[0],) for row in db.execute(_TOLD, {"before": since, "bite": BITE_CALLS})]
    if sids:
        for table in ("call_events", "call_turns", "call_usage", "call_consents", "call_recordings"):
            db.executemany(f"delete from {table} where call_sid = ?", sids)  # noqa: S608 - our own names
        db.executemany("delete from calls where call_sid = ? and created_at < ?", [(sid, since) for (sid,) in sids])
        return Room(told=len(sids))
    hooked = db.execute(_HOOKED, [BITE_EVENTS]).rowcount
    if hooked:
        return Room(cleared=hooked)
    for kind in CLEARED_FIRST:
        rows = db.execute(_UNTOLD, {"kind": kind, "bite": BITE_EVENTS}).fetchall()
        if rows:
            db.executemany("delete from outbox where n = ?", [(n,) for n, _ in rows])
            for table, column in (("webhook_outbox", "event_id"), ("call_events", "id")):
                db.executemany(f"delete from {table} where {column} = ?", [(each,) for _, each in rows])  # noqa: S608
            return Room(cleared=len(rows))
    return Room()
