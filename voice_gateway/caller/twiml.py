"""The answers to the carrier's webhooks, as TwiML. Pure: values in, one XML document out.

Twilio's limits are checked here, where the mistake is made, and not left to a warning in the carrier's debugger while
a caller hears nothing: a `<Parameter>` holds at most 500 characters of name and value together, a document at most
64 kB (error 11750), and a stream's URL loses its query string without a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from twilio.twiml.voice_response import Connect, Gather, Stream, VoiceResponse  # type: ignore[import-untyped]  # has no py.typed

CONTENT_TYPE = "text/xml"
MAX_PARAMETER_CHARS = 500
MAX_DOCUMENT_BYTES = 64_000

# What XML 1.0 (section 2.2, `Char`) allows in a document; everything else would make it unreadable as a whole.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Asked(NamedTuple):
    """What a caller is told before the stream begins. answer_url: where the one key he presses is posted to.

    Without an answer_url nothing is asked. A caller who presses none goes on to the stream after seconds.
    """

    wording: str
    language: str = ""
    answer_url: str = ""
    seconds: int = 6


class TwimlError(ValueError):
    """A document that the carrier would refuse or cut. The sentence names the part, never the value."""


def connect_stream(
    *,
    ws_url: str,
    action_url: str,
    status_url: str = "",
    parameters: Mapping[str, str],
    say: str = "",
    language: str = "",
    voice: str = "",
    asked: Asked | None = None,
) -> str:
    """An optional spoken line, a notice or question, then the caller's sound to and from `ws_url` until that closes.

    action_url: asked by POST when the stream has ended; its TwiML decides how the call goes on.
    status_url: told by POST of the stream's start, stop and errors; empty for none.
    parameters: arrive in the stream's `start` message. language, voice: of the spoken line; empty for the account's.
    Raises TwimlError when a limit of Twilio's is broken.
    """
    _check_stream_url(ws_url)
    response = VoiceResponse()
    _say(response, say, language, voice)
    if asked is not None:
        _ask(response, asked, voice)
    stream = Stream(
        url=_legal(ws_url),
        status_callback=_legal(status_url) or None,
        status_callback_method="POST" if status_url else None,
    )
    for name, value in parameters.items():
        _add_parameter(stream, name, value)
    connect = Connect(action=_legal(action_url), method="POST")
    connect.append(stream)
    response.append(connect)
    return _document(response)


def say_and_hang_up(sentence: str, *, language: str = "", voice: str = "") -> str:
    """A last sentence, then the end of the call. An empty sentence only ends it."""
    response = VoiceResponse()
    _say(response, sentence, language, voice)
    response.hangup()
    return _document(response)


class Ringing(NamedTuple):
    """How somebody is called. caller_id: the number that he sees, empty for the caller's own. rings_s: for how long.

    action_url: asked by POST when that is over, answered or not; empty ends the call then. whisper_url: asked by POST
    when he has answered; its TwiML is heard by him alone, before he has the caller on the line.
    """

    caller_id: str = ""
    rings_s: int = 30
    action_url: str = ""
    whisper_url: str = ""


PLAIN = Ringing()


def transfer(number: str, sentence: str = "", *, language: str = "", ringing: Ringing = PLAIN) -> str:
    """An optional last sentence, then somebody else on the line.

    number: a telephone number, or a SIP address beginning `sip:`.
    """
    response = VoiceResponse()
    _say(response, sentence, language, "")
    dial = response.dial(
        caller_id=_legal(ringing.caller_id) or None,
        timeout=ringing.rings_s,
        action=_legal(ringing.action_url) or None,
        method="POST" if ringing.action_url else None,
    )
    whom, whisper = _legal(number).strip(), _legal(ringing.whisper_url) or None
    noun = dial.sip if whom.startswith(("sip:", "sips:")) else dial.number
    noun(whom, url=whisper, method="POST" if whisper else None)
    return _document(response)


def whisper(sentence: str, *, language: str = "") -> str:
    """What somebody hears before he has the caller on the line."""
    response = VoiceResponse()
    _say(response, sentence, language, "")
    return _document(response)


def hang_up() -> str:
    """The end of the call, without a word."""
    return say_and_hang_up("")


def _ask(response: VoiceResponse, asked: Asked, voice: str) -> None:
    if not asked.answer_url:
        _say(response, asked.wording, asked.language, voice)
        return
    gather = Gather(
        input="dtmf",
        num_digits=1,
        timeout=asked.seconds,
        finish_on_key="",  # every key is an answer, # too
        action=_legal(asked.answer_url),
        method="POST",
    )
    _say(gather, asked.wording, asked.language, voice)
    response.append(gather)


def _say(response: VoiceResponse | Gather, sentence: str, language: str, voice: str) -> None:
    spoken = _legal(sentence).strip()
    if spoken:
        response.say(spoken, language=_legal(language) or None, voice=_legal(voice) or None)


def _add_parameter(stream: Stream, name: str, value: str) -> None:
    name, value = _legal(name), _legal(value)
    chars = len(name) + len(value)
    if chars > MAX_PARAMETER_CHARS:
        raise TwimlError(
            f"parameter {name[:80]!r} has {chars} characters of name and value; "
            f"Twilio carries at most {MAX_PARAMETER_CHARS}: shorten it"
        )
    stream.parameter(name=name, value=value)


def _check_stream_url(ws_url: str) -> None:
    parts = urlsplit(ws_url)
    if parts.scheme not in {"wss", "ws"} or not parts.netloc:
        raise TwimlError("the stream's URL is not wss://host/path")
    if parts.query or parts.fragment:
        raise TwimlError("the stream's URL has a query or fragment, which Twilio drops: use a parameter")


def _legal(text: str) -> str:
    return _ILLEGAL.sub("", text)


def _document(response: VoiceResponse) -> str:
    document = str(response)
    size = len(document.encode())
    if size > MAX_DOCUMENT_BYTES:
        raise TwimlError(f"the TwiML has {size} bytes; Twilio reads at most {MAX_DOCUMENT_BYTES}: say less")
    return document
