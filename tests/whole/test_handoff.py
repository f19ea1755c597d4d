"""Whole calls that are handed over: the same voice by one session, another voice by a second one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.emulator.faculties import Act, Say, Situation, UseTool
from voice_gateway.emulator.scenarios import ScriptedMind, TypedEar, When

WANTED = "What is the tax on a coffee?"
TO_CFO = When("tax", (UseTool("handoff_to", {"persona": "cfo", "reason": "the tax on a coffee"}),))


class TwoMinds:
    """One for each persona, told apart by the instructions."""

    def __init__(self, waiter: ScriptedMind, cfo: ScriptedMind) -> None:
        self.waiter, self.cfo = waiter, cfo

    def respond(self, situation: Situation) -> Sequence[Act]:
        return (self.cfo if situation.instructions.startswith("You count.") else self.waiter).respond(situation)


async def test_the_waiter_hands_over_to_the_finance_chief_within_one_session(staging: Staging) -> None:
    mind = ScriptedMind(["Welcome!", TO_CFO, When(".", (Say("This is the finance desk."),), tool="handoff_to")])
    async with staging(mind=mind, ear=TypedEar([WANTED])) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.3)
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.5)
        live = running.gateway.switchboard.find(call.call_sid)
        assert live is not None
        assert live.persona == "cfo"
        await call.until_quiet(0.5)
        await call.hang_up()
        row, events = await record_of(running, call)
        (session,) = running.model.sessions
    (handed,) = payloads(events, "HANDED_OFF")
    assert (handed["from_persona"], handed["to_persona"], handed["by"]) == ("waiter", "cfo", "tool")
    assert not handed["another_session"]
    assert row["persona"] == "cfo"
    assert "[Handed over from waiter to cfo]" in row["transcript"]
    assert [said["persona"] for said in payloads(events, "TRANSCRIPT_ASSISTANT")] == ["waiter", "cfo"]
    last = mind.situations[-1]
    assert last.instructions.startswith("You are the finance chief")
    assert "fetch_financials" in [tool["name"] for tool in last.tools]
    assert WANTED in [line.text for line in last.lines]
    assert "finance desk" in last.lines[-1].text, "who it is and how it begins is the last thing that it was told"
    assert payloads(events, "ERROR") == []
    assert session.settings["instructions"] == last.instructions


async def test_another_voice_takes_over_by_a_second_session_that_knows_what_was_said(
    staging: Staging, tmp_path: Path
) -> None:
    folder = tmp_path / "personas"
    folder.mkdir()
    (folder / "cfo.toml").write_text(
        'name = "Finance chief"\ninstructions = "You count."\nvoice = "cedar"\nlanguage = "en"\n', encoding="utf-8"
    )
    mind = TwoMinds(
        ScriptedMind(["Welcome!", TO_CFO, When(".", (Say("One moment."),), tool="handoff_to")]),
        ScriptedMind(["Finance: 18 percent.", "Goodbye."]),
    )
    settings = {"PERSONAS_DIR": str(folder)}
    async with staging(mind=mind, ear=TypedEar([WANTED, "Thank you."]), settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.3)
        await call.say(speech(0.6), 8000)
        second = await asyncio.wait_for(running.model.joined(2), 20)
        await call.until_quiet(1.0)
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.3)
        await call.until_quiet(0.5)
        await call.hang_up()
        row, events = await record_of(running, call)
        first = running.model.sessions[0]
        await asyncio.wait_for(running.model.emptied(), 15)
    (handed,) = payloads(events, "HANDED_OFF")
    assert handed["another_session"]
    said = [(each["persona"], each["text"]) for each in payloads(events, "TRANSCRIPT_ASSISTANT")]
    assert said == [
        ("waiter", "Welcome!"),
        ("waiter", "One moment."),
        ("cfo", "Finance: 18 percent."),
        ("cfo", "Goodbye."),
    ]
    assert [each["text"] for each in payloads(events, "TRANSCRIPT_USER")] == [WANTED, "Thank you."]
    assert (row["persona"], row["status"]) == ("cfo", "completed")
    assert second.settings["audio"]["output"]["voice"] == "cedar"
    assert first.settings["audio"]["output"]["voice"] != "cedar"
    knew = [line.text for line in mind.cfo.situations[0].lines if line.role in {"user", "assistant"}]
    assert knew == ["Welcome!", WANTED, "One moment."]
    assert "handoff_to" not in [line.name for line in mind.cfo.situations[0].lines]
    assert [item.text for item in second.items if item.role == "user"][-1] == "Thank you."
    assert [each["code"] for each in payloads(events, "ERROR")] == []
