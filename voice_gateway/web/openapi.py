"""The OpenAPI document (3.1), made of the table of doors and of the shapes they take and answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from voice_gateway.web import event_stream, problem
from voice_gateway.web.doors import MAX_BODY_BYTES, Door
from voice_gateway.web.problem import KINDS, ProblemShape
from voice_gateway.web.shapes import IDENTIFIER

_REF: Final = "#/components/schemas/{model}"
_WITH_A_KEY: Final = ("key", "shut_out", "rate_limited", "not_configured")
_WITH_A_BODY: Final = ("invalid_json", "too_slow", "too_large", "unsupported_media_type", "invalid")
_ALWAYS: Final = ("fault",)
_ABOUT: Final = f"""\
Programs of one's own say something in live calls, converse with personas in writing, and choose who answers. Every \
request carries a key. Bodies are JSON of {MAX_BODY_BYTES // 1024} KiB at most. Every error is a problem (RFC 9457) \
that says what to do; `code` is for programs."""

_RATE_HEADERS: Final[dict[str, Any]] = {
    name: {"description": description, "schema": {"type": "string", "pattern": "^[0-9]+$"}}
    for name, description in (
        ("RateLimit-Limit", "Requests that a client may make in a window."),
        ("RateLimit-Remaining", "Those that are left in it."),
        ("RateLimit-Reset", "Seconds until there are more."),
    )
}


_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One event of the stream; `data` is JSON.",
    "properties": {
        "event": {"enum": ["delta", "tool", "restart", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_LINKS: Final[dict[str, Any]] = {
    "end_session": {"operationId": "end_session", "parameters": {"session_id": "$response.body#/session_id"}},
}


def document(doors: Sequence[Door], version: str) -> dict[str, Any]:
    """The whole document, as JSON can hold it."""
    used = list(dict.fromkeys([ProblemShape, *(shape for door in doors for shape in (*door.takes, *door.answers))]))
    ways = [(shape, "validation") for shape in used]
    _, schemas = models_json_schema(ways, ref_template=_REF)  # type: ignore[arg-type]  # the modes are literals
    paths: dict[str, dict[str, Any]] = {}
    for door in doors:
        paths.setdefault(door.path, {})[door.method.lower()] = _operation(door)
    return {
        "openapi": "3.1.0",
        "info": {"title": "voice_gateway", "version": version, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(door: Door) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": door.name,
        "summary": door.summary,
        "description": door.advice or door.summary,
        "security": [] if door.open else [{"bearer": []}, {"key": []}],
        "responses": {"200": _good(door), **_problems(door)},
    }
    if "{session_id}" in door.path:
        schema = {"type": "string", "pattern": IDENTIFIER}
        operation["parameters"] = [{"name": "session_id", "in": "path", "required": True, "schema": schema}]
    if door.takes:
        body: dict[str, Any] = {"schema": _any_of(door.takes)}
        if door.examples:
            body["examples"] = {name: {"value": dict(value)} for name, value in door.examples.items()}
        operation["requestBody"] = {"required": True, "content": {"application/json": body}}
    return operation


def _good(door: Door) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _any_of(door.answers)}}
    if door.streams:
        content[event_stream.MEDIA_TYPE] = {"schema": _EVENT}
    headers = {} if door.open else {"headers": _RATE_HEADERS}
    links = {"links": {each: _LINKS[each] for each in door.leads_to}} if door.leads_to else {}
    return {"description": door.summary, "content": content, **headers, **links}


def _problems(door: Door) -> dict[str, Any]:
    codes = [*_ALWAYS, *door.problems, *(() if door.open else _WITH_A_KEY), *(_WITH_A_BODY if door.takes else ())]
    by_status: dict[int, list[str]] = {}
    for code in codes:
        by_status.setdefault(KINDS[code][0], []).append(code)
    schema = {"$ref": _REF.format(model=ProblemShape.__name__)}
    return {
        str(status): {
            "description": "; ".join(f"`{code}`: {KINDS[code][1]}" for code in dict.fromkeys(found)),
            "content": {problem.MEDIA_TYPE: {"schema": schema}},
            **({"headers": {"Retry-After": _RATE_HEADERS["RateLimit-Reset"]}} if "rate_limited" in found else {}),
        }
        for status, found in sorted(by_status.items())
    }


def _any_of(shapes: Sequence[type[BaseModel]]) -> dict[str, Any]:
    references = [{"$ref": _REF.format(model=shape.__name__)} for shape in shapes]
    return references[0] if len(references) == 1 else {"anyOf": references}
