"""The demo as a newcomer runs it, judged by its WAV and its database and not by its words alone."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

from voice_gateway.audio import wav
from voice_gateway.trace.notes import read
from voice_gateway.trace.replay import first_difference

RATE_HZ = 8000
HOP_S = 0.02
ONSET_S = 0.06  # the emulated model takes three loud hops in a row for speech
NETWORK_S = 0.1  # there and back
REACTION_S = 0.25


def loudness(samples: np.ndarray) -> np.ndarray:
    """RMS of each 20 ms."""
    whole = samples[: len(samples) // 160 * 160].astype(float).reshape(-1, 160)
    return np.sqrt((whole**2).mean(axis=1))


async def run_demo(folder: Path, *options: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voice_gateway", "demo", *options,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out = (await asyncio.wait_for(process.communicate(), 100))[0].decode()
    return process.returncode, out


@pytest.mark.speech
@pytest.mark.timeout(120)
async def test_the_demo_is_a_clean_call_with_the_interruption_where_it_was(tmp_path: Path) -> None:
    recording, database = tmp_path / "call.wav", tmp_path / "demo.sqlite3"
    code, out = await run_demo(tmp_path, "--wav", str(recording), "--database", str(database))
    assert code == 0, out
    samples, rate_hz = wav.read(recording)
    assert rate_hz == RATE_HZ
    caller, heard = samples[:, 0], samples[:, 1]
    for voice in (caller, heard):
        spoken = loudness(voice)[loudness(voice) > 300]
        assert len(spoken) > 100, "at least two seconds of speech on each side"
        assert 500 < np.median(spoken) < 12000, "the level of speech"
        assert np.abs(voice.astype(int)).max() < 32124, "nothing at full scale, as static would be"
    check_no_static(heard)
    assert holes(heard) == []
    check_the_interruption(out, caller, heard)
    check_the_record(out, database)


def check_no_static(heard: np.ndarray) -> None:
    """Speech has most of its energy low; noise from a wrong format is white."""
    spectrum = np.abs(np.fft.rfft(heard.astype(float))) ** 2
    assert spectrum[: len(spectrum) // 2].sum() / spectrum.sum() > 0.85


def holes(heard: np.ndarray, shortest: int = 40) -> list[float]:
    """Where, in seconds, sound breaks off to digital silence for 5 ms or more and goes on as loud as before."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (heard == 0).astype(int), [0]])))
    return [
        start / RATE_HZ
        for start, end in edges.reshape(-1, 2)
        if end - start >= shortest and min(loudest(heard[start - 40 : start]), loudest(heard[end : end + 40])) > 1500
    ]


def loudest(samples: np.ndarray) -> int:
    return int(np.abs(samples.astype(int)).max(initial=0))


def test_a_hole_in_a_word_is_found() -> None:
    hum = (8000 * np.sin(np.arange(8000) / 5)).astype(np.int16)
    assert holes(hum) == []
    hum[4000:4160] = 0
    assert holes(hum) == [0.5]


def check_the_interruption(out: str, caller: np.ndarray, heard: np.ndarray) -> None:
    """The caller speaks where it says so; our voice falls silent soon after, and stays so until he has finished."""
    told = re.search(r"^ *(\d+\.\d+)  caller .*\(cuts in\)$", out, re.MULTILINE)
    assert told, out
    began = int(float(told[1]) / HOP_S)
    onset = began + int(np.argmax(loudness(caller)[began:] > 300))
    assert onset - began <= 0.4 / HOP_S, "the caller is heard when he is said to cut in"
    listening = loudness(heard) > 200
    assert listening[onset - 10 : onset].any(), "he spoke into our voice"
    silence = onset + int(np.argmax(~listening[onset:]))
    assert (silence - onset) * HOP_S <= ONSET_S + NETWORK_S + REACTION_S
    assert not listening[silence + 20 : silence + 70].any(), "and we are silent for the second in which he speaks"
    assert re.search(r"\d\.\d\d of \d+\.\d\d s were heard", out)


def check_the_record(out: str, database: Path) -> None:
    """What was printed is what stands in the database, but for the numbers."""
    with sqlite3.connect(database) as db:
        ((status, reason, transcript, number),) = db.execute(
            "select status, end_reason, transcript, from_number from calls"
        )
        written = db.execute("select seq, event_type from call_events order by seq").fetchall()
    assert status == "completed"
    assert reason in {"hangup", "end_call"}, "the caller takes his leave, and either hangs up first"
    assert number == "+15550100001"
    assert number not in out, "numbers are masked wherever they are shown"
    printed = re.findall(r"^  (\d+) +\d\d:\d\d:\d\d\.\d{3}  ([A-Z_]+)", out, re.MULTILINE)
    assert [(int(seq), kind) for seq, kind in printed] == written
    assert [kind for _, kind in written[-2:]] == ["CALL_ENDED", "CALL_SUMMARY"]
    kinds = {kind for _, kind in written}
    assert kinds >= {"CALL_STARTED", "TRANSCRIPT_USER", "TRANSCRIPT_ASSISTANT", "TOOL_CALL", "TOOL_RESULT", "BARGE_IN"}
    for turn in transcript.splitlines():
        assert turn in out


@pytest.mark.timeout(90)
async def test_without_the_voice_the_demo_hums_a_scripted_call(tmp_path: Path) -> None:
    code, out = await run_demo(tmp_path, "--tones", "--scenario", "keypad")
    assert code == 0, out
    assert "hums for a voice" in out
    assert "presses 42#" in out
    assert (tmp_path / "var/demo/call.wav").is_file()
    assert (tmp_path / "var/demo/calls.sqlite3").is_file()
    assert "To look at:   var/demo/call.html" in out
    assert "Timeline of a call" in (tmp_path / "var/demo/call.html").read_text()
    assert first_difference(read(tmp_path / "var/demo/call.jsonl")) is None


async def test_a_demo_that_cannot_write_its_database_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    code, out = await run_demo(tmp_path, "--tones", "--database", "taken")
    assert code == 2
    assert "--database taken cannot be used" in out
    assert "Traceback" not in out
