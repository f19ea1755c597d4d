"""Segments: which sound of the playout belongs to which content part of which item, and how much of each was heard.

Positions are bytes of µ-law at 8 kHz, 8 a millisecond; milliseconds are those of the model's audio, before the filter.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

ULAW_BYTES_PER_MS = 8


@dataclass(slots=True)
class Segment:
    """The sound of one content part of one item, from its first byte since the last cut.

    start: position of its first byte. length: bytes queued so far. received_ms: model audio received, before the
    filter. finished: no more will come. before_ms: what an earlier segment of the same part had received, when more of
    it came although it seemed finished.
    """

    response_id: str
    item_id: str
    content_index: int
    start: int
    length: int = 0
    received_ms: float = 0.0
    finished: bool = False
    before_ms: float = 0.0

    @property
    def end(self) -> int:
        return self.start + self.length

    def is_of(self, item_id: str, content_index: int) -> bool:
        return self.item_id == item_id and self.content_index == content_index


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of a content part reached the ear, in milliseconds of the model's audio. segment: its last one."""

    segment: Segment
    heard_ms: int

    @property
    def total_ms(self) -> int:
        return int(self.segment.before_ms + self.segment.received_ms)


class Segments:
    """Those not yet told as heard, in the order of their sound."""

    def __init__(self, filter_delay_ms: float) -> None:
        """filter_delay_ms: how much later the sound comes out of the transcoder than it went in."""
        self._filter_delay_ms = filter_delay_ms
        self._untold: deque[Segment] = deque()
        self._told: deque[Segment] = deque(maxlen=4)

    def __bool__(self) -> bool:
        return bool(self._untold)

    @property
    def first(self) -> Segment | None:
        """The oldest one."""
        return self._untold[0] if self._untold else None

    @property
    def unfinished(self) -> bool:
        """True while one may still grow."""
        return any(not segment.finished for segment in self._untold)

    def open(self, response_id: str, item_id: str, content_index: int, start: int) -> Segment:
        """Begin the sound of a content part at a position, or go on with one that seemed finished."""
        earlier = [s for s in (*self._told, *self._untold) if s.is_of(item_id, content_index)]
        before_ms = earlier[-1].before_ms + earlier[-1].received_ms if earlier else 0.0
        segment = Segment(response_id, item_id, content_index, start, before_ms=before_ms)
        self._untold.append(segment)
        return segment

    def end_at(self, position: int) -> int | None:
        """Where the segment ends that the byte at this position belongs to."""
        return next((s.end for s in self._untold if s.start <= position < s.end), None)

    def pop_heard(self, receipted: int) -> list[Heard]:
        """Parts of which every byte was heard, oldest first; each is told once, and again if more of it comes later."""
        done: list[Heard] = []
        while self._untold and self._untold[0].finished and self._untold[0].end <= receipted:
            segment = self._untold.popleft()
            if not self._goes_on(segment):
                self._told.append(segment)
                done.append(Heard(segment, int(segment.before_ms + segment.received_ms)))
        return done

    def cut(self, position: int) -> list[Heard]:
        """End them all, heard up to this position. Each part is told once, with its last segment."""
        cut = [Heard(s, self._heard_ms(s, position)) for s in self._untold if not self._goes_on(s)]
        self._untold.clear()
        self._told.clear()
        return cut

    def _goes_on(self, segment: Segment) -> bool:
        """True when a later segment holds more of the same part: the part is told with that one."""
        part = self._part_of(segment)
        return bool(part) and part[-1] is not segment

    def _heard_ms(self, last: Segment, position: int) -> int:
        """What was heard of a part whose last segment this is."""
        part = self._part_of(last)
        return int(part[0].before_ms + sum(self._played_ms(segment, position) for segment in part))

    def _part_of(self, segment: Segment) -> list[Segment]:
        return [s for s in self._untold if s.is_of(segment.item_id, segment.content_index)]

    def _played_ms(self, segment: Segment, position: int) -> float:
        played = min(max(0, position - segment.start), segment.length)
        return min(max(0.0, played / ULAW_BYTES_PER_MS - self._filter_delay_ms), segment.received_ms)
