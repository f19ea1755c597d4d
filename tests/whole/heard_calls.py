"""Callers who interrupt, over real sockets: what the model is told was heard, and what the emulated carrier played."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from whole_calls import payloads, record_of, speech

from voice_gateway.cli.stage import Stage
from voice_gateway.emulator.phone_call import PhoneCall

LONG = "We have cappuccino, african coffee, passion fruit juice, grilled tilapia, brochettes, and much more to offer."


@dataclass(frozen=True, slots=True)
class Cut:
    """One barge-in: what was told of the item that was audible, and how much of it the carrier played."""

    item_id: str
    told_ms: int
    played_ms: float

    @property
    def error_ms(self) -> float:
        return self.told_ms - self.played_ms


async def interrupt(running: Stage, after_s: Sequence[float]) -> list[Cut]:
    """A call whose caller interrupts each answer when he has heard so much of it, and then hangs up."""
    call = await running.carrier.dial(running.webhook_url)
    await call.answered()
    for number, seconds in enumerate(after_s, 1):
        await call.until_heard(seconds)
        speaking = asyncio.create_task(call.say(speech(0.6), 8000))
        async with asyncio.timeout(15):
            while len(messages_before_clears(call)) < number:  # noqa: ASYNC110 - looked at, as a ledger is read
                await asyncio.sleep(0.01)
        await speaking
    await asyncio.sleep(0.2)
    played = played_between_clears(call)
    await call.hang_up()
    _, events = await record_of(running, call)
    told = payloads(events, "BARGE_IN")
    return [Cut(cut["item_id"], cut["heard_ms"], ms) for cut, ms in zip(told, played, strict=True)]


def messages_before_clears(call: PhoneCall) -> list[int]:
    """For each clear, how many messages of sound came before it."""
    seen, before = 0, []
    for happening in call.events:
        seen += happening.name == "media"
        if happening.name == "clear":
            before.append(seen)
    return before


def played_between_clears(call: PhoneCall) -> list[float]:
    """Milliseconds of our voice that were played before the first clear, between it and the second, and so on."""
    return [
        sum(segment.length for segment in call.played if segment.audible and first < segment.message <= last) / 8
        for first, last in pairwise([0, *messages_before_clears(call)])
    ]
