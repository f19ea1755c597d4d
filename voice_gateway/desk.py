"""The desk: the text sessions of this process, each its client's own, none of them open for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from voice_gateway.agent.cast import Role
from voice_gateway.call.events import CallFacts
from voice_gateway.text_session import IN_WRITING, Means, TextError, TextSession

CHANNEL = "api"
"""Of text sessions, in the table `calls`."""

LOOK_AGAIN_S = 1.0
"""After a session that is in the midst of a turn was found to have been idle."""

_BUDGETS = {
    "caller_budget": "this client has spent what it may today (MAX_CALLER_USD_PER_DAY); come back tomorrow",
    "day_budget": "all calls together have spent what they may today (MAX_USD_PER_DAY); come back tomorrow",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """most: sessions at a time. idle_s: a session that nobody uses for so long is ended."""

    most: int = 20
    idle_s: float = 600.0


class Desk:
    def __init__(
        self,
        means: Means,
        terms: Terms,
        *,
        role: Callable[[str], Role],
        exceeded: Callable[[str], str | None],
        new_id: Callable[[], str],
    ) -> None:
        """role: a persona by its key. exceeded: the day's limit that stands against a client. new_id: for a session."""
        self._means = means
        self._terms = terms
        self._role = role
        self._exceeded = exceeded
        self._new_id = new_id
        self._sessions: dict[tuple[str, str], TextSession] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def live(self) -> int:
        return len(self._sessions)

    def find(self, client: str, name: str) -> TextSession | None:
        return self._sessions.get((client, name))

    async def session(self, client: str, name: str, persona: str, *, default: str) -> TextSession:
        """A client's session of this name, begun now where there is none. Raises `TextError`.

        persona: who is to answer, empty for who does already. default: who answers in a new one otherwise.
        """
        session = self.find(client, name)
        if session is not None:
            if persona:
                await session.change_role(_in_writing(self._role(persona)))
            return session
        while len(self._sessions) >= self._terms.most:
            await self._make_room(client)
        key = persona or default
        facts = CallFacts(f"{CHANNEL}-{self._new_id()}", account(client), "", CHANNEL, persona=key, channel=CHANNEL)
        session = TextSession(facts, _in_writing(self._role(key)), self._means)
        self._sessions[client, name] = session
        self._wait(client, name, self._terms.idle_s)
        return session

    async def _make_room(self, client: str) -> None:
        """End the session that was longest unused of whoever holds most, so that nobody locks the others out.

        Raises `TextError` where the client itself holds as many as anybody, or all of them are in the midst of a turn.
        """
        held = Counter(owner for owner, _ in self._sessions)
        most, count = held.most_common(1)[0]
        idle = [key for key, session in self._sessions.items() if key[0] == most and not session.busy]
        if count <= held[client] + 1 or not idle:
            advice = (
                f"{self._terms.most} text sessions are open (AI_MAX_SESSIONS); end one, or try again in some minutes"
            )
            raise TextError("sessions_full", advice)
        await self.end(*min(idle, key=lambda key: self._sessions[key].used_at), reason="displaced")

    def check_budget(self, client: str) -> None:
        """Raises `TextError` where a limit of the day stands against another turn."""
        limit = self._exceeded(account(client))
        if limit is not None:
            raise TextError("budget", _BUDGETS.get(limit, "a limit of the day is reached; come back tomorrow"))

    async def end(self, client: str, name: str, reason: str = "closed") -> bool:
        """End a session; False when there is none of this name."""
        session = self._sessions.pop((client, name), None)
        timer = self._timers.pop((client, name), None)
        if timer is not None:
            timer.cancel()
        if session is None:
            return False
        await session.end(reason)
        return True

    async def close(self) -> None:
        """The process ends, and with it every session."""
        names = list(self._sessions)
        await asyncio.gather(*(self.end(client, name, "draining") for client, name in names))
        if self._ending:
            await asyncio.wait(self._ending)

    def _wait(self, client: str, name: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[client, name] = loop.call_later(seconds, self._look, client, name)

    def _look(self, client: str, name: str) -> None:
        """End a session that nobody has used for long enough."""
        session = self._sessions[client, name]
        left_s = self._terms.idle_s - (self._means.clock() - session.used_at)
        if session.busy or left_s > 0:
            self._wait(client, name, left_s if left_s > 0 else LOOK_AGAIN_S)
            return
        ending = asyncio.ensure_future(self._end_idle(client, name))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end_idle(self, client: str, name: str) -> None:
        await self.end(client, name, "idle")


def account(client: str) -> str:
    """Under which name the money of a client is counted, and its sessions stand in `calls.from_number`."""
    return f"{CHANNEL}:{client}"


def _in_writing(role: Role) -> Role:
    """A role that writes: its supervisor is for who must speak at once, and some tools are for a live call alone."""
    role = role.alone or role
    persona = replace(role.persona, instructions=role.persona.instructions.rstrip() + IN_WRITING)
    return Role(persona, role.toolbox.pick([tool.name for tool in role.toolbox.tools if not tool.in_call]))
