"""Doors to a live call, for programs of one's own. Closed as long as there is no API_TOKEN.

| door | what it takes | answer |
|---|---|---|
| POST /calls/{call_sid}/recording | `{"paused": true}` or `{"paused": false}` | 200 `{"paused": true}` |

Every request carries `Authorization: Bearer <API_TOKEN>`. 401: it does not. 404: there is no such call with a media
stream. Every error is JSON with a `code` and what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from voice_gateway.call.events import PauseAsked, ResumeAsked
from voice_gateway.ops import logs
from voice_gateway.switchboard import Switchboard
from voice_gateway.web.bearer import bears

MAX_BODY_BYTES = 4096
BY = "api"


class CallDoors:
    def __init__(self, switchboard: Switchboard, token: str, count_refusal: Callable[[str, str], None]) -> None:
        """token: what a request must bring; empty: there are no doors. count_refusal: told (door, reason)."""
        self._switchboard = switchboard
        self._token = token
        self._count_refusal = count_refusal
        self._log = logs.get("web.calls")

    def routes(self) -> list[BaseRoute]:
        if not self._token:
            return []
        return [Route("/calls/{call_sid}/recording", self.recording, methods=["POST"])]

    async def recording(self, request: Request) -> JSONResponse:
        """Pause a call's recording or let it go on; what is already so stays so."""
        if not bears(request.headers.get("authorization", ""), self._token):
            self._count_refusal("api", "token")
            self._log.warning("api.refused", path="/calls/{call_sid}/recording", reason="token")
            return _error(401, "token", "send the header Authorization: Bearer and the API_TOKEN")
        paused = await _read_paused(request)
        if paused is None:
            return _error(400, "bad_body", 'send {"paused": true} or {"paused": false} as JSON')
        event = PauseAsked(BY) if paused else ResumeAsked(BY)
        if not self._switchboard.tell(request.path_params["call_sid"], event):
            return _error(404, "unknown_call", "no call of this CallSid has a media stream here now")
        return JSONResponse({"paused": paused})


async def _read_paused(request: Request) -> bool | None:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return None
        given = orjson.loads(bytes(body))
    except (ClientDisconnect, orjson.JSONDecodeError):
        return None
    paused = given.get("paused") if isinstance(given, dict) else None
    return paused if isinstance(paused, bool) else None


def _error(status_code: int, code: str, advice: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": advice}}, status_code)
