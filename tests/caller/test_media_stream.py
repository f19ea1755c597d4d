"""Dialogues with the media-stream dialect: what the carrier says, what the call understands, what we answer."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.call.events import CallerAudio, CallerLeft, DigitPressed, MarkReached
from voice_gateway.caller.media_stream import (
    MAX_MESSAGE_CHARS,
    MediaFormat,
    MediaStreamDialect,
    NotStreaming,
    StreamRefused,
    StreamStarted,
)


@pytest.fixture
def streaming(carrier: Any) -> MediaStreamDialect:
    """A dialect whose stream has started."""
    dialect = MediaStreamDialect()
    dialect.read(carrier.connected())
    assert isinstance(dialect.read(carrier.start()), StreamStarted)
    return dialect


def changed(message: str, **changes: Any) -> str:
    return json.dumps(json.loads(message) | changes)


def without(message: str, field: str) -> str:
    fields = json.loads(message)
    del fields[field]
    return json.dumps(fields)


def test_a_whole_stream_from_connected_to_stop(carrier: Any) -> None:
    dialect = MediaStreamDialect()
    said = [
        carrier.connected(),
        carrier.start(),
        carrier.media(b"\x01\x02", 5),
        carrier.dtmf("#"),
        carrier.mark("g3:m12"),
        carrier.media(b"\xff" * 160, 25),
        carrier.stop(),
    ]
    started = StreamStarted(
        stream_sid=carrier.stream_sid,
        call_sid=carrier.call_sid,
        account_sid=carrier.account_sid,
        custom_parameters={"token": "t0p-secret", "from": "+15550001111"},
        media_format=MediaFormat("audio/x-mulaw", 8000, 1),
    )
    assert [dialect.read(message) for message in said] == [
        None,
        started,
        CallerAudio(b"\x01\x02", 5),
        DigitPressed("#"),
        MarkReached("g3:m12"),
        CallerAudio(b"\xff" * 160, 25),
        CallerLeft("hangup"),
    ]
    assert dialect.started == started
    assert not dialect.dropped
    assert not dialect.noticed


def test_what_the_stream_was_given_along_does_not_show_in_its_repr(streaming: MediaStreamDialect) -> None:
    assert "t0p-secret" not in repr(streaming.started)
    assert "+1555" not in repr(streaming.started)


def test_numbers_may_be_numbers(carrier: Any, streaming: MediaStreamDialect) -> None:
    message = changed(carrier.media(b"\x01", timestamp=40), sequenceNumber=2)
    assert streaming.read(message) == CallerAudio(b"\x01", 40)
    assert not streaming.noticed


def test_a_start_without_connected_is_used_and_noticed(carrier: Any) -> None:
    dialect = MediaStreamDialect()
    assert isinstance(dialect.read(carrier.start()), StreamStarted)
    assert dialect.noticed == {"start_without_connected": 1}


def test_another_protocol_s_name_is_noticed(carrier: Any) -> None:
    dialect = MediaStreamDialect()
    assert dialect.read(carrier.connected(protocol="Relay")) is None
    assert isinstance(dialect.read(carrier.start()), StreamStarted)
    assert dialect.noticed == {"unknown_protocol": 1}


@pytest.mark.parametrize("say", ["media", "dtmf", "mark", "stop"])
def test_nothing_is_understood_before_the_start(carrier: Any, say: str) -> None:
    dialect = MediaStreamDialect()
    assert dialect.read(getattr(carrier, say)()) is None
    dialect.read(carrier.connected())
    assert dialect.read(getattr(carrier, say)()) is None
    assert dialect.dropped == {"before_start": 2}
    assert isinstance(dialect.read(carrier.start()), StreamStarted)


@pytest.mark.parametrize("say", ["media", "dtmf", "mark", "stop", "start"])
def test_nothing_is_understood_after_the_stop(carrier: Any, streaming: MediaStreamDialect, say: str) -> None:
    streaming.read(carrier.stop())
    assert streaming.read(getattr(carrier, say)()) is None
    assert streaming.dropped == {"after_stop": 1}


def test_a_second_start_changes_nothing(carrier: Any, streaming: MediaStreamDialect) -> None:
    second = changed(carrier.start(streamSid="MZ2", callSid="CA2"), streamSid="MZ2")
    assert streaming.read(second) is None
    assert streaming.read(carrier.connected()) is None
    assert streaming.dropped == {"second_start": 1, "out_of_order": 1}
    assert streaming.started is not None
    assert streaming.started.call_sid == carrier.call_sid
    assert carrier.stream_sid in streaming.clear()


@pytest.mark.parametrize(
    "media_format",
    [
        {"encoding": "audio/x-l16", "sampleRate": 8000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1},
        {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 2},
        {"encoding": "audio/x-mulaw", "sampleRate": True, "channels": 1},
        {"encoding": ["audio/x-mulaw"], "sampleRate": 8000, "channels": 1},
        {},
        None,
    ],
)
def test_sound_in_another_format_is_refused_for_good(carrier: Any, media_format: Any) -> None:
    dialect = MediaStreamDialect()
    dialect.read(carrier.connected())
    refused = dialect.read(carrier.start(mediaFormat=media_format))
    assert isinstance(refused, StreamRefused)
    assert "audio/x-mulaw" in refused.reason
    assert dialect.started is None
    assert dialect.read(carrier.start()) is None
    assert dialect.dropped == {"after_stop": 1}


@pytest.mark.parametrize(
    "changes",
    [{"streamSid": ""}, {"streamSid": None}, {"callSid": 7}, {"callSid": "C" * 300}, {"streamSid": "MZ-other"}],
)
def test_a_start_without_its_names_is_no_start(carrier: Any, changes: dict[str, Any]) -> None:
    dialect = MediaStreamDialect()
    dialect.read(carrier.connected())
    assert dialect.read(carrier.start(**changes)) is None
    assert dialect.read(changed(carrier.start(), start=[])) is None
    assert dialect.dropped == {"bad_start": 2}


@pytest.mark.parametrize(
    ("parameters", "kept"),
    [
        (None, {}),
        ([1], {}),
        ({"a": "1", "b": 2, "c": None, "d": ["x"]}, {"a": "1"}),
        ({"é": "\u2028"}, {"é": "\u2028"}),
    ],
)
def test_only_text_is_kept_of_the_parameters(carrier: Any, parameters: Any, kept: dict[str, str]) -> None:
    started = MediaStreamDialect().read(carrier.start(customParameters=parameters))
    assert isinstance(started, StreamStarted)
    assert started.custom_parameters == kept


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "not_json"),
        ("{", "not_json"),
        ('{"event":"media"} x', "not_json"),
        ("[" * 2_000, "not_json"),
        ('{"event": NaN}', "not_json"),
        ("[]", "not_an_object"),
        ("null", "not_an_object"),
        ('"media"', "not_an_object"),
        ("7", "not_an_object"),
        ("{}", "unknown_event"),
        ('{"event":null}', "unknown_event"),
        ('{"event":["media"]}', "unknown_event"),
        ('{"event":{"media":1}}', "unknown_event"),
        ('{"event":"Media"}', "unknown_event"),
        ('{"event":"speak"}', "unknown_event"),
        (b"", "binary"),
        (b'{"event":"stop"}', "binary"),
        (" " * (MAX_MESSAGE_CHARS + 1), "oversized"),
        ("x" * 1_048_576, "oversized"),
    ],
)
def test_what_is_no_message_is_counted_and_survived(
    carrier: Any, streaming: MediaStreamDialect, message: str | bytes, reason: str
) -> None:
    assert streaming.read(message) is None
    assert streaming.dropped == {reason: 1}
    assert streaming.read(carrier.media(b"\x01", 5)) == CallerAudio(b"\x01", 5)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"payload": "!!!!"}, "bad_payload"),
        ({"payload": "AAA"}, "bad_payload"),
        ({"payload": "AA\nA="}, "bad_payload"),
        ({"payload": "éééé"}, "bad_payload"),
        ({"payload": ""}, "bad_payload"),
        ({"payload": None}, "bad_payload"),
        ({"payload": ["AAAA"]}, "bad_payload"),
        ({"timestamp": None}, "bad_timestamp"),
        ({"timestamp": "-20"}, "bad_timestamp"),
        ({"timestamp": -20}, "bad_timestamp"),
        ({"timestamp": "12.5"}, "bad_timestamp"),
        ({"timestamp": 12.5}, "bad_timestamp"),
        ({"timestamp": True}, "bad_timestamp"),
        ({"timestamp": "9" * 5_000}, "bad_timestamp"),
        ({"timestamp": 10**18}, "bad_timestamp"),
        ({"timestamp": "²"}, "bad_timestamp"),
        ({"track": "outbound"}, "wrong_track"),
        ({"track": ["inbound"]}, "wrong_track"),
    ],
)
def test_a_frame_that_makes_no_sense_is_counted_and_survived(
    carrier: Any, streaming: MediaStreamDialect, changes: dict[str, Any], reason: str
) -> None:
    assert streaming.read(carrier.media(**changes)) is None
    assert streaming.dropped == {reason: 1}
    assert streaming.read(carrier.media(b"\x01", 5)) == CallerAudio(b"\x01", 5)


def test_a_media_message_without_media_is_counted(carrier: Any, streaming: MediaStreamDialect) -> None:
    assert streaming.read(without(carrier.media(), "media")) is None
    assert streaming.read(changed(carrier.media(), media="AAAA")) is None
    assert streaming.dropped == {"bad_media": 2}


@pytest.mark.parametrize("say", ["media", "dtmf", "mark", "stop"])
def test_a_foreign_stream_s_message_is_not_ours(carrier: Any, streaming: MediaStreamDialect, say: str) -> None:
    assert streaming.read(changed(getattr(carrier, say)(), streamSid="MZ-other")) is None
    assert streaming.read(changed(getattr(carrier, say)(), streamSid=None)) is None
    assert streaming.read(without(getattr(carrier, say)(), "streamSid")) is None
    assert streaming.dropped == {"foreign_stream": 3}


@pytest.mark.parametrize("digit", ["", "12", "x", None, 1, ["1"]])
def test_a_key_that_no_telephone_has_is_counted(carrier: Any, streaming: MediaStreamDialect, digit: Any) -> None:
    assert streaming.read(carrier.dtmf(digit)) is None
    assert streaming.read(changed(carrier.dtmf(), dtmf=digit)) is None
    assert streaming.dropped == {"bad_digit": 2}


@pytest.mark.parametrize("name", ["", None, 7, "m" * 300, {"a": 1}])
def test_a_mark_without_a_name_is_counted(carrier: Any, streaming: MediaStreamDialect, name: Any) -> None:
    assert streaming.read(carrier.mark(name)) is None
    assert streaming.read(changed(carrier.mark(), mark=name)) is None
    assert streaming.dropped == {"bad_mark": 2}


def test_holes_in_the_sequence_are_noticed_and_nothing_is_lost(carrier: Any, streaming: MediaStreamDialect) -> None:
    for number, jumps in [("2", 0), ("5", 1), ("6", 1), ("6", 2), ("4", 3), ("5", 3), (6, 3)]:
        message = changed(carrier.media(b"\x01", 5), sequenceNumber=number)
        assert streaming.read(message) == CallerAudio(b"\x01", 5)
        assert streaming.noticed["sequence_jump"] == jumps
    for odd in (None, "x", [], 1.5):
        assert streaming.read(changed(carrier.media(b"\x01", 5), sequenceNumber=odd)) == CallerAudio(b"\x01", 5)
    assert streaming.noticed["no_sequence_number"] == 4


# --- what we write ----------------------------------------------------------------------------------------------


@given(ulaw=st.binary(max_size=2_000))
def test_media_is_exactly_what_the_carrier_reads(ulaw: bytes) -> None:
    dialect = started("MZ1")
    message = orjson.loads(dialect.media(ulaw))
    payload = message["media"]["payload"]
    assert message == {"event": "media", "streamSid": "MZ1", "media": {"payload": payload}}
    assert b64decode(payload, validate=True) == ulaw


@given(
    name=st.text(min_size=1, max_size=40),
    stream_sid=st.text(min_size=1, max_size=40),
)
def test_marks_and_clears_are_exactly_what_the_carrier_reads_whatever_the_names(name: str, stream_sid: str) -> None:
    dialect = started(stream_sid)
    mark = {"event": "mark", "streamSid": stream_sid, "mark": {"name": name}}
    assert orjson.loads(dialect.mark(name)) == mark
    assert orjson.loads(dialect.clear()) == {"event": "clear", "streamSid": stream_sid}
    echo = dialect.read(json.dumps(mark | {"sequenceNumber": "2"}))
    assert echo == MarkReached(name)


def started(stream_sid: str) -> MediaStreamDialect:
    dialect = MediaStreamDialect()
    media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
    start = {"streamSid": stream_sid, "callSid": "CA1", "mediaFormat": media_format}
    dialect.read('{"event":"connected","protocol":"Call","version":"1.0.0"}')
    assert isinstance(dialect.read(json.dumps({"event": "start", "start": start})), StreamStarted)
    return dialect


def test_to_write_before_the_start_is_our_own_mistake() -> None:
    dialect = MediaStreamDialect()
    for write in (lambda: dialect.media(b"\xff"), lambda: dialect.mark("g1:m1"), dialect.clear):
        with pytest.raises(NotStreaming):
            write()


def test_a_mark_without_a_name_is_our_own_mistake(streaming: MediaStreamDialect) -> None:
    with pytest.raises(ValueError, match="name"):
        streaming.mark("")


# --- anything at all --------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
events = st.sampled_from(["connected", "start", "media", "dtmf", "mark", "stop"])
near_messages = st.fixed_dictionaries(
    {"event": events},
    optional={
        "streamSid": st.just("MZ1") | json_values,
        "sequenceNumber": st.integers(0, 99).map(str) | json_values,
        "start": json_values,
        "media": st.fixed_dictionaries(
            {}, optional={"payload": json_values, "timestamp": json_values, "track": json_values}
        ),
        "dtmf": st.fixed_dictionaries({"digit": json_values}) | json_values,
        "mark": st.fixed_dictionaries({"name": json_values}) | json_values,
    },
).map(json.dumps)
anything = st.one_of(st.text(alphabet=st.characters(), max_size=60), st.binary(max_size=60), near_messages)


@given(messages=st.lists(anything, max_size=12), new=st.sampled_from([MediaStreamDialect, lambda: started("MZ1")]))
def test_whatever_is_said_is_an_event_or_is_counted(
    messages: list[str | bytes], new: Callable[[], MediaStreamDialect]
) -> None:
    dialect = new()
    for message in messages:
        dropped = dialect.dropped.total()
        event = dialect.read(message)
        counted = dialect.dropped.total() - dropped
        if event is None and not counted:
            assert "connected" in str(message)  # the one message that says nothing and is right
        else:
            assert counted == (event is None)
