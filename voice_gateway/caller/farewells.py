"""What becomes of a caller whose media stream has ended, and whether his call really does.

Rules
-----
1. When the stream has ended the carrier asks what comes next (`<Connect action>`). It is told the last sentence, whom
   to put the caller through to, or to hang up; the same again should it ask again.
   test_the_carrier_is_told_the_same_again
2. A call that we ended must be over soon: the carrier asks, or it reports the end. If it does neither for `confirm_s`,
   the call is ended by REST where we may, and in any case that is counted and logged: somebody pays for an open line.
   test_a_call_whose_end_nobody_reports_is_ended_by_rest
   test_without_credentials_it_is_at_least_told
3. A call that the carrier ended is not asked after.
   test_a_call_that_the_carrier_ended_is_not_asked_after
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from voice_gateway.caller.rest import TwilioRequestFailed
from voice_gateway.ops import logs

MOST_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Farewell:
    """What the carrier is to do with a caller. say: by its voice, before all else; transfer_number: empty hangs up."""

    say: str = ""
    transfer_number: str = field(default="", repr=False)


class Farewells:
    """The calls that are over, the newest thousand."""

    def __init__(
        self,
        hang_up: Callable[[str], Awaitable[None]] | None = None,
        *,
        confirm_s: float = 10.0,
        count: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """hang_up: ends a call by its CallSid, may fail with `TwilioRequestFailed`; None where we have no credentials.

        count: told `ended`, `failed` or `left_open` for each call whose end nobody reported.
        """
        self._hang_up = hang_up
        self._confirm_s = confirm_s
        self._count = count
        self._kept: OrderedDict[str, Farewell] = OrderedDict()
        self._unconfirmed: dict[str, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._log = logs.get("caller.farewells")

    def __contains__(self, call_sid: object) -> bool:
        return call_sid in self._kept

    def keep(self, call_sid: str, farewell: Farewell, *, over: bool) -> None:
        """A media stream has ended. over: the call itself has, too, as the carrier says."""
        self._kept[call_sid] = farewell
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        if not over:
            loop = asyncio.get_running_loop()
            self._unconfirmed[call_sid] = loop.call_later(self._confirm_s, self._miss, call_sid)

    def ask(self, call_sid: str) -> Farewell:
        """The carrier asks what comes next."""
        self.confirm(call_sid)
        return self._kept.get(call_sid, Farewell())

    def forget(self, call_sid: str) -> None:
        """The call goes on after all."""
        self.confirm(call_sid)
        self._kept.pop(call_sid, None)

    def confirm(self, call_sid: str) -> None:
        """The carrier knows that the call is over, or does as it was told."""
        timer = self._unconfirmed.pop(call_sid, None)
        if timer is not None:
            timer.cancel()

    async def close(self) -> None:
        """Wait for requests that are on their way, and for nothing else."""
        for timer in self._unconfirmed.values():
            timer.cancel()
        self._unconfirmed.clear()
        if self._ending:
            await asyncio.gather(*self._ending)

    def _miss(self, call_sid: str) -> None:
        del self._unconfirmed[call_sid]
        self._log.warning("call.end_unconfirmed", call_sid=call_sid, waited_seconds=self._confirm_s)
        if self._hang_up is None:
            self._count("left_open")
            return
        ending = asyncio.ensure_future(self._end(call_sid, self._hang_up))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    async def _end(self, call_sid: str, hang_up: Callable[[str], Awaitable[None]]) -> None:
        try:
            await hang_up(call_sid)
        except (TwilioRequestFailed, ValueError) as failed:
            self._count("failed")
            self._log.error("call.end_failed", call_sid=call_sid, reason=str(failed))
            return
        self._count("ended")
        self._log.info("call.ended_by_rest", call_sid=call_sid)
