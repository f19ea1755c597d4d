"""Who may come in at the doors of MCP: this house's name, a page of ours if it is one, and the token.

Host and Origin are looked at first: a page that a browser fetched elsewhere, and whose name was then bent to this
machine (DNS rebinding), still says that name. Who goes on without the token is not listened to for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from voice_gateway.ops import logs
from voice_gateway.web.bearer import bears, is_token
from voice_gateway.web.strangers import Strangers

LOCAL = ("localhost", "127.0.0.1", "::1")
CHALLENGE = 'Bearer realm="voice-gateway"'


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in. status: HTTP. code: for machines. message: what to do about it.

    wait_s: until it makes sense to ask again; 0 where time changes nothing.
    """

    status: int
    code: str
    message: str
    wait_s: int = 0

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says besides."""
        if self.status == 401:
            return {"WWW-Authenticate": CHALLENGE}
        return {"Retry-After": str(self.wait_s)} if self.wait_s else {}


class Guard:
    def __init__(self, token: str, hosts: Iterable[str], count_refusal: Callable[[str, str], None]) -> None:
        """token: not empty. hosts: names of this gateway besides those of the machine itself, without a port."""
        self._token = token
        self._hosts = frozenset(host.lower() for host in (*LOCAL, *hosts) if host)
        self._count_refusal = count_refusal
        self._strangers = Strangers()
        self._log = logs.get("mcp.guard")

    def refuse(self, door: str, address: str, headers: Mapping[str, str], query_token: str = "") -> Refusal | None:
        """None: come in. address: of the client, empty where nobody knows. headers: by names in small letters.

        query_token: from the request's address, where a door takes it.
        """
        refusal = self._judge(address, headers, query_token)
        if refusal is not None:
            self._count_refusal("mcp", refusal.code)
            if not refusal.wait_s:  # the log has it often enough by then
                self._log.warning("mcp.refused", door=door, reason=refusal.code)
        return refusal

    def _judge(self, address: str, headers: Mapping[str, str], query_token: str) -> Refusal | None:
        host, origin = headers.get("host", ""), headers.get("origin", "")
        if _name(f"//{host}") not in self._hosts:
            return Refusal(
                421, "host", "this gateway has another name; add this one to MCP_ALLOWED_HOSTS if it is right"
            )
        if origin and _name(origin) not in self._hosts:
            return Refusal(
                403, "origin", "pages from there may not come in; add its host to MCP_ALLOWED_HOSTS if they may"
            )
        given = headers.get("authorization", "")
        right = bears(given, self._token) or (not given and is_token(query_token, self._token))
        wait_s = self._strangers.weigh(address, "token" if right else "")
        if wait_s:
            return Refusal(429, "rate", f"too many wrong tokens came from your address; wait {wait_s} s", wait_s)
        return None if right else Refusal(401, "token", "send the header Authorization: Bearer and the MCP_TOKEN")


def _name(url: str) -> str:
    """The host of an address, without a port; empty for what is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
