"""Handoffs: another persona takes over the call, and the caller hears no gap and tells nothing twice.

Where voice and model stay the same, the model's session is given new instructions and tools (`UpdateSession`). Where
they do not, another session is prepared beside the first one, told what was said, and put in its place (`SwapModel`).

Rules
-----
1. The session is changed between turns: when no response is being made or asked for. What is still heard of the last
   one is heard to its end, and the new persona's words follow right behind it. It has taken over when the model has
   confirmed the change, and not before.
   test_a_handoff_waits_for_the_response_and_its_words_follow_without_a_gap
   test_the_new_persona_leads_when_the_model_has_confirmed_it
2. Another session is put in at a quiet moment: nobody speaks, and all that we said was heard. It is told what was said,
   ours as far as it was heard, and what tools were asked and answered.
   test_another_session_takes_over_in_a_quiet_moment_and_knows_what_was_said
   test_a_sentence_of_ours_that_was_cut_is_retold_as_far_as_it_was_heard
3. Asked to cut, we fall silent where the ear is; a protected greeting and the caller are never cut.
   test_a_handoff_may_cut_our_own_voice
   test_a_handoff_never_cuts_a_protected_greeting
   test_another_session_cuts_our_voice_only_once_it_is_there
4. Tools at work come first, and what they brought is the new persona's to say.
   test_tools_at_work_come_first
   test_the_persona_that_was_handed_to_speaks_and_not_the_one_before
5. What the caller says meanwhile is kept: the same session goes on hearing him, and another one hears him from the end
   of his last turn on, no frame lost or told twice. A turn that is still being written down is waited for, a moment;
   one that comes later still is told as a note.
   test_a_caller_who_speaks_during_a_handoff_is_answered_by_the_new_persona
   test_not_a_frame_of_the_callers_is_lost_or_heard_twice
   test_a_turn_that_is_still_being_written_down_is_waited_for
   test_a_turn_that_was_written_down_too_late_is_told_as_a_note
6. Before anything was said the new persona greets. After that it says in a few words who it is, and greets nobody anew.
   test_a_handoff_before_the_first_words_changes_who_greets
   test_a_handoff_during_the_greeting_waits_for_its_end
   test_the_new_persona_introduces_itself_as_it_was_told_to
7. Of two handoffs the later one counts. One that is being confirmed is not called back; the next one comes after it. A
   handoff to the persona that leads already takes back one that waits, and is otherwise nothing.
   test_of_two_handoffs_the_later_one_counts
   test_a_handoff_that_is_being_confirmed_is_followed_by_the_next
   test_a_handoff_to_the_one_who_leads_already_is_nothing
8. One that cannot be prepared, is refused or finds no moment within `LONGEST_S` leaves the call as it was. Who asked by
   a tool or a key is answered by the persona before; otherwise the caller does not learn of it.
   test_a_session_that_cannot_be_had_leaves_the_call_as_it_was
   test_a_refused_change_leaves_the_call_as_it_was
   test_a_change_that_is_not_confirmed_is_given_up_and_counts_if_it_comes_after_all
   test_a_session_that_is_lost_before_it_takes_over_is_not_missed
9. A call that is being ended is handed to nobody.
   test_a_call_that_is_being_ended_is_handed_to_nobody
10. Keys that stand for a persona hand over to it, when they are pressed alone.
    test_a_key_hands_over_to_its_persona
    test_a_key_among_others_hands_over_to_nobody
11. In another of its languages the same persona goes on at once: what the model says next is in it. While a handoff is
    being confirmed nobody knows whose the session is: whoever leads when that is over goes on in that language.
    test_a_call_goes_on_in_another_language_from_the_next_response_on
    test_a_change_of_language_does_not_undo_a_handoff
    test_a_language_that_was_chosen_during_a_handoff_that_failed_is_spoken_all_the_same
    test_a_handoff_that_is_confirmed_too_late_keeps_the_language
    test_who_takes_over_speaks_the_language_that_was_chosen_meanwhile
    test_a_language_that_the_model_refuses_is_on_record
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.barge_in import BargeIn
from voice_gateway.call.goodbye import Parting
from voice_gateway.call.hearing import Hearing
from voice_gateway.call.opening import Opening
from voice_gateway.call.policy import Policy
from voice_gateway.call.saying import quoted
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.transcript import Transcript, retold
from voice_gateway.call.turns import Turns

LONGEST_S = 60.0
UPDATE_PATIENCE_S = 3.0
TEXT_PATIENCE_S = 1.5
"""So long a quiet moment waits for the text of what the caller said last."""

HANDOFF_TO = "handoff_to"
"""The name of the tool that the model hands over with; another session need not know of it."""

_WAITS = frozenset({"tool", "keypad"})
"""Where a caller waits for what comes of it."""


@dataclass(slots=True)
class _Handoff:
    """One that is under way. ready: once prepared. sent_at: when the model was told. quiet_since: all is still."""

    asked: ev.HandoffAsked
    since: float
    ready: ev.HandoffReady | None = None
    sent_at: float | None = None
    quiet_since: float | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """The parts of a call that a handoff deals with.

    adopt: has all parts follow another policy, and another model of this name where it is not empty.
    """

    turns: Turns
    speaking: Speaking
    hearing: Hearing
    barge_in: BargeIn
    transcript: Transcript
    opening: Opening
    parting: Parting
    adopt: Callable[[Policy, str], None]


class Handoffs:
    """Who takes over, and when."""

    def __init__(self, policy: Policy, stage: Stage) -> None:
        self._policy = policy
        self._on = stage
        self._earlier = [do.AddNote(policy.earlier.note)] if policy.earlier else []
        self._pending: _Handoff | None = None
        self._next: ev.HandoffAsked | None = None
        self._late: _Handoff | None = None
        self._language: str | None = None
        self._former_turns: frozenset[str] = frozenset()
        stage.transcript.persona = policy.persona

    @property
    def busy(self) -> bool:
        return self._pending is not None

    @property
    def holds_asks(self) -> bool:
        """The model is about to be somebody else: what it is asked for now is asked for afterwards."""
        return self._pending is not None and self._pending.sent_at is not None

    @property
    def due(self) -> float | None:
        """When it has waited long enough."""
        handoff = self._pending
        if handoff is None:
            return None
        if handoff.sent_at is not None:
            return handoff.sent_at + UPDATE_PATIENCE_S
        ends = handoff.since + LONGEST_S
        return ends if handoff.quiet_since is None else min(ends, handoff.quiet_since + TEXT_PATIENCE_S)

    # --- asking and preparing ---------------------------------------------------------------------------------------

    def ask(self, event: ev.HandoffAsked, now: float) -> list[do.Command]:
        handoff = self._pending
        if self._on.parting.goodbye is not None:
            return [_fault("call_ending", event.persona, "the call is being ended")]
        if handoff is not None and handoff.sent_at is not None:
            self._next = event
            return []
        if handoff is not None and handoff.asked.persona == event.persona:
            handoff.asked = replace(event, cut=event.cut or handoff.asked.cut)
            return []
        dropped = self._drop()
        if event.persona == self._policy.persona:
            return dropped
        self._pending = _Handoff(event, now)
        return [*dropped, *self.prepare()]

    def speak(self, event: ev.LanguageAsked, now: float) -> list[do.Command]:  # noqa: ARG002 - a handler's shape
        """Go on in another language (rule 11)."""
        if self._on.parting.goodbye is not None or not self._on.hearing.model_is_there:
            return []
        if self.holds_asks or self._late is not None:  # and what is confirmed after all may be of the language before
            self._language = event.language
        return [] if self.holds_asks else self._change_language(event.language)

    def _change_language(self, language: str) -> list[do.Command]:
        again: list[do.Command] = []
        if self._pending is not None:  # what stands ready for who takes over is of the language before
            self._pending.ready = self._pending.quiet_since = None
            again = [do.PrepareHandoff(self._pending.asked.persona, language)]
        spoken = do.SetLanguage(language, self._policy.persona)
        return [spoken, *again, do.WriteEntry(entries.LanguageSet(language))]

    def prepare(self) -> list[do.Command]:
        """Once there is a model; what was asked for before waits for it."""
        if self._pending is None or not self._on.hearing.model_is_there:
            return []
        self._on.hearing.keep()
        return [do.PrepareHandoff(self._pending.asked.persona)]

    def be_ready(self, event: ev.HandoffReady, now: float) -> list[do.Command]:  # noqa: ARG002 - a handler's shape
        handoff = self._pending
        if handoff is None or handoff.asked.persona != event.persona or handoff.sent_at is not None:
            return [do.DropHandoff()] if event.session_id else []
        handoff.ready = event
        return []

    def fail(self, event: ev.HandoffFailed | ev.UpdateRefused, now: float) -> list[do.Command]:
        """It cannot be had (rule 8); what is of no persona is of a change of language (rule 11)."""
        if not event.persona:
            return [do.WriteEntry(entries.FaultSeen("model", event.code, event.message))]
        handoff = self._pending
        if handoff is None or event.persona != handoff.asked.persona:
            return []
        return self._give_up(handoff, event.code, event.message, now)

    def _give_up(self, handoff: _Handoff, code: str, message: str, now: float) -> list[do.Command]:
        dropped = self._drop()
        fault = _fault(code, handoff.asked.persona, message)
        told: list[do.Command] = []
        if handoff.asked.by in _WAITS:
            self._on.turns.wish(do.CreateResponse(), now)
            told = [do.AddNote(NOT_HANDED_OVER)]
        failed = do.Observe("handoff_failed", now - handoff.since)
        return [*dropped, fault, failed, *told, *self._make_up(now)]

    def _make_up(self, now: float) -> list[do.Command]:
        """It is known who leads: what was wished for meanwhile, another handoff and another language."""
        following, self._next = self._next, None
        handed = [] if following is None else self.ask(following, now)
        language = self._language
        if language is None or self.holds_asks:
            return handed
        if self._late is None:
            self._language = None
        return [*handed, *self._change_language(language)]

    def _drop(self) -> list[do.Command]:
        handoff, self._pending = self._pending, None
        self._on.hearing.keep_no_more()
        return [] if handoff is None else [do.DropHandoff()]

    # --- taking over ------------------------------------------------------------------------------------------------

    def go_on(self, now: float, *, quiet: bool, tools: bool) -> list[do.Command]:
        """What may be done after any event but sound. tools: tools or sayings are at work."""
        handoff = self._pending
        if handoff is None:
            return []
        if handoff.sent_at is not None:
            return self._await_word(handoff, handoff.sent_at + UPDATE_PATIENCE_S, now)
        if self._on.parting.goodbye is not None:
            return [*self._drop(), _fault("call_ending", handoff.asked.persona, "the call is being ended")]
        if now >= handoff.since + LONGEST_S:
            return self._give_up(handoff, "no_moment", f"no quiet moment within {LONGEST_S:g} s", now)
        if tools:
            handoff.quiet_since = None
            return []
        return self._take_over(handoff, now, quiet=quiet)

    def _await_word(self, handoff: _Handoff, until: float, now: float) -> list[do.Command]:
        """The model was told, and has not said anything to it yet."""
        if now < until:
            return []
        self._late = handoff
        return self._give_up(handoff, "no_answer", f"not confirmed within {UPDATE_PATIENCE_S:g} s", now)

    def _take_over(self, handoff: _Handoff, now: float, *, quiet: bool) -> list[do.Command]:
        if handoff.ready is None:
            return []
        if handoff.ready.session_id:
            return self._swap(handoff, handoff.ready, now, quiet=quiet)
        return self._update(handoff, now)

    def _update(self, handoff: _Handoff, now: float) -> list[do.Command]:
        cut = self._on.barge_in.silence(now) if handoff.asked.cut and not self._on.barge_in.is_protected else []
        if not self._on.turns.is_between(self._policy.greeting):
            return cut
        handoff.sent_at = now
        return [*cut, do.UpdateSession(handoff.asked.persona)]

    def confirm(self, event: ev.SessionUpdated, now: float) -> list[do.Command]:
        """The session is another persona's now (rule 1); of no persona it is the same one's in another language."""
        if not event.persona:
            return []
        handoff, late, self._late = self._pending, self._late, None
        if handoff is not None and handoff.sent_at is not None and handoff.asked.persona == event.persona:
            self._pending = None
            self._on.hearing.keep_no_more()
        elif late is not None and late.asked.persona == event.persona:
            handoff = late
        else:
            return []
        if handoff.ready is None:
            return []
        former = self._lead_by(handoff.ready)
        differs = do.WriteEntry(entries.FaultSeen("model", "session_differs", "; ".join(event.differences)))
        return [
            *([differs] if event.differences else []),
            *self._introduce(handoff, former, now),
            *self._tell(handoff, former, now),
            *self._make_up(now),
        ]

    def _swap(self, handoff: _Handoff, ready: ev.HandoffReady, now: float, *, quiet: bool) -> list[do.Command]:
        on = self._on
        if not quiet or on.turns.active is not None:
            handoff.quiet_since = None
            may_cut = handoff.asked.cut and not on.turns.caller_is_speaking and not on.barge_in.is_protected
            return on.barge_in.silence(now) if may_cut else []
        if handoff.quiet_since is None:
            handoff.quiet_since = now
        unwritten = on.transcript.unwritten if self._policy.transcribed else ()
        if (unwritten or on.transcript.is_unsettled) and now < handoff.quiet_since + TEXT_PATIENCE_S:
            return []
        self._pending = self._late = self._language = None
        history = retold(on.transcript.log, but=HANDOFF_TO)
        self._former_turns = frozenset(unwritten)
        former = self._lead_by(ready)
        on.turns.begin_anew()
        on.speaking.begin_anew()
        return [
            do.SwapModel(handoff.asked.persona),
            *self._earlier,
            *history,
            *on.hearing.begin_anew(),
            *self._introduce(handoff, former, now),
            do.WriteEntry(entries.ModelJoined(ready.session_id, ready.model, 0)),
            *self._tell(handoff, former, now),
        ]

    def note_late(self, event: ev.UserTranscribed) -> list[do.Command]:
        """What the caller had said to the session before, and nobody could tell the one that came after (rule 5)."""
        if event.item_id not in self._former_turns or not event.text.strip():
            return []
        self._former_turns -= {event.item_id}
        return [do.AddNote(f"Before you took over, the caller had also said: {quoted(event.text)}")]

    def _lead_by(self, ready: ev.HandoffReady) -> Policy:
        """Returns the policy before."""
        former, self._policy = self._policy, ready.policy
        self._on.adopt(ready.policy, ready.model)
        return former

    def _introduce(self, handoff: _Handoff, former: Policy, now: float) -> list[do.Command]:
        """What the new persona is told, and whether it speaks (rule 6)."""
        on, policy = self._on, self._policy
        if on.parting.goodbye is not None:
            return []
        if not on.transcript.has_ours:
            on.turns.forget_wish()
            on.opening.greet(now)
            return []
        if policy.introduction != "" or handoff.asked.by in _WAITS or on.turns.wishes:
            on.turns.forget_wish()
            on.turns.wish(do.CreateResponse(), now)
        return [do.AddNote(introduction(former, policy, handoff.asked.reason))]

    def _tell(self, handoff: _Handoff, former: Policy, now: float) -> list[do.Command]:
        asked, ready = handoff.asked, handoff.ready
        self._on.transcript.persona = asked.persona
        self._on.transcript.remark(f"Handed over from {former.persona or 'nobody'} to {asked.persona}")
        anew = ready is not None and bool(ready.session_id)
        waited_s = now - handoff.since
        entry = entries.HandedOff(
            former.persona, asked.persona, asked.by, asked.reason, round(waited_s * 1000), another_session=anew
        )
        return [do.Observe("handoff_session" if anew else "handoff_update", waited_s), do.WriteEntry(entry)]


NOT_HANDED_OVER = (
    "The call cannot be handed over at the moment, so it stays with you. Help the caller yourself as far as you can, "
    "and say so in one short sentence if he waits for somebody else."
)


def introduction(former: Policy, policy: Policy, reason: str) -> str:
    """What a persona is told that takes over a call."""
    whom = policy.name or policy.persona or "somebody else"
    told = [f"You have taken over this call from {former.name or former.persona or 'a colleague'}: you are {whom} now."]
    if reason.strip():
        told.append(f"The reason that was given: {quoted(reason)}")
    if policy.introduction is None:
        told.append("Say in a few words who you are, without a whole greeting.")
    elif policy.introduction:
        told.append(f"Begin with exactly these words: {quoted(policy.introduction)}")
    told.append("Go straight on with what the caller wants; what he has said before he need not say again.")
    return " ".join(told)


def _fault(code: str, persona: str, message: str) -> do.Command:
    return do.WriteEntry(entries.FaultSeen("gateway", f"handoff_{code}", f"to {persona}: {message}"))
