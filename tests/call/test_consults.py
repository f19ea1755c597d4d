"""What the supervisor does beside a call: on its record, in its costs, and in nobody's way."""

from __future__ import annotations

import pytest
from scene import Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.usage import Tariff, Usage

VOICE = Tariff(text_in=4.0, text_cached=0.4, text_out=24.0, audio_in=32.0, audio_cached=0.4, audio_out=64.0)
TEXT = Tariff(1.0, 0.1, 8.0, 0, 0, 0, book="built-in 2026-11-01")
USED = Usage(input_text=1_000_000, cached_text=500_000, output_text=100_000)


def begun(**policy: object) -> Scene:
    scene = Scene(Policy(audio_format="pcmu", **policy))
    scene.begin()
    return scene


def test_what_the_supervisor_does_is_on_the_record_as_it_happens() -> None:
    scene = begun()
    scene.tell(ev.ToolCalled("resp_1", "item_1", "ask_1", "get_next_response_from_supervisor", "{}"))
    scene.tell(ev.SupervisorCalledTool("call_9", "book", '{"day":"friday"}'))
    scene.pass_until(scene.now + 0.5)
    scene.tell(ev.SupervisorToolFinished("call_9", '{"success":true}', ok=True))
    scene.tell(ev.SupervisorToolFinished("call_9", '{"success":true}', ok=True))
    scene.tell(ev.SupervisorFinished("answered", "text-model", 2, ("book",), 1.25))
    scene.tell(ev.ToolFinished("ask_1", '{"say":"Booked."}'))
    assert scene.entries(entries.ToolAsked)[1:] == [
        entries.ToolAsked("call_9", "book", '{"day":"friday"}', by="supervisor")
    ]
    assert scene.entries(entries.ToolAnswered) == [
        entries.ToolAnswered("call_9", "book", '{"success":true}', ok=True, duration_ms=500, by="supervisor"),
        entries.ToolAnswered(
            "ask_1", "get_next_response_from_supervisor", '{"say":"Booked."}', ok=True, duration_ms=500
        ),
    ]
    assert scene.entries(entries.SupervisorAnswered) == [
        entries.SupervisorAnswered("answered", "text-model", 2, ("book",), 1250)
    ]
    assert [command.call_id for command in scene.all(do.SendToolOutput)] == ["ask_1"]
    assert [command.call_id for command in scene.all(do.RunTool)] == ["ask_1"], "the supervisor runs its own"


def test_a_tool_of_the_supervisors_that_is_at_work_when_the_call_ends_is_given_up_on_record() -> None:
    scene = begun()
    scene.tell(ev.SupervisorCalledTool("call_9", "book", "{}"))
    scene.tell(ev.CallerLeft("hangup"))
    (answered,) = scene.entries(entries.ToolAnswered)
    assert (answered.call_id, answered.ok, answered.by) == ("call_9", False, "supervisor")
    assert scene.tell(ev.SupervisorToolFinished("call_9", "{}", ok=True)) == []


def test_what_the_supervisor_uses_during_a_pause_is_hidden() -> None:
    scene = begun()
    scene.tell(ev.PauseAsked("tool"))
    scene.tell(ev.SupervisorCalledTool("call_9", "book", '{"card":"4111"}'))
    scene.tell(ev.SupervisorToolFinished("call_9", '{"card":"4111"}'))
    assert "4111" not in str(scene.entries(entries.ToolAsked) + scene.entries(entries.ToolAnswered))


def test_the_text_model_costs_like_the_voice_and_can_end_the_call() -> None:
    scene = begun(tariff=VOICE, text_tariff=TEXT, max_cost_usd=1.0, budget_sentence="That is all for today.")
    by_hand = 0.5 * 1.0 + 0.5 * 0.1 + 0.1 * 8.0
    scene.tell(ev.TextModelAnswered("resp_text", "supervisor", "text-model", "", USED))
    (metered,) = scene.entries(entries.ResponseMetered)
    assert (metered.model, metered.purpose, metered.status) == ("text-model", "supervisor", "completed")
    assert metered.cost_usd == pytest.approx(by_hand)
    assert metered.total_usd == pytest.approx(by_hand)
    assert metered.price_book == "built-in 2026-11-01"
    assert [entry.reason for entry in scene.entries(entries.GoodbyeBegun)] == ["call_budget"]


def test_an_unpriced_text_model_costs_nothing_that_is_known() -> None:
    scene = begun(tariff=VOICE, max_cost_usd=1.0)
    scene.tell(ev.TextModelAnswered("resp_text", "supervisor", "text-model", "incomplete", USED))
    (metered,) = scene.entries(entries.ResponseMetered)
    assert (metered.cost_usd, metered.status, metered.reason) == (None, "failed", "incomplete")
    scene.tell(ev.CallerLeft("hangup"))
    assert ended(scene)
