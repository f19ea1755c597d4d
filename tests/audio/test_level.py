from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.audio import g711, resample
from voice_gateway.audio.level import Level, quick_dbfs

if TYPE_CHECKING:
    from conftest import Bench, Samples

SECOND_OF_SILENCE = g711.SILENCE * 8000


def level_of(*pieces: bytes) -> Level:
    level = Level()
    for piece in pieces:
        level.add(piece)
    return level


def test_a_call_without_sound_has_no_level() -> None:
    assert level_of().dbfs is None
    assert level_of(SECOND_OF_SILENCE).dbfs is None


def test_the_noise_of_an_idle_line_is_no_speech() -> None:
    noise = g711.encode(np.random.default_rng(1).normal(0, 20, 16_000).astype(np.int16))
    assert -70 < quick_dbfs(noise) < -60
    assert level_of(noise).dbfs is None


@pytest.mark.parametrize("amplitude", [100, 1000, 10_000, 32_000])
def test_a_tone_reads_its_rms(lab: Bench, amplitude: int) -> None:
    level = level_of(g711.encode(lab.sine(1020, 8000, amplitude)))
    assert level.dbfs == pytest.approx(20 * math.log10(amplitude / math.sqrt(2) / 32_768), abs=0.1)


def test_pauses_do_not_lower_the_level_of_speech(lab: Bench) -> None:
    tone = g711.encode(lab.sine(1020, 8000, 8000))
    line_noise = g711.encode(np.random.default_rng(1).normal(0, 20, 16_000).astype(np.int16))
    alone = level_of(tone).dbfs
    assert alone is not None
    assert level_of(SECOND_OF_SILENCE, tone, line_noise, tone, SECOND_OF_SILENCE).dbfs == pytest.approx(alone)


def test_room_noise_far_below_the_speech_does_not_count(lab: Bench) -> None:
    tone = g711.encode(lab.sine(1020, 8000, 16_000))
    room = g711.encode(np.random.default_rng(1).normal(0, 200, 32_000).astype(np.int16))
    assert level_of(room).dbfs == pytest.approx(-44.3, abs=0.2)
    assert level_of(room, tone).dbfs == pytest.approx(level_of(tone).dbfs, abs=0.01)


def test_speech_at_half_the_amplitude_reads_six_decibels_less(speech: Samples) -> None:
    phone = resample.convert(speech, 24_000, 8000)
    loud, quiet = level_of(g711.encode(phone)).dbfs, level_of(g711.encode(phone // 2)).dbfs
    assert loud is not None
    assert quiet is not None
    assert loud - quiet == pytest.approx(6.02, abs=0.3)


@given(st.lists(st.integers(0, 999), max_size=20))
def test_the_pieces_do_not_matter(sizes: list[int]) -> None:
    ulaw = np.random.default_rng(7).bytes(4000)
    cuts = [0, *np.cumsum(sizes).tolist(), 4000]
    pieces = [ulaw[start:end] for start, end in itertools.pairwise(cuts) if start < end]
    assert level_of(*pieces).dbfs == pytest.approx(level_of(ulaw).dbfs)


def test_reading_in_between_changes_nothing() -> None:
    frames = [np.random.default_rng(seed).bytes(100) for seed in range(30)]
    watched = Level()
    for frame in frames:
        watched.add(frame)
        _ = watched.dbfs
    assert watched.dbfs == pytest.approx(level_of(*frames).dbfs)
