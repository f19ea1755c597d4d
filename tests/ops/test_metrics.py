"""What is counted comes out under its name, labels stay bounded, and the loop's lag is measured without waiting."""

from __future__ import annotations

import inspect
import re

import pytest

from voice_gateway.caller import media_stream
from voice_gateway.caller.tokens import TokenVerdict
from voice_gateway.model import refusal
from voice_gateway.model.catalogue import FATAL_CODES
from voice_gateway.ops.labels import DROP_REASONS, MODEL_ERRORS, REFUSALS
from voice_gateway.ops.metrics import LoopLag, Metrics
from voice_gateway.switchboard import Refusal
from voice_gateway.web import twilio

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="0.1.0", personas=["waiter"], tools=["menu"], models=["gpt-realtime-2.1"])


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_a_call_is_active_until_it_ended_and_counted_by_outcome(metrics: Metrics):
    metrics.call_started("inbound")
    metrics.call_started("inbound")
    assert value(metrics, "voice_calls_active", direction="inbound") == 2
    metrics.call_ended("inbound", "completed", 42.0)
    assert value(metrics, "voice_calls_active", direction="inbound") == 1
    assert value(metrics, "voice_calls_total", direction="inbound", outcome="completed") == 1
    assert value(metrics, "voice_call_duration_seconds_bucket", le="60.0") == 1
    assert value(metrics, "voice_call_duration_seconds_bucket", le="30.0") == 0


def test_series_of_calls_are_there_before_the_first_call(metrics: Metrics):
    assert value(metrics, "voice_calls_total", direction="outbound", outcome="failed") == 0


def test_speech_is_measured(metrics: Metrics):
    metrics.answered("waiter", 0.65)
    metrics.first_heard(0.003)
    metrics.barged_in()
    metrics.fell_silent(0.004)
    metrics.held(0.11)
    metrics.hold_ended("in_vain", 0.7)
    metrics.handed_over("update", 0.1)
    metrics.heard_estimated(-0.03)
    metrics.padded(0.5)
    assert value(metrics, "voice_response_latency_seconds_sum", persona="waiter") == 0.65
    assert value(metrics, "voice_first_sound_seconds_bucket", le="0.005") == 1
    assert value(metrics, "voice_barge_ins_total") == 1
    assert value(metrics, "voice_barge_in_stop_seconds_count") == 1
    assert value(metrics, "voice_hold_delay_seconds_sum") == 0.11
    assert value(metrics, "voice_hold_seconds_count", outcome="in_vain") == 1
    assert value(metrics, "voice_handoff_seconds_sum", outcome="update") == 0.1
    assert value(metrics, "voice_handoff_seconds_count", outcome="failed") == 0
    assert value(metrics, "voice_hold_seconds_count", outcome="confirmed") == 0
    assert value(metrics, "voice_heard_error_seconds_sum") == 0.03
    assert value(metrics, "voice_inbound_padded_seconds_total") == 0.5


def test_trouble_is_counted_by_where_and_what(metrics: Metrics):
    metrics.leg_failed("model", "lost")
    metrics.media_dropped("not_json", 3)
    metrics.refused("stream", "token")
    metrics.model_events_unknown()
    metrics.model_erred("session_expired")
    assert value(metrics, "voice_websocket_errors_total", leg="model", kind="lost") == 1
    assert value(metrics, "voice_media_messages_dropped_total", reason="not_json") == 3
    assert value(metrics, "voice_refusals_total", door="stream", reason="token") == 1
    assert value(metrics, "voice_model_events_unknown_total") == 1
    assert value(metrics, "voice_model_errors_total", code="session_expired") == 1


def test_tools_and_tokens_are_counted(metrics: Metrics):
    metrics.tool_finished("menu", "ok", 0.02)
    metrics.tokens_used("gpt-realtime-2.1", "audio", fresh=100, cached=40, output=200)
    metrics.tokens_used("gpt-realtime-2.1", "text")
    assert value(metrics, "voice_tool_duration_seconds_count", tool="menu", outcome="ok") == 1
    tokens = {"model": "gpt-realtime-2.1", "modality": "audio"}
    assert value(metrics, "voice_tokens_total", direction="input", cached="false", **tokens) == 100
    assert value(metrics, "voice_tokens_total", direction="input", cached="true", **tokens) == 40
    assert value(metrics, "voice_tokens_total", direction="output", cached="false", **tokens) == 200


def test_a_far_side_cannot_make_new_series(metrics: Metrics):
    before = len(metrics.render()[0].splitlines())
    for n in range(500):
        metrics.model_erred(f"code_{n}")
        metrics.tool_finished(f"made_up_{n}", "ok", 0.1)
        metrics.refused(f"+1555123{n:04}", f"reason {n}")
        metrics.answered(f"persona_{n}", 0.3)
    text = metrics.render()[0].decode()
    assert value(metrics, "voice_model_errors_total", code="other") == 500
    assert value(metrics, "voice_tool_duration_seconds_count", tool="other", outcome="ok") == 500
    assert len(text.splitlines()) - before < 60
    assert "+1555" not in text
    assert len(metrics._model.errors._bound) == 1, "the cache must not keep what a far side made up"


def test_an_unknown_direction_goes_up_and_down_alike(metrics: Metrics):
    metrics.call_started("sideways")
    metrics.call_ended("sideways", "melted", 1.0)
    assert value(metrics, "voice_calls_active", direction="other") == 0
    assert value(metrics, "voice_calls_total", direction="other", outcome="other") == 1


def test_two_gateways_in_one_process_count_apart(metrics: Metrics):
    other = Metrics(version="0.1.0")
    metrics.call_started("inbound")
    assert value(other, "voice_calls_active", direction="inbound") == 0


def test_the_house_is_asked_at_each_scrape(metrics: Metrics):
    waiting = [3.0]
    metrics.watch_store(lambda: waiting[0], lambda: 1.5)
    metrics.watch_admission(available=lambda: waiting[0] < 5, draining=lambda: False)
    assert value(metrics, "voice_store_queue_depth") == 3
    assert value(metrics, "voice_available") == 1
    waiting[0] = 9
    assert value(metrics, "voice_store_queue_depth") == 9
    assert value(metrics, "voice_available") == 0
    assert value(metrics, "voice_store_oldest_age_seconds") == 1.5
    assert value(metrics, "voice_draining") == 0


class Outbox:
    """Something on its way."""

    depth = 7
    refused = 2
    failures = 11

    def oldest_age_s(self) -> float:
        return 90.5


def test_the_outbox_is_asked_at_each_scrape(metrics: Metrics):
    figures = ("voice_outbox_depth", "voice_outbox_oldest_age_seconds", "voice_outbox_refused", "voice_outbox_failures")
    read = metrics.registry.get_sample_value
    assert [read(name) for name in figures] == [0, 0, 0, 0]
    metrics.watch_outbox(Outbox())
    assert [read(name) for name in figures] == [7, 90.5, 2, 11]


def test_what_is_given_up_for_room_is_counted(metrics: Metrics):
    metrics.watch_store(lambda: 0, lambda: 0.0, lambda: 4)
    assert metrics.registry.get_sample_value("voice_store_events_cleared") == 4


def test_the_text_is_that_of_prometheus_and_openmetrics_on_request(metrics: Metrics):
    metrics.answered("waiter", 0.7, call_sid="CA1")
    plain, plain_type = metrics.render()
    opened, open_type = metrics.render(OPENMETRICS)
    assert plain_type.startswith("text/plain; version=0.0.4")
    assert open_type.startswith("application/openmetrics-text")
    assert opened.endswith(b"# EOF\n")
    assert b'call_sid="CA1"' in opened, "a call's id is an exemplar"
    assert b"CA1" not in plain, "and never a label"


def test_names_carry_the_prefix_and_base_units(metrics: Metrics):
    families = [f.name for f in metrics.registry.collect() if not f.name.startswith(("process_", "python_"))]
    assert len(families) >= 20
    for name in families:
        assert re.fullmatch(r"voice_[a-z_]+", name), name
        assert not re.search(r"_(ms|millis|milliseconds|minutes)$", name), name


def test_what_runs_is_told(metrics: Metrics):
    assert b'voice_build_info{python="' in metrics.render()[0]
    assert b'version="0.1.0"' in metrics.render()[0]


async def test_the_loops_lag_is_what_it_slept_too_long():
    now = [100.0]
    late = iter([0.0, 0.05, -0.001])
    seen: list[float] = []

    async def sleep(seconds: float) -> None:
        try:
            now[0] += seconds + next(late)
        except StopIteration:
            raise InterruptedError from None

    with pytest.raises(InterruptedError):
        await LoopLag(seen.append, interval_s=0.1, clock=lambda: now[0], sleep=sleep).run()
    assert seen == pytest.approx([0.0, 0.05, 0.0])


def test_lag_is_a_histogram(metrics: Metrics):
    metrics.loop_lagged(0.03)
    assert value(metrics, "voice_event_loop_lag_seconds_bucket", le="0.02") == 0
    assert value(metrics, "voice_event_loop_lag_seconds_bucket", le="0.04") == 1


# --- the rooms' own words are among the labels, so that none of them disappears in `other` ---


def test_every_reason_of_a_dropped_message_has_its_label():
    reasons = set(re.findall(r'_Dropped\("(\w+)"', inspect.getsource(media_stream)))
    assert len(reasons) > 10
    assert reasons <= set(DROP_REASONS)


def test_every_reason_of_a_refusal_has_its_label():
    source = inspect.getsource(twilio)
    told = set(re.findall(r'_BadForm\("(\w+)"|_turn_away\("(\w+)"', source))
    reasons = {reason for pair in told for reason in pair if reason}
    reasons |= {refused.value for refused in Refusal} | {TokenVerdict.EXPIRED.value, TokenVerdict.REPLAYED.value}
    assert "signature" in reasons
    assert reasons <= set(REFUSALS)


def test_every_code_of_a_lost_model_has_its_label():
    own = set(re.findall(r'"([a-z]+_[a-z]+|timeout)", f?"', inspect.getsource(refusal)))
    assert "connection_refused" in own
    assert own | FATAL_CODES <= set(MODEL_ERRORS)
