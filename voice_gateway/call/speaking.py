"""Speaking: the model's voice on its way to the caller, and the record of what was heard of it.

One segment for each content part of an item; the playout knows how much of each reached the ear. A response may bring
several spoken items, such as a commentary before the answer, and their sound may come interleaved: each is said to its
end before the next one begins.
"""

from __future__ import annotations

from typing import TypeAlias

from voice_gateway.audio.transcode import Straight, ToCaller, TowardsCaller
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.call.clip import Clip
from voice_gateway.call.greeting import ITEM, FirstWords, Take
from voice_gateway.call.playout import Heard, Playout, Segment
from voice_gateway.call.policy import Policy
from voice_gateway.call.transcript import Transcript
from voice_gateway.call.unsaid import Unsaid

Part: TypeAlias = tuple[str, int]
"""A content part: its item's id and its index in there."""


class Speaking:
    """Our voice. joined_at: when the caller's media stream began. last_response: the last one that had sound.

    caller_stopped_at: when the caller made his last sound, until we answer it. take: the greeting while it is taken for
    a clip. first_words: a clip that was begun, until the model was told of it.
    """

    def __init__(self, policy: Policy, transcript: Transcript) -> None:
        self._to_caller: TowardsCaller = Straight() if policy.audio_format == "pcmu" else ToCaller()
        self._transcript = transcript
        self._segment: Segment | None = None
        self._received_ms: dict[str, float] = {}
        self._held_back: dict[Part, list[ev.AudioReceived]] = {}
        self._whole: set[Part] = set()
        self.last_response = ""
        self.playout = Playout(
            lead_s=policy.lead_s, chunk_s=policy.mark_every_s, filter_delay_ms=self._to_caller.delay_ms
        )
        self.joined_at: float | None = None
        self.caller_stopped_at: float | None = None
        self.take: Take | None = None
        self.first_words: FirstWords | None = None
        self.unsaid = Unsaid()

    # --- sound ------------------------------------------------------------------------------------------------------

    def play(self, clip: Clip, now: float) -> list[do.Command]:
        """Say a greeting that is kept; the model need not be there."""
        segment = self.playout.open_segment("", ITEM, 0)
        turn = self._transcript.turn("assistant", ITEM)
        turn.generated, turn.start_ms = clip.text, 0
        self.first_words = FirstWords(clip)
        # It has been through the filter: its last sound comes as late as any other's.
        self.playout.queue(segment, clip.ulaw, max(0.0, clip.duration_ms - self._to_caller.delay_ms))
        self.playout.finish(segment)
        return [*self.playout.pump(now)]

    def say(self, event: ev.AudioReceived, now: float) -> list[do.Command]:
        """A delta of the model's voice: queue it, and send what is due."""
        return [*self._queue(event, now), *self.playout.pump(now)]

    def _queue(self, event: ev.AudioReceived, now: float) -> list[do.Command]:
        noted: list[do.Command] = []
        segment = self._segment
        if segment is None or segment.item_id != event.item_id or segment.content_index != event.content_index:
            if segment is not None and segment.response_id == event.response_id:
                self._held_back.setdefault((event.item_id, event.content_index), []).append(event)
                return []
            before = [] if segment is None else self.finish_response(segment.response_id, now)
            segment, noted = self._begin_segment(event, now)
            noted = [*before, *noted]
        ulaw = self._to_caller.process(event.audio)
        if self.take is not None:
            self.take.add(event.item_id, ulaw)
        self.playout.queue(segment, ulaw, len(event.audio) / self._to_caller.model_bytes_per_ms)
        return noted

    def _begin_segment(self, event: ev.AudioReceived, now: float) -> tuple[Segment, list[do.Command]]:
        self.last_response = event.response_id
        if event.audio:
            self.unsaid.say(event.item_id)
        segment = self.playout.open_segment(event.response_id, event.item_id, event.content_index)
        self._segment = segment
        turn = self._transcript.turn("assistant", event.item_id)
        if turn.start_ms is None and self.joined_at is not None:
            turn.start_ms = round((now - self.joined_at) * 1000)
        if self.caller_stopped_at is None:
            return segment, []
        latency, self.caller_stopped_at = now - self.caller_stopped_at, None
        turn.latency_ms = round(latency * 1000)
        return segment, [do.Observe("response_latency", latency)]

    def finish_part(self, event: ev.AudioFinished, now: float) -> list[do.Command]:
        part, segment = (event.item_id, event.content_index), self._segment
        if segment is None or (segment.item_id, segment.content_index) != part:
            if part in self._held_back:
                self._whole.add(part)
            return []
        self._close_segment()
        return [*self._go_on(now), *self.playout.pump(now), *self.settle(now)]

    def finish_response(self, response_id: str, now: float) -> list[do.Command]:
        """No more will come of it, whether or not the end of its sound was told."""
        if self._segment is None or self._segment.response_id != response_id:
            return []
        self._close_segment()
        return self._go_on(now, to_the_end=True)

    def _go_on(self, now: float, *, to_the_end: bool = False) -> list[do.Command]:
        """Say what was held back, item after item, up to one that may still grow."""
        noted: list[do.Command] = []
        while self._segment is None and self._held_back:
            part = next(iter(self._held_back))
            for event in self._held_back.pop(part):
                noted += self._queue(event, now)
            if to_the_end or part in self._whole:
                self._whole.discard(part)
                self._close_segment()
        return noted

    def _close_segment(self) -> None:
        """The answer's end: the filter's tail comes out, so that the last sound is not lost."""
        if self._segment is not None:
            tail = self._to_caller.flush()
            if self.take is not None:
                self.take.add(self._segment.item_id, tail)
            self.playout.queue(self._segment, tail, 0.0)
            self.playout.finish(self._segment)
            self._count_received(self._segment)
            self._segment = None

    def _count_received(self, segment: Segment) -> None:
        had = self._received_ms.get(segment.response_id, 0.0)
        self._received_ms[segment.response_id] = had + segment.received_ms

    def take_received_ms(self, response_id: str) -> float:
        """How much sound of a response came, at its end. Told once; what came before that is then forgotten."""
        received_ms = self._received_ms.pop(response_id, 0.0)
        self._received_ms.clear()  # at most one response is active: what is left belongs to none that will end
        return received_ms

    def begin_anew(self) -> None:
        """Another session speaks from now on. For a moment in which all was heard."""
        self.take = self.first_words = None
        self.unsaid = Unsaid()
        self._held_back.clear()
        self._whole.clear()

    # --- what was heard ---------------------------------------------------------------------------------------------

    def reach_mark(self, event: ev.MarkReached, now: float) -> list[do.Command]:
        error = self.playout.reach_mark(event.name, now)
        noted: list[do.Command] = [] if error is None else [do.Observe("heard_error", error)]
        return [*noted, *self.settle(now)]

    def settle(self, now: float) -> list[do.Command]:
        """Put on the record what was heard to its end."""
        return [self._tell(heard) for heard in self.playout.pop_heard(now)]

    def interrupt(self, now: float, response_id: str | None) -> list[do.Command]:
        """Fall silent at once. response_id: the response that was still being made, if any."""
        clear = [] if self.playout.held else [do.ClearPlayout()]
        whole, unheard = self._cut(now)
        if not unheard:
            return whole
        first = unheard[0]
        unheard_ms = sum(heard.total_ms - heard.heard_ms for heard in unheard)
        barged_in = entries.BargedIn(
            first.segment.item_id, first.heard_ms, unheard_ms, response_id or first.segment.response_id
        )
        return [
            *whole,
            *clear,
            *(
                do.TruncateItem(h.segment.item_id, h.segment.content_index, h.heard_ms)
                for h in unheard
                if h.segment.item_id != ITEM and h.total_ms  # a clip is no item of the model's, nor is silence
            ),
            do.WriteEntry(barged_in),
            *(self._tell(heard) for heard in unheard),
        ]

    def break_off(self, now: float) -> list[do.Command]:
        """The call is over: put on the record what was heard of all that is still on its way."""
        whole, unheard = self._cut(now)
        return [*whole, *(self._tell(heard) for heard in unheard)]

    def _cut(self, now: float) -> tuple[list[do.Command], list[Heard]]:
        """End the playout's generation: the record of what was heard whole, and what was not."""
        if self._segment is not None and self._held_back:
            self.finish_response(self._segment.response_id, now)  # so that all of it counts as unheard
        whole: list[do.Command] = []
        unheard: list[Heard] = []
        for heard in self.playout.cut(now):
            if heard.segment.finished and heard.heard_ms >= heard.total_ms:
                whole.append(self._tell(heard))
            else:
                unheard.append(heard)
        self._to_caller.reset()
        if self._segment is not None:
            self._count_received(self._segment)
        self._segment = None
        return whole, unheard

    def _tell(self, heard: Heard) -> do.Command:
        segment = heard.segment
        turn = self._transcript.hear_assistant(segment.item_id, heard.heard_ms, heard.total_ms, whole=segment.finished)
        if self.first_words is not None and segment.item_id == ITEM:
            self.first_words.hear(turn.text or "")
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
                turn.unsaid,
                turn.persona,
            )
        )
