"""Who goes on with wrong keys, and who shares an address with him."""

from __future__ import annotations

import pytest

from voice_gateway.web.clients import Clients
from voice_gateway.web.problem import Problem
from voice_gateway.web.strangers import MOST_ADDRESSES, MOST_KNOWN, MOST_MISTAKES, WITHIN_S, Strangers

HERE, THERE = "203.0.113.7", "203.0.113.8"
SHOP, DESK = "shop-key-0123456789", "desk-key-0123456789"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def shut_out(address: str = HERE, clock: Clock | None = None) -> Strangers:
    strangers = Strangers(clock or Clock())
    assert [strangers.weigh(address, "") for _ in range(MOST_MISTAKES)] == [0] * MOST_MISTAKES
    return strangers


def test_after_many_mistakes_an_address_is_not_listened_to_until_the_first_of_them_is_old() -> None:
    clock = Clock()
    strangers = shut_out(clock=clock)
    assert strangers.weigh(HERE, "") == strangers.weigh(HERE, "shop") == WITHIN_S
    assert strangers.weigh(THERE, "shop") == 0
    clock.now += WITHIN_S - 0.5
    assert strangers.weigh(HERE, "shop") == 1, "what came meanwhile made it no longer"
    clock.now += 0.5
    assert strangers.weigh(HERE, "shop") == 0


def test_mistakes_that_are_far_apart_shut_nobody_out() -> None:
    clock = Clock()
    strangers = Strangers(clock)
    for _ in range(5 * MOST_MISTAKES):
        assert strangers.weigh(HERE, "") == 0
        clock.now += WITHIN_S / MOST_MISTAKES


def test_a_key_that_was_brought_before_counts_whatever_a_neighbour_does_and_no_other_one() -> None:
    strangers = Strangers(Clock())
    assert strangers.weigh(HERE, "shop") == 0
    for _ in range(MOST_MISTAKES):
        strangers.weigh(HERE, "")
    assert strangers.weigh(HERE, "shop") == 0
    assert strangers.weigh(HERE, ""), "who has one key cannot guess on"
    assert strangers.weigh(HERE, "desk")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:203.0.113.7", HERE, True),
        (HERE, THERE, False),
        ("", HERE, False),
        ("a socket", "another", False),
    ],
)
def test_of_ipv6_a_whole_network_is_one_address(one: str, other: str, same: bool) -> None:  # noqa: FBT001 - what is expected
    strangers = shut_out(one)
    assert strangers.weigh(one, "")
    assert bool(strangers.weigh(other, "")) == same


def test_not_every_address_is_kept_for_ever() -> None:
    strangers = shut_out()
    for number in range(MOST_ADDRESSES):
        strangers.weigh(f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", "")
    assert strangers.weigh(HERE, "") == 0
    for number in range(MOST_KNOWN + 1):
        strangers.weigh(f"10.1.{number // 256}.{number % 256}", "shop")
    for address in ("10.1.0.0", "10.1.0.1"):
        for _ in range(MOST_MISTAKES):
            strangers.weigh(address, "")
    assert strangers.weigh("10.1.0.0", "shop"), "the one that was longest not heard of"
    assert strangers.weigh("10.1.0.1", "shop") == 0


def test_whoever_guesses_keys_of_the_api_is_told_to_wait_and_other_clients_are_not() -> None:
    clients = Clients({"shop": SHOP, "desk": DESK}, "60/minute")
    assert clients.admit({"x-api-key": SHOP}, HERE)[0] == "shop"
    for _ in range(MOST_MISTAKES):
        with pytest.raises(Problem) as refused:
            clients.admit({"authorization": "Bearer guess"}, HERE)
        assert refused.value.code == "key"
    for headers in ({"authorization": "Bearer guess"}, {"x-api-key": DESK}, {}):
        with pytest.raises(Problem) as refused:
            clients.admit(headers, HERE)
        assert (refused.value.status, refused.value.code) == (429, "shut_out")
        assert 0 < int(refused.value.headers["retry-after"]) <= WITHIN_S
        assert DESK not in refused.value.detail
    assert clients.admit({"x-api-key": SHOP}, HERE)[0] == "shop"
    assert clients.admit({"x-api-key": DESK}, THERE)[0] == "desk"
