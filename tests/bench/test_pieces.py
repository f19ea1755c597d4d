"""The bench's own pieces: what would make every figure wrong if it were wrong."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from bench import figures, heard, instructions, picture, ramp, run, sides, trial, wire

# --- wire -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=6), st.data())
def test_frames_are_read_back_however_they_are_cut(messages, data) -> None:
    stream = b"".join(wire.frame(payload, masked=masked) for payload, masked in messages)
    cut = data.draw(st.integers(0, len(stream)))
    first, rest = wire.split(stream[:cut])
    second, left = wire.split(rest + stream[cut:])
    assert [payload for _, payload in first + second] == [payload for payload, _ in messages]
    assert left == b""


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_every_length_of_a_frame_has_its_header(size) -> None:
    assert wire.split(wire.frame(b"x" * size, masked=True)) == ([(wire.TEXT, b"x" * size)], b"")


def test_a_mask_is_taken_off() -> None:
    masked = bytes(byte ^ mask for byte, mask in zip(b"hello", b"abcda", strict=True))
    assert wire.split(b"\x81\x85abcd" + masked) == ([(wire.TEXT, b"hello")], b"")


def test_the_upgrade_s_answer_is_that_of_the_standard() -> None:
    """RFC 6455, section 1.3."""
    head = b"GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in wire.upgrade_answer(head)


# --- marked sound -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire_format", ["audio/pcmu", "audio/pcm"])
def test_marked_sound_is_found_where_it_begins_and_nothing_else_is(wire_format) -> None:
    quiet, marked = sides.sound(160), sides.sound(80, stepped=80)
    both = sides.np.concatenate((quiet, marked))
    assert sides.onset(sides.encoded(both, wire_format), wire_format) == 160
    assert sides.onset(sides.encoded(quiet, wire_format), wire_format) is None


@pytest.mark.parametrize("message", [b'{"a":"b","payload":"AAAA"}}', b'{"a": "b", "payload": "AAAA"}}'])
def test_the_last_text_of_a_message_is_its_sound(message) -> None:
    assert sides.last_text(message) == b"AAAA"


def test_a_webhook_is_signed_as_the_carrier_does_it() -> None:
    form = {"To": "+15550100002", "CallSid": "CA1", "From": "+15550100001"}
    url = "http://127.0.0.1:8787/twilio/answer"
    assert RequestValidator(trial.AUTH_TOKEN).validate(url, form, trial.signature(url, form))


# --- figures ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1000), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values, share) -> None:
    found = figures.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values)


def test_nothing_has_no_percentile() -> None:
    assert math.isnan(figures.percentile([], 0.5))


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("1234567,,instructions:u,1002003,100.00,,\n", 1234567),
        ("# started\n\n42,,instructions,7,100.00,,\n", 42),
        ("<not supported>,,instructions:u,0,100.00,,\n", None),
        ("", None),
    ],
)
def test_instructions_are_read_from_what_perf_prints(output, expected) -> None:
    assert figures.instructions(output) == expected


def test_others_are_the_hungry_ones_that_are_not_ours() -> None:
    before = {1: ("ours", 0.0), 2: ("busy", 1.0), 3: ("idle", 5.0)}
    after = {1: ("ours", 9.0), 2: ("busy", 6.0), 3: ("idle", 5.1), 4: ("new", 2.0)}
    assert figures.others(before, after, {1}, 10.0) == [("busy", 0.5), ("new", 0.2)]


def test_cost_is_for_each_second_of_each_call() -> None:
    spent = figures.Spent(seconds=10.0, gateway_s=2.0, far_share=0.1, others_share=0.0, instructions=4_000_000_000)
    assert trial.cost(spent, calls=50) == (4.0, 8.0)


def test_a_callgrind_dump_has_one_total() -> None:
    assert instructions.total("events: Ir\nsummary: 250\nfn=(1) f\n1 250\n\ntotals: 250\n") == 250


def test_disturbed_trials_are_left_out_where_there_is_a_quiet_one() -> None:
    results = [
        trial.Result("gateway", 25, talking_ms=9.0, others_share=0.5),
        trial.Result("gateway", 25, talking_ms=2.0, others_share=0.0),
        trial.Result("gateway", 25, talking_ms=4.0, others_share=0.1),
        trial.Result("gateway", 50, talking_ms=7.0, others_share=0.5),
    ]
    assert run.medians(results, "gateway", 25, lambda r: r.talking_ms) == 3.0
    assert run.medians(results, "gateway", 50, lambda r: r.talking_ms) == 7.0


@pytest.mark.parametrize(("p99_ms", "lost", "holds"), [(23.0, 0, True), (23.1, 0, False), (1.0, 1, False)])
def test_a_step_of_the_ramp_holds_within_20_ms_and_without_a_loss(p99_ms, lost, holds) -> None:
    assert ramp.Step(p99_ms, lost, 0.0).holds(base_ms=3.0) is holds
    assert not ramp.Step(math.nan, 0, 0.0).holds(base_ms=3.0)


# --- heard ---


@pytest.mark.parametrize(
    ("errors", "good", "shown"),
    [
        (heard.Errors([3.0, -20.0, 40.0]), True, "20 / 40"),
        (heard.Errors([1.0, -41.0, 1.0]), False, "1 / 41"),
        (heard.Errors([-21.0, 25.0, 21.0]), False, "21 / 25"),
        (heard.Errors([1.0], wrong=2), False, "1 / 1, 2 wrong"),
        (heard.Errors([]), True, "-"),
    ],
)
def test_errors_count_either_way_and_another_item_is_never_good(errors, good, shown) -> None:
    assert (errors.good, str(errors)) == (good, shown)


def test_the_table_of_errors_has_a_cell_for_each_weather() -> None:
    lines = list(heard.table({"one case": [heard.Errors([1.0]), heard.Errors([])]}, ["calm", "stormy weather"]))
    assert [line.split() for line in lines] == [["calm", "stormy", "weather"], ["one", "case", "1", "/", "1", "-"]]


# --- the picture ------------------------------------------------------------------------------------------------


def test_the_picture_is_xml_and_has_a_line_for_each_contender_in_each_panel() -> None:
    lines = {"gateway": [(25, 1.0), (50, 2.0)], "<pass & through>": [(25, 0.5), (50, math.nan)]}
    panels = [picture.Panel("in p99, ms", lines, goal=5.0), picture.Panel("MB", lines), picture.Panel("empty", {})]
    root = ET.fromstring(picture.draw(panels, "Heading", "Footing"))  # noqa: S314 - our own text
    space = {"svg": "http://www.w3.org/2000/svg"}
    assert len(root.findall(".//svg:polyline", space)) == 4
    assert len(root.findall(".//svg:line[@class='goal']", space)) == 1


@pytest.mark.parametrize(("value", "expected"), [(0, 1), (0.3, 0.5), (1, 1), (1.2, 2), (7, 10), (180, 200)])
def test_an_axis_ends_at_a_round_number(value, expected) -> None:
    assert picture.ceiling(value) == pytest.approx(expected)
