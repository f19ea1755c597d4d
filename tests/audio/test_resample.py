"""The two streaming filters, measured with tones, impulses and speech, and against their own definition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.audio import resample
from voice_gateway.audio.resample import Downsampler, Upsampler

if TYPE_CHECKING:
    from conftest import Bench, Samples

PASSBAND = np.linspace(300, 3400, 32)
ALIASING = np.linspace(4500, 11_000, 32)


def decibels(ratio: float) -> float:
    return 20 * math.log10(max(ratio, 1e-9))


def noise(count: int, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).integers(-32768, 32768, count).astype(np.int16)


def in_pieces(resampler: Upsampler | Downsampler, samples: Samples, sizes: list[int]) -> Samples:
    """Feed the samples in pieces of these sizes, then what is left."""
    cuts = np.cumsum(sizes).tolist()
    return np.concatenate(
        [resampler.process(piece) for piece in np.split(samples, [c for c in cuts if c < len(samples)])]
    )


# --- time -------------------------------------------------------------------------------------------------------


def test_every_frame_comes_out_whole_from_the_first_on() -> None:
    up, down = Upsampler(), Downsampler()
    phone, model = noise(160), noise(480)
    assert {up.process(phone).size for _ in range(1000)} == {480}
    assert {down.process(model).size for _ in range(1000)} == {160}


def test_an_impulse_comes_out_three_milliseconds_later_both_ways() -> None:
    impulse = np.zeros(480, np.int16)
    impulse[0] = 30_000
    assert np.argmax(Upsampler().process(impulse)) == 72
    assert np.argmax(Downsampler().process(impulse)) == 24
    assert resample.FILTER_DELAY_MS == 72 / 24 == 24 / 8


def test_the_phase_is_linear() -> None:
    impulse = np.zeros(200, np.int16)
    impulse[0] = 30_000
    up = Upsampler().process(impulse)
    assert (up[:145] == up[144::-1]).all()
    assert up[:145].any()
    assert not up[145:].any()


# --- frequency --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tone_hz", PASSBAND)
def test_the_telephone_band_is_flat_within_a_twentieth_of_a_decibel(lab: Bench, tone_hz: float) -> None:
    up = Upsampler().process(lab.sine(tone_hz, 8000, 20_000))
    down = Downsampler().process(lab.sine(tone_hz, 24_000, 20_000))
    assert abs(decibels(lab.fit(up, tone_hz, 24_000).amplitude / 20_000)) <= 0.05
    assert abs(decibels(lab.fit(down, tone_hz, 8000).amplitude / 20_000)) <= 0.05


@pytest.mark.parametrize("tone_hz", PASSBAND)
def test_images_lie_75_decibels_below_the_tone(lab: Bench, tone_hz: float) -> None:
    up = Upsampler().process(lab.sine(tone_hz, 8000, 30_000))
    assert lab.fit(up, tone_hz, 24_000).sinad_db >= 75


@pytest.mark.parametrize("tone_hz", ALIASING)
def test_aliases_lie_75_decibels_below_the_tone(lab: Bench, tone_hz: float) -> None:
    tone = lab.sine(tone_hz, 24_000, 30_000)
    assert decibels(lab.rms(Downsampler().process(tone)[400:]) / lab.rms(tone)) <= -75


@pytest.mark.parametrize("level", [1, 7, 12_345, 32_767, -1, -32_768])
def test_a_constant_passes_exactly(level: int) -> None:
    constant = np.full(600, level, np.int16)
    assert (Upsampler().process(constant)[144:] == level).all()
    assert (Downsampler().process(constant)[48:] == level).all()


def test_speech_goes_up_as_an_ideal_filter_would_take_it(lab: Bench, speech: Samples) -> None:
    phone = resample.convert(speech, 24_000, 8000)
    spread = np.zeros(3 * phone.size)
    spread[::3] = 3 * phone.astype(np.float64)
    ideal = through_ideal_lowpass(spread)
    up = Upsampler().process(np.append(phone, np.zeros(24, np.int16)))[72:]
    assert decibels(lab.rms(lab.below(ideal, 3400, 24_000)) / lab.rms(lab.below(up - ideal, 3400, 24_000))) >= 70


def test_speech_goes_down_as_an_ideal_filter_would_take_it(lab: Bench, speech: Samples) -> None:
    ideal = through_ideal_lowpass(speech.astype(np.float64))[::3]
    down = Downsampler().process(np.append(speech, np.zeros(72, np.int16)))[24:]
    assert decibels(lab.rms(lab.below(ideal, 3400, 8000)) / lab.rms(lab.below(down - ideal, 3400, 8000))) >= 70


def through_ideal_lowpass(sound: np.ndarray) -> np.ndarray:
    """Half the telephone's rate as the edge, 600 lobes to each side: far sharper than anything under test."""
    time = np.arange(-1800, 1801) / 3
    taps = np.sinc(time) / 3 * np.kaiser(time.size, 12)
    return np.convolve(sound, taps)[1800:-1800]


# --- exactness --------------------------------------------------------------------------------------------------


def test_up_is_the_convolution_with_its_taps() -> None:
    phone = noise(500)
    spread = np.zeros(1500)
    spread[::3] = phone
    expected = np.convolve(spread, resample._up_taps())[:1500]
    assert (Upsampler().process(phone) == np.rint(expected.clip(-32768, 32767))).all()


def test_down_is_the_convolution_with_its_taps() -> None:
    model = noise(1502)
    expected = np.convolve(model.astype(np.float64), resample._down_taps())[:1502:3]
    assert (Downsampler().process(model) == np.rint(expected.clip(-32768, 32767))).all()


def test_all_taps_are_exact_so_no_sum_is_ever_rounded() -> None:
    for taps in (resample._up_taps(), resample._down_taps()):
        assert (taps * 2**20 == np.rint(taps * 2**20)).all()
        assert np.abs(taps).sum() * 32_768 * 2**20 < 2**53


def test_the_gain_for_a_constant_is_exactly_one_in_every_phase() -> None:
    assert [resample._up_taps()[phase::3].sum() for phase in range(3)] == [1.0, 1.0, 1.0]
    assert resample._down_taps().sum() == 1.0


@settings(max_examples=60)
@given(st.lists(st.integers(0, 999), max_size=12), st.integers(0, 2**32 - 1))
def test_any_chunking_gives_the_same_sound_bit_by_bit(sizes: list[int], seed: int) -> None:
    samples = noise(6000, seed)
    assert (in_pieces(Upsampler(), samples, sizes) == Upsampler().process(samples)).all()
    assert (in_pieces(Downsampler(), samples, sizes) == Downsampler().process(samples)).all()


def test_one_sample_at_a_time_gives_the_same_sound() -> None:
    samples = noise(301)
    assert (in_pieces(Upsampler(), samples, [1] * 301) == Upsampler().process(samples)).all()
    assert (in_pieces(Downsampler(), samples, [1] * 301) == Downsampler().process(samples)).all()


def test_seconds_at_once_are_the_same_as_frames() -> None:
    phone, model = noise(8 * 1010), noise(24 * 1010)
    assert (in_pieces(Upsampler(), phone, [160] * 60) == Upsampler().process(phone)).all()
    assert (in_pieces(Downsampler(), model, [480] * 60) == Downsampler().process(model)).all()


def test_after_a_reset_nothing_is_left() -> None:
    for resampler, fresh in ((Upsampler(), Upsampler()), (Downsampler(), Downsampler())):
        resampler.process(noise(1001))
        resampler.reset()
        quiet = np.zeros(480, np.int16)
        assert not resampler.process(quiet).any()
        resampler.reset()
        assert (resampler.process(noise(997, 2)) == fresh.process(noise(997, 2))).all()


def test_an_overshoot_is_limited_and_does_not_wrap() -> None:
    taps = resample._up_taps()[1::3]
    worst = np.where(taps[::-1] > 0, 32_767, -32_768).astype(np.int16)
    up = Upsampler().process(worst)
    assert up[3 * (worst.size - 1) + 1] == 32_767
    taps = resample._down_taps()
    worst = np.where(taps[::-1] > 0, 32_767, -32_768).astype(np.int16)
    assert Downsampler().process(worst)[-1] == 32_767
    assert Downsampler().process(~worst)[-1] == -32_768


def test_nothing_in_is_nothing_out() -> None:
    nothing = np.zeros(0, np.int16)
    assert Upsampler().process(nothing).size == 0
    assert Downsampler().process(nothing).size == 0


# --- whole signals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("from_hz", "to_hz"), [(48_000, 24_000), (44_100, 8000), (8000, 24_000), (22_050, 24_000)])
def test_a_whole_signal_keeps_its_length_its_tone_and_its_place(lab: Bench, from_hz: int, to_hz: int) -> None:
    tone = lab.sine(1020, from_hz, 20_000)
    converted = resample.convert(tone, from_hz, to_hz)
    assert abs(converted.size - tone.size * to_hz / from_hz) <= 1
    expected = lab.sine(1020, to_hz, 20_000)[: converted.size]
    middle = slice(to_hz // 10, -to_hz // 10)
    assert np.abs(converted[: expected.size][middle].astype(int) - expected[middle]).max() <= 2


def test_conversion_adds_nothing_to_silence() -> None:
    assert not resample.convert(np.zeros(4410, np.int16), 44_100, 24_000).any()


def test_conversion_keeps_the_channels_apart(lab: Bench) -> None:
    left = lab.sine(440, 48_000, 9000)
    both = resample.convert(np.column_stack((left, np.zeros_like(left))), 48_000, 8000)
    assert both.ndim == 2
    assert (both[:, 0] == resample.convert(left, 48_000, 8000)).all()
    assert not both[:, 1].any()


def test_conversion_limits_what_overshoots() -> None:
    square = np.where(np.arange(4800) // 40 % 2, -32_768, 32_767).astype(np.int16)
    converted = resample.convert(square, 48_000, 24_000).astype(int)
    assert (converted.reshape(-1, 20)[2:-2].std(axis=1) < 9000).all()


def test_the_same_rate_is_a_copy() -> None:
    samples = noise(100)
    copy = resample.convert(samples, 8000, 8000)
    assert (copy == samples).all()
    assert not np.shares_memory(copy, samples)
