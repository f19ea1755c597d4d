"""Turns: whose turn it is, which response is active, and when the model may be asked to speak.

Rules
-----
1. At most one response is active. A wish to speak waits until none is active, none is on its way, and the caller is
   silent; wishes do not add up.
2. After the caller's turn the model answers by itself. We wait for that answer before we ask for one ourselves, but
   only for `patience_s`: a caller is never left in silence. What we asked for and did not get is asked for again, and
   so is a response in whose midst the model fell silent for `FORGOTTEN_AFTER`. `unanswered` counts what never came.
3. A response that starts well after a wish was made has seen all that we sent, so it fulfils the wish.
4. When the caller barges in, the active response is cut: whatever still arrives of it is dropped, by its id.
5. A response that we asked for before the caller began to speak, and that starts while he speaks, is cancelled by id.
"""

from __future__ import annotations

from collections import deque

from voice_gateway.call.commands import CreateResponse

SEEN_AFTER = 0.25
"""Seconds after which a response may be taken to have seen what we sent before it started (rule 3)."""

FORGOTTEN_AFTER = 20.0
"""Seconds without any word of the model's after which its active response is taken for dead."""


class Turns:
    def __init__(self, *, patience_s: float = 3.0) -> None:
        self._patience = patience_s
        self.active: str | None = None
        self.caller_is_speaking = False
        self.unanswered = 0
        self._heard_from_at = 0.0
        self._asked: tuple[CreateResponse, float] | None = None
        self._stale_ask = False
        self._held_until: float | None = None
        self._answer_due_since: float | None = None
        self._wish: tuple[CreateResponse, float] | None = None
        self._cut: deque[str] = deque(maxlen=32)

    # --- the caller ---------------------------------------------------------------------------------------------

    def start_speech(self) -> None:
        self.caller_is_speaking = True
        self._answer_due_since = None
        self._stale_ask = self._asked is not None

    def stop_speech(self, now: float) -> None:
        self.caller_is_speaking = False
        self._answer_due_since = now

    # --- the model ----------------------------------------------------------------------------------------------

    def hear_from_model(self, now: float) -> None:
        """Some event of the model's came: it lives."""
        self._heard_from_at = now

    def start_response(self, response_id: str, now: float) -> bool:
        """Returns False when this response must be cancelled (rule 5)."""
        ours, self._asked, self.unanswered = self._asked is not None, None, 0
        self._held_until = None
        self.active = response_id
        if self._stale_ask and ours and self.caller_is_speaking:
            self._stale_ask = False
            self._cut.append(response_id)
            return False
        self._stale_ask = False
        self._answer_due_since = None
        if self._wish is not None and now - self._wish[1] > SEEN_AFTER:
            self._wish = None
        return True

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

    # --- wishes -------------------------------------------------------------------------------------------------

    def wish(self, response: CreateResponse, now: float) -> None:
        """Have the model speak as soon as it may (rule 1)."""
        self._wish = (response, now)

    def refuse_ask(self, now: float) -> None:
        """The model refused to begin because another response is active: ask again when that one is done.

        It may be one that we never heard of, so the wait is not longer than the patience.
        """
        if self._asked is not None:
            self._held_until = now + self._patience
            self._wish_again(self._asked[0], now)

    def due(self, now: float) -> CreateResponse | None:
        """The response to ask for now, if any."""
        if self.caller_is_speaking:
            return None
        if self.active is not None:
            if now < self._heard_from_at + FORGOTTEN_AFTER:
                return None
            self.active = None
            self._wish = self._wish or (CreateResponse(), now)
        if self._asked is not None:
            asked_for, asked_at = self._asked
            if now < asked_at + self._patience:
                return None
            self.unanswered += 1
            self._wish_again(asked_for, now)
        if self._answer_due_since is not None:
            if now < self._answer_due_since + self._patience:
                return None
            self._answer_due_since = None
            self._wish = self._wish or (CreateResponse(), now)
        held = self._held_until is not None and now < self._held_until
        if self._wish is None or held:
            return None
        self._held_until = None
        response, _ = self._wish
        self._wish = None
        self._asked = (response, now)
        return response

    def deadline(self) -> float | None:
        """When `due` may have something by the passing of time alone."""
        if self.caller_is_speaking:
            return None
        if self.active is not None:
            return self._heard_from_at + FORGOTTEN_AFTER
        since = self._answer_due_since if self._asked is None else self._asked[1]
        due = None if since is None else since + self._patience
        return self._held_until if due is None else max(due, self._held_until or due)

    def _wish_again(self, response: CreateResponse, now: float) -> None:
        self._asked = None
        self._wish = self._wish or (response, now)
