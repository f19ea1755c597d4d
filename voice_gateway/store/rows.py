"""What the tools ask of their tables, wherever those are. What must happen as a whole is one method.

Times are ISO 8601 with a zone, months `2026-08`, amounts numbers. Texts have been cleaned. The same key is the same
order, message or appointment, written once; None writes anew. Every method raises `TablesAway` when the tables cannot
be reached now.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from voice_gateway.store.records import Row


class TablesAway(Exception):  # noqa: N818 - as it is said
    """The tables cannot be reached now; what was to be written may be or not. The text is for the log."""


class Rows(Protocol):
    """`local_rows.LocalRows` is one, `remote_rows.RemoteRows` another; a suite of tests asks both the same."""

    async def start(self) -> None:
        """Make ready. Raises `StoreError` for what no retry will change."""

    async def close(self) -> None: ...

    async def menu(self, market: str | None) -> list[Row]:
        """What is to be had, by category and name. tags: a list."""

    async def put_menu(self, market: str, items: Sequence[Row], *, replace: bool, dry_run: bool) -> Row:
        """Put checked items in, all or none; each takes the place of the one with its id.

        items: id, name, category, price (decimal digits as text), currency, description, image_url, tags, available,
        and pairings: a list of id and upsell, the best first, in place of those there are; None leaves these.
        replace: what else the market has is withdrawn, that is not available any more. dry_run: only counts.
        Returns added, replaced, withdrawn: counts; strangers: ids of another market's items; and unknown: ids that
        pairings name and the market does not have. If there are any of either, nothing was written.
        """

    async def pairings(self, item_id: str) -> list[Row]:
        """Items with their `upsell`, best first."""

    async def order_of(self, call_sid: str) -> list[Row]:
        """order_id, item_id, name, quantity, price, currency; in the order they were placed."""

    async def place_order(self, item_id: str, quantity: int, call_sid: str | None, key: str | None) -> str | None:
        """The order's id; None when there is no such item to be had."""

    async def take_message(self, message: Row, call_sid: str | None, key: str | None) -> str:
        """message: from_name, text, from_phone, for_whom, urgent. Returns its id."""

    async def profit_and_loss(self, entity: str, first: str, last: str) -> list[Row]:
        """account, name, kind, currency, amount: each account's total over months, first and last included."""

    async def periods(self, entity: str) -> list[str]: ...

    async def tax_rules(self, jurisdiction: str, on: str) -> list[Row]:
        """Those in force on a day, by topic, the newest first."""

    async def jurisdictions(self) -> list[str]: ...

    async def account(self, member: str) -> Row | None:
        """member_id, full_name, balance, currency, status; by the member's id or telephone number."""

    async def redeem(self, code: str, call_sid: str | None, now: str) -> Row:
        """`{"success": true, "code", "voucher": {id, value, type, currency}}`, with `repeat` for the call that did.

        Or `{"success": false, "error"}`: not_found, expired, already_redeemed. Once, however many ask at a time.
        """

    async def booked(self, calendar: str, begins: str, ends: str) -> list[Row]:
        """Appointments that overlap a span of time."""

    async def upcoming(self, calendar: str, phone: str, after: str) -> list[Row]: ...

    async def book(self, appointment: Row, key: str | None) -> Row | None:
        """appointment: calendar, starts_at, ends_at, customer_name, customer_phone, reason, call_sid. None: taken."""

    async def cancel(self, appointment_id: str, calendar: str, phone: str) -> bool:
        """Whether it stands under this number; canceled already is fine too. Its key is free again."""

    async def customer(self, phone: str) -> Row | None: ...
