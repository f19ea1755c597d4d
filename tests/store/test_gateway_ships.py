"""The whole gateway with a project of Supabase behind it: started, ready, drained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from far_side import SECRET_KEY, Supabase
from postgrest_double import SERVICE_ROLE_KEY

from voice_gateway import app, config
from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts

pytestmark = pytest.mark.postgres


def gateway(tmp_path: Path, far: Supabase, **settings: str) -> app.Gateway:
    environment = {
        "OPENAI_API_KEY": "any", "TWILIO_AUTH_TOKEN": "0" * 32, "PUBLIC_BASE_URL": "http://127.0.0.1:8787",
        "STORE_PATH": str(tmp_path / "store.db"), "SUPABASE_URL": far.url, **settings,
    }  # fmt: skip
    return app.build(config.load(environment, None))


def lead_a_call(made: app.Gateway, sid: str = "CA1") -> None:
    record = made.journal.open(CallFacts(sid, "+250788000001", "+35621000456", persona="waiter"))
    record.write(entries.CallStarted("+250788000001", "+35621000456", "inbound", "waiter"))
    record.write(entries.UserSpoke("item_1", "A coffee, please", 0, 900))
    record.write(entries.CallEnded("hangup", "completed", 4000, "Caller: A coffee, please"))


async def ready(made: app.Gateway) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(made.asgi), base_url="http://gateway") as http:
        answer: dict[str, Any] = (await http.get("/ready")).json()
        return answer


@pytest.mark.parametrize(
    "keys",
    [
        {"SUPABASE_SECRET_KEY": SECRET_KEY, "SUPABASE_SERVICE_ROLE_KEY": "an-older-key-that-is-gone"},
        {"SUPABASE_SERVICE_ROLE_KEY": SERVICE_ROLE_KEY},
    ],
)
async def test_what_waits_is_shipped_before_the_process_ends(
    tmp_path: Path, supabase: Supabase, database_of: Callable[[], Any], keys: dict[str, str]
) -> None:
    made = gateway(tmp_path, supabase, **keys)
    async with made.asgi.router.lifespan_context(made.asgi):
        lead_a_call(made)
    with database_of() as database:
        assert database.execute("select status, from_number from calls").fetchone() == ("completed", "+250788000001")
        assert database.execute("select count(*) from call_events").fetchone() == (3,)
        assert database.execute("select speaker, text from call_turns").fetchone() == ("user", "A coffee, please")


async def test_without_supabase_the_gateway_stays_ready_and_tells_what_waits(
    tmp_path: Path, supabase: Supabase, database_of: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LAST_SHIPPING_S", 0.3)
    supabase.wire.become("down")
    made = gateway(tmp_path, supabase, SUPABASE_SECRET_KEY=SECRET_KEY)
    async with made.asgi.router.lifespan_context(made.asgi):
        lead_a_call(made)
        assert made.shipper is not None
        assert not await made.shipper.flush(2.0)
        told = await ready(made)
        assert (told["ok"], told["outbox"]["depth"], told["outbox"]["refused"]) == (True, 3, 0)
        assert told["outbox"]["lastError"]
        assert b"voice_outbox_depth 3.0" in made.metrics.render()[0]
        assert SECRET_KEY not in str(told)
    supabase.wire.become("well")
    successor = gateway(tmp_path, supabase, SUPABASE_SECRET_KEY=SECRET_KEY)
    async with successor.asgi.router.lifespan_context(successor.asgi):
        lead_a_call(successor, "CA2")
        assert successor.shipper is not None
        assert await successor.shipper.flush(10)
        assert (await ready(successor))["outbox"] == {
            "depth": 0, "oldestAgeSeconds": 0.0, "refused": 0, "lastError": "",
        }  # fmt: skip
    with database_of() as database:
        assert database.execute("select count(*) from calls").fetchone() == (2,)


async def test_where_no_project_is_named_there_is_no_outbox_to_tell_of(tmp_path: Path, supabase: Supabase) -> None:
    made = gateway(tmp_path, supabase, SUPABASE_URL="")
    async with made.asgi.router.lifespan_context(made.asgi):
        assert made.shipper is None
        assert "outbox" not in await ready(made)
