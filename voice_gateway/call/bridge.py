"""The bridge: the whole call as one synchronous machine.

`Bridge.handle(event, now) -> commands` is the only entrance, `Bridge.deadline()` says when it wants to be woken.
No await stands between a check and its act, so the list of (now, event) of a call replays it exactly.

Its rules stand here and at the heads of its parts, each with the tests that hold it. The parts have plain state and one
owner, this bridge: the caller's sound (`hearing`) and turn (`listening`), our voice (`speaking`, over `playout`), the
first words (`opening`), what the model says (`responses`), whose turn it is (`turns`), tools at work (`errands`), keys
(`keypad`), who said what (`transcript`), what of it is not kept (`discretion`), what it costs (`costs`), when the
caller silences us (`barge_in`), a caller who says nothing (`idle`), what he hears while a tool works (`thinking`), keys
that we press (`dialling`), what somebody inside wants said (`saying`), what the supervisor does (`consults`), what is
checked (`guardrail`), who takes over (`handoff`), the way out (`goodbye`), what stands still (`watch`). A part that
wants the call to end says `EndCall`; the bridge closes the record before it.

Rules
-----
1. The caller's sound goes to the model at once; until the model is ready it is kept (the newest 10 seconds).
   test_while_the_model_is_missing_only_the_newest_ten_seconds_are_kept
2. Barge-in: the caller speaks while our voice is audible or still being made. In one answer the playout is cleared,
   every item that was not heard to its end is truncated at what was heard, and the fact is written down.
   test_barge_in_truncates_at_what_was_heard
   test_with_two_items_queued_the_audible_one_is_cut_and_the_other_was_never_heard
   When that is, and when our voice is only held for a while, is decided by the rules of `barge_in`.
3. A model that leaves `MOST_UNANSWERED` asks unanswered is lost, whatever its socket says.
   test_a_model_that_never_answers_is_lost_and_the_caller_hears_a_polite_word
4. After `EndCall` nothing has an effect any more.
   test_after_the_end_nothing_has_an_effect
5. A call that we end ends when our last word was heard (`goodbye`), and so does one that has cost what it may.
   test_the_call_ends_when_the_last_word_was_heard
   test_a_call_that_has_cost_what_it_may_is_bidden_goodbye
6. A caller who says nothing is asked whether he is still there, some times, and then bidden goodbye (`idle`).
   test_a_silent_caller_is_prompted_and_then_bidden_goodbye
   test_the_models_own_prompts_are_counted
7. What is said while a recording is paused stays out of every entry and of the transcript (`discretion`).
   test_what_is_said_during_a_pause_is_on_no_entry_and_not_in_the_transcript
8. While a transfer stands, nothing of the caller's goes to the model, which is paid by what it hears; what he was
   saying when it began is heard to its end.
   test_who_is_being_put_through_is_not_heard_by_the_model
   test_what_is_being_said_when_a_transfer_begins_is_heard_to_its_end
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.barge_in import BargeIn
from voice_gateway.call.consults import Consults
from voice_gateway.call.costs import Meter
from voice_gateway.call.dialling import Dialling
from voice_gateway.call.discretion import Discretion
from voice_gateway.call.errands import Errands
from voice_gateway.call.goodbye import Goodbye, Parting
from voice_gateway.call.guardrail import Guardrail
from voice_gateway.call.handoff import Handoffs, Stage
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.idle import Idleness
from voice_gateway.call.keypad import Keypad
from voice_gateway.call.listening import Listening
from voice_gateway.call.opening import Opening
from voice_gateway.call.policy import Policy
from voice_gateway.call.responses import Responses
from voice_gateway.call.saying import Sayings
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.thinking import Thinking
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
_LIGHT = frozenset({ev.MarkReached, ev.TextReceived, ev.Woke})
"""They come a dozen times a second while we speak, and nothing comes of them but for what waits, or has a limit."""


class Bridge:
    def __init__(self, policy: Policy, began_at: float, detector: OnsetDetector | None = None) -> None:
        """began_at: when the carrier's webhook was answered, on the clock of `now`. detector: for edge barge-in."""
        self._policy = policy
        self._began_at = began_at
        self._transcript = Transcript(policy.earlier.transcript if policy.earlier else "")
        self._turns = Turns(stall_s=policy.response_stall_s, model_answers=policy.model_answers, yields=policy.barge_in)
        self._speaking = Speaking(policy, self._transcript)
        self._hearing = Hearing(policy.audio_format, muted=None if policy.duplex else self._speaking.playout.is_audible)
        self._barge_in = BargeIn(policy, self._speaking, self._hearing, self._turns, detector)
        self._parting = Parting(self._turns, self._speaking)
        self._opening = Opening(policy, self._speaking, self._turns, self._transcript)
        self._handoffs = Handoffs(
            policy,
            Stage(
                self._turns,
                self._speaking,
                self._hearing,
                self._barge_in,
                self._transcript,
                self._opening,
                self._parting,
                self._adopt,
            ),
        )
        self._idle = Idleness(policy.idle, self._turns, self._parting)
        self._keypad = Keypad(policy, self._hearing, self._turns, self._idle, self._handoffs)
        self._dialling = Dialling(self._speaking, self._turns)
        self._errands = Errands(policy, self._turns, self._keypad, self._parting, self._transcript, self._dialling)
        self._thinking = Thinking(policy, self._turns, self._speaking, self._errands, self._parting)
        self._sayings = Sayings(self._turns, self._barge_in, self._transcript)
        self._watch = Watch(policy, self._hearing, self._speaking, self._turns)
        self._discretion = Discretion(self._transcript, lambda: self._hearing.written_ms)
        self._meter = Meter.of(policy, began_at)
        self._consults = Consults(self._meter)
        self._guardrail = Guardrail(lambda: self._policy.guard, self._barge_in, self._turns, self._parting, self._meter)
        self._listening = Listening(
            self._hearing,
            self._speaking,
            self._turns,
            self._transcript,
            self._barge_in,
            self._parting,
            self._idle,
            self._meter,
        )
        self._responses = Responses(
            self._speaking,
            self._turns,
            self._transcript,
            self._barge_in,
            self._opening,
            self._parting,
            self._watch,
            self._meter,
        )
        self._ready = False
        self._ended = False
        self._waits = True
        self._next_limit = self._find_next_limit(began_at)
        self._handlers: dict[type, Callable[[Any, float], list[do.Command]]] = {
            ev.CallerAudio: self._hearer,
            ev.AudioReceived: self._responses.say,
            ev.MarkReached: self._speaking.reach_mark,
            ev.TextReceived: self._responses.read,
            ev.CallerJoined: self._on_joined,
            ev.CallerLeft: self._on_left,
            ev.DigitPressed: self._keypad.press,
            ev.ModelReady: self._on_ready,
            ev.ModelUnavailable: self._on_model_gone,
            ev.ModelLost: self._on_model_gone,
            ev.ModelErred: self._on_model_erred,
            ev.SpeechStarted: self._listening.start,
            ev.SpeechStopped: self._listening.stop,
            ev.TurnCommitted: self._listening.commit,
            ev.IdleTimedOut: self._on_idle_timed_out,
            ev.UserTranscribed: self._on_user_text,
            ev.UserTranscriptionFailed: self._listening.leave_unwritten,
            ev.ResponseStarted: self._responses.start,
            ev.ItemStarted: self._responses.open_item,
            ev.AudioFinished: self._speaking.finish_part,
            ev.TextFinished: self._on_text_finished,
            ev.ToolCalled: self._errands.start,
            ev.ResponseFinished: self._paid(self._on_response_finished),
            ev.ToolFinished: self._errands.finish,
            ev.AsideFinished: self._paid(self._guardrail.judge),
            ev.SupervisorCalledTool: self._consults.call_tool,
            ev.SupervisorToolFinished: self._consults.finish_tool,
            ev.SupervisorFinished: self._consults.finish,
            ev.TextModelAnswered: self._paid(self._consults.book),
            ev.GoodbyeAsked: self._on_goodbye_asked,
            ev.HangUpAsked: self._on_hang_up_asked,
            ev.SayAsked: lambda event, now: self._sayings.take(event, now, parting=self._parting.goodbye is not None),
            ev.KeysAsked: self._dialling.take,
            ev.HandoffAsked: self._handoffs.ask,
            ev.LanguageAsked: self._handoffs.speak,
            ev.HandoffReady: self._handoffs.be_ready,
            ev.HandoffFailed: self._handoffs.fail,
            ev.SessionUpdated: self._handoffs.confirm,
            ev.UpdateRefused: self._handoffs.fail,
            ev.SendBlocked: self._watch.note_blocked,
            ev.PauseAsked: lambda event, now: self._discretion.pause(event.by, now),
            ev.ResumeAsked: lambda event, now: self._discretion.resume(event.by, now),
            ev.Woke: self._on_woke,
        }

    def handle(self, event: ev.Event, now: float) -> list[do.Command]:
        """Tell what happened; get what is to be done about it, in order. Never raises for what a far side may send."""
        if self._ended:
            return []
        kind = type(event)
        if kind in _OF_A_RESPONSE:
            self._turns.hear_of_response(now)
        handler = self._handlers.get(kind)
        passes = kind in _SOUND or (kind in _LIGHT and self._is_before_all(now))
        commands = handler(event, now) if handler is not None else []
        if not passes:
            commands = self._follow(event, commands, now)
            self._hearing.shut(self._parting.hands_over and not self._turns.caller_is_speaking)
        if self._discretion.was_asked_for:
            return self._discretion.veil(commands, self._speaking.joined_at, now)
        return commands

    def _adopt(self, policy: Policy, model: str) -> None:
        """Another persona leads the call. How long it may last and what it may cost was settled when it began.

        model: the name of another session's; empty where the session is the same.
        """
        before = self._policy
        self._policy = policy = replace(policy, max_duration_s=before.max_duration_s, max_cost_usd=before.max_cost_usd)
        self._turns.adopt(model_answers=policy.model_answers, yields=policy.barge_in)
        self._barge_in.adopt(policy)
        self._errands.adopt(policy)
        self._thinking.adopt(policy)
        self._idle.adopt(policy.idle)
        self._opening.adopt(policy)
        self._keypad.adopt(policy)
        self._meter.tariff = policy.tariff
        self._meter.model = model or self._meter.model
        self._handlers[ev.CallerAudio] = self._hearer

    @property
    def _hearer(self) -> Callable[[ev.CallerAudio, float], list[do.Command]]:
        """Fifty times a second: not even one call more than is needed."""
        return self._on_caller_audio if self._barge_in.watches else self._hearing.hear

    def _follow(self, event: ev.Event, commands: list[do.Command], now: float) -> list[do.Command]:
        """What may come of any event but sound: the call parts, the model is asked, limits are reckoned anew."""
        if self._dialling.busy:
            commands = [*commands, *self._dialling.go_on(now)]
        if self._sayings.busy and not any(isinstance(command, do.EndCall) for command in commands):
            commands = [*commands, *self._go_on_saying(event, now)]
        if self._handoffs.busy:
            tools = bool(self._errands) or self._sayings.speaks or self._dialling.busy
            commands = [*commands, *self._handoffs.go_on(now, quiet=self._is_quiet(now), tools=tools)]
        if self._parting.goodbye is not None:
            commands = [*commands, *self._parting.part(now, quiet=self._is_quiet(now))]
        commands = [*commands, *self._ask(now)]
        for index, command in enumerate(commands):
            if isinstance(command, do.EndCall):
                end = self._parting.instead_of(command)
                return [*commands[:index], *self._close_record(end, now), end]
        if self._idle.watches:
            self._idle.watch(now, quiet=self._parting.goodbye is None and self._is_quiet(now))
        self._thinking.watch(now)
        self._next_limit = self._find_next_limit(now)
        self._waits = self._is_awaited()
        return [*self._opening.tell_first_words(event, commands), *commands] if self._is_owed_words else commands

    def _is_before_all(self, now: float) -> bool:
        """No limit is reached, and nothing waits for the next event, whatever it is: sound goes on as it did."""
        return not self._waits and now < self._next_limit

    def _is_awaited(self) -> bool:
        """Does anything wait for what a light event may bring? What makes it wait is never one, nor sound."""
        return (
            self._turns.awaits
            or self._parting.goodbye is not None
            or bool(self._errands)
            or self._thinking.busy
            or self._speaking.first_words is not None
            or self._sayings.busy
            or self._dialling.busy
            or self._handoffs.busy
            or (self._idle.watches and self._turns.at_rest)
        )

    @property
    def _is_owed_words(self) -> bool:
        """Has the model yet to be told of a clip?"""
        return self._ready and self._speaking.first_words is not None

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
            self._turns.deadline() if self._ready and not self._handoffs.holds_asks else None,
            self._keypad.due,
            self._barge_in.deadline(),
            self._watch.retry_due,
            self._watch.next_look(now),
            self._watch.speech_ends_at,
            self._idle.due,
            self._parting.until,
            self._sayings.due,
            self._thinking.due,
            self._dialling.due,
            self._handoffs.due,
            self._all_heard_at(now),
        ):
            if other is not None and other < due:
                due = other
        return due

    def _all_heard_at(self, now: float) -> float | None:
        """When our voice will have been heard to its end, where something waits for that: a receipt may never come."""
        awaited = self._idle.watches or self._sayings.busy or self._thinking.watches or self._dialling.busy
        if not (awaited or self._handoffs.busy) and self._parting.goodbye is None:
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
            and not self._dialling.busy
            and self._keypad.due is None
            and self._watch.retry_due is None
            and not self._speaking.playout.unheard_s(now)
        )

    @property
    def dropped_deltas(self) -> int:
        return self._responses.dropped_deltas

    @property
    def has_ended(self) -> bool:
        return self._ended

    # --- the caller leg ---------------------------------------------------------------------------------------------

    def _on_joined(self, event: ev.CallerJoined, now: float) -> list[do.Command]:
        if self._speaking.joined_at is not None:
            return []
        self._speaking.joined_at = now
        if self._ready:
            self._opening.greet(now)
        return [do.WriteEntry(entries.MediaStarted(event.stream_sid)), *self._opening.begin(now)]

    def _on_caller_audio(self, event: ev.CallerAudio, now: float) -> list[do.Command]:
        heard = self._hearing.hear(event, now)
        reacted = [] if self._hearing.is_shut else self._barge_in.hear(event.ulaw, now)
        if not reacted:
            return heard
        self._next_limit = self._find_next_limit(now)
        self._waits = True
        told = self._opening.tell_first_words(event, reacted) if self._is_owed_words else []
        return [*told, *reacted, *heard]

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
        self._opening.greet(now)
        return [
            do.WriteEntry(entries.ModelJoined(event.session_id, event.model, waited_ms)),
            *([do.AddNote(self._policy.earlier.note)] if self._policy.earlier else []),
            *self._hearing.let_model_listen(),
            *self._keypad.tell(now),
            *self._handoffs.prepare(),
        ]

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

    def _on_idle_timed_out(self, event: ev.IdleTimedOut, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        return self._idle.time_out(now)

    def _on_user_text(self, event: ev.UserTranscribed, now: float) -> list[do.Command]:
        told = [*self._listening.write_down(event), *self._handoffs.note_late(event)]
        return [*told, *self._guardrail.check_callers(event, now)] if event.text.strip() else told

    # --- the model leg: our turn ------------------------------------------------------------------------------------

    def _on_response_finished(self, event: ev.ResponseFinished, now: float) -> list[do.Command]:
        spoke = self._speaking.last_response == event.response_id
        return [*self._responses.finish(event, now), *self._errands.end_round(event, now, spoke=spoke)]

    def _on_text_finished(self, event: ev.TextFinished, now: float) -> list[do.Command]:
        return [*self._responses.finish_text(event, now), *self._guardrail.check_ours(event, now)]

    def _paid(self, handle: Callable[[Any, float], list[do.Command]]) -> Callable[[Any, float], list[do.Command]]:
        """After what costs money the call may have cost what it may."""
        return lambda event, now: [*handle(event, now), *self._mind_the_budget(now)]

    def _mind_the_budget(self, now: float) -> list[do.Command]:
        goodbye = Goodbye("call_budget", self._policy.budget_sentence)
        return self._parting.begin(goodbye, now) if self._meter.is_over(now) else []

    # --- time and the end -------------------------------------------------------------------------------------------

    def _on_woke(self, event: ev.Woke, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if self._is_before_all(now):
            playout = self._speaking.playout
            return [*playout.pump(now), *self._speaking.settle(now), *self._hearing.pad(now)]
        if now >= self._began_at + self._policy.max_duration_s:
            return [do.EndCall("max_duration", self._policy.limit_sentence)]
        self._watch.retry(now)
        return [
            *self._barge_in.wake(now),
            *self._speaking.playout.pump(now),
            *self._speaking.settle(now),
            *self._hearing.pad(now),
            *self._keypad.tell(now),
            *(self._watch.look_for_response(now, parting=self._parting.goodbye is not None) if self._ready else []),
            *self._watch.look_for_media(now),
            *self._watch.look_for_pause(now),
            *self._idle.look(now),
            *self._thinking.wake(now),
        ]

    def _ask(self, now: float) -> list[do.Command]:
        if not self._ready or self._handoffs.holds_asks:
            return []
        working = bool(self._errands) or self._dialling.busy
        response = self._turns.due(now, tools_at_work=working)
        if response is None:
            return []
        if self._parting.goodbye is not None and self._turns.unanswered:
            return [self._parting.end(self._parting.goodbye)]
        if self._turns.unanswered < MOST_UNANSWERED:
            return [response]
        fault = entries.FaultSeen("model", "model_stalled", f"{MOST_UNANSWERED} asks for a response were not answered")
        return [do.WriteEntry(fault), do.EndCall("model_stalled", self._policy.failed_sentence, status="failed")]

    def _go_on_saying(self, event: ev.Event, now: float) -> list[do.Command]:
        parting = self._parting.goodbye is not None
        return self._sayings.go_on(event, now, quiet=self._is_quiet(now), tools=bool(self._errands), parting=parting)

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
        told = [*self._speaking.break_off(now), *self._errands.give_up(now), *self._consults.give_up(now)]
        told += [*self._sayings.give_up(), *self._guardrail.give_up()]
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
