"""The bench for barge-in: its emulated calls are calls."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from bench import line_sounds as sounds
from bench.barge_in import Call, silence_after, weather_of

LINE = argparse.Namespace(one_way_ms=50, jitter_ms=0, jitter_buffer_ms=60)


def a_call(word_at: float | None = None) -> Call:
    chance = np.random.default_rng(1)
    ours = sounds.to_ulaw(sounds.noise(chance, 6.0, -30))
    return Call(weather_of(LINE), sounds.noise(chance, 5.0, -60), ours, word_at=word_at).run()


def test_the_ear_falls_silent_one_way_after_the_models_word() -> None:
    call = a_call(word_at=2.3)
    assert call.cleared == [pytest.approx(2.3)]
    assert silence_after(call, 2.0) == pytest.approx(0.35, abs=0.001)


def test_where_nobody_interrupts_our_voice_is_heard_without_a_pause() -> None:
    call = a_call()
    assert call.cleared == []
    assert silence_after(call, 2.0) is None
    heard = sum(segment.length for segment in call.line.played(call.now) if segment.audible) / 8000
    begun = 0.5 + 2 * 0.05 + 0.06
    assert heard == pytest.approx(call.now - begun, abs=0.025), "all the time from its first sound on"
