from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.call.commands import PlayAudio, SendMark
from voice_gateway.call.playout import Playout


def spoken(commands: list[object]) -> int:
    return sum(len(command.ulaw) for command in commands if isinstance(command, PlayAudio))


def test_sound_goes_out_at_most_a_lead_ahead_of_the_ear() -> None:
    playout = Playout(lead_s=0.4, chunk_s=0.2)
    segment = playout.open_segment("resp", "item", 0)
    playout.queue(segment, b"\x10" * 80_000, 10_000.0)
    assert spoken(playout.pump(10.0)) == 3 * 160 + 1600, "three frames for early marks, then whole messages only"
    assert playout.deadline() == 10.0 + (3 * 160 + 2 * 1600 - 3200) / 8000
    assert spoken(playout.pump(10.06)) == 1600


def test_a_message_longer_than_the_lead_is_cut_to_fit_into_it() -> None:
    playout = Playout(lead_s=0.4, chunk_s=5.0)
    segment = playout.open_segment("resp", "item", 0)
    playout.queue(segment, b"\x10" * 24_000, 3000.0)
    commands, now = playout.pump(0.0), 0.0
    while (deadline := playout.deadline()) is not None:
        assert deadline > now
        commands += playout.pump(now := deadline)
    assert spoken(commands) == 24_000
    assert now <= 2.7, "and in time: the ear never waits"


def test_a_late_wake_up_is_caught_up_and_not_added() -> None:
    playout = Playout(lead_s=0.4, chunk_s=0.2)
    segment = playout.open_segment("resp", "item", 0)
    playout.queue(segment, b"\x10" * 80_000, 10_000.0)
    sent = spoken(playout.pump(0.0)) + spoken(playout.pump(0.3)) + spoken(playout.pump(0.4))
    assert sent == 3 * 160 + 3 * 1600
    assert playout.deadline() == (3 * 160 + 4 * 1600 - 3200) / 8000


def test_every_item_ends_with_a_mark_of_its_own() -> None:
    playout = Playout(lead_s=5.0, chunk_s=0.2)
    for item in ("item_1", "item_2"):
        segment = playout.open_segment("resp", item, 0)
        playout.queue(segment, b"\x10" * 1000, 125.0)
        playout.finish(segment)
    shapes = [len(c.ulaw) if isinstance(c, PlayAudio) else "mark" for c in playout.pump(0.0)]
    assert shapes == ["mark", 160, "mark", 160, "mark", 160, "mark", 520, "mark", 1000, "mark"]


def test_a_mark_of_an_older_generation_is_ignored() -> None:
    playout = Playout()
    segment = playout.open_segment("resp", "item", 0)
    playout.queue(segment, b"\x10" * 8000, 1000.0)
    old = [command for command in playout.pump(0.0) if isinstance(command, SendMark)]
    playout.cut(0.1)
    assert all(playout.reach_mark(mark.name, 0.2) is None for mark in old)
    assert playout.heard(0.3) == 0


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=30), st.data())
def test_every_byte_goes_out_once_and_in_order(sizes: list[int], data: st.DataObject) -> None:
    playout = Playout(lead_s=0.3, chunk_s=0.2)
    segment = playout.open_segment("resp", "item", 0)
    now, queued, out = 0.0, b"", b""
    for number, size in enumerate(sizes):
        piece = bytes([number % 256]) * size
        queued += piece
        playout.queue(segment, piece, size / 8)
        out += b"".join(c.ulaw for c in playout.pump(now) if isinstance(c, PlayAudio))
        now += data.draw(st.floats(0.0, 0.5))
    while (deadline := playout.deadline()) is not None:
        now = max(now, deadline)
        out += b"".join(c.ulaw for c in playout.pump(now) if isinstance(c, PlayAudio))
    assert out == queued


@given(st.floats(0, 20), st.integers(0, 40_000))
def test_heard_is_never_more_than_sent_and_never_less_than_nothing(at: float, size: int) -> None:
    playout = Playout()
    segment = playout.open_segment("resp", "item", 0)
    playout.queue(segment, b"\x10" * size, size / 8)
    sent = spoken(playout.pump(0.0))
    assert 0 <= playout.heard(at) <= sent
    for heard in playout.cut(at):
        assert 0 <= heard.heard_ms <= heard.total_ms


def test_more_of_an_item_that_seemed_finished_goes_to_its_account() -> None:
    playout = Playout(filter_delay_ms=0.0)
    for item, ms in (("item_1", 100), ("item_2", 200), ("item_1", 300)):
        segment = playout.open_segment("resp", item, 0)
        playout.queue(segment, b"\x10" * (8 * ms), float(ms))
        playout.finish(segment)
    told = {heard.segment.item_id: (heard.heard_ms, heard.total_ms) for heard in playout.cut(0.0)}
    assert told == {"item_1": (0, 400), "item_2": (0, 200)}, "each item once"


def test_what_was_told_of_an_item_counts_when_more_of_it_comes() -> None:
    playout = Playout(filter_delay_ms=0.0)
    segment = playout.open_segment("resp", "item", 0)
    playout.queue(segment, b"\x10" * 800, 100.0)
    playout.finish(segment)
    for mark in [command for command in playout.pump(0.0) if isinstance(command, SendMark)]:
        playout.reach_mark(mark.name, 0.3)
    (whole,) = playout.pop_heard(0.3)
    late = playout.open_segment("resp", "item", 0)
    playout.queue(late, b"\x10" * 1600, 200.0)
    (cut,) = playout.cut(0.3)
    assert (whole.heard_ms, whole.total_ms) == (100, 100)
    assert (cut.heard_ms, cut.total_ms) == (100, 300)


def test_an_item_is_told_when_its_last_sound_was_heard_and_not_before() -> None:
    playout = Playout(lead_s=5.0, filter_delay_ms=0.0)
    for ms in (100, 300):
        segment = playout.open_segment("resp", "item", 0)
        playout.queue(segment, b"\x10" * (8 * ms), float(ms))
        playout.finish(segment)
    told, marks = [], [command.name for command in playout.pump(0.0) if isinstance(command, SendMark)]
    for number, mark in enumerate(marks):
        playout.reach_mark(mark, 0.2 + number / 10)
        told.append([(heard.heard_ms, heard.total_ms) for heard in playout.pop_heard(0.2 + number / 10)])
    assert told == [[]] * (len(marks) - 1) + [[(400, 400)]]


def test_marks_carry_a_generation_that_grows_with_each_clear() -> None:
    playout = Playout()
    seen = []
    for _ in range(3):
        segment = playout.open_segment("resp", "item", 0)
        playout.queue(segment, b"\x10" * 800, 100.0)
        seen.append({command.name.split(":")[0] for command in playout.pump(0.0) if isinstance(command, SendMark)})
        playout.cut(0.0)
    assert seen == [{"g0"}, {"g1"}, {"g2"}]


def test_the_line_is_measured_while_nobody_speaks_and_not_any_more_when_somebody_does() -> None:
    playout = Playout()
    commands, now = playout.prime(0.0), 0.0
    while (deadline := playout.deadline()) is not None:
        commands += playout.pump(now := deadline)
    assert now < 0.2
    assert [type(command) for command in commands] == [SendMark] * 7 + [PlayAudio, SendMark] * 3
    assert spoken(commands) == 3 * 160
    assert not playout.is_audible(now), "silence is no voice"
    assert not playout.hold(now)
    spoken_to = Playout()
    spoken_to.prime(0.0)
    segment = spoken_to.open_segment("resp", "item", 0)
    spoken_to.queue(segment, b"\x10" * 160, 20.0)
    assert [c.ulaw for c in spoken_to.pump(0.01) if isinstance(c, PlayAudio)] == [b"\x10" * 160]
    assert spoken_to.deadline() is None
