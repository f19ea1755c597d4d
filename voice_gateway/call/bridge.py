"""The bridge: the whole call as one synchronous machine.

`Bridge.handle(event, now) -> commands` is the only entrance, `Bridge.deadline()` says when it wants to be woken.
No await stands between a check and its act, so the list of (now, event) of a call replays it exactly.

The rules stand here, each with the tests that hold it. Their parts have plain state and one owner, this bridge: the
caller's sound (`hearing`), our voice (`speaking`, over `playout`), whose turn it is (`turns`), tools at work
(`errands`), keys (`keypad`), who said what (`transcript`), what it costs (`costs`), when the caller silences us
(`barge_in`).

Rules
-----
1. The caller's sound goes to the model at once; until the model is ready it is kept (the newest 10 seconds).
   test_while_the_model_is_missing_only_the_newest_ten_seconds_are_kept
2. The greeting begins when both legs are there. One that is kept as a clip begins with the caller's stream, and the
   model is told what was heard of it before it can answer (`greeting`).
   test_the_greeting_waits_for_the_caller
   test_the_greeting_waits_for_the_model_and_the_caller_is_not_lost_meanwhile
   test_a_clip_begins_with_the_stream_before_the_model_is_there
   test_a_clip_that_is_cut_enters_the_models_history_as_far_as_it_was_heard
3. Barge-in: the caller speaks while our voice is audible or still being made. In one answer the playout is cleared,
   every item that was not heard to its end is truncated at what was heard, and the fact is written down.
   test_barge_in_truncates_at_what_was_heard
   test_with_two_items_queued_the_audible_one_is_cut_and_the_other_was_never_heard
   When that is, and when our voice is only held for a while, is decided by the rules of `barge_in`.
4. What arrives of a response after it was cut is dropped.
   test_deltas_of_a_cut_response_never_reach_the_caller
5. A tool runs beside the call. Its output goes to the model at once; the model is asked to speak when no tool is
   outstanding any more and `turns` allows it.
   test_a_tools_output_goes_to_the_model_at_once_but_the_model_speaks_after_its_response
   test_parallel_tools_lead_to_one_response
6. A turn of ours is on the record when its last mark came back, or when it was cut, never before.
   test_a_turn_of_ours_is_on_record_when_its_last_mark_came_back_and_not_before
7. A model that leaves `MOST_UNANSWERED` asks unanswered is lost, whatever its socket says.
   test_a_model_that_never_answers_is_lost_and_the_caller_hears_a_polite_word
8. After `EndCall` nothing has an effect any more.
   test_after_the_end_nothing_has_an_effect
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.barge_in import BargeIn
from voice_gateway.call.costs import Meter
from voice_gateway.call.errands import Errands
from voice_gateway.call.greeting import Take
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.keypad import Keypad
from voice_gateway.call.policy import Policy
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.turns import Turns

__all__ = ["Bridge", "Policy"]

RETRY_AFTER = 0.5
MOST_UNANSWERED = 3
BUDGETS = frozenset({"call_budget", "caller_budget", "day_budget"})

_FROM_MODEL = frozenset(get_args(ev.ModelEvent))
_SOUND = frozenset({ev.CallerAudio, ev.AudioReceived})


class Bridge:
    def __init__(self, policy: Policy, began_at: float, detector: OnsetDetector | None = None) -> None:
        """began_at: when the carrier's webhook was answered, on the clock of `now`. detector: for edge barge-in."""
        self._policy = policy
        self._began_at = began_at
        self._transcript = Transcript()
        self._turns = Turns()
        self._speaking = Speaking(policy, self._transcript)
        self._hearing = Hearing(policy.audio_format, muted=None if policy.duplex else self._speaking.playout.is_audible)
        self._barge_in = BargeIn(policy, self._speaking, self._hearing, self._turns, detector)
        self._errands = Errands()
        self._keypad = Keypad()
        self._meter = Meter(
            began_at,
            policy.tariff,
            policy.line_usd_per_minute,
            policy.transcription_usd_per_minute,
            policy.max_cost_usd,
        )
        self._ready = False
        self._ended = False
        self._retry_due: float | None = None
        self._failures = 0
        self.dropped_deltas = 0
        self._next_limit = self._find_next_limit()
        self._handlers: dict[type, Callable[[Any, float], list[do.Command]]] = {
            # Fifty times a second: not even one call more than is needed.
            ev.CallerAudio: self._on_caller_audio if self._barge_in.watches else self._hearing.hear,
            ev.AudioReceived: self._on_audio,
            ev.MarkReached: self._speaking.reach_mark,
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
            ev.ItemStarted: self._on_item_started,
            ev.AudioFinished: self._speaking.finish_part,
            ev.TextFinished: self._on_text_finished,
            ev.ToolCalled: self._errands.start,
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
        commands = handler(event, now) if handler is not None else []
        if type(event) not in _SOUND:
            self._next_limit = self._find_next_limit()
            if self._speaking.first_words is not None:
                return [*self._tell_first_words(event, commands), *commands]
        return commands

    def deadline(self) -> float | None:
        """When to send `Woke` next, on the clock of `now`; None once the call has ended."""
        if self._ended:
            return None
        due = self._next_limit
        for other in (self._speaking.playout.deadline(), self._hearing.gaps.deadline()):
            if other is not None and other < due:
                due = other
        return due

    def _find_next_limit(self) -> float:
        """When the first of the limits that sound cannot bring nearer may be reached; sound may put some of them off.

        So it is not reckoned anew for each frame, and waking at it in vain is the worst that happens.
        """
        due = self._began_at + self._policy.max_duration_s
        for other in (
            self._turns.deadline() if self._may_ask else None,
            self._keypad.due if self._ready else None,
            self._barge_in.deadline(),
            self._retry_due,
        ):
            if other is not None and other < due:
                due = other
        return due

    @property
    def has_ended(self) -> bool:
        return self._ended

    # --- the caller leg ---------------------------------------------------------------------------------------------

    def _on_joined(self, event: ev.CallerJoined, now: float) -> list[do.Command]:
        if self._speaking.joined_at is not None:
            return []
        self._speaking.joined_at = now
        started = do.WriteEntry(entries.MediaStarted(event.stream_sid))
        if self._policy.clip is not None:
            return [started, *self._speaking.play(self._policy.clip, now)]
        return [started, *self._speaking.playout.probe(now), *self._greet(now)]

    def _on_caller_audio(self, event: ev.CallerAudio, now: float) -> list[do.Command]:
        heard = self._hearing.hear(event, now)
        reacted = self._barge_in.hear(event.ulaw, now)
        if not reacted:
            return heard
        self._next_limit = self._find_next_limit()
        return [*reacted, *heard]

    def _on_digit(self, event: ev.DigitPressed, now: float) -> list[do.Command]:
        self._keypad.press(event.digit, now)
        return [do.WriteEntry(entries.DigitReceived(event.digit)), *self._tell_digits(now)]

    def _tell_digits(self, now: float) -> list[do.Command]:
        digits = self._keypad.take(now) if self._ready else ""
        if not digits:
            return []
        note = f"The caller pressed these keys on the telephone: {' '.join(digits)}"
        self._turns.wish(do.CreateResponse(), now)
        return [do.AddNote(note), *self._ask(now)]

    def _on_left(self, event: ev.CallerLeft, now: float) -> list[do.Command]:
        return self._end(event.reason, "completed", now)

    # --- the model leg: its session ---------------------------------------------------------------------------------

    def _on_ready(self, event: ev.ModelReady, now: float) -> list[do.Command]:
        self._ready = True
        joined_at = self._speaking.joined_at
        waited_ms = 0 if joined_at is None else round((now - joined_at) * 1000)
        return [
            do.WriteEntry(entries.ModelJoined(event.session_id, event.model, waited_ms)),
            *self._hearing.let_model_listen(),
            *self._greet(now),
            *self._tell_digits(now),
        ]

    def _greet(self, now: float) -> list[do.Command]:
        policy = self._policy
        if not self._ready or self._speaking.joined_at is None or not policy.greeting or policy.clip is not None:
            return []
        if policy.greeting_to_keep:
            self._speaking.take = Take(policy.greeting_to_keep)
        self._turns.wish(do.CreateResponse(self._policy.greeting), now)
        return self._ask(now)

    def _tell_first_words(self, event: ev.Event, commands: list[do.Command]) -> list[do.Command]:
        """What the model is told of a clip, ahead of everything that this event leads to."""
        first_words = self._speaking.first_words
        if first_words is None or not self._ready or self._ended:
            return []
        # It answers when it is asked, and by itself when the caller has spoken: now, or while it was not there yet.
        hears = isinstance(event, ev.SpeechStarted) or (
            isinstance(event, ev.ModelReady) and any(isinstance(command, do.AppendAudio) for command in commands)
        )
        asked = any(isinstance(command, do.CreateResponse) for command in commands)
        told = first_words.tell(may_answer=hears or asked)
        if first_words.settled:
            self._speaking.first_words = None
        return [*told]

    def _on_model_gone(self, event: ev.ModelUnavailable | ev.ModelLost, now: float) -> list[do.Command]:
        reason = "model_lost" if isinstance(event, ev.ModelLost) else "model_unavailable"
        fault = do.WriteEntry(entries.FaultSeen("model", event.code, event.message))
        return [fault, *self._end(reason, "failed", now, say=self._policy.failed_sentence)]

    def _on_model_erred(self, event: ev.ModelErred, now: float) -> list[do.Command]:
        if event.code == "conversation_already_has_active_response":
            self._turns.refuse_ask(now)
        return [do.WriteEntry(entries.FaultSeen("model", event.code, event.message)), *self._ask(now)]

    # --- the model leg: the caller's turn ---------------------------------------------------------------------------

    def _on_speech_started(self, event: ev.SpeechStarted, now: float) -> list[do.Command]:
        self._turns.start_speech()
        self._speaking.take = None
        self._transcript.turn("caller", event.item_id).start_ms = event.audio_start_ms
        return self._barge_in.start_speech(event, now)

    def _on_speech_stopped(self, event: ev.SpeechStopped, now: float) -> list[do.Command]:
        self._barge_in.stop_speech()
        self._turns.stop_speech(now)
        self._transcript.turn("caller", event.item_id).end_ms = event.audio_end_ms
        self._speaking.caller_stopped_at = self._hearing.stopped_at(event.audio_end_ms, now)
        return []

    def _on_user_text(self, event: ev.UserTranscribed, now: float) -> list[do.Command]:  # noqa: ARG002 - one shape for all handlers
        turn = self._transcript.turn("caller", event.item_id)
        turn.text = turn.generated = event.text
        self._meter.add_transcription(event.billed_s)
        if not event.text.strip():
            return []
        return [do.WriteEntry(entries.UserSpoke(event.item_id, event.text.strip(), turn.start_ms, turn.end_ms))]

    def _on_user_text_failed(self, event: ev.UserTranscriptionFailed, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        return [do.WriteEntry(entries.FaultSeen("model", event.code or "transcription_failed", event.message))]

    # --- the model leg: our turn ------------------------------------------------------------------------------------

    def _on_response_started(self, event: ev.ResponseStarted, now: float) -> list[do.Command]:
        if self._speaking.take is not None:
            self._speaking.take.start(event.response_id)
        self._barge_in.start_response(event.response_id)
        if self._turns.start_response(event.response_id, now):
            return []
        return [do.CancelResponse(event.response_id)]

    def _on_item_started(self, event: ev.ItemStarted, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if self._speaking.take is not None:
            self._speaking.take.open_item(event.response_id, event.item_id, event.kind)
        return []

    def _on_audio(self, event: ev.AudioReceived, now: float) -> list[do.Command]:
        if self._turns.is_cut(event.response_id):
            self.dropped_deltas += 1
            return []
        return self._speaking.say(event, now)

    def _on_text(self, event: ev.TextReceived, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if not self._turns.is_cut(event.response_id):
            self._transcript.turn("assistant", event.item_id).generated += event.text
        return []

    def _on_text_finished(self, event: ev.TextFinished, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if not self._turns.is_cut(event.response_id):
            self._transcript.turn("assistant", event.item_id).generated = event.text
        return []

    def _on_response_finished(self, event: ev.ResponseFinished, now: float) -> list[do.Command]:
        self._turns.finish_response(event.response_id)
        self._speaking.finish_response(event.response_id)
        return [
            do.WriteEntry(self._metered(event, now)),
            *self._keep_greeting(event),
            *self._speaking.playout.pump(now),
            *self._after_failure(event, now),
            *self._speaking.settle(now),
            *self._ask(now),
        ]

    def _keep_greeting(self, event: ev.ResponseFinished) -> list[do.Command]:
        take = self._speaking.take
        if take is None or take.response_id != event.response_id:
            return []
        self._speaking.take = None
        clip = take.finish(event.status, self._transcript.turn("assistant", take.item_id).generated)
        return [] if clip is None else [do.KeepGreeting(clip.ulaw, clip.text)]

    def _metered(self, event: ev.ResponseFinished, now: float) -> entries.ResponseMetered:
        """Book the response. A model that tells no usage, as may be for a cancelled one, is billed by its sound."""
        cost = self._meter.add(event.usage, self._speaking.take_received_ms(event.response_id))
        return entries.ResponseMetered(
            event.response_id,
            event.status,
            event.reason,
            event.usage,
            None if cost is None else round(cost, 6),
            round(self._meter.total_usd(now), 6),
        )

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

    # --- tools ------------------------------------------------------------------------------------------------------

    def _on_tool_finished(self, event: ev.ToolFinished, now: float) -> list[do.Command]:
        answered = self._errands.finish(event, now)
        self._turns.wish(do.CreateResponse(), now)
        return [*answered, *self._ask(now)]

    # --- time and the end -------------------------------------------------------------------------------------------

    def _on_woke(self, event: ev.Woke, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if now >= self._began_at + self._policy.max_duration_s:
            return self._end("max_duration", "completed", now, say=self._policy.limit_sentence)
        if self._retry_due is not None and now >= self._retry_due:
            self._retry_due = None
            self._turns.wish(do.CreateResponse(), now)
        return [
            *self._barge_in.wake(now),
            *self._speaking.playout.pump(now),
            *self._hearing.pad(now),
            *self._tell_digits(now),
            *self._ask(now),
        ]

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
        return self._ready and not self._ended and not self._errands

    def _on_hang_up_asked(self, event: ev.HangUpAsked, now: float) -> list[do.Command]:
        if event.failed:
            return self._end(event.reason, "failed", now, say=self._policy.failed_sentence)
        if event.reason in BUDGETS:
            return self._end(event.reason, "completed", now, say=self._policy.budget_sentence)
        if event.reason == "draining":  # cut off in the middle: he shall know that it was not his telephone
            return self._end(event.reason, "completed", now, say=self._policy.failed_sentence)
        return self._end(event.reason, "completed", now)

    def _end(self, reason: str, status: str, now: float, say: str = "") -> list[do.Command]:
        told = [*self._speaking.break_off(now), *self._errands.give_up(now)]
        ended = entries.CallEnded(
            reason,
            status,
            round((now - self._began_at) * 1000),
            self._transcript.render(),
            self._hearing.level_dbfs,
            round(self._hearing.padded_ms),
            round(self._meter.total_usd(now), 6),
        )
        self._ended = True
        return [*told, do.WriteEntry(ended), do.EndCall(reason, say)]
