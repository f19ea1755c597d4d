"""What a call costs, on record and at /metrics, and what happens when that is enough."""

from __future__ import annotations

import pytest
from whole_calls import Staging, payloads, record_of

from voice_gateway.model.prices import load_prices
from voice_gateway.store.database import fetch

LONG = "Welcome to this house, where there is a great deal to be said before anybody may order."


def cost_in_millionths(usage: dict[str, int]) -> float:
    """By hand, at the prices of gpt-realtime-2.1 and in the order of the table: fresh, cached, made."""
    text = 4.0 * (usage["input_text"] - usage["cached_text"]) + 0.4 * usage["cached_text"] + 24.0 * usage["output_text"]
    fresh_audio = usage["input_audio"] - usage["cached_audio"]
    return text + 32.0 * fresh_audio + 0.4 * usage["cached_audio"] + 64.0 * usage["output_audio"]


async def test_every_response_is_billed_and_the_call_is_their_sum_and_its_line(staging: Staging) -> None:
    async with staging(["Welcome to the longest greeting that we have!"]) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.5)
        await call.until_quiet(0.4)
        await call.hang_up()
        row, events = await record_of(running, call)
        spent_usd = running.gateway.budget.spent_usd
        (used,) = fetch(running.gateway.store.path, "select * from call_usage")
        shown = running.gateway.metrics.render()[0].decode()
    (metered,) = payloads(events, "RESPONSE_DONE")
    assert metered["usage"]["output_audio"] > 0
    assert metered["cost_usd"] * 1e6 == pytest.approx(cost_in_millionths(metered["usage"]), abs=1.0)
    assert (used["model"], used["price_book"]) == ("gpt-realtime-2.1", "built-in 2026-11-01")
    line_usd = load_prices().inbound_usd_per_minute
    assert row["cost_usd"] == pytest.approx(metered["cost_usd"] + line_usd, abs=1e-5)
    assert payloads(events, "CALL_ENDED")[0]["cost_usd"] == row["cost_usd"]
    assert spent_usd == pytest.approx(row["cost_usd"])
    assert f"voice_cost_usd_total {spent_usd}" in shown


async def test_who_has_used_his_share_of_the_day_hears_a_sentence_even_after_a_restart(staging: Staging) -> None:
    settings = {"MAX_CALLER_USD_PER_DAY": "0.001", "BUDGET_SENTENCE": "That was enough for today."}
    async with staging([LONG, "That was enough for today."], settings=settings) as running:
        first = await running.carrier.dial(running.webhook_url, from_number="+15550100011")
        await first.answered()
        await first.ended()
        row, events = await record_of(running, first)
    assert row["end_reason"] == "caller_budget", "its own cost ended it"
    turns = [(turn["text"], turn["interrupted"]) for turn in payloads(events, "TRANSCRIPT_ASSISTANT")]
    assert turns == [(LONG, False), ("That was enough for today.", False)], "in the middle of a word nobody is cut off"
    assert first.said == [], "the model itself had the last word"
    async with staging(settings=settings) as running:
        again = await running.carrier.dial(running.webhook_url, from_number="+15550100011")
        await again.ended()
        assert again.said == ["That was enough for today."]
        other = await running.carrier.dial(running.webhook_url, from_number="+15550100012")
        await other.answered()
        await other.hang_up()
        assert len(running.model.sessions) == 1, "the first caller cost no model session"


async def test_a_model_without_a_price_is_served_and_billed_for_its_line_alone(staging: Staging) -> None:
    async with staging(settings={"OPENAI_REALTIME_MODEL": "gpt-realtime"}) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.5)
        await call.hang_up()
        row, events = await record_of(running, call)
    assert payloads(events, "RESPONSE_DONE")[0]["cost_usd"] is None
    assert row["cost_usd"] == pytest.approx(load_prices().inbound_usd_per_minute)
