"""What all calls of a carrier share: the account, the web client, the manners, and the callbacks on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Literal
from uuid import uuid4

from voice_gateway.emulator.carrier_web import CarrierWeb, WebhookError
from voice_gateway.emulator.phone_call import PhoneCall
from voice_gateway.emulator.weather import Weather


@dataclass(frozen=True, slots=True)
class Manners:
    """How this carrier behaves where the real one leaves a choice, or where a test wants to see something rare.

    plain_ws: take ws:// for a stream whose host is this machine; Twilio itself takes wss:// only.
    keep_audio: keep all sound for the recording; without it the ledger knows times alone.
    say_chars_per_s: how fast `<Say>` speaks; 0 takes no time.
    dial_status: what becomes of a `<Dial>` (DialCallStatus). Nobody is really rung.
    callees: what becomes of outbound calls by number: `busy`, `no-answer`, `failed` or `machine`; others answer.
    ring_s: how long a callee lets it ring.
    calls_per_s: outbound calls beyond it wait; 0 is no limit.
    unruly_callbacks: hold status callbacks until the call is over, then post them backwards and each twice.
    rest_host, rest_port: where the REST side listens; port 0 takes a free one, None leaves it out.
    """

    plain_ws: bool = False
    keep_audio: bool = True
    say_chars_per_s: float = 0.0
    dial_status: Literal["completed", "busy", "no-answer", "failed", "canceled"] = "completed"
    callees: Mapping[str, str] = field(default_factory=dict)
    ring_s: float = 0.0
    calls_per_s: float = 0.0
    unruly_callbacks: bool = False
    rest_host: str = "127.0.0.1"
    rest_port: int | None = 0


@dataclass(slots=True)
class Office:
    """One carrier's shared things."""

    account_sid: str
    web: CarrierWeb
    weather: Weather
    manners: Manners
    _posting: dict[str, set[asyncio.Task[None]]] = field(default_factory=dict)
    _held: dict[str, list[tuple[str, str, Mapping[str, str]]]] = field(default_factory=dict)

    def fields(self, call: PhoneCall) -> dict[str, str]:
        """What every request about a call tells. Empty fields are sent too, and count in the signature."""
        parties = call.parties
        fields = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": parties.call_sid,
            "CallStatus": call.status,
            "Called": parties.to_number,
            "Caller": parties.from_number,
            "Direction": parties.direction,
            "From": parties.from_number,
            "To": parties.to_number,
        }
        for party in ("Called", "Caller", "From", "To"):
            fields |= {f"{party}City": "", f"{party}Country": "US", f"{party}State": "", f"{party}Zip": ""}
        return fields

    def callback(self, call: PhoneCall, url: str, fields: Mapping[str, str], method: str = "POST") -> None:
        """Tell the server something, without waiting for its answer. url: public; nothing happens without one."""
        if not url:
            return
        if self.manners.unruly_callbacks:
            self._held.setdefault(call.call_sid, []).append((url, method, fields))
            return
        self._post(call, url, method, fields)

    def release(self, call: PhoneCall) -> None:
        """The call is over: post what unruly manners held back."""
        for url, method, fields in reversed(self._held.pop(call.call_sid, [])):
            self._post(call, url, method, fields)
            self._post(call, url, method, fields)

    async def settle(self, call: PhoneCall) -> None:
        """Wait until all callbacks of a call were answered."""
        while posting := self._posting.get(call.call_sid):
            await asyncio.wait(posting)
        self._posting.pop(call.call_sid, None)

    def _post(self, call: PhoneCall, url: str, method: str, fields: Mapping[str, str]) -> None:
        task = asyncio.create_task(self._deliver(call, url, method, fields), name="carrier callback")
        posting = self._posting.setdefault(call.call_sid, set())
        posting.add(task)
        task.add_done_callback(posting.discard)

    async def _deliver(self, call: PhoneCall, url: str, method: str, fields: Mapping[str, str]) -> None:
        call.note("callback", url=url, fields=dict(fields))
        try:
            await self.web.fetch(url, fields, method)
        except WebhookError as error:
            call.warn(15003, f"status callback {url}: {error.reason}")


def rfc2822(moment: datetime | None = None) -> str:
    """A moment, or now, as the REST interface and the call callbacks write it."""
    return format_datetime(moment or datetime.now(UTC))


def new_sid(prefix: str) -> str:
    """A fresh identifier in Twilio's form."""
    return prefix + uuid4().hex
