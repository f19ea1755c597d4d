"""A greeting that is kept as sound (`greeting`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from voice_gateway.audio.transcode import ULAW_BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class Clip:
    """A greeting that is kept. ulaw: G.711 µ-law at 8 kHz, whole frames. text: the greeting as the model said it."""

    ulaw: bytes = field(repr=False)
    text: str

    @property
    def duration_ms(self) -> int:
        return len(self.ulaw) // ULAW_BYTES_PER_MS
