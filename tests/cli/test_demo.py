"""The demo as a newcomer runs it, judged by its WAV and not by its words alone."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from voice_gateway.audio import wav

RATE_HZ = 8000


def loudness(samples: np.ndarray, frame: int = 160) -> np.ndarray:
    """RMS of each 20 ms."""
    whole = samples[: len(samples) // frame * frame].astype(float).reshape(-1, frame)
    return np.sqrt((whole**2).mean(axis=1))


@pytest.mark.speech
@pytest.mark.timeout(120)
async def test_the_demo_is_a_clean_call_with_the_interruption_where_it_was(tmp_path: Path) -> None:
    recording, database = tmp_path / "call.wav", tmp_path / "demo.sqlite3"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voice_gateway", "demo", "--wav", str(recording), "--database", str(database),
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out = (await asyncio.wait_for(process.communicate(), 100))[0].decode()
    assert process.returncode == 0, out
    samples, rate_hz = wav.read(recording)
    assert rate_hz == RATE_HZ
    caller, heard = samples[:, 0], samples[:, 1]
    for voice in (caller, heard):
        spoken = loudness(voice)[loudness(voice) > 300]
        assert len(spoken) > 100, "at least two seconds of speech on each side"
        assert 500 < np.median(spoken) < 12000, "the level of speech"
        assert np.abs(voice.astype(int)).max() < 32124, "nothing at full scale, as static would be"
    _check_no_static(heard)
    _check_the_interruption(out, caller, heard)
    with sqlite3.connect(database) as db:
        rows = db.execute("select status, end_reason from calls").fetchall()
        kinds = {kind for (kind,) in db.execute("select event_type from call_events")}
    assert rows == [("completed", "hangup")]
    assert {"CALL_STARTED", "TRANSCRIPT_USER", "TRANSCRIPT_ASSISTANT", "TOOL_CALL", "BARGE_IN", "CALL_ENDED"} <= kinds


def _check_no_static(heard: np.ndarray) -> None:
    """Speech has most of its energy low; noise from a wrong format is white."""
    spectrum = np.abs(np.fft.rfft(heard.astype(float))) ** 2
    low = spectrum[: len(spectrum) // 2].sum()
    assert low / spectrum.sum() > 0.85


def _check_the_interruption(out: str, caller: np.ndarray, heard: np.ndarray) -> None:
    """While the caller spoke into the answer, our voice fell silent, and stayed so until he had finished."""
    assert "speaks into the answer" in out
    assert re.search(r"cut in +[\d.]+ s of the answer were heard", out)
    talking, listening = loudness(caller) > 300, loudness(heard) > 200
    both = np.flatnonzero(talking & listening)
    assert len(both) > 0, "the caller spoke into our voice"
    silence = both[0] + np.argmax(~listening[both[0] :])
    quiet = listening[silence : silence + 50]
    overlap_s = (silence - both[0]) * 0.02
    assert overlap_s < 0.9, f"we went on for {overlap_s:.2f} s into the caller's words"
    assert quiet.mean() < 0.1, "and were silent for a second"
