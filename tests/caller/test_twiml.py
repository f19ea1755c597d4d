"""The answers to webhooks, read back as XML."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.caller.twiml import (
    Asked,
    Ringing,
    TwimlError,
    connect_stream,
    hang_up,
    say_and_hang_up,
    transfer,
    whisper,
)

WS_URL = "wss://voice.example.com/ws/twilio"


def parse(document: str) -> ET.Element:
    assert document.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    return ET.fromstring(document.encode())  # noqa: S314  # our own document


def connect(**changes: object) -> str:
    arguments = {
        "ws_url": WS_URL,
        "action_url": "https://voice.example.com/twilio/after?try=1&x=2",
        "status_url": "https://voice.example.com/twilio/stream-status",
        "parameters": {"token": "t0", "from": "+15550001111"},
        "say": "Connecting you.",
    }
    return connect_stream(**(arguments | changes))  # type: ignore[arg-type]  # the changes are a test's own


def test_a_stream_is_connected_with_all_that_the_carrier_needs() -> None:
    response = parse(connect(language="en-GB", voice="Polly.Amy"))
    assert [verb.tag for verb in response] == ["Say", "Connect"]
    say, connection = response
    assert (say.text, say.attrib) == ("Connecting you.", {"language": "en-GB", "voice": "Polly.Amy"})
    assert connection.attrib == {"action": "https://voice.example.com/twilio/after?try=1&x=2", "method": "POST"}
    (stream,) = connection
    assert stream.attrib == {
        "url": WS_URL,
        "statusCallback": "https://voice.example.com/twilio/stream-status",
        "statusCallbackMethod": "POST",
    }
    assert [(p.tag, p.attrib) for p in stream] == [
        ("Parameter", {"name": "token", "value": "t0"}),
        ("Parameter", {"name": "from", "value": "+15550001111"}),
    ]


@pytest.mark.parametrize("say", ["", "   ", "\x00\x07"])
def test_nothing_to_say_makes_no_say(say: str) -> None:
    assert [verb.tag for verb in parse(connect(say=say))] == ["Connect"]
    assert [verb.tag for verb in parse(say_and_hang_up(say))] == ["Hangup"]


def test_a_caller_is_put_through_to_a_number_or_a_sip_address() -> None:
    say, dial = parse(transfer("+15551230009", "One moment.", ringing=Ringing(caller_id="+15551230001")))
    assert (say.text, dial.attrib, [(noun.tag, noun.text) for noun in dial]) == (
        "One moment.", {"callerId": "+15551230001", "timeout": "30"}, [("Number", "+15551230009")],
    )  # fmt: skip
    (dial,) = parse(transfer("sip:desk@example.com"))
    assert [(noun.tag, noun.text) for noun in dial] == [("Sip", "sip:desk@example.com")]


def test_a_colleague_is_told_what_it_is_about_and_how_it_went_is_asked_for() -> None:
    asked = Ringing("", 20, "https://h/twilio/transferred", "https://h/twilio/whisper?call=CA1")
    (dial,) = parse(transfer("+15551230009", ringing=asked))
    assert dial.attrib == {"timeout": "20", "action": "https://h/twilio/transferred", "method": "POST"}
    assert dial[0].attrib == {"url": "https://h/twilio/whisper?call=CA1", "method": "POST"}
    (said,) = parse(whisper("A caller wants a refund.", language="en-US"))
    assert (said.tag, said.text) == ("Say", "A caller wants a refund.")
    assert list(parse(whisper(""))) == []


def test_a_stream_without_a_status_url_names_no_method_for_it() -> None:
    stream = parse(connect(status_url="")).find("Connect/Stream")
    assert stream is not None
    assert stream.attrib == {"url": WS_URL}


def test_a_sentence_is_said_and_the_call_ended() -> None:
    say, end = parse(say_and_hang_up("Ada & Bob say <goodbye>.", language="en-US"))
    assert (say.text, say.attrib, end.tag) == ("Ada & Bob say <goodbye>.", {"language": "en-US"}, "Hangup")


def test_a_call_is_ended_without_a_word() -> None:
    assert [verb.tag for verb in parse(hang_up())] == ["Hangup"]


def test_a_parameter_may_have_500_characters_and_no_more() -> None:
    connect(parameters={"name": "v" * 496})
    with pytest.raises(TwimlError, match=r"'name' has 501 characters") as error:
        connect(parameters={"name": "v" * 497})
    assert "vvv" not in str(error.value)


def test_a_document_beyond_64_kb_is_refused() -> None:
    with pytest.raises(TwimlError, match="bytes"):
        say_and_hang_up("é" * 32_000)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("https://voice.example.com/ws", "wss://"),
        ("wss:///ws", "wss://"),
        ("", "wss://"),
        ("wss://voice.example.com/ws?token=1", "query"),
        ("wss://voice.example.com/ws#a", "query"),
    ],
)
def test_a_stream_url_that_the_carrier_would_not_use_as_it_is_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(TwimlError, match=complaint):
        connect(ws_url=url)


@given(text=st.text(alphabet=st.characters(), max_size=100), name=st.text(alphabet=st.characters(), max_size=20))
def test_whatever_is_said_or_given_along_the_document_can_be_read(text: str, name: str) -> None:
    response = parse(connect(say=text, parameters={name: text}))
    parameter = response.find("Connect/Stream/Parameter")
    assert parameter is not None
    assert set(parameter.attrib["value"]) <= set(text)


def test_what_xml_forbids_is_removed_and_the_rest_kept() -> None:
    document = connect(parameters={"caller": "A\x00\x1b\ud800\ufffeda \U0001f4de"})
    parameter = parse(document).find("Connect/Stream/Parameter")
    assert parameter is not None
    assert parameter.attrib["value"] == "Ada \U0001f4de"


def test_a_notice_is_said_before_the_stream() -> None:
    said, notice, stream = parse(connect(asked=Asked("This call is recorded.", "en-US")))
    assert (said.tag, notice.tag, stream.tag) == ("Say", "Say", "Connect")
    assert (notice.text, notice.attrib) == ("This call is recorded.", {"language": "en-US"})


def test_a_question_leads_to_its_answer_and_who_presses_nothing_goes_on_to_the_stream() -> None:
    asked = Asked("Press 1 & stay.", "", "https://voice.example.com/twilio/consent", 6)
    _, gather, stream = parse(connect(asked=asked))
    assert stream.tag == "Connect"
    assert gather.attrib == {
        "action": "https://voice.example.com/twilio/consent",
        "method": "POST",
        "input": "dtmf",
        "numDigits": "1",
        "timeout": "6",
        "finishOnKey": "",
    }
    assert [(inner.tag, inner.text) for inner in gather] == [("Say", "Press 1 & stay.")]
