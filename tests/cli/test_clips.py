"""`voice-gateway clips`: what is kept can be seen, and forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from voice_gateway.call.clip import Clip
from voice_gateway.cli.verbs import app
from voice_gateway.store.clips import ClipKey, Clips

KEY = ClipKey.of("waiter", "marin", "gpt-realtime-2.1", "Say hello.")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STORE_PATH", str(tmp_path / "calls.sqlite3"))
    return tmp_path / "greetings"


def run(*options: str) -> str:
    result = CliRunner().invoke(app, ["clips", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_kept_is_shown(folder: Path) -> None:
    assert "No greeting is kept" in run()
    Clips(folder).write(KEY, Clip(b"\x10" * 16_000, "Hello, and welcome!"))
    (folder / "broken.greeting.wav").write_bytes(b"RIFF")
    shown = run()
    assert "waiter, voice marin of gpt-realtime-2.1, 2.0 s" in shown
    assert "Hello, and welcome!" in shown
    assert "cannot be read" in shown


def test_what_is_forgotten_is_gone(folder: Path) -> None:
    Clips(folder).write(KEY, Clip(b"\x10" * 16_000, "Hello, and welcome!"))
    assert "Forgotten: 1." in run("--forget")
    assert list(folder.iterdir()) == []
    assert "Forgotten: 0." in run("--forget")
