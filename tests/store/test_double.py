"""The stand-in for PostgREST, held against the client that Supabase's users have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import postgrest_double as double
import pytest
from far_side import Supabase
from postgrest.exceptions import APIError
from supabase import AsyncClient, AsyncClientOptions, acreate_client

from voice_gateway.store.records import new_id

pytestmark = pytest.mark.postgres


async def client(far: Supabase, key: str = double.SECRET_KEY) -> AsyncIterator[AsyncClient]:
    async with httpx.AsyncClient() as http:
        options = AsyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
        yield await acreate_client(far.url, key, options=options)


@pytest.fixture
async def project(supabase: Supabase) -> AsyncIterator[AsyncClient]:
    async for each in client(supabase):
        yield each


@pytest.fixture
async def calls(project: AsyncClient) -> AsyncClient:
    rows = [
        {"call_sid": f"CA{n}", "direction": "inbound", "created_at": f"2026-01-0{n}T00:00:00Z"} for n in range(1, 6)
    ]
    await project.table("calls").insert(rows).execute()
    return project


@pytest.mark.parametrize("key", [double.SECRET_KEY, double.SERVICE_ROLE_KEY])
async def test_both_kinds_of_key_are_the_service_role(supabase: Supabase, key: str) -> None:
    async for project in client(supabase, key):
        assert (await project.table("calls").select("*").execute()).data == []


@pytest.mark.parametrize("key", [double.PUBLISHABLE_KEY, double.ANON_KEY])
async def test_a_stranger_gets_nothing(supabase: Supabase, key: str) -> None:
    async for project in client(supabase, key):
        with pytest.raises(APIError) as refusal:
            await project.table("calls").select("*").execute()
        assert refusal.value.code == "42501"
        with pytest.raises(APIError) as refusal:
            await project.rpc("ingest_call_events", {"events": []}).execute()
        assert refusal.value.code == "42501"


async def test_an_unknown_key_is_turned_away(supabase: Supabase) -> None:
    async for project in client(supabase, "sb_secret_of_another"):
        with pytest.raises(APIError, match="Invalid API key"):
            await project.table("calls").select("*").execute()


async def test_rows_are_chosen_ordered_and_counted(calls: AsyncClient) -> None:
    query = calls.table("calls").select("call_sid", count="exact").eq("direction", "inbound")  # type: ignore[arg-type]
    page = await query.order("created_at", desc=True).range(1, 2).execute()
    assert (page.data, page.count) == ([{"call_sid": "CA4"}, {"call_sid": "CA3"}], 5)
    table = calls.table("calls")
    assert len((await table.select("*").in_("call_sid", ["CA1", "CA2"]).gt("call_sid", "CA1").execute()).data) == 1
    assert len((await table.select("*").is_("ended_at", "null").ilike("call_sid", "ca*").execute()).data) == 5
    head = await table.select("*", count="exact", head=True).execute()  # type: ignore[arg-type]
    assert (head.data, head.count) == ([], 5)


async def test_one_row_or_none(calls: AsyncClient) -> None:
    table = calls.table("calls")
    assert (await table.select("*").eq("call_sid", "CA1").single().execute()).data["call_sid"] == "CA1"  # type: ignore[index,call-overload]
    assert await table.select("*").eq("call_sid", "CAnone").maybe_single().execute() is None
    with pytest.raises(APIError) as refusal:
        await table.select("*").single().execute()
    assert refusal.value.code == "PGRST116"


async def test_a_second_insert_conflicts_and_an_upsert_does_not(calls: AsyncClient) -> None:
    with pytest.raises(APIError) as refusal:
        await calls.table("calls").insert({"call_sid": "CA1"}).execute()
    assert refusal.value.code == "23505"
    merged = await calls.table("calls").upsert({"call_sid": "CA1", "intent": "order"}, on_conflict="call_sid").execute()
    assert [(row["call_sid"], row["intent"]) for row in merged.data] == [("CA1", "order")]  # type: ignore[index,call-overload]
    again = calls.table("calls").upsert({"call_sid": "CA1"}, on_conflict="call_sid", ignore_duplicates=True)
    assert (await again.execute()).data == []


async def test_keys_of_a_list_are_united_and_what_lacks_is_null(project: AsyncClient) -> None:
    rows: list[Any] = [{"call_sid": "CA1", "intent": "order"}, {"call_sid": "CA2"}]
    await project.table("calls").insert(rows).execute()
    with pytest.raises(APIError) as refusal:
        await project.table("calls").insert([{"call_sid": "CA3"}, {"call_sid": "CA4", "id": new_id()}]).execute()
    assert refusal.value.code == "23502"


async def test_functions_are_found_by_their_arguments(project: AsyncClient) -> None:
    answer = await project.rpc("ingest_call_events", {"events": []}).execute()
    assert answer.data == {"received": 0, "stored": 0, "known": 0, "refused": []}
    assert len((await project.rpc("upsert_call", {"patch": {"call_sid": "CA1"}}).execute()).data) == 1  # type: ignore[arg-type]
    for name, arguments in [("ingest_call_events", {"rows": []}), ("nothing", {})]:
        with pytest.raises(APIError) as refusal:
            await project.rpc(name, arguments).execute()
        assert refusal.value.code == "PGRST202"


async def test_errors_of_the_database_come_with_their_codes(project: AsyncClient) -> None:
    for query, code in [
        (project.table("nothing").select("*"), "PGRST205"),
        (project.table("calls").select("nothing"), "42703"),
        (project.table("calls").select("*").eq("id", "no uuid"), "22P02"),
        (project.table("calls").insert({"call_sid": "CA1", "status": "nonsense"}), "23514"),
        (project.table("calls").insert({"call_sid": "a\0b"}), "22P05"),
        (project.rpc("ingest_call_events", {"events": [{}] * 2001}), "54000"),
    ]:
        with pytest.raises(APIError) as refusal:
            await query.execute()
        assert refusal.value.code == code


async def test_what_it_does_not_know_it_refuses(calls: AsyncClient) -> None:
    table = calls.table("calls")
    for query in [
        table.select("*, call_events(*)"),
        table.select("*", count="planned"),  # type: ignore[arg-type]
        table.select("*").contains("meta", {"a": 1}),
        table.select("*").order("created_at", nullsfirst=True),
        table.update({"intent": "x"}).eq("call_sid", "CA1"),
        table.delete().eq("call_sid", "CA1"),
        table.insert([{"call_sid": "CA9"}], default_to_null=False),
    ]:
        with pytest.raises(APIError) as refusal:
            await query.execute()
        assert refusal.value.code == "PGRST127"
