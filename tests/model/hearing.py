"""A listener for the tests of the model leg."""

from __future__ import annotations

import asyncio
import sys

from voice_gateway.call import events as ev
from voice_gateway.model.socket import ModelSocket


async def hear(model: ModelSocket, until: type = ev.ModelLost, most: int = sys.maxsize) -> list[ev.ModelEvent]:
    """What the model tells, up to an event of that kind or that many; what comes then is kept for the next listener."""
    told: list[ev.ModelEvent] = []
    enough = asyncio.Event()

    def listener(event: ev.ModelEvent) -> None:
        told.append(event)
        if isinstance(event, until) or len(told) == most:
            model.listen(None)
            enough.set()

    model.listen(listener)
    if not model._closing:
        await enough.wait()
    return told
