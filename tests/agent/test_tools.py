"""Tools: what the model is told of a function, and that nothing a function does can hurt a call."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from queue import SimpleQueue
from typing import Annotated, Any, Literal

import orjson
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeFunctionTool
from pydantic import BaseModel, Field

from voice_gateway.agent import running
from voice_gateway.agent.tools import Tool, Toolbox, ToolContext, ToolError, ToolFailed, tool_from

CONTEXT = ToolContext("CA1", "+250788000001")


async def run(function: Any, arguments: str = "{}", **limits: Any) -> tuple[Any, bool]:
    outcome = await Toolbox([function], **limits).run(function.__name__, arguments, CONTEXT)
    return orjson.loads(outcome.output), outcome.ok


class Guest(BaseModel):
    name: str
    seats: int = 2


def book(  # noqa: D417 - what is described elsewhere, or needs no description, is left out
    day: date,
    guest: Guest,
    context: ToolContext,
    itemTitle: Literal["window", "terrace"] = "window",  # noqa: N803 - as a model may know it
    title: Annotated[str | None, Field(description="stated")] = None,
) -> dict[str, Any]:
    """Book a table.

    It lasts two hours.

    Args:
        day: The day, as in 2026-11-21,
            never in the past.
        title (str): not used, the field says it

    Returns:
        The booking.
    """
    return {"day": day, "name": guest.name, "seats": guest.seats, "place": itemTitle, "sid": context.call_sid}


# --- what the model is told -------------------------------------------------------------------------------------


def test_signature_and_docstring_become_the_description() -> None:
    (spec,) = Toolbox([book]).specs()
    RealtimeFunctionTool.model_validate(spec, strict=True)
    assert (spec["type"], spec["name"]) == ("function", "book")
    assert spec["description"] == "Book a table. It lasts two hours."
    parameters = spec["parameters"]
    assert list(parameters["properties"]) == ["day", "guest", "itemTitle", "title"], "the context is not shown"
    assert parameters["required"] == ["day", "guest"]
    assert parameters["additionalProperties"] is False
    assert parameters["properties"]["day"] == {
        "type": "string", "format": "date", "description": "The day, as in 2026-11-21, never in the past.",
    }  # fmt: skip
    assert parameters["properties"]["itemTitle"]["enum"] == ["window", "terrace"]
    assert parameters["properties"]["title"]["description"] == "stated"
    assert list(parameters["$defs"]["Guest"]["properties"]) == ["name", "seats"]
    assert "title" not in parameters["$defs"]["Guest"], "no generated titles"


async def test_arguments_arrive_as_the_types_they_are_declared() -> None:
    answer, ok = await run(book, '{"day": "2026-11-21", "guest": {"name": "Aline"}, "unasked": 1}')
    assert ok
    assert answer == {"day": "2026-11-21", "name": "Aline", "seats": 2, "place": "window", "sid": "CA1"}


async def test_a_parameter_may_have_another_name_for_the_model() -> None:
    def find(item_id: Annotated[str, Field(alias="itemId")]) -> str:
        """Find."""
        return item_id

    assert list(tool_from(find).parameters["properties"]) == ["itemId"]
    assert await run(find, '{"itemId": "rw-cap"}') == ("rw-cap", True)


async def test_names_that_pydantic_uses_itself_are_free() -> None:
    def copy(json: str, model_config: int, schema: bool) -> list[Any]:  # noqa: FBT001 - a model names its arguments
        """Copy."""
        return [json, model_config, schema]

    assert await run(copy, '{"json": "a", "model_config": 1, "schema": true}') == (["a", 1, True], True)


def undocumented(query: str) -> str:
    return query


def untyped(query):
    """Find."""


def spread(*queries: str) -> None:
    """Find."""


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (undocumented, "undocumented needs a docstring"),
        (untyped, "untyped does not say what type query has"),
        (spread, r"spread takes \*queries"),
        (lambda: None, "<lambda> is no name for a tool"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_told_what_it_lacks(function: Any, complaint: str) -> None:
    with pytest.raises(ToolError, match=complaint):
        Toolbox([function])


def test_tools_are_picked_by_name() -> None:
    def first() -> None:
        """One."""

    def second() -> None:
        """Two."""

    box = Toolbox([first, second])
    assert box.pick(["second"]).names == ("second",)
    assert box.names == ("first", "second")
    with pytest.raises(ToolError, match=r"no tool named third; there are first, second$"):
        box.pick(["second", "third"])
    with pytest.raises(ToolError, match="two tools are named first"):
        Toolbox([first, first])


# --- what can go wrong ------------------------------------------------------------------------------------------


async def test_an_unknown_tool_is_answered_with_those_there_are() -> None:
    outcome = await Toolbox([book]).run("cancel", "{}", CONTEXT)
    assert (outcome.ok, orjson.loads(outcome.output)) == (
        False, {"error": "unknown_tool", "message": "There is no tool named 'cancel'. There are: book."},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('{"day":', "not JSON"),
        ("[]", "must be one JSON object"),
        ("", "day: Field required; guest: Field required"),
        ("null", "day: Field required"),
        ('{"day": "soon", "guest": {}}', "guest.name: Field required"),
        (
            '{"day": "2026-11-21", "guest": {"name": "A"}, "itemTitle": "roof"}',
            "itemTitle: Input should be 'window' or",
        ),
    ],
)
async def test_wrong_arguments_are_told_in_words_the_model_can_use(arguments: str, complaint: str) -> None:
    answer, ok = await run(book, arguments)
    assert not ok
    assert answer["error"] == "invalid_arguments"
    assert complaint in answer["message"]
    assert "call book again" in answer["message"]


@given(st.text(st.characters(codec=None), max_size=40))
def test_no_arguments_whatever_raise(arguments: str) -> None:
    asyncio.run(run(book, arguments))


async def test_a_fault_of_a_tool_is_not_shown_to_the_model() -> None:
    def pay() -> None:
        """Pay."""
        raise ConnectionError("https://user:secret@bank/ refused")

    async def pay_later() -> None:
        """Pay."""
        raise StopAsyncIteration("secret")

    for tool in (pay, pay_later):
        answer, ok = await run(tool)
        assert (ok, answer["error"]) == (False, "failed")
        assert "secret" not in answer["message"]


async def test_a_tool_may_tell_the_model_why_it_failed() -> None:
    async def reserve() -> None:
        """Reserve."""
        raise ToolFailed("The terrace is full. Offer the window.")

    answer, ok = await run(reserve)
    assert (ok, answer["message"]) == (False, "The terrace is full. Offer the window.")


@pytest.mark.parametrize("fault", [SystemExit, StopIteration, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
async def test_whatever_a_thread_raises_ends_there(fault: type[BaseException]) -> None:
    def leave() -> None:
        """Leave."""
        raise fault

    answer, ok = await run(leave)
    assert (ok, answer["error"]) == (False, "failed")


@pytest.mark.parametrize("fault", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_whatever_a_coroutine_raises_ends_there(fault: type[BaseException]) -> None:
    async def leave() -> None:
        """Try to end the process."""
        raise fault

    answer, ok = await run(leave)
    assert (ok, answer["error"]) == (False, "failed")


@pytest.mark.parametrize("fault", [KeyError, SystemExit])
async def test_a_reason_or_an_answer_that_cannot_be_put_into_words_ends_there(fault: type[BaseException]) -> None:
    class Coded(ToolFailed):
        def __str__(self) -> str:
            raise fault("no words for this code")

    class Lazy(dict[str, str]):
        def keys(self) -> Any:
            raise fault(Coded())

    def refuse() -> None:
        """Refuse."""
        raise Coded

    def look_up() -> dict[str, str]:
        """Look up."""
        return Lazy(a="b")

    for tool in (refuse, look_up):
        answer, ok = await run(tool)
        assert (ok, answer["error"]) == (False, "failed")
        assert tool.__name__ in answer["message"]


@pytest.mark.parametrize("run_loop", [asyncio.run, uvloop.run])
def test_what_a_thread_said_in_time_counts_though_the_loop_hears_of_it_too_late(run_loop: Callable[..., Any]) -> None:
    said = threading.Event()

    def order() -> str:
        """Order."""
        said.set()
        return "ordered"

    async def be_kept() -> Any:
        at_work = asyncio.create_task(run(order, timeout_s=0.05))
        await asyncio.sleep(0)
        assert said.wait(5)
        time.sleep(0.1)  # noqa: ASYNC251 - something keeps the loop until the tool's time is over
        return await at_work

    assert run_loop(be_kept()) == ("ordered", True)


async def test_a_thread_that_is_done_works_for_the_next_and_is_named_for_what_it_does() -> None:
    seen: list[tuple[int, str]] = []

    def note() -> None:
        """Say which thread this is."""
        seen.append((threading.get_ident(), threading.current_thread().name))

    for _ in range(5):
        assert (await run(note))[1]
        while "tool-note" in [each.name for each in threading.enumerate()]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)
    assert len(set(seen)) == 1
    assert seen[0][1] == "tool-note"


async def test_a_thread_that_waits_for_work_keeps_nothing_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_idle", [])  # so that a thread is begun for this very tool

    class Answer(dict[str, str]):
        """One can see it go."""

    def look_up(context: ToolContext) -> dict[str, str]:
        """Look up."""
        threads.append(threading.current_thread())
        kept.extend((weakref.ref(said := Answer(a="b")), weakref.ref(context.transcript)))
        return said

    threads: list[threading.Thread] = []
    kept: list[weakref.ref[Any]] = []
    assert (await Toolbox([look_up]).run("look_up", "{}", ToolContext("CA1", transcript=lambda: ()))).ok
    while threads[0].name != "tool-idle":  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)  # the step that brought the answer holds it
    gc.collect()
    assert [each() for each in kept] == [None, None]


async def test_a_tool_does_not_find_the_event_loop_of_one_before_it_in_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hand: SimpleQueue[Any] = SimpleQueue()
    idle = [hand]
    monkeypatch.setattr(running, "_idle", idle)  # so that it is one thread for both
    threading.Thread(target=running._lend, args=(hand,), daemon=True).start()
    threads: list[int] = []

    def leave_a_loop() -> None:
        """Leave one behind, closed."""
        threads.append(threading.get_ident())
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        loop.close()

    def make_one_where_there_is_none() -> int:
        """Do as many programs do."""
        threads.append(threading.get_ident())
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:
            loop = asyncio.new_event_loop()
        try:
            return loop.run_until_complete(asyncio.sleep(0, 4))
        finally:
            loop.close()

    assert (await run(leave_a_loop))[1]
    while hand not in idle:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    idle[:] = [hand]  # and none of a test before this one
    assert await run(make_one_where_there_is_none) == (4, True)
    assert len(set(threads)) == 1


async def test_a_tool_that_cancels_itself_has_failed_and_the_call_goes_on() -> None:
    async def give_up() -> None:
        """Give up."""
        raise asyncio.CancelledError

    answer, ok = await run(give_up)
    assert (ok, answer["error"]) == (False, "failed")


async def test_slow_tools_run_out_of_time() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    released = threading.Event()

    def sleepy() -> None:
        """Sleep."""
        released.wait(30)

    async def dreamy() -> None:
        """Sleep, and do not want to wake."""
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("too late for anyone") from None

    for tool in (sleepy, dreamy):
        answer, ok = await run(tool, timeout_s=0.02)
        assert (ok, answer["error"]) == (False, "timeout")
        assert "0.02 s" in answer["message"]
    released.set()
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == [], "what a late tool raises is nobody's business any more"


async def test_a_tool_may_have_a_time_limit_of_its_own() -> None:
    async def patient() -> None:
        """Wait."""
        await asyncio.Event().wait()

    answer, ok = await run_tool(Toolbox([tool_from(patient, timeout_s=0.01)], timeout_s=30), "patient")
    assert (ok, answer["error"]) == (False, "timeout")


async def run_tool(box: Toolbox, name: str) -> tuple[Any, bool]:
    outcome = await box.run(name, "{}", CONTEXT)
    return orjson.loads(outcome.output), outcome.ok


async def test_cancelling_the_call_cancels_its_tool() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        """Go on."""
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    call = asyncio.ensure_future(run(endless))
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(ended.wait(), 5)


async def test_synchronous_tools_never_wait_for_each_other() -> None:
    together = threading.Barrier(40, timeout=20)

    def meet() -> int:
        """Meet."""
        return together.wait()

    box = Toolbox([meet])
    places = await asyncio.gather(*(run_tool(box, "meet") for _ in range(40)))
    assert sorted(place for place, _ in places) == list(range(40))


# --- what comes back --------------------------------------------------------------------------------------------


@dataclass
class Price:
    amount: Decimal


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, {"ok": True}),
        ("text", "text"),
        ({"a": {1}, 2: date(2026, 11, 21)}, {"a": [1], "2": "2026-11-21"}),
        (Guest(name="Aline"), {"name": "Aline", "seats": 2}),
        ([Price(Decimal("3.50")), Price(Decimal(3000))], [{"amount": 3.5}, {"amount": 3000}]),
        (float("nan"), None),
    ],
)
async def test_results_become_json(result: Any, told: Any) -> None:
    def tell() -> Any:
        """Tell."""
        return result

    assert await run(tell) == (told, True)


@pytest.mark.parametrize("result", [object(), sys, "\ud800", 2**80])
async def test_a_result_that_is_no_json_is_a_failure(result: Any) -> None:
    def tell() -> Any:
        """Tell."""
        return result

    answer, ok = await run(tell)
    assert (ok, answer["error"]) == (False, "failed")


async def test_a_result_that_is_too_long_asks_for_less() -> None:
    def tell() -> str:
        """Tell."""
        return "x" * 98

    assert await run(tell, result_bytes=100) == ("x" * 98, True)
    answer, ok = await run(tell, result_bytes=99)
    assert not ok
    assert answer == {"error": "too_long", "message": "The answer has 100 bytes, 99 are allowed. Ask for less."}


def test_a_context_keeps_the_number_out_of_its_repr() -> None:
    assert "250788" not in repr(CONTEXT)
    assert isinstance(tool_from(book), Tool)
