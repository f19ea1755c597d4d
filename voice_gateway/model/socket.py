"""The model leg's socket: a WebSocket client around the dialect. It opens, configures, tells, sends and closes.

No meaning lives here. Secrets go into the request's headers and nowhere else: not into messages, not into logs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from picows import WSMsgType, WSProtocolError

from voice_gateway.call.events import ModelErred, ModelEvent, ModelLost, ModelReady
from voice_gateway.model.connection import connect, request_headers, with_model
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.refusal import EXPLAINED, ModelRefused, describe_end, explain
from voice_gateway.model.settings import ModelSettings
from voice_gateway.ops.privacy import Scrubber
from voice_gateway.wire import Ended, Wire

__all__ = ["Listener", "ModelRefused", "ModelSocket", "Tap"]

Listener: TypeAlias = Callable[[ModelEvent], None]
"""Told each event in the very step of the event loop that read it. Must not raise."""
Tap: TypeAlias = Callable[[Literal["sent", "received"], bytes], None]
"""Sees every message as it is on the wire, for a trace. Must be quick and must not raise."""

PING_EVERY_S: Final = 20.0
PING_TIMEOUT_S: Final = 20.0
CLOSE_TIMEOUT_S: Final = 1.0
LARGEST_MESSAGE: Final = 16 * 2**20
MOST_KEPT: Final = 16
"""Events kept while nobody listens; beyond them the socket is not read, and TCP holds the server back."""
MOST_UNSENT: Final = 2**20
"""Bytes that may wait because the server does not read, 16 s of PCM16; beyond them the leg is given up."""

_TOLD_ALONE: Final = (ModelErred, ModelLost)
_TEXT: Final = WSMsgType.TEXT


class ModelSocket:
    """A configured session; `open` is the only way to one.

    ready: the event that says so, for the bridge. dialect: the session's protocol state, its counters and warnings.
    unsent: messages that came after the connection was gone.
    """

    __slots__ = (
        "_asked",
        "_closing",
        "_kept",
        "_listener",
        "_opened",
        "_scrub",
        "_stalled",
        "_tap",
        "_wire",
        "dialect",
        "ready",
        "unsent",
    )

    def __init__(self, dialect: Dialect, scrub: Callable[[str], str], tap: Tap | None) -> None:
        self._wire = Wire(LARGEST_MESSAGE, self._read, self._end)
        self._scrub = scrub
        self._tap = tap
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._opened.add_done_callback(_look)
        self._asked = False
        self._kept: deque[ModelEvent] = deque()
        self._listener: Listener | None = None
        self._closing = False
        self._stalled = False
        self.dialect = dialect
        self.ready = ModelReady("", "")
        self.unsent = 0

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        api_key: str,
        settings: ModelSettings,
        connect_timeout_s: float = 10.0,
        safety_identifier: str = "",
        headers: Mapping[str, str] | None = None,
        tap: Tap | None = None,
    ) -> ModelSocket:
        """Connect, wait for `session.created`, send `session.update`, and check what `session.updated` says.

        url: the endpoint without the model, `wss://api.openai.com/v1/realtime`. api_key: empty for a server that wants
        none. connect_timeout_s: for all of it together. safety_identifier: a hash that stands for the caller.
        headers: further ones, such as an organization's.

        Raises:
            ModelRefused: whatever the reason. Nothing is left open then, nor after a cancellation.
        """
        api_key = api_key.strip()
        scrub = Scrubber((api_key, *(headers or {}).values())).scrub
        awaited = "a connection"
        try:
            sent = request_headers(api_key, safety_identifier, headers or {})
            socket = cls(Dialect(settings), scrub, tap)
            async with asyncio.timeout(connect_timeout_s):
                await connect(
                    with_model(url, settings.model),
                    sent,
                    socket._wire,
                    most_bytes=LARGEST_MESSAGE,
                    ping_every_s=PING_EVERY_S,
                    patience_s=PING_TIMEOUT_S,
                )
                awaited = "a configured session"
                await socket._configured()
        except TimeoutError:
            raise ModelRefused("timeout", f"There was not {awaited} within {connect_timeout_s:g} s") from None
        except (ModelRefused, *EXPLAINED) as error:
            # Not chained: the library's exceptions may hold what the far side wrote, and it could echo a header.
            raise explain(error, scrub) from None
        return socket

    async def _configured(self) -> None:
        """Wait for `ready`; drop the connection when it does not come to that."""
        try:
            await self._opened
        except BaseException:
            self._closing = True
            self._wire.transport.disconnect(graceful=False)
            await self._gone()
            raise

    @property
    def alive(self) -> bool:
        """False as soon as the connection is known to be going; true for a parked one that is still good."""
        return not (self._closing or self._stalled)

    # --- reading ------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener | None) -> None:
        """Have the events: first those that came while nobody listened, then each as it arrives. None ends it.

        The last is a `ModelLost`, unless `close` came first.
        """
        self._listener = listener
        while self._kept and self._listener is not None:
            self._listener(self._kept.popleft())
        self.hold_back(held=False)

    def hold_back(self, *, held: bool) -> None:
        """Read no more from the server until told to go on; what was read already is still told."""
        transport = self._wire.transport.underlying_transport
        if transport.is_closing():
            return
        if held:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _read(self, raw: bytes, _is_text: bool) -> None:  # noqa: FBT001 - the wire's shape
        if self._tap is not None:
            self._tap("received", raw)
        events = self.dialect.read(raw)
        if events and isinstance(told := events[0], _TOLD_ALONE):
            events = (replace(told, message=self._scrub(told.message)),)
        if self._opened.done():
            self._tell(events)
        else:
            self._configure(events)

    def _configure(self, events: tuple[ModelEvent, ...]) -> None:
        """Go from the open connection to `ready`. Whatever else comes before has no meaning: nothing was asked yet."""
        for event in events:
            if isinstance(event, ModelErred | ModelLost):
                self._opened.set_exception(ModelRefused(event.code, event.message))
                return
            if isinstance(event, ModelReady):
                self.ready = event
        if self.dialect.created and not self._asked:
            self._asked = True
            self.send(self.dialect.configure())
        if self.dialect.ready:
            self._opened.set_result(None)

    def _tell(self, events: tuple[ModelEvent, ...]) -> None:
        for event in events:
            if self._closing:
                return
            if isinstance(event, ModelLost):
                self._say_goodbye()
            if self._listener is not None:
                self._listener(event)
                continue
            self._kept.append(event)
            if len(self._kept) == MOST_KEPT:
                self.hold_back(held=True)

    def _end(self, ended: Ended) -> None:
        if self._closing:
            return
        code, message = describe_end(ended)
        lost = ModelLost(code, self._scrub(message))
        if self._stalled:
            lost = ModelLost("model_stalled", f"The model's side stopped reading; {MOST_UNSENT} bytes were waiting")
        if self._opened.done():
            self._tell((lost,))
        else:
            self._opened.set_exception(ModelRefused(lost.code, lost.message))

    # --- sending ------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send one message of the dialect. Never waits for the far side and never raises.

        After the connection's end the message is counted in `unsent`; the listener is told of the loss, once.
        """
        wire = self._wire.transport
        if not self.alive or wire.is_close_frame_sent:
            self.unsent += 1
            return
        if wire.underlying_transport.get_write_buffer_size() > MOST_UNSENT:
            self._stalled = True
            self.unsent += 1
            wire.disconnect(graceful=False)
            return
        try:
            wire.send(_TEXT, data)
        except (OSError, RuntimeError):  # the transport is going; the listener is told in a moment
            self.unsent += 1
            return
        if self._tap is not None:
            self._tap("sent", data)

    @property
    def unsent_bytes(self) -> int:
        """What we sent and the network has not taken yet; normally nothing."""
        transport = self._wire.transport.underlying_transport
        return 0 if transport.is_closing() else transport.get_write_buffer_size()

    # --- ending -------------------------------------------------------------------------------------------------

    def _say_goodbye(self) -> None:
        """Begin the end, or answer the far side's, and see that it is one."""
        self._closing = True
        self.hold_back(held=False)
        transport = self._wire.transport
        if not transport.is_disconnected:
            self._wire.close(1000)
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT_S, transport.disconnect, False)  # noqa: FBT003 - the library's shape

    async def close(self) -> None:
        """End the session. Takes a second at most, whatever the far side does; twice is fine."""
        if not self._closing:
            self._say_goodbye()
        await self._gone()

    async def _gone(self) -> None:
        try:
            await self._wire.transport.wait_disconnected()
        except WSProtocolError:
            """The far side's mistake; whoever listened was told."""


def _look(opened: asyncio.Future[None]) -> None:
    """Nobody may be waiting any more for what is told here; asyncio would complain of that."""
    if not opened.cancelled():
        opened.exception()
