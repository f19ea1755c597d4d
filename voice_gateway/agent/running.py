"""How a tool's work is done beside the calls, and how its answer becomes text for the model."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

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


def in_thread(work: Callable[[], Any], name: str, over: Callable[[], None]) -> asyncio.Future[Any]:
    """Run in a thread of its own. A pool would one day be full of tools that hang, and is waited for at exit.

    over: called on the event loop when the thread is done, however long nobody has waited for it any more. Raises
    `RuntimeError` when no thread can be had; then `over` is not called.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, fault: Exception | None) -> None:
        over()
        if future.done():
            return
        if fault is None:
            future.set_result(result)
        else:
            future.set_exception(fault)

    def run() -> None:
        result: Any = None
        fault: Exception | None = None
        try:
            result = work()
        except StopIteration:  # a future cannot hold one
            fault = RuntimeError("the tool raised StopIteration")
        except BaseException as error:  # noqa: BLE001 - whatever a tool does in its thread ends there, sys.exit included
            fault = error if isinstance(error, Exception) else RuntimeError(f"the tool raised {type(error).__name__}")
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, result, fault)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name=f"tool-{name}", daemon=True).start()
    return future


def on_loop(work: Coroutine[Any, Any, Any], over: Callable[[], None]) -> asyncio.Future[Any]:
    """Run a coroutine as a task. over: called when it is done, heeding its cancellation or not."""
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(lambda _: over())
    return task


def look_away(work: asyncio.Future[Any]) -> None:
    """Take a late result, so that asyncio does not report an exception nobody asked for."""
    if not work.cancelled():
        work.exception()


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
