"""Standard MCP, asked by the official client over a real server, and by hand where the client would not."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from mcp import MCPError
from served import AUTHORIZATION, TOKEN, Serve, client, text

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_lists_and_calls(serve: Serve, mode: str) -> None:
    served = await serve()
    async with client(served.url, mode) as mcp:
        listed = {tool.name: tool for tool in (await mcp.list_tools()).tools}
        found = await mcp.call_tool("lookup_menu", {"query": "cappuccino"})
    assert {"lookup_menu", "get_member_balance", "check_availability"} <= listed.keys()
    assert not {"end_call", "place_order", "redeem_voucher"} & listed.keys()
    assert listed["lookup_menu"].input_schema["required"] == ["query"]
    hints = listed["lookup_menu"].annotations
    assert hints is not None
    assert (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint) == (True, False, True)
    assert not found.is_error
    assert {"id", "name", "price", "description", "image_url"} <= found.structured_content["items"][0].keys()
    assert "appuccino" in text(found)


async def test_an_effect_is_marked_and_done_once_under_its_key(serve: Serve) -> None:
    served = await serve(MCP_EFFECTS="true")
    order = {"item": "cappuccino", "quantity": 2}
    async with client(served.url) as mcp:
        (hints,) = [tool.annotations for tool in (await mcp.list_tools()).tools if tool.name == "redeem_voucher"]
        assert hints is not None
        assert (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint) == (False, True, False)
        first = await mcp.call_tool("redeem_voucher", {"code": "SAVE2024"}, meta={"idempotencyKey": "v1"})
        again = await mcp.call_tool("redeem_voucher", {"code": "SAVE2024"}, meta={"idempotencyKey": "v1"})
        other = await mcp.call_tool("redeem_voucher", {"code": "SAVE2024"}, meta={"idempotencyKey": "v2"})
        unsure = await mcp.call_tool("place_order", order | {"quantity": 0})
    assert first.structured_content["voucher"]["value"] == 1000
    assert again.structured_content == first.structured_content | {"repeat": True}
    assert other.structured_content["error"] == "already_redeemed"
    assert unsure.is_error


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("fly", {}, "There is no tool named 'fly'"),
    ("end_call", {}, "works on a live call alone"),
    ("place_order", {"item": "tea"}, "MCP_EFFECTS is false"),
    ("lookup_menu", {}, "query: Field required"),
    ("lookup_menu", {"query": 7}, "query: Input should be a valid string"),
    ("lookup_menu", {"query": "x" * 100_000}, "characters"),
    ("fetch_financials", {"period": "soon"}, "period"),
]


async def test_what_goes_wrong_is_a_result_that_a_model_can_act_on(serve: Serve) -> None:
    served = await serve()
    async with client(served.url) as mcp:
        for name, arguments, told in WRONG:
            result = await mcp.call_tool(name, arguments)
            assert result.is_error, name
            assert told in text(result)
            assert len(text(result)) < 1000


async def test_without_the_token_nothing_is_told(serve: Serve) -> None:
    served = await serve()
    async with httpx.AsyncClient() as http:
        for headers in ({}, *({"Authorization": each} for each in ("Bearer wrong", f"Basic {TOKEN}", "Bearer"))):
            answer = await http.post(f"{served.url}/mcp?token={TOKEN}", json=LIST, headers=ACCEPT | headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["error"]["code"] == "token"
            assert "tools" not in answer.text


NAMES: list[tuple[dict[str, str], int]] = [
    ({"Host": "rebound.example"}, 421),
    ({"Host": "127.0.0.1.rebound.example:80"}, 421),
    ({"Host": ""}, 421),
    ({"Origin": "https://rebound.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://["}, 403),
    ({"Host": "calls.example"}, 200),
    ({"Host": "localhost:1", "Origin": "http://localhost:3000"}, 200),
    ({"Host": "voice.internal:8787", "Origin": "https://voice.internal"}, 200),
]


async def test_a_name_that_is_not_ours_is_refused_even_with_the_token(serve: Serve) -> None:
    served = await serve(MCP_ALLOWED_HOSTS="gateway, voice.internal")
    async with httpx.AsyncClient() as http:
        for headers, status in NAMES:
            sent = ACCEPT | {"Authorization": AUTHORIZATION} | headers
            answer = await http.post(f"{served.url}/mcp", json=LIST, headers=sent)
            assert answer.status_code == status, headers


async def test_bad_bodies_get_an_error_and_harm_nothing(serve: Serve) -> None:
    served = await serve()
    url, headers = f"{served.url}/mcp", ACCEPT | {"Authorization": AUTHORIZATION, "Content-Type": "application/json"}
    async with httpx.AsyncClient() as http:
        sent = [
            await http.post(url, content=body, headers=headers) for body in (b"{", b"[]", b"7", b"\xff", b"x" * 300_000)
        ]
        asked = [await http.request(method, url, headers=headers) for method in ("GET", "DELETE", "PUT")]
        still = await http.post(url, json=LIST, headers=headers)
    assert [answer.status_code for answer in sent] == [400, 400, 400, 400, 413]
    assert [(answer.status_code, answer.headers["allow"]) for answer in asked] == [(405, "POST")] * 3
    assert still.status_code == 200


async def test_what_json_can_say_and_few_programs_read_is_a_clear_error(serve: Serve) -> None:
    served = await serve()
    headers = ACCEPT | {"Authorization": AUTHORIZATION, "Content-Type": "application/json"}
    call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"lookup_menu","arguments":{"query":%s}}}'
    async with httpx.AsyncClient() as http:
        for strange in ('"\\ud800"', "1" * 400, "NaN", "[" * 200 + "]" * 200, '"\\u0000"'):
            answer = await http.post(f"{served.url}/mcp", content=call % strange, headers=headers)
            told = answer.json()
            assert "error" in told or "content" in told["result"], strange
            assert "Traceback" not in answer.text
            assert "nternal" not in answer.text, strange
        answer = await http.post(f"{served.url}/mcp", content=call % ("1" * 40), headers=headers)
    assert answer.json()["result"]["isError"]
    assert "query: Input should be a valid string" in answer.text


async def test_many_clients_at_once(serve: Serve) -> None:
    served = await serve()

    async def one(number: int) -> str:
        async with client(served.url, "legacy" if number % 2 else "auto") as mcp:
            return text(await mcp.call_tool("get_member_balance", {"memberId": "member_123"}))

    answers = await asyncio.gather(*(one(number) for number in range(8)))
    assert len(set(answers)) == 1
    assert '"balance":50000' in answers[0]


async def test_it_is_closed_without_a_token_or_when_it_is_switched_off(serve: Serve) -> None:
    for settings in ({"MCP_TOKEN": ""}, {"MCP_ENABLED": "false"}):
        served = await serve(**settings)
        async with httpx.AsyncClient() as http:
            answer = await http.post(f"{served.url}/mcp", json=LIST, headers=ACCEPT | {"Authorization": AUTHORIZATION})
            health = (await http.get(f"{served.url}/health")).json()
        assert answer.status_code == 404
        assert health["features"]["mcp"] is False


async def test_it_says_so_when_it_is_open_and_counts(serve: Serve) -> None:
    served = await serve()
    async with httpx.AsyncClient() as http, client(served.url) as mcp:
        await mcp.call_tool("lookup_menu", {"query": "tea"})
        await mcp.call_tool("fly", {})
        await http.post(f"{served.url}/mcp", json=LIST, headers=ACCEPT)
        health = (await http.get(f"{served.url}/health")).json()
        metrics = (await http.get(f"{served.url}/metrics")).text
    assert health["features"]["mcp"] is True
    assert 'voice_mcp_calls_total{door="http",outcome="ok"} 1.0' in metrics
    assert 'voice_mcp_calls_total{door="http",outcome="failed"} 1.0' in metrics
    assert 'voice_refusals_total{door="mcp",reason="token"} 1.0' in metrics


async def test_the_official_client_is_refused_in_words_without_the_token(serve: Serve) -> None:
    served = await serve()
    with pytest.raises((MCPError, BaseExceptionGroup)):
        async with client(served.url, "legacy", Authorization="Bearer wrong"):
            pass
