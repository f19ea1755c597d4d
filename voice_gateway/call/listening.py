"""Listening: the caller's turn, as the model tells of it.

The model counts the sound that it was written; where another session was put in (`handoff`), it counts from there, and
the call's clock goes on.
"""

from __future__ import annotations

from dataclasses import replace

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.barge_in import BargeIn
from voice_gateway.call.costs import Meter
from voice_gateway.call.goodbye import Parting
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.idle import Idleness
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.turns import Turns


class Listening:
    def __init__(
        self,
        hearing: Hearing,
        speaking: Speaking,
        turns: Turns,
        transcript: Transcript,
        barge_in: BargeIn,
        parting: Parting,
        idle: Idleness,
        meter: Meter,
    ) -> None:
        self._hearing = hearing
        self._speaking = speaking
        self._turns = turns
        self._transcript = transcript
        self._barge_in = barge_in
        self._parting = parting
        self._idle = idle
        self._meter = meter

    def start(self, event: ev.SpeechStarted, now: float) -> list[do.Command]:
        start_ms = event.audio_start_ms + round(self._hearing.offset_ms)
        self._turns.start_speech(now)
        self._speaking.take = None
        self._transcript.turn("caller", event.item_id).start_ms = start_ms
        self._idle.reset()
        taken_back = [] if self._turns.closing else self._parting.take_back()
        return [*self._barge_in.start_speech(replace(event, audio_start_ms=start_ms), now), *taken_back]

    def stop(self, event: ev.SpeechStopped, now: float) -> list[do.Command]:
        end_ms = event.audio_end_ms + round(self._hearing.offset_ms)
        self._barge_in.stop_speech()
        self._turns.stop_speech(now)
        self._transcript.turn("caller", event.item_id).end_ms = end_ms
        self._speaking.caller_stopped_at = self._hearing.stopped_at(end_ms, now)
        self._hearing.forget_until(end_ms)
        return []

    def commit(self, event: ev.TurnCommitted, now: float) -> list[do.Command]:  # noqa: ARG002 - one shape for all handlers
        self._turns.commit(now)
        return []

    def write_down(self, event: ev.UserTranscribed) -> list[do.Command]:
        turn = self._transcript.turn("caller", event.item_id)
        turn.text = turn.generated = event.text
        self._meter.add_transcription(event.billed_s)
        if not event.text.strip():
            return []
        return [do.WriteEntry(entries.UserSpoke(event.item_id, event.text.strip(), turn.start_ms, turn.end_ms))]

    def leave_unwritten(self, event: ev.UserTranscriptionFailed, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        turn = self._transcript.turn("caller", event.item_id)
        turn.text = turn.text or ""  # there will be none
        return [do.WriteEntry(entries.FaultSeen("model", event.code or "transcription_failed", event.message))]
