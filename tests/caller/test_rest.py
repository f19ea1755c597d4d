"""Twilio's REST API, asked by the package's own client, answered by a stand-in on loopback."""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from voice_gateway.caller.rest import TwilioRequestFailed, TwilioRest

ACCOUNT, KEY, CALL = "AC" + "1" * 32, "a-very-secret-auth-token", "CA" + "2" * 32


class StandIn:
    """Answers every request with the response that the test has put there, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, list[tuple[str, Any]]]] = []
        self.credentials = ""
        self.response: Response = JSONResponse({"sid": CALL, "status": "queued"}, 201)
        self.delay_s = 0.0

    async def __call__(self, request: Request) -> Response:
        self.credentials = b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        self.asked.append((request.method, request.url.path, (await request.form()).multi_items()))
        await asyncio.sleep(self.delay_s)
        return self.response


@pytest.fixture
def twilio(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Our client and the stand-in that it talks with."""
    monkeypatch.setenv("TWILIO_EDGE", "dublin")  # the environment must not reach the client
    monkeypatch.setenv("TWILIO_REGION", "ie1")

    @asynccontextmanager
    async def open_twilio(**settings: Any) -> Any:
        stand_in = StandIn()

        async def answer(request: Request) -> Response:
            return await stand_in(request)

        app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
        async with serve(app) as port:
            rest = TwilioRest(ACCOUNT, KEY, f"http://127.0.0.1:{port}", **settings)
            try:
                yield rest, stand_in
            finally:
                await rest.close()

    return open_twilio


async def test_a_call_is_created(twilio: Any) -> None:
    async with twilio() as (rest, stand_in):
        sid = await rest.create(
            "+15550001111", "+15550002222", url="https://a.example/answer", status_callback="https://a.example/status"
        )
        assert sid == CALL
        assert stand_in.credentials == f"{ACCOUNT}:{KEY}"
        ((method, path, fields),) = stand_in.asked
        assert (method, path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json")
        assert sorted(fields) == [
            ("From", "+15550002222"),
            ("StatusCallback", "https://a.example/status"),
            ("StatusCallbackEvent", "answered"),
            ("StatusCallbackEvent", "completed"),
            ("StatusCallbackEvent", "initiated"),
            ("StatusCallbackEvent", "ringing"),
            ("Timeout", "60"),
            ("To", "+15550001111"),
            ("Url", "https://a.example/answer"),
        ]


async def test_a_call_is_given_new_twiml_and_ended(twilio: Any) -> None:
    async with twilio() as (rest, stand_in):
        stand_in.response = JSONResponse({"sid": CALL, "status": "completed"})
        await rest.update(CALL, "<Response><Hangup/></Response>")
        await rest.hang_up(CALL)
        path = f"/2010-04-01/Accounts/{ACCOUNT}/Calls/{CALL}.json"
        assert stand_in.asked == [
            ("POST", path, [("Twiml", "<Response><Hangup/></Response>")]),
            ("POST", path, [("Status", "completed")]),
        ]


async def test_a_call_that_is_over_already_is_hung_up(twilio: Any) -> None:
    async with twilio() as (rest, stand_in):
        stand_in.response = JSONResponse({"code": 21220, "message": "not in-progress", "status": 400}, 400)
        await rest.hang_up(CALL)
        with pytest.raises(TwilioRequestFailed, match="update call") as failed:
            await rest.update(CALL, "<Response/>")
        assert (failed.value.code, failed.value.status) == (21220, 400)


@pytest.mark.parametrize(
    ("response", "code", "status", "sentence"),
    [
        (
            JSONResponse({"code": 21211, "message": "The 'To' number +15550001111 is not valid", "status": 400}, 400),
            21211,
            400,
            "is not valid",
        ),
        (JSONResponse({"code": 20003, "message": "Authenticate", "status": 401}, 401), 20003, 401, "Authenticate"),
        (
            JSONResponse({"type": "about:x", "title": "Too busy", "status": 429, "code": 20429, "detail": "wait"}, 429),
            20429,
            429,
            "Too busy. wait",
        ),
        (PlainTextResponse("oh no", 503), 0, 503, "create"),
        (PlainTextResponse("not JSON", 201), 0, 0, "not an answer"),
        (JSONResponse(["odd"], 201), 0, 0, "not an answer"),
    ],
)
async def test_a_refusal_is_told_clearly_and_without_secrets(
    twilio: Any, response: Response, code: int, status: int, sentence: str
) -> None:
    async with twilio() as (rest, stand_in):
        stand_in.response = response
        with pytest.raises(TwilioRequestFailed, match=sentence) as failed:
            await rest.create("+15550001111", "+15550002222", twiml="<Response/>")
    error = failed.value
    assert (error.code, error.status, error.operation) == (code, status, "create call")
    assert error.__cause__ is None
    assert error.__suppress_context__
    for secret in (KEY, "5550001111", "5550002222"):
        assert secret not in f"{error} {error!r}"


async def test_no_answer_is_given_up_in_time(twilio: Any) -> None:
    async with twilio(timeout_s=0.1) as (rest, stand_in):
        stand_in.delay_s = 0.5
        with pytest.raises(TwilioRequestFailed, match=r"within 0\.1 s"):
            await rest.hang_up(CALL)


async def test_nobody_there_is_told(unused_tcp_port: int) -> None:
    rest = TwilioRest(ACCOUNT, KEY, f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(TwilioRequestFailed, match="no connection"):
        await rest.hang_up(CALL)
    await rest.close()


async def test_closing_is_safe_before_and_after_and_between_requests(twilio: Any) -> None:
    await TwilioRest(ACCOUNT, KEY).close()
    async with twilio() as (rest, stand_in):
        await rest.hang_up(CALL)
        await rest.close()
        await rest.close()
        await rest.hang_up(CALL)
        assert len(stand_in.asked) == 2


async def test_requests_do_not_reach_the_log(twilio: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with twilio() as (rest, _stand_in):
        await rest.create("+15550001111", "+15550002222", twiml="<Response/>")
    assert not [record for record in caplog.records if record.name.startswith("twilio")]
    assert "5550001111" not in caplog.text


async def test_mistakes_of_ours_are_refused_before_they_leave() -> None:
    rest = TwilioRest(ACCOUNT, KEY)
    for wrong in ("", "../Messages", "CA1/Recordings", "CA1?x"):
        with pytest.raises(ValueError, match="CallSid"):
            await rest.hang_up(wrong)
        with pytest.raises(ValueError, match="CallSid"):
            await rest.update(wrong, "<Response/>")
    with pytest.raises(ValueError, match="either url or twiml"):
        await rest.create("+1", "+2")
    with pytest.raises(ValueError, match="either url or twiml"):
        await rest.create("+1", "+2", url="https://a.example", twiml="<Response/>")


async def test_the_key_does_not_show() -> None:
    assert KEY not in repr(TwilioRest(ACCOUNT, KEY))
