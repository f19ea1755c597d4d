"""The bridge: the whole call as one synchronous machine.

`Bridge.handle(event, now) -> commands` is the only entrance, `Bridge.deadline()` says when it wants to be woken.
No await stands between a check and its act, so the list of (now, event) of a call replays it exactly.

The rules stand here, each with the tests that hold it. Their parts have plain state and one owner, this bridge: the
caller's sound (`hearing`), our voice (`speaking`, over `playout`), whose turn it is (`turns`), tools at work
(`errands`), keys (`keypad`), who said what (`transcript`), what of it is not kept (`discretion`), what it costs
(`costs`), when the caller silences us (`barge_in`), a caller who says nothing (`idle`), the way out (`goodbye`), what
stands still (`watch`). A part that wants the call to end says `EndCall`; the bridge closes the record before it.

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
4. What arrives of a response after it was cut is dropped. Several spoken items of one response are said one after the
   other, however their sound came.
   test_deltas_of_a_cut_response_never_reach_the_caller
   test_a_commentary_is_said_before_the_answer_even_if_their_sound_comes_interleaved
5. A tool runs beside the call and is told the keys pressed so far. Its output goes to the model at once, and once; the
   model is asked to speak when no tool is outstanding any more and `turns` allows it.
   test_a_tools_output_goes_to_the_model_at_once_but_the_model_speaks_after_its_response
   test_parallel_tools_lead_to_one_response
   test_a_tool_is_told_the_keys_that_were_pressed
   test_a_tool_that_nobody_asked_for_has_no_answer
6. A turn of ours is on the record when its last mark came back, or when it was cut, never before.
   test_a_turn_of_ours_is_on_record_when_its_last_mark_came_back_and_not_before
7. A model that leaves `MOST_UNANSWERED` asks unanswered is lost, whatever its socket says.
   test_a_model_that_never_answers_is_lost_and_the_caller_hears_a_polite_word
8. After `EndCall` nothing has an effect any more.
   test_after_the_end_nothing_has_an_effect
9. A call that we end ends when our last word was heard (`goodbye`), and so does one that has cost what it may.
   test_the_call_ends_when_the_last_word_was_heard
   test_a_call_that_has_cost_what_it_may_is_bidden_goodbye
10. A caller who says nothing is asked whether he is still there, some times, and then bidden goodbye (`idle`).
    test_a_silent_caller_is_prompted_and_then_bidden_goodbye
    test_the_models_own_prompts_are_counted
11. What is said while a recording is paused stays out of every entry and of the transcript (`discretion`).
    test_what_is_said_during_a_pause_is_on_no_entry_and_not_in_the_transcript
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.barge_in import BargeIn
from voice_gateway.call.costs import Meter
from voice_gateway.call.discretion import Discretion
from voice_gateway.call.errands import Errands
from voice_gateway.call.goodbye import END_CALL, ENDING, NOT_NOW, Goodbye, Parting
from voice_gateway.call.greeting import Take
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.idle import Idleness
from voice_gateway.call.keypad import Keypad
from voice_gateway.call.policy import Policy
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.turns import Turns
from voice_gateway.call.watch import Watch

__all__ = ["Bridge", "Policy"]

MOST_UNANSWERED = 3

_OF_A_RESPONSE = frozenset(
    {
        ev.ResponseStarted, ev.ItemStarted, ev.AudioReceived, ev.AudioFinished, ev.TextReceived, ev.TextFinished,
        ev.ToolCalled, ev.ResponseFinished,
    }
)  # fmt: skip
_SOUND = frozenset({ev.CallerAudio, ev.AudioReceived})


class Bridge:
    def __init__(self, policy: Policy, began_at: float, detector: OnsetDetector | None = None) -> None:
        """began_at: when the carrier's webhook was answered, on the clock of `now`. detector: for edge barge-in."""
        self._policy = policy
        self._began_at = began_at
        self._transcript = Transcript()
        self._turns = Turns(stall_s=policy.response_stall_s, model_answers=policy.model_answers, yields=policy.barge_in)
        self._speaking = Speaking(policy, self._transcript)
        self._hearing = Hearing(policy.audio_format, muted=None if policy.duplex else self._speaking.playout.is_audible)
        self._barge_in = BargeIn(policy, self._speaking, self._hearing, self._turns, detector)
        self._errands = Errands()
        self._keypad = Keypad()
        self._parting = Parting(self._turns, self._speaking)
        self._idle = Idleness(policy.idle, self._turns, self._parting)
        self._watch = Watch(policy, self._hearing, self._speaking, self._turns)
        self._discretion = Discretion(self._transcript, lambda: self._hearing.written_ms)
        self._meter = Meter(
            began_at,
            policy.tariff,
            policy.line_usd_per_minute,
            policy.transcription_usd_per_minute,
            policy.max_cost_usd,
        )
        self._ready = False
        self._ended = False
        self._next_limit = self._find_next_limit(began_at)
        self.dropped_deltas = 0
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
            ev.TurnCommitted: self._on_turn_committed,
            ev.IdleTimedOut: self._on_idle_timed_out,
            ev.UserTranscribed: self._on_user_text,
            ev.UserTranscriptionFailed: self._on_user_text_failed,
            ev.ResponseStarted: self._on_response_started,
            ev.ItemStarted: self._on_item_started,
            ev.AudioFinished: self._speaking.finish_part,
            ev.TextFinished: self._on_text_finished,
            ev.ToolCalled: self._on_tool_called,
            ev.ResponseFinished: self._on_response_finished,
            ev.ToolFinished: self._on_tool_finished,
            ev.GoodbyeAsked: self._on_goodbye_asked,
            ev.HangUpAsked: self._on_hang_up_asked,
            ev.SendBlocked: self._watch.note_blocked,
            ev.PauseAsked: lambda event, now: self._discretion.pause(event.by, now),
            ev.ResumeAsked: lambda event, now: self._discretion.resume(event.by, now),
            ev.Woke: self._on_woke,
        }

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:
        """Tell what happened; get what is to be done about it, in order. Never raises for what a far side may send."""
        if self._ended:
            return []
        if type(event) in _OF_A_RESPONSE:
            self._turns.hear_of_response(now)
        handler = self._handlers.get(type(event))
        commands = handler(event, now) if handler is not None else []
        if type(event) not in _SOUND:
            commands = self._follow(event, commands, now)
        if self._discretion.was_asked_for:
            return self._discretion.veil(commands, self._speaking.joined_at, now)
        return commands

    def _follow(self, event: ev.Event, commands: list[do.Command], now: float) -> list[do.Command]:
        """What may come of any event but sound: the call parts, the model is asked, limits are reckoned anew."""
        if self._parting.goodbye is not None:
            commands = [*commands, *self._parting.part(now, quiet=self._is_quiet(now))]
        commands = [*commands, *self._ask(now)]
        for index, command in enumerate(commands):
            if isinstance(command, do.EndCall):
                end = self._parting.instead_of(command)
                return [*commands[:index], *self._close_record(end, now), end]
        if self._idle.watches:
            self._idle.watch(now, quiet=self._parting.goodbye is None and self._is_quiet(now))
        self._next_limit = self._find_next_limit(now)
        if self._speaking.first_words is not None:
            return [*self._tell_first_words(event, commands), *commands]
        return commands

    def deadline(self) -> float | None:
        """When to send `Woke` next; None once the call has ended. A frame that is passed on brings it no nearer."""
        if self._ended:
            return None
        due = self._next_limit
        for other in (self._speaking.playout.deadline(), self._hearing.gaps.deadline()):
            if other is not None and other < due:
                due = other
        return due

    def _find_next_limit(self, now: float) -> float:
        """When the first of the limits that sound cannot bring nearer may be reached; sound may put some of them off.

        So it is not reckoned anew for each frame, and waking at it in vain is the worst that happens.
        """
        due = self._began_at + self._policy.max_duration_s
        for other in (
            self._turns.deadline() if self._ready else None,
            self._keypad.due if self._ready else None,
            self._barge_in.deadline(),
            self._watch.retry_due,
            self._watch.next_look(now),
            self._watch.speech_ends_at,
            self._idle.due,
            self._parting.until,
            self._all_heard_at(now),
        ):
            if other is not None and other < due:
                due = other
        return due

    def _all_heard_at(self, now: float) -> float | None:
        """When our voice will have been heard to its end, where something waits for that: a receipt may never come."""
        if not self._idle.watches and self._parting.goodbye is None:
            return None
        unheard_s = self._speaking.playout.unheard_s(now)
        return now + max(0.1, unheard_s) if unheard_s else None

    def _is_quiet(self, now: float) -> bool:
        """Nobody speaks, nor will anybody by himself, and all that we said was heard."""
        return (
            self._ready
            and self._speaking.joined_at is not None
            and self._turns.at_rest
            and not self._errands
            and self._keypad.due is None
            and self._watch.retry_due is None
            and not self._speaking.playout.unheard_s(now)
        )

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
        self._greet(now)
        return [started, *self._speaking.playout.prime(now)]

    def _on_caller_audio(self, event: ev.CallerAudio, now: float) -> list[do.Command]:
        heard = self._hearing.hear(event, now)
        reacted = self._barge_in.hear(event.ulaw, now)
        if not reacted:
            return heard
        self._next_limit = self._find_next_limit(now)
        return [*self._tell_first_words(event, reacted), *reacted, *heard]

    def _on_digit(self, event: ev.DigitPressed, now: float) -> list[do.Command]:
        self._keypad.press(event.digit, now)
        self._idle.reset()
        return [do.WriteEntry(entries.DigitReceived(event.digit)), *self._tell_digits(now)]

    def _tell_digits(self, now: float) -> list[do.Command]:
        digits = self._keypad.take(now) if self._ready else ""
        if not digits:
            return []
        self._turns.wish(do.CreateResponse(), now)
        return [do.AddNote(f"The caller pressed these keys on the telephone: {' '.join(digits)}")]

    def _on_left(self, event: ev.CallerLeft, now: float) -> list[do.Command]:  # noqa: ARG002 - one shape for all handlers
        # A stream that broke off may have left a caller behind: the carrier then asks what to tell him.
        return [do.EndCall(event.reason, "" if event.reason == "hangup" else self._policy.failed_sentence)]

    # --- the model leg: its session ---------------------------------------------------------------------------------

    def _on_ready(self, event: ev.ModelReady, now: float) -> list[do.Command]:
        if self._ready:
            return []
        self._ready, self._meter.model = True, event.model
        joined_at = self._speaking.joined_at
        waited_ms = 0 if joined_at is None else round((now - joined_at) * 1000)
        self._greet(now)
        return [
            do.WriteEntry(entries.ModelJoined(event.session_id, event.model, waited_ms)),
            *self._hearing.let_model_listen(),
            *self._tell_digits(now),
        ]

    def _greet(self, now: float) -> None:
        policy = self._policy
        if not self._ready or self._speaking.joined_at is None or not policy.greeting or policy.clip is not None:
            return
        if policy.greeting_to_keep:
            self._speaking.take = Take(policy.greeting_to_keep)
        self._turns.wish(do.CreateResponse(self._policy.greeting), now)

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

    def _on_model_gone(self, event: ev.ModelUnavailable | ev.ModelLost, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        reason = "model_lost" if isinstance(event, ev.ModelLost) else "model_unavailable"
        fault = do.WriteEntry(entries.FaultSeen("model", event.code, event.message))
        return [fault, do.EndCall(reason, self._policy.failed_sentence, status="failed")]

    def _on_model_erred(self, event: ev.ModelErred, now: float) -> list[do.Command]:
        if event.code == "conversation_already_has_active_response":
            self._turns.refuse_ask(now)
            self._parting.hear_of_refusal()
        if event.code == "response_cancel_not_active":
            return []  # it was over before our cancel came
        return [do.WriteEntry(entries.FaultSeen("model", event.code, event.message))]

    # --- the model leg: the caller's turn ---------------------------------------------------------------------------

    def _on_speech_started(self, event: ev.SpeechStarted, now: float) -> list[do.Command]:
        self._turns.start_speech(now)
        self._speaking.take = None
        self._transcript.turn("caller", event.item_id).start_ms = event.audio_start_ms
        self._idle.reset()
        taken_back = [] if self._turns.closing else self._parting.take_back()
        return [*self._barge_in.start_speech(event, now), *taken_back]

    def _on_speech_stopped(self, event: ev.SpeechStopped, now: float) -> list[do.Command]:
        self._barge_in.stop_speech()
        self._turns.stop_speech(now)
        self._transcript.turn("caller", event.item_id).end_ms = event.audio_end_ms
        self._speaking.caller_stopped_at = self._hearing.stopped_at(event.audio_end_ms, now)
        return []

    def _on_turn_committed(self, event: ev.TurnCommitted, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        self._turns.commit(now)
        return []

    def _on_idle_timed_out(self, event: ev.IdleTimedOut, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        return self._idle.time_out(now)

    def _on_user_text(self, event: ev.UserTranscribed, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
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
        if not self._turns.start_response(event.response_id, now):
            return [do.CancelResponse(event.response_id)]
        self._watch.retry_due = None  # it brings what was to be asked for again
        self._parting.hear_of_response(event.response_id)
        return []

    def _on_item_started(self, event: ev.ItemStarted, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if self._speaking.take is not None:
            self._speaking.take.open_item(event.response_id, event.item_id, event.kind)
        self._speaking.unsaid.start(event)
        if event.kind == "message" and not self._turns.is_cut(event.response_id):
            self._transcript.turn("assistant", event.item_id)  # in the order of the items, not of their first words
        return []

    def _on_audio(self, event: ev.AudioReceived, now: float) -> list[do.Command]:
        if self._turns.is_cut(event.response_id):
            self.dropped_deltas += 1
            return [*self._speaking.unsaid.drop(event)]
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
        said = self._speaking.finish_response(event.response_id, now)
        # A model that tells no usage, as may be for a cancelled response, is billed by its sound.
        metered = self._meter.book(event, self._speaking.take_received_ms(event.response_id), now)
        return [
            do.WriteEntry(metered),
            *said,
            *self._speaking.unsaid.finish(event.response_id, cut=self._turns.is_cut(event.response_id)),
            *self._keep_greeting(event),
            *self._speaking.playout.pump(now),
            *self._watch.look_at_end(event, now),
            *self._speaking.settle(now),
            *self._mind_the_budget(now),
        ]

    def _mind_the_budget(self, now: float) -> list[do.Command]:
        goodbye = Goodbye("call_budget", self._policy.budget_sentence)
        return self._parting.begin(goodbye, now) if self._meter.is_over(now) else []

    def _keep_greeting(self, event: ev.ResponseFinished) -> list[do.Command]:
        take = self._speaking.take
        if take is None or take.response_id != event.response_id:
            return []
        self._speaking.take = None
        clip = take.finish(event.status, self._transcript.turn("assistant", take.item_id).generated)
        return [] if clip is None else [do.KeepGreeting(clip.ulaw, clip.text)]

    # --- tools ------------------------------------------------------------------------------------------------------

    def _on_tool_called(self, event: ev.ToolCalled, now: float) -> list[do.Command]:
        if event.name != END_CALL or not self._policy.may_end:
            return self._errands.start(event, self._keypad.pressed, now)
        if self._turns.caller_is_speaking or self._turns.is_cut(event.response_id):
            return self._errands.answer(event, NOT_NOW, ok=False)
        goodbye = Goodbye(END_CALL, spoken_in=event.response_id, owed=True)
        return [*self._errands.answer(event, ENDING, ok=True), *self._parting.begin(goodbye, now)]

    def _on_tool_finished(self, event: ev.ToolFinished, now: float) -> list[do.Command]:
        answered = self._errands.finish(event, now)
        if answered:
            self._turns.wish(do.CreateResponse(), now)
        return answered

    # --- time and the end -------------------------------------------------------------------------------------------

    def _on_woke(self, event: ev.Woke, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if now >= self._began_at + self._policy.max_duration_s:
            return [do.EndCall("max_duration", self._policy.limit_sentence)]
        self._watch.retry(now)
        return [
            *self._barge_in.wake(now),
            *self._speaking.playout.pump(now),
            *self._speaking.settle(now),
            *self._hearing.pad(now),
            *self._tell_digits(now),
            *(self._watch.look_for_response(now, parting=self._parting.goodbye is not None) if self._ready else []),
            *self._watch.look_for_media(now),
            *self._watch.look_for_pause(now),
            *self._idle.look(now),
        ]

    def _ask(self, now: float) -> list[do.Command]:
        response = self._turns.due(now, tools_at_work=bool(self._errands)) if self._ready else None
        if response is None:
            return []
        if self._parting.goodbye is not None and self._turns.unanswered:
            return [self._parting.end(self._parting.goodbye)]
        if self._turns.unanswered < MOST_UNANSWERED:
            return [response]
        fault = entries.FaultSeen("model", "model_stalled", f"{MOST_UNANSWERED} asks for a response were not answered")
        return [do.WriteEntry(fault), do.EndCall("model_stalled", self._policy.failed_sentence, status="failed")]

    def _on_goodbye_asked(self, event: ev.GoodbyeAsked, now: float) -> list[do.Command]:
        goodbye = Goodbye(event.reason, event.sentence, event.transfer_number, spoken_in=self._turns.active)
        return self._parting.begin(goodbye, now)

    def _on_hang_up_asked(self, event: ev.HangUpAsked, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if event.failed:
            return [do.EndCall(event.reason, self._policy.failed_sentence, status="failed")]
        if event.reason == "draining":  # cut off in the middle: he shall know that it was not his telephone
            return [do.EndCall(event.reason, self._policy.failed_sentence)]
        return [do.EndCall(event.reason)]

    def _close_record(self, end: do.EndCall, now: float) -> list[do.Command]:
        """Write down what was heard up to here, and that the call is over."""
        told = [*self._speaking.break_off(now), *self._errands.give_up(now)]
        ended = entries.CallEnded(
            end.reason,
            end.status,
            round((now - self._began_at) * 1000),
            self._transcript.render(),
            self._hearing.level_dbfs,
            round(self._hearing.padded_ms),
            round(self._meter.total_usd(now), 6),
        )
        self._ended = True
        return [*told, do.WriteEntry(ended)]
