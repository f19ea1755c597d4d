"""The whole gateway, and what becomes of what it writes: told to a webhook, redacted, swept, erased while it runs."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import far_side
import httpx
import orjson
import pytest
from receiver import SECRET, Receiver, receiver

from voice_gateway import app, config
from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.errors import ConfigError
from voice_gateway.ops import logs
from voice_gateway.store.outbox import WEBHOOK
from voice_gateway.store.records import CallPatch, EventRecord, new_id
from voice_gateway.store.statements import Statement

NUMBER = "+250791234567"
CARD = "4111 1111 1111 1111"


@pytest.fixture
async def far() -> Any:
    async with receiver() as each:
        yield each


def gateway(tmp_path: Path, **settings: str) -> app.Gateway:
    environment = {
        "OPENAI_API_KEY": "any", "TWILIO_AUTH_TOKEN": "0" * 32, "PUBLIC_BASE_URL": "http://127.0.0.1:8787",
        "STORE_PATH": str(tmp_path / "store.db"), **settings,
    }  # fmt: skip
    return app.build(config.load(environment, None))


def lead_a_call(made: app.Gateway, sid: str = "CA1", said: str = "A coffee, please") -> None:
    record = made.journal.open(CallFacts(sid, NUMBER, "+35621000456", persona="waiter"))
    record.write(entries.CallStarted(NUMBER, "+35621000456", "inbound", "waiter"))
    record.write(entries.UserSpoke("item_1", said, 0, 900))
    record.write(entries.CallEnded("hangup", "completed", 4000, f"Caller: {said}"))


async def ready(made: app.Gateway) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(made.asgi), base_url="http://gateway") as http:
        answer: dict[str, Any] = (await http.get("/ready")).json()
        return answer


async def test_a_call_reaches_the_webhook_before_the_process_ends_without_the_card_number(
    tmp_path: Path, far: Receiver
) -> None:
    wishes = {"CALL_WEBHOOK_URL": f"{far.url}?key=k", "CALL_WEBHOOK_SECRET": SECRET, "REDACT_TRANSCRIPTS": "cards"}
    made = gateway(tmp_path, **wishes)
    async with made.asgi.router.lifespan_context(made.asgi):
        lead_a_call(made, said=f"My card is {CARD}")
    assert [each["event_type"] for each in far.events] == ["CALL_STARTED", "TRANSCRIPT_USER", "CALL_ENDED"]
    assert far.events[1]["payload"]["text"] == "My card is [card number]"
    assert far.events[2]["call"]["transcript"] == "Caller: My card is [card number]"
    assert CARD.encode() not in (tmp_path / "store.db").read_bytes()


async def test_a_webhook_that_is_away_costs_nothing_and_is_told_without_anything_private(
    tmp_path: Path, far: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LAST_SHIPPING_S", 0.2)
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    far.refuses = lambda _: 503
    wishes = {"CALL_WEBHOOK_URL": f"{far.url}?key=of-theirs", "CALL_WEBHOOK_SECRET": SECRET}
    made = gateway(tmp_path, **wishes, CALL_WEBHOOK_EVENTS="CALL_STARTED, CALL_ENDED")
    async with made.asgi.router.lifespan_context(made.asgi):
        lead_a_call(made)
        assert await made.store.flush()
        assert made._keeper._webhook is not None
        assert not await made._keeper._webhook.flush(0.3)
        told = await ready(made)
        assert (told["ok"], told["webhook"]["lastError"]) == (True, "HTTP 503")
        assert "of-theirs" not in str(told)
        assert b"voice_webhook_failures" in made.metrics.render()[0]
    logs.configure("info")
    assert WEBHOOK.read_backlog(tmp_path / "store.db").depth == 2
    assert "webhook.failing" in stream.getvalue()
    for private in ("of-theirs", SECRET, NUMBER, NUMBER[1:], "coffee"):
        assert private not in stream.getvalue()


async def test_what_is_too_old_is_swept_when_the_gateway_starts(tmp_path: Path) -> None:
    made = gateway(tmp_path, RETENTION_DAYS="30")
    old = datetime.now(UTC) - timedelta(days=31)
    async with made.asgi.router.lifespan_context(made.asgi):
        lead_a_call(made)
    store = app.SqliteStore(tmp_path / "store.db")
    await store.start()
    event = EventRecord(new_id(), "CAold", "CALL_STARTED", {}, old, 1)
    store.write(event, CallPatch("CAold", 1, created_at=old, status="completed"))
    await store.close()
    successor = gateway(tmp_path, RETENTION_DAYS="30")
    async with successor.asgi.router.lifespan_context(successor.asgi):
        async with asyncio.timeout(10):
            while await successor.store.read_call("CAold"):  # noqa: ASYNC110 - a task that tells nobody
                await asyncio.sleep(0.01)
        assert await successor.store.read_call("CA1") is not None


async def test_finished_recordings_are_brought_to_the_bucket_before_the_process_ends(tmp_path: Path) -> None:
    async with far_side.supabase() as project:
        (tmp_path / "recordings").mkdir()
        wishes = {"SUPABASE_URL": project.url, "SUPABASE_SECRET_KEY": far_side.SECRET_KEY,
                  "RECORDINGS_DIR": str(tmp_path / "recordings"), "RECORDINGS_BUCKET": "recordings",
                  "RECORDINGS_KEEP_LOCAL": "false"}  # fmt: skip
        made = gateway(tmp_path, **wishes)
        name = f"2026-11-21/CA1_{new_id()}.wav"
        async with made.asgi.router.lifespan_context(made.asgi):
            told = await ready(made)
            assert (told["ok"], told["uploads"]["depth"]) == (True, 0)
            (tmp_path / "recordings" / name).parent.mkdir()
            (tmp_path / "recordings" / name).write_bytes(b"RIFF" * 100)
            record = made.journal.open(CallFacts("CA1", NUMBER, "+35621000456", persona="waiter"))
            record.write(entries.RecordingFinished(name[-40:-4], name, 1000, 400, "", 30))
            assert b"voice_uploads_depth" in made.metrics.render()[0]
        assert project.storage.names() == [name]
        assert not (tmp_path / "recordings" / name).exists()


async def test_the_command_erases_while_the_gateway_runs(tmp_path: Path) -> None:
    made = gateway(tmp_path)
    async with made.asgi.router.lifespan_context(made.asgi):
        lead_a_call(made)
        assert await made.store.flush()
        earlier = Statement("update calls set ended_at = '2026-01-01T00:00:00.000Z'", {})
        assert await made.store.work([earlier])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "voice_gateway", "erase", "--number", NUMBER, "--yes", cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(app.__file__).parents[1]),
                 "STORE_PATH": str(tmp_path / "store.db")},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told = (await asyncio.wait_for(process.communicate(), 40))[0].decode()
        assert process.returncode == 0, told
        assert "Nothing of +2507***4567 is left." in told
        assert NUMBER[1:] not in told
        lead_a_call(made, "CA2")
        assert await made.store.flush()
        assert [row["call_sid"] for row in await made.store.recent_calls()] == ["CA2"]


async def test_a_program_that_has_a_look_at_the_file_takes_nothing_away(tmp_path: Path) -> None:
    """SQLite's log goes with the last connection; another process must see that ours is there."""
    made = gateway(tmp_path)
    async with made.asgi.router.lifespan_context(made.asgi):
        look = (
            "import sqlite3; db = sqlite3.connect('store.db'); db.execute('select * from calls').fetchall(); db.close()"
        )
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", look, cwd=tmp_path)
        assert await asyncio.wait_for(process.wait(), 40) == 0
        assert (tmp_path / "store.db-wal").exists()
        lead_a_call(made)
        assert await made.store.flush()
        assert len(await made.store.read_events("CA1")) == 3
    assert len(await made.store.read_events("CA1")) == 3


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CALL_WEBHOOK_URL": "https://example.org/hook"}, "CALL_WEBHOOK_SECRET"),
        ({"CALL_WEBHOOK_URL": "http://example.org/hook", "CALL_WEBHOOK_SECRET": SECRET}, "CALL_WEBHOOK_URL"),
        ({"CALL_WEBHOOK_URL": "https://me:pw@example.org/", "CALL_WEBHOOK_SECRET": SECRET}, "CALL_WEBHOOK_URL"),
        ({"CALL_WEBHOOK_URL": "https://example.org/#part", "CALL_WEBHOOK_SECRET": SECRET}, "CALL_WEBHOOK_URL"),
        ({"CALL_WEBHOOK_URL": "ftp://example.org/", "CALL_WEBHOOK_SECRET": SECRET}, "CALL_WEBHOOK_URL"),
        ({"CALL_WEBHOOK_URL": "https://example.org/", "CALL_WEBHOOK_SECRET": "short"}, "CALL_WEBHOOK_SECRET"),
        ({"CALL_WEBHOOK_EVENTS": "call_started"}, "CALL_WEBHOOK_EVENTS"),
        ({"CALL_WEBHOOK_EVENTS": "X');--"}, "CALL_WEBHOOK_EVENTS"),
        ({"RETENTION_DAYS": "-1"}, "RETENTION_DAYS"),
        ({"RECORDINGS_BUCKET": "recordings"}, "SUPABASE_URL is not"),
        (
            {"RECORDINGS_BUCKET": "../secret", "SUPABASE_URL": "https://a.b", "SUPABASE_SECRET_KEY": "k"},
            "a bucket's name",
        ),
        ({"RECORDINGS_KEEP_LOCAL": "perhaps"}, "RECORDINGS_KEEP_LOCAL"),
        ({"REDACT_TRANSCRIPTS": "everything"}, "REDACT_TRANSCRIPTS"),
    ],
)
def test_what_cannot_be_set_is_told_in_a_sentence_that_holds_no_secret(settings: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as problem:
        config.load(settings, None)
    assert sentence in str(problem.value)
    assert "example.org" not in str(problem.value)
    assert "pw" not in str(problem.value)


def test_the_webhooks_address_may_hold_a_path_and_a_key_and_is_a_secret() -> None:
    given = {"CALL_WEBHOOK_URL": "https://example.org/hook?key=of-theirs", "CALL_WEBHOOK_SECRET": SECRET}
    settings = config.load({**given, "CALL_WEBHOOK_EVENTS": " CALL_STARTED , CALL_ENDED "}, None)
    assert settings.webhook_events == ("CALL_STARTED", "CALL_ENDED")
    assert config.load(given, None).webhook_events == ()
    assert config.load({}, None).webhook_events is None
    assert "of-theirs" not in orjson.dumps(settings.public()).decode() + repr(settings)
