"""The small protocol, spoken by a plain WebSocket client."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from served import AUTHORIZATION, TOKEN, Serve
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_gateway.mcp import small

BEARER = {"additional_headers": {"Authorization": AUTHORIZATION}}


async def ask(connection: Any, message: Any) -> dict[str, Any]:
    await connection.send(message if isinstance(message, str | bytes) else orjson.dumps(message).decode())
    answer: dict[str, Any] = orjson.loads(await connection.recv())
    return answer


async def test_a_client_lists_the_tools_and_calls_one(serve: Serve) -> None:
    served = await serve()
    async with connect(served.ws, **BEARER) as ws:
        listed = await ask(ws, {"id": "req_125", "method": "tools.list", "params": {}})
        called = await ask(
            ws,
            {
                "id": "req_123",
                "method": "tool.call",
                "params": {"name": "get_member_balance", "args": {"memberId": "member_123"}},
            },
        )
    assert listed["id"] == "req_125"
    (balance,) = [each for each in listed["result"]["tools"] if each["name"] == "get_member_balance"]
    assert set(balance) == {"name", "description", "parameters"}
    assert "memberId" in balance["parameters"]["properties"]
    told = {"success": True, "memberId": "member_123", "balance": 50000, "currency": "RWF"}
    assert called == {"id": "req_123", "result": told}


async def test_an_effect_is_done_once_under_its_key(serve: Serve) -> None:
    served = await serve(MCP_EFFECTS="true")
    wish = {"name": "redeem_voucher", "args": {"code": "SAVE2024"}, "key": "v1"}
    async with connect(f"{served.ws}?token={TOKEN}") as ws:
        first = await ask(ws, {"id": 1, "method": "tool.call", "params": wish})
        again = await ask(ws, {"id": 2, "method": "tool.call", "params": wish})
    assert (first["id"], first["result"]["voucher"]["type"]) == (1, "discount")
    assert again["result"] == first["result"] | {"repeat": True}


DEEP = "[" * 500 + "]" * 500
BAD: list[tuple[Any, Any, str, str]] = [
    ("{", None, "bad_request", "no JSON"),
    ("", None, "bad_request", "no JSON"),
    ("[]", None, "bad_request", "send one object"),
    (b'{"id": 1, "method": "tools.list"}', None, "bad_request", "text message"),
    ({"method": "tools.list"}, None, "bad_request", "needs an id"),
    ({"id": None, "method": "tools.list"}, None, "bad_request", "needs an id"),
    ({"id": True, "method": "tools.list"}, None, "bad_request", "needs an id"),
    ({"id": {}, "method": "tools.list"}, None, "bad_request", "needs an id"),
    ({"id": "x" * 129, "method": "tools.list"}, None, "bad_request", "needs an id"),
    ({"id": 1}, 1, "bad_request", "tools.list and tool.call"),
    ({"id": 1, "method": "tools.drop"}, 1, "bad_request", "no method 'tools.drop'"),
    ({"id": 1, "method": ["tool.call"]}, 1, "bad_request", "tools.list and tool.call"),
    ({"id": 1, "method": "tool.call"}, 1, "bad_request", "needs params"),
    ({"id": 1, "method": "tool.call", "params": {"name": 3}}, 1, "bad_request", "needs params"),
    ({"id": 1, "method": "tool.call", "params": {"name": "get_menu", "args": []}}, 1, "bad_request", "an object"),
    ({"id": 1, "method": "tool.call", "params": {"name": "get_menu", "key": 1}}, 1, "bad_request", "key must"),
    ({"id": 1, "method": "tool.call", "params": {"name": "fly"}}, 1, "unknown_tool", "'fly'"),
    ({"id": 1, "method": "tool.call", "params": {"name": "lookup_menu"}}, 1, "invalid_arguments", "query"),
    (
        f'{{"id": 1, "method": "tool.call", "params": {{"name": "get_menu", "args": {{"a": {DEEP}}}}}}}',
        1,
        "bad_request",
        "too deep",
    ),
    ({"id": 1, "method": "tool.call", "params": {"name": "end_call"}}, 1, "not_offered", "live call"),
]


async def test_bad_input_is_answered_clearly_and_the_connection_goes_on(serve: Serve) -> None:
    served = await serve()
    async with connect(served.ws, **BEARER) as ws:
        for message, identity, code, told in BAD:
            answer = await ask(ws, message)
            assert (answer["id"], answer["error"]["code"]) == (identity, code), message
            assert told in answer["error"]["message"]
        assert "result" in await ask(ws, {"id": 2, "method": "tools.list"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "method", "params", "name", "args", "key"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_a_message_is_it_is_a_request_or_told_why_not(message: Any) -> None:
    try:
        request = small._read(orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS).decode())
        small._identity(request)
        name, arguments, key = small._wish(request)
    except (small.RequestError, TypeError):  # TypeError: a number that this JSON cannot write
        return
    assert isinstance(orjson.loads(arguments), dict)
    assert isinstance(name + key, str)


STRANGERS: list[tuple[str, dict[str, str], int]] = [
    ("", {}, 401),
    ("?token=wrong", {}, 401),
    (f"?token={TOKEN}", {"Authorization": "Bearer wrong"}, 401),
    ("", {"Authorization": AUTHORIZATION, "Origin": "https://rebound.example"}, 403),
    ("", {"Authorization": AUTHORIZATION, "Host": "rebound.example"}, 421),
    ("/other", {"Authorization": AUTHORIZATION}, 404),
]


async def test_who_may_not_come_in_is_told_why(serve: Serve) -> None:
    served = await serve()
    for query, headers, status in STRANGERS:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{served.ws}{query}", additional_headers=headers):
                pass
        assert refused.value.response.status_code == status
        assert orjson.loads(refused.value.response.body)["error"]["message"]


async def test_a_message_that_is_too_long_ends_its_connection_alone(serve: Serve) -> None:
    served = await serve()
    async with connect(served.ws, **BEARER) as other, connect(served.ws, **BEARER) as ws:
        await ws.send("x" * (small.MOST_BYTES + 1))
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
        assert "result" in await ask(other, {"id": 1, "method": "tools.list"})


async def test_more_requests_than_may_be_at_work_are_refused_and_every_one_is_answered(serve: Serve) -> None:
    served = await serve()
    asked = 40
    async with connect(served.ws, **BEARER) as ws:
        for number in range(asked):
            wish = {"name": "get_member_balance", "args": {"memberId": "member_123"}}
            await ws.send(orjson.dumps({"id": number, "method": "tool.call", "params": wish}).decode())
        answers = [orjson.loads(await ws.recv()) for _ in range(asked)]
    assert sorted(each["id"] for each in answers) == list(range(asked))
    assert {each["error"]["code"] for each in answers if "error" in each} <= {"busy"}
    assert sum("result" in each for each in answers) >= small.REQUESTS_AT_ONCE


async def test_who_asks_and_takes_no_answer_is_not_read_for_ever(serve: Serve) -> None:
    served = await serve()
    assert served.gateway.mcp is not None
    door = served.gateway.mcp.small
    assert door is not None
    request = orjson.dumps({"id": 1, "method": "tools.list"}).decode()
    with socket.socket() as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.connect(("127.0.0.1", door.port))
        narrow.setblocking(False)  # noqa: FBT003 - the socket's own
        async with connect(served.ws, sock=narrow, close_timeout=0.1, **BEARER) as ws:
            ws.transport.pause_reading()
            for _ in range(8000):
                await ws.send(request)
            async with asyncio.timeout(10):
                while len(door._at_work) < small.MOST_UNANSWERED:  # noqa: ASYNC110 - of a task that tells nobody
                    await asyncio.sleep(0.01)
            most = 0
            for _ in range(30):  # in which all the others would have been read
                most = max(most, len(door._at_work))
                await asyncio.sleep(0.01)
            assert most <= small.MOST_UNANSWERED
            ws.transport.abort()


async def test_who_asks_nothing_for_long_is_let_go(serve: Serve) -> None:
    served = await serve()
    assert served.gateway.mcp is not None
    assert served.gateway.mcp.small is not None
    served.gateway.mcp.small._idle_s = 0.05
    async with connect(served.ws, **BEARER) as ws:
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


async def test_a_port_that_is_taken_costs_no_call(serve: Serve, tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        served = await serve(MCP_WS_PORT=str(taken.getsockname()[1]))
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{served.url}/ready")).status_code == 200
        assert served.gateway.mcp is not None
        assert served.gateway.mcp.small is not None
        assert served.gateway.mcp.small.port == 0


async def test_port_0_leaves_it_closed(serve: Serve) -> None:
    served = await serve(MCP_WS_PORT="0")
    assert served.gateway.mcp is not None
    assert served.gateway.mcp.small is None


async def test_a_client_that_leaves_in_the_midst_of_an_answer_harms_nobody(serve: Serve) -> None:
    served = await serve()
    ws = await connect(served.ws, **BEARER)
    await ws.send('{"id": 1, "method": "tool.call", "params": {"name": "get_menu"}}')
    ws.transport.abort()
    async with asyncio.timeout(10), connect(served.ws, **BEARER) as other:
        assert "result" in await ask(other, {"id": 1, "method": "tools.list"})
