"""Erasing a person's recordings from the buckets of Supabase Storage.

They are found by their names, which hold the calls' ids, in every day there is: what rows say of them is not relied on.
"""

from __future__ import annotations

from collections.abc import Callable

from voice_gateway.store import recordings
from voice_gateway.store.bucket import Bucket
from voice_gateway.store.person import Person
from voice_gateway.store.remote import RemoteError


class BucketErasure:
    """Every method raises `remote.RemoteError` when a bucket cannot be had."""

    def __init__(self, open_bucket: Callable[[str], Bucket]) -> None:
        self._open_bucket = open_bucket
        self._open: dict[str, Bucket] = {}

    async def close(self) -> None:
        for bucket in self._open.values():
            await bucket.close()
        self._open.clear()

    async def found(self, person: Person, name: str) -> list[str]:
        """The paths of the person's recordings in a bucket."""
        theirs = {recordings.safe_name(sid) for sid in person.call_sids}
        bucket, found = self._bucket(name), list[str]()
        if not theirs:
            return found
        for day in await bucket.folders():
            paths = [f"{day}/{each}" for each in await bucket.names(day)]
            found += [path for path in paths if recordings.is_path(path) and _call(path) in theirs]
        return found

    async def erase(self, person: Person, name: str) -> int:
        """Remove them. Returns how many there were. Raises `RemoteError` also where one is there still."""
        paths = await self.found(person, name)
        removed = await self._bucket(name).remove(paths) if paths else 0
        if removed < len(paths) and await self.found(person, name):
            raise RemoteError(f"{len(paths) - removed} recordings were not removed from the bucket {name}")
        return removed

    def _bucket(self, name: str) -> Bucket:
        if name not in self._open:
            self._open[name] = self._open_bucket(name)
        return self._open[name]


def _call(path: str) -> str:
    """The call that a recording's path names."""
    return path.partition("/")[2].rpartition("_")[0]
