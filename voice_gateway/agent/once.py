"""Side effects once: the same wish of the same call, said again within a minute, gets the first answer again.

A model asks twice when it was interrupted before it heard the answer, when its session was lost and another took over,
or when a caller says "yes, please" two times. What a caller wants twice differs in its arguments (two cappuccinos are a
quantity of two) or comes later. What failed or was refused may be tried again at once. A caller who was put through and
comes back goes on with the same call: what was done before counts, the time that he was away does not, and no later
doing has the key of an earlier one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson

from voice_gateway.agent.tools import ToolOutcome

WINDOW_S = 60.0
MOST_ASIDE = 200


@dataclass(slots=True)
class _Effect:
    """One doing of a wish. count: which one it is, so that a later doing has a key of its own.

    What failed or was given up keeps its count, and so its key: it may have been done all the same, and what was
    written under a key is not written again.
    """

    name: str
    began_at: float
    count: int
    outcome: asyncio.Future[ToolOutcome]
    undone: bool = False


class Once:
    """What live calls have had done. One for all calls of a process."""

    def __init__(self, clock: Callable[[], float], window_s: float = WINDOW_S) -> None:
        """clock: monotonic seconds."""
        self._clock = clock
        self._window = window_s
        self._calls: dict[str, dict[str, _Effect]] = {}
        self._aside: OrderedDict[str, tuple[dict[str, _Effect], float]] = OrderedDict()

    async def run(
        self, call_sid: str, name: str, arguments: str, work: Callable[[str], Awaitable[ToolOutcome]]
    ) -> ToolOutcome:
        """Have it done, or give the answer of the doing that is under way or just over.

        work: told the key of this doing, the same for a repetition; it is not stopped when whoever waits is cancelled.
        """
        effects = self._calls.setdefault(call_sid, {})
        wish = digest(arguments, name)[:24]
        known = effects.get(wish)
        if known is not None and self._counts(known):
            return _again(await asyncio.shield(known.outcome))
        count = 1 if known is None else known.count + self._was_done(known)
        key = f"{call_sid}:{wish}:{count}"
        effect = _Effect(name, self._clock(), count, asyncio.ensure_future(work(key)))
        effects[wish] = effect
        return await asyncio.shield(effect.outcome)

    def undo(self, call_sid: str, name: str, outcome: ToolOutcome) -> None:
        """Another tool has undone what this one did, as it says by `"success": true`: the same wish is a new one.

        Where its answer names something, such as an id, that alone counts as undone whose own answer names it too.
        """
        told = orjson.loads(outcome.output)
        if not outcome.ok or not isinstance(told, dict) or told.get("success") is not True:
            return
        named = _texts(told)
        for effect in self._calls.get(call_sid, {}).values():
            if effect.name == name and self._was_done(effect):
                effect.undone |= not named or not named.isdisjoint(_texts(orjson.loads(effect.outcome.result().output)))

    def forget(self, call_sid: str) -> None:
        """The call is over, and nobody comes back."""
        self._calls.pop(call_sid, None)
        self._aside.pop(call_sid, None)

    def set_aside(self, call_sid: str) -> None:
        """The caller is put through, and may come back."""
        effects = self._calls.pop(call_sid, None)
        if effects:
            self._aside[call_sid] = effects, self._clock()
        while len(self._aside) > MOST_ASIDE:
            self._aside.popitem(last=False)

    def take_up(self, call_sid: str) -> None:
        """He is back."""
        effects, since = self._aside.pop(call_sid, ({}, 0.0))
        for effect in effects.values():
            effect.began_at += self._clock() - since
        self._calls[call_sid] = effects | self._calls.get(call_sid, {})

    def _counts(self, effect: _Effect) -> bool:
        if not effect.outcome.done():
            return True
        return not effect.undone and self._was_done(effect) and self._clock() - effect.began_at < self._window

    @staticmethod
    def _was_done(effect: _Effect) -> bool:
        """Is it known to have had its effect? A tool may also say no in good order: `"success": false`."""
        if not effect.outcome.done() or effect.outcome.cancelled() or effect.outcome.exception() is not None:
            return False
        outcome = effect.outcome.result()
        told = orjson.loads(outcome.output) if outcome.ok else None
        return outcome.ok and not (isinstance(told, dict) and told.get("success") is False)


def digest(arguments: str, *names: str) -> str:
    """The same for the same arguments and names, however the arguments are spaced and ordered: 64 hexadecimals."""
    try:
        text = orjson.dumps(orjson.loads(arguments or "{}"), option=orjson.OPT_SORT_KEYS)
    except (ValueError, orjson.JSONEncodeError):  # more levels can be read than written
        text = arguments.encode("utf-8", "replace")
    return hashlib.sha256(b"\n".join([*(name.encode("utf-8", "replace") for name in names), text])).hexdigest()


def _texts(told: Any) -> set[str]:
    """Every text of an answer, however deep."""
    found, parts = set(), [told]
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            found.add(part)
        elif isinstance(part, dict | list):
            parts.extend(part.values() if isinstance(part, dict) else part)
    return found


def _again(outcome: ToolOutcome) -> ToolOutcome:
    """The first answer, marked as such, so that the model does not tell of two orders."""
    told = orjson.loads(outcome.output)
    if isinstance(told, dict):
        told["repeat"] = True
        return ToolOutcome(orjson.dumps(told).decode(), outcome.ok)
    return outcome
