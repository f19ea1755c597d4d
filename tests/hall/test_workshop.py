"""The workshop: a call's voice asks the supervisor, which works with the same tables, once for both."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from voice_gateway.agent.cast import LivingCast, Sources
from voice_gateway.agent.supervision import CONSULT
from voice_gateway.agent.supervisor import Supervisor
from voice_gateway.agent.text_model import TextModel
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.events import CallFacts
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.responses_server import ResponsesServer, TextFaults
from voice_gateway.emulator.text_mind import TextMind
from voice_gateway.ops.redaction import Redactor
from voice_gateway.store.local_rows import LocalRows
from voice_gateway.store.tables import Tables
from voice_gateway.workshop import Workshop

CALL = CallFacts("CA1", "+35699000222", "+35699000001", persona="receptionist")


@dataclass
class Desk:
    """A receptionist with her supervisor, and what her call was told."""

    workshop: Workshop
    server: ResponsesServer
    told: list[ev.InnerEvent] = field(default_factory=list)
    heard_ms: int = 0

    def says(self, text: str) -> None:
        self.heard_ms += 1000
        self.workshop.note(CALL, entries.UserSpoke(f"item_{self.heard_ms}", text, self.heard_ms, None))

    def hears(self, text: str) -> None:
        self.heard_ms += 1000
        spoke = entries.AssistantSpoke(f"item_{self.heard_ms}", text, text, 500, 500, interrupted=False)
        self.workshop.note(CALL, spoke)

    async def ask(self, text: str, filler: str = "") -> dict[str, Any]:
        """The caller says something, and the voice asks what to answer."""
        self.says(text)
        self.hears(filler)
        arguments = json.dumps({"relevant_context_from_last_user_message": text})
        output, ok = await self.workshop.run(CALL, CONSULT, arguments)
        answer: dict[str, Any] = json.loads(output)
        assert ok, answer
        self.hears(answer.get("say", ""))
        return answer

    @property
    def seen(self) -> dict[str, Any]:
        """What the text model was given last."""
        told: dict[str, Any] = json.loads(self.server.requests[-1]["input"][0]["content"])
        return told


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    cast = LivingCast(Sources(house_toolbox(), "receptionist", supervised=True))
    async with ResponsesServer(mind=TextMind(RuleMind())) as server:
        model = TextModel(server.model, api_key="any", base_url=server.url)
        told: list[ev.InnerEvent] = []

        def tell(_call_sid: str, event: ev.InnerEvent) -> bool:
            told.append(event)
            return True

        workshop = Workshop(
            Tables(LocalRows(tmp_path / "tables.db")),
            role=lambda facts: cast.role(facts.persona),
            tell=tell,
            supervisor=Supervisor(model, deadline_s=10, sentence="I cannot say.", clock=time.monotonic),
            conceal=Redactor(["cards"]).text,
            stranger=lambda number: f"hash of {len(number)} letters",
        )
        await asyncio.gather(workshop.start(), model.start())
        workshop.note(CALL, entries.CallStarted(CALL.from_number, CALL.to_number, "inbound", "receptionist"))
        try:
            yield Desk(workshop, server, told)
        finally:
            await asyncio.gather(workshop.close(), model.close())


def a_workday() -> datetime:
    """A Wednesday or Thursday: the tables come with an appointment on a certain Tuesday at ten."""
    day = datetime.now(UTC) + timedelta(days=2)
    while day.weekday() not in {2, 3}:
        day += timedelta(days=1)
    return day


async def test_the_receptionist_asks_her_supervisor_and_an_appointment_is_booked_once(desk: Desk) -> None:
    day = a_workday()
    desk.hears("Good day, you have reached the reception. How may I help you?")
    wish = f"Please book me an appointment on {day:%A} at ten o'clock. My name is Anna Vella."
    desk.says("Hello.")
    desk.hears("Hello! What can I do for you?")
    assert "10" in (await desk.ask(wish, filler="One moment, please."))["say"]
    booked = await desk.ask("Yes, please.")
    assert "Anna Vella" in booked["say"] or "done" in booked["say"].lower()
    uses = [event for event in desk.told if isinstance(event, ev.SupervisorCalledTool)]
    (booking,) = [event for event in uses if event.name == "book_appointment"]
    answers = [event.output for event in desk.told if isinstance(event, ev.SupervisorToolFinished)]
    assert any('"success":true' in answer for answer in answers)
    assert desk.seen["transcript"][0] == {
        "speaker": "assistant", "said": "Good day, you have reached the reception. How may I help you?",
    }  # fmt: skip
    assert {turn["speaker"] for turn in desk.seen["transcript"]} == {"assistant", "caller"}
    desk.workshop.note(CALL, entries.ToolAsked("c9", "book_appointment", booking.arguments, "supervisor"))
    desk.workshop.note(CALL, entries.ToolAnswered("c9", "book_appointment", answers[-1], ok=True, duration_ms=5))
    desk.workshop.note(CALL, entries.ToolAnswered("c8", CONSULT, json.dumps(booked), ok=True, duration_ms=5))
    await desk.ask("Please cancel my appointment.")
    told = [turn for turn in desk.seen["transcript"] if turn["speaker"] == "tool"]
    assert [turn["name"] for turn in told] == ["book_appointment"], "and not what it said itself"
    assert told[0]["arguments"] == booking.arguments
    assert "35699" not in json.dumps(desk.server.requests), "who calls is nobody's business there"
    assert desk.server.requests[-1]["safety_identifier"] == "hash of 12 letters"
    assert {each["name"] for each in desk.server.requests[-1]["tools"]} == {
        "lookup_customer", "check_availability", "book_appointment", "cancel_appointment", "take_message",
    }  # fmt: skip
    # The voice wishes the same: it has no such tool, and the tables know of one appointment alone.
    output, ok = await desk.workshop.run(CALL, "book_appointment", booking.arguments)
    assert (ok, json.loads(output)["error"]) == (False, "unknown_tool")


async def test_what_must_not_be_kept_is_not_sent(desk: Desk) -> None:
    await desk.ask("My card is 4111 1111 1111 1111, do you take it?")
    assert "4111" not in desk.seen["context"]
    desk.workshop.note(CALL, entries.RecordingPaused("tool"))
    asked = len(desk.server.requests)
    output, _ = await desk.workshop.run(CALL, CONSULT, '{"relevant_context_from_last_user_message": "PIN 1234"}')
    assert json.loads(output)["error"] == "paused"
    assert len(desk.server.requests) == asked
    desk.workshop.note(CALL, entries.RecordingResumed("tool"))
    await desk.ask("When are you open?")
    assert len(desk.server.requests) > asked


async def test_after_its_end_nothing_of_a_call_is_left(desk: Desk) -> None:
    await desk.ask("Hello?")
    desk.workshop.take_back(CALL)
    desk.says("Too late.")
    await desk.workshop.run(CALL, CONSULT, "{}")
    assert desk.seen["transcript"] == []
    desk.workshop.note(CALL, entries.CallResumed("no_answer", 0.0))  # nobody took the call that was put through
    await desk.ask("I am back.")
    assert [turn["said"] for turn in desk.seen["transcript"]] == ["I am back."]


async def test_whom_nobody_answered_is_known_to_the_supervisor_when_he_comes_back(desk: Desk) -> None:
    await desk.ask("I want to speak to Claire.")
    desk.workshop.take_back(CALL, returns=True)
    desk.workshop.note(CALL, entries.TransferEnded("no-answer", 20))
    desk.workshop.note(CALL, entries.CallResumed("no-answer", 0.0))
    await desk.ask("I am back.")
    said = [turn["said"] for turn in desk.seen["transcript"]]
    assert (said[0], said[-1]) == ("I want to speak to Claire.", "I am back.")
    desk.workshop.take_back(CALL, returns=True)
    desk.workshop.note(CALL, entries.TransferEnded("completed", 20))
    assert not desk.workshop._aside, "nobody comes back from somebody who has answered"


async def test_what_was_done_before_a_caller_was_put_through_is_not_done_again_when_he_comes_back(desk: Desk) -> None:
    caller = replace(CALL, persona="cfo")
    message = json.dumps({"message": "Please call me back.", "name": "Anna Vella"})
    await desk.workshop.run(caller, "take_message", message)
    desk.workshop.take_back(caller, returns=True)
    desk.workshop.note(caller, entries.CallResumed("no-answer", 0.0))
    output, ok = await desk.workshop.run(caller, "take_message", message)
    assert ok
    assert json.loads(output)["repeat"]


async def test_the_supervisor_is_told_the_language_that_was_chosen(desk: Desk) -> None:
    await desk.ask("When are you open?")
    assert desk.seen["language"] == "en"
    await desk.workshop.run(replace(CALL, language="mt"), CONSULT, "{}")
    assert desk.seen["language"] == "mt"


async def test_who_writes_is_served_without_the_supervisor(desk: Desk) -> None:
    facts = replace(CALL, call_sid="api-1", channel="api")
    output, _ = await desk.workshop.run(facts, CONSULT, "{}")
    assert json.loads(output)["error"] == "unknown_tool"
    output, ok = await desk.workshop.run(facts, "check_availability", f'{{"date": "{a_workday():%Y-%m-%d}"}}')
    assert ok
    assert json.loads(output)["available"]
    assert desk.server.requests == []


async def test_odd_questions_are_answered(desk: Desk) -> None:
    desk.server.faults = TextFaults(long=100_000)
    for arguments in ("{}", '{"relevant_context_from_last_user_message": "%s"}' % ("x" * 50_000), "[]", "{"):
        output, _ = await desk.workshop.run(CALL, CONSULT, arguments)
        answer = json.loads(output)
        assert len(answer.get("say") or answer["message"]) < 1500
    assert len(desk.seen["context"]) == 4000


async def test_without_a_supervisor_the_receptionist_does_it_herself() -> None:
    alone = LivingCast(Sources(house_toolbox(), "receptionist")).role("receptionist")
    assert CONSULT not in alone.toolbox.names
    assert "book_appointment" in alone.toolbox.names
    assert "supervisor" not in alone.persona.instructions
    assert alone.supervisor is None
    led = LivingCast(Sources(house_toolbox(), "receptionist", supervised=True)).role("receptionist")
    assert led.toolbox.names == (CONSULT, "end_call")
    assert "filler" in led.persona.instructions
    assert CONSULT not in (led.supervisor or led.toolbox).names


async def test_an_order_after_a_transfer_in_vain_is_another_one(desk: Desk) -> None:
    caller, wish = replace(CALL, persona="waiter"), '{"item":"rw-cap","quantity":1}'
    answers = []
    for outcome in ("no-answer", "no-answer", "completed"):
        output, ok = await desk.workshop.run(caller, "place_order", wish)
        answers.append(json.loads(output))
        assert ok, output
        desk.workshop.take_back(caller, returns=True)
        desk.workshop.note(caller, entries.TransferEnded(outcome, 20))
        desk.workshop.note(caller, entries.CallResumed(outcome, 0.0))
        desk.workshop._once._clock = lambda: time.monotonic() + 61.0 * len(answers)
    assert len({answer["orderId"] for answer in answers}) == 3
    assert not desk.workshop._once._aside, "nobody comes back from somebody who has answered"
