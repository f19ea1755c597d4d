"""Recordings as files: stereo WAV, streamed to disk by one thread for all calls, kept for so many days.

Rules
-----
1. A call pays for its recording with one entry in a queue a second. Whatever the disk does costs the recording and
   never the call: a folder that is missing, a disk that is full (`RESERVE_BYTES` are left to the record, which matters
   more) or that hangs (`MOST_WAITING` blocks) ends it, which is told by `Ended` and in the log.
2. The samples are 16-bit PCM at 8 kHz, 1.9 MB a minute: twice the size of µ-law, but everything reads it. The header is
   made right after every block, so a process that is killed leaves a file that plays, and lacks 2 s at most.
3. A file belongs to its owner alone (0600, folders made here 0700) and has a name of its own that nobody chooses:
   `<day>/<CallSid>_<id>.wav`, where a CallSid that is none is replaced by its hash.
4. What has reached its age is removed; only files that have such a name are ever touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Literal, Protocol

import numpy as np

from voice_gateway.audio import g711, wav
from voice_gateway.ops import logs

RESERVE_BYTES: Final = 100_000_000
MOST_WAITING: Final = 60
"""Blocks of one call that wait for the disk: a minute, 16 kB each."""

CHECK_SPACE_EVERY: Final = 30
CHANNELS: Final = 2
FRAME_BYTES: Final = 4
DAY_S: Final = 86_400

_CALL_SID: Final = re.compile(r"[A-Za-z0-9]{1,64}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME: Final = re.compile(r"[A-Za-z0-9]{1,64}_[0-9a-f-]{36}\.wav")


class Sound(Protocol):
    """A stretch of µ-law at 8 kHz, both of the same length."""

    @property
    def left(self) -> bytes: ...
    @property
    def right(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a recording. path: below the folder of all; size, sha256: of the file, 0 and empty for none.

    outcome: `kept`, `failed` (what was written until then is there) or `discarded` (the file is removed), which may
    come after another one.
    """

    recording_id: str
    path: str
    outcome: Literal["kept", "failed", "discarded"]
    reason: str = ""
    duration_ms: int = 0
    size: int = 0
    sha256: str = ""


class RecordingFile:
    """One recording on its way to the disk. `write`, `close` and `discard` belong to the event loop."""

    def __init__(self, recording_id: str, path: Path, shown: str, ended: Callable[[Ended], None]) -> None:
        self.recording_id = recording_id
        self.path = path
        self.shown = shown
        self.ended = ended
        self.waiting = 0
        self.given_up = ""
        self.over = False
        self.told = False
        self.file: int | None = None
        self.inode = 0
        self.blocks = 0
        self.frames = 0


class Recordings:
    """All recordings of a process. Its thread begins with `start` and ends with `close`."""

    def __init__(
        self,
        folder: Path,
        *,
        new_id: Callable[[], str],
        wall_clock: Callable[[], datetime],
        count: Callable[[str], None],
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        """new_id: a fresh UUID as text. count: told each recording's outcome, on the event loop."""
        self._folder = folder
        self._new_id = new_id
        self._wall_clock = wall_clock
        self._count = count
        self._reserve = reserve_bytes
        self._work: SimpleQueue[tuple[Literal["write", "close", "discard"], RecordingFile, Sound | None] | None] = (
            SimpleQueue()
        )
        self._loop: AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._log = logs.get("recordings")

    # --- on the event loop ------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop = get_running_loop()
        self._thread = threading.Thread(target=self._run, name="recordings", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Finish what waits and end the thread. Blocks for as long as the disk does; call it from another thread."""
        self._work.put(None)
        if self._thread is not None:
            self._thread.join(timeout_s)

    def begin(self, call_sid: str, ended: Callable[[Ended], None]) -> RecordingFile:
        """A new recording. ended: told once what became of it, on the event loop."""
        recording_id = self._new_id()
        shown = f"{self._wall_clock():%Y-%m-%d}/{safe_name(call_sid)}_{recording_id}.wav"
        return RecordingFile(recording_id, self._folder / shown, shown, ended)

    def write(self, file: RecordingFile, sound: Sound) -> None:
        if file.over:
            return
        if file.waiting >= MOST_WAITING:
            file.given_up = f"more than {MOST_WAITING} s of sound waited for the disk"
        if file.given_up:
            return
        file.waiting += 1
        self._work.put(("write", file, sound))

    def finish(self, file: RecordingFile) -> None:
        """No more will come of this one."""
        self._work.put(("close", file, None))

    def give_up(self, file: RecordingFile, reason: str) -> None:
        """No more will come of this one, and it is not whole."""
        file.given_up = reason
        self.finish(file)

    def discard(self, file: RecordingFile) -> None:
        """Remove it: it should not have been made, or not be kept."""
        self._work.put(("discard", file, None))

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            what, file, sound = work
            try:
                if sound is not None:
                    file.waiting -= 1
                    self._write(file, sound)
                elif what == "discard":
                    self._discard(file)
                else:
                    self._finish(file)
            except Exception as fault:  # noqa: BLE001 - rule 1: it ends this recording, counted by its outcome
                self._fail(file, _in_words(fault))

    def _write(self, file: RecordingFile, sound: Sound) -> None:
        if file.over:
            return
        if file.blocks % CHECK_SPACE_EVERY == 0:
            self._check_space(file)
        if file.file is None:
            file.file = _new_file(file.path)
            file.inode = os.fstat(file.file).st_ino
        data = _interleaved(sound)
        start = wav.HEADER_BYTES + file.frames * FRAME_BYTES
        _write_all(file.file, data, start)
        file.blocks += 1
        file.frames += len(data) // FRAME_BYTES
        _write_all(file.file, wav.header(file.frames, g711.RATE_HZ, CHANNELS), 0)

    def _check_space(self, file: RecordingFile) -> None:
        file.path.parent.mkdir(mode=0o700, exist_ok=True)  # its own parent must be there: it may be a disk of its own
        room = os.statvfs(file.path.parent)
        free = room.f_bavail * room.f_frsize
        if free < self._reserve:
            raise OSError(f"the disk has {free // 1_000_000} MB left; {self._reserve // 1_000_000} are for the record")

    def _finish(self, file: RecordingFile) -> None:
        if file.over:
            return
        if file.given_up:
            raise OSError(file.given_up)
        if file.file is None:
            self._end(file, Ended(file.recording_id, file.shown, "discarded", "the call ended before there was sound"))
            return
        os.fsync(file.file)
        size, digest = _content(file)
        self._end(
            file,
            Ended(file.recording_id, file.shown, "kept", duration_ms=file.frames // 8, size=size, sha256=digest),
        )

    def _discard(self, file: RecordingFile) -> None:
        with suppress(FileNotFoundError):
            file.path.unlink()
        self._end(file, Ended(file.recording_id, file.shown, "discarded"))

    def _fail(self, file: RecordingFile, reason: str) -> None:
        if file.over:
            return
        self._log.error("recording.failed", recording=file.shown, reason=reason)
        size, digest = 0, ""
        if file.frames:
            with suppress(OSError):  # then nothing of it can be had
                size, digest = _content(file)
        length_ms = file.frames // 8 if size else 0
        self._end(file, Ended(file.recording_id, file.shown, "failed", reason, length_ms, size, digest))

    def _end(self, file: RecordingFile, ended: Ended) -> None:
        file.over = True
        descriptor, file.file = file.file, None
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                self._loop.call_soon_threadsafe(self._tell, file, ended)

    def _tell(self, file: RecordingFile, ended: Ended) -> None:
        if not file.told:
            self._count(ended.outcome)
        file.told = True
        file.ended(ended)


def safe_name(call_sid: str) -> str:
    """A CallSid as a part of a file's name; a hash of it where it could be anything else than a name."""
    return call_sid if _CALL_SID.fullmatch(call_sid) else hashlib.sha256(call_sid.encode(errors="replace")).hexdigest()


def is_path(path: str | None) -> bool:
    """Whether this may be the path of a recording of ours, below the folder of all."""
    day, _, name = (path or "").partition("/")
    return bool(_DAY.fullmatch(day) and _NAME.fullmatch(name))


def id_of(path: str) -> str:
    """The recording's id, as its path tells it."""
    return path.rpartition("_")[2].removesuffix(".wav")


def open_safely(folder: Path, path: str) -> BufferedReader:
    """A recording's file for reading. Raises OSError, also for a path that is none of ours, and for links."""
    inside = folder / path
    if not is_path(path) or inside.parent.is_symlink():
        raise OSError(f"{path[:80]} is no path of a recording")
    return os.fdopen(os.open(inside, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def older(folder: Path, keep_days: int, now: float) -> list[str]:
    """The paths of recordings older than so many days; now: seconds since 1970.

    Only regular files in folders that are named as ours are; a link is never followed.
    """
    found: list[str] = []
    for day in _days(folder):
        for path in [path for path in day.iterdir() if _NAME.fullmatch(path.name)]:
            told = path.lstat()
            if stat.S_ISREG(told.st_mode) and told.st_mtime < now - keep_days * DAY_S:
                found.append(f"{day.name}/{path.name}")
    return found


def remove(folder: Path, paths: Iterable[str], now: float) -> int:
    """Remove these, and days in which nothing is any more. Returns how many were there. Raises OSError."""
    removed = 0
    for path in filter(is_path, paths):
        with suppress(FileNotFoundError):
            (folder / path).unlink()
            removed += 1
    for day in _days(folder):
        with suppress(OSError):  # something is in it still
            if day.stat().st_mtime < now - DAY_S:
                day.rmdir()
    return removed


def _days(folder: Path) -> list[Path]:
    try:
        return [day for day in folder.iterdir() if _DAY.fullmatch(day.name) and day.is_dir() and not day.is_symlink()]
    except FileNotFoundError:
        return []


def erase(folder: Path, call_sid: str) -> int:
    """Remove every recording of a call. Returns how many there were. Raises OSError where one cannot be removed."""
    found = [path for path in folder.glob(f"*/{safe_name(call_sid)}_*.wav") if _NAME.fullmatch(path.name)]
    for path in found:
        path.unlink()
    return len(found)


def check_folder(folder: Path) -> None:
    """Make the folder and see that files can be made in it. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    trial = folder / f".trial-{os.getpid()}"
    os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    trial.unlink()


def _interleaved(sound: Sound) -> bytes:
    samples = np.empty((len(sound.left), CHANNELS), "<i2")
    samples[:, 0] = g711.decode(sound.left)
    samples[:, 1] = g711.decode(sound.right)
    return samples.tobytes()


def _new_file(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # which follows no link either


def _content(file: RecordingFile) -> tuple[int, str]:
    """Size and SHA-256 of what was written. Raises OSError where that is not to be found there any more."""
    there = file.path.lstat()
    if there.st_ino != file.inode:
        raise OSError("another file is there now")
    with file.path.open("rb") as content:
        return there.st_size, hashlib.file_digest(content, "sha256").hexdigest()


def _write_all(file: int, data: bytes, at: int) -> None:
    while data:
        done = os.pwrite(file, data, at)
        at += done
        data = data[done:]


def _in_words(fault: Exception) -> str:
    return fault.strerror or str(fault) if isinstance(fault, OSError) else f"{type(fault).__name__}: {fault}"
