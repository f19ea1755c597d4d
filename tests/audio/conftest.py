"""Instruments for sound: tones, a least-squares tone meter, band limits, and a short clip of speech.

`peaches.wav` is "Six fresh peaches, please." spoken by hibari-tts 0.2.1 (seed 7, 24 kHz), cut to 1.6 s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from voice_gateway.audio import wav

Samples = NDArray[np.int16]
Sound = NDArray[np.float64]

# The largest µ-law sine is +3.17 dBm0 (ITU-T G.711), its peak at the virtual decision value 8159 of 14 bits.
AMPLITUDE_AT_0_DBM0 = 4 * 8159 * 10 ** (-3.17 / 20)


@dataclass(frozen=True, slots=True)
class Tone:
    """What a least-squares fit of a sine of known frequency finds."""

    amplitude: float
    rest_rms: float

    @property
    def sinad_db(self) -> float:
        return float(20 * np.log10(self.amplitude / np.sqrt(2) / self.rest_rms))


class Bench:
    """The instruments. All sound is 16-bit samples or float64 of the same scale."""

    amplitude_at_0_dbm0 = AMPLITUDE_AT_0_DBM0

    def sine(self, tone_hz: float, rate_hz: int, amplitude: float, seconds: float = 0.5) -> Samples:
        time = np.arange(int(seconds * rate_hz)) / rate_hz
        return np.rint(amplitude * np.sin(2 * np.pi * tone_hz * time)).astype(np.int16)

    def fit(self, sound: Samples | Sound, tone_hz: float, rate_hz: int, skip_seconds: float = 0.05) -> Tone:
        """skip_seconds: left out at the start, where filters fill."""
        sound = np.asarray(sound, np.float64)[int(skip_seconds * rate_hz) :]
        angle = 2 * np.pi * tone_hz * np.arange(sound.size) / rate_hz
        basis = np.column_stack((np.sin(angle), np.cos(angle), np.ones(sound.size)))
        found = np.linalg.lstsq(basis, sound, rcond=None)[0]
        return Tone(float(np.hypot(found[0], found[1])), self.rms(sound - basis @ found))

    def rms(self, sound: Samples | Sound) -> float:
        return float(np.sqrt(np.mean(np.square(np.asarray(sound, np.float64)))))

    def below(self, sound: Samples | Sound, edge_hz: float, rate_hz: int) -> Sound:
        """The part of the sound below an edge, by a brick-wall filter over the whole of it."""
        spectrum = np.fft.rfft(np.asarray(sound, np.float64))
        spectrum[np.fft.rfftfreq(len(sound), 1 / rate_hz) > edge_hz] = 0
        return np.fft.irfft(spectrum, len(sound))


@pytest.fixture(scope="session")
def lab() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def speech() -> Samples:
    """1.6 s of speech at 24 kHz."""
    samples, rate_hz = wav.read(Path(__file__).with_name("peaches.wav"))
    assert rate_hz == 24_000
    return samples
