"""Sayings: what somebody inside wants said in a call that goes on, and whether the caller heard it.

Rules
-----
1. A saying waits for a quiet moment: nobody speaks, no tool is at work, all that was said was heard. One comes after
   the other, in the order they were asked for; at most `MOST_WAITING` wait, each for at most `LONGEST_WAIT_S`.
   test_a_saying_waits_for_a_quiet_moment
   test_sayings_are_said_one_after_the_other
   test_a_saying_that_finds_no_quiet_moment_expires
2. One that may interrupt cuts our own voice where the ear is, and the response that was being made. The caller it never
   cuts: he is waited for.
   test_a_saying_may_cut_our_own_voice_at_what_was_heard
   test_a_saying_never_cuts_the_caller
3. What is to be spoken word for word is said in parts of at most `PART` characters, for a model speaks only so long in
   one response. The next part is asked for while the one before is still heard.
   test_a_long_text_is_said_in_parts_without_a_pause
4. What is asked is told to the model as a note, and whatever it says then is the answer, after its tools too.
   test_what_is_asked_is_answered_after_its_tools_too
5. Only a response that was asked for says it. Another one that comes first, such as an answer to the caller, is heard,
   and then it is asked for again, `MOST_ASKS` times in all.
   test_an_answer_to_the_caller_comes_first_and_then_the_saying
   test_a_saying_that_crossed_another_response_is_asked_for_again
6. It is over when all of it was heard, or was cut; then nothing more of it is said.
   test_a_saying_is_over_when_it_was_heard
   test_a_caller_who_cuts_in_ends_the_saying
7. Nothing is begun once a goodbye is under way, nor is the goodbye cut; and the end of the call ends them all.
   test_nothing_is_begun_in_a_goodbye
   test_a_goodbye_is_never_cut_by_a_saying
   test_the_end_of_the_call_ends_all_sayings
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.barge_in import BargeIn
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.turns import SEEN_AFTER, Turns

MOST_WAITING = 8
MOST_ASKS = 3
LONGEST_WAIT_S = 60.0
PART = 600
SETTLES_S = 0.1
"""After the last sound the receipt for it is on its way."""

Outcome: TypeAlias = Literal["heard", "interrupted", "expired", "failed", "ending", "full", "call_ended"]

_SENTENCE = re.compile(r"(?<=[.!?…。])\s+")


def exactly(text: str) -> do.CreateResponse:
    """What has the model say a text word for word."""
    return do.CreateResponse(f"Say exactly this and nothing else: {quoted(text)}")


def quoted(text: str) -> str:
    """A text as one line between quotation marks of which none is its own."""
    said = " ".join(text.split()).replace('"', "'")
    return f'"{said}"'


def note_of(text: str) -> do.AddNote:
    """What the model is told of something that it is to act on."""
    return do.AddNote(f"A note from the house; the caller does not hear it. Act on it now, in your own words: {text}")


def parts_of(text: str) -> list[str]:
    """A text in parts of at most `PART` characters, at the ends of sentences or else of words."""
    parts: list[str] = []
    for sentence in _SENTENCE.split(" ".join(text.split())):
        rest = sentence
        if parts and len(parts[-1]) + 1 + len(rest) <= PART:
            parts[-1] += f" {rest}"
            continue
        while len(rest) > PART:
            end = rest.rfind(" ", 0, PART + 1)
            end = end if end > 0 else PART
            parts.append(rest[:end])
            rest = rest[end:].lstrip()
        if rest:
            parts.append(rest)
    return parts


@dataclass(slots=True)
class _Saying:
    """One that is being said. parts: still to be asked for. ask: what the model was asked for last, so often in a row.

    pending: no response has begun for it yet. responses: those that say it, by id, with their status once they are
    finished. items: what is spoken of them.
    """

    asked: ev.SayAsked
    parts: deque[str]
    ask: do.CreateResponse = field(default_factory=do.CreateResponse)
    asks: int = 0
    wished_at: float = 0.0
    pending: bool = True
    responses: dict[str, str] = field(default_factory=dict)
    items: list[str] = field(default_factory=list)


class Sayings:
    """Those that wait, and the one that is being said."""

    def __init__(self, turns: Turns, barge_in: BargeIn, transcript: Transcript) -> None:
        self._turns = turns
        self._barge_in = barge_in
        self._transcript = transcript
        self._waiting: deque[tuple[ev.SayAsked, float]] = deque()
        self._current: _Saying | None = None
        self._look_again_at: float | None = None

    @property
    def busy(self) -> bool:
        return self._current is not None or bool(self._waiting)

    @property
    def speaks(self) -> bool:
        """Is one being said, and not only waiting?"""
        return self._current is not None

    @property
    def due(self) -> float | None:
        """When to look again: at what was said last, or at the first that has waited long enough."""
        ends = [since + LONGEST_WAIT_S for _, since in self._waiting]
        if self._current is not None and self._current.pending:
            ends.append(self._current.wished_at + LONGEST_WAIT_S)
        if self._look_again_at is not None:
            ends.append(self._look_again_at)
        return min(ends, default=None)

    def take(self, event: ev.SayAsked, now: float, *, parting: bool) -> list[do.Command]:
        """Somebody wants something said. parting: a goodbye is being said, and is not cut for it."""
        asked = do.WriteEntry(entries.SayingAsked(event.saying_id, event.by, event.mode, event.text, event.interrupt))
        if parting or len(self._waiting) >= MOST_WAITING:
            return [asked, _ended(event, "ending" if parting else "full")]
        if not event.text.strip():
            return [asked, _ended(event, "failed")]
        if not event.interrupt:
            self._waiting.append((event, now))
            return [asked]
        self._waiting.appendleft((event, now))
        return [asked, *self._barge_in.silence(now)]

    def go_on(self, event: ev.Event, now: float, *, quiet: bool, tools: bool, parting: bool) -> list[do.Command]:
        """What follows from any event but sound. quiet: nobody speaks, nor will anybody by himself. tools: at work."""
        self._look_again_at = None
        self._note(event, now)
        commands = self._drop_waiting(now, parting=parting)
        if self._current is not None:
            commands += self._look(self._current, now, quiet=quiet, tools=tools, parting=parting)
        if self._current is None and self._waiting and (quiet or self._waiting[0][0].interrupt):
            asked, _ = self._waiting.popleft()
            self._current = _Saying(asked, deque(parts_of(asked.text) if asked.mode == "speak" else ()))
            commands += self._begin(self._current, now)
        return commands

    def give_up(self) -> list[do.Command]:
        """The call is over, and what was heard of it is in the transcript by now."""
        ended = [_ended(asked, "call_ended") for asked, _ in self._waiting]
        self._waiting.clear()
        if self._current is not None:
            whole = not self._current.pending and not self._current.parts and self._is_heard(self._current)
            ended.insert(0, self._end(self._current, "heard" if whole else "call_ended"))
        return [*ended]

    # --- beginning --------------------------------------------------------------------------------------------------

    def _drop_waiting(self, now: float, *, parting: bool) -> list[do.Command]:
        """Those that waited in vain."""
        dropped: list[do.Command] = []
        for asked, since in list(self._waiting):
            if parting or now >= since + LONGEST_WAIT_S:
                self._waiting.remove((asked, since))
                dropped.append(_ended(asked, "ending" if parting else "expired"))
        return dropped

    def _begin(self, saying: _Saying, now: float) -> list[do.Command]:
        if saying.asked.mode == "speak":
            self._wish(saying, exactly(saying.parts.popleft()), now)
            return []
        self._wish(saying, do.CreateResponse(), now)
        return [note_of(saying.asked.text)]

    def _wish(self, saying: _Saying, ask: do.CreateResponse, now: float) -> None:
        saying.asks = saying.asks + 1 if ask is saying.ask else 1
        saying.ask, saying.wished_at, saying.pending = ask, now, True
        self._turns.wish(ask, now)

    # --- what the model does about it -------------------------------------------------------------------------------

    def _note(self, event: ev.Event, now: float) -> None:
        saying = self._current
        if saying is None:
            return
        match event:
            case ev.ResponseStarted() if self._is_ours(saying, event.response_id, now):
                saying.pending = False
                saying.responses[event.response_id] = ""
            case ev.ItemStarted(kind="message") if event.response_id in saying.responses:
                if not self._turns.is_cut(event.response_id):
                    saying.items.append(event.item_id)
            case ev.ResponseFinished() if event.response_id in saying.responses:
                saying.responses[event.response_id] = event.status
            case ev.ModelErred(code="conversation_already_has_active_response"):
                if saying.responses.get(self._turns.active or "") == "":  # what began then was another one
                    del saying.responses[self._turns.active or ""]
                    saying.pending = True

    def _is_ours(self, saying: _Saying, response_id: str, now: float) -> bool:
        turns = self._turns
        if turns.active != response_id or turns.is_cut(response_id):
            return False
        if turns.opened_by is saying.ask:
            return True
        seen = not saying.pending or now - saying.wished_at > SEEN_AFTER
        return saying.asked.mode == "ask" and seen

    def _look(self, saying: _Saying, now: float, *, quiet: bool, tools: bool, parting: bool) -> list[do.Command]:
        """How far is it?"""
        if any(self._transcript.turn("assistant", item_id).interrupted for item_id in saying.items):
            return [self._end(saying, "interrupted")]
        if saying.pending:
            return self._look_at_ask(saying, now, quiet=quiet, parting=parting)
        status = "" if "" in saying.responses.values() else list(saying.responses.values())[-1]
        if status == "completed" and saying.parts and not parting:
            self._wish(saying, exactly(saying.parts.popleft()), now)
            return []
        return self._look_at_end(saying, now, status, quiet=quiet, tools=tools)

    def _look_at_end(self, saying: _Saying, now: float, status: str, *, quiet: bool, tools: bool) -> list[do.Command]:
        """Nothing more will be asked for. status: of the last response, empty while one is being made."""
        heard = status == "completed" and not saying.parts and self._is_heard(saying)
        rests = not tools and (self._turns.at_rest or self._turns.caller_is_speaking)
        if heard and (rests or saying.asked.mode == "speak"):
            return [self._end(saying, "heard")]
        if quiet and self._settles(saying):
            self._look_again_at = now + SETTLES_S
            return []
        if not quiet:
            return []
        cut = saying.parts or self._turns.is_cut(list(saying.responses)[-1])
        return [self._end(saying, "interrupted" if cut else "failed")]

    def _look_at_ask(self, saying: _Saying, now: float, *, quiet: bool, parting: bool) -> list[do.Command]:
        """Nothing has begun yet. In a quiet moment nothing will: the ask was fulfilled by another response, or lost."""
        if parting:
            return [self._end(saying, "interrupted" if saying.items else "ending")]
        if now >= saying.wished_at + LONGEST_WAIT_S:
            return [self._end(saying, "expired")]
        if quiet and saying.asks >= MOST_ASKS:
            return [self._end(saying, "failed")]
        if quiet:
            self._wish(saying, saying.ask, now)
        return []

    def _is_heard(self, saying: _Saying) -> bool:
        turns = [self._transcript.turn("assistant", item_id) for item_id in saying.items]
        return bool(turns) and all(turn.text is not None and not turn.interrupted for turn in turns)

    def _settles(self, saying: _Saying) -> bool:
        """Is any of its sound not on the record yet?"""
        turns = [self._transcript.turn("assistant", item_id) for item_id in saying.items]
        return any(turn.start_ms is not None and turn.text is None for turn in turns)

    def _end(self, saying: _Saying, outcome: Outcome) -> do.Command:
        self._current = None
        self._turns.withdraw(saying.ask)
        return _ended(saying.asked, outcome, tuple(saying.items))


def _ended(asked: ev.SayAsked, outcome: Outcome, item_ids: tuple[str, ...] = ()) -> do.Command:
    return do.WriteEntry(entries.SayingEnded(asked.saying_id, outcome, item_ids))
