from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.audio import g711
from voice_gateway.audio.fade import FADE_SAMPLES, fade_in


@given(st.binary(max_size=400))
def test_a_fade_keeps_the_length_and_leaves_all_after_its_5_ms_alone(ulaw: bytes) -> None:
    faded = fade_in(ulaw)
    assert len(faded) == len(ulaw)
    assert faded[FADE_SAMPLES:] == ulaw[FADE_SAMPLES:]
    before, after = np.abs(g711.decode(ulaw).astype(int)), np.abs(g711.decode(faded).astype(int))
    assert (after <= before).all()


@pytest.mark.parametrize("size", [8, 20, 40, 160])
def test_a_fade_rises_from_silence_without_a_step(size: int) -> None:
    loud = g711.encode(np.full(size, 16_000, np.int16))
    rise = g711.decode(fade_in(loud)).astype(int)
    assert rise[0] == 0
    assert (np.diff(rise) >= 0).all()
    assert np.diff(rise).max() <= 16_000 * np.pi / 2 / min(size, FADE_SAMPLES) + 1024, "and the step of the code there"
