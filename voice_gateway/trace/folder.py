"""Keeping traces: a bridge is followed, and a thread writes what happened to it into a file of its own for each call.

Rules
-----
1. A call pays for its trace with one append to a list; turning it into text and writing it is the thread's work.
2. Nothing of a call suffers from its trace. A folder that is missing, a disk that is full or too slow, a value that
   cannot be written: the trace ends there, which is counted, and logged once until a trace succeeds again.
3. A trace is bounded: on disk by `max_bytes`, in memory by `MOST_WAITING` events that wait to be written.
4. Files are for their owner alone (0600, a folder made here 0700): they hold what people said. No secret of the
   settings is ever in them, and the telephone numbers of a call are masked.
5. What must not be kept is not in a trace either: it ends where a recording is paused (`stop`), and a caller who does
   not want to be recorded has none (`discard`).
6. What was noted is on its way to the disk within `WRITE_EVERY_S`; a process that is killed loses no more than that.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import orjson

from voice_gateway.call import commands as do
from voice_gateway.call.bridge import Bridge
from voice_gateway.call.events import Event
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import HIDDEN, SHORTEST_SECRET
from voice_gateway.trace.notes import Heading, heading_line, note_line, stop_line

WRITE_EVERY_S: Final = 0.5
MOST_WAITING: Final = 5000
"""Events of one call: a minute and a half of frames, should the disk stand still so long."""

UNWANTED_KEPT: Final = 1000
"""Calls remembered that are not to be traced, for the time between a refusal and the media stream."""

SUFFIX: Final = ".jsonl"
_NAME: Final = re.compile(r"\d{8}T\d{6}Z-[A-Za-z0-9_-]{0,70}\.jsonl")


class TracedBridge:
    """A bridge whose events, answers and faults are noted. To its session it is the bridge itself."""

    def __init__(self, bridge: Bridge, reel: Reel) -> None:
        self._bridge = bridge
        self._note = reel.note
        self.deadline = bridge.deadline

    def handle(self, event: Event, now: float) -> list[do.Command]:
        try:
            commands = self._bridge.handle(event, now)
        except Exception as fault:
            self._note(now, event, (), f"{type(fault).__name__}: {fault}", ended=False)
            raise
        self._note(now, event, commands, "", ended=self._bridge.has_ended)
        return commands

    @property
    def has_ended(self) -> bool:
        return self._bridge.has_ended


class Reel:
    """One call's notes on their way to the disk. `note` belongs to the event loop, `write` to the thread."""

    def __init__(self, path: Path, heading: Heading, max_bytes: int, hide: Callable[[bytes], bytes]) -> None:
        self.path = path
        self.outcome = ""
        """Why nothing more will be written: `kept`, `cut`, `failed` or `discarded`; empty while there may be more."""
        self._heading = heading
        self._max_bytes = max_bytes
        self._hide = hide
        self._waiting: deque[tuple[float, Event, Sequence[do.Command], str]] = deque()
        self._ended = False
        self._stopped = ""
        self._discarded = False
        self._file: int | None = None
        self._written = 0

    def note(self, now: float, event: Event, commands: Sequence[do.Command], raised: str, *, ended: bool) -> None:
        """Something happened. The lists given are kept, and nobody changes them any more."""
        if self._ended or self._stopped or self.outcome:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._stopped = f"{MOST_WAITING} events waited for the disk"
            return
        self._waiting.append((now, event, commands, raised))
        self._ended = ended

    @property
    def call_sid(self) -> str:
        return self._heading.facts.call_sid

    def stop(self, reason: str) -> None:
        """Nothing that happens from now on is noted."""
        self._stopped = self._stopped or reason

    def discard(self) -> None:
        """Nothing is noted any more, and what there is will be removed."""
        self._discarded = True
        self.stop("discarded")

    def write(self, *, last: bool = False) -> None:
        """Write what waits. last: nothing more will come, whether the call has ended or not. Raises OSError."""
        ended, stopped = last or self._ended, self._stopped
        if self._discarded:
            self._remove()
            return
        while self._waiting and not self.outcome:
            at, event, commands, raised = self._waiting.popleft()
            line = self._hide(note_line(at, event, commands, raised, self._heading.policy.audio_format))
            if self._written + len(line) > self._max_bytes:
                self._stop(f"the trace reached its limit of {self._max_bytes} bytes (TRACE_MAX_MB)")
                return
            self._put(line)
            time.sleep(0)  # the event loop goes first: a waiting thread would otherwise get its turn 5 ms later
        if stopped and not self.outcome:
            self._stop(stopped)
        elif ended:
            self._finish("kept")

    def fail(self) -> None:
        """Give this trace up. What stands in the file stays."""
        self._waiting.clear()
        self._finish("failed")

    def _put(self, line: bytes) -> None:
        if self._file is None:
            self._file, self.path = _new_file(self.path)
            line = self._hide(heading_line(self._heading)) + line
        while line:
            done = os.write(self._file, line)
            self._written += done
            line = line[done:]

    def _stop(self, reason: str) -> None:
        self._put(stop_line(reason))
        self._waiting.clear()
        self._finish("cut")

    def _remove(self) -> None:
        self._waiting.clear()
        self._finish("discarded")
        if self._written:
            self.path.unlink(missing_ok=True)

    def _finish(self, outcome: str) -> None:
        self.outcome = outcome
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def safe_name(call_sid: str) -> str:
    """A CallSid as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]", "", call_sid)[:64]


class TraceFolder:
    """Where the traces of a process go. Its thread begins with the first call and ends with `close`."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        secrets: Iterable[str],
        version: str,
        wall_clock: Callable[[], datetime],
        count: Callable[[str], None],
    ) -> None:
        """secrets: values that must not stand in a trace. wall_clock: the time in UTC.

        count: told each trace's outcome, `kept`, `cut`, `failed` or `discarded`, from the thread.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._hide = _hider(secrets)
        self._version = version
        self._wall_clock = wall_clock
        self._count = count
        self._reels: list[Reel] = []
        self._unwanted: deque[str] = deque(maxlen=UNWANTED_KEPT)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._complained = False
        self._log = logs.get("trace")

    def follow(self, bridge: Bridge, heading: Heading) -> Bridge | TracedBridge:
        """The same bridge, traced, unless the caller refused. The heading's time and version are filled in here."""
        if heading.facts.call_sid in self._unwanted:
            return bridge
        at = self._wall_clock()
        started = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        named = f"{at:%Y%m%dT%H%M%SZ}-{safe_name(heading.facts.call_sid)}"
        full = Heading(heading.facts, heading.policy, heading.began_at, started, self._version)
        reel = Reel(self._folder / f"{named}{SUFFIX}", full, self._max_bytes, self._hide)
        self._reels.append(reel)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
            self._thread.start()
        return TracedBridge(bridge, reel)

    def stop(self, call_sid: str, reason: str) -> None:
        """What happens in this call from now on must not be kept."""
        for reel in self._reels:
            if reel.call_sid == call_sid:
                reel.stop(reason)

    def discard(self, call_sid: str) -> None:
        """This call must not be kept, neither what was noted of it nor what will happen."""
        self._unwanted.append(call_sid)
        for reel in self._reels:
            if reel.call_sid == call_sid:
                reel.discard()

    def close(self) -> None:
        """Write what waits and end the thread. Blocks for as long as the disk does, 5 s at most."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _run(self) -> None:
        last = False
        while not last:
            last = self._closing.wait(WRITE_EVERY_S)
            for reel in list(self._reels):
                self._write(reel, last=last)
                if reel.outcome:
                    self._reels.remove(reel)
                    self._count(reel.outcome)

    def _write(self, reel: Reel, *, last: bool) -> None:
        try:
            reel.write(last=last)
            self._complained = self._complained and reel.outcome != "kept"
        except Exception as fault:  # noqa: BLE001 - rule 2: the trace ends, counted by its outcome, and nothing else does
            reel.fail()
            if not self._complained:
                self._complained = True
                self._log.error("trace.failed", file=str(reel.path), fault=f"{type(fault).__name__}: {fault}")


def remove_older(folder: Path, keep_days: int, now: float) -> int:
    """Remove traces that were last written so many days ago; now: seconds since 1970. Returns how many were.

    Only regular files that are named as ours are; a link is never followed.
    """
    removed = 0
    for path in folder.glob(f"*{SUFFIX}"):
        found = path.lstat()
        if _NAME.fullmatch(path.name) and stat.S_ISREG(found.st_mode) and found.st_mtime < now - keep_days * 86_400:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _new_file(path: Path) -> tuple[int, Path]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    attempt = path
    for number in range(2, 100):
        try:
            return os.open(attempt, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), attempt
        except FileExistsError:
            attempt = path.with_name(f"{path.stem}-{number}{path.suffix}")
    raise FileExistsError(f"{path} and 98 more of that name are there already")


def _hider(secrets: Iterable[str]) -> Callable[[bytes], bytes]:
    """Replaces secrets in a line of JSON, however they are escaped there."""
    spelt = {orjson.dumps(secret)[1:-1] for secret in secrets if len(secret) >= SHORTEST_SECRET}
    hidden = HIDDEN.encode()

    def hide(line: bytes) -> bytes:
        for secret in spelt:
            if secret in line:
                line = line.replace(secret, hidden)
        return line

    return hide
