"""A guardrail in a whole call: the model's own session judges what it said, and takes it back."""

from __future__ import annotations

from functools import partial

from whole_calls import Staging, payloads, record_of

from voice_gateway.agent.cast import Cast
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.tools import Toolbox
from voice_gateway.app import Gateway
from voice_gateway.call.policy import Guard
from voice_gateway.config import Settings
from voice_gateway.emulator.scenarios import ScriptedMind

WRONG = "Good day. You should take two of these every morning."
RIGHT = "Ask a doctor."
GUARD = Guard("We give no medical advice.", ("medical_advice",), action="interrupt")
PERSONA = Persona("porter", "Porter", "You open doors.", greeting="Welcome!", guardrail=GUARD)


def guarded(settings: Settings) -> Gateway:
    return Gateway(settings, Cast.alone(PERSONA, Toolbox()))


async def test_what_should_not_have_been_said_is_cut_and_taken_back(staging: Staging) -> None:
    mind = ScriptedMind([WRONG, RIGHT], asides=["medical_advice", "none"])
    async with partial(staging, make=guarded)(mind=mind) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.4)
        await call.until_quiet(0.5)
        await call.hang_up()
        _, events = await record_of(running, call)
        figures = running.gateway.metrics.render()[0].decode()
    (tripped,) = payloads(events, "GUARDRAIL")
    assert (tripped["label"], tripped["action"], tripped["speaker"]) == ("medical_advice", "interrupt", "assistant")
    wrong, right = payloads(events, "TRANSCRIPT_ASSISTANT")
    assert wrong["interrupted"]
    assert wrong["heard_ms"] < wrong["total_ms"]
    assert WRONG.startswith(wrong["text"])
    assert (right["text"], right["interrupted"]) == (RIGHT, False)
    checks = [each for each in payloads(events, "RESPONSE_DONE") if each["purpose"] == "guardrail"]
    assert len(checks) == 2
    assert all(each["usage"]["output_text"] > 0 for each in checks)
    judged = [situation for situation in mind.situations if situation.aside]
    assert WRONG in judged[0].lines[-1].text
    assert "no medical advice" in judged[0].instructions
    assert 'voice_guardrail_seconds_count{outcome="tripped"} 1.0' in figures
    assert 'voice_guardrail_seconds_count{outcome="passed"} 1.0' in figures
    assert payloads(events, "ERROR") == []
