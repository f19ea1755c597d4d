"""The tones of keys, as a receiver would measure them (ITU-T Q.23, Q.24)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.audio import g711
from voice_gateway.audio.dtmf import HIGH_HZ, KEYS, LONGEST, LOW_HZ, PAUSE_MS, TONE_MS, WAIT_MS, read_digits, tones

EVERY_KEY = "".join(KEYS)


def levels_dbm0(sound: np.ndarray) -> dict[float, float]:
    """How loud each of the eight frequencies is, by a Goertzel filter's sum over the middle of a tone."""
    middle = sound[80:-80]
    seconds = np.arange(len(middle)) / 8000
    window = np.hanning(len(middle))
    found = {}
    for hertz in (*LOW_HZ, *HIGH_HZ):
        amplitude = 2 * abs((middle * window * np.exp(-2j * np.pi * hertz * seconds)).sum()) / window.sum()
        found[hertz] = 20 * np.log10(max(amplitude, 1e-9)) + 3.17
    return found


@pytest.mark.parametrize("key", EVERY_KEY)
def test_a_key_is_its_two_frequencies_at_their_levels_and_nothing_else(key: str) -> None:
    sound = g711.decode(tones(key)).astype(np.float64)[: TONE_MS * 8] / 32768
    levels = levels_dbm0(sound)
    row = next(row for row, keys in enumerate(KEYS) if key in keys)
    low, high = LOW_HZ[row], HIGH_HZ[KEYS[row].index(key)]
    assert levels[low] == pytest.approx(-9, abs=0.3)
    assert levels[high] == pytest.approx(-7, abs=0.3)
    assert max(level for hertz, level in levels.items() if hertz not in (low, high)) < -35


@pytest.mark.parametrize("key", EVERY_KEY)
def test_the_frequency_of_a_tone_is_exact(key: str) -> None:
    """Q.24 asks receivers to take 1.5 %; ours are within a tenth of that, by where the spectrum's peak is."""
    sound = g711.decode(tones(key)).astype(np.float64)[: TONE_MS * 8]
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 17))
    hertz = np.fft.rfftfreq(1 << 17, 1 / 8000)
    row = next(row for row, keys in enumerate(KEYS) if key in keys)
    for wanted, low, high in ((LOW_HZ[row], 600, 1075), (HIGH_HZ[KEYS[row].index(key)], 1075, 1800)):
        band = (hertz > low) & (hertz < high)
        assert hertz[band][power[band].argmax()] == pytest.approx(wanted, rel=0.0015)


def test_tones_and_pauses_are_long_enough_for_any_receiver() -> None:
    loud = np.flatnonzero(np.abs(g711.decode(tones("5w5")).astype(int)) > 300)
    after = int(np.diff(loud).argmax())
    first, pause, last = loud[after] - loud[0], loud[after + 1] - loud[after], loud[-1] - loud[after + 1]
    assert min(first, last) / 8 >= TONE_MS - 2
    assert pause / 8 >= PAUSE_MS + WAIT_MS["w"]
    assert np.diff(loud)[:after].max() / 8 < 5, "no hole in the tone itself"


def test_a_tone_begins_and_ends_without_a_click() -> None:
    sound = np.concatenate((np.zeros(400), g711.decode(tones("1")).astype(np.float64), np.zeros(400)))
    power = np.square(np.abs(np.fft.rfft(sound)))
    hertz = np.fft.rfftfreq(len(sound), 1 / 8000)
    assert 10 * np.log10(power[hertz > 2500].sum() / power.sum()) < -30
    assert np.abs(g711.decode(tones("1"))).max() < 32124, "never limited"


@given(st.text(alphabet=EVERY_KEY + "abcdwW, -.()", max_size=80))
def test_what_can_be_read_can_be_played(text: str) -> None:
    try:
        digits = read_digits(text)
    except ValueError:
        return
    keys = sum(key not in WAIT_MS for key in digits)
    assert len(tones(digits)) == 8 * (keys * (TONE_MS + PAUSE_MS) + sum(WAIT_MS.get(key, 0) for key in digits))


@pytest.mark.parametrize("text", ["", "  ", "12e", "1" * (LONGEST + 1), "٣", "1\n;2", "call"])
def test_what_is_no_key_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="digits are 1 to 64 of 0-9"):
        read_digits(text)


def test_people_write_numbers_in_groups() -> None:
    assert read_digits(" 07 88-12.34 #a") == "07881234#A"
