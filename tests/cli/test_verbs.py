"""The command line: help that teaches, errors in a sentence, and each far side alone."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import typer
from openai import AsyncOpenAI
from twilio.rest import Client
from typer.testing import CliRunner

from voice_gateway.cli.emulate import read_faults
from voice_gateway.cli.verbs import app
from voice_gateway.emulator.faults import Faults
from voice_gateway.errors import GatewayError

BARE = {
    **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
    "PATH": os.environ["PATH"],
    "COLUMNS": "100",
}


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
    "verb",
    [
        [],
        ["serve"],
        ["mcp"],
        ["demo"],
        ["call"],
        ["clips"],
        ["replay"],
        ["timeline"],
        ["emulate"],
        ["emulate", "model"],
        ["emulate", "text"],
        ["emulate", "carrier"],
        ["migrate"],
        ["erase"],
        ["menu"],
        ["outbox"],
    ],
)
def test_every_verb_explains_itself(verb: list[str]) -> None:
    result = CliRunner().invoke(app, [*verb, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert verb in ([], ["serve"], ["emulate"]) or "Example:" in result.output


def test_help_keeps_brackets_and_fills_its_lines() -> None:
    told = CliRunner().invoke(app, ["erase", "--help"], env={"COLUMNS": "80"}).output
    assert "replaced by [erased]" in " ".join(told.split())
    assert "Supabase and its Storage. Their calls go" in told, "a paragraph breaks where the terminal does"


async def test_settings_that_cannot_be_used_are_told_in_sentences_without_a_traceback(tmp_path: Path) -> None:
    code, _, err = await run("serve", cwd=tmp_path, PORT="many", OPENAI_API_KEY="sk-secret value with spaces")
    assert code == 2
    assert 'PORT holds "many"' in err
    assert "Traceback" not in err
    assert "sk-secret" not in err


async def test_check_shows_the_settings_and_what_is_missing_but_no_secret(tmp_path: Path) -> None:
    code, out, err = await run("serve", "--check", cwd=tmp_path, TWILIO_AUTH_TOKEN="0123456789abcdef")
    assert code == 1, "no call could be served"
    assert len(out.splitlines()) < 60, "what is as it comes is not shown"
    assert "no call is served" in err
    assert "TWILIO_AUTH_TOKEN=set, 16 characters" in out
    assert "0123456789abcdef" not in out + err
    assert "OPENAI_API_KEY is not set" in err
    whole = {
        "OPENAI_API_KEY": "any",
        "TWILIO_AUTH_TOKEN": "0123456789abcdef",
        "PUBLIC_BASE_URL": "https://gateway.example",
    }
    code, _, _ = await run("serve", "--check", cwd=tmp_path, **whole)
    assert code == 0


async def test_check_lists_every_tool_and_where_it_stands(tmp_path: Path) -> None:
    whole = {
        "OPENAI_API_KEY": "any",
        "TWILIO_AUTH_TOKEN": "0123456789abcdef",
        "PUBLIC_BASE_URL": "https://gateway.example",
    }
    example = Path(__file__).parents[2] / "examples/delivery.py"
    code, out, err = await run("serve", "--check", cwd=tmp_path, TOOLS_MODULES=str(example), **whole)
    assert code == 0, err
    told = {line.split()[0]: line for line in out.partition("\nTools\n")[2].splitlines() if line.strip()}
    assert "the house" in told["lookup_menu"]
    assert "One moment, I am asking our couriers." in told["order_courier"]
    assert "examples/delivery.py" in told["order_courier"]
    (tmp_path / "twice.py").write_text(
        "from voice_gateway.agent.tools import tool\n@tool\ndef end_call() -> None:\n    'End.'\n"
    )
    code, _, err = await run("serve", "--check", cwd=tmp_path, TOOLS_MODULES="twice.py", **whole)
    assert code == 2
    assert "two tools are named end_call" in err
    assert "twice.py:2" in err
    assert "Traceback" not in err


async def test_check_shows_who_answers_and_what_is_doubtful_in_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "porter.toml").write_text(
        'name = "Porter"\ninstructions = "You open doors."\nvoice = "basso"\nmodel = "gpt-realtime"\n'
        'reasoning_effort = "low"\nlanguages = ["en", "fr"]\n[limits]\nmax_call_seconds = 7200\n'
    )
    _, out, err = await run("serve", "--check", cwd=tmp_path, PERSONAS_DIR="own")
    (row,) = [line for line in out.splitlines() if line.strip().startswith("porter")]
    assert row.split()[1:6] == ["basso", "gpt-realtime,", "low", "en,", "fr"]
    assert "3600 s" in row
    for doubt in (
        "persona porter: voice is basso, which is none of alloy, ",
        "persona porter: model is gpt-realtime, which is shut down on 2027-01-20. Use gpt-realtime-2.1.",
        "persona porter: reasoning_effort is low, but gpt-realtime does not reason; it is left out.",
        "persona porter: limits.max_call_seconds is above MAX_CALL_SECONDS, and 3600 counts.",
        "The price list has no price for gpt-realtime",
    ):
        assert doubt in err


async def test_an_unknown_persona_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    code, _, err = await run("serve", cwd=tmp_path, DEFAULT_PERSONA="astronaut")
    assert code == 2
    assert "DEFAULT_PERSONA is astronaut; there are bartender, " in err


def test_check_shows_which_route_leads_to_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "routes.toml").write_text(
        '[[route]]\npersona = "cfo"\nto = ["+15550100002", "sip:cfo@*"]\nlanguage = "fr"\npercent = 20\n'
    )
    out = CliRunner().invoke(app, ["serve", "--check"], env={"ROUTES_FILE": "routes.toml"}).stdout
    rows = [line.split() for line in out.partition("\nWho answers\n")[2].partition("\n\n")[0].splitlines()]
    assert rows[1:] == [
        ["+1555***0002,", "sip:cfo@*", "anybody", "fr", "20", "%", "cfo"],
        ["any", "other", "anybody", "any", "100", "%", "waiter"],
    ]


async def test_what_is_missing_is_told_once_with_what_will_not_work(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, out, _ = await run("serve", "--port", str(taken.getsockname()[1]), cwd=tmp_path)
    told = [line for line in map(json.loads, out.splitlines()) if line["msg"] == "config.missing"]
    assert len(told) == 1
    for word in ("OPENAI_API_KEY", "TWILIO_AUTH_TOKEN", "PUBLIC_BASE_URL"):
        assert word in told[0]["detail"]
    assert "no call is served" in told[0]["effect"]


@pytest.mark.parametrize(
    ("verb", "word"),
    [
        (["migrate"], "DATABASE_URL is not set"),
        (["mcp", "--servers"], "MCP_SERVERS_FILE is not set"),
        (["serve", "--env-file", "none"], "--env-file names none, which is not there"),
        (["outbox", "--env-file", "none"], "--env-file names none, which is not there"),
    ],
)
def test_what_a_verb_lacks_is_no_setting_that_cannot_be_used(
    verb: list[str], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, verb).exception
    assert isinstance(told, GatewayError)
    assert str(told).startswith(word)


async def test_a_port_that_is_taken_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for verb in (["serve"], ["emulate", "model", "--tones"], ["emulate", "carrier"]):
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


async def test_a_call_to_nowhere_says_where_it_ended(tmp_path: Path) -> None:
    code, _, err = await run("call", "http://127.0.0.1:1", cwd=tmp_path)
    assert code == 1
    assert "No conversation came about: no connection" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["call", "127.0.0.1:8787"], "is no address to call"),
        (["call", "http://127.0.0.1:1", "--wav-in", "absent.wav"], "absent.wav cannot be opened"),
        (["call", "http://127.0.0.1:1", "--scenario", "opera"], "there is no scenario 'opera'; there are menu"),
        (["call", "http://127.0.0.1:1", "--scenario", "menu", "--say", "x"], "give one of --scenario, --say"),
        (["demo", "--scenario", "menue"], "there is no scenario 'menue'; there are menu"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_sentence(options: list[str], told: str, tmp_path: Path) -> None:
    code, _, err = await run(*options, cwd=tmp_path)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


@asynccontextmanager
async def emulate(far_side: str, tmp_path: Path, *options: str, until: str) -> AsyncIterator[list[str]]:
    """`voice-gateway emulate ...` as a process; gives the lines it prints, once one holds `until`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "voice_gateway", "emulate", far_side, "--port", "0", *options,
        cwd=tmp_path, env=BARE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(30):
            while not (lines and until in lines[-1]):
                lines.append((await process.stdout.readline()).decode())
            yield lines
            process.send_signal(signal.SIGINT)
            lines += (await process.stdout.read()).decode().splitlines()
            await process.wait()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_official_client_talks_to_the_emulated_model(tmp_path: Path) -> None:
    async with emulate("model", tmp_path, "--tones", "--say", "Good evening.", until="Ctrl-C") as lines:
        base_url = re.findall(r'base_url="([^"]+)"', "".join(lines))[0]
        client = AsyncOpenAI(base_url=base_url, api_key="any")
        async with client.realtime.connect(model="gpt-realtime-2.1") as connection:
            text = {"type": "input_text", "text": "Hello?"}
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": [text]})
            await connection.response.create(response={"output_modalities": ["text"]})
            async for event in connection:
                if event.type == "response.done":
                    break
        assert event.response.status == "completed"
        assert event.response.output[0].content[0].text == "Good evening."
        await client.close()
        await asyncio.sleep(0.3)  # so that the process has told of it
    told = [line.split(maxsplit=3)[3] for line in lines if " session 1 " in line]
    assert told[0].endswith("begins")
    assert told[1:] == ["was typed to: Hello?", "writes: Good evening.", "is over"]


async def test_twilios_client_rings_a_telephone_at_the_emulated_carrier(tmp_path: Path) -> None:
    token = "0123456789abcdef0123456789abcdef"
    async with emulate("carrier", tmp_path, "--auth-token", token, until="Ctrl-C") as lines:
        client = Client("AC" + "0" * 32, token)
        client.api.base_url = re.findall(r"http://[\d.:]+", lines[1])[0]
        twiml = "<Response><Pause length='0'/><Hangup/></Response>"
        create = partial(client.calls.create, to="+15550100003", from_="+15550100002", twiml=twiml)
        placed = await asyncio.to_thread(create)
        await asyncio.sleep(0.3)
    told = [line for line in lines if f"call {placed.sid[-4:]}" in line]
    assert f"{placed.sid} rings at +1555***0003" in told[0]
    assert "over: completed" in told[1]
    assert token not in "".join(lines), "only a token that was made up here is shown"


def test_faults_are_read_by_name() -> None:
    assert read_faults(["wrong_format", "close_after_s=5", "refuse_code=invalid_api_key"], Faults) == Faults(
        wrong_format=True, close_after_s=5, refuse_code="invalid_api_key"
    )


@pytest.mark.parametrize(
    "word", ["nonsense", "close_code=soon", "fail_response", "close_after_s=abc", "handshake_status=hello"]
)
def test_a_fault_that_cannot_be_had_is_told(word: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_faults([word], Faults)


async def test_a_script_that_is_none_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "script.json").write_text('["Hello.", {"says": "x"}]')
    code, _, err = await run("emulate", "model", "--tones", "--port", "0", "--script", "script.json", cwd=tmp_path)
    assert code == 2
    assert "--script script.json: entry 2 is no response" in " ".join(err.split())
    assert "Traceback" not in err
