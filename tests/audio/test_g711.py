"""µ-law against the reference coder of ITU-T G.191, written anew here, bit by bit instead of by tables."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from voice_gateway.audio import g711


def reference_encode(sample: int) -> int:
    """G.191 `ulaw_compress` for one 16-bit sample: a biased 14-bit magnitude, its segment by the top bit, inverted."""
    magnitude = min(((~sample if sample < 0 else sample) >> 2) + 33, 0x1FFF)
    segment = magnitude.bit_length() - 5  # 1 to 8
    mantissa = (magnitude >> segment) & 0x0F
    code = ((8 - segment) << 4) | (15 - mantissa)
    return code if sample < 0 else code | 0x80


def reference_decode(code: int) -> int:
    """G.191 `ulaw_expand` for one byte."""
    segment, mantissa = (~code >> 4) & 7, ~code & 15
    magnitude = (128 << segment) + (8 << segment) * mantissa + (4 << segment) - 132
    return magnitude if code & 0x80 else -magnitude


def test_every_byte_decodes_as_the_reference_says() -> None:
    decoded = g711.decode(bytes(range(256)))
    assert decoded.dtype == np.int16
    assert decoded.tolist() == [reference_decode(code) for code in range(256)]


def test_every_sample_encodes_as_the_reference_says() -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    assert g711.encode(samples) == bytes(reference_encode(sample) for sample in range(-32768, 32768))


def test_the_range_ends_at_32124() -> None:
    decoded = g711.decode(bytes(range(256)))
    assert (decoded.min(), decoded.max()) == (-32124, 32124)


def test_every_byte_but_negative_zero_survives_a_round_trip() -> None:
    codes = bytes(code for code in range(256) if code != 0x7F)
    assert g711.encode(g711.decode(codes)) == codes
    assert g711.encode(g711.decode(b"\x7f")) == g711.SILENCE


def test_digital_silence_is_ff() -> None:
    assert g711.encode(np.zeros(160, np.int16)) == g711.SILENCE * 160
    assert not g711.decode(g711.SILENCE * 160).any()


def test_the_faintest_noise_of_a_line_becomes_silence_on_both_sides_of_zero() -> None:
    noise = np.random.default_rng(1).integers(-1, 2, 8000).astype(np.int16)
    assert {-1, 0, 1} == set(noise.tolist())
    assert not g711.decode(g711.encode(noise)).any()


def test_nothing_in_is_nothing_out() -> None:
    assert g711.decode(b"").shape == (0,)
    assert g711.encode(np.zeros(0, np.int16)) == b""
    assert g711.encode_sums(np.zeros(0)) == b""


def test_a_memoryview_decodes_like_its_bytes() -> None:
    assert (g711.decode(memoryview(b"\x00\x80\xff")) == [-32124, 32124, 0]).all()


def test_a_slice_with_steps_encodes_like_its_copy() -> None:
    samples = np.arange(-3000, 3000, dtype=np.int16)
    assert g711.encode(samples[::3]) == g711.encode(samples[::3].copy())


@given(arrays(np.float64, st.integers(0, 50), elements=st.floats(-131071, 131071)))
def test_sums_encode_as_if_limited_and_rounded_first(sound: np.ndarray) -> None:
    samples = np.rint(sound.clip(-32768, 32767)).astype(np.int16)
    assert g711.encode_sums(sound) == g711.encode(samples)
