"""The tools' tables in a project that is away, slow or wrongly set up: the model is told, nothing is done twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import far_side
import orjson
import postgres_server
import pytest
from far_side import SECRET_KEY, Supabase
from starlette.responses import JSONResponse, PlainTextResponse
from structlog.testing import capture_logs

from voice_gateway import app, config
from voice_gateway.agent.once import Once
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import ToolContext, ToolOutcome
from voice_gateway.call.events import CallFacts
from voice_gateway.store.project import Project
from voice_gateway.store.remote import Unavailable
from voice_gateway.store.remote_rows import RemoteRows
from voice_gateway.store.rows import TablesAway
from voice_gateway.store.tables import Tables

pytestmark = pytest.mark.postgres


@pytest.fixture
def seeded(database_of: Callable[[], Any]) -> None:
    with database_of() as database:
        for path in sorted((postgres_server.REPOSITORY / "migrations/seed").glob("*.sql")):
            database.execute(path.read_text())


@pytest.fixture
async def rows(supabase: Supabase, seeded: None) -> AsyncIterator[RemoteRows]:
    rows = RemoteRows(supabase.url, SECRET_KEY, timeout_s=0.3)
    yield rows
    await rows.close()


async def ask(rows: RemoteRows, tool: str, key: str = "", /, **arguments: Any) -> Any:
    context = ToolContext("CA1", key=key, tables=Tables(rows))
    outcome = await house_toolbox().run(tool, orjson.dumps(arguments).decode(), context)
    return orjson.loads(outcome.output)


async def test_tools_share_a_few_connections_that_stay(rows: RemoteRows, supabase: Supabase) -> None:
    for _ in range(5):
        assert (await ask(rows, "lookup_menu", query="cappuccino"))["items"]
        assert (await ask(rows, "get_member_balance", memberId="member_123"))["success"]
    assert supabase.wire.carried == 1
    await asyncio.gather(*(ask(rows, "lookup_menu", query="beer") for _ in range(40)))
    assert supabase.wire.carried < 35, "twenty at a time, and now and then one that the far side had closed"


async def test_a_connection_that_broke_while_nobody_looked_costs_no_tool_its_answer(
    rows: RemoteRows, supabase: Supabase
) -> None:
    for _ in range(3):
        assert (await ask(rows, "lookup_menu", query="cappuccino"))["items"]
        supabase.wire.become("well")  # resets the links there are
    assert (await ask(rows, "place_order", "key", item="rw-cap"))["success"]


@pytest.mark.parametrize("mood", ["down", "mute", "loses answers"])
async def test_the_model_is_told_and_the_next_question_finds_it_well_again(
    mood: far_side.Mood, rows: RemoteRows, supabase: Supabase
) -> None:
    supabase.wire.become(mood)
    with capture_logs() as logs:
        looked = await ask(rows, "lookup_menu", query="cappuccino")
        taken = await ask(rows, "take_message", "key", name="Aline", message="Call me.")
    assert (looked["error"], taken["error"]) == ("unavailable", "unavailable")
    assert "cannot be reached" in looked["message"]
    assert "not known whether it was done" in taken["message"]
    assert [each["event"] for each in logs] == ["tool.tables_away"] * 2
    supabase.wire.become("well")
    assert (await ask(rows, "lookup_menu", query="cappuccino"))["items"]


async def test_what_was_done_though_its_answer_was_lost_is_not_done_again(
    rows: RemoteRows, supabase: Supabase, database_of: Callable[[], Any]
) -> None:
    """As a call does it: once, with a key of the wish."""
    once = Once(lambda: 0.0)

    async def wish(tool: str, arguments: dict[str, Any]) -> ToolOutcome:
        text = orjson.dumps(arguments).decode()
        work = house_toolbox().run
        return await once.run(
            "CA1", tool, text, lambda key: work(tool, text, ToolContext("CA1", key=key, tables=Tables(rows)))
        )

    wishes = [
        ("place_order", {"item": "rw-cap", "quantity": 2}),
        ("take_message", {"name": "Aline", "message": "Call me."}),
        ("book_appointment", {"date": "2126-12-02", "time": "14:30", "name": "Aline"}),
        ("redeem_voucher", {"code": "SAVE2024"}),
    ]
    supabase.wire.become("loses answers")
    assert not any([(await wish(*each)).ok for each in wishes])
    supabase.wire.become("well")
    answers = [orjson.loads((await wish(*each)).output) for each in wishes]
    assert all(answer["success"] for answer in answers), answers
    with database_of() as database:
        for table, count in (("orders", 1), ("messages", 1), ("appointments", 3)):
            assert database.execute(f"select count(*) from {table}").fetchone() == (count,), table  # noqa: S608 - ours


async def test_without_a_key_nothing_that_writes_is_sent_again(rows: RemoteRows, supabase: Supabase) -> None:
    await ask(rows, "lookup_menu", query="cappuccino")
    supabase.asked.clear()
    supabase.wire.become("loses answers")
    assert (await ask(rows, "take_message", name="Aline", message="Call me."))["error"] == "unavailable"
    assert supabase.asked.count("/rest/v1/rpc/take_message") == 1


async def test_a_project_that_is_not_set_up_is_told_to_the_operator(
    supabase: Supabase, database_of: Callable[[], Any]
) -> None:
    with database_of() as database:
        database.execute("drop function order_of_call(text)")
    rows = RemoteRows(supabase.url, SECRET_KEY)
    with capture_logs() as logs:
        await rows.start()
        await rows._greeting  # type: ignore[misc]
    (told,) = logs
    assert told["event"] == "tables.away"
    assert "apply the migrations (voice-gateway migrate)" in told["reason"]
    await rows.close()
    stranger = RemoteRows(supabase.url, "sb_secret_of_another")
    with pytest.raises(TablesAway, match="check SUPABASE_SECRET_KEY"):
        await stranger.menu(None)
    await stranger.close()


async def test_answers_that_are_not_ours_are_no_rows(rows: RemoteRows, supabase: Supabase) -> None:
    for foreign in (JSONResponse({"a": 1}), JSONResponse([1]), PlainTextResponse("<html>")):
        supabase.answers.append(foreign)
        assert (await ask(rows, "lookup_menu", query="cappuccino"))["error"] == "unavailable"


async def test_each_of_many_at_once_learns_of_its_own_refusal(supabase: Supabase, seeded: None) -> None:
    """The package hides statuses; one request's must not be taken for another's."""
    project = Project(supabase.url, SECRET_KEY, connections=8)
    supabase.answers += [JSONResponse({"message": f"no {n}"}, 503, {"retry-after": str(n)}) for n in range(1, 9)]
    answers = await asyncio.gather(*(project.call("tax_jurisdictions", {}) for _ in range(16)), return_exceptions=True)
    refused = [each for each in answers if isinstance(each, Unavailable)]
    assert sorted(each.retry_after_s for each in refused) == [float(n) for n in range(1, 9)]
    assert all(f"no {each.retry_after_s:.0f}" in str(each) for each in refused)
    assert [each for each in answers if not isinstance(each, Unavailable)] == [["CA", "EU", "MT", "UK", "US"]] * 8
    await project.close()


# --- the whole gateway ------------------------------------------------------------------------------------------


def gateway(tmp_path: Path, url: str) -> app.Gateway:
    environment = {
        "OPENAI_API_KEY": "any", "TWILIO_AUTH_TOKEN": "0" * 32, "PUBLIC_BASE_URL": "http://127.0.0.1:8787",
        "STORE_PATH": str(tmp_path / "store.db"), "SUPABASE_URL": url, "SUPABASE_SECRET_KEY": SECRET_KEY,
        "TOOLS_STORE": "supabase",
    }  # fmt: skip
    return app.build(config.load(environment, None))


async def test_a_call_of_a_gateway_reads_and_writes_the_project(
    tmp_path: Path, supabase: Supabase, seeded: None, database_of: Callable[[], Any]
) -> None:
    made = gateway(tmp_path, supabase.url)
    facts = CallFacts("CA1", "+250788000123", "+35621000456", persona="waiter")
    async with made.asgi.router.lifespan_context(made.asgi):
        output, ok = await made._workshop.run(facts, "place_order", '{"item": "rw-cap", "quantity": 2}')
        assert ok, output
        await made._workshop.run(facts, "place_order", '{"quantity": 2, "item": "rw-cap"}')
    with database_of() as database:
        assert database.execute("select call_sid, item_id, quantity from orders").fetchall() == [("CA1", "rw-cap", 2)]


async def test_what_was_booked_and_cancelled_can_be_booked_again_in_the_same_breath(
    tmp_path: Path, supabase: Supabase
) -> None:
    made = gateway(tmp_path, supabase.url)
    facts = CallFacts("CA1", "+250788000123", "+35621000456", persona="receptionist")
    wish = '{"date": "2126-12-02", "time": "14:30", "name": "Aline"}'

    async def use(tool: str, arguments: str) -> Any:
        return orjson.loads((await made._workshop.run(facts, tool, arguments))[0])

    async with made.asgi.router.lifespan_context(made.asgi):
        first = await use("book_appointment", wish)
        assert (await use("book_appointment", wish))["repeat"]
        cancelled = orjson.dumps({"appointmentId": first["appointment"]["id"]}).decode()
        assert (await use("cancel_appointment", cancelled))["success"]
        again = await use("book_appointment", wish)
        assert again["success"]
        assert "repeat" not in again
        (standing,) = (await use("cancel_appointment", "{}"))["appointments"]
        assert standing["id"] == again["appointment"]["id"] != first["appointment"]["id"]


async def test_a_gateway_starts_without_its_project_and_its_calls_go_on(tmp_path: Path, supabase: Supabase) -> None:
    supabase.wire.become("down")
    made = gateway(tmp_path, supabase.url)
    facts = CallFacts("CA1", "+250788000123", "+35621000456", persona="waiter")
    async with made.asgi.router.lifespan_context(made.asgi):
        output, ok = await made._workshop.run(facts, "lookup_menu", '{"query": "coffee"}')
    assert (ok, orjson.loads(output)["error"]) == (False, "unavailable")
