"""The recorder: stands beside a call's bridge and has what it sees written down as sound.

To its session it is the bridge itself. A call is recorded from the caller's joining on, when his consent is there; the
facts of it (consent, start, end) go on the call's record. Whatever goes wrong here ends the recording and not the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.recording import Recording
from voice_gateway.caller.consent import Consent
from voice_gateway.journal import CallRecord
from voice_gateway.ops import logs
from voice_gateway.store.recordings import Ended, RecordingFile, Recordings
from voice_gateway.store.records import new_id


class Core(Protocol):
    """The bridge, or one whose call is traced."""

    def handle(self, event: ev.Event, now: float) -> list[do.Command]: ...

    def deadline(self) -> float | None: ...


class Recorder:
    """What all recorded calls share: the files."""

    def __init__(self, folder: Path, *, keep_days: int, count: Callable[[str], None]) -> None:
        """keep_days: for how long the keeper keeps a recording, 0 for ever. count: told each recording's outcome."""
        self.recordings = Recordings(folder, new_id=new_id, wall_clock=lambda: datetime.now(UTC), count=count)
        self.keep_days = keep_days

    async def start(self) -> None:
        self.recordings.start()

    async def close(self) -> None:
        """Finish the files of calls that have ended, and tell their records."""
        await asyncio.to_thread(self.recordings.close)

    def follow(self, core: Core, record: CallRecord, consent: Consent) -> Core:
        """The same call, recorded if its caller agrees."""
        return core if consent.method == "never" else RecordedCall(core, record, consent, self)


class RecordedCall:
    def __init__(self, core: Core, record: CallRecord, consent: Consent, recorder: Recorder) -> None:
        self._core = core
        self._record = record
        self._consent = consent
        self._recorder = recorder
        self._recordings = recorder.recordings
        self._recording: Recording | None = None
        self._file: RecordingFile | None = None
        self._discarded = ""
        self.deadline = core.deadline

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:
        try:
            commands = self._core.handle(event, now)
        except Exception:
            self._give_up("the call was broken off by a fault")  # the call ends by it, and may not be able to say so
            raise
        told: list[entries.Entry] = []
        try:
            if type(event) is ev.CallerJoined:
                told = self._begin(now)
            elif type(event) is ev.ConsentWithdrawn:
                told = self._withdraw(event.by)
            if self._recording is not None:
                self._follow(self._recording, event, commands, now)
        except Exception:  # noqa: BLE001 - a fault here costs the recording, counted, and not the call
            logs.get("recorder").error("recording.fault", call_sid=self._record.facts.call_sid, exc_info=True)
            self._give_up("an internal fault")
        return [*commands, *map(do.WriteEntry, told)] if told else commands

    def _begin(self, now: float) -> list[entries.Entry]:
        decision = self._consent.settle()
        if not self._consent.allows_recording:
            return decision
        self._file = self._recordings.begin(self._record.facts.call_sid, self._tell_end)
        self._recording = Recording(now)
        started = entries.RecordingStarted(self._file.recording_id, self._file.shown, self._consent.method)
        return [*decision, started]

    def _follow(self, recording: Recording, event: ev.Event, commands: list[do.Command], now: float) -> None:
        if type(event) is ev.PauseAsked:
            recording.pause(now)
        elif type(event) is ev.ResumeAsked:
            recording.resume(now)
        blocks = recording.tell(event, commands, now)
        ended = any(type(command) is do.EndCall for command in commands)
        if ended:
            self._recording = None
            blocks += recording.finish(now, by_caller=type(event) is ev.CallerLeft)
        if self._file is not None:
            for block in blocks:
                self._recordings.write(self._file, block)
            if ended:
                self._recordings.finish(self._file)

    def _withdraw(self, by: str) -> list[entries.Entry]:
        """The caller does not want to be recorded after all: what there is of it is removed."""
        if self._file is None or self._discarded:
            return []
        self._recording = None
        self._discarded = "the caller took his consent back"
        self._recordings.discard(self._file)
        return [self._consent.withdraw(by)]

    def _give_up(self, reason: str) -> None:
        if self._recording is not None and self._file is not None:
            self._recordings.give_up(self._file, reason)
        self._recording = None

    def _tell_end(self, ended: Ended) -> None:
        """What became of the file goes on the record, most often after the call itself has ended."""
        entry: entries.Entry
        match ended.outcome:
            case "kept":
                entry = entries.RecordingFinished(
                    ended.recording_id,
                    ended.path,
                    ended.duration_ms,
                    ended.size,
                    ended.sha256,
                    self._recorder.keep_days,
                )
            case "failed":
                self._recording = None
                entry = entries.RecordingFailed(
                    ended.recording_id,
                    ended.path,
                    ended.reason,
                    ended.duration_ms,
                    ended.size,
                    ended.sha256,
                    self._recorder.keep_days if ended.size else 0,
                )
            case _:
                entry = entries.RecordingDiscarded(ended.recording_id, ended.path, ended.reason or self._discarded)
        self._record.write(entry)
