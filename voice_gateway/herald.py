"""The herald: has something said in a live call and tells whoever wanted it what became of it.

The call decides when it is said (`call/saying.py`) and writes down what was heard; the herald reads it off the record.
So what nobody may keep, nobody is told here either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts, InnerEvent, SayAsked


@dataclass(frozen=True, slots=True)
class Said:
    """What became of a saying. outcome: as in `SayingEnded`. text, heard_ms: of it as far as the caller heard it."""

    outcome: str
    text: str = field(default="", repr=False)
    heard_ms: int = 0


@dataclass(slots=True)
class Saying:
    """One that was sent into a call. accepted: the call has it. ended: what became of it; never cancelled by us."""

    saying_id: str
    accepted: asyncio.Future[None]
    ended: asyncio.Future[Said]


@dataclass(slots=True)
class _Call:
    """heard: our turns since the first saying that is still open, by item."""

    sayings: dict[str, Saying] = field(default_factory=dict)
    heard: dict[str, entries.AssistantSpoke] = field(default_factory=dict)


class Herald:
    def __init__(self, tell: Callable[[str, InnerEvent], bool], new_id: Callable[[], str]) -> None:
        """tell: tells a live call, False when it has no media stream. new_id: a name for each saying."""
        self._tell = tell
        self._new_id = new_id
        self._calls: dict[str, _Call] = {}

    def say(
        self, call_sid: str, text: str, *, mode: Literal["speak", "ask"], interrupt: bool, by: str
    ) -> Saying | None:
        """Send something into a call; None when it has no media stream. by: whose wish it is, for the record."""
        asked = SayAsked(self._new_id(), text, mode, interrupt, by)
        if not self._tell(call_sid, asked):
            return None
        loop = asyncio.get_running_loop()
        saying = Saying(asked.saying_id, loop.create_future(), loop.create_future())
        self._calls.setdefault(call_sid, _Call()).sayings[asked.saying_id] = saying
        return saying

    def forget(self, call_sid: str, saying: Saying) -> None:
        """Nobody waits for this one any more: the call never took it."""
        self._settle(call_sid, saying.saying_id, Said("call_ended"))

    def note(self, facts: CallFacts, entry: entries.Entry) -> None:
        """`journal.Listener`."""
        call = self._calls.get(facts.call_sid)
        if call is None:
            return
        match entry:
            case entries.SayingAsked() if entry.saying_id in call.sayings:
                accepted = call.sayings[entry.saying_id].accepted
                if not accepted.done():
                    accepted.set_result(None)
            case entries.AssistantSpoke():
                call.heard[entry.item_id] = entry
            case entries.SayingEnded():
                turns = [call.heard[item_id] for item_id in entry.item_ids if item_id in call.heard]
                text = " ".join(turn.text for turn in turns if turn.text)
                self._settle(
                    facts.call_sid, entry.saying_id, Said(entry.outcome, text, sum(turn.heard_ms for turn in turns))
                )
            case entries.CallEnded():
                for saying_id in list(call.sayings):
                    self._settle(facts.call_sid, saying_id, Said("call_ended"))

    def _settle(self, call_sid: str, saying_id: str, said: Said) -> None:
        call = self._calls.get(call_sid)
        saying = None if call is None else call.sayings.pop(saying_id, None)
        if call is None or saying is None:
            return
        if not call.sayings:
            del self._calls[call_sid]
        if not saying.accepted.done():
            saying.accepted.set_result(None)
        if not saying.ended.done():
            saying.ended.set_result(said)
