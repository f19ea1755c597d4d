"""WAV files of 16-bit samples: prompts in, recordings out."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES: Final = 44
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


def header(frames: int, rate_hz: int, channels: int) -> bytes:
    """The head of a file with so many frames of 16-bit PCM behind it (RIFF/WAVE, format 1); HEADER_BYTES long."""
    frame_bytes = _SAMPLE_BYTES * channels
    size = frames * frame_bytes
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * _SAMPLE_BYTES)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", size + HEADER_BYTES - 8, b"WAVE", b"fmt ", len(form))
        + form
        + (struct.pack("<4sI", b"data", size))
    )
