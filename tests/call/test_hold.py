"""Holding our voice because it may have been interrupted, and going on when it was not."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import Line

from voice_gateway.audio.fade import FADE_SAMPLES
from voice_gateway.call.commands import CallerCommand, PlayAudio, SendMark
from voice_gateway.call.playout import Playout, Segment

SOUND = bytes(range(256)) * 300


class Talk:
    """A playout and the carrier it speaks to, which returns its receipts in time. `ear` is what went out, in order."""

    def __init__(self) -> None:
        self.playout = Playout(filter_delay_ms=0.0)
        self.line = Line()
        self.now = 0.0
        self.ear = b""
        self._receipts: deque[tuple[float, str]] = deque()

    def queue(self, ulaw: bytes, item: str = "item", *, finished: bool = True) -> Segment:
        segment = self.playout.open_segment("resp", item, 0)
        self.playout.queue(segment, ulaw, len(ulaw) / 8)
        if finished:
            self.playout.finish(segment)
        return segment

    def carry(self, commands: list[CallerCommand]) -> None:
        for command in commands:
            if isinstance(command, PlayAudio):
                self.ear += command.ulaw
                self.line.play(self.now, command.ulaw)
            elif isinstance(command, SendMark):
                self._receipts.append((self.line.mark(self.now, command.name), command.name))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        self.carry(self.playout.pump(self.now))
        while True:
            deadline = self.playout.deadline()
            receipt = self._receipts[0][0] if self._receipts else until
            if min(receipt, until if deadline is None else deadline) >= until:
                break
            self.now = min(receipt, receipt if deadline is None else deadline)
            if self.now == receipt:
                self.playout.reach_mark(self._receipts.popleft()[1], self.now)
            self.carry(self.playout.pump(self.now))
        self.now = until

    def hold(self) -> bool:
        """The ear keeps what the playout says that it has heard."""
        stopped_at = self.playout.heard(self.now)
        held = self.playout.hold(self.now)
        if held:
            self.ear = self.ear[:stopped_at]
            self._receipts.clear()
            self.line.clear(self.now)
        return held

    def resume(self) -> None:
        self.carry(self.playout.resume(self.now))


@pytest.fixture
def talk() -> Talk:
    """Three seconds of one item, one of them heard."""
    talk = Talk()
    talk.queue(SOUND[:24_000])
    talk.run(1.0)
    return talk


def test_the_voice_goes_on_from_the_very_sample_where_it_was_held(talk: Talk) -> None:
    assert talk.hold()
    stopped_at = len(talk.ear)
    assert 6000 < stopped_at < 8000
    talk.run(0.3)
    talk.resume()
    talk.run(5.0)
    assert len(talk.ear) == 24_000
    rest = talk.ear[stopped_at:]
    assert rest[FADE_SAMPLES:] == SOUND[stopped_at + FADE_SAMPLES : 24_000]
    assert rest[:FADE_SAMPLES] != SOUND[stopped_at : stopped_at + FADE_SAMPLES], "its first 5 ms rise softly"


def test_what_is_held_is_what_the_carrier_has_played(talk: Talk) -> None:
    truth, _ = replace(talk.line).clear(talk.now)
    talk.hold()
    assert abs(len(talk.ear) - truth) <= 8


def test_while_held_nothing_is_sent_and_more_may_be_queued() -> None:
    talk = Talk()
    segment = talk.queue(SOUND[:8000], finished=False)
    talk.run(0.5)
    talk.hold()
    stopped_at = len(talk.ear)
    talk.playout.queue(segment, SOUND[8000:16_000], 1000.0)
    assert talk.playout.held
    assert talk.playout.deadline() is None
    assert talk.playout.pump(2.0) == []
    assert talk.playout.is_audible(9.0), "what the ear has not heard is still to come"
    assert talk.playout.heard(9.0) == stopped_at
    talk.run(8.0)
    talk.resume()
    talk.run(5.0)
    assert talk.ear[stopped_at + FADE_SAMPLES :] == SOUND[stopped_at + FADE_SAMPLES : 16_000]


def test_nothing_is_held_when_nothing_is_audible(talk: Talk) -> None:
    assert not Playout().hold(1.0)
    talk.run(5.0)
    assert not talk.hold()
    assert talk.playout.resume(talk.now) == []


def test_a_voice_that_is_held_already_needs_no_second_clear(talk: Talk) -> None:
    assert talk.playout.hold(talk.now)
    assert not talk.playout.hold(talk.now + 0.1)


def test_a_cut_of_a_held_voice_tells_what_was_heard_at_the_hold(talk: Talk) -> None:
    talk.hold()
    talk.run(0.7)
    (cut,) = talk.playout.cut(talk.now)
    assert (cut.heard_ms, cut.total_ms) == (len(talk.ear) // 8, 3000)
    assert not talk.playout.held
    assert not any(isinstance(command, PlayAudio) for command in talk.playout.resume(2.0))
    assert not talk.playout.is_audible(2.0)


def test_a_cut_after_a_hold_counts_on_from_it(talk: Talk) -> None:
    talk.hold()
    before_ms = len(talk.ear) / 8
    talk.run(0.5)
    talk.resume()
    talk.run(1.0)
    (cut,) = talk.playout.cut(talk.now)
    played, _ = talk.line.clear(talk.now)
    assert abs(cut.heard_ms - (before_ms + played / 8)) <= 2


def test_an_item_heard_whole_before_the_hold_is_told_as_heard() -> None:
    talk = Talk()
    talk.queue(SOUND[:2400], "item_1")
    talk.queue(SOUND[:8000], "item_2")
    talk.run(0.45)
    talk.hold()
    (whole,) = talk.playout.pop_heard(talk.now)
    assert (whole.segment.item_id, whole.heard_ms) == ("item_1", 300)
    (cut,) = talk.playout.cut(1.2)
    assert cut.segment.item_id == "item_2"
    assert 0 < cut.heard_ms < 200


def test_a_mark_of_before_the_hold_says_nothing(talk: Talk) -> None:
    old = [name for _, name in talk._receipts]
    assert old
    talk.hold()
    assert all(talk.playout.reach_mark(name, 1.1) is None for name in old)
    talk.playout.resume(1.2)
    assert all(talk.playout.reach_mark(name, 1.21) is None for name in old)
    assert talk.playout.heard(1.21) == len(talk.ear)


def test_sound_kept_for_a_hold_does_not_pile_up_without_receipts() -> None:
    playout = Playout()
    segment = playout.open_segment("resp", "item", 0)
    for step in range(600):
        playout.queue(segment, SOUND[:800], 100.0)
        playout.pump(step / 10)
    assert playout.queued - playout._tape.start <= 6 * 8000


@given(
    sizes=st.lists(st.integers(100, 12_000), min_size=1, max_size=6),
    holds=st.lists(st.tuples(st.floats(0.05, 1.5), st.floats(0.0, 2.0)), max_size=6),
)
def test_over_any_holds_every_sample_is_heard_once_and_in_order(
    sizes: list[int], holds: list[tuple[float, float]]
) -> None:
    talk, start, softened = Talk(), 0, set[int]()
    for number, size in enumerate(sizes):
        talk.queue(SOUND[start : start + size], f"item_{number}")
        start += size
    told = []
    for speaks_s, held_s in holds:
        talk.run(speaks_s)
        if talk.hold():
            softened |= set(range(len(talk.ear), len(talk.ear) + FADE_SAMPLES))
        told += talk.playout.pop_heard(talk.now)
        talk.run(held_s)
        talk.resume()
    talk.run(12.0)
    assert len(talk.ear) == start
    assert all(talk.ear[at] == SOUND[at] for at in range(start) if at not in softened)
    told += talk.playout.pop_heard(talk.now)
    assert [heard.segment.item_id for heard in told] == [f"item_{number}" for number in range(len(sizes))]
    assert all(heard.heard_ms == heard.total_ms for heard in told)
