from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.audio import g711
from voice_gateway.audio.trim import FRAMES_AFTER, FRAMES_BEFORE, trim


def hum(seconds: float, amplitude: float = 8000.0) -> bytes:
    t = np.arange(int(seconds * 8000))
    return g711.encode((amplitude * np.sin(t / 5)).astype(np.int16))


def quiet(seconds: float) -> bytes:
    """As models are silent: not digital zeros, a step of µ-law up and down."""
    return b"\xff\x7e\xfe\x7f" * int(seconds * 2000)


def test_silence_around_a_voice_is_left_out_but_for_a_breath() -> None:
    voice = hum(1.0)
    trimmed = trim(quiet(0.3) + voice + quiet(0.7))
    assert voice in trimmed
    assert len(trimmed) == len(voice) + 160 * (FRAMES_BEFORE + FRAMES_AFTER)


def test_pauses_within_what_is_said_stay() -> None:
    said = hum(0.3) + quiet(0.8) + hum(0.3)
    assert trim(said) == said


def test_a_voice_without_silence_around_it_stays_as_it_is() -> None:
    assert trim(hum(0.5)) == hum(0.5)


def test_a_voice_that_begins_softly_and_fades_is_not_cut() -> None:
    rising = np.concatenate([np.linspace(0, 1, 400), np.ones(4000), np.linspace(1, 0, 1600)])
    voice = g711.encode((6000 * rising * np.sin(np.arange(6000) / 5)).astype(np.int16))
    assert voice in trim(quiet(0.2) + voice + quiet(0.4))


def test_of_silence_nothing_is_left() -> None:
    assert trim(b"") == trim(b"\xff" * 100) == trim(quiet(1.0)) == b""


@given(st.binary(max_size=2000))
def test_what_comes_out_was_there_in_one_piece_and_in_whole_frames(ulaw: bytes) -> None:
    trimmed = trim(ulaw)
    assert len(trimmed) % 160 == 0
    assert trimmed in ulaw + b"\xff" * 159
