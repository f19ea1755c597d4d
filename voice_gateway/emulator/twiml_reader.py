"""TwiML as the carrier reads it: strictly where Twilio is strict, with a warning where Twilio only warns.

An unreadable document is an error (11750 too large, 12300 wrong content type, 12100 not XML) and the caller hears
that an application error has occurred. An unknown element or attribute is a warning (12200) and is passed over: names
are case sensitive, so a `<say>` is never spoken. Verbs come out as frozen dataclasses, URLs untouched: relative ones
are the carrier's business, who knows where the document came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias
from xml.etree import ElementTree as ET  # its dangers, entities and size, are refused before parsing

SIZE_LIMIT = 64 * 1024
PARAMETER_LIMIT = 500
_CONTENT_TYPES = frozenset({"text/xml", "application/xml"})


class TwimlError(Exception):
    """A document that the carrier cannot use. code: of Twilio's error dictionary."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Say:
    text: str
    loop: int = 1


@dataclass(frozen=True, slots=True)
class Play:
    """Sound from a URL, or keys (digits)."""

    url: str
    digits: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    length_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Stream:
    """`url` and `parameters` as written, everything else optional."""

    url: str
    name: str = ""
    track: str = ""
    status_callback: str = ""
    status_callback_method: str = "POST"
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connect:
    stream: Stream
    action: str = ""
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Dial:
    """targets: the numbers, SIP addresses, clients, conferences or queues named, as (kind, name)."""

    targets: tuple[tuple[str, str], ...]
    action: str = ""
    method: str = "POST"
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gather:
    """Wait for keys while the prompts are spoken, and `timeout_s` longer. count: keys wanted, 0 as many as come."""

    prompts: tuple[Say | Play | Pause, ...] = ()
    action: str = ""
    method: str = "POST"
    count: int = 0
    timeout_s: float = 5.0
    finish_on: str = "#"


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Reject:
    reason: str = "rejected"


@dataclass(frozen=True, slots=True)
class Hangup:
    pass


@dataclass(frozen=True, slots=True)
class Other:
    """A verb of TwiML's that this carrier knows by name only and passes over."""

    name: str
    attributes: Mapping[str, str]


Verb: TypeAlias = Say | Play | Pause | Connect | Dial | Gather | Redirect | Reject | Hangup | Other


@dataclass(frozen=True, slots=True)
class Document:
    """What to do, in order, and what was odd about it (as Twilio's debugger would tell, code 12200)."""

    verbs: tuple[Verb, ...] = ()
    warnings: tuple[str, ...] = ()


def read_reply(body: bytes, content_type: str) -> Document:
    """The document in a server's answer. An empty answer is an empty document. Raises TwimlError."""
    if len(body) > SIZE_LIMIT:
        raise TwimlError(11750, f"the answer has {len(body)} bytes; the limit is {SIZE_LIMIT}")
    if not body.strip():
        return Document()
    if content_type.partition(";")[0].strip().lower() not in _CONTENT_TYPES:
        raise TwimlError(12300, f"content type {content_type!r}; TwiML is text/xml or application/xml")
    return read_twiml(body)


def read_twiml(text: bytes | str) -> Document:
    """A document of its own, such as comes with a REST call. Raises TwimlError."""
    try:
        body = text if isinstance(text, str) else text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TwimlError(12100, f"not UTF-8: {error}") from None
    if "<!DOCTYPE" in body or "<!ENTITY" in body:
        raise TwimlError(12100, "a document type or an entity is declared; TwiML has neither")
    try:
        root = ET.fromstring(body)  # noqa: S314 - declarations were refused above, the size by read_reply
    except (ET.ParseError, ValueError) as error:  # ValueError: a lone surrogate
        raise TwimlError(12100, f"not well-formed XML: {error}") from None
    if root.tag != "Response":
        raise TwimlError(12100, f"the root element is <{root.tag}>, not <Response>")
    return _Reading().document(root)


class _Reading:
    """One pass over one document, collecting warnings."""

    def __init__(self) -> None:
        self._warnings: list[str] = []
        self._verbs: Mapping[str, Callable[[ET.Element], Verb]] = {
            "Say": self._say,
            "Play": self._play,
            "Pause": self._pause,
            "Connect": self._connect,
            "Dial": self._dial,
            "Gather": self._gather,
            "Redirect": self._redirect,
            "Reject": self._reject,
            "Hangup": self._hangup,
        }

    def document(self, root: ET.Element) -> Document:
        verbs: list[Verb] = []
        for element in root:
            if element.tag in self._verbs:
                verb = self._verbs[element.tag](element)
            elif element.tag in _OTHER_VERBS:
                verb = Other(element.tag, dict(element.attrib))
            else:
                self._warn(f"<{element.tag}> is no verb of TwiML and is passed over")
                continue
            if isinstance(verb, Reject) and verbs:
                self._warn("<Reject> works as the first verb only and is passed over")
                continue
            verbs.append(verb)
        return Document(tuple(verbs), tuple(self._warnings))

    def _say(self, element: ET.Element) -> Say:
        told = self._attributes(element, "voice language loop")
        return Say(_text(element), int(self._number(told, "loop", 1)))

    def _play(self, element: ET.Element) -> Play:
        told = self._attributes(element, "loop digits")
        return Play(_text(element), told.get("digits", ""))

    def _pause(self, element: ET.Element) -> Pause:
        return Pause(self._number(self._attributes(element, "length"), "length", 1.0))

    def _connect(self, element: ET.Element) -> Connect | Other:
        told = self._attributes(element, "action method")
        nouns = list(element)
        if len(nouns) != 1:
            raise TwimlError(12100, f"<Connect> holds {len(nouns)} nouns; exactly one is wanted")
        if nouns[0].tag != "Stream":
            return Other(f"Connect/{nouns[0].tag}", dict(nouns[0].attrib))
        return Connect(self._stream(nouns[0]), told.get("action", ""), told.get("method", "POST"))

    def _stream(self, element: ET.Element) -> Stream:
        told = self._attributes(element, "url name track statusCallback statusCallbackMethod connectorName")
        parameters: dict[str, str] = {}
        for child in element:
            if child.tag != "Parameter":
                self._warn(f"<{child.tag}> in <Stream> is passed over")
                continue
            pair = self._attributes(child, "name value")
            name, value = pair.get("name", ""), pair.get("value", "")
            if len(name) + len(value) > PARAMETER_LIMIT:
                raise TwimlError(12200, f"<Parameter> {name[:40]!r} has more than {PARAMETER_LIMIT} characters")
            parameters[name] = value
        return Stream(
            url=told.get("url", ""),
            name=told.get("name", ""),
            track=told.get("track", ""),
            status_callback=told.get("statusCallback", ""),
            status_callback_method=told.get("statusCallbackMethod", "POST"),
            parameters=parameters,
        )

    def _dial(self, element: ET.Element) -> Dial:
        told = self._attributes(element, _DIAL_ATTRIBUTES)
        targets = [(noun.tag, _text(noun)) for noun in element if noun.tag in _DIAL_NOUNS]
        bare = (element.text or "").strip()
        if bare:
            targets.insert(0, ("Number", bare))
        if not targets:
            raise TwimlError(13201, "<Dial> names nobody to call")
        return Dial(tuple(targets), told.pop("action", ""), told.pop("method", "POST"), told)

    def _gather(self, element: ET.Element) -> Gather:
        told = self._attributes(element, _GATHER_ATTRIBUTES)
        prompts: list[Say | Play | Pause] = []
        for child in element:
            prompt = self._verbs[child.tag](child) if child.tag in {"Say", "Play", "Pause"} else None
            if isinstance(prompt, Say | Play | Pause):
                prompts.append(prompt)
            else:
                self._warn(f"<{child.tag}> in <Gather> is passed over")
        return Gather(
            prompts=tuple(prompts),
            action=told.get("action", ""),
            method=told.get("method", "POST"),
            count=int(self._number(told, "numDigits", 0)),
            timeout_s=self._number(told, "timeout", 5.0),
            finish_on=told.get("finishOnKey", "#"),
        )

    def _redirect(self, element: ET.Element) -> Redirect:
        return Redirect(_text(element), self._attributes(element, "method").get("method", "POST"))

    def _reject(self, element: ET.Element) -> Reject:
        return Reject(self._attributes(element, "reason").get("reason", "rejected"))

    def _hangup(self, element: ET.Element) -> Hangup:
        self._attributes(element, "")
        return Hangup()

    def _attributes(self, element: ET.Element, known: str) -> dict[str, str]:
        names = known.split()
        for name in element.attrib:
            if name not in names:
                self._warn(f"<{element.tag}> has no attribute {name!r}; it is ignored")
        return {name: value for name, value in element.attrib.items() if name in names}

    def _number(self, told: Mapping[str, str], name: str, default: float) -> float:
        text = told.get(name)
        if text is None:
            return default
        if not text.isdecimal():
            self._warn(f"{name}={text!r} is no whole number; {default:g} is used")
            return default
        return float(text)

    def _warn(self, text: str) -> None:
        self._warnings.append(text)


def _text(element: ET.Element) -> str:
    """All text inside, SSML marks taken out, white space folded."""
    return " ".join("".join(element.itertext()).split())


_OTHER_VERBS = frozenset(
    {"Echo", "Enqueue", "Leave", "Pay", "Prompt", "Queue", "Record", "Refer", "Siprec", "Sms", "Start", "Stop"}
)
_DIAL_NOUNS = frozenset({"Number", "Sip", "Client", "Conference", "Queue", "Application"})
_DIAL_ATTRIBUTES = (
    "action method timeout hangupOnStar timeLimit callerId record trim recordingStatusCallback "
    "recordingStatusCallbackMethod recordingStatusCallbackEvent recordingTrack answerOnBridge ringTone sequential "
    "referUrl referMethod events recordingConfigurationId passports"
)
_GATHER_ATTRIBUTES = (
    "input action method timeout speechTimeout maxSpeechTime profanityFilter finishOnKey numDigits "
    "partialResultCallback partialResultCallbackMethod language hints bargeIn "
    "debug actionOnEmptyResult speechModel enhanced"
)
