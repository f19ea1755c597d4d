"""How whole calls end that the caller did not end: with a word, heard to its end, and really over."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from test_bad_input import CALL_SID, Carrier, figure
from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.agent.cast import Cast
from voice_gateway.agent.hours import OpeningHours
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.app import Gateway
from voice_gateway.call.events import GoodbyeAsked
from voice_gateway.call.policy import Idle
from voice_gateway.cli.stage import ACCOUNT_SID, Stage
from voice_gateway.config import Settings
from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.scenarios import TypedEar, When
from voice_gateway.emulator.weather import Weather
from voice_gateway.model.settings import SemanticVad, ServerVad

HOST = Persona("host", "Host", "You serve coffee.", greeting="Welcome!", tools=("end_call",))


def hosting(staging: Staging, persona: Persona = HOST) -> Staging:
    """A stage on which this persona answers."""

    def make(settings: Settings) -> Gateway:
        return Gateway(settings, Cast.alone(persona, house_toolbox().pick(persona.tools)))

    return partial(staging, make=make)


@pytest.mark.parametrize(
    "reply", [(Say("Goodbye, and thank you!"), UseTool("end_call", {})), (UseTool("end_call", {}),)]
)
async def test_the_model_ends_the_call_and_its_goodbye_is_heard_to_the_end(staging: Staging, reply: Any) -> None:
    replies = ["Welcome!", When("bye", reply), When(".", (Say("Goodbye, and thank you!"),), tool="end_call")]
    weather = Weather(one_way_s=0.03, jitter_buffer_s=0.06)
    async with hosting(staging)(replies, ear=TypedEar(["Bye!"]), weather=weather) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.3)
        await call.say(speech(0.6), 8000)
        assert await call.ended(10) == "completed"
        row, events = await record_of(running, call)
    assert (row["status"], row["end_reason"]) == ("completed", "end_call")
    assert row["transcript"].splitlines()[-1] == "Assistant: Goodbye, and thank you!"
    last = payloads(events, "TRANSCRIPT_ASSISTANT")[-1]
    assert (last["heard_ms"], last["interrupted"]) == (last["total_ms"], False)
    heard_ms = sum(segment.length for segment in call.played if segment.audible) / 8
    assert heard_ms >= 60 * len("Welcome!Goodbye, and thank you!"), "all of both, as the carrier played it"
    assert call.said == [], "nothing is left for the carrier's voice"


async def test_a_caller_who_speaks_into_the_goodbye_goes_on_talking(staging: Staging) -> None:
    replies = [
        "Welcome!",
        When("bye", (Say("Goodbye, and thank you for calling us!"), UseTool("end_call", {}))),
        When("wait", (Say("Yes?"),)),
    ]
    async with hosting(staging)(replies, ear=TypedEar(["Bye!", "Wait, one thing more."])) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.3)
        await call.say(speech(0.6), 8000)
        await call.until_heard(1.0)
        await call.say(speech(0.8), 8000)
        await call.until_heard(0.2)
        await call.until_quiet(1.0)
        await call.hang_up()
        row, events = await record_of(running, call)
    assert row["end_reason"] == "hangup"
    assert [entry["reason"] for entry in payloads(events, "GOODBYE_TAKEN_BACK")] == ["end_call"]
    assert row["transcript"].splitlines()[-1] == "Assistant: Yes?"


async def test_a_silent_caller_is_asked_and_then_bidden_goodbye(staging: Staging) -> None:
    silent = replace(HOST, idle=Idle(prompt_after_s=0.4, prompts=1, goodbye="Goodbye, then."))
    replies = ["Welcome!", "Are you still there?", "Goodbye, then."]
    async with hosting(staging, silent)(replies) as running:
        call = await running.carrier.dial(running.webhook_url)
        assert await call.ended(20) == "completed"
        row, events = await record_of(running, call)
    assert (row["status"], row["end_reason"]) == ("completed", "idle")
    assert row["transcript"].splitlines() == [f"Assistant: {said}" for said in replies]
    assert [prompt["count"] for prompt in payloads(events, "IDLE_PROMPT")] == [1]


async def test_the_models_own_idle_prompt_gives_way_to_the_goodbye(staging: Staging) -> None:
    """The shortest time that the protocol allows is 5 s."""
    noticing = replace(
        HOST, turn_detection=ServerVad(idle_timeout_ms=5000), idle=Idle(prompts=0, goodbye="Goodbye, then.")
    )
    replies = ["Welcome!", "Are you still there?", "Goodbye, then."]
    async with hosting(staging, noticing)(replies) as running:
        call = await running.carrier.dial(running.webhook_url)
        assert await call.ended(20) == "completed"
        row, events = await record_of(running, call)
    assert row["end_reason"] == "idle"
    assert row["transcript"].splitlines() == ["Assistant: Welcome!", "Assistant: Goodbye, then."]
    assert payloads(events, "ERROR") == []


@pytest.mark.parametrize("detection", [ServerVad(create_response=False), SemanticVad("high", create_response=False)])
async def test_a_model_that_waits_to_be_asked_is_asked_after_the_callers_turn(
    staging: Staging, detection: ServerVad | SemanticVad
) -> None:
    asked = replace(HOST, turn_detection=detection)
    replies = ["Welcome!", When("coffee", (Say("One coffee."),))]
    async with hosting(staging, asked)(replies, ear=TypedEar(["A coffee, please."])) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.3)
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.4)
        await call.until_quiet(0.5)
        await call.hang_up()
        row, events = await record_of(running, call)
    assert row["transcript"].splitlines()[-1] == "Assistant: One coffee."
    assert payloads(events, "ERROR") == []


async def test_a_goodbye_asked_for_from_outside_is_heard_before_the_call_ends(staging: Staging) -> None:
    async with hosting(staging)(["Welcome!", "We close now. Goodbye."]) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.2)
        asked = GoodbyeAsked("operator", "We close now. Goodbye.")
        assert running.gateway.switchboard.say_goodbye(call.call_sid, asked)
        assert await call.ended(10) == "completed"
        row, _ = await record_of(running, call)
    assert row["end_reason"] == "operator"
    assert row["transcript"].splitlines() == ["Assistant: Welcome!", "Assistant: We close now. Goodbye."]


async def test_a_caller_is_put_through_when_the_last_word_was_heard(staging: Staging) -> None:
    async with hosting(staging)(["I put you through."]) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.2)
        asked = GoodbyeAsked("transfer", transfer_number="+15551230009")
        assert running.gateway.switchboard.say_goodbye(call.call_sid, asked)
        assert await call.ended(10) == "transferred"
        row, _ = await record_of(running, call)
    assert row["end_reason"] == "transfer"
    assert row["transcript"] == "Assistant: I put you through."


async def test_a_model_that_falls_silent_in_its_answer_is_noticed(staging: Staging) -> None:
    settings = {"RESPONSE_STALL_SECONDS": "0.4"}
    faults = Faults(stall_after_s=0.3)
    async with hosting(staging)(["All the words there are. " * 40], faults=faults, settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await counted(running, 'voice_stalls_total{kind="response_stalled"}')
        await call.hang_up()
        _, events = await record_of(running, call)
    assert [fault["code"] for fault in payloads(events, "ERROR")] == ["response_stalled"]


async def test_a_line_without_sound_is_noticed(staging: Staging, log: io.StringIO) -> None:
    async with hosting(staging)(["Welcome!", "I cannot hear you."], settings={"MEDIA_STALL_SECONDS": "0.5"}) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        call.stall(60.0)
        await counted(running, 'voice_stalls_total{kind="media_stalled"}')
        await call.hang_up()
        _, events = await record_of(running, call)
    assert [fault["code"] for fault in payloads(events, "ERROR")] == ["media_stalled"]
    assert '"code":"media_stalled"' in log.getvalue()


async def test_outside_business_hours_a_caller_is_told_so_and_it_is_on_record(staging: Staging) -> None:
    never = OpeningHours(ZoneInfo("Africa/Kigali"), ((),) * 7, say="We are closed. Call again at nine.")
    async with hosting(staging, replace(HOST, hours=never, language="fr"))() as running:
        call = await running.carrier.dial(running.webhook_url)
        assert await call.ended(10) == "completed"
        row, events = await record_of(running, call)
    assert call.said == ["We are closed. Call again at nine."]
    assert (row["status"], row["end_reason"]) == ("completed", "closed")
    assert [event["event_type"] for event in events] == ["CALL_STARTED", "CALL_ENDED"]


# --- a carrier that does not report the end ---------------------------------------------------------------------


@asynccontextmanager
async def waiting_room() -> AsyncIterator[str]:
    """A webhook that lets its caller wait, so that a call is live at the carrier whatever we do with ours."""

    async def wait(_request: Any) -> Response:
        return Response('<?xml version="1.0"?><Response><Pause length="60"/></Response>', media_type="text/xml")

    app = Starlette(routes=[Route("/", wait, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - a gauge of the library's
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    await serving


async def begin_and_end(running: Stage, call_sid: str) -> None:
    """A call whose stream comes and is ended by us, and whose carrier then says nothing more."""
    carrier = Carrier(running)
    async with carrier.stream(call_sid) as stream:
        await stream.recv()
        running.gateway.switchboard.end(call_sid, "operator")
        await stream.wait_closed()


async def counted(running: Stage, series: str) -> None:
    """Wait until a figure is 1."""
    async with asyncio.timeout(10):
        while await figure(running, series) != 1:  # noqa: ASYNC110 - a gauge, not an event
            await asyncio.sleep(0.02)


async def test_a_call_whose_end_the_carrier_does_not_report_is_ended_by_rest(staging: Staging) -> None:
    settings = {"TWILIO_ACCOUNT_SID": ACCOUNT_SID, "END_CONFIRM_SECONDS": "0.2"}
    async with waiting_room() as room, hosting(staging)(settings=settings) as running:
        assert running.gateway._rest is not None
        running.gateway._rest._base_url = running.carrier.rest_url  # at a port that was free when the stage was set
        call = await running.carrier.dial(room)
        await begin_and_end(running, call.call_sid)
        await counted(running, 'voice_unconfirmed_ends_total{outcome="ended"}')
        assert await call.ended(15) == "completed"


async def test_without_credentials_an_unreported_end_is_counted_and_logged(staging: Staging, log: io.StringIO) -> None:
    async with hosting(staging)(settings={"END_CONFIRM_SECONDS": "0.1"}) as running:
        await begin_and_end(running, CALL_SID)
        await counted(running, 'voice_unconfirmed_ends_total{outcome="left_open"}')
    assert '"msg":"call.end_unconfirmed"' in log.getvalue()
