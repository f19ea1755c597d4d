"""Who may ask, and how often."""

from __future__ import annotations

import pytest

from voice_gateway.web.clients import Clients
from voice_gateway.web.problem import Problem

SHOP, DESK = "shop-key-0123456789", "desk-key-0123456789"
HERE = "203.0.113.7"
KEYS = {"shop": SHOP, "desk": DESK}


def refusal(clients: Clients, headers: dict[str, str]) -> Problem:
    with pytest.raises(Problem) as refused:
        clients.admit(headers, HERE)
    return refused.value


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({"authorization": f"Bearer {SHOP}"}, "shop"),
        ({"authorization": f"bearer {DESK}"}, "desk"),
        ({"x-api-key": DESK}, "desk"),
        ({"authorization": f"Bearer {SHOP}", "x-api-key": SHOP}, "shop"),
    ],
)
def test_a_key_names_its_client(headers: dict[str, str], name: str) -> None:
    assert Clients(KEYS, "60/minute").admit(headers, HERE)[0] == name


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": SHOP},
        {"authorization": f"Basic {SHOP}"},
        {"authorization": "Bearer "},
        {"authorization": f"Bearer {SHOP}x"},
        {"x-api-key": ""},
        {"x-api-key": "shop"},
        {"x-api-key": "\udcff"},
        {"authorization": f"Bearer {SHOP}", "x-api-key": DESK},
        {"authorization": "Bearer wrong", "x-api-key": SHOP},
    ],
)
def test_nobody_else_comes_in(headers: dict[str, str]) -> None:
    problem = refusal(Clients(KEYS, "60/minute"), headers)
    assert (problem.status, problem.code) == (401, "key")
    assert problem.headers["www-authenticate"].startswith("Bearer")
    assert SHOP not in problem.detail


def test_without_keys_the_doors_are_shut_and_not_open() -> None:
    problem = refusal(Clients({}, "60/minute"), {"authorization": f"Bearer {SHOP}"})
    assert (problem.status, problem.code) == (503, "not_configured")
    assert "AI_API_KEYS" in problem.detail


def test_each_client_has_a_rate_of_its_own() -> None:
    clients = Clients(KEYS, "2/hour")
    told = [clients.admit({"x-api-key": SHOP}, HERE)[1]["ratelimit-remaining"] for _ in range(2)]
    assert told == ["1", "0"]
    problem = refusal(clients, {"x-api-key": SHOP})
    assert (problem.status, problem.code) == (429, "rate_limited")
    assert 3590 <= int(problem.headers["retry-after"]) <= 3600
    assert problem.headers["ratelimit-limit"] == "2"
    assert clients.admit({"x-api-key": DESK}, HERE)[1]["ratelimit-remaining"] == "1"


def test_of_several_rates_each_holds_and_what_one_refuses_counts_at_none() -> None:
    clients = Clients(KEYS, "1/hour;9/day")
    clients.admit({"x-api-key": SHOP}, HERE)
    for _ in range(12):
        assert refusal(clients, {"x-api-key": SHOP}).headers["ratelimit-limit"] == "1"
