"""What a process left open when it was killed: its calls are over, and what it had recorded of them is whole as it is.

A call is left over when it has no end, began before this process, and the process that led it is no more. That is known
of processes of this machine; a call of another one is left over when no call can last that long. What is told then is
what the record holds: the time of its last event, its turns as they were heard, and the sound that is in the file,
which lacks 2 s at most.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from voice_gateway.audio import wav
from voice_gateway.call import entries
from voice_gateway.store.database import fetch
from voice_gateway.store.earlier import GATEWAY_DIED, LONGEST_CALL, transcript_of
from voice_gateway.store.recordings import CHANNELS, open_safely
from voice_gateway.store.records import (
    CallPatch,
    FoldedRow,
    RecordingRecord,
    Row,
    iso_utc,
    keeping_event,
    recording_on_disk,
)
from voice_gateway.store.sqlite import SqliteStore

_OPEN: Final = """
select call_sid, created_at, last_seq, instance_id, cost_usd, (select max(coalesce(e.occurred_at, e.created_at))
    from call_events e where e.call_sid = c.call_sid) as last_at
  from calls c where ended_at is null and status in ('queued', 'ringing', 'in_progress') and created_at < ?
  order by created_at
"""
_TURNS: Final = "select speaker, text, interrupted from call_turns where call_sid = ? and text <> '' order by leg, seq"
_RECORDINGS: Final = "select id, path from call_recordings where call_sid = ? and status = 'recording'"


@dataclass(frozen=True, slots=True)
class Here:
    """This process. began_at: UTC. folder: of recordings. keep_days: of theirs, 0 for ever."""

    began_at: datetime
    folder: Path
    keep_days: int = 0
    host: str = socket.gethostname()
    pid: int = os.getpid()


async def close_leftovers(store: SqliteStore, here: Here) -> int:
    """Put the end of such calls, and of their recordings, on the record. Returns how many calls there were."""
    rows = await asyncio.to_thread(fetch, store.path, _OPEN, [iso_utc(here.began_at)])
    left = [row for row in rows if _is_left(row, here)]
    for row in left:
        sid, at = row["call_sid"], datetime.fromisoformat(row["last_at"] or row["created_at"])
        for recording in await asyncio.to_thread(fetch, store.path, _RECORDINGS, [sid]):
            entry = await asyncio.to_thread(_ended, recording, here)
            store.write(keeping_event(sid, entry, at), None, [_row(sid, entry, at)])
        said = transcript_of(await asyncio.to_thread(fetch, store.path, _TURNS, [sid]))
        ended = entries.CallEnded(
            GATEWAY_DIED, "failed", _length_ms(row["created_at"], at), said, cost_usd=float(row["cost_usd"] or 0)
        )
        patch = CallPatch(
            sid, row["last_seq"], status="failed", end_reason=GATEWAY_DIED, ended_at=at, duration_ms=ended.duration_ms,
            transcript=said or None,
        )  # fmt: skip
        store.write(keeping_event(sid, ended, at), patch)
    if left:
        structlog.get_logger().warning("store.leftovers_closed", calls=len(left))
    return len(left)


def _is_left(row: Row, here: Here) -> bool:
    host, _, pid = (row["instance_id"] or "").rpartition(":")
    if host == here.host and pid.isdigit():
        return int(pid) == here.pid or not _lives(int(pid))
    return datetime.fromisoformat(row["created_at"]) < here.began_at - LONGEST_CALL


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _length_ms(created_at: str, at: datetime) -> int:
    return max(0, round((at - datetime.fromisoformat(created_at)) / timedelta(milliseconds=1)))


def _ended(recording: Row, here: Here) -> entries.RecordingFinished | entries.RecordingFailed:
    """What has become of a recording whose end nobody told. Blocks."""
    path = recording["path"] or ""
    try:
        with open_safely(here.folder, path) as file:
            size = os.fstat(file.fileno()).st_size
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        return entries.RecordingFailed(recording["id"], path, f"the gateway died, and {fault.strerror or fault}")
    duration_ms = (size - wav.HEADER_BYTES) // (2 * CHANNELS * 8)
    if duration_ms <= 0:
        return entries.RecordingFailed(recording["id"], path, "the gateway died before there was sound")
    return entries.RecordingFinished(recording["id"], path, duration_ms, size, digest, here.keep_days)


def _row(sid: str, entry: entries.RecordingFinished | entries.RecordingFailed, at: datetime) -> FoldedRow:
    if isinstance(entry, entries.RecordingFailed):
        return RecordingRecord(entry.recording_id, sid, "failed", at, path=entry.path)
    return recording_on_disk(sid, "stored", entry, at)
