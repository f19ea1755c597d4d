"""The emulated model on a socket: `ws://HOST:PORT/v1/realtime`, as the official clients expect it.

A thin shell: it reads text frames, tells the session what came and when, writes what the session answers, wakes it at
its deadlines, and lets ear, mind and voice compute in threads. All rules live in `realtime_session`.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from time import time
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from voice_gateway.emulator.faculties import Ear, Mind, Voice
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime_items import Wire
from voice_gateway.emulator.realtime_reply import Latency
from voice_gateway.emulator.realtime_schema import Refused
from voice_gateway.emulator.realtime_session import RealtimeSession
from voice_gateway.emulator.realtime_settings import MODELS, SHUTDOWNS
from voice_gateway.emulator.realtime_stage import Hear, Profile, Speak, Think, Work

LARGEST_MESSAGE: Final = 16 * 1024 * 1024
THREADS: Final = 4
KEY_PROTOCOL: Final = "openai-insecure-api-key."
BETA_GONE: Final = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."

log = logging.getLogger(__name__)


class RealtimeServer:
    """An emulated model that listens while the context is open.

    mind: what to answer. voice: its sound. ear: None hears nothing: every spoken turn is an empty text.
    api_key: the bearer that is let in; None lets in any. port: 0 takes a free one.
    speed: sound comes this many times faster than it plays, in deltas of delta_ms (the first are shorter).
    vad: False counts appended bytes and never hears speech, so that an append costs next to nothing.
    faults: for the sessions that begin from now on; may be set anew at any time.
    seed: what is random (ids, the moments of transcripts) repeats with it.
    """

    def __init__(  # noqa: PLR0913 - every knob of the far side stands alone and has a default
        self,
        *,
        mind: Mind,
        voice: Voice,
        ear: Ear | None = None,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 5.0,
        delta_ms: int = 100,
        vad: bool = True,
        latency: Latency | None = None,
        faults: Faults | None = None,
        seed: int = 0,
        models: Sequence[str] = MODELS,
        session_s: float = 3600.0,
    ) -> None:
        self.sessions: list[RealtimeSession] = []
        self.faults = faults or Faults()
        self._profile = Profile(vad, ear is not None, speed, delta_ms, latency or Latency(), self.faults, session_s)
        self._mind, self._voice, self._ear = mind, voice, ear
        self._api_key = api_key
        self._host, self._port = host, port
        self._seed = seed
        self._models = tuple(models)
        self._links: dict[str, _Link] = {}
        self._admitted: dict[UUID, Faults] = {}
        self._server: Server | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._leaving = asyncio.Event()
        self._news = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="emulated-model")
        self._server = await serve(
            self._converse,
            self._host,
            self._port,
            process_request=self._answer_upgrade,
            select_subprotocol=_select_subprotocol,
            compression=None,
            max_size=LARGEST_MESSAGE,
            open_timeout=None,
            ping_interval=None,
            close_timeout=2,
        )
        self._port = next(iter(self._server.sockets)).getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        if self._pool is not None:
            await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    @property
    def url(self) -> str:
        """Where a client connects, without the query."""
        return f"ws://{self._host}:{self._port}/v1/realtime"

    @property
    def http_url(self) -> str:
        """The base address for the official clients; `GET /models` answers there, too."""
        return f"http://{self._host}:{self._port}/v1"

    @property
    def connected(self) -> int:
        """How many sessions have their socket still."""
        return len(self._links)

    def is_connected(self, session: RealtimeSession) -> bool:
        """Whether a session has its socket still."""
        return session.id in self._links

    async def joined(self, count: int = 1) -> RealtimeSession:
        """Wait until this many sessions have begun in all; returns the last of these."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.sessions) >= count)
        return self.sessions[count - 1]

    async def emptied(self) -> None:
        """Wait until no session has a socket any more."""
        async with self._news:
            await self._news.wait_for(lambda: not self._links)

    async def drop(self, session: RealtimeSession, code: int = 1006, reason: str = "") -> None:
        """End a session's socket now. 1006 drops it without a close frame. A session that is gone stays so."""
        link = self._links.get(session.id)
        if link is not None:
            await link.shut(code, reason)

    # --- the upgrade ------------------------------------------------------------------------------------------

    async def _answer_upgrade(self, connection: ServerConnection, request: Request) -> Response | None:
        """None lets the socket open; refusals that the protocol speaks inside it come later."""
        faults = self.faults
        target = urlsplit(request.path)
        if target.path == "/v1/models":
            return _json(HTTPStatus.OK, {"object": "list", "data": [self._model(name) for name in self._models]})
        if target.path != "/v1/realtime":
            return _refusal(HTTPStatus.NOT_FOUND, "not_found", f"Invalid URL (GET {target.path})")
        if faults.connect_stall_s:
            await self._stall(faults.connect_stall_s)
        if faults.handshake_status is not None:
            status = HTTPStatus(faults.handshake_status)
            return _refusal(status, faults.refuse_code or status.phrase.lower().replace(" ", "_"), status.description)
        if _key(request.headers) is None:
            return _refusal(HTTPStatus.UNAUTHORIZED, "missing_api_key", "Missing bearer authentication in header")
        query = parse_qs(target.query)
        if not query.get("model") and not query.get("call_id"):
            return _refusal(HTTPStatus.BAD_REQUEST, "missing_required_parameter", "You must provide a model parameter.")
        self._admitted[connection.id] = faults
        return None

    async def _stall(self, seconds: float) -> None:
        """Wait, but not beyond the server's own end."""
        try:
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        except TimeoutError:
            return

    def _model(self, name: str) -> Wire:
        shutdown = {"shutdown_date": SHUTDOWNS[name]} if name in SHUTDOWNS else {}
        return {"id": name, "object": "model", "created": 1756310470, "owned_by": "system", **shutdown}

    def _refused(self, headers: Headers, model: str) -> Refused | None:
        """What is answered inside the socket: an error and a close."""
        if "realtime" in headers.get("OpenAI-Beta", ""):
            return Refused("beta_api_shape_disabled", BETA_GONE)
        key = _key(headers) or ""
        if self._api_key is not None and not hmac.compare_digest(key.encode(), self._api_key.encode()):
            return Refused("invalid_api_key", "Incorrect API key provided.")
        if model not in self._models:
            return Refused("model_not_found", f"The model `{model}` does not exist or you do not have access to it.")
        return None

    # --- the session ------------------------------------------------------------------------------------------

    async def _converse(self, socket: ServerConnection) -> None:
        request = socket.request
        if request is None or self._pool is None:
            return
        faults = self._admitted.pop(socket.id, self.faults)
        model = (parse_qs(urlsplit(request.path).query).get("model") or [self._models[0]])[0]
        profile = replace(self._profile, faults=faults)
        now = asyncio.get_running_loop().time()
        seed = self._seed + len(self.sessions)
        session = RealtimeSession(model, profile, seed=seed, now=now, epoch=time())
        link = _Link(socket, session, Faculties(self._mind, self._voice, self._ear, self._pool))
        async with self._listed(session, link):
            await link.run(self._refused(request.headers, model))

    @asynccontextmanager
    async def _listed(self, session: RealtimeSession, link: _Link) -> AsyncIterator[None]:
        async with self._news:
            self.sessions.append(session)
            self._links[session.id] = link
            self._news.notify_all()
        try:
            yield
        finally:
            del self._links[session.id]
            async with self._news:
                self._news.notify_all()


class Faculties:
    """Ear, mind and voice, and the threads they compute in."""

    def __init__(self, mind: Mind, voice: Voice, ear: Ear | None, pool: ThreadPoolExecutor) -> None:
        self.mind, self.voice, self.ear, self.pool = mind, voice, ear, pool

    def answer(self, work: Hear | Think) -> Any:
        """The text, or the acts."""
        if isinstance(work, Think):
            return list(self.mind.respond(work.situation))
        return self.ear.transcribe(work.samples, work.rate_hz, vocabulary=work.vocabulary) if self.ear else ""


class _Link:
    """One socket and its session."""

    def __init__(self, socket: ServerConnection, session: RealtimeSession, faculties: Faculties) -> None:
        self._socket = socket
        self._session = session
        self._faculties = faculties
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._outbox: deque[bytes] = deque()
        self._something_to_send = asyncio.Event()
        self._labours: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._gone = False

    async def run(self, refused: Refused | None) -> None:
        """Until either side closes."""
        writer = asyncio.create_task(self._write())
        self._perform(self._session.open(self._loop.time(), refused))
        try:
            async for message in self._socket:
                self._receive(message)
        except ConnectionClosed:
            log.debug("client of session %s is gone", self._session.id)
        finally:
            self._gone = True
            if self._timer is not None:
                self._timer.cancel()
            for task in (writer, *self._labours):
                task.cancel()
            await asyncio.gather(writer, *self._labours, return_exceptions=True)

    async def shut(self, code: int, reason: str) -> None:
        if code == 1006:
            self._socket.transport.abort()
        else:
            await self._socket.close(code, reason)

    def _receive(self, message: str | bytes) -> None:
        now = self._loop.time()
        try:
            event = orjson.loads(message) if isinstance(message, str) else None
        except orjson.JSONDecodeError:
            event = None
        if isinstance(event, dict):
            self._perform(self._session.handle(event, now))
        else:
            self._perform(self._session.garbled(now))

    def _perform(self, events: list[Wire]) -> None:
        """Send what the session said, begin the work it gives out, and be back at its deadline."""
        if events or self._session.closing:
            self._outbox.extend(map(orjson.dumps, events))
            self._something_to_send.set()
        for work in self._session.take_work():
            task = asyncio.create_task(self._labour(work))
            self._labours.add(task)
            task.add_done_callback(self._labours.discard)
        deadline = self._session.deadline()
        if deadline != self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = None if deadline is None else self._loop.call_at(deadline, self._wake)

    def _wake(self) -> None:
        self._timer, self._timer_at = None, None
        if not self._gone:
            # The loop may call a little early, by its clock's resolution.
            self._perform(self._session.wake(max(self._loop.time(), self._session.deadline() or 0.0)))

    async def _write(self) -> None:
        while True:
            await self._something_to_send.wait()
            self._something_to_send.clear()
            try:
                while self._outbox:
                    await self._socket.send(self._outbox.popleft(), text=True)
                if self._session.closing is not None:
                    await self.shut(self._session.closing.code, self._session.closing.reason)
                    return
            except ConnectionClosed:
                return

    # --- ear, mind and voice ----------------------------------------------------------------------------------

    async def _labour(self, work: Work) -> None:
        try:
            if isinstance(work, Speak):
                await self._loop.run_in_executor(self._faculties.pool, self._speak, work)
            elif isinstance(work, Hear):
                async with self._one_at_a_time:  # turns are heard in the order they were spoken
                    self._bring(work, await self._answer(work))
            else:
                self._bring(work, await self._answer(work))
        except Exception:
            log.exception("the emulated model could not %s", type(work).__name__.lower())
            if not self._gone:
                self._perform(self._session.failed(work, self._loop.time()))

    async def _answer(self, work: Hear | Think) -> Any:
        return await self._loop.run_in_executor(self._faculties.pool, self._faculties.answer, work)

    def _bring(self, work: Hear | Think, result: Any) -> None:
        if not self._gone:
            self._perform(self._session.finished(work, result, self._loop.time()))

    def _speak(self, work: Speak) -> None:
        """In a thread: each piece goes to the session as soon as it is made."""
        voice = self._faculties.voice
        for samples in voice.speak(work.text):
            if self._gone:
                return
            sound = work.sound.encode(samples, voice.rate_hz)
            self._loop.call_soon_threadsafe(self._spoke, work, sound)
        self._loop.call_soon_threadsafe(self._spoke, work, None)

    def _spoke(self, work: Speak, sound: bytes | None) -> None:
        if not self._gone:
            self._perform(self._session.spoke(work, sound, self._loop.time()))


def _key(headers: Headers) -> str | None:
    """The key a client showed: as a bearer, or among the subprotocols as browsers must."""
    scheme, _, bearer = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer:
        return bearer.strip()
    offered = headers.get("Sec-WebSocket-Protocol", "").split(",")
    keys = [name.strip().removeprefix(KEY_PROTOCOL) for name in offered if name.strip().startswith(KEY_PROTOCOL)]
    return keys[0] if keys else None


def _select_subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None


def _json(status: HTTPStatus, body: Wire) -> Response:
    data = orjson.dumps(body)
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(data)), "Connection": "close"})
    return Response(status.value, status.phrase, headers, data)


def _refusal(status: HTTPStatus, code: str, message: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "code": code, "param": None}
    return _json(status, {"error": error})
