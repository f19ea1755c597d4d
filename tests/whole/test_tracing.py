"""A traced call keeps what a recorded one may keep, and no more."""

from __future__ import annotations

from pathlib import Path

from recorded_calls import TOKEN, Settings, post
from whole_calls import Staging, payloads, record_of, speech

from voice_gateway.call import events as ev
from voice_gateway.trace.notes import read


def traces(folder: Path) -> list[Path]:
    return list(folder.glob("traces/*"))


async def test_a_caller_who_refuses_to_be_recorded_leaves_no_trace(
    staging: Staging, recorded: Settings, tmp_path: Path
) -> None:
    settings = recorded(RECORDING_CONSENT="keypress", TRACE_DIR=str(tmp_path / "traces"))
    async with staging(settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        call.press("2")
        await call.answered()
        await call.until_heard(0.8)
        await call.hang_up()
        _, events = await record_of(running, call)
    assert payloads(events, "CONSENT_REFUSED")
    assert traces(tmp_path) == []


async def test_a_trace_ends_where_its_recording_is_paused(staging: Staging, recorded: Settings, tmp_path: Path) -> None:
    settings = recorded(API_TOKEN=TOKEN, TRACE_DIR=str(tmp_path / "traces"))
    async with staging(settings=settings) as running:
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await call.until_heard(0.3)
        assert (await post(running, call, {"paused": True})).json() == {"paused": True}
        await call.say(speech(0.5), 8000)
        await call.hang_up()
        await record_of(running, call)
    (file,) = traces(tmp_path)
    trace = read(file)
    assert trace.stopped == "what is said while a recording is paused is not kept"
    assert isinstance(trace.notes[-1].event, ev.PauseAsked)
