"""Greetings that are kept: one file each, all of them in memory while the gateway runs.

A file is a WAV that any player plays (µ-law, 8 kHz, mono), with a chunk of our own, `clip`: JSON that says whose
greeting it is, what is said, and the checksum of the sound. It is written beside its place and then renamed, so that a
reader finds a whole file or none. A file that is not whole is left out, told in the log, and replaced by the next
greeting.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from voice_gateway.call.clip import Clip
from voice_gateway.call.greeting import LONGEST_CLIP_MS

MOST_CLIPS: Final = 64
LARGEST_FILE: Final = LONGEST_CLIP_MS * 8 + 16_384
SUFFIX: Final = ".greeting.wav"

_RATE_HZ: Final = 8000
_MULAW: Final = 7  # WAVE_FORMAT_MULAW (RFC 2361, section A.7)
_FORMAT: Final = struct.pack("<HHIIHHH", _MULAW, 1, _RATE_HZ, _RATE_HZ, 1, 8, 0)


@dataclass(frozen=True, slots=True)
class ClipKey:
    """Whose greeting a clip is. asked: a digest of everything that the greeting was made from."""

    persona: str
    voice: str
    model: str
    asked: str

    @classmethod
    def of(cls, persona: str, voice: str, model: str, *asked: str) -> ClipKey:
        """asked: the greeting and whatever else shapes it; any change of it makes another key."""
        return cls(persona, voice, model, hashlib.sha256("\0".join(asked).encode()).hexdigest()[:16])

    @property
    def file_name(self) -> str:
        name = f"{self.persona}-{self.voice}-{self.model}"
        return f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:160]}-{self.asked}{SUFFIX}"


class Clips:
    """The clips of a folder. `find` and `keep` are for the event loop; `load`, `write` and `forget` touch the disk."""

    def __init__(self, folder: Path, *, most: int = MOST_CLIPS) -> None:
        """most: how many are kept; beyond them the oldest go."""
        self.folder = folder
        self._most = most
        self._clips: dict[ClipKey, Clip] = {}
        self._log = structlog.get_logger()

    def load(self) -> None:
        """Read the newest clips of the folder. Never raises: a greeting that cannot be read is spoken anew."""
        for path in self._files()[: self._most]:
            try:
                key, clip = read_clip(path)
            except (OSError, ValueError) as fault:
                self._log.warning("clips.unreadable", file=path.name, reason=str(fault))
            else:
                self._clips.setdefault(key, clip)

    def find(self, key: ClipKey) -> Clip | None:
        return self._clips.get(key)

    def keep(self, key: ClipKey, clip: Clip) -> bool:
        """Have this clip from now on. False when there is one already; then this one is not needed."""
        if key in self._clips:
            return False
        while len(self._clips) >= self._most:
            del self._clips[next(iter(self._clips))]
        self._clips[key] = clip
        return True

    def write(self, key: ClipKey, clip: Clip) -> None:
        """Put a clip on the disk, and the oldest ones off it. Never raises: it is kept in memory all the same."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_clip(self.folder / key.file_name, key, clip)
            for path in self._files()[self._most :]:
                path.unlink(missing_ok=True)
        except OSError as fault:
            self._log.warning("clips.not_written", file=key.file_name, reason=str(fault))
        else:
            self._log.info("clips.kept", file=key.file_name, milliseconds=clip.duration_ms)

    def forget(self) -> int:
        """Remove every clip. Returns how many files there were. Raises OSError for a folder that allows none."""
        self._clips.clear()
        files = self._files()
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)

    def listed(self) -> Iterator[tuple[Path, ClipKey | None, Clip | None]]:
        """Every file of the folder, newest first, with what it holds; None where that cannot be read."""
        for path in self._files():
            try:
                yield path, *read_clip(path)
            except (OSError, ValueError):
                yield path, None, None

    def _files(self) -> list[Path]:
        dated: list[tuple[float, Path]] = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            with contextlib.suppress(OSError):  # gone since it was listed
                dated.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(dated, reverse=True)]


# --- a file -----------------------------------------------------------------------------------------------------


def write_clip(path: Path, key: ClipKey, clip: Clip) -> None:
    """Write a clip so that there is never half of one at path. Raises OSError."""
    told = {**asdict(key), "text": clip.text, "duration_ms": clip.duration_ms, "crc32": zlib.crc32(clip.ulaw)}
    chunks = (
        (b"fmt ", _FORMAT),
        (b"fact", struct.pack("<I", len(clip.ulaw))),
        (b"clip", orjson.dumps(told)),
        (b"data", clip.ulaw),
    )
    body = b"WAVE" + b"".join(_chunk(name, content) for name, content in chunks)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_chunk(b"RIFF", body))
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


def read_clip(path: Path) -> tuple[ClipKey, Clip]:
    """Read what `write_clip` wrote. Raises OSError, or ValueError that says what is wrong with the file."""
    if not path.is_file():
        raise ValueError("it is no file")  # a pipe would be read for ever
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"it is larger than {LARGEST_FILE} bytes")
    chunks = dict(_chunks(path.read_bytes()))
    ulaw = chunks.get(b"data", b"")
    try:
        told: dict[str, Any] = orjson.loads(chunks.get(b"clip", b""))
        key = ClipKey(*(str(told[name]) for name in ("persona", "voice", "model", "asked")))
        text, checksum = str(told["text"]), told["crc32"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as fault:
        raise ValueError("it does not say whose greeting it is") from fault
    if chunks.get(b"fmt ") != _FORMAT:
        raise ValueError("its sound is not µ-law at 8 kHz")
    if not ulaw or zlib.crc32(ulaw) != checksum:
        raise ValueError("its sound is not whole")
    return key, Clip(ulaw, text)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a RIFF file; of a broken one those that can be found."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError("it is not a WAV file")
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
