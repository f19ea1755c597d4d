"""Doors to a live call, for programs of one's own. Closed as long as there is no API_TOKEN.

| door | what it takes | answer |
|---|---|---|
| POST /calls/{call_sid}/recording | `{"paused": true}` or `{"paused": false}` | 200 `{"paused": true}` |

Every request carries `Authorization: Bearer <API_TOKEN>`. A call without a media stream is none here. Every error is a
problem (`web/problem.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from voice_gateway.call.events import PauseAsked, ResumeAsked
from voice_gateway.ops import logs
from voice_gateway.switchboard import Switchboard
from voice_gateway.web.bearer import bears
from voice_gateway.web.clients import CHALLENGE
from voice_gateway.web.doors import read_json, read_shape
from voice_gateway.web.problem import Problem
from voice_gateway.web.shapes import Pause
from voice_gateway.web.strangers import Strangers, address_of

BY = "api"


class CallDoors:
    def __init__(self, switchboard: Switchboard, token: str, count_refusal: Callable[[str, str], None]) -> None:
        """token: what a request must bring; empty: there are no doors. count_refusal: told (door, reason)."""
        self._switchboard = switchboard
        self._token = token
        self._count_refusal = count_refusal
        self._strangers = Strangers()
        self._log = logs.get("web.calls")

    def routes(self) -> list[BaseRoute]:
        if not self._token:
            return []
        return [Route("/calls/{call_sid}/recording", self.recording, methods=["POST"])]

    async def recording(self, request: Request) -> Response:
        """Pause a call's recording or let it go on; what is already so stays so."""
        try:
            return JSONResponse({"paused": await self._pause(request)})
        except Problem as problem:
            return problem.response()
        except ClientDisconnect:
            return Response(status_code=499)

    async def _pause(self, request: Request) -> bool:
        right = bears(request.headers.get("authorization", ""), self._token)
        try:
            self._strangers.check(address_of(request), "token" if right else "")
        except Problem:
            self._count_refusal("api", "rate")
            raise
        if not right:
            self._count_refusal("api", "token")
            self._log.warning("api.refused", path="/calls/{call_sid}/recording", reason="token")
            advice = "send the header Authorization: Bearer and the API_TOKEN"
            raise Problem("key", advice, headers={"www-authenticate": CHALLENGE})
        paused = read_shape(await read_json(request, of_any_type=True), Pause).paused
        event = PauseAsked(BY) if paused else ResumeAsked(BY)
        if not self._switchboard.tell(request.path_params["call_sid"], event):
            raise Problem("unknown_call", "no call of this CallSid has a media stream here now")
        return paused
