"""The model sessions of one live call: the one in use, one that stands ready for another persona, one that was left.

A call speaks with one session at a time. For a handoff that needs another voice or model, a second one is opened beside
it and put in its place in one step of the event loop, between two frames of the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from voice_gateway.call import events as ev
from voice_gateway.call.policy import Policy
from voice_gateway.errors import GatewayError
from voice_gateway.model.settings import ModelSettings, needs_another_session
from voice_gateway.model.socket import ModelRefused, ModelSocket
from voice_gateway.ops import logs

LEFT_OPEN_S = 5.0
"""So long a session that was left may still write down what the caller had said to it, and answer a check."""

_STILL_TOLD = (ev.UserTranscribed, ev.UserTranscriptionFailed, ev.AsideFinished)


class Casting(Protocol):
    """What a call needs of a persona that takes over. facts: those of the call, with that persona in them."""

    def settings(self, facts: ev.CallFacts) -> ModelSettings:
        """Of the model's session. Raises `GatewayError` for a persona that is not there, or not now."""

    def policy(self, facts: ev.CallFacts) -> Policy:
        """How it leads the call."""

    async def open(self, facts: ev.CallFacts) -> ModelSocket:
        """Another session, configured. Raises `ModelRefused`."""


@dataclass(slots=True)
class _Prepared:
    """What stands ready for a persona. task: another session on its way, or there."""

    persona: str
    settings: ModelSettings
    task: asyncio.Task[ModelSocket] | None = None
    opening: asyncio.Task[None] | None = None


class Relay:
    """in_use: None until the first session is there. task: of that session."""

    def __init__(
        self,
        task: asyncio.Task[ModelSocket],
        casting: Casting | None,
        *,
        take: Callable[[ev.Event], None],
        ask: Callable[[ev.InnerEvent], None],
        leave: Callable[[ModelSocket], None],
    ) -> None:
        """casting: None where there is but one persona. take: tells the call at once. ask: as soon as it may be told.

        leave: told of each session that is done with.
        """
        self._log = logs.get("relay")
        self._casting = casting
        self._take = take
        self._ask = ask
        self._leave = leave
        self._prepared: _Prepared | None = None
        self._left: dict[ModelSocket, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.task = task
        self.in_use: ModelSocket | None = None

    async def meet(self) -> None:
        """Wait for the call's first session."""
        try:
            model = await self.task
        except ModelRefused as refused:
            self._take(ev.ModelUnavailable(refused.code, refused.message))
            return
        self.in_use = model
        self._take(model.ready)
        model.listen(self._take)

    # --- a handoff --------------------------------------------------------------------------------------------------

    def prepare(self, facts: ev.CallFacts, persona: str) -> None:
        """See what a persona needs; the answer comes as an event."""
        self.drop()
        facts = replace(facts, persona=persona)
        if self._casting is None or self.in_use is None:
            self._ask(ev.HandoffFailed(persona, "not_there", "there is nobody else"))
            return
        try:
            settings, policy = self._casting.settings(facts), self._casting.policy(facts)
        except (GatewayError, ValueError) as error:
            self._ask(ev.HandoffFailed(persona, "not_there", str(error)))
            return
        self._prepared = prepared = _Prepared(persona, settings)
        if needs_another_session(self.in_use.dialect.settings, settings):
            prepared.task = asyncio.ensure_future(self._casting.open(facts))
            prepared.opening = asyncio.ensure_future(self._await(prepared, prepared.task, policy))
        else:
            self._ask(ev.HandoffReady(persona, policy))

    async def _await(self, prepared: _Prepared, task: asyncio.Task[ModelSocket], policy: Policy) -> None:
        try:
            model = await task
        except ModelRefused as refused:
            self._fail(prepared, refused.code, refused.message)
            return
        except Exception as fault:  # noqa: BLE001 - a fault of ours costs the handoff, and not the call
            self._log.error("call.handoff_fault", exc_info=fault)
            self._fail(prepared, "internal_error", type(fault).__name__)
            return
        model.listen(lambda event: self._mind(prepared, event))
        if model.alive and self._prepared is prepared:
            self._take(ev.HandoffReady(prepared.persona, policy, model.ready.session_id, model.ready.model))

    def _mind(self, prepared: _Prepared, event: ev.ModelEvent) -> None:
        """What comes of a session that only stands ready: nothing matters but its end."""
        if isinstance(event, ev.ModelLost):
            self._fail(prepared, event.code, event.message)

    def _fail(self, prepared: _Prepared, code: str, message: str) -> None:
        if self._prepared is prepared:
            self.drop()
            self._take(ev.HandoffFailed(prepared.persona, code, message))

    def drop(self) -> None:
        """What was prepared is not needed."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared.task is not None:
            self._put_away(prepared.task)

    def update(self) -> None:
        """Tell the session in use whose it is from now on."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and self.in_use is not None:
            self.in_use.send(self.in_use.dialect.change(prepared.settings, prepared.persona))

    def speak(self, facts: ev.CallFacts) -> None:
        """Have the session in use go on in the language in the facts; it is answered in the name of no persona."""
        if self._casting is None or self.in_use is None:
            return
        try:
            settings = self._casting.settings(facts)
        except (GatewayError, ValueError) as error:
            self._log.warning("call.language_refused", language=facts.language, reason=str(error))
            return
        if not needs_another_session(self.in_use.dialect.settings, settings):
            self.in_use.send(self.in_use.dialect.change(settings, ""))

    def swap(self, *, held: bool) -> None:
        """Put the session that stands ready in the place of the one in use. held: the caller's side is behind."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or prepared.task is None:
            return
        if self.in_use is not None:
            self._let_go(self.in_use)
        self.task, model = prepared.task, prepared.task.result()
        self.in_use = model
        model.listen(self._take)
        model.hold_back(held=held)

    # --- sessions that are done with --------------------------------------------------------------------------------

    def _let_go(self, model: ModelSocket) -> None:
        model.listen(self._take_late)
        self._left[model] = asyncio.get_running_loop().call_later(LEFT_OPEN_S, self._close, model)

    def _take_late(self, event: ev.ModelEvent) -> None:
        if isinstance(event, _STILL_TOLD):
            self._take(event)

    def _close(self, model: ModelSocket) -> None:
        self._left.pop(model).cancel()
        model.listen(None)
        self._leave(model)
        self._keep(asyncio.ensure_future(model.close()))

    def _put_away(self, task: asyncio.Task[ModelSocket]) -> None:
        self._keep(asyncio.ensure_future(put_away(task)))

    def _keep(self, closing: asyncio.Task[None]) -> None:
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def end(self) -> None:
        """The call is over. Who owns it closes the session in use; the others are closed, and nobody waits for that."""
        if self.in_use is not None:
            self.in_use.listen(None)
            self._leave(self.in_use)
        self.drop()
        for model in list(self._left):
            self._close(model)


async def put_away(model: asyncio.Task[ModelSocket]) -> None:
    """Close a model session, ready or still on its way."""
    if not model.done():
        model.cancel()
    result = (await asyncio.gather(model, return_exceptions=True))[0]
    if isinstance(result, ModelSocket):
        await result.close()
