"""A leg's way out keeps the order however long the far side takes."""

from __future__ import annotations

import asyncio

from voice_gateway.session import Outlet


async def test_messages_leave_in_order_while_the_far_side_is_slow() -> None:
    sent: list[str] = []
    gate = asyncio.Event()

    async def write(message: str) -> None:
        await gate.wait()
        sent.append(message)

    outlet: Outlet = Outlet(write)
    outlet.waiting.extend(["play 1", "mark 1", "play 2"])
    first = asyncio.create_task(outlet.flush())
    await asyncio.sleep(0)
    outlet.waiting.append("clear")
    await outlet.flush()
    assert sent == [], "who comes second leaves his message and goes on"
    gate.set()
    await first
    assert sent == ["play 1", "mark 1", "play 2", "clear"]


async def test_after_a_send_that_failed_the_outlet_works_again() -> None:
    sent: list[str] = []

    async def write(message: str) -> None:
        if message == "bad":
            raise OSError
        sent.append(message)

    outlet: Outlet = Outlet(write)
    outlet.waiting.append("bad")
    try:
        await outlet.flush()
    except OSError:
        sent.append("raised")
    outlet.waiting.append("good")
    await outlet.flush()
    assert sent == ["raised", "good"]
