"""The bench of tools: that what it times are tools at work, and that it notices when they are not."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from bench import tools
from bench.idle_tools import ARGUMENTS


@pytest.fixture(autouse=True)
def unfrozen():
    yield
    gc.unfreeze()


async def test_every_kind_of_tool_is_timed_on_both_clocks() -> None:
    found = await tools.alone(66)
    assert list(found) == [
        "idle, on_the_loop", "idle, in_a_thread", "idle, once",
        "lookup_menu, with its own work", "take_message, with its own work",
    ]  # fmt: skip
    for took, worked in found.values():
        assert len(took) == len(worked) > 0
        assert all(0 < cpu <= wall for wall, cpu in zip(took, worked, strict=True))


async def test_a_tool_that_does_not_work_is_no_figure(tmp_path: Path) -> None:
    async with tools._desk(tmp_path / "bench.sqlite3") as ask:
        assert "items" in await ask("call_1", "once", ARGUMENTS)
        with pytest.raises(RuntimeError, match="take_message does not work"):
            await tools._many(ask, "take_message", '{"name": ""}', 1)
