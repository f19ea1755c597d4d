"""TwiML as the carrier reads it; well-formed documents come from Twilio's own builder."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect as BuiltConnect
from twilio.twiml.voice_response import Dial as BuiltDial
from twilio.twiml.voice_response import Gather as BuiltGather
from twilio.twiml.voice_response import VoiceResponse

from voice_gateway.emulator.twiml_reader import (
    Connect,
    Dial,
    Document,
    Gather,
    Hangup,
    Other,
    Pause,
    Play,
    Redirect,
    Reject,
    Say,
    Stream,
    TwimlError,
    read_reply,
    read_twiml,
)


def one(response: VoiceResponse):
    document = read_twiml(str(response))
    assert document.warnings == ()
    (verb,) = document.verbs
    return verb


def test_connect_stream_keeps_everything_the_builder_wrote():
    response = VoiceResponse()
    connect = BuiltConnect(action="/twilio/after", method="POST")
    stream = connect.stream(
        url="wss://voice.example.com/ws/twilio",
        name="main",
        track="inbound_track",
        status_callback="/twilio/stream",
        status_callback_method="GET",
    )
    stream.parameter(name="token", value='a<b>&"c"')
    stream.parameter(name="from", value="+15550100001")
    response.append(connect)
    assert one(response) == Connect(
        Stream(
            "wss://voice.example.com/ws/twilio",
            "main",
            "inbound_track",
            "/twilio/stream",
            "GET",
            {"token": 'a<b>&"c"', "from": "+15550100001"},
        ),
        "/twilio/after",
        "POST",
    )


def test_the_simple_verbs_in_order():
    response = VoiceResponse()
    response.say("Connecting you", voice="alice", language="en-GB", loop=2)
    response.play("https://voice.example.com/hold.mp3")
    response.play(digits="1w2")
    response.pause(length=3)
    response.redirect("/elsewhere", method="GET")
    response.hangup()
    assert read_twiml(str(response)).verbs == (
        Say("Connecting you", 2),
        Play("https://voice.example.com/hold.mp3"),
        Play("", "1w2"),
        Pause(3.0),
        Redirect("/elsewhere", "GET"),
        Hangup(),
    )


def test_reject_comes_first_or_not_at_all():
    response = VoiceResponse()
    response.reject(reason="busy")
    assert one(response) == Reject("busy")
    document = read_twiml("<Response><Say>Hello</Say><Reject/></Response>")
    assert document.verbs == (Say("Hello"),)
    assert "first verb only" in document.warnings[0]


def test_dial_knows_its_targets():
    response = VoiceResponse()
    dial = BuiltDial(action="/done", timeout=20, caller_id="+15550100002", answer_on_bridge=True)
    dial.number("+15550100003")
    dial.conference("room")
    response.append(dial)
    verb = one(response)
    assert isinstance(verb, Dial)
    assert verb.targets == (("Number", "+15550100003"), ("Conference", "room"))
    assert (verb.action, verb.attributes["timeout"]) == ("/done", "20")
    assert read_twiml("<Response><Dial>+15550100003</Dial></Response>").verbs[0].targets == (
        ("Number", "+15550100003"),
    )
    with pytest.raises(TwimlError, match="13201"):
        read_twiml("<Response><Dial/></Response>")


def test_gather_holds_its_prompts():
    response = VoiceResponse()
    gather = BuiltGather(action="/keys", num_digits=1, timeout=2, finish_on_key="*")
    gather.say("Press one")
    response.append(gather)
    assert one(response) == Gather((Say("Press one"),), "/keys", "POST", 1, 2.0, "*")


def test_speech_marks_inside_say_are_heard_as_words():
    assert read_twiml("<Response><Say>Hello <break/> <prosody>dear</prosody>\n  caller</Say></Response>").verbs == (
        Say("Hello dear caller"),
    )


def test_known_verbs_that_are_not_performed_are_kept_by_name():
    response = VoiceResponse()
    response.record(max_length=10)
    assert one(response) == Other("Record", {"maxLength": "10"})
    relay = read_twiml('<Response><Connect><ConversationRelay url="wss://h/x"/></Connect></Response>')
    assert relay.verbs == (Other("Connect/ConversationRelay", {"url": "wss://h/x"}),)


@pytest.mark.parametrize(
    ("twiml", "told"),
    [
        ("<Response><say>Hello</say></Response>", "no verb of TwiML"),
        ('<Response><Say Voice="alice">Hello</Say></Response>', "no attribute 'Voice'"),
        ('<Response><Pause length="long"/></Response>', "no whole number"),
        ('<Response><Connect><Stream url="wss://h/x"><Param/></Stream></Connect></Response>', "passed over"),
        ("<Response><Gather><Dial>1</Dial></Gather></Response>", "passed over"),
    ],
)
def test_small_faults_are_warnings(twiml, told):
    assert told in read_twiml(twiml).warnings[0]


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"<Response/>", "text/html", 12300),
        (b"<Response/>", "", 12300),
        (b"<Response>" + b" " * 65536 + b"</Response>", "text/xml", 11750),
        (b"<Response><Say>", "text/xml", 12100),
        (b"<response/>", "text/xml", 12100),
        (b"{}", "text/xml", 12100),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><Response/>', "text/xml", 12100),
        ("<?xml version='1.0' encoding='utf-16'?><Response/>".encode("utf-16"), "text/xml", 12100),
        (b"<Response><Connect/></Response>", "text/xml", 12100),
        (
            b'<Response><Connect><Stream url="wss://h/x"><Parameter name="n" value="%b"/></Stream></Connect></Response>'
            % (b"v" * 500),
            "text/xml",
            12200,
        ),
    ],
)
def test_documents_the_carrier_cannot_use(body, content_type, code):
    with pytest.raises(TwimlError) as caught:
        read_reply(body, content_type)
    assert caught.value.code == code


def test_content_types_may_carry_a_charset_and_an_empty_answer_does_nothing():
    assert read_reply(b"<Response/>", "Application/XML; charset=utf-8") == Document()
    assert read_reply(b" ", "") == Document()


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"<Response>{text}</Response>".encode()))
def test_whatever_comes_is_read_or_refused(body):
    with suppress(TwimlError):  # any other exception fails the test
        assert isinstance(read_reply(body, "text/xml"), Document)
