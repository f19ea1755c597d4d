"""A whole call that goes on in another language."""

from __future__ import annotations

from functools import partial

from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.agent.cast import Cast
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.app import Gateway
from voice_gateway.config import Settings
from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.scenarios import ScriptedMind, TypedEar, When

PORTER = Persona("porter", "Porter", "You open doors.", language="en", languages=("en", "fr"), tools=("set_language",))


async def test_the_session_goes_on_in_the_language_that_the_model_chose(staging: Staging) -> None:
    def make(settings: Settings) -> Gateway:
        return Gateway(settings, Cast.alone(PORTER, house_toolbox().pick(PORTER.tools)))

    to_french = When("Bonjour", (UseTool("set_language", {"language": "fr"}),))
    mind = ScriptedMind([to_french, When(".", (Say("Bonjour, entrez."),), tool="set_language")])
    async with partial(staging, make=make)(mind=mind, ear=TypedEar(["Bonjour !"])) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        session = await running.model.joined()
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.5)
        await call.hang_up()
        row, events = await record_of(running, call)
    assert session.settings["audio"]["input"]["transcription"]["language"] == "fr"
    assert "You now speak fr" in mind.situations[-1].instructions
    assert [entry["language"] for entry in payloads(events, "LANGUAGE_SET")] == ["fr"]
    assert row["language"] == "fr"
    assert payloads(events, "ERROR") == []
