"""A leg's way out keeps the order however long the far side takes."""

from __future__ import annotations

import asyncio

import pytest

from voice_gateway.session import Outlet


class Far:
    """The far side: takes messages at once, or only when waited for."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.behind = False
        self.gate = asyncio.Event()

    def write(self, message: str) -> bool:
        if not self.behind:
            self.got.append(message)
        return not self.behind

    async def send(self, message: str) -> None:
        await self.gate.wait()
        if message == "bad":
            raise OSError
        self.got.append(message)


@pytest.fixture
def far() -> Far:
    return Far()


def test_a_message_leaves_at_once_while_the_far_side_reads(far: Far) -> None:
    outlet = Outlet(far.write, far.send)
    outlet.put("play 1")
    outlet.put("mark 1")
    assert (far.got, len(outlet.waiting)) == (["play 1", "mark 1"], 0)


async def test_messages_leave_in_order_while_the_far_side_is_slow(far: Far) -> None:
    outlet = Outlet(far.write, far.send)
    outlet.put("play 1")
    far.behind = True
    outlet.put("mark 1")
    flushing = asyncio.create_task(outlet.flush())
    await asyncio.sleep(0)
    outlet.put("play 2")
    far.behind = False
    outlet.put("clear")
    assert far.got == ["play 1"], "what could leave must not overtake what waits"
    far.gate.set()
    await flushing
    outlet.put("play 3")
    assert far.got == ["play 1", "mark 1", "play 2", "clear", "play 3"]


async def test_while_one_is_being_sent_nobody_overtakes_it(far: Far) -> None:
    outlet = Outlet(far.write, far.send)
    far.behind = True
    outlet.put("the last that waits")
    flushing = asyncio.create_task(outlet.flush())
    await asyncio.sleep(0)
    far.behind = False
    outlet.put("after it")
    far.gate.set()
    await flushing
    assert far.got == ["the last that waits", "after it"]


async def test_a_send_that_failed_is_told_and_what_waits_is_kept(far: Far) -> None:
    outlet = Outlet(far.write, far.send)
    far.behind = True
    outlet.put("bad")
    outlet.put("good")
    far.gate.set()
    with pytest.raises(OSError):  # noqa: PT011 - it is the far side's own
        await outlet.flush()
    assert len(outlet.waiting) == 2
