"""The realtime session of the `openai-agents` package converses with the emulated model and calls a tool."""

from __future__ import annotations

from typing import Any

import pytest
from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, RealtimeSession

from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar, When

MIND = [
    "Hello, what can I do for you?",
    When("latte", (Say("Let me see."), UseTool("price_of", {"drink": "latte"}))),
    When(r"4\.50", (Say("A latte is {output}."),), tool="price_of"),
]


@pytest.fixture
async def far(checked):
    server = RealtimeServer(
        mind=ScriptedMind(MIND), voice=ToneVoice(), ear=TypedEar(["How much is a latte?"]), latency=INSTANT, speed=40
    )
    async with server:
        yield server
    for session in server.sessions:
        for event in session.sent:
            checked(event)


async def converse(far: RealtimeServer, talk: Any) -> tuple[list[Any], list[str]]:
    """Run a session until the answer about the latte was spoken. Returns its events and the drinks asked for."""
    asked: list[str] = []

    @function_tool
    def price_of(drink: str) -> str:
        """The price of a drink."""
        asked.append(drink)
        return "$4.50"

    agent = RealtimeAgent(name="Waiter", instructions="You are a waiter.", tools=[price_of])
    runner = RealtimeRunner(agent, config={"tracing_disabled": True})
    config: Any = {"api_key": "sk-any", "url": f"{far.url}?model=gpt-realtime-2.1"}
    events: list[Any] = []
    async with await runner.run(model_config=config) as session:
        await talk(session)
        async for event in session:
            events.append(event)
            assert event.type != "error", event
            if event.type == "history_updated" and "A latte is $4.50." in str(event.history):
                break
    return events, asked


def kinds_of(events: list[Any]) -> set[str]:
    return {event.type for event in events}


async def test_a_written_question_is_answered_with_the_help_of_a_tool(far):
    async def ask(session: RealtimeSession) -> None:
        await session.send_message("How much is a latte?")

    events, asked = await converse(far, ask)
    assert asked == ["latte"]
    assert {"tool_start", "tool_end", "audio", "audio_end", "agent_start", "agent_end"} <= kinds_of(events)
    session = far.sessions[0]
    assert session.settings["instructions"] == "You are a waiter."
    assert [item.kind for item in session.items] == [
        "message",
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    assert not [event for event in session.sent if event["type"] == "error"]


async def test_a_spoken_question_is_answered_with_the_help_of_a_tool(far):
    async def ask(session: RealtimeSession) -> None:
        sound = b"".join(piece.tobytes() for piece in ToneVoice().speak("a spoken question")) + bytes(48 * 1000)
        for start in range(0, len(sound), 4800):
            await session.send_audio(sound[start : start + 4800])

    _, asked = await converse(far, ask)
    assert asked == ["latte"]
    assert far.sessions[0].items[0].text == "How much is a latte?"
    assert not [event for event in far.sessions[0].sent if event["type"] == "error"]
