"""Doors for programs of one's own: say something in a live call, converse in writing, have another persona answer.

`DOORS` below is the table; `GET /ai/openapi.json` is made of it. Every error is a problem (`web/problem.py`). A key of
`AI_API_KEYS` opens all but the two that tell that the process lives; without any key in the settings they stay shut.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from voice_gateway.agent.cast import Cast
from voice_gateway.desk import Desk
from voice_gateway.errors import there_are
from voice_gateway.herald import Herald, Said
from voice_gateway.ops.privacy import mask_number
from voice_gateway.switchboard import LiveCall, Switchboard
from voice_gateway.text_session import Answer, Delta, Piece, Restarted, TextError, TextSession, ToolUsed
from voice_gateway.web import shapes
from voice_gateway.web.docs import POLICY, page
from voice_gateway.web.doors import Door, Doorkeeper, Visit, answer, read_json, read_shape
from voice_gateway.web.event_stream import MEDIA_TYPE, EventStream, event
from voice_gateway.web.health import SERVICE
from voice_gateway.web.openapi import document
from voice_gateway.web.problem import Problem, refusal

PREFIX: Final = "/ai"
BY: Final = "api"
ACCEPT_PATIENCE_S: Final = 2.0
"""A call takes what it is told at once; one that does not is at its end."""

_NOT_SAID: Final = {
    "expired": Problem("no_quiet_moment", "somebody spoke all the time; try again, or with interrupt"),
    "failed": Problem("model_lost", "the model did not say it; try again"),
    "ending": Problem("call_ending", "a goodbye is being said, and nothing is begun any more"),
    "full": Problem("too_many_sayings", "so much waits to be said in this call already; try again when it was heard"),
    "call_ended": Problem("call_ending", "the call ended before this was heard"),
}


@dataclass(frozen=True, slots=True)
class House:
    """What the doors lead to.

    default: the key of the persona that answers where nothing else is said. realtime: False keeps the model out.
    clock: monotonic seconds.
    """

    switchboard: Switchboard
    herald: Herald
    desk: Desk
    cast: Cast
    default: str
    realtime: bool
    version: str
    clock: Callable[[], float]


class ApiDoors:
    def __init__(self, house: House, keeper: Doorkeeper) -> None:
        self._house = house
        self._keeper = keeper
        self.doors = self._table()
        self._document = orjson.dumps(document(self.doors, house.version))
        self._page = page(self.doors, house.version)

    def routes(self) -> list[BaseRoute]:
        inner = [self._keeper.route(door, PREFIX) for door in self.doors if door.path.startswith(PREFIX)]
        app = Starlette(
            routes=[
                *inner,
                Route("/openapi.json", self._show_document, methods=["GET"]),
                Route("/docs", self._show_page, methods=["GET"]),
            ],
            exception_handlers={HTTPException: refusal(f"GET {PREFIX}/openapi.json tells what there is")},
        )
        app.router.redirect_slashes = False
        outer = [self._keeper.route(door, "") for door in self.doors if not door.path.startswith(PREFIX)]
        return [*outer, Mount(PREFIX, app=app)]

    def _table(self) -> tuple[Door, ...]:
        live = ("unknown_call", "no_stream", "call_ending")
        writes = ("busy", "ended", "budget", "sessions_full", "realtime_disabled", "draining")
        model = ("model_unavailable", "model_lost", "reply_timeout", "too_many_tools")
        return (
            Door(
                "POST", "/ai/say", "say", "Say something in a live call, or converse in writing", self.say,
                answers=(shapes.SaidInCall, shapes.SaidInWriting), takes=(shapes.SayInCall, shapes.SayInWriting),
                problems=(*live, "no_quiet_moment", "too_many_sayings", "unknown_persona", *writes, *model),
                streams=True, advice=_SAY, leads_to=("end_session",), examples=_SAYINGS,
            ),
            Door(
                "POST", "/ai/persona", "persona", "Have another persona answer", self.persona,
                answers=(shapes.PersonaAnswer,), takes=(shapes.PersonaInCall, shapes.PersonaInWriting),
                problems=(*live, "unknown_persona", "ended", "sessions_full", "draining"), advice=_PERSONA,
                examples=_CHANGES,
            ),
            Door(
                "DELETE", "/ai/sessions/{session_id}", "end_session", "End one of your text sessions", self.end_session,
                answers=(shapes.SessionEnded,), problems=("unknown_session",),
            ),
            Door(
                "GET", "/ai/personas", "personas", "Who there is to answer", self.personas,
                answers=(shapes.Personas,),
            ),
            Door(
                "GET", "/ai/tools", "tools", "What personas can do, with schemas", self.tools,
                answers=(shapes.ToolList,),
            ),
            Door("GET", "/ai/calls", "calls", "The calls that are live now", self.calls, answers=(shapes.Calls,)),
            Door(
                "GET", "/ai/healthz", "ai_healthz", "The process lives", self.healthz,
                answers=(shapes.Health,), open=True,
            ),
            Door(
                "GET", "/healthz", "healthz", "The process lives", self.healthz, answers=(shapes.Health,), open=True
            ),
        )  # fmt: skip

    # --- saying something ---------------------------------------------------------------------------------------

    async def say(self, visit: Visit) -> Response:
        given = await read_json(visit.request)
        if _names_call(given):
            return await self._say_in_call(visit, read_shape(given, shapes.SayInCall))
        return await self._say_in_writing(visit, read_shape(given, shapes.SayInWriting))

    async def _say_in_call(self, visit: Visit, wish: shapes.SayInCall) -> Response:
        house, call = self._house, self._live_call(wish.call_sid)
        if wish.persona is not None:
            self._hand_over(call, wish.persona, cut=wish.interrupt)
        saying = house.herald.say(
            wish.call_sid, wish.text, mode=wish.mode, interrupt=wish.interrupt, by=f"{BY}:{visit.client}"
        )
        if saying is None:
            raise Problem("no_stream", _NO_STREAM)
        try:
            async with asyncio.timeout(ACCEPT_PATIENCE_S):
                await asyncio.shield(saying.accepted)
        except TimeoutError:
            house.herald.forget(wish.call_sid, saying)
        await asyncio.sleep(0)  # what the call refuses, it refuses in the same step
        if not wish.wait and not saying.ended.done():
            told = shapes.SaidInCall.model_validate(
                {"call_sid": wish.call_sid, "saying_id": saying.saying_id, "status": "accepted"}
            )
            return answer(told, visit.headers)
        return answer(_report(wish.call_sid, saying.saying_id, await saying.ended), visit.headers)

    async def _say_in_writing(self, visit: Visit, wish: shapes.SayInWriting) -> Response:
        session = await self._session(visit.client, wish.session_id, wish.persona)
        pieces = _heeding(session.converse(wish.text))
        first = await anext(pieces)
        if wish.stream or MEDIA_TYPE in visit.request.headers.get("accept", ""):
            return EventStream(_told(first, pieces, session, wish.session_id), visit.headers)
        last = first
        async for piece in pieces:
            last = piece
        return answer(_written(last, session, wish.session_id), visit.headers)

    async def _session(self, client: str, name: str, persona: str | None) -> TextSession:
        house = self._house
        if persona is not None:
            self._check_persona(persona)
        if not house.realtime:
            raise Problem("realtime_disabled", "set AI_REALTIME_ENABLED=true on the gateway, or wait until it is")
        if house.switchboard.draining:
            raise Problem("draining", "send it to another instance, or again in a minute")
        try:
            house.desk.check_budget(client)
            return await house.desk.session(client, name, persona or "", default=house.default)
        except TextError as error:
            raise Problem(error.code, str(error)) from None

    # --- who answers --------------------------------------------------------------------------------------------

    async def persona(self, visit: Visit) -> Response:
        given = await read_json(visit.request)
        if _names_call(given):
            wish = read_shape(given, shapes.PersonaInCall)
            call = self._live_call(wish.call_sid)
            self._hand_over(call, wish.key)
            told = shapes.PersonaAnswer(active=wish.key, pending=call.persona != wish.key)
            return answer(told, visit.headers)
        asked = read_shape(given, shapes.PersonaInWriting)
        self._check_persona(asked.key)
        if self._house.switchboard.draining:
            raise Problem("draining", "send it to another instance, or again in a minute")
        try:
            session = await self._house.desk.session(visit.client, asked.session_id, asked.key, default=asked.key)
        except TextError as error:
            raise Problem(error.code, str(error)) from None
        return answer(shapes.PersonaAnswer(active=session.persona, pending=False), visit.headers)

    def _hand_over(self, call: LiveCall, key: str, *, cut: bool = False) -> None:
        self._check_persona(key)
        if call.persona == key:
            return
        if not self._house.switchboard.hand_over(call.facts.call_sid, key, BY, cut=cut):
            raise Problem("no_stream", _NO_STREAM)

    def _check_persona(self, key: str) -> None:
        known = self._house.cast.keys
        if key not in known:
            raise Problem("unknown_persona", f"there is no persona {key}; {there_are(sorted(known), key)}")

    async def end_session(self, visit: Visit) -> Response:
        name = visit.request.path_params["session_id"]
        if not await self._house.desk.end(visit.client, name):
            raise Problem("unknown_session", "there is none of this name that is yours and open")
        return answer(shapes.SessionEnded(session_id=name), visit.headers)

    # --- what is there ------------------------------------------------------------------------------------------

    async def personas(self, visit: Visit) -> Response:
        found = [
            shapes.PersonaInfo(
                key=persona.key,
                name=persona.name,
                language=persona.language,
                market=persona.market,
                voice=persona.voice,
                model=persona.model,
                tools=list(role.toolbox.names),
            )
            for role in self._house.cast.roles
            for persona in (role.persona,)
        ]
        return answer(shapes.Personas(default=self._house.default, personas=found), visit.headers)

    async def tools(self, visit: Visit) -> Response:
        roles = self._house.cast.roles
        by_name = {tool.name: tool for role in roles for tool in role.toolbox.tools}
        found = [
            shapes.ToolInfo(
                name=tool.name,
                description=tool.description,
                parameters=dict(tool.parameters),
                has_effect=tool.has_effect,
                in_call=tool.in_call,
                timeout_s=tool.timeout_s,
                personas=[role.persona.key for role in roles if tool.name in role.toolbox.names],
            )
            for tool in by_name.values()
        ]
        return answer(shapes.ToolList(tools=found), visit.headers)

    async def calls(self, visit: Visit) -> Response:
        now = self._house.clock()
        found = [
            shapes.CallInfo(
                call_sid=call.facts.call_sid,
                persona=call.persona,
                direction=call.facts.direction,
                from_number=mask_number(call.facts.from_number),
                to_number=mask_number(call.facts.to_number),
                seconds=round(now - call.admitted_at, 1),
                streaming=call.session is not None,
            )
            for call in self._house.switchboard.calls
        ]
        return answer(shapes.Calls(calls=found), visit.headers)

    async def healthz(self, visit: Visit) -> Response:
        house = self._house
        told = shapes.Health(persona=house.default, service=SERVICE, realtime_enabled=house.realtime)
        return answer(told, visit.headers)

    async def _show_document(self, _request: Request) -> Response:
        return Response(self._document, media_type="application/json", headers={"cache-control": "no-store"})

    async def _show_page(self, _request: Request) -> Response:
        headers = {"content-security-policy": POLICY, "cache-control": "no-store", "x-content-type-options": "nosniff"}
        return Response(self._page, media_type="text/html", headers=headers)

    def _live_call(self, call_sid: str) -> LiveCall:
        call = self._house.switchboard.find(call_sid)
        if call is None:
            raise Problem(
                "unknown_call", "no call of this CallSid is live here now; GET /ai/calls lists those that are"
            )
        if call.session is None:
            raise Problem("no_stream", _NO_STREAM)
        return call


_NO_STREAM: Final = "its media stream is not up yet, or is gone; try again in a moment"
_SAY: Final = """\
With `call_sid` something is said in a live call; without, in a text session: a conversation in writing with a \
persona, which keeps its context from one text to the next and uses its tools for real. Sessions are yours alone; \
one that is not used for `AI_SESSION_IDLE_SECONDS` ends. As a stream the answer comes as events: `delta` `{"text"}` as \
it is written, `tool` `{"name","ok"}`, `restart` `{}` where what came since the last tool is void, and at the end \
`done` with the whole answer, or `error` with a problem. Whoever closes the stream stops the answer."""
_SAYINGS: Final[dict[str, dict[str, Any]]] = {
    "in_writing": {"text": "How much is a cappuccino?"},
    "as_a_stream": {"text": "And an espresso?", "session_id": "table-4", "stream": True},
    "to_a_caller": {"text": "Your table is ready.", "call_sid": "CA00000000000000000000000000000000", "wait": True},
    "through_the_model": {
        "text": "The kitchen closes in ten minutes: ask whether they want anything else.",
        "call_sid": "CA00000000000000000000000000000000",
        "mode": "ask",
        "interrupt": True,
    },
}
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "in_writing": {"key": "cfo", "session_id": "table-4"},
    "in_a_call": {"key": "receptionist", "call_sid": "CA00000000000000000000000000000000"},
}
_PERSONA: Final = """\
With `call_sid` the persona of a live call is changed, from its next quiet moment on; without, that of one of your \
text sessions, from its next text on. Neither changes who answers other calls."""


def _names_call(given: Any) -> bool:
    return isinstance(given, dict) and given.get("call_sid") is not None


def _report(call_sid: str, saying_id: str, said: Said) -> shapes.SaidInCall:
    if said.outcome in _NOT_SAID:
        problem = _NOT_SAID[said.outcome]
        raise Problem(problem.code, problem.detail)
    return shapes.SaidInCall(
        call_sid=call_sid,
        saying_id=saying_id,
        status="heard" if said.outcome == "heard" else "interrupted",
        heard=said.text,
        heard_ms=said.heard_ms,
    )


# --- answers in writing -----------------------------------------------------------------------------------------


async def _heeding(pieces: Any) -> AsyncGenerator[Piece, None]:
    """The pieces of an answer; what goes wrong is a problem."""
    try:
        async for piece in pieces:
            yield piece
    except TextError as error:
        raise Problem(error.code, str(error)) from None
    finally:
        await pieces.aclose()


def _written(last: Piece, session: TextSession, name: str) -> shapes.SaidInWriting:
    if not isinstance(last, Answer):
        raise Problem("ended", "the session ended meanwhile; send the text again")
    return shapes.SaidInWriting(
        session_id=name,
        record_id=session.record_id,
        persona=last.persona,
        reply=last.text,
        tools=[shapes.ToolReport(name=used.name, ok=used.ok) for used in last.tools],
    )


async def _told(
    first: Piece, rest: AsyncGenerator[Piece, None], session: TextSession, name: str
) -> AsyncGenerator[bytes, None]:
    try:
        yield _event(first, session, name)
        async for piece in rest:
            yield _event(piece, session, name)
    except Problem as problem:
        yield event("error", orjson.loads(problem.body()))
    finally:
        await rest.aclose()


def _event(piece: Piece, session: TextSession, name: str) -> bytes:
    match piece:
        case Delta():
            return event("delta", {"text": piece.text})
        case ToolUsed():
            return event("tool", {"name": piece.name, "ok": piece.ok})
        case Restarted():
            return event("restart", {})
        case Answer():
            return event("done", _written(piece, session, name).model_dump())
