"""`voice-gateway replay`: a call over real sockets is traced, and led again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from typer.testing import CliRunner
from whole_calls import Staging, log, record_of, speech, staging

from voice_gateway.cli.verbs import app
from voice_gateway.emulator.faculties import UseTool
from voice_gateway.emulator.scenarios import TypedEar, When
from voice_gateway.trace.notes import read

__all__ = ["log", "staging"]

LONG = "We have cappuccino, african coffee, passion fruit juice, grilled tilapia, brochettes, and much more to offer."


async def traced_call(staging: Staging, folder: Path) -> Path:
    replies = ["Welcome!", When("menu", (UseTool("lookup_menu", {"query": "coffee"}),)), LONG, "Goodbye!"]
    ear = TypedEar(["What is on the menu?", "Stop."])
    async with staging(replies, ear=ear, settings={"TRACE_DIR": str(folder)}) as running:
        call = await running.carrier.dial(running.webhook_url, from_number="+15550100001")
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.4)
        await call.say(speech(0.8), 8000)
        await call.until_heard(1.0)
        await call.say(speech(0.6), 8000)
        call.press("4")
        await call.until_quiet(0.6)
        await call.hang_up()
        await record_of(running, call)
        metrics, _ = running.gateway.metrics.render()
    (file,) = folder.iterdir()  # noqa: ASYNC240 - nobody waits
    assert call.call_sid in file.name
    assert b"voice_traces_total" in metrics
    return file


async def test_a_whole_call_is_replayed_equal_and_a_change_is_shown(staging: Staging, tmp_path: Path) -> None:
    file = await traced_call(staging, tmp_path / "traces")
    trace = read(file)
    assert "+15550100001" not in file.read_text()
    kinds = {type(note.event).__name__ for note in trace.notes}
    assert kinds >= {"CallerAudio", "AudioReceived", "MarkReached", "SpeechStarted", "ToolFinished", "DigitPressed"}
    result = CliRunner().invoke(app, ["replay", str(file)])
    assert result.exit_code == 0, result.output
    assert "the same today" in result.output

    changed = tmp_path / "changed.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if '"TruncateItem"' in line)
    note = json.loads(lines[at])
    for command in note["do"]:
        if "TruncateItem" in command:
            command["TruncateItem"]["audio_end_ms"] = 5
    lines[at] = json.dumps(note) + "\n"
    changed.write_text("".join(lines))
    result = CliRunner().invoke(app, ["replay", str(file), str(changed)])
    assert result.exit_code == 1
    assert f"at event {at:,} (line {at + 1:,})" in result.output
    assert "audio_end_ms=5" in result.output.replace("\n", "")
    assert "≠" in result.output
    assert "SpeechStarted" in result.output

    result = CliRunner().invoke(app, ["replay", "--accept", str(changed)])
    assert result.exit_code == 0
    assert CliRunner().invoke(app, ["replay", str(changed)]).exit_code == 0
    assert read(changed) == trace


def test_a_packed_trace_is_read_and_accepted_packed(tmp_path: Path) -> None:
    lines = [
        {"trace": 1, "began_at": 0.0, "facts": {"CallFacts": {"call_sid": "CA1"}}, "policy": {"Policy": {}}},
        {"at": 1.0, "event": {"CallerLeft": {"reason": "hangup"}}},
    ]
    path = tmp_path / "call.jsonl.gz"
    path.write_bytes(gzip.compress("".join(f"{json.dumps(line)}\n" for line in lines).encode()))
    assert CliRunner().invoke(app, ["replay", str(path)]).exit_code == 1
    assert CliRunner().invoke(app, ["replay", "--accept", str(path)]).exit_code == 0
    assert CliRunner().invoke(app, ["replay", str(path)]).exit_code == 0
    assert path.read_bytes()[:2] == b"\x1f\x8b"


def test_a_bridge_that_would_have_acted_by_itself_is_not_called_the_same(tmp_path: Path) -> None:
    lines = [
        {"trace": 1, "began_at": 0.0, "facts": {"CallFacts": {"call_sid": "CA1"}}, "policy": {"Policy": {}}},
        {"at": 1.0, "event": {"Woke": {}}},
        {"at": 90_000.0, "event": {"Woke": {}}},
    ]
    path = tmp_path / "call.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert CliRunner().invoke(app, ["replay", "--accept", str(path)]).exit_code == 0
    result = CliRunner().invoke(app, ["replay", str(path)])
    assert result.exit_code == 0
    told = " ".join(result.output.split())
    assert "when today's bridge would have acted by itself" in told
    assert "the same today" not in told


async def test_without_a_folder_nothing_is_wrapped_and_nothing_written(staging: Staging, tmp_path: Path) -> None:
    async with staging() as running:
        assert running.gateway._traces is None
