"""The carrier's media stream messages, compared with the examples of Twilio's documentation."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.emulator.stream_messages import (
    CONNECTED,
    Clear,
    InvalidMessageError,
    Mark,
    Media,
    StreamWriter,
    read,
)

SID = "MZ" + "0" * 32
SOUND = base64.b64encode(b"\xff" * 160).decode()


def test_messages_are_numbered_and_all_numbers_are_strings():
    writer = StreamWriter("AC1", "CA1", SID)
    start = json.loads(writer.start({"token": "t"}))
    media = json.loads(writer.media(5, SOUND.encode()))
    dtmf, mark, stop = (json.loads(text) for text in (writer.dtmf("1"), writer.mark('g1:"m7"'), writer.stop()))
    assert json.loads(CONNECTED) == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": "AC1",
            "streamSid": SID,
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "t"},
        },
        "streamSid": SID,
    }
    assert media == {
        "event": "media",
        "sequenceNumber": "2",
        "media": {"track": "inbound", "chunk": "1", "timestamp": "5", "payload": SOUND},
        "streamSid": SID,
    }
    assert dtmf["dtmf"] == {"track": "inbound_track", "digit": "1"}
    assert mark["mark"] == {"name": 'g1:"m7"'}
    assert stop["stop"] == {"accountSid": "AC1", "callSid": "CA1"}
    assert [message["sequenceNumber"] for message in (dtmf, mark, stop)] == ["3", "4", "5"]


def test_what_a_server_may_send_is_understood():
    assert read(json.dumps({"event": "media", "streamSid": SID, "media": {"payload": SOUND}}), SID) == Media(
        b"\xff" * 160
    )
    assert read(json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": "m"}}), SID) == Mark("m")
    assert read(json.dumps({"event": "clear", "streamSid": SID}), SID) == Clear()


@pytest.mark.parametrize(
    "message",
    [
        "not JSON",
        "[]",
        '{"event":"clear"}',
        '{"event":["media"]}',
        '{"event":"start","streamSid":"%s"}',
        '{"event":"clear","stream_sid":"%s"}',
        '{"event":"clear","streamSid":"%s","extra":1}',
        '{"event":"clear","streamSid":"MZother"}',
        '{"event":"mark","streamSid":"%s","mark":{}}',
        '{"event":"mark","streamSid":"%s","mark":{"name":7}}',
        '{"event":"mark","streamSid":"%s","mark":"m"}',
        '{"event":"media","streamSid":"%s","media":{"payload":"???"}}',
        '{"event":"media","streamSid":"%s","media":{"payload":"/w==","track":"outbound"}}',
    ],
)
def test_anything_else_is_invalid(message):
    with pytest.raises(InvalidMessageError) as caught:
        read(message.replace("%s", SID), SID)
    assert caught.value.code == 31951


def test_a_binary_message_is_malformed():
    with pytest.raises(InvalidMessageError, match="31950"):
        read(b"{}", SID)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.text(max_size=60)
    | json_values.map(json.dumps)
    | st.fixed_dictionaries(
        {"event": st.sampled_from(["media", "mark", "clear"]), "streamSid": st.just(SID)},
        optional={"media": json_values, "mark": json_values},
    ).map(json.dumps)
)
def test_no_message_does_worse_than_being_refused(message):
    with suppress(InvalidMessageError):  # any other exception fails the test
        assert isinstance(read(message, SID), Media | Mark | Clear)
