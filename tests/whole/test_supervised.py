"""The receptionist asks her supervisor in a whole call; she speaks meanwhile, and when nobody answers."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.agent.personas import BUILT_IN
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.responses_server import ResponsesServer, TextFaults
from voice_gateway.emulator.scenarios import TypedEar
from voice_gateway.emulator.text_mind import AskingMind, TextMind

ASKED = "Hello, is there anything free on Thursday?"


@pytest.fixture
def curt(tmp_path: Path) -> Path:
    """The receptionist as she comes along, with a greeting that takes no time."""
    folder = tmp_path / "personas"
    folder.mkdir()
    text = (BUILT_IN / "receptionist.toml").read_text(encoding="utf-8")
    for name, value in (("greeting", '"Hi."'), ("filler_after_s", "0")):  # however slow this machine is just now
        before = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        text = text.replace(before, f"{name} = {value}")
    (folder / "receptionist.toml").write_text(text, encoding="utf-8")
    return folder


def supervised(server: ResponsesServer, personas: Path) -> dict[str, str]:
    return {
        "DEFAULT_PERSONA": "receptionist",
        "PERSONAS_DIR": str(personas),
        "SUPERVISOR_MODEL": server.model,
        "SUPERVISOR_API_KEY": "text-key",
        "OPENAI_RESPONSES_ENDPOINT": server.url,
        "SUPERVISOR_DEADLINE_SECONDS": "0.5" if server.faults.hang_s else "10",
        "SUPERVISOR_SENTENCE": "Sorry.",
    }


async def called(staging: Staging, server: ResponsesServer, personas: Path) -> tuple[Any, list[dict[str, Any]], str]:
    """A caller asks, and hears two things: the filler, and what comes of it."""
    settings = supervised(server, personas)
    async with staging(mind=AskingMind(RuleMind(), "Wait."), ear=TypedEar([ASKED]), settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.2)
        await call.until_quiet(0.3)
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.5 if server.faults.hang_s else 1.2)  # the filler is 0.3 s long
        if server.faults.hang_s:
            await call.until_quiet(0.4)
        await call.hang_up()
        row, events = await record_of(running, call)
        figures = running.gateway.metrics.render()[0].decode()
    return row, events, figures


async def test_the_supervisor_looks_it_up_while_the_voice_says_wait(
    staging: Staging, curt: Path, log: io.StringIO
) -> None:
    async with ResponsesServer(mind=TextMind(RuleMind()), api_key="text-key") as server:
        row, events, figures = await called(staging, server, curt)
    said = [entry["text"] for entry in payloads(events, "TRANSCRIPT_ASSISTANT")]
    assert said[:2] == ["Hi.", "Wait."]
    (answer,) = [
        json.loads(entry["output"])["say"]
        for entry in payloads(events, "TOOL_RESULT")
        if entry["name"] == "get_next_response_from_supervisor"
    ]
    assert said[2]
    assert answer.startswith(said[2]), "as far as it was heard"
    tools = [(entry["name"], entry["by"]) for entry in payloads(events, "TOOL_CALL")]
    assert tools[0] == ("get_next_response_from_supervisor", "")
    assert ("check_availability", "supervisor") in tools
    assert len(payloads(events, "TOOL_RESULT")) == len(tools)
    (answered,) = payloads(events, "SUPERVISOR_ANSWERED")
    assert (answered["outcome"], answered["model"]) == ("answered", server.model)
    booked = [entry for entry in payloads(events, "RESPONSE_DONE") if entry["purpose"] == "supervisor"]
    assert len(booked) == answered["rounds"] == len(server.requests)
    assert all(entry["cost_usd"] > 0 and entry["model"] == server.model for entry in booked)
    assert row["cost_usd"] >= sum(entry["cost_usd"] for entry in booked)
    told = json.loads(server.requests[0]["input"][0]["content"])
    assert told["transcript"][0] == {"speaker": "assistant", "said": "Hi."}
    assert told["transcript"][1] == {"speaker": "caller", "said": ASKED}
    assert 'voice_supervisor_seconds_count{outcome="answered"} 1.0' in figures
    assert f'direction="output",modality="text",model="{server.model}"' in figures
    assert "Thursday" not in log.getvalue(), "not a word of it is in the log, even at debug"
    assert "supervisor.finished" in log.getvalue()


async def test_a_supervisor_that_hangs_is_not_waited_for(staging: Staging, curt: Path) -> None:
    faults = TextFaults(hang_s=30)
    async with ResponsesServer(mind=TextMind(RuleMind()), api_key="text-key", faults=faults) as server:
        _, events, figures = await called(staging, server, curt)
    said = [entry["text"] for entry in payloads(events, "TRANSCRIPT_ASSISTANT")]
    assert said[:3] == ["Hi.", "Wait.", "Sorry."]
    (answered,) = payloads(events, "SUPERVISOR_ANSWERED")
    assert answered["outcome"] == "deadline"
    assert 500 <= answered["duration_ms"] < 5000
    assert 'voice_supervisor_seconds_count{outcome="deadline"} 1.0' in figures
