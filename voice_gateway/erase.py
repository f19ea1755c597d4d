"""Erasing a person everywhere, and proving it: the places, their order, and the search afterwards.

Files go first and rows last, for it is the rows that lead to the files: what fails on the way can be done again. Where
the gateway runs, a request to Supabase may be under way with what was just erased; it is waited for.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from voice_gateway.store import recordings
from voice_gateway.store.erasure import Calls, LocalErasure
from voice_gateway.store.lease import is_taken
from voice_gateway.store.person import Person
from voice_gateway.store.remote import RemoteError
from voice_gateway.trace.folder import safe_name

if TYPE_CHECKING:
    from voice_gateway.store.erasure_bucket import BucketErasure
    from voice_gateway.store.erasure_remote import RemoteErasure

SETTLE_S: Final = 12.0
"""A request to Supabase is given up after ten."""

ON_ITS_WAY: Final = (
    "A recording was still to be brought to Storage, which can take minutes: should it arrive there, the gateway takes "
    "it out again. Run it again in some minutes."
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a person may be. None: there is no such place. bucket: the one that recordings are brought to now."""

    store: Path
    recordings: Path | None = None
    traces: Path | None = None
    remote: RemoteErasure | None = None
    storage: BucketErasure | None = None
    bucket: str = ""


@dataclass(slots=True)
class Report:
    """counts: by place, then by table or file, what was found or is left. problems: what was not done."""

    person: Person
    counts: dict[str, Mapping[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    live: frozenset[str] = frozenset()
    lines: int = 0
    buckets: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        return sum(sum(each.values()) for each in self.counts.values())


class Eraser:
    def __init__(
        self, places: Places, *, settle_s: float = SETTLE_S, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """settle_s: how long to wait for what is under way. tell: is given a sentence for whatever takes long."""
        self._places = places
        self._local = LocalErasure(places.store)
        self._settle_s = settle_s
        self._tell = tell

    async def search(self, person: Person) -> Report:
        """Everything of the person, wherever it is. Changes nothing."""
        report = Report(person)
        await self._find_calls(report)
        await self._count(report)
        return report

    async def erase(self, person: Person) -> Report:
        """Remove everything, and search again. The report tells what is left, and why."""
        found = Report(person)
        await self._find_calls(found)
        if not (await self._erase_files(found) and await self._erase_objects(found)):
            found.problems.append("No row was removed: the rows lead to the files that are left. Run it again.")
        elif await self._erase_local(found) and await self._erase_objects(found):  # one may have been on its way there
            await self._erase_remote(found)
        after = Report(found.person, problems=found.problems, live=found.live, lines=found.lines)
        after.buckets = found.buckets
        await self._count(after)
        return after

    # --- searching ----------------------------------------------------------------------------------------------

    async def _find_calls(self, report: Report) -> None:
        for find in (self._local_calls, self._remote_calls):
            calls = await find(report)
            report.person = report.person.with_calls(calls.sids)
            report.live |= calls.live
            report.lines = max(report.lines, calls.lines)  # both may know the same ones
        # Again: what one place knows the other may not, such as the calls that belong to these.
        report.person = report.person.with_calls((await self._local_calls(report)).sids)
        await self._find_buckets(report)

    async def _local_calls(self, report: Report) -> Calls:
        try:
            return await asyncio.to_thread(self._local.calls, report.person)
        except (sqlite3.Error, OSError) as fault:
            _note(report, f"{self._places.store} could not be read: {fault}")
            return Calls()

    async def _remote_calls(self, report: Report) -> Calls:
        if self._places.remote is None:
            return Calls()
        try:
            return await self._places.remote.calls(report.person)
        except RemoteError as fault:
            _note(report, _unreached(fault))
            return Calls()

    async def _find_buckets(self, report: Report) -> None:
        """The one of today, and those that rows name: it may have been another once."""
        if self._places.storage is None:
            return
        report.buckets |= {self._places.bucket} - {""}
        with suppress(sqlite3.Error, OSError):  # told before
            report.buckets |= await asyncio.to_thread(self._local.buckets, report.person)
        if self._places.remote is not None:
            try:
                report.buckets |= await self._places.remote.buckets(report.person)
            except RemoteError as fault:
                _note(report, _unreached(fault))

    async def _count(self, report: Report) -> None:
        person, places = report.person, self._places
        try:
            report.counts["local rows"] = await asyncio.to_thread(self._local.found, person)
            report.counts["local bytes"] = await asyncio.to_thread(self._local.bytes_left, person)
        except (sqlite3.Error, OSError) as fault:
            _note(report, f"{places.store} could not be searched: {fault}")
        try:
            report.counts["recordings"] = {"files": len(await asyncio.to_thread(self._recordings, person))}
            report.counts["traces"] = {"files": len(await asyncio.to_thread(self._traces, person))}
        except OSError as fault:
            _note(report, f"The files could not be searched: {fault}")
        if places.storage is not None and report.buckets:
            try:
                found = {name: await places.storage.found(person, name) for name in sorted(report.buckets)}
                report.counts["Storage"] = {name: len(paths) for name, paths in found.items()}
            except RemoteError as fault:
                _note(report, f"Storage could not be searched ({fault}): run it again when it answers.")
        if places.remote is not None:
            try:
                report.counts["Supabase rows"] = await places.remote.found(person)
            except RemoteError as fault:
                _note(report, _unreached(fault))

    def _recordings(self, person: Person) -> list[Path]:
        folder = self._places.recordings
        if folder is None or not folder.is_dir():
            return []
        return sorted(
            {path for sid in person.call_sids for path in folder.glob(f"*/{recordings.safe_name(sid)}_*.wav")}
        )

    def _traces(self, person: Person) -> list[Path]:
        """Traces and pages of the person's calls, and those in which the number stands."""
        folder = self._places.traces
        if folder is None or not folder.is_dir():
            return []
        named = [
            re.compile(rf"-{re.escape(safe_name(sid))}(?![A-Za-z0-9_])") for sid in person.call_sids if safe_name(sid)
        ]
        pattern = person.in_bytes
        return [
            path
            for path in sorted(each for each in folder.iterdir() if each.is_file())
            if any(name.search(path.name) for name in named) or (pattern and pattern.search(path.read_bytes()))
        ]

    # --- erasing ------------------------------------------------------------------------------------------------

    async def _erase_files(self, report: Report) -> bool:
        try:
            for path in [*self._recordings(report.person), *await asyncio.to_thread(self._traces, report.person)]:
                path.unlink(missing_ok=True)
        except OSError as fault:
            _note(report, f"A file could not be removed: {fault}")
            return False
        return True

    async def _erase_objects(self, report: Report) -> bool:
        if self._places.storage is None:
            return True
        try:
            for name in sorted(report.buckets):
                await self._places.storage.erase(report.person, name)
        except RemoteError as fault:
            _note(report, f"Recordings could not be removed from Storage: {fault}")
            return False
        return True

    async def _erase_local(self, report: Report) -> bool:
        self._tell("Writing the local file anew; other programs wait for it meanwhile.")
        try:
            done = await asyncio.to_thread(self._local.erase, report.person)
        except (sqlite3.Error, OSError) as fault:
            _note(report, f"{self._places.store} was not changed, or not written anew: {fault}. Run it again.")
            return False
        sent = {"outbox": "shipper"} if self._places.remote is not None else {}
        sent |= {"uploads": "uploads"} if self._places.storage is not None else {}
        if any(done.get(table) and is_taken(self._places.store, work) for table, work in sent.items()):
            self._tell(f"Waiting {self._settle_s:.0f} s for what the gateway may be sending to Supabase.")
            await asyncio.sleep(self._settle_s)
        if done.get("uploads") and is_taken(self._places.store, "uploads"):
            _note(report, ON_ITS_WAY)
        return True

    async def _erase_remote(self, report: Report) -> None:
        if self._places.remote is None:
            return
        try:
            await self._places.remote.erase(report.person)
        except RemoteError as fault:
            _note(report, _unreached(fault))


def _unreached(fault: RemoteError) -> str:
    return f"Supabase is still to be done ({fault}): run it again when it answers."


def _note(report: Report, problem: str) -> None:
    if problem not in report.problems:
        report.problems.append(problem)
