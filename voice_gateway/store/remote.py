"""Where the record is shipped to, and the ways in which that can fail."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from typing import Final, Protocol

REJECTING: Final = frozenset({400, 409, 413, 422})
"""HTTP statuses by which what was sent is not acceptable, as far as the far side says no more."""

PASSING: Final = frozenset({408, 425, 429})
"""Those below 500 that pass."""


class Remote(Protocol):
    """Takes facts; `supabase.SupabaseRecord` is one, `webhook.Webhook` another."""

    async def ingest(self, facts: str) -> dict[int, str]:
        """Have facts stored: a JSON array as `ingest_call_events` in migrations/ takes it.

        Returns why some were refused, by index. Sending the same again changes nothing. Raises `RemoteError`; then all,
        some or none of them may be stored.
        """

    async def close(self) -> None:
        """Let go of the connections."""


class RemoteError(Exception):
    """Supabase did not take what was sent. Subclasses say whether it will."""


class Rejected(RemoteError):  # noqa: N818 - as it is said
    """What was sent is not acceptable (400, 409, 413, 422): the same will not be either, a part of it may."""


class Refused(RemoteError):  # noqa: N818 - as it is said
    """None of what was sent is taken, whatever is in it, and the same will not be: it is set aside, all of it."""


class Misconfigured(RemoteError):  # noqa: N818 - as it is said
    """Nothing is accepted before somebody changes a setting or the project. The text says which."""


class Unavailable(RemoteError):  # noqa: N818 - as it is said
    """Not now.

    retry_after_s: how long the far side asks us to wait, 0 where it says nothing. lost: the connection broke, so that
    another one may do at once.
    """

    def __init__(self, text: str, retry_after_s: float = 0.0, *, lost: bool = False) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s
        self.lost = lost


def read_retry_after(headers: Mapping[str, str], now: float) -> float:
    """RFC 9110 §10.2.3: seconds, or a date. 0 where there is none that can be read."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return 0.0
