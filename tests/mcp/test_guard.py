"""Who goes on with wrong tokens, and who shares an address with him."""

from __future__ import annotations

import io

import httpx
import pytest
from served import AUTHORIZATION, TOKEN, Serve
from websockets import InvalidStatus
from websockets.asyncio.client import connect

from voice_gateway.mcp.guard import Guard
from voice_gateway.ops import logs
from voice_gateway.web.strangers import MOST_MISTAKES as MOST

RIGHT = {"host": "localhost", "authorization": AUTHORIZATION}
WRONG = {"host": "localhost", "authorization": "Bearer wrong"}
HERE, THERE = "203.0.113.7", "203.0.113.8"


def guard() -> Guard:
    return Guard(TOKEN, (), lambda *_: None)


def statuses(guard: Guard, *headers: dict[str, str], address: str = HERE) -> list[int]:
    refusals = [guard.refuse("http", address, each) for each in headers]
    return [200 if refusal is None else refusal.status for refusal in refusals]


@pytest.mark.parametrize("wrong", [WRONG, {"host": "localhost"}])
def test_after_many_wrong_tokens_an_address_is_not_listened_to_for_a_while(wrong: dict[str, str]) -> None:
    at_door = guard()
    assert statuses(at_door, *[wrong] * MOST) == [401] * MOST
    assert statuses(at_door, wrong, RIGHT) == [429, 429], "nobody learns by going on which one is right"
    assert statuses(at_door, RIGHT, address=THERE) == [200]
    refusal = at_door.refuse("ws", HERE, RIGHT)
    assert refusal is not None
    assert 0 < refusal.wait_s <= 60
    assert refusal.headers == {"Retry-After": str(refusal.wait_s)}


def test_who_brought_the_right_token_is_not_shut_out_by_his_neighbour() -> None:
    at_door = guard()
    assert statuses(at_door, RIGHT, *[WRONG] * (MOST + 5), RIGHT) == [200, *[401] * MOST, *[429] * 5, 200]


async def test_both_doors_count_together_and_say_how_long_to_wait(serve: Serve) -> None:
    log = io.StringIO()
    logs.configure("warning", stream=log)
    served = await serve()
    async with httpx.AsyncClient(headers={"Authorization": "Bearer wrong"}) as http:
        for _ in range(MOST):
            assert (await http.post(f"{served.url}/mcp")).status_code == 401
        answer = await http.post(f"{served.url}/mcp")
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate")
    with pytest.raises(InvalidStatus) as refused:
        async with connect(served.ws, additional_headers={"Authorization": AUTHORIZATION}):
            pass
    assert refused.value.response.status_code == 429
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 60
    assert log.getvalue().count("mcp.refused") == MOST, "and the log is not filled by whoever goes on"
    assert 'voice_refusals_total{door="mcp",reason="rate"} 2.0' in served.gateway.metrics.render()[0].decode()
