"""`/health` to the letter, `/ready` with reasons, `/metrics` by the asker's wish; over a real ASGI round trip."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone

import httpx
import pytest
from starlette.applications import Starlette

from voice_gateway.ops.metrics import Metrics
from voice_gateway.web.health import (
    Check,
    Exposition,
    Reason,
    configured,
    health_routes,
    not_draining,
    not_full,
    store_moving,
)

EVENING = datetime(2026, 11, 21, 20, 0, 0, tzinfo=UTC)


def client(
    checks: Sequence[Check] = (),
    metrics: Exposition | None = None,
    now: list[float] | None = None,
    today: datetime = EVENING,
) -> httpx.AsyncClient:
    clock = now or [0.0]
    routes = health_routes(
        version="0.1.0",
        features={"voiceAgent": True, "mcp": True},
        checks=checks,
        metrics=metrics or Metrics(version="0.1.0"),
        clock=lambda: clock[0],
        today=lambda: today,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=routes)), base_url="http://gateway")


async def test_health_is_told_to_the_letter():
    now = [1000.0]
    async with client(now=now) as http:
        now[0] += 123.4499
        answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == (
        '{"ok":true,"service":"voice-agent","version":"0.1.0","uptime":123.45,'
        '"timestamp":"2026-11-21T20:00:00.000Z","features":{"voiceAgent":true,"mcp":true}}'
    )


async def test_health_tells_utc_wherever_it_runs():
    abroad = datetime(2026, 11, 22, 5, 0, 0, tzinfo=timezone(timedelta(hours=9)))
    async with client(today=abroad) as http:
        assert (await http.get("/health")).json()["timestamp"] == "2026-11-21T20:00:00.000Z"


async def test_health_does_not_look_at_readiness():
    async with client([not_draining(lambda: True)]) as http:
        assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_head_answers_without_a_body_and_other_methods_are_refused(path: str):
    async with client() as http:
        head = await http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            refused = await http.request(method, path)
            assert refused.status_code == 405
            assert {"GET", "HEAD"} <= set(refused.headers["allow"].replace(" ", "").split(","))


async def test_nothing_is_kept_by_a_cache():
    async with client() as http:
        for path in ("/health", "/ready", "/metrics"):
            assert (await http.get(path)).headers["cache-control"] == "no-store"


# --- readiness ---


async def test_ready_when_no_check_has_a_reason():
    checks = [configured(()), store_moving(lambda: 0.2), not_draining(lambda: False), not_full(lambda: 3, 100)]
    async with client(checks) as http:
        answer = await http.get("/ready")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "reasons": []})


async def test_not_ready_names_every_reason_and_what_to_do():
    checks = [
        configured(["OPENAI_API_KEY is not set: put it into .env.", "PUBLIC_BASE_URL is not set."]),
        store_moving(lambda: 95.0, limit_s=30),
        not_draining(lambda: True),
        not_full(lambda: 100, 100),
    ]
    async with client(checks) as http:
        answer = await http.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["ok"] is False
    reasons = answer.json()["reasons"]
    assert [reason["code"] for reason in reasons] == [
        "not_configured",
        "not_configured",
        "store_stuck",
        "draining",
        "full",
    ]
    assert reasons[0]["detail"] == "OPENAI_API_KEY is not set: put it into .env."
    assert "95 s" in reasons[2]["detail"]
    assert "100 of 100 calls" in reasons[4]["detail"]


@pytest.mark.parametrize("reasons", [[], [Reason("full", "3 of 3 calls are live.")]])
async def test_ready_tells_the_outbox_whether_ready_or_not(reasons: list[Reason]):
    waiting = [3]
    details = {"outbox": lambda: {"depth": waiting[0]}}
    routes = health_routes(
        version="0.1.0", features={}, checks=[lambda: reasons], metrics=Metrics(version="0.1.0"), details=details
    )
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        told = (await http.get("/ready")).json()
        assert (told["ok"], told["outbox"]) == (not reasons, {"depth": 3})
        waiting[0] = 0
        assert (await http.get("/ready")).json()["outbox"] == {"depth": 0}


async def test_readiness_is_looked_at_anew_each_time():
    live = [2]
    async with client([not_full(lambda: live[0], 2)]) as http:
        assert (await http.get("/ready")).status_code == 503
        live[0] = 1
        assert (await http.get("/ready")).status_code == 200


# --- metrics ---


async def test_metrics_come_as_the_asker_accepts_them():
    metrics = Metrics(version="0.1.0")
    metrics.call_started("inbound")
    async with client(metrics=metrics) as http:
        plain = await http.get("/metrics", headers={"accept": "text/plain"})
        opened = await http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert 'voice_calls_active{direction="inbound"} 1.0' in plain.text
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    assert opened.text.endswith("# EOF\n")


async def test_metrics_are_written_outside_the_event_loops_thread():
    class Watched:
        enabled = True
        thread: threading.Thread | None = None

        def render(self, accept: str = "") -> tuple[bytes, str]:
            del accept
            self.thread = threading.current_thread()
            return b"", "text/plain"

    watched = Watched()
    async with client(metrics=watched) as http:
        await http.get("/metrics")
    assert watched.thread not in {None, threading.current_thread()}


async def test_metrics_that_are_off_say_so():
    async with client(metrics=Metrics(version="0.1.0", enabled=False)) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "METRICS_ENABLED" in answer.json()["detail"]
