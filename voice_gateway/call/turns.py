"""Turns: whose turn it is, which response is active, and when the model may be asked to speak.

Rules
-----
1. At most one response is active. A wish to speak waits until none is active, none is on its way, and the caller is
   silent; wishes do not add up.
   test_a_wish_waits_until_the_caller_is_silent_and_wishes_do_not_add_up
   test_a_refused_ask_is_repeated_when_the_other_response_is_done
2. After the caller's turn the model answers by itself. We wait for that answer before we ask for one ourselves, but
   only for `patience_s`: a caller is never left in silence. What we asked for and did not get is asked for again;
   `unanswered` counts what never came. A model that does not answer by itself is asked as soon as the turn is whole.
   test_the_model_that_forgets_to_answer_is_asked_after_three_seconds
   test_what_was_asked_for_and_never_came_is_asked_for_again
   test_a_model_that_does_not_answer_by_itself_is_asked_when_the_turn_is_whole
3. A response that starts well after a wish was made has seen all that we sent, so it fulfils the wish; unless it says
   words that we gave it.
   test_a_caller_who_speaks_during_a_tool_is_answered_first
   test_a_filler_that_crosses_the_tools_answer_is_no_answer
   test_an_output_that_came_too_late_for_the_running_answer_gets_one_of_its_own
4. When the caller barges in, the active response is cut: whatever still arrives of it is dropped, by its id.
   test_deltas_of_a_cut_response_never_reach_the_caller
5. A response that starts while the caller speaks is cancelled: always when we had asked for it before, and where he may
   interrupt us whoever did. So is one that nobody asked for where `refuse_next` forbade it, or in a call that is
   `closing`. A cancel always names its response: one without a name may kill the next.
   test_a_response_that_starts_while_the_caller_already_speaks_is_cancelled_by_its_id
   test_an_answer_that_starts_when_the_caller_speaks_again_is_cancelled_where_he_may_interrupt
   test_the_models_own_prompt_gives_way_to_the_goodbye
6. A response in whose midst the model falls silent for `stall_s` is cut, and what it owed is asked for anew.
   test_a_model_that_falls_silent_in_a_response_is_asked_again
7. What a tool answered is not spoken of while another tool is at work. An answer that is owed to the caller is.
   test_parallel_tools_lead_to_one_response
   test_a_caller_is_answered_while_a_slow_tool_is_at_work
   test_a_caller_is_answered_while_a_tool_works_where_the_model_waits_to_be_asked
"""

from __future__ import annotations

from collections import deque

from voice_gateway.call.commands import CreateResponse

SEEN_AFTER = 0.25
"""Seconds after which a response may be taken to have seen what we sent before it started (rule 3)."""


class Turns:
    """active: the response that is being made. closing: the last word of the call was asked for or is being said.

    opened_by: what we had asked the last response with; None where the model spoke by itself. speaking_since: when the
    caller began to speak, while he does. noise_since: since when the model hears speech that was given up.
    """

    def __init__(
        self, *, patience_s: float = 3.0, stall_s: float = 8.0, model_answers: bool = True, yields: bool = True
    ) -> None:
        """model_answers: the model begins to speak by itself when the caller's turn has ended.

        yields: the caller may interrupt us.
        """
        self._patience = patience_s
        self._stall = stall_s
        self._model_answers = model_answers
        self._yields = yields
        self.active: str | None = None
        self.speaking_since: float | None = None
        self.noise_since: float | None = None
        self.closing = False
        self.unanswered = 0
        self._heard_from_at = 0.0
        self._asked: tuple[CreateResponse, float] | None = None
        self.opened_by: CreateResponse | None = None
        self._stale_ask = False
        self._refuse_next = False
        self._held_until: float | None = None
        self._answer_due_since: float | None = None
        self._owed = False
        self._wish: tuple[CreateResponse, float] | None = None
        self._cut: deque[str] = deque(maxlen=32)

    # --- the caller -------------------------------------------------------------------------------------------------

    @property
    def caller_is_speaking(self) -> bool:
        return self.speaking_since is not None

    def start_speech(self, now: float) -> None:
        self.speaking_since, self.noise_since = now, None
        self._answer_due_since = None
        self._refuse_next = False
        self._stale_ask = self._asked is not None

    def stop_speech(self, now: float) -> None:
        """An end that is told twice is no second turn, and has no answer of its own."""
        if self.caller_is_speaking or self.noise_since is not None or self.active is None:
            self.expect_answer(now)
        self.speaking_since = self.noise_since = None

    def give_up_speech(self, now: float) -> None:
        """What sounds like speech for so long is none: nobody waits for its end any more."""
        self.speaking_since, self.noise_since = None, now

    def commit(self, now: float) -> None:
        """The caller's turn is whole, and part of the conversation. Proves the end of his speech, too."""
        if self.caller_is_speaking or self.noise_since is not None:
            self.stop_speech(now)
        if not self._model_answers:
            self._answer_due_since, self._owed = None, True
            self.wish(CreateResponse(), now)

    def expect_answer(self, now: float) -> None:
        """The model is about to speak by itself (rule 2)."""
        self._answer_due_since = now

    # --- the model --------------------------------------------------------------------------------------------------

    def hear_of_response(self, now: float) -> None:
        """Some event of a response's came: the model is at work."""
        self._heard_from_at = now

    def start_response(self, response_id: str, now: float) -> bool:
        """Returns False when this response must be cancelled (rule 5)."""
        asked, self._asked, self.unanswered = self._asked, None, 0
        self._held_until = None
        self.active = response_id
        self.opened_by = asked[0] if asked else None
        stale = self.caller_is_speaking and (self._yields or (self._stale_ask and asked is not None))
        unwanted = asked is None and (self._refuse_next or self.closing)
        self._stale_ask = self._refuse_next = False
        if not stale:
            self._answer_due_since = None
        if stale or unwanted:
            self._cut.append(response_id)
            return False
        given_words = self.opened_by is not None and self.opened_by.instructions is not None
        if self._wish is not None and now - self._wish[1] > SEEN_AFTER and not given_words:
            self.forget_wish()
        return True

    def refuse_next(self) -> None:
        """Should the model now speak by itself, it is not to (rule 5)."""
        self._refuse_next = True

    def finish_response(self, response_id: str) -> None:
        self._held_until = None
        if self.active == response_id:
            self.active = None

    def cut_active(self) -> str | None:
        """Cut the active response (rule 4); returns its id."""
        if self.active is not None:
            self._cut.append(self.active)
        return self.active

    def is_cut(self, response_id: str) -> bool:
        return response_id in self._cut

    def take_stalled(self, now: float) -> str | None:
        """The response that the model fell silent in, if it did; it is cut now (rule 6)."""
        stalled = self.active
        if stalled is None or now < self._heard_from_at + self._stall:
            return None
        self.active = None
        if not self.is_cut(stalled):
            self._cut.append(stalled)
            self.wish_again(now)
        self._held_until = now + self._patience
        return stalled

    # --- another persona, another session ---------------------------------------------------------------------------

    def adopt(self, *, model_answers: bool, yields: bool) -> None:
        """Another persona leads the call."""
        self._model_answers, self._yields = model_answers, yields

    def begin_anew(self) -> None:
        """Another session is spoken with, and knows of no response. For a moment in which nobody speaks."""
        self.active = self._asked = self.opened_by = None
        self.unanswered = 0
        self._stale_ask = self._refuse_next = False
        self._held_until = self._answer_due_since = None

    def is_between(self, greeting: str) -> bool:
        """No response is made, asked for or awaited, nor is anything to be said in words of ours but the greeting."""
        own = None if self._wish is None else self._wish[0].instructions
        free = self.active is None and self._asked is None and self._answer_due_since is None
        return free and (not own or own == greeting)

    @property
    def wishes(self) -> bool:
        return self._wish is not None

    # --- wishes -----------------------------------------------------------------------------------------------------

    def wish(self, response: CreateResponse, now: float) -> None:
        """Have the model speak as soon as it may (rule 1)."""
        self._wish = (response, now)

    def wish_meanwhile(self, response: CreateResponse, now: float) -> None:
        """Have the model speak as soon as it may, though a tool is at work."""
        self._wish, self._owed = (response, now), True

    def wish_again(self, now: float) -> None:
        """What the last response was asked for, it did not bring."""
        self._wish = self._wish or (self.opened_by or CreateResponse(), now)

    def forget_wish(self) -> None:
        """What we wanted said is of no use any more."""
        self._wish, self._owed = None, False

    def withdraw(self, response: CreateResponse) -> None:
        """This very wish is of no use any more."""
        if self._wish is not None and self._wish[0] is response:
            self.forget_wish()

    @property
    def awaits(self) -> bool:
        """Something is wished, asked for, or about to come by itself."""
        return self._wish is not None or self._asked is not None or self._answer_due_since is not None

    @property
    def may_be_asked(self) -> bool:
        """Nobody speaks, the model neither answers nor is about to, and nothing else is wished."""
        return self.at_rest and self._held_until is None

    @property
    def at_rest(self) -> bool:
        """Nobody speaks and nobody is about to. While closing, the caller is not waited for."""
        silent = (self.active is None or self.is_cut(self.active)) and self._asked is None and self._wish is None
        return silent and (self.closing or not (self.caller_is_speaking or self._answer_due_since is not None))

    def refuse_ask(self, now: float) -> None:
        """The model refused to begin because another response is active: ask again when that one is done.

        It may be one that we never heard of, so the wait is not longer than the patience.
        """
        if self._asked is not None:
            self._held_until = now + self._patience
            self._wish_again(self._asked[0], now)

    def due(self, now: float, *, tools_at_work: bool = False) -> CreateResponse | None:
        """The response to ask for now, if any."""
        if self.caller_is_speaking or self.active is not None:
            return None
        if self._asked is not None:
            asked_for, asked_at = self._asked
            if now < asked_at + self._patience:
                return None
            self.unanswered += 1
            self._wish_again(asked_for, now)
        owed = self._owed or self._answer_due_since is not None
        if self._answer_due_since is not None:
            if now < self._answer_due_since + self._patience:
                return None
            self._wish = self._wish or (CreateResponse(), now)
        if self._held_until is not None and now >= self._held_until:
            self._held_until = None
        if self._wish is None or self._held_until is not None or (tools_at_work and not owed):
            return None
        self._answer_due_since = None
        response, _ = self._wish
        self.forget_wish()
        self._asked = (response, now)
        return response

    def deadline(self) -> float | None:
        """When `due` or `take_stalled` may have something by the passing of time alone."""
        if self.active is not None:
            return self._heard_from_at + self._stall
        if self.caller_is_speaking:
            return None
        since = self._answer_due_since if self._asked is None else self._asked[1]
        due = None if since is None else since + self._patience
        return self._held_until if due is None else max(due, self._held_until or due)

    def _wish_again(self, response: CreateResponse, now: float) -> None:
        self._asked = None
        self._wish = self._wish or (response, now)
