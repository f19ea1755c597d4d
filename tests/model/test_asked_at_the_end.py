"""A session that is asked for a summary, and what its far side may do instead of giving one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.server import ServerConnection

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.journal import Journal
from voice_gateway.model.settings import ModelSettings
from voice_gateway.model.socket import ModelSocket
from voice_gateway.store.records import CallPatch, EventRecord, new_id
from voice_gateway.summary import Summaries

if TYPE_CHECKING:
    from conftest import FarSide

FACTS = CallFacts("CA1")


@dataclass
class Written:
    """A store that only remembers."""

    events: list[EventRecord] = field(default_factory=list)

    def write(self, event: EventRecord, patch: CallPatch | None = None, rows: Any = ()) -> None:
        del patch, rows
        self.events.append(event)


async def summed_up(url: str, settings: ModelSettings, awaited: Callable[[ModelSocket], bool]) -> dict[str, Any]:
    """The summary's payload after a call in which somebody spoke. awaited: true once the session is as wanted."""
    summaries, store = Summaries(tariff=lambda _facts: None), Written()
    journal = Journal(store, wall_clock=lambda: datetime.now(UTC), new_id=new_id, listeners=[summaries.note])
    record = journal.open(FACTS)
    record.write(entries.CallStarted("+15550100001", "+15550100002", "inbound", "waiter"))
    record.write(entries.UserSpoke("u1", "A table, please.", 0, 900))
    record.write(entries.CallEnded("hangup", "completed", 5, "Caller: A table, please."))
    opening = asyncio.ensure_future(ModelSocket.open(url, api_key="offline", settings=settings))
    socket = await opening
    async with asyncio.timeout(3):
        while not awaited(socket):  # noqa: ASYNC110 - a gauge, not an event
            await asyncio.sleep(0.005)
    began = time.monotonic()
    await summaries.sum_up(record, opening)
    assert time.monotonic() - began < 3, "nothing is waited for in vain"
    await socket.close()
    assert [event.event_type for event in store.events][-2:] == ["CALL_ENDED", "CALL_SUMMARY"]
    return dict(store.events[-1].payload)


async def test_a_response_that_nobody_will_hear_is_cancelled_by_its_id(
    far_side: FarSide, settings: ModelSettings
) -> None:
    told: list[dict[str, Any]] = []

    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await far_side.say(ws, "response.created", response={"id": "r1", "conversation_id": "c"})
        told.extend([json.loads(await ws.recv()), json.loads(await ws.recv())])
        aside = {
            "id": "r2",
            "conversation_id": None,
            "metadata": told[1]["response"]["metadata"],
            "status": "completed",
        }
        await far_side.say(ws, "response.created", response=aside)
        content = [{"type": "output_text", "text": '{"summary": "A table was wanted."}'}]
        await far_side.say(ws, "response.done", response=aside | {"output": [{"type": "message", "content": content}]})
        await far_side.stay(ws)

    payload = await summed_up(await far_side.serve(handler), settings, lambda socket: socket.dialect.active == "r1")
    assert (payload["summary"], payload["summary_by"]) == ("A table was wanted.", "gpt-realtime-2.1")
    assert [message["type"] for message in told] == ["response.cancel", "response.create"]
    assert told[0]["response_id"] == "r1"


async def refuse(far_side: FarSide, ws: ServerConnection, question: dict[str, Any]) -> None:
    await far_side.error(ws, "response_cancel_not_active", event_id="another:1")
    await far_side.error(ws, "invalid_value", event_id=question["event_id"])
    await far_side.stay(ws)


async def leave(far_side: FarSide, ws: ServerConnection, question: dict[str, Any]) -> None:
    del far_side, question
    await ws.close(1011)


async def vanish(far_side: FarSide, ws: ServerConnection, question: dict[str, Any]) -> None:
    del far_side, question
    ws.transport.abort()


async def fail(far_side: FarSide, ws: ServerConnection, question: dict[str, Any]) -> None:
    aside = {"id": "r2", "conversation_id": None, "metadata": question["response"]["metadata"], "status": "failed"}
    await far_side.say(ws, "response.created", response=aside)
    await far_side.say(ws, "response.done", response=aside)
    await far_side.stay(ws)


@pytest.mark.parametrize("act", [refuse, leave, vanish, fail])
async def test_a_model_that_will_not_answer_is_not_waited_for(
    far_side: FarSide, settings: ModelSettings, act: Callable[..., Any]
) -> None:
    async def handler(ws: ServerConnection) -> None:
        await far_side.configure(ws)
        await act(far_side, ws, json.loads(await ws.recv()))

    payload = await summed_up(await far_side.serve(handler), settings, lambda _socket: True)
    assert (payload["summary"], payload["summary_by"]) == ("\u201cA table, please.\u201d", "extract")
