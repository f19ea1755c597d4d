"""The playout queue and its ledger: all arithmetic, no clock."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.emulator.phone_line import BYTES_PER_S, PlayoutLine, heard_at, is_audible, render
from voice_gateway.emulator.weather import CALM, Weather

TONE = b"\x20"


def second(seconds: float) -> bytes:
    return TONE * round(seconds * BYTES_PER_S)


def names(echoes):
    return [echo.name for echo in echoes]


def test_audio_is_played_in_real_time_however_fast_it_was_sent():
    line = PlayoutLine(CALM)
    for _ in range(10):
        line.receive(5.0, second(0.1))
    assert [round(segment.start_s, 6) for segment in line.played(100.0)] == [5.0 + i / 10 for i in range(10)]
    assert sum(segment.length for segment in line.played(5.25)) == 2000
    assert line.empty_s == pytest.approx(6.0)


def test_delay_jitter_buffer_and_late_start_add_up_before_the_first_byte():
    line = PlayoutLine(Weather(one_way_s=0.05, jitter_buffer_s=0.06, start_late_s=0.3))
    line.receive(1.0, second(0.1))
    line.receive(1.5, second(0.1))  # after its forerunner ended: the buffer fills anew
    assert [segment.start_s for segment in line.played(9.0)] == pytest.approx([1.41, 1.91])


def test_a_packet_that_comes_while_the_buffer_still_plays_leaves_no_hole():
    line = PlayoutLine(Weather(one_way_s=0.0, jitter_buffer_s=0.06))
    for k in range(5):
        line.receive(1.0 + k * 0.02 + (0.05 if k == 3 else 0.0), second(0.02))
    starts = [segment.start_s for segment in line.played(9.0)]
    assert starts == pytest.approx([1.06, 1.08, 1.10, 1.12, 1.14])


def test_a_mark_comes_back_when_the_playout_reaches_it_plus_the_way_back():
    line = PlayoutLine(Weather(one_way_s=0.05, jitter_buffer_s=0.06))
    line.receive(0.0, second(1.0))
    line.mark(0.0, "end")
    assert line.deadline() == pytest.approx(1.16)
    assert line.due(1.159) == []
    echo = line.due(1.161)[0]
    assert (echo.name, echo.cleared) == ("end", False)
    assert echo.reached_s == pytest.approx(1.11)
    assert line.deadline() is None


def test_a_mark_on_an_empty_queue_comes_back_at_once():
    line = PlayoutLine(CALM)
    line.mark(3.0, "first")
    assert names(line.due(3.0)) == ["first"]


def test_clear_drops_what_was_not_played_and_returns_all_marks_in_order():
    line = PlayoutLine(CALM)
    for k in range(4):
        line.receive(0.0, second(0.5))
        line.mark(0.0, f"m{k}")
    assert names(line.due(0.6)) == ["m0"]
    assert line.clear(0.7) == 2.0 * BYTES_PER_S - 5600
    echoes = line.due(0.7)
    assert names(echoes) == ["m1", "m2", "m3"]
    assert all(echo.cleared and echo.reached_s == pytest.approx(0.7) for echo in echoes)
    assert sum(segment.length for segment in line.played(9.0)) == 5600
    line.receive(1.0, second(0.1))
    assert line.played(9.0)[-1].start_s == 1.0


def test_a_clear_on_its_way_does_not_stop_what_is_played_meanwhile():
    line = PlayoutLine(Weather(one_way_s=0.1, jitter_buffer_s=0.0))
    line.receive(0.0, second(1.0))
    line.clear(0.5)  # arrives at 0.6, when half a second was played
    assert sum(segment.length for segment in line.played(9.0)) == pytest.approx(4000, abs=1)


def test_what_goes_beyond_ten_minutes_is_dropped_and_the_rest_is_kept():
    line = PlayoutLine(CALM)
    assert line.receive(0.0, second(599.0)) == 0
    assert line.receive(0.0, second(2.0)) == BYTES_PER_S
    assert line.receive(0.0, second(1.0)) == BYTES_PER_S
    assert line.receive(10.0, second(1.0)) == 0
    assert line.empty_s == pytest.approx(601.0)


def test_the_end_of_the_stream_silences_the_line_and_forgets_the_marks():
    line = PlayoutLine(CALM)
    line.receive(0.0, second(1.0))
    line.mark(0.0, "never")
    line.end(0.25)
    line.end(0.9)
    assert sum(segment.length for segment in line.played(9.0)) == 2000
    assert line.deadline() is None


def test_the_rendered_line_has_silence_where_nothing_was_played():
    line = PlayoutLine(CALM)
    line.receive(0.010, b"\x01" * 8)
    line.receive(0.020, b"\x02" * 8)
    whole = render(line.played(1.0), 0.0, 0.03)
    assert whole == b"\xff" * 80 + b"\x01" * 8 + b"\xff" * 72 + b"\x02" * 8 + b"\xff" * 72
    assert render(line.played(1.0), 0.0105, 0.0205) == whole[84:164]
    assert render(line.played(1.0), 0.5, 0.4) == b""


def test_without_audio_the_ledger_still_knows_the_times():
    line = PlayoutLine(CALM, keep_audio=False)
    line.receive(0.0, second(1.0))
    line.clear(0.5)
    (segment,) = line.played(9.0)
    assert (segment.length, segment.ulaw, segment.audible) == (4000, b"", True)


@pytest.mark.parametrize(("ulaw", "heard"), [(b"\xff" * 80, False), (b"\x7f\xf5\x75" * 9, False), (b"\xff\x20", True)])
def test_only_sound_above_the_floor_counts_as_audible(ulaw, heard):
    assert is_audible(ulaw) is heard


packets = st.lists(
    st.tuples(st.floats(0, 0.3), st.sampled_from(["media", "mark", "clear"]), st.integers(0, 4000)), max_size=40
)


@given(packets=packets, jitter_s=st.sampled_from([0.0, 0.08]), seed=st.integers(0, 9))
def test_whatever_is_sent_nothing_overlaps_and_every_mark_returns_once_in_order(packets, jitter_s, seed):
    line = PlayoutLine(Weather(one_way_s=0.03, jitter_s=jitter_s, seed=seed))
    now, sent, back, asked, dropped = 0.0, [], [], 0, 0
    for k, (pause_s, kind, size) in enumerate(packets):
        now += pause_s
        back += line.due(now)
        if kind == "media":
            line.receive(now, TONE * size)
            asked += size
        elif kind == "mark":
            line.mark(now, str(k))
            sent.append(str(k))
        else:
            dropped += line.clear(now)
    back += line.due(now + 1000)
    played = line.played(now + 1000)
    assert names(back) == sent
    assert [echo.reached_s for echo in back] == sorted(echo.reached_s for echo in back)
    assert all(a.end_s <= b.start_s + 1e-9 for a, b in pairwise(played))
    assert sum(segment.length for segment in played) == asked - dropped


@given(
    st.floats(0.0, 1e6),
    st.lists(st.integers(1, 800), min_size=1, max_size=12),
    st.lists(st.floats(0.0, 0.3), min_size=12, max_size=12),
)
def test_all_that_was_queued_can_be_waited_for_to_the_sample_and_not_one_more(clock_s, lengths, gaps):
    line = PlayoutLine(Weather(one_way_s=0.01, jitter_buffer_s=0.06))
    now = clock_s
    for length, gap_s in zip(lengths, gaps, strict=False):
        line.receive(now, TONE * length)
        now += gap_s
    whole = sum(lengths)
    at_s = heard_at(line.schedule, clock_s, whole / BYTES_PER_S)
    assert at_s == pytest.approx(line.empty_s, abs=1 / BYTES_PER_S)
    assert heard_at(line.schedule, clock_s, (whole + 1) / BYTES_PER_S) is None


def test_sound_is_counted_from_when_it_was_asked_for_and_silence_in_front_is_not():
    line = PlayoutLine(CALM)
    line.receive(5.0, b"\xff" * 800)
    line.receive(5.0, second(1.0))
    assert heard_at(line.schedule, 5.0, 0.5) == pytest.approx(5.6)
    assert heard_at(line.schedule, 5.5, 0.5) == pytest.approx(6.0)
    assert heard_at(line.schedule, 5.8, 0.5) is None
