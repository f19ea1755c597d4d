"""The recorder beside a bridge: consent first, every end of a call, and no fault of its own in the call's way."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from voice_gateway.audio import wav
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.call.clip import Clip
from voice_gateway.call.events import CallFacts
from voice_gateway.caller.consent import Consent, Terms
from voice_gateway.journal import CallRecord, Journal
from voice_gateway.ops import logs
from voice_gateway.recorder import Core, Recorder
from voice_gateway.store.recordings import check_folder
from voice_gateway.store.records import EventRecord, new_id

FRAME = bytes(range(160))
FREE = Terms("none")


class Kept:
    """A store that keeps what it is given where a test can look at it."""

    def __init__(self) -> None:
        self.types: list[str] = []

    def write(self, event: EventRecord, *_more: object) -> None:
        self.types.append(event.event_type)


class Line:
    """A recorded call without its legs: entries go on the record as the session would put them there."""

    def __init__(self, recorder: Recorder, store: Kept, terms: Terms, core: Core | None = None) -> None:
        self.store = store
        journal = Journal(store, wall_clock=lambda: datetime.now(UTC), new_id=new_id)
        self.record = CallRecord(CallFacts("CA1"), journal)
        self.consent = Consent(terms)
        inner = core or Bridge(Policy(audio_format="pcmu"), 0.0)
        self.core = recorder.follow(inner, self.record, self.consent)
        self.now = 0.0

    def tell(self, event: ev.Event) -> list[do.Command]:
        commands = self.core.handle(event, self.now)
        for command in commands:
            if isinstance(command, do.WriteEntry):
                self.record.write(command.entry)
        return commands

    def talk(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.now += 0.02
            self.tell(ev.CallerAudio(FRAME, round(self.now * 1000) - 20))

    async def until(self, event_type: str) -> None:
        async with asyncio.timeout(5):
            while event_type not in self.store.types:  # noqa: ASYNC110 - a list, looked at
                await asyncio.sleep(0.001)


@pytest.fixture
async def recorder(tmp_path: Path) -> AsyncIterator[Recorder]:
    check_folder(tmp_path / "recordings")
    counted: list[str] = []
    recorder = Recorder(tmp_path / "recordings", keep_days=1, count=counted.append)
    recorder.recordings._reserve = 0
    await recorder.start()
    yield recorder
    await recorder.close()


@pytest.fixture
def line(recorder: Recorder) -> Callable[..., Line]:
    return lambda terms=FREE, core=None: Line(recorder, Kept(), terms, core)


@pytest.mark.parametrize(
    ("end", "seconds"),
    [
        (ev.CallerLeft("hangup"), 2.5),
        (ev.CallerLeft("lost"), 2.5),
        (ev.HangUpAsked("draining"), 2.6),  # our word to the carrier takes a round trip, and he hears us meanwhile
        (ev.ModelLost("x", "y"), 2.6),
    ],
)
async def test_every_end_of_a_call_is_the_end_of_its_recording(
    line: Callable[..., Line], tmp_path: Path, end: ev.Event, seconds: float
) -> None:
    call = line()
    call.tell(ev.ModelReady("s", "m"))
    call.tell(ev.CallerJoined("MZ1"))
    call.talk(2.5)
    call.tell(end)
    call.tell(ev.HangUpAsked("internal_error", failed=True))  # as the session does when all is over
    await call.until("RECORDING_FINISHED")
    (path,) = (tmp_path / "recordings").rglob("*.wav")
    assert len(wav.read(path)[0]) == seconds * 8000
    assert call.store.types.count("RECORDING_FINISHED") == call.store.types.count("CALL_ENDED") == 1
    assert call.store.types.index("CALL_ENDED") < call.store.types.index("RECORDING_FINISHED")


@pytest.mark.parametrize("terms", [Terms("never"), Terms("keypress", "Press 1.")])
async def test_no_consent_no_file(line: Callable[..., Line], tmp_path: Path, terms: Terms) -> None:
    call = line(terms)
    call.tell(ev.CallerJoined("MZ1"))
    call.talk(2.5)
    call.tell(ev.CallerLeft("hangup"))
    assert "RECORDING_STARTED" not in call.store.types
    assert ("CONSENT_REFUSED" in call.store.types) is (terms.method == "keypress")
    assert not list((tmp_path / "recordings").iterdir())


async def test_nothing_that_was_said_before_the_consent_is_known_is_in_the_file(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    call = line(Terms("notice", "This call is recorded."))
    commands = call.tell(ev.CallerJoined("MZ1"))
    written = [type(command.entry) for command in commands if isinstance(command, do.WriteEntry)]
    assert written == [entries.MediaStarted, entries.ConsentGiven, entries.RecordingStarted]
    call.talk(1.0)
    call.tell(ev.CallerLeft("hangup"))
    await call.until("RECORDING_FINISHED")
    (path,) = (tmp_path / "recordings").rglob("*.wav")
    assert len(wav.read(path)[0]) == 8000


async def test_consent_taken_back_removes_the_file_and_what_comes_later_is_not_recorded(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    call = line(Terms("notice", "This call is recorded."))
    call.tell(ev.CallerJoined("MZ1"))
    call.talk(3.0)
    call.tell(ev.ConsentWithdrawn("tool"))
    call.tell(ev.ConsentWithdrawn("tool"))
    call.talk(3.0)
    call.tell(ev.CallerLeft("hangup"))
    await call.until("RECORDING_DISCARDED")
    assert not list((tmp_path / "recordings").rglob("*.wav"))
    assert call.store.types.count("CONSENT_REFUSED") == 1
    assert "RECORDING_FINISHED" not in call.store.types


async def test_a_greeting_that_begins_with_the_stream_is_on_the_recording(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    clip = Clip(b"\x10" * 8000, "Hello!")
    call = line(core=Bridge(Policy(audio_format="pcmu", clip=clip, lead_s=2.0), 0.0))
    joined = call.tell(ev.CallerJoined("MZ1"))
    call.talk(0.5)
    for command in joined:
        if isinstance(command, do.SendMark):
            call.tell(ev.MarkReached(command.name))
    call.talk(2.0)
    call.tell(ev.CallerLeft("hangup"))
    await call.until("RECORDING_FINISHED")
    (path,) = (tmp_path / "recordings").rglob("*.wav")
    assert int((wav.read(path)[0][:, 1] != 0).sum()) == sum(
        len(command.ulaw) for command in joined if isinstance(command, do.PlayAudio)
    )


class Fatal:
    """A core that raises whatever it is told, after the first frames."""

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:
        if now > 2.0:
            raise RuntimeError(type(event).__name__)
        return []

    def deadline(self) -> float | None:
        return None


async def test_a_call_that_breaks_off_by_a_fault_leaves_what_there_is_and_says_so(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    call = line(core=Fatal())
    call.tell(ev.CallerJoined("MZ1"))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="CallerAudio"):
            call.talk(3.0)
    await call.until("RECORDING_FAILED")
    (path,) = (tmp_path / "recordings").rglob("*.wav")
    assert len(wav.read(path)[0]) >= 8000


class Broken:
    """A core that answers with what no recording can understand."""

    def handle(self, event: ev.Event, _now: float) -> list[do.Command]:
        return [do.PlayAudio(None)] * 2 + [do.SendMark("m")] if isinstance(event, ev.DigitPressed) else []  # type: ignore[arg-type]  # the fault

    def deadline(self) -> float | None:
        return None


async def test_a_fault_of_the_recorder_costs_the_recording_and_not_the_call(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    stream = io.StringIO()
    logs.configure("info", stream=stream, color=False)
    call = line(core=Broken())
    call.tell(ev.CallerJoined("MZ1"))
    call.talk(2.0)
    assert len(call.tell(ev.DigitPressed("1"))) == 3
    call.tell(ev.MarkReached("m"))
    call.talk(6.0)
    await call.until("RECORDING_FAILED")
    logs.configure("warning", stream=io.StringIO(), color=False)
    assert '"msg":"recording.fault"' in stream.getvalue()
    (path,) = (tmp_path / "recordings").rglob("*.wav")
    assert np.array_equal(wav.read(path)[0][:160, 0], wav.read(path)[0][160:320, 0]), "what there was of it plays"


async def test_a_call_that_is_cut_off_with_the_process_still_gets_its_file(
    line: Callable[..., Line], recorder: Recorder, tmp_path: Path
) -> None:
    call = line()
    call.tell(ev.CallerJoined("MZ1"))
    call.talk(3.0)
    await recorder.close()
    (path,) = (tmp_path / "recordings").rglob("*.wav")
    assert len(wav.read(path)[0]) >= 1.5 * 8000
