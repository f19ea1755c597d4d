"""Twilio's REST API, as far as a call needs it: create, update, hang up.

The package's client is made at the first request: importing it takes a quarter of a second, its session wants a running
loop, and most calls never need it. Its own request log is switched off, because it would print phone numbers, and its
time limit is ours: the asynchronous client accepts one and does not apply it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from voice_gateway.ops.privacy import scrub

_SID = re.compile(r"[A-Za-z0-9]{1,64}")


class TwilioRequestFailed(Exception):  # noqa: N818  # says what happened
    """A request was refused, or nobody answered. It holds no key, and phone numbers in Twilio's sentence are masked.

    status: HTTP's, 0 when there was no answer. code: Twilio's error code, 0 without one (20003: wrong key,
    21220: the call is over, 20429: too many requests at once, try again).
    """

    def __init__(self, operation: str, sentence: str, *, status: int = 0, code: int = 0) -> None:
        about = ", ".join(
            part for part in (f"HTTP {status}" * bool(status), f"Twilio error {code}" * bool(code)) if part
        )
        sentence = scrub(" ".join(sentence.split()))[:300]
        super().__init__(f"{operation}: {sentence}" + (f" ({about})" if about else ""))
        self.operation = operation
        self.status = status
        self.code = code


class TwilioRest:
    """One account's calls. base_url: a stand-in for `https://api.twilio.com`; empty for the real one.

    edge, region: where the account's requests go, empty for the default. The environment is never looked at.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        base_url: str | None = None,
        timeout_s: float = 10.0,
        *,
        edge: str = "",
        region: str = "",
    ) -> None:
        self._account_sid = account_sid
        self._auth_token = auth_token
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._edge = edge
        self._region = region
        self._client: Any = None

    async def create(
        self,
        to: str,
        from_: str,
        *,
        url: str | None = None,
        twiml: str | None = None,
        status_callback: str | None = None,
        status_events: Sequence[str] = ("initiated", "ringing", "answered", "completed"),
        timeout_s: int = 60,
    ) -> str:
        """Call somebody; returns the CallSid. What happens then is told by `url`'s answer or by `twiml`.

        timeout_s: how long it may ring. Raises TwilioRequestFailed.
        """
        if (url is None) == (twiml is None):
            raise ValueError("give either url or twiml for the new call")
        fields: dict[str, Any] = {"to": to, "from_": from_, "timeout": timeout_s}
        fields |= {"url": url} if url is not None else {"twiml": twiml}
        if status_callback:
            fields |= {"status_callback": status_callback, "status_callback_event": list(status_events)}
        call = await self._ask("create call", lambda client: client.calls.create_async(**fields))
        return str(call.sid)

    async def update(self, call_sid: str, twiml: str) -> None:
        """Replace what a live call is doing; a media stream is torn down by it. Raises TwilioRequestFailed."""
        _check_call_sid(call_sid)
        await self._ask("update call", lambda client: client.calls(call_sid).update_async(twiml=twiml))

    async def hang_up(self, call_sid: str) -> None:
        """End a call. One that is over already is fine. Raises TwilioRequestFailed."""
        _check_call_sid(call_sid)
        try:
            await self._ask("hang up", lambda client: client.calls(call_sid).update_async(status="completed"))
        except TwilioRequestFailed as failed:
            if failed.code != 21220:
                raise

    async def close(self) -> None:
        """Give the connections back. A later request would open new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.http_client.close()

    async def _ask(self, operation: str, request: Callable[[Any], Awaitable[Any]]) -> Any:
        import aiohttp  # noqa: PLC0415  # comes with the twilio package; see the module's first lines
        from twilio.base.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415  # has no py.typed; as above
            TwilioException,
            TwilioRestException,
            TwilioServiceException,
        )

        try:
            async with asyncio.timeout(self._timeout_s):
                return await request(self._open())
        # The cause is left out of each: it holds the request, and that holds phone numbers.
        except TwilioRestException as refused:
            raise _refusal(operation, str(refused.msg), refused) from None
        except TwilioServiceException as refused:
            raise _refusal(operation, f"{refused.title}. {refused.detail or ''}", refused) from None
        except TimeoutError:
            raise TwilioRequestFailed(operation, f"no answer within {self._timeout_s:g} s") from None
        except aiohttp.ClientError as broken:
            raise TwilioRequestFailed(operation, f"no connection ({type(broken).__name__})") from None
        except (TwilioException, ValueError, KeyError, AttributeError) as odd:
            raise TwilioRequestFailed(operation, f"not an answer of Twilio's ({type(odd).__name__})") from None

    def _open(self) -> Any:
        if self._client is None:
            self._client = self._new_client()
        return self._client

    def _new_client(self) -> Any:
        from twilio.http.async_http_client import (  # type: ignore[import-untyped]  # noqa: PLC0415  # as in _ask
            AsyncTwilioHttpClient,
        )
        from twilio.rest import Client  # type: ignore[import-untyped]  # noqa: PLC0415  # as in _ask

        # Outside the tree of loggers, so that no setting can switch it on.
        silent = logging.Logger("twilio.rest", logging.CRITICAL + 1)  # noqa: LOG001  # meant: see above
        client = Client(
            self._account_sid,
            self._auth_token,
            edge=self._edge or None,
            region=self._region or None,
            http_client=AsyncTwilioHttpClient(logger=silent),
            credential_provider=_BasicAuth(self._account_sid, self._auth_token),
            environment={"TWILIO_ACCOUNT_SID": self._account_sid},  # an empty one would mean the process's own
        )
        if self._base_url:
            client.api.base_url = self._base_url
        return client


class _BasicAuth:
    """Writes the account's `Authorization` header. The package's own way uses a part of aiohttp that is going away."""

    def __init__(self, account_sid: str, auth_token: str) -> None:
        self._header = "Basic " + b64encode(f"{account_sid}:{auth_token}".encode()).decode()

    def to_auth_strategy(self) -> _BasicAuth:
        return self

    def get_auth_string(self) -> str:
        return self._header


def _refusal(operation: str, sentence: str, refused: Any) -> TwilioRequestFailed:
    """Twilio's own exception in our words. The package puts the HTTP status where an answer had no error code."""
    code = refused.code if isinstance(refused.code, int) and refused.code != refused.status else 0
    return TwilioRequestFailed(operation, sentence, status=int(refused.status), code=code)


def _check_call_sid(call_sid: str) -> None:
    if not _SID.fullmatch(call_sid):
        raise ValueError("a CallSid is letters and digits only: it becomes part of a URL")
