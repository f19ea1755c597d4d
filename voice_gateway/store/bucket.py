"""A private bucket of Supabase Storage, by the package `supabase`. Nothing here is on a call's path.

Facts that this file is built around. Storage tells most of its refusals with HTTP 400 and says what it means in the
body (`{"statusCode": "409", "error": "Duplicate", ...}`); the gateway in front of it, which checks keys and sizes, uses
HTTP's own. An object is there whole or not at all. A folder is nothing but a part of names, and is listed one level at
a time.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from io import BufferedReader
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from voice_gateway.store.project import Project
from voice_gateway.store.remote import Misconfigured, Refused, RemoteError, Unavailable, read_retry_after

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from storage3._async.file_api import AsyncBucketProxy

T = TypeVar("T")

MEDIA_TYPE: Final = "audio/wav"
SLOWEST_BYTES_PER_S: Final = 16_000
"""An upload that goes on but goes slower is given up."""

PAGE: Final = 1000
MOST_REMOVED: Final = 100
"""Objects in one request."""

_PASSING: Final = frozenset({408, 423, 425, 429, 544})
_BLAMING: Final = frozenset({400, 413, 415, 422})
_TOO_LARGE: Final = ": raise the largest size of a file, the bucket's and the project's"
_OF_A_KEY: Final = ("jwt", "signature", "unauthorized")


class Bucket:
    """One bucket of a project. Every method raises `RemoteError`; use it from one event loop."""

    def __init__(self, url: str, key: str, name: str, *, timeout_s: float = 30.0) -> None:
        """url, key: as of `supabase.SupabaseRecord`. timeout_s: without any progress, and for an answer."""
        self.name = name
        self._timeout_s = timeout_s
        self._project = Project(url, key, timeout_s=timeout_s, connections=2)

    async def close(self) -> None:
        await self._project.close()

    async def check(self) -> None:
        """See that it is there and closed to the public. Raises `Misconfigured`, which says what to do."""
        client = await self._project.client()
        try:
            found = await self._asked(client.storage.get_bucket(self.name))
        except Refused as refusal:  # no recording is to blame for that
            raise Misconfigured(f"{refusal}: check RECORDINGS_BUCKET") from None
        if found.public:
            raise Misconfigured(f"the bucket {self.name} is public, so anyone may hear what is in it: make it private")

    async def put(self, path: str, file: BufferedReader, sha256: str = "") -> None:
        """Have a file there, whole, under this name. The same that is there already stays, another gives way.

        file: of the operating system, at its beginning. Raises `Refused` for one that it does not take.
        """
        objects = await self._objects()
        size = os.fstat(file.fileno()).st_size
        options: Any = {"content-type": MEDIA_TYPE, "metadata": {"sha256": sha256}}
        patience_s = self._timeout_s + size / SLOWEST_BYTES_PER_S
        try:
            await self._asked(objects.upload(path, file, options), patience_s)
        except _ExistsError:
            if await self._is_same(path, size, sha256):
                return
            file.seek(0)
            await self._asked(objects.update(path, file, options), patience_s)

    async def _is_same(self, path: str, size: int, sha256: str) -> bool:
        found = await self._asked((await self._objects()).info(path))
        told = (found.get("metadata") or {}).get("sha256")
        return bool(found.get("size") == size and told in (None, "", sha256))

    async def remove(self, paths: Sequence[str]) -> int:
        """Returns how many of these were there."""
        objects, removed = await self._objects(), 0
        for start in range(0, len(paths), MOST_REMOVED):
            removed += len(await self._asked(objects.remove(list(paths[start : start + MOST_REMOVED]))))
        return removed

    async def folders(self) -> list[str]:
        """The first parts of the names there are, those that have more than one."""
        return [each["name"] for each in await self._listed("") if each.get("id") is None]

    async def names(self, folder: str) -> list[str]:
        """What lies directly in a folder, without the folder's name."""
        return [each["name"] for each in await self._listed(folder) if each.get("id") is not None]

    async def _listed(self, folder: str) -> list[dict[str, Any]]:
        objects, found = await self._objects(), list[dict[str, Any]]()
        while True:
            options: Any = {"limit": PAGE, "offset": len(found), "sortBy": {"column": "name", "order": "asc"}}
            page = await self._asked(objects.list(folder, options))
            found += page
            if len(page) < PAGE:
                return found

    # --- asking -------------------------------------------------------------------------------------------------

    async def _objects(self) -> AsyncBucketProxy:
        return (await self._project.client()).storage.from_(self.name)

    async def _asked(self, request: Awaitable[T], patience_s: float = 0.0) -> T:
        """What is answered; whatever goes wrong comes as a `RemoteError`."""
        from storage3.exceptions import StorageApiError  # noqa: PLC0415 - as in `supabase`

        try:
            async with asyncio.timeout(patience_s or 2 * self._timeout_s):
                return await request
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable("no answer, or no progress, for too long") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"{type(error).__name__}: {error}".rstrip(": ")) from None
        except (StorageApiError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._told(error) from None

    def _told(self, error: Exception) -> RemoteError:
        response = _response(error)
        if response is None:
            return Misconfigured(f"what answers at SUPABASE_URL is no Storage of Supabase ({type(error).__name__})")
        status = _status(response, error)
        code, message = getattr(error, "code", None) or "", (getattr(error, "message", None) or "")[:200]
        told = f"HTTP {status}, {code} {message}".rstrip(", ")
        if status in _PASSING or status >= 500:
            return Unavailable(told, read_retry_after(response.headers, time.time()))
        if status == 409:
            return _ExistsError(told)
        if status in _BLAMING and not any(word in told.lower() for word in _OF_A_KEY):
            return Refused(told + _TOO_LARGE if status == 413 else told)
        if status == 404:
            return Misconfigured(f"{told}: make a private bucket named {self.name}, or apply the migrations")
        return Misconfigured(f"{told}: check SUPABASE_URL and SUPABASE_SECRET_KEY")


class _ExistsError(Refused):
    """An object of this name is there."""


def _response(error: BaseException | None) -> httpx.Response | None:
    """The answer that an error of the package came of."""
    while error is not None:
        if isinstance(error, httpx.HTTPStatusError):
            return error.response
        error = error.__cause__ or error.__context__
    return None


def _status(response: httpx.Response, error: Exception) -> int:
    """What Storage means, which is not what HTTP says."""
    try:
        return int(getattr(error, "status", response.status_code))
    except (TypeError, ValueError):
        return response.status_code
