"""What comes over a telephone line besides our own voice: callers, far voices, noise, knocks and keys. All at 8 kHz.

Sound is float64 on the scale of 16-bit samples. Levels are those of active speech, without its pauses.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

from voice_gateway.audio import g711, wav

Sound = NDArray[np.float64]
RATE_HZ = 8000
LEAD_S = 0.1
OURS = (
    "Our cappuccino is made with fresh milk from the hills, and it costs two thousand five hundred francs. Would you "
    "like it small, medium or large? You can also have it with almond milk or oat milk. Let me repeat your order: one "
    "large house coffee with two sugars, one grilled tilapia with fried bananas, and one bottle of sparkling water. Is "
    "there anything else that I can do for you? We are open every day from seven in the morning until ten in the "
    "evening, and on Sundays we serve a brunch with pancakes, fresh fruit, and eggs in any style you like."
)


def our_voice(dbfs: float = -20.0) -> Sound:
    """Half a minute of our own voice."""
    from voice_gateway.emulator.speech import HibariVoice  # noqa: PLC0415 - needs the extra [local]

    spoken = np.concatenate(list(HibariVoice().speak(OURS)))
    return at_level(soxr.resample(spoken.astype(np.float64), 24_000, RATE_HZ), dbfs)


def callers() -> list[Sound]:
    """Real people ordering coffee at -20 dBFS, each from `LEAD_S` before his first sound on.

    Empty where the recordings are not.
    """
    shared = Path(os.environ.get("VOICE_GATEWAY_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    recordings = sorted((shared / "data" / "orders").glob("*.wav"))
    return [at_level(from_first_sound(wav.read(path)[0].astype(np.float64)), -20) for path in recordings]


def levels(sound: Sound, length: int) -> Sound:
    """The level of each stretch of so many samples, in dBFS."""
    whole = sound[: len(sound) // length * length].reshape(-1, length)
    return 10 * np.log10((whole**2).mean(axis=1) / 32768**2 + 1e-12)


def at_level(sound: Sound, dbfs: float) -> Sound:
    loud = levels(sound, 160)
    active = loud[loud > loud.max() - 25]
    return sound * 10 ** ((dbfs - 10 * np.log10((10 ** (active / 10)).mean())) / 20)


def from_first_sound(sound: Sound) -> Sound:
    """From `LEAD_S` before the first 10 ms within 25 dB of the loudest from which on it goes on sounding."""
    loud = levels(sound, 80) > levels(sound, 80).max() - 25
    first = next(k for k in range(len(loud)) if loud[k] and loud[k : k + 6].sum() >= 5)
    lead = round(LEAD_S * RATE_HZ)
    return np.concatenate((np.zeros(lead), sound))[first * 80 :]


def noise(chance: np.random.Generator, seconds: float, dbfs: float, *, pink: bool = False) -> Sound:
    sound = chance.normal(0.0, 1.0, round(seconds * RATE_HZ))
    if pink:
        sound = np.convolve(sound, 0.85 ** np.arange(40))[: len(sound)]
    return sound / sound.std() * 32768 * 10 ** (dbfs / 20)


def babble(chance: np.random.Generator, people: list[Sound], voices: int, seconds: float, dbfs: float) -> Sound:
    """So many people at once, somewhere in the room."""
    length = round(seconds * RATE_HZ)
    chosen = chance.choice(len(people), voices, replace=False)
    mixed = sum(np.roll(np.resize(people[k], length), int(chance.integers(length))) for k in chosen)
    return at_level(np.asarray(mixed), dbfs)


def knocks(chance: np.random.Generator, seconds: float) -> Sound:
    """One a second and a half, as loud as a caller."""
    sound = np.zeros(round(seconds * RATE_HZ))
    for start in range(4000, len(sound) - 800, 12_000):
        sound[start : start + 800] += chance.normal(0, 9000, 800) * np.exp(-np.arange(800) / 120)
    return sound


def keys(seconds: float) -> Sound:
    """Keys of the telephone, 200 ms each, one a second and a half."""
    sound = np.zeros(round(seconds * RATE_HZ))
    time = np.arange(1600) / RATE_HZ
    pairs = [(697, 1209), (770, 1336), (852, 1477), (941, 1336)]
    for k, start in enumerate(range(4000, len(sound) - 1600, 12_000)):
        low, high = pairs[k % len(pairs)]
        sound[start : start + 1600] += 5000 * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * high * time))
    return sound


def coughs(chance: np.random.Generator, seconds: float) -> Sound:
    """Bursts of 300 ms, one a second and a half, as loud as a caller."""
    sound = np.zeros(round(seconds * RATE_HZ))
    fall = np.minimum(np.arange(2400) / 80, 1.0) * np.exp(-np.arange(2400) / 500)
    for start in range(4000, len(sound) - 2400, 12_000):
        rough = np.convolve(chance.normal(0, 1, 2400), [1, -0.5, 0.3, 0.2])[:2400]
        sound[start : start + 2400] += 7000 * rough * fall
    return sound


def to_ulaw(sound: Sound) -> bytes:
    return g711.encode(np.clip(np.rint(sound), -32768, 32767).astype(np.int16))
