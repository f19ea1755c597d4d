"""The Edge Function in supabase/functions/call-webhook, run by Deno, before a real PostgreSQL.

Deno comes with the package of that name, as a test dependency; the function imports nothing from anywhere else.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import deno
import httpx
import orjson
import pytest
from far_side import SECRET_KEY, Supabase
from receiver import QUICK, SECRET

from voice_gateway.store.outbox import WEBHOOK, collecting
from voice_gateway.store.records import CallPatch, EventRecord, TurnRecord
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.supabase import SupabaseRecord
from voice_gateway.store.webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, shipper_to, signature

FUNCTION = Path(__file__).parents[2] / "supabase/functions/call-webhook"
Maker = Callable[..., EventRecord]

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("verb", [["check", "--no-remote"], ["lint"]], ids=lambda verb: verb[0])
async def test_its_types_and_its_style_are_in_order(tmp_path: Path, verb: list[str]) -> None:
    environment = {"DENO_DIR": str(tmp_path), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"}
    files = sorted(map(str, FUNCTION.glob("*.ts")))
    process = await asyncio.create_subprocess_exec(
        deno.find_deno_bin(),
        *verb,
        *files,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 0, said


@asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[str]:
    """The function as the platform runs it; yields its address."""
    environment = {
        "PATH": os.environ["PATH"], "DENO_DIR": str(folder / "deno"), "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1",
        "DENO_SERVE_ADDRESS": "tcp:127.0.0.1:0", **settings,
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        deno.find_deno_bin(), "run", "--no-remote", "--no-config", "--no-lock", "--allow-env", "--allow-net=127.0.0.1",
        str(FUNCTION / "index.ts"), env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = b""
        async with asyncio.timeout(30):
            while not (found := re.search(rb"http://127\.0\.0\.1:\d+/", said)):
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
        yield found.group().decode()
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def edge(tmp_path: Path, supabase: Supabase) -> Any:
    keys = orjson.dumps({"default": SECRET_KEY}).decode()
    secrets = f"the-older-secret-of-it, {SECRET}"
    async with running(
        tmp_path, SUPABASE_URL=supabase.url, SUPABASE_SECRET_KEYS=keys, CALL_WEBHOOK_SECRET=secrets
    ) as url:
        yield url


async def post(url: str, body: bytes, *, secret: str = SECRET, age_s: int = 0, **headers: str) -> httpx.Response:
    timestamp = str(int(time.time()) - age_s)
    signed = {TIMESTAMP_HEADER: timestamp, SIGNATURE_HEADER: signature(secret, timestamp, body)} | headers
    async with httpx.AsyncClient() as http:
        return await http.post(url, content=body, headers=signed)


async def test_what_the_gateway_tells_rests_in_the_project_once(
    tmp_path: Path, edge: str, supabase: Supabase, event: Maker
) -> None:
    store = SqliteStore(tmp_path / "store.db", linger_s=0.001, at_open=collecting(()))
    await store.start()
    shipper = shipper_to(edge, SECRET, store, QUICK)
    shipper.start()
    told = event(1, event_type="CALL_STARTED", payload={"from_number": "+250788000123", "text": "Grüße\n你好"})
    turn = TurnRecord(told.id, "CA1", 1, "user", "hello", told.occurred_at)
    store.write(told, CallPatch("CA1", 1, from_number="+250788000123", status="in_progress"), [turn])
    for seq in range(2, 121):
        store.write(event(seq))
    assert await shipper.flush(20)
    assert WEBHOOK.read_backlog(store.path).refused == 0
    await shipper.close(0)
    await store.close()
    remote = SupabaseRecord(supabase.url, SECRET_KEY)
    rows = await remote.read_events("CA1")
    assert [row["seq"] for row in rows] == list(range(1, 121))
    assert rows[0]["payload"] == {"from_number": "+250788000123", "text": "Grüße\n你好"}
    call = await remote.read_call("CA1")
    assert call is not None
    assert call["from_number"] == "+250788000123"
    again = orjson.dumps({"events": [{"id": rows[0]["id"], "call_sid": "CA1", "event_type": "CALL_STARTED", "seq": 1}]})
    for _ in range(2):
        assert (await post(edge, again)).json() == {"received": 1, "stored": 0, "known": 1, "refused": []}
    assert len(await remote.read_events("CA1")) == 120
    await remote.close()


async def test_nothing_is_believed_without_a_good_signature(edge: str, supabase: Supabase) -> None:
    body = b'{"events":[]}'
    assert (await post(edge, body)).status_code == 200
    assert (await post(edge, body, secret="the-older-secret-of-it")).status_code == 200, "while it is being replaced"
    asked = len(supabase.asked)
    good = signature(SECRET, str(int(time.time())), body)
    refused = [
        await post(edge, body, secret="another-secret-long-enough"),
        await post(edge, body, age_s=301),
        await post(edge, body, age_s=-302),
        await post(edge, b'{"events":[] }', **{SIGNATURE_HEADER: good}),
        await post(edge, body, **{SIGNATURE_HEADER: ""}),
        await post(edge, body, **{SIGNATURE_HEADER: good.removeprefix("v1=")}),
        await post(edge, body, **{SIGNATURE_HEADER: good[:-2]}),
        await post(edge, body, **{SIGNATURE_HEADER: good.upper()}),
        await post(edge, body, **{TIMESTAMP_HEADER: "1e9"}),
        await post(edge, body, **{TIMESTAMP_HEADER: ""}),
        await post(edge, body, secret=""),
    ]
    assert [each.status_code for each in refused] == [401] * len(refused)
    assert len(supabase.asked) == asked, "and nobody asked the database"


async def test_what_is_no_list_of_events_is_refused(edge: str) -> None:
    for body in (b"", b"{}", b"[]", b"null", b'{"events":{}}', b"\xff\xfe", b'{"events":'):
        assert (await post(edge, body)).status_code == 400
    async with httpx.AsyncClient() as http:
        assert (await http.get(edge)).status_code == 405
    assert (await post(edge, b"x" * (4 << 20) + b"x")).status_code == 413


async def test_a_bad_event_is_named_and_a_database_that_is_away_is_no_fault_of_the_events(
    edge: str, supabase: Supabase
) -> None:
    good = {"id": "019aa0e0-0000-7000-8000-000000000001", "call_sid": "CA1", "event_type": "DTMF", "seq": 1}
    answer = await post(edge, orjson.dumps({"events": [good, {"id": "none", "call_sid": "CA1"}]}))
    assert answer.status_code == 200
    assert [each["index"] for each in answer.json()["refused"]] == [1]
    supabase.wire.become("down")
    assert (await post(edge, orjson.dumps({"events": [good]}))).status_code == 503


async def test_without_a_secret_nobody_is_let_in(tmp_path: Path) -> None:
    async with running(tmp_path, SUPABASE_URL="http://127.0.0.1:1", SUPABASE_SERVICE_ROLE_KEY="k") as url:
        assert (await post(url, b'{"events":[]}', secret="")).status_code == 503
