"""Holes in the caller's sound, and the silence that fills them. Time is an argument, so nothing waits here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.call.gaps import FRAME_SAMPLES, MAX_FILL_SAMPLES, GapFiller

FRAME = bytes(range(160))
SILENCE = b"\xff"


def ms(sound: bytes) -> int:
    """How long a piece of sound is. Every length in these tests is a whole number of milliseconds."""
    whole, rest = divmod(len(sound), 8)
    assert rest == 0
    return whole


def steady(filler: GapFiller, frames: int, start_ms: int = 0) -> float:
    """Let frames come as they should, each told at the end of its 20 ms. Returns the time of the last."""
    now = 0.0
    for timestamp_ms in range(start_ms, start_ms + frames * 20, 20):
        now = (timestamp_ms + 20) / 1000
        assert filler.frame(FRAME, timestamp_ms, now) is FRAME
    return now


def test_a_steady_stream_passes_untouched() -> None:
    filler = GapFiller()
    steady(filler, 500)
    assert filler.padded_ms == 0


def test_the_first_timestamp_is_where_the_clock_begins() -> None:
    filler = GapFiller()
    assert filler.frame(FRAME, 7_040, 0.0) is FRAME
    assert filler.frame(FRAME, 7_060, 0.02) is FRAME


def test_a_jump_is_filled_with_silence_before_the_frame() -> None:
    filler = GapFiller()
    steady(filler, 10)
    written = filler.frame(FRAME, 200 + 300, 0.52)
    assert written == SILENCE * (300 * 8) + FRAME
    assert filler.padded_ms == 300


@pytest.mark.parametrize("late_ms", [1, 5, 20, -1, -20])
def test_jitter_of_up_to_a_frame_makes_no_silence(late_ms: int) -> None:
    filler = GapFiller()
    steady(filler, 10)
    assert filler.frame(FRAME, 200 + late_ms, 0.22) is FRAME
    assert filler.frame(FRAME, 220, 0.24) is FRAME
    assert filler.padded_ms == 0


def test_small_holes_are_not_forgotten() -> None:
    filler = GapFiller()
    steady(filler, 10)
    assert filler.frame(FRAME, 220, 0.24) is FRAME  # one frame was lost: it may still be jitter
    assert ms(filler.frame(FRAME, 260, 0.28)) == 40 + 20  # and another: now both are made up for


def test_frames_that_come_in_bursts_are_told_apart_by_their_timestamps() -> None:
    filler = GapFiller()
    steady(filler, 10)
    for timestamp_ms in range(200, 700, 20):
        assert filler.frame(FRAME, timestamp_ms, 0.7) is FRAME
    assert filler.padded_ms == 0


def test_one_hole_is_filled_with_ten_seconds_at_most() -> None:
    filler = GapFiller()
    steady(filler, 10)
    assert ms(filler.frame(FRAME, 60_200, 60.22)) == 10_000 + 20
    assert filler.frame(FRAME, 60_220, 60.24) is FRAME


def test_a_timestamp_that_goes_back_is_survived() -> None:
    filler = GapFiller()
    steady(filler, 10)
    assert filler.frame(FRAME, 40, 0.22) is FRAME
    assert filler.frame(FRAME, 220, 0.24) is FRAME
    assert filler.padded_ms == 0


def test_a_clock_that_starts_anew_is_followed() -> None:
    filler = GapFiller()
    steady(filler, 10, start_ms=100_000)
    assert filler.frame(FRAME, 0, 100.22) is FRAME
    assert ms(filler.frame(FRAME, 320, 100.54)) == 300 + 20


def test_nothing_is_owed_before_the_first_frame() -> None:
    filler = GapFiller()
    assert filler.deadline() is None
    assert filler.due(1000.0) == b""


def test_when_frames_stop_silence_keeps_the_model_s_clock_going() -> None:
    filler = GapFiller()
    now = steady(filler, 10)
    assert filler.deadline() == pytest.approx(now + 0.75)
    assert filler.due(now + 0.74) == b""
    assert filler.due(now + 0.75) == SILENCE * 6_000
    assert filler.deadline() == pytest.approx(now + 1.0)
    assert filler.due(now + 0.99) == b""
    assert ms(filler.due(now + 1.02)) == 270  # woken late, and the time is right all the same
    assert filler.padded_ms == 1_020


def test_a_stall_is_filled_for_ten_seconds_and_then_left_alone() -> None:
    filler = GapFiller()
    now = steady(filler, 10)
    filled = 0
    for _ in range(100):
        deadline = filler.deadline()
        if deadline is None:
            break
        filled += ms(filler.due(deadline + 0.003))
    assert filled == 10_000
    assert filler.deadline() is None  # nobody is woken for nothing
    assert filler.due(now + 3600) == b""
    assert ms(filler.frame(FRAME, 60_200, 60.22)) == 20  # the hole has had its ten seconds


def test_what_a_stall_has_filled_is_not_filled_again_when_the_sound_was_lost() -> None:
    filler = GapFiller()
    now = steady(filler, 10)
    assert ms(filler.due(now + 0.75)) == 750
    assert ms(filler.frame(FRAME, 200 + 1_000, now + 1.02)) == 250 + 20
    assert filler.padded_ms == 1_000


def test_sound_that_was_only_late_all_comes_after_the_silence() -> None:
    filler = GapFiller()
    now = steady(filler, 10)
    assert ms(filler.due(now + 0.80)) == 800
    for timestamp_ms in range(200, 1_020, 20):
        assert filler.frame(FRAME, timestamp_ms, now + 0.82) is FRAME
    # The silence has put the written clock 800 ms ahead; a later hole of a second needs only the rest.
    assert ms(filler.frame(FRAME, 1_020 + 1_000, now + 2.0)) == 200 + 20


def test_a_second_stall_gets_its_silence_too() -> None:
    filler = GapFiller()
    now = steady(filler, 10)
    assert ms(filler.due(now + 1.0)) == 1_000
    assert filler.frame(FRAME, 200, now + 1.02) is FRAME
    assert filler.deadline() == pytest.approx(now + 1.77)
    assert ms(filler.due(now + 1.77)) == 750


def test_wild_timestamps_cannot_make_more_silence_than_time_and_ten_seconds() -> None:
    filler = GapFiller()
    padded = 0
    for count in range(500):
        padded += len(filler.frame(FRAME, count * 10_000, count * 0.02)) - len(FRAME)
    assert padded <= MAX_FILL_SAMPLES + 500 * FRAME_SAMPLES
    assert padded == filler.padded_ms * 8


@given(
    lost=st.lists(st.booleans(), min_size=1, max_size=300),
    jitter_ms=st.lists(st.integers(-4, 4), min_size=300, max_size=300),
    start_ms=st.integers(0, 10**9),
)
def test_however_frames_are_lost_the_written_time_stays_within_a_frame_of_the_media_clock(
    lost: list[bool], jitter_ms: list[int], start_ms: int
) -> None:
    """At most 6 s of loss, so no limit is reached. 24 ms: a frame, and what the timestamps themselves are off."""
    filler = GapFiller()
    filler.frame(FRAME, start_ms, 0.0)
    written_ms = 20
    for count, (is_lost, off_ms) in enumerate(zip(lost, jitter_ms, strict=False), start=1):
        if is_lost:
            continue
        media_ms = count * 20
        written = filler.frame(FRAME, start_ms + media_ms + off_ms, media_ms / 1000)
        written_ms += ms(written)
        assert written.endswith(FRAME)
        assert abs(written_ms - (media_ms + 20)) <= 24
    assert filler.padded_ms == written_ms - 20 * (1 + sum(not gone for gone in lost))


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("frame"), st.integers(0, 40), st.integers(0, 30)),
            st.tuples(st.just("lose"), st.integers(1, 400), st.just(0)),
            st.tuples(st.just("wait"), st.integers(1, 3_000), st.just(0)),
        ),
        max_size=80,
    )
)
def test_through_stalls_and_losses_the_voice_is_whole_and_the_silence_bounded(
    steps: list[tuple[str, int, int]],
) -> None:
    """frame: one comes after a wait; lose: the carrier's clock runs on; wait: nothing comes and deadlines are kept."""
    filler = GapFiller()
    now, media_ms, received = 0.0, 0, 0
    out = bytearray()
    for kind, amount, delay_ms in steps:
        if kind == "frame":
            now += delay_ms / 1000
            out += filler.frame(FRAME, media_ms, now)
            media_ms += 20
            received += 1
        elif kind == "lose":
            media_ms += amount
        else:
            until = now + amount / 1000
            while (deadline := filler.deadline()) is not None and deadline <= until:
                silence = filler.due(deadline)
                assert silence  # a deadline that is kept is always worth it: no busy loop
                out += silence
            now = until
    assert bytes(out).replace(SILENCE, b"") == FRAME.replace(SILENCE, b"") * received
    assert len(out) - received * len(FRAME) <= now * 8_000 + MAX_FILL_SAMPLES
    assert (len(out) - received * len(FRAME)) // 8 == filler.padded_ms


@given(
    frames=st.lists(
        st.tuples(st.binary(max_size=400), st.integers(0, 10**15), st.floats(0, 1e6, allow_nan=False), st.booleans()),
        max_size=30,
    )
)
def test_no_order_of_times_breaks_it(frames: list[tuple[bytes, int, float, bool]]) -> None:
    filler = GapFiller()
    for ulaw, timestamp_ms, now, ask in frames:
        written = filler.frame(ulaw, timestamp_ms, now)
        assert written.endswith(ulaw)
        assert len(written) <= MAX_FILL_SAMPLES + len(ulaw)
        if ask:
            assert len(filler.due(now + 1.0)) == 8_000
