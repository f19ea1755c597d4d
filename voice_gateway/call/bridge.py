"""The bridge: the whole call as one synchronous machine.

`Bridge.handle(event, now) -> commands` is the only entrance, `Bridge.deadline()` says when it wants to be woken.
No await stands between a check and its act, so the list of (now, event) of a call replays it exactly.

Rules
-----
1. The caller's sound goes to the model at once; until the model is ready it is kept (the newest 10 seconds).
2. The greeting begins when both legs are there.
3. Barge-in: the caller speaks while our voice is audible or still being made. In one answer the playout is cleared,
   every item that was not heard to its end is truncated at what was heard, and the fact is written down.
4. What arrives of a response after it was cut is dropped.
5. A tool runs beside the call. Its output goes to the model at once; the model is asked to speak when no tool is
   outstanding any more and `turns` allows it.
6. A turn of ours is on the record when its last mark came back, or when it was cut, never before.
7. A model that leaves `MOST_UNANSWERED` asks unanswered is lost, whatever its socket says.
8. After `EndCall` nothing has an effect any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from voice_gateway.audio.g711 import SILENCE
from voice_gateway.audio.level import Level
from voice_gateway.audio.transcode import (
    ULAW_BYTES_PER_MS,
    Straight,
    ToCaller,
    ToModel,
    TowardsCaller,
    TowardsModel,
)
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.gaps import GapFiller
from voice_gateway.call.playout import Heard, Playout, Segment
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.turns import Turns

BACKLOG_BYTES = 10 * 1000 * ULAW_BYTES_PER_MS
RETRY_AFTER = 0.5
MOST_UNANSWERED = 3

_FROM_MODEL = frozenset(get_args(ev.ModelEvent))
DIGITS_SETTLE = 1.5


@dataclass(frozen=True, slots=True)
class Policy:
    """How a call is led.

    greeting: instructions for the first response; empty: the model waits for the caller. barge_in: False lets our
    voice finish. duplex: False gives the model silence while our voice plays. audio_format: of the model leg.
    """

    greeting: str = ""
    barge_in: bool = True
    duplex: bool = True
    audio_format: Literal["pcm16", "pcmu"] = "pcm16"
    lead_s: float = 0.4
    mark_every_s: float = 0.2
    max_duration_s: float = 3600.0
    failed_sentence: str = "I am sorry, something went wrong. Please call again."
    limit_sentence: str = "We have reached the longest time for a call. Goodbye."


class Bridge:
    def __init__(self, policy: Policy, began_at: float) -> None:
        """began_at: when the carrier's webhook was answered, on the clock of `now`."""
        straight = policy.audio_format == "pcmu"
        self._policy = policy
        self._began_at = began_at
        self._to_model: TowardsModel = Straight() if straight else ToModel()
        self._to_caller: TowardsCaller = Straight() if straight else ToCaller()
        self._playout = Playout(
            lead_s=policy.lead_s, chunk_s=policy.mark_every_s, filter_delay_ms=self._to_caller.delay_ms
        )
        self._turns = Turns()
        self._transcript = Transcript()
        self._gaps = GapFiller()
        self._level = Level()
        self._backlog = bytearray()
        self._segment: Segment | None = None
        self._joined_at: float | None = None
        self._ready = False
        self._ended = False
        self._written_ms = 0.0
        self._padded_ms = 0.0
        self._caller_stopped_at: float | None = None
        self._tools: dict[str, tuple[str, float]] = {}
        self._digits = ""
        self._digits_due: float | None = None
        self._retry_due: float | None = None
        self._failures = 0
        self.dropped_deltas = 0
        self._handlers: dict[type, Callable[[Any, float], list[do.Command]]] = {
            ev.CallerAudio: self._on_caller_audio,
            ev.AudioReceived: self._on_audio,
            ev.MarkReached: self._on_mark,
            ev.TextReceived: self._on_text,
            ev.CallerJoined: self._on_joined,
            ev.CallerLeft: self._on_left,
            ev.DigitPressed: self._on_digit,
            ev.ModelReady: self._on_ready,
            ev.ModelUnavailable: self._on_model_gone,
            ev.ModelLost: self._on_model_gone,
            ev.ModelErred: self._on_model_erred,
            ev.SpeechStarted: self._on_speech_started,
            ev.SpeechStopped: self._on_speech_stopped,
            ev.UserTranscribed: self._on_user_text,
            ev.UserTranscriptionFailed: self._on_user_text_failed,
            ev.ResponseStarted: self._on_response_started,
            ev.AudioFinished: self._on_audio_finished,
            ev.TextFinished: self._on_text_finished,
            ev.ToolCalled: self._on_tool_called,
            ev.ResponseFinished: self._on_response_finished,
            ev.ToolFinished: self._on_tool_finished,
            ev.HangUpAsked: self._on_hang_up_asked,
            ev.Woke: self._on_woke,
        }

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:
        """Tell what happened; get what is to be done about it, in order. Never raises for what a far side may send."""
        if self._ended:
            return []
        if type(event) in _FROM_MODEL:
            self._turns.hear_from_model(now)
        handler = self._handlers.get(type(event))
        return handler(event, now) if handler is not None else []

    def deadline(self) -> float | None:
        """When to send `Woke` next, on the clock of `now`; None once the call has ended."""
        if self._ended:
            return None
        due = self._began_at + self._policy.max_duration_s
        for other in (
            self._playout.deadline(),
            self._gaps.deadline(),
            self._turns.deadline() if self._may_ask else None,
            self._digits_due if self._ready else None,
            self._retry_due,
        ):
            if other is not None and other < due:
                due = other
        return due

    @property
    def has_ended(self) -> bool:
        return self._ended

    # --- the caller leg -----------------------------------------------------------------------------------------

    def _on_caller_audio(self, event: ev.CallerAudio, now: float) -> list[do.Command]:
        self._level.add(event.ulaw)
        ulaw = self._gaps.frame(event.ulaw, event.timestamp_ms, now)
        self._padded_ms += (len(ulaw) - len(event.ulaw)) / ULAW_BYTES_PER_MS
        if not self._policy.duplex and self._playout.is_audible(now):
            ulaw = SILENCE * len(ulaw)
        if not self._ready:
            self._backlog += ulaw
            del self._backlog[:-BACKLOG_BYTES]
            return []
        return [self._append(ulaw)]

    def _append(self, ulaw: bytes) -> do.AppendAudio:
        self._written_ms += len(ulaw) / ULAW_BYTES_PER_MS
        return do.AppendAudio(self._to_model.process(ulaw))

    def _on_joined(self, event: ev.CallerJoined, now: float) -> list[do.Command]:
        self._joined_at = now
        return [
            do.WriteEntry(entries.MediaStarted(event.stream_sid)),
            *self._playout.probe(now),
            *self._greet(now),
        ]

    def _on_mark(self, event: ev.MarkReached, now: float) -> list[do.Command]:
        error = self._playout.reach_mark(event.name, now)
        noted: list[do.Command] = [] if error is None else [do.Observe("heard_error", error)]
        return [*noted, *self._settle(now)]

    def _on_digit(self, event: ev.DigitPressed, now: float) -> list[do.Command]:
        self._digits += event.digit
        self._digits_due = now if event.digit == "#" else now + DIGITS_SETTLE
        return [do.WriteEntry(entries.DigitReceived(event.digit)), *self._tell_digits(now)]

    def _tell_digits(self, now: float) -> list[do.Command]:
        """Keys become one note when the caller pauses or presses `#`; the model then answers."""
        if self._digits_due is None or now < self._digits_due or not self._ready:
            return []
        note = f"The caller pressed these keys on the telephone: {' '.join(self._digits)}"
        self._digits, self._digits_due = "", None
        self._turns.wish(do.CreateResponse(), now)
        return [do.AddNote(note), *self._ask(now)]

    def _on_left(self, event: ev.CallerLeft, now: float) -> list[do.Command]:
        return self._end(event.reason, "completed", now)

    # --- the model leg: its session -----------------------------------------------------------------------------

    def _on_ready(self, event: ev.ModelReady, now: float) -> list[do.Command]:
        self._ready = True
        waited_ms = 0 if self._joined_at is None else round((now - self._joined_at) * 1000)
        backlog = bytes(self._backlog)
        self._backlog.clear()
        second = 1000 * ULAW_BYTES_PER_MS
        return [
            do.WriteEntry(entries.ModelJoined(event.session_id, event.model, waited_ms)),
            *(self._append(backlog[start : start + second]) for start in range(0, len(backlog), second)),
            *self._greet(now),
            *self._tell_digits(now),
        ]

    def _greet(self, now: float) -> list[do.Command]:
        if not self._ready or self._joined_at is None or not self._policy.greeting:
            return []
        self._turns.wish(do.CreateResponse(self._policy.greeting), now)
        return self._ask(now)

    def _on_model_gone(self, event: ev.ModelUnavailable | ev.ModelLost, now: float) -> list[do.Command]:
        reason = "model_lost" if isinstance(event, ev.ModelLost) else "model_unavailable"
        fault = do.WriteEntry(entries.FaultSeen("model", event.code, event.message))
        return [fault, *self._end(reason, "failed", now, say=self._policy.failed_sentence)]

    def _on_model_erred(self, event: ev.ModelErred, now: float) -> list[do.Command]:
        if event.code == "conversation_already_has_active_response":
            self._turns.refuse_ask(now)
        return [do.WriteEntry(entries.FaultSeen("model", event.code, event.message)), *self._ask(now)]

    # --- the model leg: the caller's turn -----------------------------------------------------------------------

    def _on_speech_started(self, event: ev.SpeechStarted, now: float) -> list[do.Command]:
        self._turns.start_speech()
        self._transcript.turn("caller", event.item_id).start_ms = event.audio_start_ms
        return self._barge_in(now) if self._policy.barge_in else []

    def _barge_in(self, now: float) -> list[do.Command]:
        response_id = self._turns.cut_active()
        if not (self._playout.is_audible(now) or self._playout.unfinished):
            return []
        whole, unheard = self._cut_playout(now)
        if not unheard:
            return whole
        first = unheard[0]
        unheard_ms = sum(heard.total_ms - heard.heard_ms for heard in unheard)
        barged_in = entries.BargedIn(
            first.segment.item_id, first.heard_ms, unheard_ms, response_id or first.segment.response_id
        )
        return [
            *whole,
            do.ClearPlayout(),
            *(do.TruncateItem(h.segment.item_id, h.segment.content_index, h.heard_ms) for h in unheard),
            do.WriteEntry(barged_in),
            *(self._tell_assistant(heard) for heard in unheard),
        ]

    def _cut_playout(self, now: float) -> tuple[list[do.Command], list[Heard]]:
        """End the playout's generation: the record of what was heard whole, and what was not."""
        whole: list[do.Command] = []
        unheard: list[Heard] = []
        for heard in self._playout.cut(now):
            if heard.segment.finished and heard.heard_ms >= heard.total_ms:
                whole.append(self._tell_assistant(heard))
            else:
                unheard.append(heard)
        self._to_caller.reset()
        self._segment = None
        return whole, unheard

    def _on_speech_stopped(self, event: ev.SpeechStopped, now: float) -> list[do.Command]:
        self._turns.stop_speech(now)
        self._transcript.turn("caller", event.item_id).end_ms = event.audio_end_ms
        self._caller_stopped_at = now - max(0.0, self._written_ms - event.audio_end_ms) / 1000
        return []

    def _on_user_text(self, event: ev.UserTranscribed, now: float) -> list[do.Command]:  # noqa: ARG002 - one shape for all handlers
        turn = self._transcript.turn("caller", event.item_id)
        turn.text = turn.generated = event.text
        if not event.text.strip():
            return []
        return [do.WriteEntry(entries.UserSpoke(event.item_id, event.text.strip(), turn.start_ms, turn.end_ms))]

    def _on_user_text_failed(self, event: ev.UserTranscriptionFailed, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        return [do.WriteEntry(entries.FaultSeen("model", event.code or "transcription_failed", event.message))]

    # --- the model leg: our turn --------------------------------------------------------------------------------

    def _on_response_started(self, event: ev.ResponseStarted, now: float) -> list[do.Command]:
        if self._turns.start_response(event.response_id, now):
            return []
        return [do.CancelResponse(event.response_id)]

    def _on_audio(self, event: ev.AudioReceived, now: float) -> list[do.Command]:
        if self._turns.is_cut(event.response_id):
            self.dropped_deltas += 1
            return []
        segment, noted = self._segment_for(event, now)
        ulaw = self._to_caller.process(event.audio)
        self._playout.queue(segment, ulaw, len(event.audio) / self._to_caller.model_bytes_per_ms)
        return [*noted, *self._playout.pump(now)]

    def _segment_for(self, event: ev.AudioReceived, now: float) -> tuple[Segment, list[do.Command]]:
        segment = self._segment
        if segment is not None and (segment.item_id, segment.content_index) == (event.item_id, event.content_index):
            return segment, []
        self._close_segment()
        segment = self._playout.open_segment(event.response_id, event.item_id, event.content_index)
        self._segment = segment
        turn = self._transcript.turn("assistant", event.item_id)
        if turn.start_ms is None and self._joined_at is not None:
            turn.start_ms = round((now - self._joined_at) * 1000)
        if self._caller_stopped_at is None:
            return segment, []
        latency, self._caller_stopped_at = now - self._caller_stopped_at, None
        turn.latency_ms = round(latency * 1000)
        return segment, [do.Observe("response_latency", latency)]

    def _close_segment(self) -> None:
        """The answer's end: the filter's tail comes out, so that the last sound is not lost."""
        if self._segment is not None:
            self._playout.queue(self._segment, self._to_caller.flush(), 0.0)
            self._playout.finish(self._segment)
            self._segment = None

    def _on_audio_finished(self, event: ev.AudioFinished, now: float) -> list[do.Command]:
        segment = self._segment
        if segment is None or (segment.item_id, segment.content_index) != (event.item_id, event.content_index):
            return []
        self._close_segment()
        return [*self._playout.pump(now), *self._settle(now)]

    def _on_text(self, event: ev.TextReceived, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if not self._turns.is_cut(event.response_id):
            self._transcript.turn("assistant", event.item_id).generated += event.text
        return []

    def _on_text_finished(self, event: ev.TextFinished, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if not self._turns.is_cut(event.response_id):
            turn = self._transcript.turn("assistant", event.item_id)
            turn.generated = event.text
        return []

    def _on_response_finished(self, event: ev.ResponseFinished, now: float) -> list[do.Command]:
        self._turns.finish_response(event.response_id)
        if self._segment is not None and self._segment.response_id == event.response_id:
            self._close_segment()
        metered = entries.ResponseMetered(event.response_id, event.status, event.reason, event.usage)
        return [
            do.WriteEntry(metered),
            *self._playout.pump(now),
            *self._after_failure(event, now),
            *self._settle(now),
            *self._ask(now),
        ]

    def _after_failure(self, event: ev.ResponseFinished, now: float) -> list[do.Command]:
        """A response that failed by the model's fault is asked for once more; after a second failure the call ends."""
        if event.status != "failed":
            if event.status == "completed":
                self._failures = 0
            return []
        self._failures += 1
        fault = do.WriteEntry(entries.FaultSeen("model", event.reason or "response_failed", event.message))
        if self._failures > 1:
            return [fault, *self._end("model_failed", "failed", now, say=self._policy.failed_sentence)]
        self._retry_due = now + RETRY_AFTER
        return [fault]

    def _settle(self, now: float) -> list[do.Command]:
        """Put on the record what was heard to its end."""
        return [self._tell_assistant(heard) for heard in self._playout.pop_heard(now)]

    def _tell_assistant(self, heard: Heard) -> do.Command:
        segment = heard.segment
        turn = self._transcript.hear_assistant(segment.item_id, heard.heard_ms, heard.total_ms, whole=segment.finished)
        return do.WriteEntry(
            entries.AssistantSpoke(
                segment.item_id,
                turn.text or "",
                turn.generated,
                heard.heard_ms,
                heard.total_ms,
                turn.interrupted,
                turn.start_ms,
                turn.latency_ms,
            )
        )

    # --- tools --------------------------------------------------------------------------------------------------

    def _on_tool_called(self, event: ev.ToolCalled, now: float) -> list[do.Command]:
        self._tools[event.call_id] = (event.name, now)
        return [
            do.WriteEntry(entries.ToolAsked(event.call_id, event.name, event.arguments)),
            do.RunTool(event.call_id, event.name, event.arguments),
        ]

    def _on_tool_finished(self, event: ev.ToolFinished, now: float) -> list[do.Command]:
        name, asked_at = self._tools.pop(event.call_id, ("", now))
        answered = entries.ToolAnswered(event.call_id, name, event.output, event.ok, round((now - asked_at) * 1000))
        self._turns.wish(do.CreateResponse(), now)
        return [do.SendToolOutput(event.call_id, event.output), do.WriteEntry(answered), *self._ask(now)]

    # --- time and the end ---------------------------------------------------------------------------------------

    def _on_woke(self, event: ev.Woke, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if now >= self._began_at + self._policy.max_duration_s:
            return self._end("max_duration", "completed", now, say=self._policy.limit_sentence)
        if self._retry_due is not None and now >= self._retry_due:
            self._retry_due = None
            self._turns.wish(do.CreateResponse(), now)
        return [*self._playout.pump(now), *self._pad(now), *self._tell_digits(now), *self._ask(now)]

    def _pad(self, now: float) -> list[do.Command]:
        """The caller's frames stopped coming: silence keeps the model's clock going, so that it can end the turn."""
        silence = self._gaps.due(now)
        if not silence or not self._ready:
            return []
        self._padded_ms += len(silence) / ULAW_BYTES_PER_MS
        return [self._append(silence)]

    def _ask(self, now: float) -> list[do.Command]:
        response = self._turns.due(now) if self._may_ask else None
        if response is None:
            return []
        if self._turns.unanswered < MOST_UNANSWERED:
            return [response]
        fault = entries.FaultSeen("model", "model_stalled", f"{MOST_UNANSWERED} asks for a response were not answered")
        return [do.WriteEntry(fault), *self._end("model_stalled", "failed", now, say=self._policy.failed_sentence)]

    @property
    def _may_ask(self) -> bool:
        return self._ready and not self._ended and not self._tools

    def _on_hang_up_asked(self, event: ev.HangUpAsked, now: float) -> list[do.Command]:
        if event.failed:
            return self._end(event.reason, "failed", now, say=self._policy.failed_sentence)
        if event.reason == "draining":  # cut off in the middle: he shall know that it was not his telephone
            return self._end(event.reason, "completed", now, say=self._policy.failed_sentence)
        return self._end(event.reason, "completed", now)

    def _end(self, reason: str, status: str, now: float, say: str = "") -> list[do.Command]:
        whole, unheard = self._cut_playout(now)
        told = [*whole, *(self._tell_assistant(heard) for heard in unheard), *self._give_up_tools(now)]
        ended = entries.CallEnded(
            reason,
            status,
            round((now - self._began_at) * 1000),
            self._transcript.render(),
            None if self._level.dbfs is None else round(self._level.dbfs, 1),
            round(self._padded_ms),
        )
        self._ended = True
        return [*told, do.WriteEntry(ended), do.EndCall(reason, say)]

    def _give_up_tools(self, now: float) -> list[do.Command]:
        """No question stays without an answer on the record: what these tools have done is not known to the call."""
        given_up = [
            entries.ToolAnswered(
                call_id, name, '{"error":"call_ended"}', ok=False, duration_ms=round((now - at) * 1000)
            )
            for call_id, (name, at) in self._tools.items()
        ]
        self._tools.clear()
        return [do.WriteEntry(entry) for entry in given_up]
