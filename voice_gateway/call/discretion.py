"""Discretion: what is said while a recording is paused stays out of the record, as text too.

A turn that overlaps a pause is replaced as a whole by `NOT_KEPT`, in its entry and in the call's transcript: half a
card number is too much. So are keys pressed and what tools were given and gave meanwhile. The model still learns all
of it; only what is kept is concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call.transcript import Transcript

NOT_KEPT: Final = "[not recorded]"
HIDDEN_DIGIT: Final = "x"
HIDDEN_JSON: Final = '{"not_recorded":true}'
SWITCHES: Final = frozenset({"pause_recording", "resume_recording", "stop_recording"})
"""Tools whose own use is no secret."""


@dataclass(slots=True)
class _Pause:
    """began, ended: on the clock of `now`. began_ms, ended_ms: of the sound that the model was given by then."""

    began: float
    began_ms: float
    ended: float | None = None
    ended_ms: float | None = None


class Discretion:
    """was_asked_for: True once there was a pause; only then `veil` has anything to do."""

    def __init__(self, transcript: Transcript, written_ms: Callable[[], float]) -> None:
        """written_ms: how much sound the model was given, which is the clock of a caller's turns."""
        self._transcript = transcript
        self._written_ms = written_ms
        self._pauses: list[_Pause] = []
        self._asked_in_a_pause: set[str] = set()
        self.was_asked_for = False

    @property
    def is_paused(self) -> bool:
        return bool(self._pauses) and self._pauses[-1].ended is None

    def pause(self, by: str, now: float) -> list[do.Command]:
        if self.is_paused:
            return []
        self.was_asked_for = True
        self._pauses.append(_Pause(now, self._written_ms()))
        return [do.WriteEntry(entries.RecordingPaused(by))]

    def resume(self, by: str, now: float) -> list[do.Command]:
        if not self.is_paused:
            return []
        self._pauses[-1].ended, self._pauses[-1].ended_ms = now, self._written_ms()
        return [do.WriteEntry(entries.RecordingResumed(by))]

    def veil(self, commands: Sequence[do.Command], joined_at: float | None, now: float) -> list[do.Command]:
        """The same commands, their entries without what must not be kept."""
        return [
            do.WriteEntry(self._veiled(command.entry, joined_at or 0.0, now))
            if isinstance(command, do.WriteEntry)
            else command
            for command in commands
        ]

    def _veiled(self, entry: entries.Entry, joined_at: float, now: float) -> entries.Entry:  # noqa: PLR0911 - one line for each kind
        match entry:
            case entries.UserSpoke() if self._hides_caller(entry):
                self._forget("caller", entry.item_id)
                return replace(entry, text=NOT_KEPT)
            case entries.AssistantSpoke() if self._hides_ours(entry, joined_at, now):
                self._forget("assistant", entry.item_id)
                unsaid = NOT_KEPT if entry.unsaid else ""
                return replace(entry, text=NOT_KEPT if entry.text else "", generated=NOT_KEPT, unsaid=unsaid)
            case entries.DigitReceived() if self.is_paused:
                return replace(entry, digit=HIDDEN_DIGIT)
            case entries.HandedOff() if self._was_paused_since(now - (entry.waited_ms + 1) / 1000):
                return replace(entry, reason=NOT_KEPT if entry.reason else "")
            case entries.SayingAsked() if self.is_paused:
                return replace(entry, text=NOT_KEPT)
            case entries.ToolAsked() if self.is_paused and entry.name not in SWITCHES:
                self._asked_in_a_pause.add(entry.call_id)
                return replace(entry, arguments=HIDDEN_JSON)
            case entries.ToolAnswered() if self._hides_answer(entry):
                return replace(entry, output=HIDDEN_JSON)
            case entries.CallEnded():
                return replace(entry, transcript=self._transcript.render())
        return entry

    def _hides_answer(self, entry: entries.ToolAnswered) -> bool:
        """An answer may repeat what was asked with, so it is no less secret when it comes after the pause."""
        asked_in_a_pause = entry.call_id in self._asked_in_a_pause
        self._asked_in_a_pause.discard(entry.call_id)
        return (self.is_paused or asked_in_a_pause) and entry.name not in SWITCHES

    def _was_paused_since(self, began: float) -> bool:
        return any(pause.ended is None or pause.ended > began for pause in self._pauses)

    def _hides_caller(self, entry: entries.UserSpoke) -> bool:
        start_ms, end_ms = entry.start_ms, entry.end_ms
        if start_ms is None:  # nobody knows when it was said
            return True
        last_ms = self._written_ms() if end_ms is None else end_ms
        return any(
            last_ms > pause.began_ms and (pause.ended_ms is None or start_ms < pause.ended_ms) for pause in self._pauses
        )

    def _hides_ours(self, entry: entries.AssistantSpoke, joined_at: float, now: float) -> bool:
        if entry.start_ms is None:
            return True
        start = joined_at + entry.start_ms / 1000
        return any(now > pause.began and (pause.ended is None or start < pause.ended) for pause in self._pauses)

    def _forget(self, speaker: str, item_id: str) -> None:
        turn = self._transcript.turn(speaker, item_id)
        turn.text = NOT_KEPT if turn.text else turn.text
        turn.generated = NOT_KEPT
