"""A door of the API: what it takes, what it answers, and what may go wrong, in one place.

The same table makes the route and its part of the OpenAPI document, so that the document is true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from voice_gateway.errors import there_are
from voice_gateway.ops import logs
from voice_gateway.web.clients import Clients
from voice_gateway.web.problem import Mistake, Problem
from voice_gateway.web.shapes import PATTERNS, Shape
from voice_gateway.web.strangers import address_of

MAX_BODY_BYTES: Final = 64 * 1024
BODY_TIMEOUT_S: Final = 10.0
MOST_MISTAKES: Final = 10

Taken = TypeVar("Taken", bound=Shape)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that was let in. client: who asks. headers: what its answer tells of the client's rate."""

    request: Request
    client: str
    headers: Mapping[str, str]


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Door:
    """name: of the operation, and in the metrics. takes: the shapes of a body; with several, any of them.

    answers: the shape of a good answer. problems: codes of what may go wrong, besides what may at every door. streams:
    the answer may be a stream of events. open: without a key. advice: prose for the document. leads_to: operations that
    take what this one answers. examples: of bodies, by name.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler = field(repr=False)
    answers: tuple[type[BaseModel], ...]
    takes: tuple[type[BaseModel], ...] = ()
    problems: tuple[str, ...] = ()
    streams: bool = False
    open: bool = False
    advice: str = ""
    leads_to: tuple[str, ...] = ()
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Doorkeeper:
    """Lets requests in, one by one: the key, the rate, then the door; whatever goes wrong becomes a problem."""

    def __init__(
        self,
        clients: Clients,
        count: Callable[[str, int], None],
        count_refusal: Callable[[str, str], None],
    ) -> None:
        """count: told (door, status). count_refusal: told (door, reason)."""
        self._clients = clients
        self._count = count
        self._count_refusal = count_refusal
        self._log = logs.get("web.api")

    def route(self, door: Door, prefix: str) -> Route:
        async def endpoint(request: Request) -> Response:
            response = await self._answer(door, request)
            self._count(door.name, response.status_code)
            return response

        return Route(door.path.removeprefix(prefix), endpoint, methods=[door.method], name=door.name)

    async def _answer(self, door: Door, request: Request) -> Response:
        headers: dict[str, str] = {}
        try:
            client = ""
            if not door.open:
                client, headers = self._clients.admit(request.headers, address_of(request))
            return await door.handler(Visit(request, client, headers))
        except Problem as problem:
            if problem.code in _REFUSALS:
                self._count_refusal("api", _REFUSALS[problem.code])
                if problem.code != "shut_out":  # the log has it often enough by then
                    self._log.warning("api.refused", door=door.name, reason=problem.code)
            problem.headers = {**headers, **problem.headers}
            return problem.response()
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:  # noqa: BLE001 - told in the log, and to whoever asked
            self._log.exception("api.fault", door=door.name)
            return Problem("fault", "this is a mistake of ours, and in the log; try again").response()


_REFUSALS: Final = {
    "key": "token",
    "shut_out": "rate",
    "rate_limited": "rate",
    "too_large": "too_large",
    "too_slow": "too_slow",
}


def answer(shape: BaseModel, headers: Mapping[str, str]) -> Response:
    body = orjson.dumps(shape.model_dump(exclude_none=True))
    return Response(body, 200, {"cache-control": "no-store", **headers}, "application/json")


# --- reading a body ---------------------------------------------------------------------------------------------


async def read_json(request: Request, *, of_any_type: bool = False) -> Any:
    """The body's JSON. of_any_type: whatever type it says it is. Raises `Problem`."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not of_any_type:
        raise Problem("unsupported_media_type", "send JSON, with the header Content-Type: application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise Problem("too_large", f"send {MAX_BODY_BYTES} bytes at most", headers={"connection": "close"})
    except TimeoutError:
        detail = f"the whole body must come within {BODY_TIMEOUT_S:g} s"
        raise Problem("too_slow", detail, headers={"connection": "close"}) from None
    try:
        return orjson.loads(bytes(body))
    except orjson.JSONDecodeError as error:
        raise Problem("invalid_json", f"send one JSON object in UTF-8, without lone surrogates: {error}") from None


def read_shape(given: Any, shape: type[Taken]) -> Taken:
    """A body as the shape that it is to have. Raises `Problem` with everything that is wrong in it."""
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:MOST_MISTAKES]
    mistakes = [
        Mistake(pointer="".join(f"/{_escaped(part)}" for part in each["loc"]), message=_words(each, shape))
        for each in found
    ]
    told = "; ".join(f"{each.pointer or 'the body'}: {each.message}" for each in mistakes)
    raise Problem("invalid", f"correct this and send it again: {told}", errors=mistakes)


def _words(mistake: ErrorDetails, shape: type[Shape]) -> str:
    """What to do, where the library's own words show a pattern or a class of ours."""
    match mistake["type"]:
        case "string_pattern_mismatch":
            return PATTERNS[mistake["ctx"]["pattern"]]
        case "model_type":
            return "send one JSON object"
        case "extra_forbidden":
            name = str(mistake["loc"][-1])
            return shape.ELSEWHERE.get(name) or f"there is no such field here; {there_are(shape.model_fields, name)}"
    return mistake["msg"]


def _escaped(part: object) -> str:
    """A part of a JSON pointer (RFC 6901), cut where a client sent a name without an end."""
    return str(part)[:80].replace("~", "~0").replace("/", "~1")
