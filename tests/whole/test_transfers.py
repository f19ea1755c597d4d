"""Whole calls whose callers are put through: to somebody who answers, and to nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from zoneinfo import ZoneInfo

from test_bad_input import FORM, Carrier
from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.agent.cast import Cast
from voice_gateway.agent.colleagues import Transfer
from voice_gateway.agent.hours import OpeningHours
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.app import Gateway
from voice_gateway.config import Settings
from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.scenarios import TypedEar, When

MANAGER = "+15551230009"
HOST = Persona(
    "host",
    "Host",
    "You serve coffee.",
    tools=("transfer_to_human", "end_call"),
    transfer=Transfer(MANAGER, "the manager", whisper="For you: {reason}", rings_s=20, unanswered="Nobody is here."),
)
PUT_THROUGH = When("manager", (Say("One moment, please."), UseTool("transfer_to_human", {"reason": "a refund"})))


def hosting(staging: Staging, persona: Persona = HOST) -> Staging:
    def make(settings: Settings) -> Gateway:
        return Gateway(settings, Cast.alone(persona, house_toolbox().pick(persona.tools)))

    return partial(staging, make=make)


async def test_what_became_of_a_transfer_is_on_the_record(staging: Staging) -> None:
    async with hosting(staging)([PUT_THROUGH], ear=TypedEar(["The manager, please."])) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.say(speech(0.6), 8000)
        assert await call.ended(10) == "transferred"
        row, events = await record_of(running, call)
        told = await Carrier(running).post(f"/twilio/whisper?call={call.call_sid}", {"CallSid": "CA2"})
        unknown = await Carrier(running).post("/twilio/whisper?call=CA3", {"CallSid": "CA4"})
        late = {"CallSid": call.call_sid, "DialCallStatus": "no-answer"}
        late_answer = await Carrier(running).post("/twilio/transferred", late)
        assert running.gateway.switchboard.live == 0
    assert "<Say>For you: a refund</Say>" in told.text
    assert "<Say>" not in unknown.text
    assert "<Stream" not in late_answer.text, "he was answered, and nobody is lost"
    (dialled,) = call.dialled
    assert dialled.targets == (("Number", MANAGER),)
    assert dialled.attributes["timeout"] == "20"
    assert row["end_reason"] == "transfer"
    assert [event["outcome"] for event in payloads(events, "TRANSFER_RESULT")] == ["completed"]


async def test_a_caller_whom_nobody_answered_comes_back_to_the_model(staging: Staging) -> None:
    replies = [PUT_THROUGH, "Nobody answered. Shall I take a message?"]
    async with hosting(staging)(replies, ear=TypedEar(["The manager, please."])) as running:
        running.carrier._office.manners = replace(running.carrier._office.manners, dial_status="no-answer")
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.5)
        async with asyncio.timeout(10):
            while len(call.dialled) < 1:  # noqa: ASYNC110 - the carrier's list, not an event
                await asyncio.sleep(0.02)
        await call.until_heard(0.5)
        await call.until_quiet(0.5)
        await call.hang_up()
        row, events = await record_of(running, call)
    kinds = [event["event_type"] for event in events]
    assert kinds.index("CALL_ENDED") < kinds.index("TRANSFER_RESULT") < kinds.index("CALL_RESUMED")
    assert kinds[-1] == "CALL_ENDED" or "CALL_SUMMARY" in kinds[-1]
    assert row["end_reason"] == "hangup"
    assert row["transcript"].splitlines() == [
        "Caller: The manager, please.",
        "Assistant: One moment, please.",
        "Assistant: Nobody answered. Shall I take a message?",
    ]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), "one record"


async def test_where_he_cannot_come_back_he_hears_a_sentence(staging: Staging) -> None:
    never = OpeningHours(ZoneInfo("Africa/Kigali"), ((),) * 7, say="We are closed.", transfer=MANAGER)
    async with hosting(staging, replace(HOST, hours=never))() as running:
        carrier = Carrier(running)
        closed = await carrier.post("/twilio/answer", FORM | {"From": "anonymous"})
        after = await carrier.post("/twilio/transferred", FORM | {"DialCallStatus": "busy"})
        again = await carrier.post("/twilio/transferred", FORM | {"DialCallStatus": "busy"})
        gone = await carrier.post("/twilio/transferred", FORM | {"DialCallStatus": "canceled"})
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(FORM["CallSid"])
    assert "We are closed." in closed.text
    assert f'callerId="{FORM["To"]}"' in closed.text, "a withheld number cannot be shown"
    assert "Nobody is here." in after.text
    assert after.text == again.text
    assert "Nobody is here." not in gone.text
    assert [event["outcome"] for event in payloads(events, "TRANSFER_RESULT")] == ["busy"]


async def test_a_forged_end_of_a_transfer_changes_nothing_and_an_odd_one_is_survived(staging: Staging) -> None:
    never = OpeningHours(ZoneInfo("Africa/Kigali"), ((),) * 7, say="We are closed.", transfer=MANAGER)
    async with hosting(staging, replace(HOST, hours=never))() as running:
        carrier = Carrier(running)
        await carrier.post("/twilio/answer", FORM)
        told = FORM | {"DialCallStatus": "busy"}
        for signed in ({}, {"X-Twilio-Signature": "forged"}, carrier.signature("https://elsewhere/twilio/after", told)):
            assert (await carrier.post("/twilio/transferred", told, signed)).status_code == 403
        strange = await carrier.post("/twilio/transferred", told | {"CallSid": "CA" + "9" * 32})
        odd = {"DialCallStatus": "completed\x00" + "x" * 5000, "DialCallDuration": "9" * 200}
        survived = await carrier.post("/twilio/transferred", FORM | odd)
        await running.gateway.store.flush()
        events = await running.gateway.store.read_events(FORM["CallSid"])
        metrics = running.gateway.metrics.render()[0].decode()
    assert "<Hangup" in strange.text, "nobody comes back whom nobody put through"
    assert survived.status_code == 200
    (result,) = payloads(events, "TRANSFER_RESULT")
    assert result["duration_s"] == 0
    assert 'voice_transfers_total{outcome="other"} 1.0' in metrics
