"""The carrier's REST side: the calls resource of Twilio's API 2010-04-01, as far as a voice gateway uses it.

Create, fetch and update, with Basic authentication and Twilio's error bodies. Twilio's client libraries work against
it: `client.api.base_url = carrier.rest_url`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal, Protocol

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voice_gateway.emulator.carrier_office import rfc2822
from voice_gateway.emulator.carrier_script import Inline, Page, Plan, Source
from voice_gateway.emulator.phone_call import PhoneCall

TWIML_LIMIT = 4000
_ADDRESS = re.compile(r"\+[1-9]\d{6,14}|client:\S+|sip:\S+")
_STATUS_EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})

_MESSAGES: Mapping[int, tuple[int, str]] = {
    20001: (400, "Unknown or malformed parameter"),
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    21201: (400, "No 'To' number is specified"),
    21205: (400, "Url is not a valid URL"),
    21211: (400, "Invalid 'To' Phone Number"),
    21212: (400, "Invalid 'From' Phone Number"),
    21213: (400, "No 'From' number is specified"),
    21218: (400, "No 'Url' or 'Twiml' is specified"),
    21220: (400, "Call is not in-progress. Cannot redirect."),
}


class RestError(Exception):
    """An answer that is an error. code: of Twilio's error dictionary."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class Exchange(Protocol):
    """Who rings telephones: the carrier."""

    @property
    def calls(self) -> Mapping[str, PhoneCall]: ...

    def create(self, from_number: str, to_number: str, plan: Plan) -> PhoneCall: ...
    def update(self, call_sid: str, source: Source) -> None: ...
    def end(self, call_sid: str, *, canceled: bool = False) -> None: ...
    def next_refusal(self) -> int | None: ...


class RestSide:
    """The resource for one account."""

    def __init__(self, account_sid: str, auth_token: str, exchange: Exchange) -> None:
        self._account_sid = account_sid
        self._auth_token = auth_token
        self._exchange = exchange

    def app(self) -> Starlette:
        calls = "/2010-04-01/Accounts/{account}/Calls"
        return Starlette(
            routes=[
                Route(f"{calls}.json", self._create, methods=["POST"]),
                Route(f"{calls}/{{call}}.json", self._fetch, methods=["GET"]),
                Route(f"{calls}/{{call}}.json", self._update, methods=["POST"]),
            ],
            exception_handlers={RestError: _refused, 404: _not_found},
        )

    async def _create(self, request: Request) -> Response:
        self._admit(request)
        form = await request.form()
        to_number, from_number = _address(form, "To", 21201, 21211), _address(form, "From", 21213, 21212)
        source = _source(form)
        if source is None:
            raise RestError(21218)
        return JSONResponse(self._resource(self._exchange.create(from_number, to_number, _plan(form, source))), 201)

    async def _fetch(self, request: Request) -> Response:
        self._admit(request)
        return JSONResponse(self._resource(self._call(request)))

    async def _update(self, request: Request) -> Response:
        self._admit(request)
        call = self._call(request)
        form = await request.form()
        if call.outcome:
            raise RestError(21220)
        status = _text(form, "Status")
        if status:
            self._end(call, status)
        elif source := _source(form):
            self._exchange.update(call.call_sid, source)
        else:
            raise RestError(21218)
        await asyncio.sleep(0)
        return JSONResponse(self._resource(call))

    def _end(self, call: PhoneCall, status: str) -> None:
        if status not in {"completed", "canceled"}:
            raise RestError(20001)
        talking = call.status == "in-progress"
        if status == "canceled" and talking:
            raise RestError(21220)
        self._exchange.end(call.call_sid, canceled=status == "canceled" or not talking)

    def _admit(self, request: Request) -> None:
        """Authentication, account, and what a test wants refused."""
        expected = f"{self._account_sid}:{self._auth_token}".encode()
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            given = b64decode(encoded, validate=True)
        except ValueError:
            given = b""
        if scheme.lower() != "basic" or not secrets.compare_digest(given, expected):
            raise RestError(20003)
        if request.path_params["account"] != self._account_sid:
            raise RestError(20404)
        refusal = self._exchange.next_refusal()
        if refusal is not None:
            raise RestError(refusal)

    def _call(self, request: Request) -> PhoneCall:
        call = self._exchange.calls.get(request.path_params["call"])
        if call is None:
            raise RestError(20404)
        return call

    def _resource(self, call: PhoneCall) -> dict[str, Any]:
        parties = call.parties
        uri = f"/2010-04-01/Accounts/{self._account_sid}/Calls/{call.call_sid}"
        over = bool(call.outcome)
        return {
            "sid": call.call_sid,
            "account_sid": self._account_sid,
            "api_version": "2010-04-01",
            "from": parties.from_number,
            "from_formatted": parties.from_number,
            "to": parties.to_number,
            "to_formatted": parties.to_number,
            "status": call.status,
            "direction": parties.direction,
            "date_created": rfc2822(call.created_at),
            "date_updated": rfc2822(),
            "start_time": rfc2822(call.created_at) if call.status == "in-progress" or over else None,
            "end_time": rfc2822(call.ended_at) if over else None,
            "duration": str(round(call.length_s)) if over else None,
            "price": None,
            "price_unit": "USD",
            "answered_by": None,
            "caller_name": None,
            "forwarded_from": None,
            "group_sid": None,
            "parent_call_sid": None,
            "phone_number_sid": None,
            "queue_time": "0",
            "trunk_sid": None,
            "annotation": None,
            "uri": f"{uri}.json",
            "subresource_uris": {"recordings": f"{uri}/Recordings.json", "streams": f"{uri}/Streams.json"},
        }


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _address(form: FormData, name: str, missing: int, invalid: int) -> str:
    text = _text(form, name)
    if not text:
        raise RestError(missing)
    if not _ADDRESS.fullmatch(text):
        raise RestError(invalid)
    return text


def _source(form: FormData) -> Source | None:
    """Url wins over Twiml when both are given."""
    url, twiml = _text(form, "Url"), _text(form, "Twiml")
    if url:
        if not re.match(r"https?://[^/]", url):
            raise RestError(21205)
        return Page(url, _text(form, "Method") or "POST")
    if len(twiml) > TWIML_LIMIT:
        raise RestError(20001)
    return Inline(twiml) if twiml else None


def _plan(form: FormData, source: Source) -> Plan:
    events = {str(event) for value in form.getlist("StatusCallbackEvent") for event in str(value).split()}
    fallback = _text(form, "FallbackUrl")
    limit = _text(form, "TimeLimit")
    return Plan(
        source,
        fallback=Page(fallback, _text(form, "FallbackMethod") or "POST") if fallback else None,
        status_callback=_text(form, "StatusCallback"),
        status_method=_text(form, "StatusCallbackMethod") or "POST",
        status_events=frozenset(events & _STATUS_EVENTS) or frozenset({"completed"}),
        time_limit_s=float(limit) if limit.isdecimal() else 14400.0,
        detection=_detection(form),
        detection_callback=_text(form, "AsyncAmdStatusCallback"),
    )


def _detection(form: FormData) -> Literal["", "sync", "async"]:
    if _text(form, "MachineDetection") not in {"Enable", "DetectMessageEnd"}:
        return ""
    return "async" if _text(form, "AsyncAmd").lower() == "true" else "sync"


async def _refused(_request: Request, error: Exception) -> Response:
    code = error.code if isinstance(error, RestError) else 20404
    status, message = _MESSAGES.get(code, (400, "Refused"))
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return JSONResponse(body, status)


async def _not_found(request: Request, _error: Exception) -> Response:
    return await _refused(request, RestError(20404))


@asynccontextmanager
async def serve(app: Starlette, host: str, port: int, *, sockets: bool = False) -> AsyncIterator[str]:
    """Serve an app on this loop, without touching the process's signals. Gives its base URL.

    sockets: whether it takes WebSockets, too.
    """
    protocol: Literal["websockets-sansio", "none"] = "websockets-sansio" if sockets else "none"
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, ws=protocol, timeout_graceful_shutdown=1
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server((host, port)) as listener:
        await server.startup(sockets=[listener])
        ticking = asyncio.create_task(server.main_loop(), name="carrier rest")
        try:
            yield f"http://{host}:{listener.getsockname()[1]}"
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})
            await server.shutdown(sockets=[listener])
