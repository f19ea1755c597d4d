"""Money: what a response costs, and what a call has cost so far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import Scene, ended

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Policy
from voice_gateway.call.costs import Meter, estimated
from voice_gateway.call.usage import Tariff, Usage

TARIFF = Tariff(text_in=4.0, text_cached=0.4, text_out=24.0, audio_in=32.0, audio_cached=0.4, audio_out=64.0)
TOKENS = st.integers(0, 10**7)


def test_a_million_tokens_of_each_kind_cost_the_price_of_the_list() -> None:
    million = 1_000_000
    assert TARIFF.cost(Usage(input_text=million)) == pytest.approx(4.0)
    assert TARIFF.cost(Usage(input_audio=million)) == pytest.approx(32.0)
    assert TARIFF.cost(Usage(output_text=million)) == pytest.approx(24.0)
    assert TARIFF.cost(Usage(output_audio=million)) == pytest.approx(64.0)


def test_cached_sound_is_a_subset_of_the_input_and_eighty_times_cheaper() -> None:
    fresh = TARIFF.cost(Usage(input_audio=10_000))
    cached = TARIFF.cost(Usage(input_audio=10_000, cached_audio=10_000))
    assert fresh / cached == pytest.approx(80.0)
    half = TARIFF.cost(Usage(input_audio=10_000, cached_audio=5_000))
    assert half == pytest.approx((fresh + cached) / 2)


def test_a_recorded_response_adds_up_by_hand() -> None:
    usage = Usage(input_text=119, input_audio=13, cached_text=64, output_text=30, output_audio=91)
    by_hand = (55 * 4.0 + 64 * 0.4 + 13 * 32.0 + 30 * 24.0 + 91 * 64.0) / 1e6
    assert TARIFF.cost(usage) == pytest.approx(by_hand)


@given(st.builds(Usage, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS))
def test_a_cost_is_never_negative_and_never_more_than_without_a_cache(usage: Usage) -> None:
    uncached = Usage(usage.input_text, usage.input_audio, 0, 0, usage.output_text, usage.output_audio)
    assert 0.0 <= TARIFF.cost(usage) <= TARIFF.cost(uncached) + 1e-9


def test_a_response_without_usage_is_booked_by_the_sound_that_was_received() -> None:
    meter = Meter(began_at=0.0, tariff=TARIFF)
    assert estimated(1000.0) == Usage(output_audio=20)
    told = ev.ResponseFinished("resp_1", "cancelled")
    assert meter.book(told, 1000.0, 0.0).cost_usd == pytest.approx(20 * 64.0 / 1e6)
    assert meter.book(told, 0.0, 0.0).cost_usd == 0.0


def test_the_line_is_billed_by_minutes_begun() -> None:
    meter = Meter(began_at=100.0, line_usd_per_minute=0.01)
    assert meter.line_usd(100.0) == 0.0
    assert meter.line_usd(100.1) == pytest.approx(0.01)
    assert meter.line_usd(160.0) == pytest.approx(0.01)
    assert meter.line_usd(178.0) == pytest.approx(0.02)


def test_a_call_is_over_its_limit_by_model_line_and_transcription_together() -> None:
    meter = Meter(0.0, TARIFF, line_usd_per_minute=0.01, transcription_usd_per_minute=0.06, limit_usd=0.10)
    meter.book(ev.ResponseFinished("resp_1", "completed", usage=Usage(output_audio=1000)), 0.0, 1.0)
    assert meter.total_usd(1.0) == pytest.approx(0.074)
    assert not meter.is_over(1.0)
    meter.add_transcription(16.0)
    assert meter.total_usd(1.0) == pytest.approx(0.09)
    assert not meter.is_over(60.0)
    assert meter.is_over(61.0)


def test_without_a_price_nothing_is_booked_and_without_a_limit_nothing_ends() -> None:
    meter = Meter(0.0)
    told = ev.ResponseFinished("resp_1", "completed", usage=Usage(output_audio=10**9))
    assert meter.book(told, 0.0, 1.0).cost_usd is None
    assert meter.total_usd(1.0) == 0.0
    assert not Meter(0.0, TARIFF, line_usd_per_minute=9.0).is_over(10**6)


# --- in a call --------------------------------------------------------------------------------------------------


def dear_call(limit_usd: float) -> Scene:
    scene = Scene(Policy(audio_format="pcmu", tariff=TARIFF, max_cost_usd=limit_usd, budget_sentence="Enough."))
    scene.begin()
    return scene


def test_a_call_that_has_cost_what_it_may_is_bidden_goodbye() -> None:
    scene = dear_call(limit_usd=0.01)
    scene.answer("resp_1", "item_1", 1.0, text="Two tacos, then.", done=False)
    finished = ev.ResponseFinished("resp_1", "completed", usage=Usage(output_audio=200))
    scene.tell(finished)
    (asked,) = scene.all(do.CreateResponse)
    assert "Enough." in str(asked.instructions)
    scene.answer("resp_2", "item_2", 0.5, text="Enough.")
    scene.pass_until(scene.now + 3.0)
    assert [turn.text for turn in scene.entries(entries.AssistantSpoke)] == ["Two tacos, then.", "Enough."]
    assert [turn.interrupted for turn in scene.entries(entries.AssistantSpoke)] == [False, False]
    assert (ended(scene).reason, ended(scene).status) == ("call_budget", "completed")
    assert ended(scene).cost_usd == pytest.approx(200 * 64.0 / 1e6 + 10 * 64.0 / 1e6)


def test_a_call_within_its_limit_goes_on() -> None:
    scene = dear_call(limit_usd=0.02)
    scene.answer("resp_1", "item_1", 1.0, done=False)
    scene.tell(ev.ResponseFinished("resp_1", "completed", usage=Usage(output_audio=200)))
    scene.pass_until(scene.now + 5.0)
    assert not scene.bridge.has_ended
    assert scene.all(do.CreateResponse) == []


def test_a_cut_response_without_usage_is_billed_by_what_came_of_it() -> None:
    scene = dear_call(limit_usd=0.0)
    scene.answer("resp_1", "item_1", 2.0, done=False)
    scene.pass_until(scene.now + 1.0)
    scene.caller_speaks()
    scene.tell(ev.ResponseFinished("resp_1", "cancelled", "turn_detected"))
    (metered,) = scene.entries(entries.ResponseMetered)
    assert metered.cost_usd == pytest.approx(40 * 64.0 / 1e6)
