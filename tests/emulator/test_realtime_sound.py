"""Sound at the emulated model: formats, the buffer, and who speaks."""

from __future__ import annotations

import os
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.emulator.realtime_sound import Format, InputBuffer
from voice_gateway.emulator.realtime_vad import EnergyVad, Started, Stopped

PCM = Format.of({"type": "audio/pcm", "rate": 24000})
PCMU = Format.of({"type": "audio/pcmu"})
PCMA = Format.of({"type": "audio/pcma"})
RNG = np.random.default_rng(5)
ORDERS = Path(os.environ.get("VOICE_GATEWAY_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data/orders"


def hum(seconds: float, level: float, rate_hz: int = 8000) -> np.ndarray:
    return (level * 32767 * np.sin(np.arange(round(seconds * rate_hz)) * 2 * np.pi * 300 / rate_hz)).astype(np.int16)


# --- formats ----------------------------------------------------------------------------------------------------


def test_bytes_per_millisecond_are_those_of_the_protocol():
    assert [sound.bytes_per_ms for sound in (PCM, PCMU, PCMA)] == [48, 8, 8]


@pytest.mark.parametrize("sound", [PCMU, PCMA], ids=["u", "a"])
def test_every_byte_of_g711_survives_the_way_through_samples(sound):
    codes = bytes(range(256))
    back = sound.encode(sound.decode(codes), 8000)
    # The µ-law has two zeros; one of them is enough.
    assert {(code, there) for code, there in zip(codes, back, strict=True) if code != there} <= {(0x7F, 0xFF)}


@pytest.mark.parametrize(
    ("sample", "code"), [(0, 0xD5), (-1, 0x55), (8, 0xD5), (1000, 0xFA), (32767, 0xAA), (-32768, 0x2A), (-1000, 0x7A)]
)
def test_a_law_agrees_with_known_values(sample, code):
    assert PCMA.encode(np.array([sample], dtype=np.int16), 8000) == bytes([code])


def test_a_law_is_never_further_off_than_half_a_step():
    samples = np.arange(-32768, 32768, dtype=np.int32)
    back = PCMA.decode(PCMA.encode(samples.astype(np.int16), 8000)).astype(np.int32)
    step = np.maximum(16, 2 ** np.floor(np.log2(np.maximum(np.abs(samples), 1))).astype(int) // 16)
    assert (np.abs(back - samples) <= step // 2 + 1).all()


@pytest.mark.parametrize("sound", [PCMU, PCMA, PCM], ids=["u", "a", "pcm"])
def test_speech_comes_out_as_it_went_in(sound):
    tone = hum(0.5, 0.3, 24000)
    back = sound.decode(sound.encode(tone, 24000)).astype(float)
    assert len(back) == 0.5 * sound.rate_hz
    expected = hum(0.5, 0.3, sound.rate_hz).astype(float)
    middle = slice(len(back) // 4, -len(back) // 4)
    error = np.sqrt(np.mean((back[middle] - expected[middle]) ** 2)) / np.sqrt(np.mean(expected[middle] ** 2))
    assert error < 0.03


# --- the buffer -------------------------------------------------------------------------------------------------


@given(
    pieces=st.lists(st.binary(max_size=400).map(lambda data: data[: len(data) // 8 * 8]), max_size=12),
    forget_ms=st.integers(0, 120),
    start_ms=st.integers(0, 200),
    length_ms=st.integers(0, 100),
)
def test_a_slice_is_what_was_written_there_unless_it_was_forgotten(pieces, forget_ms, start_ms, length_ms):
    buffer = InputBuffer(PCMU)
    for piece in pieces:
        buffer.append(piece)
    buffer.forget(forget_ms)
    written = b"".join(pieces)
    assert buffer.written_ms == len(written) // 8
    kept_from = min(max(start_ms, forget_ms), (start_ms + length_ms)) * 8
    assert buffer.slice(start_ms, start_ms + length_ms) == written[kept_from : (start_ms + length_ms) * 8]


def test_the_clock_goes_on_in_another_format():
    buffer = InputBuffer(PCM)
    buffer.append(bytes(4800))
    buffer.change_format(PCMU)
    buffer.append(b"\x01" * 800)
    assert buffer.written_ms == 200
    assert buffer.slice(50, 150) == b"\x01" * 400


# --- who speaks -------------------------------------------------------------------------------------------------

TALK = np.concatenate([hum(0.5, 0.0), hum(0.7, 0.3), hum(0.3, 0.0), hum(0.4, 0.2), hum(0.9, 0.0), hum(0.3, 0.3)])


def detector(threshold: float = 0.5, silence_ms: int = 500) -> EnergyVad:
    return EnergyVad(8000, threshold, 300, silence_ms)


def test_a_pause_shorter_than_the_silence_does_not_end_a_turn():
    assert detector().feed(TALK) == [Started(200), Stopped(2400), Started(2500)]


def test_a_shorter_silence_ends_it_earlier():
    assert detector(silence_ms=200).feed(TALK) == [
        Started(200),
        Stopped(1400),
        Started(1400),
        Stopped(2100),
        Started(2500),
    ]


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, len(TALK)), max_size=30))
def test_it_does_not_matter_how_sound_is_cut(cuts):
    vad = detector()
    edges = [0, *sorted(cuts), len(TALK)]
    changes = [change for start, end in pairwise(edges) for change in vad.feed(TALK[start:end])]
    assert changes == detector().feed(TALK)


def test_a_click_is_no_speech():
    click = np.concatenate([hum(0.2, 0.0), hum(0.04, 0.9), hum(0.5, 0.0)])
    assert detector().feed(click) == []


@pytest.mark.parametrize(("threshold", "dbfs"), [(0.0, -50), (0.5, -40), (1.0, -30)])
def test_the_threshold_is_a_level(threshold, dbfs):
    def noise(level_dbfs: float) -> np.ndarray:
        return (RNG.standard_normal(8000) * 32768 * 10 ** (level_dbfs / 20)).astype(np.int16)

    assert detector(threshold).feed(noise(dbfs - 3)) == []
    assert detector(threshold).feed(noise(dbfs + 3)) == [Started(0)]


def test_no_speech_begins_before_a_commit():
    vad = detector()
    vad.feed(hum(1.0, 0.0))
    vad.reset()
    assert vad.feed(hum(0.1, 0.3)) == [Started(1000)]


def test_every_recorded_order_is_one_turn():
    if not ORDERS.is_dir():
        pytest.skip(f"no recorded orders at {ORDERS}: set VOICE_GATEWAY_SHARED to the folder that holds data/orders")
    turns = {}
    for path in sorted(ORDERS.glob("*.wav")):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        changes = detector(silence_ms=600).feed(np.concatenate([samples, np.zeros(8000, np.int16)]))
        turns[path.stem] = sum(isinstance(change, Started) for change in changes)
    assert len(turns) >= 20
    assert sum(count == 1 for count in turns.values()) >= len(turns) - 2, turns
