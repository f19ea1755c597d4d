"""A telephone network in a box: it plays Twilio towards your server, and you play the caller.

Point it at any server that answers Twilio's voice webhook with `<Connect><Stream>`, your own included:

    from voice_gateway.emulator.carrier import Carrier
    from voice_gateway.emulator.weather import Weather

    async with Carrier("AC" + "0" * 32, "my auth token", weather=Weather(one_way_s=0.05)) as carrier:
        call = await carrier.dial("http://127.0.0.1:8787/twilio/answer")
        await call.answered()                       # the media stream is up
        await call.until_heard(1.0)                 # one second of the greeting was really heard
        await call.say(samples, rate_hz=16_000)     # the caller cuts in, in real time
        await call.until_quiet(2.0)                 # the answer is over
        await call.hang_up()
        print(call.outcome, call.said, call.warnings)
        stereo = call.recording()                   # int16 [n, 2] at 8 kHz: left the caller, right what was heard

What it does is what Twilio does, as far as Twilio's documentation tells: the webhook is a signed form, TwiML is read
strictly, the WebSocket upgrade is signed over the exact wss URL, audio is played by a queue in real time, marks come
back when they are reached, a clear returns them all at once, invalid messages are silently ignored (look at
`call.warnings`), and when your server closes the stream the Connect's `action` is asked how to go on.

A server behind a tunnel validates signatures against its public address. Give that as `public_base_url` and dial the
local one: what is signed is public, what is dialled is local, also for the `wss://` URL in your TwiML. `reach` names
further hosts.

The REST side (`rest_url`) takes calls that your server creates, changes and looks up; let Twilio's own client library
speak to it with `client.api.base_url = carrier.rest_url`. `next_outbound` hands you the telephone that rings.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from voice_gateway.emulator.carrier_office import Manners, Office, new_sid
from voice_gateway.emulator.carrier_rest import RestSide, serve
from voice_gateway.emulator.carrier_script import CallScript, Inline, Page, Plan, Source
from voice_gateway.emulator.carrier_signing import SharedKey, Signer, Signing
from voice_gateway.emulator.carrier_web import CarrierWeb, Reach
from voice_gateway.emulator.phone_call import CallOverError, Parties, PhoneCall
from voice_gateway.emulator.weather import CALM, Gap, Weather

__all__ = [
    "CALM",
    "CallOverError",
    "Carrier",
    "Gap",
    "Inline",
    "Manners",
    "Page",
    "PhoneCall",
    "Plan",
    "SharedKey",
    "Weather",
]

_REMEMBERED_CALLS = 1000


class Carrier:
    """An emulated carrier with one account; an async context manager. Leaving it hangs up all calls."""

    def __init__(  # noqa: PLR0913 - two names, the rest are keywords that each stand alone
        self,
        account_sid: str,
        auth_token: str,
        *,
        weather: Weather = Weather(),  # noqa: B008 - frozen
        signing: Signing = "sha1",
        shared_key: SharedKey | None = None,
        public_base_url: str | None = None,
        reach: Mapping[str, str] | None = None,
        http_timeout_s: float = 15.0,
        manners: Manners = Manners(),  # noqa: B008 - frozen
    ) -> None:
        """signing: `sha1` by the token, `sha256` by the shared key; `wrong` and `none` to see them refused.

        public_base_url: the server's public address, when another one is dialled. reach: further public authorities
        and where they are really served, such as {"voice.example.com": "http://127.0.0.1:8787"}.
        """
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.calls: OrderedDict[str, PhoneCall] = OrderedDict()
        self.rest_url = ""
        web = CarrierWeb(
            Signer(auth_token, signing, shared_key), Reach(public_base_url, dict(reach or {})), http_timeout_s
        )
        self._office = Office(account_sid, web, weather, manners)
        self._scripts: dict[str, CallScript] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._ringing: asyncio.Queue[PhoneCall] = asyncio.Queue()
        self._rest_refusals: list[int] = []
        self._next_start_s = 0.0
        self._stack = AsyncExitStack()

    def __repr__(self) -> str:
        return f"<Carrier {self.account_sid} with {len(self._lives)} live calls>"

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._office.web)
        manners = self._office.manners
        if manners.rest_port is not None:
            side = RestSide(self.account_sid, self.auth_token, self)
            self.rest_url = await self._stack.enter_async_context(
                serve(side.app(), manners.rest_host, manners.rest_port)
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for script in self._scripts.values():
            script.leave("caller-hung-up")
        if self._lives:
            await asyncio.wait(self._lives)
        await self._stack.aclose()

    async def dial(
        self,
        webhook_url: str,
        *,
        from_number: str = "+15550100001",
        to_number: str = "+15550100002",
        call_sid: str | None = None,
        repost: bool = False,
        extra: Mapping[str, str] | None = None,
        fallback_url: str | None = None,
        status_callback: str | None = None,
    ) -> PhoneCall:
        """Call the number behind a webhook. Returns when its first TwiML was read, or could not be (see `outcome`).

        call_sid: a call's identity to come again under. repost: deliver the webhook twice, as after a lost answer.
        extra: form fields that replace or join the usual ones.
        """
        public = self._office.web.reach.public
        plan = Plan(
            Page(public(webhook_url), fields=dict(extra or {})),
            fallback=None if fallback_url is None else Page(public(fallback_url)),
            status_callback="" if status_callback is None else public(status_callback),
            repost=repost,
        )
        parties = Parties(self.account_sid, call_sid or new_sid("CA"), from_number, to_number)
        call, script = self._place(parties, plan)
        call.status = "ringing"
        self._live(call, script, 0.0)
        await script.first_page()
        if call.error is not None:
            await call.ended()
        return call

    def create(self, from_number: str, to_number: str, plan: Plan) -> PhoneCall:
        """Ring a telephone, as the REST side does."""
        parties = Parties(self.account_sid, new_sid("CA"), from_number, to_number, "outbound-api")
        public = self._office.web.reach.public
        source = plan.source
        if isinstance(source, Page):
            source = Page(public(source.url), source.method)
        fallback = plan.fallback and Page(public(plan.fallback.url), plan.fallback.method)
        call, script = self._place(
            parties,
            replace(
                plan,
                source=source,
                fallback=fallback,
                status_callback=public(plan.status_callback),
                callee=self._callee(to_number),
            ),
        )
        self._live(call, script, self._queue_s())
        self._ringing.put_nowait(call)
        return call

    def update(self, call_sid: str, source: Source) -> None:
        """Give a live call another document: what it does now is dropped. Raises KeyError when it is over."""
        if isinstance(source, Page):
            source = Page(self._office.web.reach.public(source.url), source.method)
        self._scripts[call_sid].replace(source)

    def end(self, call_sid: str, *, canceled: bool = False) -> None:
        """End a live call from the server's side. Raises KeyError when it is over."""
        self._scripts[call_sid].leave("canceled" if canceled else "completed")

    async def next_outbound(self, timeout_s: float = 10.0) -> PhoneCall:
        """The next telephone that rings because of a REST call."""
        async with asyncio.timeout(timeout_s):
            return await self._ringing.get()

    def refuse_rest(self, code: int, times: int = 1) -> None:
        """Answer the next REST requests with an error, such as 20429 (too many requests) or 20003."""
        self._rest_refusals.extend([code] * times)

    def next_refusal(self) -> int | None:
        return self._rest_refusals.pop(0) if self._rest_refusals else None

    def _place(self, parties: Parties, plan: Plan) -> tuple[PhoneCall, CallScript]:
        call = PhoneCall(parties)
        script = CallScript(call, plan, self._office)
        self.calls[call.call_sid] = call
        self._scripts[call.call_sid] = script
        while len(self.calls) > _REMEMBERED_CALLS and next(iter(self.calls)) not in self._scripts:
            self.calls.popitem(last=False)
        return call, script

    def _live(self, call: PhoneCall, script: CallScript, wait_s: float) -> None:
        async def life() -> None:
            try:
                await asyncio.sleep(wait_s)
                await script.run()
            finally:
                if self._scripts.get(call.call_sid) is script:
                    del self._scripts[call.call_sid]

        task = asyncio.create_task(life(), name=f"carrier call {call.call_sid}")
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)
        call.live(task)

    def _callee(self, number: str) -> str:
        return self._office.manners.callees.get(number, "human")

    def _queue_s(self) -> float:
        """How long a new outbound call waits for its turn."""
        rate = self._office.manners.calls_per_s
        now = asyncio.get_running_loop().time()
        start_s = max(now, self._next_start_s)
        self._next_start_s = start_s + (1 / rate if rate else 0.0)
        return start_s - now
