"""Calendars elsewhere whose busy times block the diary: read in the background, every few minutes, by file or by URL.

A calendar that cannot be read any more is gone by as it was read last; one that could never be read is not taken for
empty: nothing is offered and nothing booked, and the model is told that the records are away. An address may hold a
key, so neither logs nor errors name more of it than its host.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
import orjson
import structlog

from voice_gateway.store.rows import TablesAway
from voice_gateway.values import read_file

EVERY_S: Final = 300.0
SOON_S: Final = 15.0
"""After a failure."""

TIMEOUT_S: Final = 15.0
PATIENCE_S: Final = 60.0
"""For reading what came."""

MOST_BYTES: Final = 20 << 20
BEHIND: Final = timedelta(days=2)
AHEAD: Final = timedelta(days=550)
"""What is kept of a calendar; who asks for a later day than that is told that the records are away."""


SPARE: Final = timedelta(days=60)
"""By so much an unchanged calendar may fall short of that before it is read anew."""

LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Span(NamedTuple):
    """A time at which somebody is busy, in UTC."""

    begins: datetime
    ends: datetime


class Busy(NamedTuple):
    """spans: in order, each once. left_out: how many events could not be read, and count for nothing."""

    spans: list[Span]
    left_out: int


class Unreadable(ValueError):  # noqa: N818 - as it is said
    """What was read is no calendar, or one that nobody could go by. The text says why."""


@dataclass(slots=True)
class _Source:
    """One calendar. spans: as it was read last, known until then. state: how to ask whether it has changed."""

    number: int
    address: str = field(repr=False)
    spans: list[Span] = field(default_factory=list, repr=False)
    until: datetime = LONG_AGO
    state: dict[str, str] = field(default_factory=dict, repr=False)
    failed: str = ""

    @property
    def is_remote(self) -> bool:
        return self.address.startswith(("https://", "http://"))

    @property
    def name(self) -> str:
        """For people: nothing of an address that may be secret."""
        where = urlsplit(self.address).hostname if self.is_remote else self.address
        return f"calendar {self.number} ({where})"


class Calendars:
    """`start` begins to read; `busy` answers from what has been read."""

    def __init__(
        self,
        addresses: Sequence[str],
        zone: ZoneInfo,
        *,
        every_s: float = EVERY_S,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """addresses: paths, and URLs of https:// or webcal://. zone: for times that have none."""
        secure = [each.replace("webcal://", "https://", 1) for each in addresses]
        self._sources = [_Source(number, address) for number, address in enumerate(secure, 1)]
        self._zone = zone
        self._every_s = every_s
        self._now = wall_clock
        self._reading: asyncio.Task[None] | None = None
        self._http: httpx.AsyncClient | None = None
        self._log = structlog.get_logger()

    def start(self) -> None:
        if self._sources and self._reading is None:
            self._reading = asyncio.create_task(self._keep_reading())

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
            self._reading = None
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    def busy(self, begins: datetime, ends: datetime) -> list[Span]:
        """What overlaps a span of time. Raises `TablesAway` where that is not known."""
        unknown = [source.name for source in self._sources if source.until < ends]
        if unknown:
            raise TablesAway(f"not read up to {ends:%Y-%m-%d}: {', '.join(unknown)}")
        return [span for source in self._sources for span in source.spans if span.begins < ends and span.ends > begins]

    async def read(self) -> bool:
        """Read all of them once. False when one could not be."""
        return all(await asyncio.gather(*(self._read(source) for source in self._sources)))

    async def _keep_reading(self) -> None:
        while True:
            whole = await self.read()
            await asyncio.sleep(self._every_s if whole else min(SOON_S, self._every_s))

    async def _read(self, source: _Source) -> bool:
        now = self._now()
        if source.until < now + AHEAD - SPARE:
            source.state = {}  # read it even if it has not changed
        try:
            async with asyncio.timeout(TIMEOUT_S):
                data = await (self._fetch(source) if source.is_remote else asyncio.to_thread(_content, source))
            if data is not None:
                busy = await _understood(data, self._zone, now - BEHIND, now + AHEAD)
                source.spans, source.until = busy.spans, now + AHEAD
                self._log.info("calendar.read", calendar=source.name, spans=len(busy.spans), left_out=busy.left_out)
        except (OSError, httpx.HTTPError, Unreadable) as error:  # TimeoutError is an OSError
            source.state = {}
            reason = f"{type(error).__name__}: {error}".replace(source.address, "...")
            if reason != source.failed:  # once, not every few seconds
                source.failed, older = reason, source.until > LONG_AGO
                self._log.error("calendar.unread", calendar=source.name, reason=reason, goes_by_older=older)
            return False
        source.failed = ""
        return True

    async def _fetch(self, source: _Source) -> bytes | None:
        """What is at an address; None when that has not changed. Raises `httpx.HTTPError` and `Unreadable`."""
        if self._http is None:
            self._http = await asyncio.to_thread(_client)
        async with self._http.stream("GET", source.address, headers=source.state) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED and source.state:
                return None
            if not response.is_success:
                raise Unreadable(f"HTTP {response.status_code}")
            data = bytearray()
            async for piece in response.aiter_bytes():
                data += piece
                if len(data) > MOST_BYTES:
                    raise Unreadable(f"more than {MOST_BYTES >> 20} MB")
        names = {"etag": "if-none-match", "last-modified": "if-modified-since"}
        source.state = {ask: response.headers[told] for told, ask in names.items() if told in response.headers}
        return bytes(data)


def _content(source: _Source) -> bytes | None:
    """What is in a file; None when that has not changed."""
    path = Path(source.address)
    stat = path.stat()
    state = {"changed": str(stat.st_mtime_ns), "bytes": str(stat.st_size)}
    if state == source.state:
        return None
    if stat.st_size > MOST_BYTES:
        raise Unreadable(f"more than {MOST_BYTES >> 20} MB")
    data = read_file(path, MOST_BYTES)
    source.state = state
    return data


async def _understood(data: bytes, zone: ZoneInfo, begins: datetime, ends: datetime) -> Busy:
    """Read in a process of its own, which can be ended. Raises `Unreadable`.

    A rule may be such that it is looked for without an end and never comes about; no thread could be kept from that.
    A large calendar takes seconds, which calls beside a thread would notice.
    """
    moments = [zone.key, begins.isoformat(), ends.isoformat()]
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voice_gateway.store.ical", *moments, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await reader.communicate(data)
    except TimeoutError:
        raise Unreadable(f"it takes more than {PATIENCE_S:g} s to reckon its times") from None
    finally:
        if reader.returncode is None:
            reader.kill()
            await reader.wait()
    if not output:
        raise Unreadable("its reader died")
    found = orjson.loads(output)
    if "unreadable" in found:
        raise Unreadable(found["unreadable"])
    spans = [Span(*(datetime.fromtimestamp(at, UTC) for at in pair)) for pair in found["spans"]]
    return Busy(spans, found["left_out"])


def _client() -> httpx.AsyncClient:
    """Made in a thread: reading the certificates takes some 25 ms."""
    return httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=True, headers={"user-agent": "voice-gateway"})
