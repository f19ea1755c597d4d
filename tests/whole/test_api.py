"""The API over real HTTP: in live calls, in writing, and against its own document."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from test_bad_input import figure
from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.call.events import CallFacts
from voice_gateway.cli.stage import Stage, stage
from voice_gateway.emulator.faculties import UseTool
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.realtime import INSTANT, RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar
from voice_gateway.web import strangers

KEY = "shop-key-0123456789"
OPEN = {"AI_API_KEYS": f"shop:{KEY}", "AI_RATE_LIMIT": "1000000/minute"}


@asynccontextmanager
async def asking(running: Stage, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with httpx.AsyncClient(base_url=running.base_url, headers=headers, timeout=20) as client:
        yield client


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
    response = await client.post(path, json=body)
    return response.status_code, response.json()


REFUSED: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "/ai/say", {"content": b"{"}, 400, "invalid_json"),
    ("POST", "/ai/say", {"content": b'{"text":"\\ud800"}'}, 400, "invalid_json"),
    ("POST", "/ai/say", {"content": b'{"text":"\xff"}'}, 400, "invalid_json"),
    ("POST", "/ai/say", {"content": b"[" * 60_000}, 400, "invalid_json"),
    ("POST", "/ai/say", {"content": b" " * 70_000}, 413, "too_large"),
    ("POST", "/ai/say", {"content": b"text=x", "headers": {"content-type": "application/x-www-form-urlencoded"}}, 415,
     "unsupported_media_type"),
    ("POST", "/ai/say", {"json": []}, 422, "invalid"),
    ("POST", "/ai/say", {"json": {"text": "x" * 5001}}, 422, "invalid"),
    ("POST", "/ai/say", {"json": {"text": "Hello", "call_sid": "CA1", "stream": True}}, 422, "invalid"),
    ("POST", "/ai/say", {"json": {"text": "Hello", "call_sid": "CA1"}}, 404, "unknown_call"),
    ("POST", "/ai/say", {"json": {"text": "Hello", "persona": "nobody"}}, 404, "unknown_persona"),
    ("POST", "/ai/persona", {"json": {"key": "cfo", "call_sid": "CA1"}}, 404, "unknown_call"),
    ("POST", "/ai/persona", {"json": {"key": "Nobody!"}}, 422, "invalid"),
    ("DELETE", "/ai/sessions/default", {}, 404, "unknown_session"),
    ("GET", "/ai/say", {}, 405, "method_not_allowed"),
    ("GET", "/ai/nowhere", {}, 404, "not_found"),
    ("GET", "/nowhere", {}, 404, "not_found"),
    ("POST", "/health", {}, 405, "method_not_allowed"),
    ("DELETE", "/ready", {}, 405, "method_not_allowed"),
    ("GET", "/ai/calls/", {}, 404, "not_found"),
    ("GET", "/ai/calls", {"headers": {"Authorization": "Bearer wrong"}}, 401, "key"),
]  # fmt: skip


async def test_whatever_is_wrong_is_a_problem_with_what_to_do(staging: Staging, log: io.StringIO) -> None:
    async with staging(settings=OPEN) as running, asking(running) as client:
        for method, path, request, status, code in REFUSED:
            response = await client.request(method, path, **request)
            told = response.json()
            assert (response.status_code, told["code"], told["status"]) == (status, code, status), path
            assert response.headers["content-type"] == "application/problem+json"
            assert told["detail"]
            assert told["ok"] is False
        assert (await client.get("/ai/say")).headers["allow"] == "POST"
        assert await figure(running, 'voice_api_requests_total{door="say",status="422"}') == 3
        assert await figure(running, 'voice_refusals_total{door="api",reason="token"}') == 1
        assert len(running.model.sessions) == 0
    assert KEY not in log.getvalue()
    assert "wrong" not in log.getvalue()


async def test_who_guesses_keys_is_shut_out_at_the_doors_and_who_has_one_is_not(
    staging: Staging, log: io.StringIO
) -> None:
    settings = {**OPEN, "API_TOKEN": KEY[::-1]}
    async with staging(settings=settings) as running, asking(running) as client:
        assert (await client.get("/ai/calls")).status_code == 200
        for method, path in (("GET", "/ai/personas"), ("POST", "/calls/CA1/recording")):
            wrong = [await client.request(method, path, headers={"Authorization": "Bearer guess"}) for _ in range(21)]
            assert [each.status_code for each in wrong] == [*[401] * 20, 429], path
            assert wrong[-1].json()["code"] == "shut_out"
            assert 0 < int(wrong[-1].headers["retry-after"]) <= 60
        right = {"Authorization": f"Bearer {KEY[::-1]}"}
        assert (await client.post("/calls/CA1/recording", headers=right)).status_code == 429
        assert (await client.get("/ai/calls")).status_code == 200
        told = (await client.get("/ai/openapi.json")).json()["paths"]["/ai/personas"]["get"]["responses"]["429"]
        assert "`shut_out`" in told["description"]
        assert "Retry-After" in told["headers"]
        assert await figure(running, 'voice_refusals_total{door="api",reason="token"}') == 40
        assert await figure(running, 'voice_refusals_total{door="api",reason="rate"}') == 3
    assert log.getvalue().count("api.refused") == 40, "and the log is not filled by whoever goes on"
    for secret in (KEY, KEY[::-1], "guess"):
        assert secret not in log.getvalue()


@pytest.mark.parametrize(("proxies", "others"), [("10.0.0.0/8, 127.0.0.1", 200), ("10.0.0.0/8", 429)])
async def test_whom_a_proxy_of_ours_names_is_the_client_and_nobody_else(
    staging: Staging, proxies: str, others: int
) -> None:
    async with staging(settings={**OPEN, "FORWARDED_ALLOW_IPS": proxies}) as running, asking(running) as client:
        for number in range(20):
            said = {"Authorization": "Bearer guess", "X-Forwarded-For": f"198.51.100.{number}, 203.0.113.7, 10.1.2.3"}
            assert (await client.get("/ai/calls", headers=said)).status_code == 401
        for address, status in (("203.0.113.7", 429), ("203.0.113.8", others)):
            told = await client.get("/ai/calls", headers={"X-Forwarded-For": address})
            assert told.status_code == status, address


async def test_the_doors_are_shut_without_keys_and_the_model_is_left_alone_where_it_is_off(staging: Staging) -> None:
    async with staging() as running, asking(running) as client:
        assert (await client.get("/ai/calls")).json()["code"] == "not_configured"
        assert (await client.get("/ai/healthz")).json()["realtime_enabled"] is True
    off = {**OPEN, "AI_REALTIME_ENABLED": "false", "AI_RATE_LIMIT": "2/hour"}
    async with staging(settings=off) as running, asking(running) as client:
        for path in ("/ai/docs", "/ai/openapi.json"):
            assert (await client.get(path, headers={"Authorization": ""})).status_code == 200
        document = (await client.get("/ai/openapi.json")).json()
        shown = (await client.get("/ai/docs")).text
        assert "<script" not in shown
        for path, operations in document["paths"].items():
            assert path in shown
            assert all(operation["operationId"] in shown for operation in operations.values())
        for path in ("/ai/healthz", "/healthz"):
            told = {"ok": True, "persona": "waiter", "service": "voice-agent", "realtime_enabled": False}
            assert (await client.get(path)).json() == told
        assert (await post(client, "/ai/say", text="Hello"))[1]["code"] == "realtime_disabled"
        assert (await client.get("/ai/personas")).json()["default"] == "waiter"
        refused = await client.get("/ai/tools")
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 3000
        assert len(running.model.sessions) == 0


async def test_without_the_models_key_a_text_is_told_what_to_set_and_nobody_is_reached(staging: Staging) -> None:
    async with staging(settings={**OPEN, "OPENAI_API_KEY": ""}) as running, asking(running) as client:
        for more in ({}, {"stream": True}):
            status, told = await post(client, "/ai/say", text="Hello", **more)
            assert (status, told["code"]) == (503, "not_configured")
            assert "set OPENAI_API_KEY" in told["detail"]
        assert len(running.model.sessions) == 0


async def test_a_persona_that_came_since_the_start_can_be_asked_for(staging: Staging, tmp_path: Path) -> None:
    folder = tmp_path / "personas"
    folder.mkdir()
    async with staging(settings={**OPEN, "PERSONAS_DIR": str(folder)}) as running, asking(running) as client:
        (folder / "valet.toml").write_text('name = "Valet"\ninstructions = "You park cars."\n')
        async with asyncio.timeout(20):
            while (await post(client, "/ai/persona", key="valet"))[0] == 404:  # noqa: ASYNC110 - what a client sees, not an event
                await asyncio.sleep(0.1)
        assert (await post(client, "/ai/say", text="Hello"))[1]["persona"] == "valet"


async def test_a_conversation_in_writing_uses_tools_keeps_its_context_and_is_on_record(staging: Staging) -> None:
    async with staging(mind=RuleMind(), settings=OPEN) as running, asking(running) as client:
        status, told = await post(client, "/ai/say", text="How much is a cappuccino?")
        assert (status, told["ok"], told["persona"], told["session_id"]) == (200, True, "waiter", "default")
        assert "3,000 RWF" in told["reply"]
        assert told["tools"] == [{"name": "lookup_menu", "ok": True}]
        assert await post(client, "/ai/persona", key="cfo") == (200, {"ok": True, "active": "cfo", "pending": False})
        record_id = told["record_id"]
        told = (await post(client, "/ai/say", text="What was the revenue in 2025?"))[1]
        assert (told["persona"], told["record_id"]) == ("cfo", record_id)
        assert told["tools"][0]["name"] == "fetch_financials"
        assert len(running.model.sessions) == 1
        assert running.gateway.budget.spent_usd > 0
        assert (await client.delete("/ai/sessions/default")).json() == {"ok": True, "session_id": "default"}
        await running.gateway.store.flush()
        row = await running.gateway.store.read_call(record_id)
        assert row is not None
        assert (row["channel"], row["from_number"], row["status"]) == ("api", "api:shop", "completed")
        assert row["transcript"].startswith("Caller: How much is a cappuccino?\nAssistant: ")
        assert row["cost_usd"] > 0


async def test_a_reply_is_streamed_and_stops_when_nobody_reads_it(tmp_path: Path, log: io.StringIO) -> None:
    mind = ScriptedMind([(UseTool("lookup_menu", {"query": "cappuccino"}),), "One. Two.", "word " * 3000])
    latency = replace(INSTANT, token_s=0.005)
    model = RealtimeServer(mind=mind, voice=ToneVoice(), ear=TypedEar(), latency=latency)
    async with stage(model, tmp_path / "calls.sqlite3", settings=OPEN) as running, asking(running) as client:
        response = await client.post("/ai/say", json={"text": "A cappuccino?"}, headers={"Accept": "text/event-stream"})
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [event.partition("\ndata: ")[::2] for event in response.text.strip().split("\n\n")]
        assert [name for name, _ in events] == ["event: tool", "event: delta", "event: delta", "event: done"]
        assert orjson.loads(events[-1][1])["reply"] == "One. Two."
        async with client.stream("POST", "/ai/say", json={"text": "A book, please.", "stream": True}) as book:
            async for _ in book.aiter_lines():
                break
        session = running.gateway.desk.find("shop", "default")
        assert session is not None
        async with asyncio.timeout(15):
            while session.busy:  # noqa: ASYNC110 - a gauge, not an event
                await asyncio.sleep(0.01)
        await client.delete("/ai/sessions/default")
        await running.gateway.store.flush()
        used = payloads(await running.gateway.store.read_events(session.record_id), "RESPONSE_DONE")
    assert [each["status"] for each in used] == ["completed", "completed", "cancelled"]
    assert "word" not in log.getvalue(), "what is said is not logged"


async def test_something_is_said_in_a_live_call_and_what_was_heard_comes_back(staging: Staging) -> None:
    story = "It is a long story, and I tell it from the very beginning to the very end."
    mind = ScriptedMind(["Welcome!", "Ready.", story, "Taxi?", "And off we go, all of us."])
    ear = TypedEar(["Tell me a story."])
    async with staging(mind=mind, ear=ear, settings=OPEN) as running, asking(running) as client:
        call = await running.carrier.dial(running.webhook_url)
        await call.until_heard(0.1)
        (live,) = (await client.get("/ai/calls")).json()["calls"]
        sid = live["call_sid"]
        assert (live["persona"], live["streaming"]) == ("waiter", True)
        assert call.parties.from_number not in str(live)
        assert "***" in live["from_number"]
        status, told = await post(client, "/ai/say", text="Your table is ready.", call_sid=sid, wait=True)
        assert (status, told["status"], told["heard"]) == (200, "heard", "Ready.")
        assert told["heard_ms"] == 60 * len("Ready.")
        instructions = [situation.instructions for situation in mind.situations]
        assert 'Say exactly this and nothing else: "Your table is ready."' in instructions
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.5)
        asked = {"text": "Ask whether they need a taxi.", "mode": "ask", "interrupt": True}
        status, told = await post(client, "/ai/say", call_sid=sid, wait=True, **asked)
        assert (status, told["heard"]) == (200, "Taxi?")
        assert any(event.name == "clear" for event in call.events), "our own voice was cut for it"
        status, told = await post(client, "/ai/say", text="More.", call_sid=sid)
        assert (status, told["status"]) == (200, "accepted")
        told = (await post(client, "/ai/persona", key="cfo", call_sid=sid))[1]
        assert (told["active"], told["pending"]) == ("cfo", True), "what is being said is said first"
        async with asyncio.timeout(20):
            while (await client.get("/ai/calls")).json()["calls"][0]["persona"] != "cfo":  # noqa: ASYNC110 - as a program would look
                await asyncio.sleep(0.05)
        assert (await post(client, "/ai/persona", key="cfo", call_sid=sid))[1]["pending"] is False
        await call.hang_up()
        _, events = await record_of(running, call)
        assert (await post(client, "/ai/say", text="Hello?", call_sid=sid))[0] == 404
    cut = next(turn for turn in payloads(events, "TRANSCRIPT_ASSISTANT") if turn["generated"] == story)
    assert cut["interrupted"]
    assert 0 < cut["heard_ms"] < cut["total_ms"]
    assert payloads(events, "BARGE_IN") == []
    assert [each["by"] for each in payloads(events, "SAYING_ASKED")] == ["api:shop"] * 3
    assert [each["outcome"] for each in payloads(events, "SAYING_ENDED")] == ["heard"] * 3
    assert [(each["by"], each["to_persona"]) for each in payloads(events, "HANDED_OFF")] == [("api", "cfo")]


async def test_a_call_without_a_stream_yet_takes_nothing(staging: Staging) -> None:
    async with staging(settings=OPEN) as running, asking(running) as client:
        running.gateway.switchboard.admit(CallFacts("CA-early", persona="waiter"))
        status, told = await post(client, "/ai/say", text="Hello", call_sid="CA-early")
        assert (status, told["code"]) == (409, "no_stream")
        assert (await client.get("/ai/calls")).json()["calls"][0]["streaming"] is False
        running.gateway.switchboard.give_up("CA-early")


@pytest.mark.timeout(180)
async def test_the_api_does_what_its_document_says(
    staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every check that schemathesis has, over real HTTP, with the emulated model and tools that really work.

    It tries more wrong keys than anybody may, and wants a 401 for each.
    """
    monkeypatch.setattr(strangers, "MOST_MISTAKES", 1_000_000)
    settings = {**OPEN, "AI_MAX_SESSIONS": "1000"}
    async with staging(mind=RuleMind(), settings=settings) as running:
        program = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{running.base_url}/ai/openapi.json"]
        options = ["--checks", "all", "--seed", "1", "--max-examples", "4", "--warnings", "off", "--no-color"]
        tester = await asyncio.create_subprocess_exec(
            *program,
            *options,
            "--header",
            f"X-API-Key: {KEY}",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await tester.communicate()
        assert tester.returncode == 0, output.decode()
        assert await figure(running, 'voice_api_requests_total{door="say",status="200"}') >= 4
        assert await figure(running, "voice_internal_faults_total") == 0
