"""An effect is done once, however often a call asks for it."""

from __future__ import annotations

import asyncio

import orjson

from voice_gateway.agent.once import MOST_ASIDE, Once
from voice_gateway.agent.tools import ToolOutcome, failure

DONE = ToolOutcome('{"orderId":"1"}', ok=True)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Kitchen:
    """Takes orders and remembers under which keys."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.outcome = DONE

    async def __call__(self, key: str) -> ToolOutcome:
        self.keys.append(key)
        await self.open.wait()
        return self.outcome


async def test_the_same_wish_within_a_minute_is_done_once_and_the_answer_says_so() -> None:
    clock, kitchen = Clock(), Kitchen()
    once = Once(clock)
    first = await once.run("CA1", "place_order", '{"item":"rw-cap","quantity":2}', kitchen)
    clock.now += 59.0
    again = await once.run("CA1", "place_order", '{ "quantity": 2, "item": "rw-cap" }', kitchen)
    assert first == DONE
    assert orjson.loads(again.output) == {"orderId": "1", "repeat": True}
    assert len(kitchen.keys) == 1


async def test_later_it_is_another_wish_with_another_key() -> None:
    clock, kitchen = Clock(), Kitchen()
    once = Once(clock)
    await once.run("CA1", "place_order", "{}", kitchen)
    clock.now += 61.0
    await once.run("CA1", "place_order", "{}", kitchen)
    assert len(set(kitchen.keys)) == 2


async def test_other_arguments_other_tools_and_other_calls_are_other_wishes() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    await once.run("CA1", "place_order", '{"quantity":1}', kitchen)
    await once.run("CA1", "place_order", '{"quantity":2}', kitchen)
    await once.run("CA1", "take_message", '{"quantity":1}', kitchen)
    await once.run("CA2", "place_order", '{"quantity":1}', kitchen)
    assert len(set(kitchen.keys)) == 4


async def test_who_asks_while_it_is_under_way_waits_for_the_same_doing() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    kitchen.open.clear()
    asked = [asyncio.ensure_future(once.run("CA1", "place_order", "{}", kitchen)) for _ in range(3)]
    await asyncio.sleep(0)
    kitchen.open.set()
    assert [outcome.ok for outcome in await asyncio.gather(*asked)] == [True] * 3
    assert len(kitchen.keys) == 1


async def test_giving_up_waiting_stops_nothing_and_asking_again_finds_it_done() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    kitchen.open.clear()
    asked = asyncio.ensure_future(once.run("CA1", "place_order", "{}", kitchen))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    kitchen.open.set()
    again = await once.run("CA1", "place_order", "{}", kitchen)
    assert again.ok
    assert len(kitchen.keys) == 1


async def test_what_failed_may_be_tried_again_at_once() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    kitchen.outcome = failure("timeout", "It took too long.")
    assert not (await once.run("CA1", "place_order", "{}", kitchen)).ok
    kitchen.outcome = DONE
    assert await once.run("CA1", "place_order", "{}", kitchen) == DONE
    assert len(kitchen.keys) == 2


async def test_what_may_have_been_done_is_tried_again_under_the_same_key_and_a_later_wish_has_another() -> None:
    clock, kitchen = Clock(), Kitchen()
    once = Once(clock)
    kitchen.outcome = failure("timeout", "It took too long.")
    await once.run("CA1", "place_order", "{}", kitchen)
    kitchen.outcome = DONE
    await once.run("CA1", "place_order", "{}", kitchen)
    assert len(set(kitchen.keys)) == 1, "a lost answer does not make two orders"
    clock.now += 61.0
    await once.run("CA1", "place_order", "{}", kitchen)
    assert len(set(kitchen.keys)) == 2


async def test_what_was_refused_in_good_order_may_be_tried_again_at_once() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    kitchen.outcome = ToolOutcome('{"success":false,"error":"taken"}', ok=True)
    await once.run("CA1", "book_appointment", "{}", kitchen)
    kitchen.outcome = DONE
    assert await once.run("CA1", "book_appointment", "{}", kitchen) == DONE
    assert len(kitchen.keys) == 2


async def test_what_was_undone_may_be_wished_again_at_once() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    await once.run("CA1", "book_appointment", "{}", kitchen)
    await once.run("CA1", "take_message", "{}", kitchen)
    once.undo("CA1", "book_appointment", ToolOutcome('{"appointments":[]}', ok=True))
    assert orjson.loads((await once.run("CA1", "book_appointment", "{}", kitchen)).output)["repeat"], "only looked at"
    once.undo("CA1", "book_appointment", ToolOutcome('{"success":true}', ok=True))
    assert await once.run("CA1", "book_appointment", "{}", kitchen) == DONE
    assert orjson.loads((await once.run("CA1", "take_message", "{}", kitchen)).output)["repeat"]
    assert len(set(kitchen.keys)) == 3


async def test_what_was_undone_is_what_the_answer_names_and_nothing_else() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    for each in "ab":
        kitchen.outcome = ToolOutcome(f'{{"success":true,"appointment":{{"id":"apt_{each}"}}}}', ok=True)
        await once.run("CA1", "book_appointment", f'{{"time":"{each}"}}', kitchen)
    once.undo("CA1", "book_appointment", ToolOutcome('{"success":true,"canceled":"apt_a"}', ok=True))
    kept = await once.run("CA1", "book_appointment", '{"time":"b"}', kitchen)
    assert orjson.loads(kept.output)["repeat"], "the other one stands"
    assert len(kitchen.keys) == 2
    again = await once.run("CA1", "book_appointment", '{"time":"a"}', kitchen)
    assert "repeat" not in orjson.loads(again.output)
    assert len(set(kitchen.keys)) == 3


async def test_a_caller_who_comes_back_finds_what_was_done_before() -> None:
    clock, kitchen = Clock(), Kitchen()
    once = Once(clock)
    await once.run("CA1", "place_order", "{}", kitchen)
    once.set_aside("CA1")
    clock.now += 90.0
    once.take_up("CA1")
    clock.now += 59.0
    assert orjson.loads((await once.run("CA1", "place_order", "{}", kitchen)).output)["repeat"], "he was away"
    once.set_aside("CA1")
    once.take_up("CA1")
    clock.now += 2.0
    assert await once.run("CA1", "place_order", "{}", kitchen) == DONE
    assert len(set(kitchen.keys)) == 2, "or the tables would take the later order for the earlier one"


async def test_what_is_set_aside_has_an_end() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    for number in range(MOST_ASIDE + 5):
        await once.run(f"CA{number}", "place_order", "{}", kitchen)
        once.set_aside(f"CA{number}")
    once.forget(f"CA{MOST_ASIDE}")
    assert len(once._aside) == MOST_ASIDE - 1


async def test_a_call_that_is_over_is_forgotten() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    await once.run("CA1", "place_order", "not json", kitchen)
    once.forget("CA1")
    await once.run("CA1", "place_order", "not json", kitchen)
    assert len(kitchen.keys) == 2


async def test_arguments_that_are_nested_deep_are_a_wish_like_any_other() -> None:
    once, kitchen = Once(Clock()), Kitchen()
    deep = f'{{"item":{"[" * 500}{"]" * 500}}}'
    assert await once.run("CA1", "place_order", deep, kitchen) == DONE
    await once.run("CA1", "place_order", deep, kitchen)
    assert len(kitchen.keys) == 1
