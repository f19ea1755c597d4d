"""The command line: help that teaches, errors in a sentence, and each far side alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import typer
from openai import AsyncOpenAI
from typer.testing import CliRunner

from voice_gateway.cli.emulate import read_faults
from voice_gateway.cli.verbs import app
from voice_gateway.emulator.faults import Faults

BARE = {"PATH": os.environ["PATH"], "COLUMNS": "100"}


async def run(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `voice-gateway ...`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voice_gateway", *arguments, cwd=cwd, env=BARE | environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 40)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    "verb", [[], ["serve"], ["demo"], ["call"], ["emulate"], ["emulate", "model"], ["emulate", "carrier"]]
)
def test_every_verb_explains_itself(verb: list[str]) -> None:
    result = CliRunner().invoke(app, [*verb, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert verb in ([], ["serve"], ["emulate"]) or "Example:" in result.output


async def test_settings_that_cannot_be_used_are_told_in_sentences_without_a_traceback(tmp_path: Path) -> None:
    code, _, err = await run("serve", cwd=tmp_path, PORT="many", OPENAI_API_KEY="sk-secret value with spaces")
    assert code == 2
    assert 'PORT holds "many"' in err
    assert "Traceback" not in err
    assert "sk-secret" not in err


async def test_check_shows_the_settings_and_what_is_missing_but_no_secret(tmp_path: Path) -> None:
    code, out, err = await run("serve", "--check", cwd=tmp_path, TWILIO_AUTH_TOKEN="0123456789abcdef")
    assert code == 0
    assert "TWILIO_AUTH_TOKEN=set, 16 characters" in out
    assert "0123456789abcdef" not in out + err
    assert "OPENAI_API_KEY is not set" in err


async def test_an_unknown_persona_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    code, _, err = await run("serve", cwd=tmp_path, DEFAULT_PERSONA="astronaut")
    assert code == 2
    assert "DEFAULT_PERSONA is astronaut; there are waiter" in err


async def test_a_port_that_is_taken_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for verb in (["serve"], ["emulate", "model", "--say", "Hello."], ["emulate", "carrier"]):
            code, _, err = await run(*verb, "--port", port, cwd=tmp_path)
            assert code == 2
            assert "Traceback" not in err
            assert "in use" in err or "taken" in err


async def test_a_record_that_cannot_be_kept_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    code, _, err = await run("serve", cwd=tmp_path, STORE_PATH=str(tmp_path / "file" / "calls.sqlite3"), PORT="0")
    assert code == 2
    assert "STORE_PATH is" in err
    assert "Traceback" not in err


async def test_only_one_kind_of_caller_can_be_asked_for(tmp_path: Path) -> None:
    code, _, err = await run("call", "http://127.0.0.1:1/x", "--say", "a", "--scenario", "menu", cwd=tmp_path)
    assert (code, "one of --say" in err) == (2, True)


async def test_a_call_to_nowhere_says_where_it_ended(tmp_path: Path) -> None:
    code, _, err = await run("call", "http://127.0.0.1:1/twilio/answer", cwd=tmp_path)
    assert code == 2
    assert "before a media stream" in err
    assert "Traceback" not in err


@asynccontextmanager
async def emulated_model(tmp_path: Path, *options: str) -> AsyncIterator[str]:
    """`voice-gateway emulate model` as a process; gives the base URL for the official client."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "voice_gateway", "emulate", "model", "--port", "0", *options,
        cwd=tmp_path, env=BARE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            async for line in process.stdout:
                if b"base_url=" in line:
                    yield line.decode().split('base_url="')[1].split('"')[0]
                    break
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 10)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_official_client_talks_to_the_emulated_model(tmp_path: Path) -> None:
    async with emulated_model(tmp_path, "--say", "Good evening.") as base_url:
        client = AsyncOpenAI(base_url=base_url, api_key="any")
        async with client.realtime.connect(model="gpt-realtime-2.1") as connection:
            await connection.response.create()
            async for event in connection:
                if event.type == "response.done":
                    break
        assert event.type == "response.done"
        assert event.response.status == "completed"
        await client.close()


def test_faults_are_read_by_name() -> None:
    assert read_faults(["wrong_format", "close_after_s=5", "refuse_code=invalid_api_key"]) == Faults(
        wrong_format=True, close_after_s=5, refuse_code="invalid_api_key"
    )


@pytest.mark.parametrize("word", ["nonsense", "close_code=soon", "fail_response", "close_after_s=abc", "handshake_status=hello"])
def test_a_fault_that_cannot_be_had_is_told(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_faults([word])
