"""The carrier as a web client: signed webhooks and status callbacks, to where the server really is.

A server behind a tunnel has two addresses: the public one that its owner configured, which the carrier knows and
signs, and the one on this machine. `Reach` turns the first into the second, so that an emulated call can come "from
the internet" to a server on loopback, and signatures are those of the real thing.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit
from uuid import uuid4

import httpx

from voice_gateway.emulator.carrier_signing import Signer

USER_AGENT = "TwilioProxy/1.1"


class WebhookError(Exception):
    """A server did not answer as it must. code: 11200 (no good answer in time) or 11205 (no connection)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes


@dataclass(slots=True)
class Reach:
    """Which public address is served where. hosts: public authority (`voice.example.com`) to `http://127.0.0.1:8787`."""

    public_base_url: str | None = None
    hosts: dict[str, str] = field(default_factory=dict)

    def public(self, url: str) -> str:
        """The URL as the carrier knows it: one dialled on loopback becomes the public one it stands for."""
        parts = urlsplit(url)
        if self.public_base_url is None or parts.netloc in self.hosts:
            return url
        base = urlsplit(self.public_base_url)
        if parts.netloc != base.netloc and is_loopback(parts.hostname or ""):
            self.hosts.setdefault(base.netloc, f"{parts.scheme}://{parts.netloc}")
            return urlunsplit((base.scheme, base.netloc, parts.path, parts.query, parts.fragment))
        return url

    def address(self, url: str) -> str:
        """Where a public URL is really reached: scheme and authority exchanged, the rest kept, no fragment."""
        parts = urlsplit(url)
        base = self.hosts.get(parts.netloc)
        if base is None:
            return urlunsplit((parts.scheme, parts.netloc, parts.path, parts.query, ""))
        inside = urlsplit(base)
        scheme = inside.scheme.replace("http", "ws") if parts.scheme.startswith("ws") else inside.scheme
        return urlunsplit((scheme, inside.netloc, inside.path.rstrip("/") + parts.path, parts.query, ""))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class CarrierWeb:
    """Posts forms with the carrier's signature. One per carrier; an async context manager."""

    def __init__(self, signer: Signer, reach: Reach, timeout_s: float) -> None:
        self.signer = signer
        self.reach = reach
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT, "Accept": "*/*"},
            timeout=None,  # noqa: S113 - asyncio.timeout below limits the whole exchange, as the carrier does
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch(self, url: str, fields: Mapping[str, str], method: str = "POST") -> Answer:
        """One webhook. url: public. Raises WebhookError unless the answer is a 2xx in time."""
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._send(url, fields, method)
        except TimeoutError:
            raise WebhookError(11200, f"no answer within {self._timeout_s:g} s") from None
        except httpx.ConnectError as error:
            raise WebhookError(11205, f"no connection: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise WebhookError(11200, f"{type(error).__name__}: {error}") from None
        if not answer.is_success:
            raise WebhookError(11200, f"HTTP {answer.status_code}")
        return Answer(answer.status_code, answer.headers.get("content-type", ""), answer.content)

    async def _send(self, url: str, fields: Mapping[str, str], method: str) -> httpx.Response:
        signed = url.partition("#")[0]
        headers = {"I-Twilio-Idempotency-Token": str(uuid4())}
        if method.upper() == "GET":
            signed += ("&" if urlsplit(signed).query else "?") + urlencode(fields)
            headers |= self.signer.headers(signed, {})
            return await self._client.get(self.reach.address(signed), headers=headers)
        headers |= self.signer.headers(signed, fields)
        headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        return await self._client.post(self.reach.address(signed), content=urlencode(fields), headers=headers)


def resolve(base: str, reference: str) -> str:
    """A TwiML URL, absolute or relative to the document's own."""
    return urljoin(base, reference)


def stream_url(base: str, reference: str) -> str:
    """The URL of a stream: relative ones take the document's host with wss; query and fragment are dropped."""
    if urlsplit(reference).scheme:
        parts = urlsplit(reference)
        return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    parts = urlsplit(urljoin(base, reference))
    return urlunsplit(("wss", parts.netloc, parts.path, "", ""))
