"""Problems: every error of the API as JSON with what to do about it (RFC 9457).

{"type": "urn:voice-gateway:problem:unknown_call", "title": "There is no such call", "status": 404,
 "code": "unknown_call", "detail": "...what is wrong and what to do...", "errors": [{"pointer": "/text", ...}]}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"

KINDS: Final[Mapping[str, tuple[int, str]]] = {
    "invalid_json": (400, "The body is not JSON"),
    "key": (401, "A key is needed"),
    "not_found": (404, "There is no such address"),
    "unknown_call": (404, "There is no such call"),
    "unknown_persona": (404, "There is no such persona"),
    "unknown_session": (404, "There is no such text session"),
    "method_not_allowed": (405, "Not this method"),
    "too_slow": (408, "The body did not come"),
    "no_stream": (409, "The call has not begun"),
    "call_ending": (409, "The call is ending"),
    "no_quiet_moment": (409, "There was no moment to say it"),
    "busy": (409, "The session is answering"),
    "ended": (409, "The session has ended"),
    "too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body is of another type"),
    "invalid": (422, "The body is not as it should be"),
    "rate_limited": (429, "Too many requests"),
    "shut_out": (429, "Too many wrong keys"),
    "too_many_sayings": (429, "Too much waits to be said"),
    "budget": (429, "The budget is spent"),
    "fault": (500, "A fault of ours"),
    "model_lost": (502, "The model broke off"),
    "too_many_tools": (502, "The model came to no end"),
    "not_configured": (503, "The gateway is not configured"),
    "realtime_disabled": (503, "The model is switched off"),
    "draining": (503, "The gateway is about to stop"),
    "sessions_full": (503, "Too many text sessions"),
    "model_unavailable": (503, "The model cannot be had"),
    "reply_timeout": (504, "The model took too long"),
}
"""By code: the HTTP status and a title."""


class Mistake(BaseModel):
    """One thing that is wrong in a body. pointer: where, as a JSON pointer; empty for the body itself."""

    model_config = ConfigDict(extra="forbid")

    pointer: str
    message: str


class ProblemShape(BaseModel):
    """What is wrong, and what to do about it (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="`urn:voice-gateway:problem:` and the code")
    title: str
    status: int
    code: str = Field(description="For programs; it does not change.")
    detail: str = Field(description="For people: what is wrong, and what to do.")
    errors: list[Mistake] = Field(default=[], description="Each thing that is wrong in the body, if that is it.")
    ok: Literal[False] = False


class Problem(Exception):  # noqa: N818 - the RFC's word
    """Leaves a door instead of an answer. code: one of `KINDS`. detail: what to do."""

    def __init__(
        self, code: str, detail: str, *, headers: Mapping[str, str] | None = None, errors: Sequence[Mistake] = ()
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.status, self.title = KINDS[code]
        self.detail = detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)

    def body(self) -> bytes:
        shape = ProblemShape(
            type=f"urn:voice-gateway:problem:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            errors=list(self.errors),
        )
        return orjson.dumps(shape.model_dump())

    def response(self) -> Response:
        return Response(self.body(), self.status, {"cache-control": "no-store", **self.headers}, MEDIA_TYPE)


def refusal(advice: str) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A handler for what no route answers: another address, or another method. advice: where to look instead."""

    async def refuse(_request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
        if status == 405:
            allowed = headers.get("Allow", "")
            detail = f"here {allowed} is taken, and nothing else"
            return Problem("method_not_allowed", detail, headers=headers).response()
        return Problem("not_found", f"there is nothing at this address; {advice}", headers=headers).response()

    return refuse


LOST: Final = refusal("GET /ai/openapi.json tells what programs may ask for")
"""For addresses of the house outside the API."""
