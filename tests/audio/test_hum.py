"""The sound of thinking: soft, whole in itself, and nowhere a click."""

from __future__ import annotations

import numpy as np
import pytest

from voice_gateway.audio import g711
from voice_gateway.audio.hum import NOTE_MS, PITCHES_HZ, note


def wave(number: int) -> np.ndarray:
    return g711.decode(note(number)).astype(np.float64) / 32768


@pytest.mark.parametrize("number", [0, 1])
def test_a_note_is_much_softer_than_speech_and_loud_enough_for_a_telephone(number: int) -> None:
    sound = wave(number)
    assert len(sound) == NOTE_MS * 8
    assert 20 * np.log10(np.abs(sound).max()) == pytest.approx(-30, abs=0.5)
    assert -48 < 10 * np.log10(np.square(sound).mean()) < -36


@pytest.mark.parametrize("number", [0, 1])
def test_a_note_begins_and_ends_in_silence_without_a_step(number: int) -> None:
    sound = wave(number)
    assert np.abs(sound[:4]).max() < 0.0005
    assert np.abs(sound[-16:]).max() < 0.0005
    steepest = 2 * np.pi * PITCHES_HZ[number] / 8000 * np.abs(sound).max()
    assert np.abs(np.diff(np.concatenate(([0.0], sound, [0.0])))).max() <= 1.2 * steepest, "no step but the wave's own"


@pytest.mark.parametrize("number", [0, 1])
def test_the_energy_of_a_note_is_at_its_pitch_and_not_in_a_click(number: int) -> None:
    sound = np.concatenate((np.zeros(400), wave(number), np.zeros(400)))
    power = np.square(np.abs(np.fft.rfft(sound)))
    hertz = np.fft.rfftfreq(len(sound), 1 / 8000)
    near = power[np.abs(hertz - PITCHES_HZ[number]) < 60].sum()
    far = power[hertz > 1500].sum()
    assert near / power.sum() > 0.95
    assert 10 * np.log10(far / power.sum()) < -28, "what is left up there is µ-law's own"


def test_two_pitches_take_turns() -> None:
    assert note(0) == note(2)
    assert note(0) != note(1)
