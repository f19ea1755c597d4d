"""What the file holds of calls that may still be on the line: a gateway that was killed can be asked for them again.

Twilio asks the fallback URL, or the next gateway at the same address, with the CallSid of old. What is then said is
another leg of the same call: its entries are counted anew, and its row goes on from what was there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from voice_gateway.call.transcript import CUT
from voice_gateway.store.database import fetch
from voice_gateway.store.records import KEEPING_LEG, Row, iso_utc

GATEWAY_DIED: Final = "gateway_died"
LONGEST_CALL: Final = timedelta(hours=5)
"""MAX_CALL_SECONDS is 14,400 at most."""

_CALLS: Final = """
select call_sid, created_at, cost_usd, ended_at is null or end_reason = :died as broken_off,
    (select max(leg) from call_events e where e.call_sid = c.call_sid and e.leg < :keeping) as leg
  from calls c where created_at > :since
"""
_TURNS: Final = """
select t.call_sid, t.speaker, t.text, t.interrupted from call_turns t join calls c on c.call_sid = t.call_sid
  where c.created_at > :since and t.text <> '' and (c.ended_at is null or c.end_reason = :died)
  order by t.call_sid, t.leg, t.seq
"""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A call as a process before this one left it. leg: its last. cost_usd: so far.

    transcript: as heard; empty where the call had come to an end of its own.
    """

    leg: int
    began_at: datetime
    cost_usd: float = 0.0
    transcript: str = field(default="", repr=False)


def earlier_calls(path: Path, now: datetime) -> dict[str, Earlier]:
    """The calls that may still be on the line, by CallSid. now: UTC. Blocks; raises `sqlite3.Error`."""
    asked = {"since": iso_utc(now - LONGEST_CALL), "died": GATEWAY_DIED, "keeping": KEEPING_LEG}
    said: dict[str, list[Row]] = defaultdict(list)
    for turn in fetch(path, _TURNS, asked):
        said[turn["call_sid"]].append(turn)
    return {
        row["call_sid"]: Earlier(
            row["leg"] or 1,
            datetime.fromisoformat(row["created_at"]),
            float(row["cost_usd"] or 0),
            transcript_of(said[row["call_sid"]]) if row["broken_off"] else "",
        )
        for row in fetch(path, _CALLS, asked)
    }


def transcript_of(turns: Iterable[Row]) -> str:
    """A call's transcript as its end would have told it. turns: rows of `call_turns` in order, none without words."""
    names = {"user": "Caller", "assistant": "Assistant"}
    return "\n".join(f"{names[row['speaker']]}: {row['text']}{CUT if row['interrupted'] else ''}" for row in turns)
