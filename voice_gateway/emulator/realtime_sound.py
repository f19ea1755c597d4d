"""Sound as the protocol carries it, and the buffer of sound that was written but is no item yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio import g711
from voice_gateway.audio.resample import convert
from voice_gateway.emulator.faculties import Samples


def _alaw_samples() -> NDArray[np.int16]:
    """For each of the 256 A-law bytes its sample (ITU-T G.711, table 1a, four bits larger): the middle of its step."""
    code = np.arange(256, dtype=np.int32) ^ 0x55  # every other bit is sent inverted
    segment, step = (code & 0x70) >> 4, code & 0x0F
    magnitude = np.where(segment == 0, step * 16 + 8, (step * 16 + 264) << np.maximum(segment - 1, 0))
    return np.where(code >= 0x80, magnitude, -magnitude).astype(np.int16)


def _alaw_bytes() -> NDArray[np.uint8]:
    """For each of the 65,536 patterns of a 16-bit sample its A-law byte."""
    segment, step = np.divmod(np.arange(128), 16)
    lower_edges = np.where(segment == 0, step * 16, (step * 16 + 256) << np.maximum(segment - 1, 0))
    sample = np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(sample < 0, ~sample, sample)
    code = np.searchsorted(lower_edges, magnitude, side="right") - 1
    return (np.where(sample < 0, code, code + 0x80) ^ 0x55).astype(np.uint8)


_ALAW_SAMPLES: Final = _alaw_samples()
_ALAW_BYTES: Final = _alaw_bytes()


@dataclass(frozen=True, slots=True)
class Format:
    """One of the protocol's three: `audio/pcm` (16-bit little-endian, 24 kHz), `audio/pcmu`, `audio/pcma` (8 kHz)."""

    name: str
    rate_hz: int
    sample_bytes: int

    @classmethod
    def of(cls, wire: Mapping[str, Any]) -> Format:
        """From a session's `format` object."""
        pcm = wire["type"] == "audio/pcm"
        return cls(wire["type"], 24000 if pcm else 8000, 2 if pcm else 1)

    @property
    def bytes_per_ms(self) -> int:
        return self.rate_hz * self.sample_bytes // 1000

    def decode(self, data: bytes | memoryview) -> Samples:
        """The samples at rate_hz. data: whole samples only."""
        if self.name == "audio/pcm":
            return np.frombuffer(data, dtype="<i2").astype(np.int16, copy=False)
        if self.name == "audio/pcmu":
            return g711.decode(data)
        return _ALAW_SAMPLES.take(np.frombuffer(data, dtype=np.uint8))

    def encode(self, samples: Samples, rate_hz: int) -> bytes:
        """The bytes of a whole piece of sound; its ends are taken as silence."""
        ours = samples if rate_hz == self.rate_hz else convert(samples, rate_hz, self.rate_hz)
        if self.name == "audio/pcm":
            return ours.astype("<i2", copy=False).tobytes()
        if self.name == "audio/pcmu":
            return g711.encode(ours)
        return _ALAW_BYTES.take(ours.view(np.uint16)).tobytes()


class InputBuffer:
    """What the client appended. Positions are milliseconds of sound written since the session began.

    Keeps the bytes from `kept_from_ms` on; `forget` gives up what no item can need any more.
    """

    def __init__(self, sound: Format) -> None:
        self.format = sound
        self.written_bytes = 0
        self._ms_before = 0
        self._data = bytearray()

    def append(self, data: bytes) -> None:
        self.written_bytes += len(data)
        self._data += data

    def count(self, length: int) -> None:
        """Note that this many bytes were written, without keeping them."""
        self.written_bytes += length

    def change_format(self, sound: Format) -> None:
        """Go on in another format. What was kept in the old one is lost, the clock goes on."""
        self._ms_before = self.written_ms
        self.format = sound
        self.written_bytes = 0
        self._data.clear()

    @property
    def written_ms(self) -> int:
        return self._ms_before + self.written_bytes // self.format.bytes_per_ms

    def slice(self, start_ms: int, end_ms: int) -> bytes:
        """The kept bytes of this stretch; less than asked for where they were forgotten or are not written yet."""
        first = self.written_bytes - len(self._data)
        per_ms = self.format.bytes_per_ms
        start = max((start_ms - self._ms_before) * per_ms - first, 0)
        return bytes(self._data[start : max((end_ms - self._ms_before) * per_ms - first, start)])

    def forget(self, before_ms: int) -> None:
        first = self.written_bytes - len(self._data)
        surplus = (before_ms - self._ms_before) * self.format.bytes_per_ms - first
        if surplus > 0:
            del self._data[:surplus]
