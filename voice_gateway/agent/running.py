"""How a tool's work is done beside the calls, and how its answer becomes text for the model."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from functools import partial
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeAlias

import orjson
from pydantic import BaseModel


class TooLong(Exception):  # noqa: N818 - as it is said
    """An answer has more bytes than a model is given."""


class Gate:
    """Lets so many in at a time, over all calls of the process, in the order they came; None lets everybody in.

    A place is given back when the work is over, not when nobody waits for it any more: what hangs keeps its place, and
    a tool whose places all hang is soon refused instead of taking one thread more with every call.
    """

    def __init__(self, places: int | None) -> None:
        self._places = None if places is None else asyncio.Semaphore(places)

    async def enter(self, patience_s: float) -> bool:
        """False: no place came free in time."""
        if self._places is not None:
            try:
                async with asyncio.timeout(patience_s):
                    await self._places.acquire()
            except TimeoutError:
                return False
        return True

    def leave(self) -> None:
        """On the event loop, once for each that went in."""
        if self._places is not None:
            self._places.release()


class Ended(NamedTuple):
    """How a tool's work ended: with a result, or with a fault."""

    result: Any = None
    fault: BaseException | None = None


Work: TypeAlias = "asyncio.Future[Ended]"
"""A tool at work. Cancelled when nobody waits for its end any more; it raises nothing else."""


def in_thread(function: Callable[[], Any], name: str, over: Callable[[], None]) -> Work:
    """Run in a thread that does nothing else meanwhile. It goes on when it is cancelled: a thread cannot be stopped.

    over: called on the event loop when the thread is done, however long nobody has waited for it any more. Raises
    `RuntimeError` when no thread can be had; then `over` is not called.
    """
    loop = asyncio.get_running_loop()
    work: Work = loop.create_future()

    def tell(ended: Ended) -> None:
        over()
        _end(work, ended)

    def run() -> None:
        try:
            ended = Ended(function())
        except BaseException as error:  # noqa: BLE001 - whatever a tool does in its thread ends there, sys.exit included
            ended = Ended(fault=error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, ended)

    _lend_hand(_Errand(partial(contextvars.copy_context().run, run), name))
    return work


def on_loop(coroutine: Coroutine[Any, Any, Any], over: Callable[[], None]) -> Work:
    """Run a coroutine as a task. over: called when it is done, heeding its cancellation or not."""
    loop = asyncio.get_running_loop()
    work: Work = loop.create_future()

    async def run() -> None:
        try:
            ended = Ended(await coroutine)
        except BaseException as error:  # noqa: BLE001 - sys.exit in a tool is no reason for the gateway to end
            ended = Ended(fault=error)
        over()
        _end(work, ended)

    task = loop.create_task(run())
    work.add_done_callback(lambda _: task.cancel() if work.cancelled() else None)
    return work


def _end(work: Work, ended: Ended) -> None:
    """Say how it ended, in this very step: whoever waits goes on in the next."""
    if not work.done():
        work.set_result(ended)


def look_away(work: asyncio.Future[Any]) -> None:
    """Take a late result, so that asyncio does not report an exception nobody asked for."""
    if not work.cancelled():
        work.exception()


# --- threads ----------------------------------------------------------------------------------------------------

MOST_IDLE = 16


@dataclass(frozen=True, slots=True)
class _Errand:
    run: Callable[[], None]
    name: str


_idle: list[SimpleQueue[_Errand]] = []
"""Of each thread that waits for work, the way to give it some."""


def _lend_hand(errand: _Errand) -> None:
    """Have it done by a thread that waits for work, or by a new one where none does.

    So a tool that hangs keeps nobody else waiting, as it would in a pool that is full one day. None is waited for when
    the process ends. To begin a thread costs the event loop more than to wake one.
    """
    try:
        hand = _idle.pop()
    except IndexError:
        hand = SimpleQueue()  # handed over as to any other thread: a thread keeps for life what it was begun with
        threading.Thread(target=_lend, args=(hand,), daemon=True).start()
    hand.put(errand)


def _lend(hand: SimpleQueue[_Errand]) -> None:
    """A thread's life: whatever comes, unless enough others wait already."""
    own = threading.current_thread()
    while True:
        errand = hand.get()
        own.name = f"tool-{errand.name}"
        errand.run()
        del errand  # while it waits it keeps nothing of a call
        asyncio.set_event_loop(None)  # nor a loop that a tool has left, for the next one would take it for its own
        own.name = "tool-idle"
        if len(_idle) >= MOST_IDLE:
            return
        _idle.append(hand)


def written(result: Any, most_bytes: int) -> bytes:
    """A tool's result as JSON. Raises `TooLong`, and TypeError for what is no JSON.

    What is far too long is not even written: 10 MB would keep the event loop, and with it every call, for a while.
    """
    if _is_longer(result, most_bytes):
        raise TooLong("far too many bytes")
    output = orjson.dumps({"ok": True} if result is None else result, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    if len(output) > most_bytes:
        raise TooLong(f"{len(output)} bytes")
    return output


def _is_longer(result: Any, most_bytes: int) -> bool:
    """Whether a result surely has more bytes than that; looks at no more of it than it takes to know."""
    left, waiting = most_bytes, [result]
    while waiting and left >= 0:
        value = waiting.pop()
        left -= 1
        if isinstance(value, str):
            left -= len(value)
        elif isinstance(value, Mapping):
            left -= len(value)
            if left >= 0:
                waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            left -= len(value)
            if left >= 0:
                waiting += value
        elif isinstance(value, BaseModel):
            waiting += [getattr(value, name) for name in type(value).model_fields]
        elif is_dataclass(value):
            waiting += [getattr(value, each.name) for each in fields(value)]
    return left < 0


def _plain(value: Any) -> Any:
    """What JSON does not know itself."""
    match value:
        case BaseModel():
            return value.model_dump(mode="json")
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case Mapping():
            return dict(value)
        case set() | frozenset():
            return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
