"""What other programs are offered, and that one wish of theirs is one doing."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from voice_gateway import app, config
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import Toolbox, ToolContext, ToolFailed, ToolOutcome, tool
from voice_gateway.mcp.offer import AT_ONCE, LONGEST_KEY, REMEMBERED_S, Offer


class Shop:
    """Counts what it is asked to do."""

    def __init__(self, *, effects: bool = True) -> None:
        self.sold: list[tuple[str, str]] = []
        self.closed = False
        self.door = asyncio.Event()
        self.door.set()
        self.counted: list[tuple[str, str]] = []

        @tool(effect=True)
        async def sell(item: str, context: ToolContext) -> dict[str, Any]:
            """Sell."""
            await self.door.wait()
            if self.closed:
                raise ToolFailed("We are closed.")
            self.sold.append((item, context.key))
            return {"sold": item}

        async def look() -> str:
            """Look."""
            await self.door.wait()
            return "shoes"

        @tool(in_call=True)
        def hang_up() -> None:
            """Hang up."""

        self.offer = Offer(
            Toolbox([sell, look, hang_up]), self.work, effects=effects, count=lambda *told: self.counted.append(told)
        )

    async def work(self, box: Toolbox, name: str, arguments: str, key: str) -> ToolOutcome:
        return await box.run(name, arguments, ToolContext(key=key))

    async def ask(self, name: str, key: str = "", **arguments: object) -> Any:
        outcome = await self.offer.call("http", name, orjson.dumps(arguments).decode(), key)
        return orjson.loads(outcome.output)


@pytest.mark.parametrize(("effects", "names"), [(True, ["sell", "look"]), (False, ["look"])])
async def test_what_needs_a_call_is_left_out_and_what_changes_something_unless_it_is_wanted(
    effects: Any, names: list[str]
) -> None:
    assert [each.name for each in Shop(effects=effects).offer.tools] == names


def test_of_the_house_no_tool_that_works_on_a_call_is_offered() -> None:
    offered = {each.name for each in Offer(house_toolbox(), Shop.work, effects=True).tools}  # type: ignore[arg-type]
    assert {"lookup_menu", "redeem_voucher", "book_appointment", "get_member_balance"} <= offered
    assert not offered & {"end_call", "pause_recording", "resume_recording", "stop_recording", "cancel_appointment"}
    assert not offered & {"transfer_to_human", "send_dtmf", "handoff_to", "set_language"}


def test_of_no_persona_a_tool_that_works_on_a_call_is_offered() -> None:
    settings = config.load({"OPENAI_API_KEY": "any"}, None)
    for role in app.build(settings).roles:
        offered = {each.name for each in Offer(role.toolbox, Shop.work, effects=True).tools}  # type: ignore[arg-type]
        assert not offered & {"end_call", "handoff_to", "transfer_to_human", "send_dtmf", "set_language"}, (
            role.persona.key
        )


async def test_what_is_not_offered_says_why() -> None:
    shop = Shop(effects=False)
    assert "MCP_EFFECTS is false" in (await shop.ask("sell", item="shoe"))["message"]
    assert "live call alone" in (await shop.ask("hang_up"))["message"]
    assert (await shop.ask("fly"))["message"] == "There is no tool named 'fly'. There are: look."
    assert shop.sold == []
    assert shop.counted == [("http", "failed")] * 3


async def test_the_same_key_is_one_doing_however_the_arguments_are_written() -> None:
    shop = Shop()
    shop.door.clear()
    both = [asyncio.create_task(shop.ask("sell", "order-1", item="shoe")) for _ in range(2)]
    await asyncio.sleep(0)
    shop.door.set()
    assert sorted("repeat" in each for each in await asyncio.gather(*both)) == [False, True]
    assert (await shop.ask("sell", "order-1", item="shoe"))["repeat"]
    assert len(shop.sold) == 1


async def test_a_key_is_remembered_for_as_long_after_its_last_use(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, loop = Shop(), asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    later = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda *told: timers.append(later(*told)) or timers[-1])
    await shop.ask("sell", "order-1", item="shoe")
    await shop.ask("sell", "order-1", item="hat")
    monkeypatch.undo()
    first, last = [each for each in timers if each.when() > loop.time() + REMEMBERED_S - 60]
    assert first.cancelled(), "or it would have the hat forgotten, too"
    assert not last.cancelled()
    shop.offer._forget("mcp:order-1")
    assert "repeat" not in await shop.ask("sell", "order-1", item="hat")


async def test_another_key_other_arguments_or_none_are_others() -> None:
    shop = Shop()
    for key, item in (("1", "shoe"), ("2", "shoe"), ("1", "hat"), ("", "shoe"), ("", "shoe")):
        assert "repeat" not in await shop.ask("sell", key, item=item)
    keys = [key for _, key in shop.sold]
    assert keys[3:] == ["", ""]
    assert len(set(keys[:3])) == 3


async def test_the_tables_get_the_same_key_after_a_restart() -> None:
    first, second = Shop(), Shop()
    await first.ask("sell", "order-1", item="shoe")
    await second.ask("sell", "order-1", item="shoe")
    assert first.sold == second.sold


async def test_what_failed_may_be_tried_again_under_its_key() -> None:
    shop = Shop()
    shop.closed = True
    assert (await shop.ask("sell", "order-1", item="shoe"))["message"] == "We are closed."
    shop.closed = False
    assert await shop.ask("sell", "order-1", item="shoe") == {"sold": "shoe"}


async def test_a_key_without_an_end_is_refused() -> None:
    assert (await Shop().ask("sell", "k" * (LONGEST_KEY + 1), item="shoe"))["error"] == "invalid_key"


async def test_only_so_many_are_at_work_at_a_time() -> None:
    shop = Shop()
    shop.door.clear()
    at_work = [asyncio.create_task(shop.ask("look")) for _ in range(AT_ONCE)]
    await asyncio.sleep(0)
    assert (await shop.ask("look"))["error"] == "busy"
    shop.door.set()
    assert set(await asyncio.gather(*at_work)) == {"shoes"}
    assert await shop.ask("look") == "shoes"
