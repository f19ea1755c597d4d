"""What the model is told was heard, over real sockets and in bad weather, against what the emulated carrier played.

The exact figures stand in `tests/call/test_heard_cases.py`, where no machine is busy; here a turn of the event loop
that comes late counts like jitter of the line.
"""

from __future__ import annotations

import asyncio

from heard_calls import LONG, interrupt, messages_before_clears
from whole_calls import Staging, lateness, payloads, record_of, speech

from voice_gateway.emulator.faculties import Say
from voice_gateway.emulator.scenarios import TypedEar
from voice_gateway.emulator.weather import Weather

STORMY = Weather(one_way_s=0.1, jitter_s=0.03, jitter_buffer_s=0.06, start_late_s=0.1, seed=3)
BUSY_MACHINE_MS = 80


async def test_every_barge_in_tells_what_the_carrier_played(staging: Staging) -> None:
    """Three callers at once: one cuts in soon, one late, and one in two answers."""
    async with staging([LONG] * 3, ear=TypedEar(["No."] * 9), weather=STORMY) as running, lateness() as late:
        calls = await asyncio.gather(*(interrupt(running, after_s) for after_s in ([0.2], [2.0], [1.0, 0.5])))
        truncations = [told for session in running.model.sessions for told in session.truncations]
    cuts = [cut for cuts in calls for cut in cuts]
    assert len(cuts) == 4
    assert sorted(truncations) == sorted((cut.item_id, cut.told_ms) for cut in cuts)
    assert max(abs(cut.error_ms) for cut in cuts) <= BUSY_MACHINE_MS + late.worst_ms, cuts


async def test_of_two_items_the_audible_one_is_cut_and_the_other_was_never_heard(staging: Staging) -> None:
    replies = [[Say(LONG), Say("Of course, no problem at all.")]]
    async with staging(replies, ear=TypedEar(["No."]), weather=STORMY) as running, lateness() as late:
        (cut,) = await interrupt(running, [1.0])
        (session,) = running.model.sessions
    assert abs(cut.error_ms) <= BUSY_MACHINE_MS + late.worst_ms
    first, second = session.truncations
    assert first == (cut.item_id, cut.told_ms)
    assert second[1] == 0


async def test_a_caller_who_speaks_when_all_was_heard_cuts_nothing(staging: Staging) -> None:
    async with staging(["Welcome!", "Yes."], ear=TypedEar(["Hello."]), weather=STORMY) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        await call.until_quiet(0.5)
        await call.say(speech(0.6), 8000)
        await call.until_heard(0.1)
        await call.hang_up()
        _, events = await record_of(running, call)
        (session,) = running.model.sessions
    assert session.truncations == []
    assert messages_before_clears(call) == []
    assert payloads(events, "BARGE_IN") == []
