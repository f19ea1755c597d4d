"""The emulated text model: `POST http://HOST:PORT/v1/responses`, as the `openai` package's client expects it.

What it answers is a mind's, the same kind as the emulated voice model's. It does not stream and keeps nothing: every
request brings all of its input.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import time
from types import TracebackType
from typing import Final, Self

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voice_gateway.emulator.carrier_rest import serve
from voice_gateway.emulator.faculties import Act, Mind, Say, UseTool
from voice_gateway.emulator.realtime_items import Wire
from voice_gateway.emulator.realtime_schema import Refused
from voice_gateway.emulator.responses_reply import Writer
from voice_gateway.emulator.responses_request import check, situation

TEXT_MODEL: Final = "gpt-5.4-mini"
REFUSAL: Final = "I'm sorry, but I can't help with that."
_ERRORS: Final = {
    400: ("invalid_request_error", "invalid_request"),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", "server_error"),
    503: ("server_error", "server_overloaded"),
}


@dataclass(frozen=True, slots=True)
class TextFaults:
    """Ways for the emulated text model to misbehave. Every field is off by default.

    status: answer with this HTTP status (401, 429, 500 ...) and a JSON error. retry_after_s: say so, in its header.
    times: of that, only the first so many requests; 0 for all. hang_s: wait so long before anything is answered.
    garbage: answer 200 with half of a JSON object. empty: answer without a word. long: a text of so many letters.
    refuse: decline. incomplete: break off for this reason (`max_output_tokens`, `content_filter`). fail: end `failed`
    with this code. tool_for_ever: call the first tool there is, again and again.
    """

    status: int = 0
    retry_after_s: float = 0.0
    times: int = 0
    hang_s: float = 0.0
    garbage: bool = False
    empty: bool = False
    long: int = 0
    refuse: bool = False
    incomplete: str = ""
    fail: str = ""
    tool_for_ever: bool = False


class ResponsesServer:
    """An emulated text model that listens while the context is open.

    mind: what to answer. api_key: the bearer that is let in; None lets in any. port: 0 takes a free one.
    faults: may be set anew at any time. requests: the bodies that came, in order; answers: what they were told.
    """

    def __init__(
        self,
        *,
        mind: Mind,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: TextFaults | None = None,
        models: Sequence[str] = (TEXT_MODEL,),
        seed: int = 0,
    ) -> None:
        self.faults = faults or TextFaults()
        self.requests: list[Wire] = []
        self.answers: list[Wire] = []
        self._mind = mind
        self._api_key = api_key
        self._host, self._port = host, port
        self._models = tuple(models)
        self._writer = Writer(seed)
        self._stack = AsyncExitStack()
        self._leaving = asyncio.Event()
        self._news = asyncio.Condition()
        self._origin = ""

    async def __aenter__(self) -> Self:
        app = Starlette(routes=[Route("/v1/responses", self._respond, methods=["POST"])])
        self._origin = await self._stack.enter_async_context(serve(app, self._host, self._port))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """The base address, as clients are given it."""
        return f"{self._origin}/v1"

    @property
    def model(self) -> str:
        return self._models[0]

    async def asked(self, count: int = 1) -> Wire:
        """Wait until so many requests have come in all; returns the last of these."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.requests) >= count)
        return self.requests[count - 1]

    async def _respond(self, request: Request) -> Response:
        if refused := self._turned_away(request):
            return refused
        try:
            body = orjson.loads(await request.body())
        except orjson.JSONDecodeError:
            return self._error(400, "We could not parse the JSON body of your request.")
        return await self._take(body, self.faults, request)

    async def _take(self, body: Wire, faults: TextFaults, request: Request) -> Response:
        async with self._news:
            self.requests.append(body)
            self._news.notify_all()
        if faults.hang_s and await self._is_left(faults.hang_s, request):
            return self._error(503, "Nobody waits for this any more.")
        if faults.status and (not faults.times or len(self.requests) <= faults.times):
            return self._error(faults.status, "The service refuses on demand.", retry_after_s=faults.retry_after_s)
        try:
            check(body)
        except Refused as problem:
            return self._error(400, problem.message, code=problem.code, param=problem.param)
        if body["model"] not in self._models:
            message = f"The model `{body['model']}` does not exist or you do not have access to it."
            return self._error(404, message, param="model")
        answer = await self._answer(body, faults)
        self.answers.append(answer)
        written = orjson.dumps(answer)
        return self._json(200, written[: len(written) // 2] if faults.garbage else written)

    async def _answer(self, body: Wire, faults: TextFaults) -> Wire:
        now = time()
        if faults.refuse:
            return self._writer.refusal(body, REFUSAL, now=now)
        if faults.fail:
            return self._writer.failed(body, faults.fail, now=now)
        acts = await self._acts(body, faults)
        if faults.incomplete:
            return self._writer.incomplete(body, acts, faults.incomplete, now=now)
        return self._writer.write(body, acts, now=now)

    async def _acts(self, body: Wire, faults: TextFaults) -> Sequence[Act]:
        asked = situation(body)
        if faults.tool_for_ever and asked.tools:
            return [UseTool(str(asked.tools[0]["name"]), {"again": len(self.requests)})]
        if faults.empty:
            return []
        if faults.long:
            return [Say("la " * (faults.long // 3))]
        return list(await asyncio.to_thread(self._mind.respond, asked))

    async def _is_left(self, seconds: float, request: Request) -> bool:
        """Wait; True as soon as nobody waits for the answer any more, or the server is to end."""
        ends = {asyncio.ensure_future(self._leaving.wait()), asyncio.ensure_future(request.receive())}
        done, waiting = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for end in waiting:
            end.cancel()
        return bool(done)

    def _turned_away(self, request: Request) -> Response | None:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not bearer:
            return self._error(401, "You didn't provide an API key.")
        if self._api_key is not None and not hmac.compare_digest(bearer.encode(), self._api_key.encode()):
            return self._error(401, "Incorrect API key provided.")
        return None

    def _error(
        self, status: int, message: str, *, code: str = "", param: str | None = None, retry_after_s: float = 0.0
    ) -> Response:
        kind, usual = _ERRORS.get(status, ("server_error", "server_error"))
        error = {"message": message, "type": kind, "param": param, "code": code or usual}
        answer = self._json(status, orjson.dumps({"error": error}))
        if retry_after_s:
            answer.headers["retry-after"] = f"{retry_after_s:g}"
        return answer

    def _json(self, status: int, body: bytes) -> Response:
        headers = {"x-request-id": self._writer.new_id("req")}
        return Response(body, status, headers, media_type="application/json")
