"""Between the telephone's bytes and the model's: one transcoder each way for each call.

The caller leg speaks µ-law at 8 kHz: 8 bytes a millisecond, 160 a frame. The model leg speaks PCM16 little-endian at
24 kHz, 48 bytes a millisecond (`ToModel`, `ToCaller`), or µ-law like the telephone (`Straight`, both ways).

Any chunking of the same bytes gives the same bytes. Nothing is held back but half a sample, and nothing is added: no
gain, no filter beyond the band's own, no comfort noise. Heard time is then plain arithmetic: bytes played divided by
`ULAW_BYTES_PER_MS`, less the transcoder's `delay_ms`.
"""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio import g711
from voice_gateway.audio.resample import FILTER_DELAY_MS, MODEL_RATE_HZ, PHONE_RATE_HZ, Downsampler, Upsampler

ULAW_BYTES_PER_MS: Final = PHONE_RATE_HZ // 1000
PCM_BYTES_PER_MS: Final = 2 * MODEL_RATE_HZ // 1000
FRAME_MS: Final = 20
FRAME_BYTES: Final = FRAME_MS * ULAW_BYTES_PER_MS

# 72 samples: the filter's delay at the model's rate. They push the last 3 ms of an answer out.
_PUSH: Final[NDArray[np.int16]] = np.zeros(int(FILTER_DELAY_MS * MODEL_RATE_HZ / 1000), np.int16)


class TowardsModel(Protocol):
    """The caller's sound on its way to the model."""

    @property
    def delay_ms(self) -> float:
        """How much later the sound comes out than it went in."""
        ...

    @property
    def model_bytes_per_ms(self) -> int:
        """Bytes of the model leg's format in a millisecond."""
        ...

    def __call__(self, ulaw: bytes, /) -> bytes:
        """The same as `process`."""
        ...

    def process(self, ulaw: bytes, /) -> bytes:
        """µ-law bytes of any length in; as many milliseconds out, in the model leg's format."""
        ...

    def reset(self) -> None:
        """Forget what was said before: as fresh."""
        ...


class TowardsCaller(Protocol):
    """The model's voice on its way to the caller: a row of answers, each ended by `flush` or cut off by `reset`."""

    @property
    def delay_ms(self) -> float:
        """How much later the sound comes out than it went in."""
        ...

    @property
    def model_bytes_per_ms(self) -> int:
        """Bytes of the model leg's format in a millisecond."""
        ...

    def __call__(self, audio: bytes, /) -> bytes:
        """The same as `process`."""
        ...

    def process(self, audio: bytes, /) -> bytes:
        """Any piece of an answer in the model leg's format in; µ-law out."""
        ...

    def flush(self) -> bytes:
        """The end of an answer: its last sound, padded with silence until the answer is whole frames. Then as fresh."""
        ...

    def reset(self) -> None:
        """A barge-in: nothing of this answer may come out any more. As fresh."""
        ...


def _padding(produced: int) -> bytes:
    """Silence from `produced` bytes up to the next whole frame."""
    return g711.SILENCE * (-produced % FRAME_BYTES)


class ToModel:
    """µ-law 8 kHz → PCM16 little-endian 24 kHz: 160 bytes in, 960 out, from the first frame on, 3.0 ms later."""

    __slots__ = ("_upsampler",)

    delay_ms: Final = FILTER_DELAY_MS
    model_bytes_per_ms: Final = PCM_BYTES_PER_MS

    def __init__(self) -> None:
        self._upsampler = Upsampler()

    def process(self, ulaw: bytes, /) -> bytes:
        """Any number n of µ-law bytes in, 6n bytes of PCM16 out."""
        return self._upsampler.process(g711.decode(ulaw)).astype("<i2", copy=False).tobytes()

    __call__ = process

    def reset(self) -> None:
        """Forget what was said before: as fresh."""
        self._upsampler.reset()


class ToCaller:
    """PCM16 little-endian 24 kHz → µ-law 8 kHz: 960 bytes in, 160 out, from the first frame on, 3.0 ms later.

    Half a sample at the end of a piece waits for its other half; at the end of the answer it is dropped.
    """

    __slots__ = ("_downsampler", "_half", "_produced")

    delay_ms: Final = FILTER_DELAY_MS
    model_bytes_per_ms: Final = PCM_BYTES_PER_MS

    def __init__(self) -> None:
        self._downsampler = Downsampler()
        self._half = b""
        self._produced = 0  # µ-law bytes of this answer so far

    def process(self, pcm: bytes, /) -> bytes:
        """A piece of an answer, of any length; 1 byte out for each 6 in."""
        if self._half:
            pcm = self._half + pcm
        whole = len(pcm) // 2
        self._half = pcm[2 * whole :]
        return self._encoded(np.frombuffer(pcm, "<i2", whole))

    __call__ = process

    def flush(self) -> bytes:
        """The last 24 samples of the answer, padded to whole frames; empty if there was no answer. Then as fresh."""
        if not self._produced:
            self.reset()
            return b""
        tail = self._encoded(_PUSH)
        padding = _padding(self._produced)
        self.reset()
        return tail + padding

    def reset(self) -> None:
        """A barge-in: as fresh, nothing of the old answer is left."""
        self._downsampler.reset()
        self._half = b""
        self._produced = 0

    def _encoded(self, samples: NDArray[np.int16]) -> bytes:
        ulaw = g711.encode_sums(self._downsampler.sums(samples))
        self._produced += len(ulaw)
        return ulaw


class Straight:
    """µ-law on both sides: bytes pass as they are, without delay. Serves either way, one object for each."""

    __slots__ = ("_produced",)

    delay_ms: Final = 0.0
    model_bytes_per_ms: Final = ULAW_BYTES_PER_MS

    def __init__(self) -> None:
        self._produced = 0

    def process(self, ulaw: bytes, /) -> bytes:
        """The bytes themselves."""
        self._produced += len(ulaw)
        return ulaw

    __call__ = process

    def flush(self) -> bytes:
        """Silence until the answer is whole frames; empty if it is already."""
        padding = _padding(self._produced)
        self._produced = 0
        return padding

    def reset(self) -> None:
        """As fresh."""
        self._produced = 0
