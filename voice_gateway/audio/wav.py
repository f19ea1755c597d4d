"""WAV files of 16-bit samples: prompts in, recordings out."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_SAMPLE_BYTES = 2


def read(path: Path | str) -> tuple[NDArray[np.int16], int]:
    """The samples of a file and their rate in Hz.

    The shape is (n,) for one channel and (n, channels) for more.
    Raises ValueError for a file that is not 16-bit PCM, and OSError for one that cannot be opened.
    """
    try:
        with Path(path).open("rb") as file, wave.open(file) as sound:
            channels, sample_bytes, rate_hz = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            data = sound.readframes(sound.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a WAV file of PCM samples ({error}); convert it to 16-bit PCM") from error
    if sample_bytes != _SAMPLE_BYTES:
        raise ValueError(f"{path} has {8 * sample_bytes}-bit samples; convert it to 16-bit PCM")
    whole = len(data) // (_SAMPLE_BYTES * channels) * channels  # a file cut short may end within a sample
    samples = np.frombuffer(data, "<i2", whole).astype(np.int16)
    return (samples if channels == 1 else samples.reshape(-1, channels)), rate_hz


def write(path: Path | str, samples: NDArray[np.int16], rate_hz: int) -> None:
    """Write samples of shape (n,), or (n, channels), as 16-bit PCM. An existing file is replaced."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with Path(path).open("wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(_SAMPLE_BYTES)
        sound.setframerate(rate_hz)
        sound.writeframes(samples.astype("<i2", copy=False).tobytes())
