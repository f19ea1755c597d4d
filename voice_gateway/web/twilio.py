"""The carrier's doors: the voice webhook, what comes after a stream, status callbacks, and the media stream itself.

| door | asked by the carrier | answer |
|---|---|---|
| POST /twilio/answer | when a call comes in | TwiML: a spoken line, a notice or a question, then the media stream |
| POST /twilio/consent | when the caller pressed a key at that question | TwiML: the media stream |
| WS /ws/twilio | when it opens the media stream | the call itself |
| POST /twilio/whisper | when a colleague answered, before he has the caller | TwiML: what it is about |
| POST /twilio/transferred | when putting through is over, answered or not | TwiML: the end, or the media stream again |
| POST /twilio/after | when the media stream has ended | TwiML: a last sentence if one is owed, the end or a transfer |
| POST /twilio/status | when the call's status changes | 204; a call whose stream was lost without a word ends |
| POST /twilio/stream-status | when the stream starts, stops or fails | 204 |

Twilio turns any HTTP error here into "an application error has occurred" for the caller, so only a bad signature gets
one; a gateway that is disabled or full says so in words.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import FormData
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from voice_gateway.call.events import CallFacts
from voice_gateway.caller import twiml
from voice_gateway.caller.consent import SECONDS_FOR_AN_ANSWER, Consent, Terms
from voice_gateway.caller.farewells import Farewell
from voice_gateway.caller.media_stream import MediaStreamDialect, StreamStarted
from voice_gateway.caller.signature import SignatureCheck, public_url
from voice_gateway.caller.socket import POLICY_VIOLATION, CallerSocket, StreamNeverStarted
from voice_gateway.caller.tokens import StreamTokens, TokenVerdict
from voice_gateway.ops import logs
from voice_gateway.switchboard import LiveCall, Refusal, Switchboard
from voice_gateway.transfers import UNANSWERED, PutThrough, Transfers

MAX_FORM_BYTES = 64 * 1024
MAX_FORM_FIELDS = 200
FORM_TIMEOUT = 10.0
ENDED_STATUSES = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})


@dataclass(frozen=True, slots=True)
class Sentences:
    """What the carrier's voice says for us. answer: before the AI is there; empty says nothing."""

    answer: str
    disabled: str
    busy: str
    budget: str
    failed: str


@dataclass(frozen=True, slots=True)
class Closed:
    """What becomes of a caller outside business hours. say: by the carrier's voice; transfer_number: empty hangs up."""

    say: str
    transfer_number: str = field(default="", repr=False)
    language: str = ""


@dataclass(frozen=True, slots=True)
class Doorbell:
    """Where the carrier finds us and what every door needs.

    base_url: https, without a trailing slash. ws_url: exactly the `wss://` URL for the TwiML. signatures: None when the
    check is switched off. wall_clock: seconds since 1970. count_refusal: told (door, reason). start_timeout_s: how long
    a media stream may stay silent before its `start`. recording_terms: how a caller's consent to a recording is had;
    None where calls are not recorded. closed: by a persona's key, what becomes of its callers where it does not answer
    now. put_through: how the colleague of a call is called.
    """

    base_url: str
    ws_url: str
    sentences: Sentences
    signatures: SignatureCheck | None
    tokens: StreamTokens
    wall_clock: Callable[[], float]
    count_refusal: Callable[[str, str], None]
    count_dropped: Callable[[str, int], None]
    start_timeout_s: float = 3.0
    enabled: bool = True
    choose_persona: Callable[[str, str, str], str] = lambda _from, _to, _language: ""
    recording_terms: Callable[[CallFacts], Terms] | None = None
    closed: Callable[[str], Closed | None] = lambda _persona: None
    put_through: Callable[[CallFacts, str], PutThrough] = lambda _facts, _number: PutThrough()
    transfers: Transfers = field(default_factory=Transfers)


class TwilioDoors:
    def __init__(self, switchboard: Switchboard, doorbell: Doorbell) -> None:
        self._switchboard = switchboard
        self._bell = doorbell
        self._log = logs.get("web.twilio")

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/twilio/answer", self.answer, methods=["POST"]),
            Route("/twilio/consent", self.consent, methods=["POST"]),
            Route("/twilio/after", self.after, methods=["POST"]),
            Route("/twilio/whisper", self.whisper, methods=["POST"]),
            Route("/twilio/transferred", self.transferred, methods=["POST"]),
            Route("/twilio/status", self.status, methods=["POST"]),
            Route("/twilio/stream-status", self.stream_status, methods=["POST"]),
            WebSocketRoute("/ws/twilio", self.media_stream),
        ]

    # --- webhooks -----------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        form = await self._signed_form(request, "answer")
        if isinstance(form, Response):
            return form
        sentences = self._bell.sentences
        facts = _facts(form, request.query_params.get("language", ""), self._bell.choose_persona)
        if not facts.call_sid:
            return self._refuse(
                "answer", "no_call_sid", 400, "CallSid is missing: this is no voice webhook of Twilio's"
            )
        if not self._bell.enabled:
            self._log.info("twilio.answer.disabled", **_who(facts))
            return _twiml(twiml.say_and_hang_up(sentences.disabled))
        closed = self._bell.closed(facts.persona) if self._switchboard.find(facts.call_sid) is None else None
        if closed is not None:
            return self._turn_away_closed(facts, closed)
        call = self._switchboard.admit(facts)
        if isinstance(call, Refusal):
            self._bell.count_refusal("admission", call.value)
            self._log.warning("twilio.answer.refused", reason=call.value, **_who(facts))
            return _twiml(_farewell(call, sentences))
        if call.consent is None and self._bell.recording_terms is not None:
            call.consent = Consent(self._bell.recording_terms(call.facts))
        self._log.info("twilio.answer.connecting", **_who(call.facts))
        return _twiml(self._connect(call))

    def _turn_away_closed(self, facts: CallFacts, closed: Closed) -> Response:
        """Outside the hours of who would answer: the same again should the carrier ask again."""
        self._log.info("twilio.answer.closed", persona=facts.persona, **_who(facts))
        self._switchboard.turn_away(facts, "closed", Farewell(transfer_number=closed.transfer_number))
        if closed.transfer_number:
            return _twiml(self._dial(facts, closed.transfer_number, closed.say))
        return _twiml(twiml.say_and_hang_up(closed.say, language=closed.language))

    def _connect(self, call: LiveCall, *, answered: bool = False) -> str:
        base = self._bell.base_url
        facts = call.facts
        return twiml.connect_stream(
            ws_url=self._bell.ws_url,
            action_url=f"{base}/twilio/after",
            status_url=f"{base}/twilio/stream-status",
            parameters={
                "token": self._bell.tokens.mint(facts.call_sid, self._bell.wall_clock()),
                "from": facts.from_number[:200],
                "to": facts.to_number[:200],
                "direction": facts.direction[:50],
            },
            say="" if answered else self._bell.sentences.answer,
            asked=None if call.consent is None else _asked(call.consent, base),
        )

    async def consent(self, request: Request) -> Response:
        form = await self._signed_form(request, "consent")
        if isinstance(form, Response):
            return form
        call = self._switchboard.find(_text(form, "CallSid"))
        if call is None or call.consent is None:
            return _twiml(twiml.say_and_hang_up(self._bell.sentences.failed))
        for entry in call.consent.press(_text(form, "Digits")):
            call.record.write(entry)
        self._log.info("twilio.consent", given=call.consent.answer, **_who(call.facts))
        return _twiml(self._connect(call, answered=True))

    async def after(self, request: Request) -> Response:
        form = await self._signed_form(request, "after")
        if isinstance(form, Response):
            return form
        call_sid = _text(form, "CallSid")
        if self._switchboard.give_up(call_sid):
            return _twiml(twiml.say_and_hang_up(self._bell.sentences.failed))
        farewell = self._switchboard.farewell(call_sid)
        if farewell.transfer_number:
            self._log.info("twilio.after.transfer", call_sid=call_sid, to_number=farewell.transfer_number)
            away = self._bell.transfers.find(call_sid)
            facts = CallFacts(call_sid, persona="") if away is None else away.record.facts
            return _twiml(self._dial(facts, farewell.transfer_number, farewell.say))
        return _twiml(twiml.say_and_hang_up(farewell.say))

    def _dial(self, facts: CallFacts, number: str, say: str) -> str:
        """Put a caller through, and hear how that went."""
        wish, base = self._bell.put_through(facts, number), self._bell.base_url
        whisper_url = f"{base}/twilio/whisper?{urlencode({'call': facts.call_sid})}" if wish.whispers else ""
        ringing = twiml.Ringing(wish.caller_id, wish.rings_s, f"{base}/twilio/transferred", whisper_url)
        return twiml.transfer(number, say, language=wish.language, ringing=ringing)

    async def whisper(self, request: Request) -> Response:
        form = await self._signed_form(request, "whisper")
        if isinstance(form, Response):
            return form
        away = self._bell.transfers.find(request.query_params.get("call", ""))
        if away is None:
            return _twiml(twiml.whisper(""))
        wish = self._bell.put_through(away.record.facts, away.transfer_number)
        said = "" if wish.whispers is None else wish.whispers(away.reason, away.summary)
        return _twiml(twiml.whisper(said, language=wish.language))

    async def transferred(self, request: Request) -> Response:
        """How putting through went. Whom nobody answered comes back to the model, if calls are taken."""
        form = await self._signed_form(request, "transferred")
        if isinstance(form, Response):
            return form
        call_sid, outcome = _text(form, "CallSid"), _text(form, "DialCallStatus") or "failed"
        self._log.info("twilio.transfer.ended", call_sid=call_sid, outcome=outcome)
        away = self._bell.transfers.finish(call_sid, outcome, _seconds(form, "DialCallDuration"))
        gone = _text(form, "CallStatus") in ENDED_STATUSES
        if gone or outcome not in UNANSWERED:
            return _twiml(twiml.hang_up())
        call = self._switchboard.take_back(call_sid, outcome) if self._bell.enabled else Refusal.UNKNOWN
        if isinstance(call, LiveCall):
            self._log.info("twilio.transfer.back", **_who(call.facts))
            return _twiml(self._connect(call, answered=True))
        facts = CallFacts(call_sid) if away is None else away.record.facts
        wish = self._bell.put_through(facts, "" if away is None else away.transfer_number)
        return _twiml(twiml.say_and_hang_up(wish.unanswered, language=wish.language))

    async def status(self, request: Request) -> Response:
        form = await self._signed_form(request, "status")
        if isinstance(form, Response):
            return form
        status = _text(form, "CallStatus")
        self._log.info("twilio.call.status", call_sid=_text(form, "CallSid"), status=status)
        if status in ENDED_STATUSES:
            self._switchboard.end(_text(form, "CallSid"), f"carrier_{status.replace('-', '_')}")
        return Response(status_code=204)

    async def stream_status(self, request: Request) -> Response:
        form = await self._signed_form(request, "stream_status")
        if isinstance(form, Response):
            return form
        event = _text(form, "StreamEvent")
        tell = self._log.warning if event == "stream-error" else self._log.info
        tell(
            "twilio.stream.status",
            call_sid=_text(form, "CallSid"),
            stream_event=event,
            error=_text(form, "StreamError"),
        )
        return Response(status_code=204)

    async def _signed_form(self, request: Request, door: str) -> FormData | Response:
        """The form of a webhook that really comes from the carrier; otherwise the refusal to send back."""
        try:
            form = await _read_form(request)
        except _BadForm as bad:
            return self._refuse(door, bad.reason, bad.status_code, bad.sentence)
        if self._bell.signatures is None:
            return form
        url = public_url(self._bell.base_url, request.scope["raw_path"], request.scope["query_string"])
        verdict = self._bell.signatures.check_http(url, form, request.headers)
        if verdict:
            return form
        return self._refuse(door, "signature", 403, "the signature is missing or wrong", verdict=verdict.value)

    def _refuse(self, path: str, reason: str, status_code: int, sentence: str, **details: str) -> Response:
        self._bell.count_refusal("webhook", reason)
        self._log.warning("twilio.webhook.refused", path=path, reason=reason, **details)
        return Response(sentence, status_code=status_code, media_type="text/plain")

    # --- the media stream ---------------------------------------------------------------------------------------

    async def media_stream(self, websocket: WebSocket) -> None:
        socket = CallerSocket.over(websocket, start_timeout_s=self._bell.start_timeout_s)
        if self._bell.signatures is not None:
            verdict = self._bell.signatures.check_websocket(self._bell.ws_url, websocket.headers)
            if not verdict:
                self._turn_away("signature", verdict=verdict.value)
                await socket.reject()
                return
        await socket.accept()
        dialect = MediaStreamDialect()
        try:
            started = await socket.start(dialect)
        except StreamNeverStarted as never:
            self._turn_away("no_start", detail=str(never))
            return
        finally:
            self._count_dropped(dialect)
        call = self._recognise(started)
        if isinstance(call, str):
            self._turn_away(call, call_sid=started.call_sid)
            await socket.close(POLICY_VIOLATION, call)
            return
        self._log.info("twilio.session.started", stream_sid=started.stream_sid, **_who(call.facts))
        try:
            await self._switchboard.carry(call, socket, dialect, started.stream_sid)
        finally:
            self._count_dropped(dialect)
            reason = call.session.end_reason if call.session is not None else ""
            self._log.info("twilio.session.ended", stream_sid=started.stream_sid, reason=reason, **_who(call.facts))

    def _recognise(self, started: StreamStarted) -> LiveCall | str:
        """The call this stream belongs to, or why it belongs to none."""
        token = started.custom_parameters.get("token", "")
        verdict = self._bell.tokens.redeem(token, started.call_sid, self._bell.wall_clock())
        if not verdict:
            return verdict.value if verdict in {TokenVerdict.EXPIRED, TokenVerdict.REPLAYED} else "token"
        call = self._switchboard.claim(started.call_sid)
        return call.value if isinstance(call, Refusal) else call

    def _turn_away(self, reason: str, **details: str) -> None:
        self._bell.count_refusal("stream", reason)
        self._log.warning("twilio.stream.refused", reason=reason, **details)

    def _count_dropped(self, dialect: MediaStreamDialect) -> None:
        for reason, count in dialect.dropped.items():
            self._bell.count_dropped(reason, count)
        dialect.dropped.clear()


class _BadForm(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, reason: str, status_code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reason, self.status_code, self.sentence = reason, status_code, sentence


async def _read_form(request: Request) -> FormData:
    """Read a webhook's form with a bound on size, number of fields and time; the carrier sends only this encoding."""
    body = bytearray()
    try:
        async with asyncio.timeout(FORM_TIMEOUT):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_FORM_BYTES:
                    raise _BadForm("too_large", 413, f"the form is larger than {MAX_FORM_BYTES} bytes")
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except TimeoutError:
        raise _BadForm("too_slow", 408, f"the form did not arrive within {FORM_TIMEOUT:g} s") from None
    except ClientDisconnect:
        raise _BadForm("gone", 400, "the client left") from None
    except ValueError as fault:
        raise _BadForm("bad_form", 400, "the body is no application/x-www-form-urlencoded form in UTF-8") from fault
    return FormData([(name, value) for name, value in fields])


def _facts(form: FormData, language: str, choose_persona: Callable[[str, str, str], str]) -> CallFacts:
    from_number, to_number = _text(form, "From"), _text(form, "To")
    return CallFacts(
        call_sid=_text(form, "CallSid"),
        from_number=from_number,
        to_number=to_number,
        direction=_text(form, "Direction") or "inbound",
        correlation_id=uuid.uuid4().hex,
        persona=choose_persona(from_number, to_number, language[:20]),
    )


def _text(form: FormData, name: str) -> str:
    """A form field as text, of a sane length, without control characters."""
    value = form.get(name, "")
    return "".join(c for c in value[:256] if c.isprintable()) if isinstance(value, str) else ""


def _seconds(form: FormData, name: str) -> int:
    """A form field as a number of seconds that a call can last; 0 for anything else."""
    text = _text(form, name)
    return int(text) if text.isdecimal() and len(text) < 7 else 0


def _asked(consent: Consent, base_url: str) -> twiml.Asked | None:
    """What the carrier's voice says of a recording before the stream begins; nothing to a caller who has answered."""
    terms = consent.terms
    if not terms.wording or consent.answer is not None:
        return None
    answer_url = f"{base_url}/twilio/consent" if terms.method == "keypress" else ""
    return twiml.Asked(terms.wording, terms.language, answer_url, SECONDS_FOR_AN_ANSWER)


def _who(facts: CallFacts) -> dict[str, str]:
    """A call's names for a log line; the log masks the numbers."""
    return {
        "call_sid": facts.call_sid,
        "correlation_id": facts.correlation_id,
        "from_number": facts.from_number,
        "to_number": facts.to_number,
        "direction": facts.direction,
    }


def _farewell(refusal: Refusal, sentences: Sentences) -> str:
    """What a caller hears whom the switchboard did not take; a CallSid that is over already needs no words."""
    if refusal is Refusal.ENDED:
        return twiml.hang_up()
    of_money = refusal in {Refusal.CALLER_BUDGET, Refusal.DAY_BUDGET}
    return twiml.say_and_hang_up(sentences.budget if of_money else sentences.busy)


def _twiml(document: str) -> Response:
    return Response(document, media_type=twiml.CONTENT_TYPE)
