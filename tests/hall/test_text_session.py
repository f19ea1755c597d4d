"""Conversations in writing, with the emulated model over a real socket and tools that really work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from voice_gateway.agent.cast import Role
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.tools import Toolbox, ToolContext, tool
from voice_gateway.call.events import CallFacts
from voice_gateway.call.usage import Tariff
from voice_gateway.desk import Desk, Terms
from voice_gateway.emulator.faculties import Act, Say, Situation, UseTool
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, When
from voice_gateway.journal import Journal
from voice_gateway.model.settings import ModelSettings
from voice_gateway.model.socket import ModelSocket
from voice_gateway.store.records import CallPatch, EventRecord
from voice_gateway.text_session import Answer, Delta, Means, Restarted, TextError, TextSession, ToolUsed

PRICES = Tariff(4.0, 0.4, 16.0, 32.0, 0.4, 64.0, "test")


class Shelf:
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[EventRecord] = []
        self.patches: list[CallPatch] = []

    def write(self, event: EventRecord, patch: CallPatch | None = None, rows: object = ()) -> None:  # noqa: ARG002 - the Protocol's shape
        self.events.append(event)
        self.patches += [patch] if patch else []

    def payloads(self, event_type: str) -> list[dict[str, Any]]:
        return [event.payload for event in self.events if event.event_type == event_type]


class Kitchen:
    """What the tools did, and a gate that a slow one waits at."""

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.entered = asyncio.Event()
        self.gate = asyncio.Event()

    async def order(self, item: str) -> dict[str, str]:
        """Order an item."""
        self.orders.append(item)
        return {"ordered": item}

    async def bake(self) -> None:
        """Bake, which takes long."""
        self.entered.set()
        await self.gate.wait()

    @staticmethod
    @tool(in_call=True)
    def hang_up() -> None:
        """End the call."""

    @property
    def toolbox(self) -> Toolbox:
        return Toolbox([self.order, self.bake, self.hang_up])


@dataclass
class House:
    """A desk and everything around it."""

    model: RealtimeServer
    mind: ScriptedMind
    shelf: Shelf
    kitchen: Kitchen
    desk: Desk
    told_facts: list[CallFacts] = field(default_factory=list)

    async def session(self, name: str = "default", persona: str = "") -> TextSession:
        return await self.desk.session("shop", name, persona, default="cook")


async def answer_of(session: TextSession, text: str) -> Answer:
    pieces = [piece async for piece in session.converse(text)]
    assert isinstance(pieces[-1], Answer)
    return pieces[-1]


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Any]]:
    """Makes a house."""
    houses: list[House] = []
    loop = asyncio.get_running_loop()

    async def make(
        *replies: Any, faults: Faults | None = None, terms: Terms | None = None, token_s: float = 0.0, **means: Any
    ) -> House:
        mind, shelf, kitchen, ids = ScriptedMind(list(replies)), Shelf(), Kitchen(), count(1)
        model = RealtimeServer(
            mind=mind, voice=ToneVoice(), latency=replace(INSTANT, token_s=token_s), faults=faults, vad=False
        )
        await model.__aenter__()
        told: list[CallFacts] = []

        class Tools:
            async def run(self, call: CallFacts, name: str, arguments: str) -> tuple[str, bool]:
                told.append(call)
                return await kitchen.toolbox.run(name, arguments, ToolContext(call_sid=call.call_sid))

        def settings(role: Role) -> ModelSettings:
            tools = tuple(role.toolbox.specs())
            return ModelSettings(
                instructions=role.persona.instructions,
                tools=tools,
                output="text",
                turn_detection=None,
                transcription=None,
            )

        async def open_model(wanted: ModelSettings, _facts: CallFacts) -> ModelSocket:
            return await ModelSocket.open(model.url, api_key="key", settings=wanted)

        chosen = Means(
            journal=Journal(shelf, wall_clock=lambda: datetime.now(UTC), new_id=lambda: f"id{next(ids)}"),
            tools=Tools(),
            settings=settings,
            open_model=open_model,
            tariff=lambda _model: PRICES,
            clock=time.monotonic,
            **means,
        )
        desk = Desk(
            chosen,
            terms or Terms(),
            role=lambda key: Role(Persona(key, key.title(), f"You are the {key}."), kitchen.toolbox),
            exceeded=lambda _client: None,
            new_id=lambda: str(next(ids)),
        )
        houses.append(House(model, mind, shelf, kitchen, desk, told))
        return houses[-1]

    before = asyncio.all_tasks()
    yield make
    for house in houses:
        await house.desk.close()
        await house.model.emptied()
        await house.model.__aexit__(None, None, None)
    assert asyncio.all_tasks() <= before | {asyncio.current_task(loop)}, "nothing is left behind"


async def test_an_answer_comes_in_pieces_and_whole(opened: Any) -> None:
    house = await opened("Good day to you.", "Still here.")
    session = await house.session()
    pieces = [piece async for piece in session.converse("Hello")]
    assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "Good day to you."
    assert len(pieces) > 2
    assert pieces[-1] == Answer("Good day to you.", "cook", ())
    assert (await answer_of(session, "And now?")).text == "Still here."
    assert len(house.model.sessions) == 1, "the model's session stays open"
    assert [line.text for line in house.mind.situations[-1].lines] == ["Hello", "Good day to you.", "And now?"]


async def test_tools_work_for_real_and_the_model_speaks_of_what_they_said(opened: Any) -> None:
    house = await opened(
        (Say("One moment."), UseTool("order", {"item": "soup"}), UseTool("order", {"item": "bread"})),
        When("ordered", (Say("It is ordered."),), tool="order"),
    )
    answer = await answer_of(await house.session(), "Soup and bread, please.")
    assert answer == Answer("One moment.\nIt is ordered.", "cook", (ToolUsed("order", True), ToolUsed("order", True)))  # noqa: FBT003 - a piece
    assert sorted(house.kitchen.orders) == ["bread", "soup"]
    assert {facts.from_number for facts in house.told_facts} == {""}, "a client is no number to call back"
    assert [each["ok"] for each in house.shelf.payloads("TOOL_RESULT")] == [True, True]


async def test_a_model_that_asks_for_tools_for_ever_is_stopped(opened: Any) -> None:
    house = await opened(*[(UseTool("order", {"item": "soup"}),)] * 12)
    with pytest.raises(TextError) as fault:
        await answer_of(await house.session(), "Soup.")
    assert fault.value.code == "too_many_tools"


async def test_tools_of_a_live_call_are_not_offered(opened: Any) -> None:
    house = await opened("Hello.")
    await answer_of(await house.session(), "Hello")
    assert [spec["name"] for spec in house.mind.situations[0].tools] == ["order", "bake"]


async def test_turns_come_one_after_the_other(opened: Any) -> None:
    house = await opened((UseTool("bake", {}),), When(".", (Say("Baked."),), tool="bake"), "Second.", "Third.")
    session = await house.session()
    first = asyncio.ensure_future(answer_of(session, "Bake!"))
    await house.kitchen.entered.wait()
    others = [asyncio.ensure_future(answer_of(session, f"Text {number}")) for number in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(TextError) as fault:
        await answer_of(session, "One too many")
    assert fault.value.code == "busy"
    assert len(house.mind.situations) == 1
    house.kitchen.gate.set()
    assert (await first).text == "Baked."
    assert [(await other).text for other in others[:2]] == ["Second.", "Third."]
    await asyncio.gather(*others)


async def test_a_turn_that_takes_too_long_is_broken_off_and_the_next_one_is_answered(opened: Any) -> None:
    house = await opened((UseTool("bake", {}),), "Yes?", reply_s=1.0)
    session = await house.session()
    with pytest.raises(TextError) as fault:
        await answer_of(session, "Bake!")
    assert fault.value.code == "reply_timeout"
    assert (await answer_of(session, "Are you there?")).text == "Yes?"
    last = house.mind.situations[-1].lines
    assert [line.role for line in last] == ["user", "tool_call", "tool_output", "user"]
    assert "interrupted" in last[2].text


async def test_a_lost_session_is_opened_anew_with_the_conversation(opened: Any) -> None:
    house = await opened(
        (UseTool("order", {"item": "soup"}),), When(".", (Say("Ordered."),), tool="order"), "You had soup."
    )
    session = await house.session()
    await answer_of(session, "Soup, please.")
    await house.model.drop(house.model.sessions[0])
    await house.model.emptied()
    assert (await answer_of(session, "What did I order?")).text == "You had soup."
    assert len(house.model.sessions) == 2
    lines = [(line.role, line.text) for line in house.mind.situations[-1].lines]
    assert [role for role, _ in lines] == ["user", "tool_call", "tool_output", "assistant", "user"]
    assert (lines[0][1], lines[3][1]) == ("Soup, please.", "Ordered.")
    assert house.kitchen.orders == ["soup"], "nothing is done twice"


class Writer:
    """Writes without an end in sight, then is brief."""

    def __init__(self) -> None:
        self.asked = 0

    def respond(self, _situation: Situation) -> list[Act]:
        self.asked += 1
        return [Say("word " * 4000 if self.asked == 1 else "Brief.")]


async def test_what_was_being_written_when_the_session_died_is_written_again(opened: Any) -> None:
    house = await opened(token_s=0.005)
    house.model._mind = Writer()
    pieces = (await house.session()).converse("Write a book.")
    assert isinstance(await anext(pieces), Delta)
    await house.model.drop(house.model.sessions[0])
    rest = [piece async for piece in pieces]
    begins = rest.index(Restarted())
    assert [piece.text for piece in rest[begins:] if isinstance(piece, Delta)] == ["Brief."]
    assert rest[-1] == Answer("Brief.", "cook", ())
    assert [item.text for item in house.model.sessions[1].items] == ["Write a book.", "Brief."]


async def test_a_response_that_failed_is_asked_for_once_more(opened: Any) -> None:
    house = await opened("An answer.", faults=Faults(fail_response=1))
    session = await house.session()
    assert (await answer_of(session, "Hello")).text == "An answer."
    assert len(house.model.sessions) == 1
    house = await opened("An answer.", faults=Faults(fail_response=2))
    with pytest.raises(TextError) as fault:
        await answer_of(await house.session(), "Hello")
    assert fault.value.code == "model_lost"


async def test_a_model_that_cannot_be_had_is_told_and_had_later(opened: Any) -> None:
    house = await opened("Hello.", faults=Faults(handshake_status=503))
    session = await house.session()
    with pytest.raises(TextError) as fault:
        await answer_of(session, "Hello")
    assert fault.value.code == "model_unavailable"
    house.model.faults = Faults()
    assert (await answer_of(session, "Hello again")).text == "Hello."


async def test_a_key_that_the_models_server_does_not_take_is_told_as_that(opened: Any) -> None:
    house = await opened("Hello.")
    house.model._api_key = "another"
    with pytest.raises(TextError, match="OPENAI_API_KEY") as fault:
        await answer_of(await house.session(), "Hello")
    assert fault.value.code == "model_unavailable"


async def test_who_leaves_stops_the_answer(opened: Any) -> None:
    house = await opened(token_s=0.005)
    house.model._mind = Writer()
    session = await house.session()
    pieces = session.converse("Write a book.")
    assert isinstance(await anext(pieces), Delta)
    await pieces.aclose()
    assert (await answer_of(session, "Be brief.")).text == "Brief."
    assert len(house.model.sessions) == 1, "the same session"
    (cancelled, finished) = house.shelf.payloads("RESPONSE_DONE")
    assert (cancelled["status"], finished["status"]) == ("cancelled", "completed")
    assert cancelled["cost_usd"] > 0, "what was written is billed"


async def test_a_session_is_on_the_record_like_a_call(opened: Any) -> None:
    house = await opened("Good day.", "Bye.")
    session = await house.session(persona="waiter")
    assert house.shelf.events == [], "nothing was said yet"
    await answer_of(session, "Hello")
    await session.change_role(Role(Persona("cfo", "CFO", "You are the CFO."), Toolbox()))
    assert (await answer_of(session, "Bye")).persona == "cfo"
    assert house.mind.situations[-1].instructions.startswith("You are the CFO.")
    assert len(house.model.sessions) == 1
    assert await house.desk.end("shop", "default")
    assert [event.event_type for event in house.shelf.events] == [
        "CALL_STARTED", "TRANSCRIPT_USER", "MODEL_JOINED", "RESPONSE_DONE", "TRANSCRIPT_ASSISTANT",
        "HANDED_OFF", "TRANSCRIPT_USER", "RESPONSE_DONE", "TRANSCRIPT_ASSISTANT", "CALL_ENDED",
    ]  # fmt: skip
    assert {event.call_sid for event in house.shelf.events} == {session.record_id}
    started = house.shelf.patches[0]
    assert (started.channel, started.from_number, started.persona) == ("api", "api:shop", "waiter")
    (ended,) = house.shelf.payloads("CALL_ENDED")
    assert (ended["reason"], ended["transcript"]) == (
        "closed", "Caller: Hello\nAssistant: Good day.\n[Handed over from waiter to cfo]\nCaller: Bye\nAssistant: Bye."
    )  # fmt: skip
    assert ended["cost_usd"] > 0


async def test_a_session_that_has_cost_what_it_may_answers_no_more(opened: Any) -> None:
    house = await opened("Good day.", limit_usd=1e-6)
    session = await house.session()
    await answer_of(session, "Hello")
    with pytest.raises(TextError) as fault:
        await answer_of(session, "Hello")
    assert fault.value.code == "budget"


async def test_a_client_who_holds_all_sessions_locks_nobody_out(opened: Any) -> None:
    house = await opened("Good day.", "Hello.", terms=Terms(most=3))
    first, second, third = [await house.desk.session("shop", name, "", default="cook") for name in "abc"]
    await answer_of(first, "Hello")
    theirs = await house.desk.session("desk", "default", "", default="cook")
    assert house.desk.live == 3
    assert house.desk.find("shop", "b") is None, "the one that was longest unused"
    assert (house.desk.find("shop", "a"), house.desk.find("shop", "c")) == (first, third)
    with pytest.raises(TextError) as fault:
        await answer_of(second, "Hello")
    assert fault.value.code == "ended"
    with pytest.raises(TextError) as fault:
        await house.desk.session("desk", "another", "", default="cook")
    assert fault.value.code == "sessions_full", "whoever has as many as others ends none of theirs"
    assert house.desk.find("desk", "default") is theirs


async def test_clients_have_sessions_of_their_own_and_only_so_many(opened: Any) -> None:
    house = await opened(terms=Terms(most=2))
    mine = await house.session()
    theirs = await house.desk.session("desk", "default", "", default="cook")
    assert mine is not theirs
    assert await house.session() is mine
    with pytest.raises(TextError) as fault:
        await house.session("another")
    assert fault.value.code == "sessions_full"
    assert not await house.desk.end("desk", "another")
    assert await house.desk.end("desk", "default")
    assert await house.session("another") is not mine
    with pytest.raises(TextError) as fault:
        await answer_of(theirs, "Hello")
    assert fault.value.code == "ended"


async def test_a_session_that_nobody_uses_is_ended(opened: Any) -> None:
    house = await opened("Good day.", terms=Terms(idle_s=0.4))
    await answer_of(await house.session(), "Hello")
    async with asyncio.timeout(5):
        await house.model.emptied()
        while not house.shelf.payloads("CALL_ENDED"):  # noqa: ASYNC110 - a gauge, not an event
            await asyncio.sleep(0.01)
    assert house.desk.live == 0
    assert house.shelf.payloads("CALL_ENDED")[0]["reason"] == "idle"


async def test_a_session_that_ends_in_the_midst_of_a_turn_tells_it(opened: Any) -> None:
    house = await opened((UseTool("bake", {}),))
    session = await house.session()
    turn = asyncio.ensure_future(answer_of(session, "Bake!"))
    await house.kitchen.entered.wait()
    assert await house.desk.end("shop", "default")
    with pytest.raises(TextError) as fault:
        await turn
    assert fault.value.code == "ended"
