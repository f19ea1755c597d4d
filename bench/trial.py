"""One contender, a number of calls at once: opened one by one, then listening, talking and being interrupted."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from bench.contenders import AUTH_TOKEN, Contender, Running, running
from bench.figures import Span, Spent, percentile, rss_mb
from bench.metronome import Metronome
from bench.sides import Call, Model, Phone
from bench.wire import upgrade_request

ANSWER_S, ANSWER_EVERY_S = 1.9, 2.0
INTERRUPTED_AFTER_S, INTERRUPTED_EVERY_S = 0.6, 1.5
SETTLE_S = 1.0
OPENING_S = 60.0  # under valgrind it takes many


@dataclass
class Result:
    """One trial. Delays in milliseconds; costs in milliseconds of processor time for each second of each call."""

    contender: str
    calls: int
    listening_ms: float = 0.0
    talking_ms: float = 0.0
    listening_minstr: float | None = None
    talking_minstr: float | None = None
    in_ms: list[float] = field(default_factory=list)
    out_ms: list[float] = field(default_factory=list)
    clear_ms: list[float] = field(default_factory=list)
    mb_per_call: float = 0.0
    gateway_share: float = 0.0
    far_share: float = 0.0
    others_share: float = 0.0
    late_p99_ms: float = 0.0
    unseen: int = 0


class FarSides:
    """Phones and models of all calls, in this process. `open` adds a call; a model's session is matched by its turn."""

    def __init__(self, model: type[Model] = Model) -> None:
        self._new_model = model
        self.calls: list[Call] = []
        self.phones: list[Phone] = []
        self.models: list[Model] = []
        self.metronome = Metronome()
        self.model_port = 0
        self._opened = 0
        self._configured: asyncio.Queue[Model] = asyncio.Queue()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[FarSides]:
        server = await asyncio.get_running_loop().create_server(
            lambda: self._new_model(self._configured), "127.0.0.1", 0
        )
        self.model_port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.metronome.stop()
            server.close()

    async def open(self, port: int) -> None:
        self._opened += 1
        call = Call(self._opened)
        phone = Phone(call)
        base = f"http://127.0.0.1:{port}"
        form = {"CallSid": phone.call_sid, "From": "+15550100001", "To": "+15550100002", "Direction": "inbound"}
        twiml = await post(f"{base}/twilio/answer", form)
        url = urlsplit(re.findall(r'url="([^"]+)"', twiml)[0])
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: phone, url.hostname, url.port)
        transport.write(upgrade_request(url.netloc, url.path, {"X-Twilio-Signature": signature(url.geturl(), {})}))
        head = await asyncio.wait_for(phone.upgraded, OPENING_S)
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(f"the media stream was refused: {head[:100]!r}")
        phone.start(dict(re.findall(r'name="([^"]+)" value="([^"]*)"', twiml)))
        model = await asyncio.wait_for(self._configured.get(), OPENING_S)
        model.call = call
        self.metronome.add(phone.beat)
        self.calls.append(call)
        self.phones.append(phone)
        self.models.append(model)

    def forget(self) -> None:
        """Begin a new count."""
        self.metronome.lateness_s.clear()
        for call in self.calls:
            call.forget()

    def talk(self) -> None:
        """Every model gives answer after answer, each call at its own time."""
        for number, model in enumerate(self.models):
            first = ANSWER_EVERY_S * (number + 0.5) / len(self.models)
            model.talk(first_in_s=first, length_s=ANSWER_S, every_s=ANSWER_EVERY_S)

    def be_interrupted(self) -> None:
        for number, model in enumerate(self.models):
            first = INTERRUPTED_EVERY_S * (number + 0.5) / len(self.models)
            model.talk(
                first_in_s=first,
                length_s=ANSWER_S,
                every_s=INTERRUPTED_EVERY_S,
                interrupted_after_s=INTERRUPTED_AFTER_S,
            )

    def hush(self) -> None:
        for model in self.models:
            model.hush()

    async def close(self) -> None:
        """Hang up all calls and forget them."""
        self.hush()
        self.metronome.clear()
        for phone in self.phones:
            if not phone.gone:
                phone.hang_up()
        await asyncio.sleep(0.5)
        for peer in (*self.phones, *self.models):
            peer.transport.close()
        self.calls, self.phones, self.models = [], [], []

    @property
    def lost(self) -> int:
        return sum(phone.gone for phone in self.phones) + sum(model.gone for model in self.models)

    @property
    def in_ms(self) -> list[float]:
        return [1000 * delay for call in self.calls for delay in call.in_s]

    @property
    def out_ms(self) -> list[float]:
        return [1000 * delay for call in self.calls for delay in call.out_s]

    @property
    def clear_ms(self) -> list[float]:
        return [1000 * delay for call in self.calls for delay in call.clear_s]


async def run(contender: Contender, calls: int, seconds: float, core: int, *, counts: bool) -> Result:
    """A whole trial. seconds: for listening, as much for talking, and for being interrupted."""
    far = FarSides()
    result = Result(contender.name, calls)
    async with far.listening(), running(contender, far.model_port, core) as gateway:
        before_mb = await _warmed_up(far, gateway)
        for _ in range(calls):
            await far.open(gateway.port)
        await asyncio.sleep(SETTLE_S)
        await _listen(far, gateway, result, seconds, core, counts=counts)
        await _talk(far, gateway, result, seconds, core, counts=counts)
        result.mb_per_call = (rss_mb(gateway.pid) - before_mb) / calls
        far.forget()
        far.be_interrupted()
        await asyncio.sleep(max(seconds, 2 * INTERRUPTED_EVERY_S))
        far.hush()
        result.clear_ms = far.clear_ms
        if far.lost:
            raise RuntimeError(f"{contender.name} lost {far.lost} of {2 * calls} connections during the trial")
        await far.close()
    return result


async def _warmed_up(far: FarSides, gateway: Running) -> float:
    """Memory after the first calls have come and gone: what was loaded for them belongs to no later call."""
    for _ in range(2):
        await far.open(gateway.port)
    far.talk()
    await asyncio.sleep(ANSWER_EVERY_S)
    await far.close()
    await asyncio.sleep(SETTLE_S)
    return rss_mb(gateway.pid)


async def _listen(far: FarSides, gateway: Running, result: Result, seconds: float, core: int, *, counts: bool) -> None:
    spent = await _measured(far, gateway, seconds, core, counts=counts)
    result.listening_ms, result.listening_minstr = cost(spent, result.calls)
    result.in_ms += far.in_ms


async def _talk(far: FarSides, gateway: Running, result: Result, seconds: float, core: int, *, counts: bool) -> None:
    far.talk()
    await asyncio.sleep(ANSWER_EVERY_S + SETTLE_S)
    spent = await _measured(far, gateway, seconds, core, counts=counts)
    result.talking_ms, result.talking_minstr = cost(spent, result.calls)
    result.in_ms += far.in_ms
    result.out_ms = far.out_ms
    result.gateway_share = spent.gateway_s / spent.seconds
    result.far_share, result.others_share = spent.far_share, spent.others_share
    result.late_p99_ms = 1000 * percentile(far.metronome.lateness_s, 0.99)
    far.hush()
    await asyncio.sleep(ANSWER_EVERY_S)


async def _measured(far: FarSides, gateway: Running, seconds: float, core: int, *, counts: bool) -> Spent:
    span = await Span.begin(gateway.pid, core, counts=counts)
    far.forget()
    await asyncio.sleep(seconds)
    return span.end()


def cost(spent: Spent, calls: int) -> tuple[float, float | None]:
    """Milliseconds of processor time, and million instructions, for each second of each call."""
    call_seconds = spent.seconds * calls
    counted = spent.instructions
    return spent.gateway_s * 1000 / call_seconds, None if counted is None else counted / 1e6 / call_seconds


# --- the carrier's webhook --------------------------------------------------------------------------------------


def signature(url: str, form: dict[str, str]) -> str:
    """`X-Twilio-Signature`: HMAC-SHA1 over the URL and all parameters, sorted and strung together."""
    signed = url + "".join(name + form[name] for name in sorted(form))
    return base64.b64encode(hmac.digest(AUTH_TOKEN.encode(), signed.encode(), hashlib.sha1)).decode()


async def post(url: str, form: dict[str, str]) -> str:
    parts, body = urlsplit(url), urlencode(form).encode()
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n"
        f"X-Twilio-Signature: {signature(url, form)}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    head, _, answer = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    if " 200 " not in head.partition("\r\n")[0]:
        raise RuntimeError(f"the webhook answered {head.partition(chr(13))[0]}")
    return answer
