"""Responses: what the model says, event by event, from its beginning to its end.

Rules
-----
1. What arrives of a response after it was cut is dropped. Several spoken items of one response are said one after the
   other, however their sound came.
   test_deltas_of_a_cut_response_never_reach_the_caller
   test_a_commentary_is_said_before_the_answer_even_if_their_sound_comes_interleaved
2. A turn of ours is on the record when its last mark came back, or when it was cut, never before.
   test_a_turn_of_ours_is_on_record_when_its_last_mark_came_back_and_not_before
"""

from __future__ import annotations

from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.barge_in import BargeIn
from voice_gateway.call.costs import Meter
from voice_gateway.call.goodbye import Parting
from voice_gateway.call.opening import Opening
from voice_gateway.call.speaking import Speaking
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.turns import Turns
from voice_gateway.call.watch import Watch


class Responses:
    """dropped_deltas: pieces of sound that came after their response was cut."""

    def __init__(
        self,
        speaking: Speaking,
        turns: Turns,
        transcript: Transcript,
        barge_in: BargeIn,
        opening: Opening,
        parting: Parting,
        watch: Watch,
        meter: Meter,
    ) -> None:
        self._speaking = speaking
        self._turns = turns
        self._transcript = transcript
        self._barge_in = barge_in
        self._opening = opening
        self._parting = parting
        self._watch = watch
        self._meter = meter
        self.dropped_deltas = 0

    def start(self, event: ev.ResponseStarted, now: float) -> list[do.Command]:
        if self._speaking.take is not None:
            self._speaking.take.start(event.response_id)
        self._barge_in.start_response(event.response_id)
        if not self._turns.start_response(event.response_id, now):
            return [do.CancelResponse(event.response_id)]
        self._watch.retry_due = None  # it brings what was to be asked for again
        self._parting.hear_of_response(event.response_id)
        return []

    def open_item(self, event: ev.ItemStarted, now: float) -> list[do.Command]:  # noqa: ARG002 - one shape for all handlers
        if self._speaking.take is not None:
            self._speaking.take.open_item(event.response_id, event.item_id, event.kind)
        self._speaking.unsaid.start(event)
        if event.kind == "message" and not self._turns.is_cut(event.response_id):
            self._transcript.turn("assistant", event.item_id)  # in the order of the items, not of their first words
        return []

    def say(self, event: ev.AudioReceived, now: float) -> list[do.Command]:
        if self._turns.is_cut(event.response_id):
            self.dropped_deltas += 1
            return [*self._speaking.unsaid.drop(event)]
        return self._speaking.say(event, now)

    def read(self, event: ev.TextReceived, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if not self._turns.is_cut(event.response_id):
            self._transcript.turn("assistant", event.item_id).generated += event.text
        return []

    def finish_text(self, event: ev.TextFinished, now: float) -> list[do.Command]:  # noqa: ARG002 - as above
        if not self._turns.is_cut(event.response_id):
            self._transcript.turn("assistant", event.item_id).generated = event.text
        return []

    def finish(self, event: ev.ResponseFinished, now: float) -> list[do.Command]:
        self._turns.finish_response(event.response_id)
        said = self._speaking.finish_response(event.response_id, now)
        # A model that tells no usage, as may be for a cancelled response, is billed by its sound.
        metered = self._meter.book(event, self._speaking.take_received_ms(event.response_id), now)
        return [
            do.WriteEntry(metered),
            *said,
            *self._speaking.unsaid.finish(event.response_id, cut=self._turns.is_cut(event.response_id)),
            *self._opening.keep(event),
            *self._speaking.playout.pump(now),
            *self._watch.look_at_end(event, now),
            *self._speaking.settle(now),
        ]
