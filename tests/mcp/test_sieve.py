"""What a foreign server sends, before the package reads it."""

from __future__ import annotations

from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse

from voice_gateway.mcp.sieve import MOST_LISTED, Allowance, Sieve

GOOD = {"name": "get_rain", "inputSchema": {"type": "object"}}


async def sifted(*tools: Any) -> tuple[list[Any], Sieve]:
    send, receive = anyio.create_memory_object_stream[SessionMessage | Exception](1)
    async with send, Sieve(receive) as sieve:
        result = {"tools": list(tools), "nextCursor": "2"}
        await send.send(SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result=result)))
        message = await anext(aiter(sieve))
        assert isinstance(message, SessionMessage)
        assert isinstance(message.message, JSONRPCResponse)
        assert message.message.result["nextCursor"] == "2"
        return message.message.result["tools"], sieve


async def test_what_is_no_tool_costs_no_other() -> None:
    kept, sieve = await sifted({"name": "bad"}, GOOD, 7, {**GOOD, "name": 3})
    assert kept == [GOOD]
    assert sieve.refused["bad"] == "it is no tool of MCP: inputSchema: Field required"
    assert set(sieve.refused) == {"bad", "?"}
    sieve.forget()
    assert sieve.refused == {}


async def test_of_a_list_without_end_the_beginning_is_read() -> None:
    kept, sieve = await sifted(*[GOOD] * (MOST_LISTED + 5))
    assert (len(kept), sieve.unread) == (MOST_LISTED, 5)


async def test_who_talks_without_end_is_read_slowly() -> None:
    allowance = Allowance(per_s=1000, burst=10)
    begin = anyio.current_time()
    await allowance.take(10)
    assert not allowance.floods
    await allowance.take(20)
    assert allowance.floods
    assert anyio.current_time() - begin > 0.015
