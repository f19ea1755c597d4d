"""The input audio buffer: what was appended, who speaks in it, and what becomes of it (reference sections 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pybase64

from voice_gateway.emulator.realtime_schema import Refused, invalid
from voice_gateway.emulator.realtime_settings import silence_ms
from voice_gateway.emulator.realtime_sound import Format, InputBuffer
from voice_gateway.emulator.realtime_vad import Change, EnergyVad

SHORTEST_COMMIT_MS: Final = 100
LONGEST_KEPT_MS: Final = 120_000
LONGEST_PADDING_MS: Final = 6000
APPEND_LIMIT: Final = 15 * 1024 * 1024


class InputAudio:
    """The sound a client writes.

    listens: False counts lengths alone, so that an append costs next to nothing; nobody is ever heard speaking then.
    """

    def __init__(self, settings: Mapping[str, Any], *, listens: bool) -> None:
        self.listens = listens
        self.turn_detection: Mapping[str, Any] | None = None
        self._buffer = InputBuffer(Format.of(settings["format"]))
        self._taken_ms = 0
        self._vad: EnergyVad | None = None
        self.configure(settings)

    @property
    def format(self) -> Format:
        return self._buffer.format

    @property
    def written_ms(self) -> int:
        return self._buffer.written_ms

    @property
    def speaking(self) -> bool:
        return self._vad is not None and self._vad.speaking

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Take a session's `audio.input`. A detector that is not asked to change goes on where it was."""
        sound = Format.of(settings["format"])
        changed = sound != self._buffer.format
        if changed:
            self._buffer.change_format(sound)
        if not changed and settings["turn_detection"] == self.turn_detection:
            return
        self.turn_detection = settings["turn_detection"]
        self._vad = None
        if self.turn_detection is not None and self.listens:
            self._vad = EnergyVad(
                sound.rate_hz,
                self.turn_detection.get("threshold", 0.5),
                self.turn_detection.get("prefix_padding_ms", 300),
                silence_ms(self.turn_detection),
                self._buffer.written_ms,
            )

    def append(self, audio: object) -> list[Change]:
        """audio: the base64 text of an append. Returns when somebody began or ceased to speak in it."""
        if not isinstance(audio, str):
            raise invalid(audio, "audio", "a string")
        if len(audio) > APPEND_LIMIT:
            raise invalid(len(audio), "audio", "at most 15 MiB")
        if not self.listens:
            self._buffer.count(len(audio) * 3 // 4 - audio.count("=", max(len(audio) - 2, 0)))
            return []
        try:
            data = pybase64.b64decode(audio, validate=True)
        except ValueError:
            raise Refused("invalid_value", "Invalid 'audio'. Expected base64-encoded audio bytes.", "audio") from None
        if len(data) % self.format.sample_bytes:
            raise Refused("invalid_value", "Invalid 'audio'. Expected whole 16-bit samples.", "audio")
        self._buffer.append(data)
        changes = self._vad.feed(self.format.decode(data)) if self._vad is not None else []
        waiting = self.turn_detection is not None and not self.speaking and not changes
        self._buffer.forget(self.written_ms - (LONGEST_PADDING_MS if waiting else LONGEST_KEPT_MS))
        return changes

    def take(self, start_ms: int, end_ms: int) -> bytes:
        """The sound of a turn the detector found; it and all before it is out of the buffer then."""
        sound = self._buffer.slice(start_ms, end_ms)
        self._taken_ms = end_ms
        self._buffer.forget(end_ms)
        return sound

    def commit(self) -> tuple[bytes, int]:
        """All the sound since the last commit, and its length. Raises Refused below 100 ms."""
        length_ms = self.written_ms - self._taken_ms
        if length_ms < SHORTEST_COMMIT_MS:
            raise Refused(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {length_ms:.2f}ms of audio.",
            )
        sound = self.take(self._taken_ms, self.written_ms)
        if self._vad is not None:
            self._vad.reset()
        return sound, length_ms

    def clear(self) -> None:
        self.take(self.written_ms, self.written_ms)
        if self._vad is not None:
            self._vad.reset()
