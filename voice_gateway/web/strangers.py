"""Who brings no key or a wrong one: after too many of them an address is not listened to for a while."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from starlette.requests import Request

from voice_gateway.web.problem import Problem

MOST_MISTAKES: Final = 20
WITHIN_S: Final = 60.0
"""So many, from one address."""
MOST_ADDRESSES: Final = 10_000
MOST_KNOWN: Final = 1000
"""Beyond these the ones that were longest not heard of are forgotten: nobody fills the memory with addresses."""


class Strangers:
    """By address: too many mistakes, and for a while not even a right key counts; else going on would tell which it is.

    A key that was brought from there before counts all the same: a program with a wrong one must not shut out all
    others behind the same router or proxy. No other key does, so whoever has one cannot guess those of others.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: seconds."""
        self._clock = clock
        self._mistakes: OrderedDict[str, deque[float]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def weigh(self, address: str, whose: str) -> int:
        """Whole seconds until it makes sense to ask again; 0: what was brought counts.

        address: of the client, empty where nobody knows. whose: the name of the key that was brought; empty: none or a
        wrong one.
        """
        house = _house(address)
        if (house, whose) in self._known:
            self._known.move_to_end((house, whose))
            return 0
        wait_s = self._wait_s(house)
        if wait_s:
            return wait_s
        if whose:
            self._known[house, whose] = None
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)
        else:
            self._note_mistake(house)
        return 0

    def check(self, address: str, whose: str) -> None:
        """The same for a door whose errors are problems: raises one where nothing from there counts."""
        wait_s = self.weigh(address, whose)
        if wait_s:
            detail = (
                f"too many requests without a right key came from your address; wait {wait_s} s, and send a right one"
            )
            raise Problem("shut_out", detail, headers={"retry-after": str(wait_s)})

    def _wait_s(self, house: str) -> int:
        mistakes = self._mistakes.get(house)
        if mistakes is None or len(mistakes) < MOST_MISTAKES:
            return 0
        return max(0, math.ceil(mistakes[0] + WITHIN_S - self._clock()))

    def _note_mistake(self, house: str) -> None:
        self._mistakes.setdefault(house, deque(maxlen=MOST_MISTAKES)).append(self._clock())
        self._mistakes.move_to_end(house)
        if len(self._mistakes) > MOST_ADDRESSES:
            self._mistakes.popitem(last=False)


def address_of(request: Request) -> str:
    """Where a request came from; empty where nobody knows."""
    return "" if request.client is None else request.client.host


def _house(address: str) -> str:
    """Whoever shares an address counts as one; of IPv6 it is the half that names a network, for one has it all."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]  # what a proxy passes on may be anything
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or parsed.exploded[:19])
