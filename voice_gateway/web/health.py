"""`/health`: the process lives. `/ready`: it may be sent calls, or why not. `/metrics`: what Prometheus reads.

Health never looks at anything outside the process, so that a far side's trouble does not restart it in mid-call.
Readiness is made of checks, each a callable that returns reasons; the routes know no other room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from voice_gateway.web.problem import Problem

SERVICE: Final = "voice-agent"

_FRESH: Final = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True)
class Reason:
    """Why no call should be sent here. code is for machines; detail says what to do about it."""

    code: str
    detail: str


Check: TypeAlias = Callable[[], Sequence[Reason]]


class Exposition(Protocol):
    """What `/metrics` shows; `ops.metrics.Metrics` is one."""

    enabled: bool

    def render(self, accept: str = "") -> tuple[bytes, str]: ...


def health_routes(
    *,
    version: str,
    features: Mapping[str, bool],
    checks: Sequence[Check],
    metrics: Exposition,
    details: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    parts: Mapping[str, Callable[[], object]] = MappingProxyType({}),
    clock: Callable[[], float] = time.monotonic,
    today: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> list[Route]:
    """The three routes. Each answers GET and HEAD; any other method gets 405.

    features: camel-case names as `/health` tells them, such as `voiceAgent`. details: what `/ready` tells besides, by
    name, ready or not. parts: what `/health` tells besides; none of it makes the process ill. clock: seconds; uptime
    counts from this call on.
    """
    started = clock()

    async def health(_request: Request) -> Response:
        body = {
            "ok": True,
            "service": SERVICE,
            "version": version,
            "uptime": round(clock() - started, 2),
            "timestamp": today().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "features": dict(features),
            **{name: part() for name, part in parts.items()},
        }
        return _json(body)

    async def ready(_request: Request) -> Response:
        reasons = [reason for check in checks for reason in check()]
        told = {name: detail() for name, detail in details.items()}
        body = {"ok": not reasons, "reasons": [asdict(reason) for reason in reasons], **told}
        return _json(body, status=503 if reasons else 200)

    async def show_metrics(request: Request) -> Response:
        if not metrics.enabled:
            return Problem("not_found", "metrics are off: METRICS_ENABLED is false").response()
        body, content_type = await asyncio.to_thread(metrics.render, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type, **_FRESH})

    return [Route("/health", health), Route("/ready", ready), Route("/metrics", show_metrics)]


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, headers=_FRESH, media_type="application/json")


# --- the checks of readiness ------------------------------------------------------------------------------------


def configured(missing: Sequence[str]) -> Check:
    """Reasons for settings that a call needs and that are not there. missing: a sentence for each."""
    reasons = [Reason("not_configured", sentence) for sentence in missing]
    return lambda: reasons


def store_moving(oldest_age_s: Callable[[], float], *, limit_s: float = 30.0) -> Check:
    """A reason while a record has been waiting for longer than `limit_s`: what is said now might be lost."""

    def check() -> Sequence[Reason]:
        age = oldest_age_s()
        if age <= limit_s:
            return ()
        detail = f"A record has been waiting for {age:.0f} s to be written. Look at the disk that STORE_PATH is on."
        return (Reason("store_stuck", detail),)

    return check


def not_draining(draining: Callable[[], bool]) -> Check:
    """A reason from the moment the process was asked to end."""
    reason = Reason("draining", "The process is ending and waits for its live calls. Send new calls elsewhere.")
    return lambda: (reason,) if draining() else ()


def not_full(live_calls: Callable[[], int], limit: int) -> Check:
    """A reason while as many calls are live as are allowed."""

    def check() -> Sequence[Reason]:
        live = live_calls()
        if live < limit:
            return ()
        return (Reason("full", f"{live} of {limit} calls are live. Start another instance or raise MAX_CALLS."),)

    return check
