"""The transcoders of a call: lengths, answers and their ends, barge-in, and what is left of a tone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.audio import g711, transcode
from voice_gateway.audio.resample import Downsampler
from voice_gateway.audio.transcode import FRAME_BYTES, Straight, ToCaller, ToModel, TowardsCaller, TowardsModel

if TYPE_CHECKING:
    from conftest import Bench

FRAME_OF_MODEL = 960


def random_bytes(count: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def in_pieces(transcoder: TowardsModel | TowardsCaller, data: bytes, sizes: list[int]) -> bytes:
    """Feed the bytes in pieces of these sizes, then what is left."""
    out = []
    for size in sizes:
        out.append(transcoder.process(data[:size]))
        data = data[size:]
    return b"".join([*out, transcoder.process(data)])


def answer(lab: Bench, tone_hz: float, seconds: float, amplitude: float = 12_000) -> bytes:
    return lab.sine(tone_hz, 24_000, amplitude, seconds).tobytes()


# --- lengths and chunks -----------------------------------------------------------------------------------------


def test_a_thousand_frames_each_come_out_whole() -> None:
    up, down = ToModel(), ToCaller()
    assert {len(up(random_bytes(160, seed))) for seed in range(1000)} == {960}
    assert {len(down(random_bytes(960, seed))) for seed in range(1000)} == {160}


@settings(max_examples=60)
@given(st.lists(st.integers(0, 999), max_size=12), st.integers(0, 2**32 - 1))
def test_any_chunking_of_an_answer_gives_the_same_bytes(sizes: list[int], seed: int) -> None:
    pcm = random_bytes(7001, seed)
    whole, pieces = ToCaller(), ToCaller()
    assert in_pieces(pieces, pcm, sizes) + pieces.flush() == whole.process(pcm) + whole.flush()


@settings(max_examples=60)
@given(st.lists(st.integers(0, 999), max_size=12), st.integers(0, 2**32 - 1))
def test_any_chunking_of_the_caller_gives_the_same_bytes(sizes: list[int], seed: int) -> None:
    ulaw = random_bytes(4001, seed)
    assert in_pieces(ToModel(), ulaw, sizes) == ToModel().process(ulaw)


def test_half_a_sample_waits_for_its_other_half() -> None:
    pcm = random_bytes(2 * 480)
    down = ToCaller()
    assert down.process(pcm[:1]) == b""
    assert down.process(pcm[1:]) == ToCaller().process(pcm)


def test_empty_pieces_are_fine() -> None:
    up, down = ToModel(), ToCaller()
    assert (up.process(b""), down.process(b""), down.flush()) == (b"", b"", b"")
    assert len(up.process(bytes(160))) == 960


def test_samples_are_little_endian() -> None:
    loud = ToModel().process(g711.encode(np.full(400, 1000, np.int16)))
    level = int(g711.decode(g711.encode(np.array([1000], np.int16)))[0])
    assert loud[-2:] == level.to_bytes(2, "little", signed=True)


def test_encoding_by_table_is_the_same_as_limiting_and_rounding_first() -> None:
    pcm = random_bytes(24_000)
    samples = Downsampler().process(np.frombuffer(pcm, "<i2"))
    assert ToCaller().process(pcm) == g711.encode(samples)


def test_the_loudest_overshoot_a_model_could_send_is_survived() -> None:
    alternating = np.where(np.random.default_rng(3).integers(0, 2, 48_000), 32_767, -32_768).astype("<i2")
    assert len(ToCaller().process(alternating.tobytes())) == 16_000


# --- silence ----------------------------------------------------------------------------------------------------


def test_silence_stays_silence_both_ways() -> None:
    assert ToModel().process(g711.SILENCE * 1600) == bytes(9600)
    assert ToCaller().process(bytes(9600)) == g711.SILENCE * 1600


def test_the_faintest_noise_of_the_model_is_silence_to_the_caller() -> None:
    noise = np.random.default_rng(1).integers(-1, 2, 24_000).astype("<i2")
    assert not g711.decode(ToCaller().process(noise.tobytes())).any()


# --- the end of an answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 2, 3, 480, 481, 2401, 24_000])
def test_an_answer_ends_with_its_last_24_samples_in_whole_frames(samples: int) -> None:
    pcm = random_bytes(2 * samples)
    down = ToCaller()
    ulaw = down.process(pcm) + down.flush()
    sounding = -(-samples // 3) + 24
    assert len(ulaw) == -(-sounding // FRAME_BYTES) * FRAME_BYTES
    pushed = Downsampler().process(np.append(np.frombuffer(pcm, "<i2"), np.zeros(72, np.int16)))
    assert ulaw[:sounding] == g711.encode(pushed)
    assert ulaw[sounding:] == g711.SILENCE * (len(ulaw) - sounding)


def test_the_tail_of_an_answer_is_as_loud_as_its_middle(lab: Bench) -> None:
    down = ToCaller()
    body = down.process(answer(lab, 1000, 0.5))
    tail = g711.decode(down.flush())[:24]
    assert lab.rms(tail[:20]) == pytest.approx(lab.rms(g711.decode(body)[400:]), rel=0.1)


def test_two_answers_with_a_gap_share_nothing(lab: Bench) -> None:
    down = ToCaller()
    first = down.process(answer(lab, 440, 0.3)) + down.flush()
    second = down.process(answer(lab, 1900, 0.3)) + down.flush()
    fresh = ToCaller()
    assert second == fresh.process(answer(lab, 1900, 0.3)) + fresh.flush()
    assert len(first) == len(second) == 8 * 320  # 300 ms and the last 3 ms, as whole frames


def test_an_answer_without_sound_has_no_end() -> None:
    down = ToCaller()
    assert down.flush() == b""
    down.process(b"\x01")
    assert down.flush() == b""
    assert down.process(bytes(960)) == g711.SILENCE * 160


def test_half_a_sample_at_the_end_of_an_answer_does_not_shift_the_next() -> None:
    down = ToCaller()
    down.process(random_bytes(961))
    down.flush()
    assert down.process(random_bytes(960, 2)) == ToCaller().process(random_bytes(960, 2))


# --- barge-in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [1, 100, 959, 961, 963, 9600])
def test_after_a_barge_in_nothing_of_the_old_answer_comes_out(said: int) -> None:
    down = ToCaller()
    down.process(random_bytes(said))
    down.reset()
    assert down.process(bytes(960)) == g711.SILENCE * 160
    down.process(random_bytes(said))
    down.reset()
    assert down.flush() == b""
    down.process(random_bytes(said))
    down.reset()
    fresh, pcm = ToCaller(), random_bytes(5000, 2)
    assert down.process(pcm) + down.flush() == fresh.process(pcm) + fresh.flush()


def test_a_reset_caller_is_as_fresh() -> None:
    up = ToModel()
    up.process(random_bytes(777))
    up.reset()
    assert up.process(random_bytes(777, 2)) == ToModel().process(random_bytes(777, 2))


# --- tones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level_dbm0", [0, -10, -20, -30, -40])
def test_a_tone_loses_nothing_beyond_what_the_codec_takes(lab: Bench, level_dbm0: int) -> None:
    """1020 Hz and not 1000, which meets only eight fixed phases of the codec and misreads by decibels."""
    amplitude = lab.amplitude_at_0_dbm0 * 10 ** (level_dbm0 / 20)
    ulaw = g711.encode(lab.sine(1020, 8000, amplitude))
    alone = g711.decode(ulaw)
    up = np.frombuffer(ToModel().process(ulaw), "<i2")
    down = g711.decode(ToCaller().process(lab.sine(1020, 24_000, amplitude).tobytes()))
    loop = g711.decode(ToCaller().process(up.tobytes()))
    yardstick = lab.fit(alone, 1020, 8000).sinad_db
    assert lab.fit(down, 1020, 8000).sinad_db == pytest.approx(yardstick, abs=0.2)
    assert lab.fit(loop, 1020, 8000).sinad_db == pytest.approx(yardstick, abs=0.2)
    # On the way up the filter takes some of the codec's noise near 4 kHz away: compared within the telephone band.
    assert lab.fit(up, 1020, 24_000).sinad_db >= yardstick - 0.2
    # (0.45 s, after the filter has filled, are whole periods: the brick wall cuts no edge of the tone.)
    in_band = lab.fit(lab.below(alone[400:], 3400, 8000), 1020, 8000).sinad_db
    up_in_band = lab.fit(lab.below(up[1200:], 3400, 24_000), 1020, 24_000).sinad_db
    assert up_in_band == pytest.approx(in_band, abs=0.2)


@pytest.mark.parametrize(("low_hz", "high_hz"), [(697, 1209), (697, 1633), (941, 1209), (941, 1633)])
def test_the_tones_of_a_keypad_survive_the_chain(lab: Bench, low_hz: int, high_hz: int) -> None:
    pressed = lab.sine(low_hz, 8000, 6000, 0.2) + lab.sine(high_hz, 8000, 7500, 0.2)
    heard = g711.decode(ToCaller().process(ToModel().process(g711.encode(pressed))))
    assert lab.fit(heard, low_hz, 8000).amplitude == pytest.approx(6000, rel=0.01)
    assert lab.fit(heard, high_hz, 8000).amplitude == pytest.approx(7500, rel=0.01)


# --- straight through -------------------------------------------------------------------------------------------


def test_straight_passes_bytes_as_they_are() -> None:
    straight = Straight()
    data = random_bytes(333)
    assert straight.process(data) is data
    assert straight(b"") == b""


@pytest.mark.parametrize(("said", "padding"), [(0, 0), (1, 159), (160, 0), (161, 159), (4000, 0), (4001, 159)])
def test_straight_ends_an_answer_in_whole_frames(said: int, padding: int) -> None:
    straight = Straight()
    straight.process(bytes(said))
    assert straight.flush() == g711.SILENCE * padding
    assert straight.flush() == b""


def test_straight_forgets_an_answer_at_a_barge_in() -> None:
    straight = Straight()
    straight.process(bytes(100))
    straight.reset()
    assert straight.flush() == b""


def test_each_way_has_two_transcoders_and_one_shape() -> None:
    towards_model: list[TowardsModel] = [ToModel(), Straight()]
    towards_caller: list[TowardsCaller] = [ToCaller(), Straight()]
    assert [len(way(bytes(160))) for way in towards_model] == [960, 160]
    assert [len(way(bytes(way.model_bytes_per_ms * 20))) for way in towards_caller] == [160, 160]
    assert [way.delay_ms for way in towards_caller] == [way.delay_ms for way in towards_model] == [3.0, 0.0]
    assert (transcode.ULAW_BYTES_PER_MS, transcode.PCM_BYTES_PER_MS, FRAME_BYTES) == (8, 48, 160)
    assert FRAME_OF_MODEL == transcode.PCM_BYTES_PER_MS * transcode.FRAME_MS
