"""The tools' tables in a project of Supabase's, by the functions of `migrations/`: one request a question.

A request that the network lost is sent once more at once, where that writes nothing twice: what is only read, and what
has a key. Connections are kept for as long as the far side keeps them, so a tool pays for no handshake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import structlog

from voice_gateway.store.project import Project
from voice_gateway.store.records import Row
from voice_gateway.store.remote import Misconfigured, RemoteError, Unavailable
from voice_gateway.store.rows import TablesAway

TIMEOUT_S: Final = 4.0
"""Of a request: twice that is within a tool's time limit, so that the model hears what is the matter."""

CONNECTIONS: Final = 20
IDLE_S: Final = 600.0


class RemoteRows:
    """`rows.Rows` in a project."""

    def __init__(self, url: str, key: str, *, timeout_s: float = TIMEOUT_S) -> None:
        """See `Project` for url and key."""
        self._project = Project(url, key, timeout_s=timeout_s, connections=CONNECTIONS, idle_s=IDLE_S)
        self._greeting: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()

    async def start(self) -> None:
        """Have a first connection made, beside the start: a project that is away holds up no call."""
        self._greeting = asyncio.create_task(self._greet())

    async def close(self) -> None:
        if self._greeting is not None:
            self._greeting.cancel()
            await asyncio.gather(self._greeting, return_exceptions=True)
        await self._project.close()

    async def _greet(self) -> None:
        try:
            await self._read("order_of_call", p_call_sid="")
        except (TablesAway, RemoteError) as error:
            self._log.error("tables.away", reason=str(error), advice="tools tell the model so; calls are served")
        else:
            self._log.info("tables.ready", place="supabase")

    # --- the menu -----------------------------------------------------------------------------------------------

    async def menu(self, market: str | None) -> list[Row]:
        return _rows(await self._read("menu_of", p_market=market))

    async def put_menu(self, market: str, items: Sequence[Row], *, replace: bool, dry_run: bool) -> Row:
        # Not sent again by itself: the counts would be those of the second time.
        asked = {"p_market": market, "p_items": list(items), "p_replace": replace, "p_dry_run": dry_run}
        return _row(await self._ask("put_menu_and_pairings", asked, again=False))

    async def pairings(self, item_id: str) -> list[Row]:
        return _rows(await self._read("pairings_of", p_item_id=item_id))

    async def order_of(self, call_sid: str) -> list[Row]:
        return _rows(await self._read("order_of_call", p_call_sid=call_sid))

    async def place_order(self, item_id: str, quantity: int, call_sid: str | None, key: str | None) -> str | None:
        placed = await self._write("place_order", key, p_item_id=item_id, p_quantity=quantity, p_call_sid=call_sid)
        order_id = _row(placed).get("id")
        return None if order_id is None else str(order_id)

    async def take_message(self, message: Row, call_sid: str | None, key: str | None) -> str:
        named = {f"p_{name}": value for name, value in message.items()}
        return str(_row(await self._write("take_message", key, p_call_sid=call_sid, **named))["id"])

    # --- books and rules ----------------------------------------------------------------------------------------

    async def profit_and_loss(self, entity: str, first: str, last: str) -> list[Row]:
        return _rows(await self._read("profit_and_loss", p_entity=entity, p_first=first, p_last=last))

    async def periods(self, entity: str) -> list[str]:
        return list(map(str, await self._read("booked_periods", p_entity=entity)))

    async def tax_rules(self, jurisdiction: str, on: str) -> list[Row]:
        return _rows(await self._read("tax_rules_in_force", p_jurisdiction=jurisdiction, p_on=on))

    async def jurisdictions(self) -> list[str]:
        return list(map(str, await self._read("tax_jurisdictions")))

    # --- savings ------------------------------------------------------------------------------------------------

    async def account(self, member: str) -> Row | None:
        return _row(await self._read("member_account", p_member=member)) or None

    async def redeem(self, code: str, call_sid: str | None, now: str) -> Row:  # noqa: ARG002 - the database has a clock
        # Sent again, the call that redeemed it is told the same.
        return _row(await self._ask("redeem_voucher", {"p_code": code, "p_call_sid": call_sid}, again=bool(call_sid)))

    # --- the diary ----------------------------------------------------------------------------------------------

    async def booked(self, calendar: str, begins: str, ends: str) -> list[Row]:
        return _rows(await self._read("appointments_between", p_calendar=calendar, p_begins=begins, p_ends=ends))

    async def upcoming(self, calendar: str, phone: str, after: str) -> list[Row]:
        return _rows(await self._read("appointments_of", p_calendar=calendar, p_phone=phone, p_after=after))

    async def book(self, appointment: Row, key: str | None) -> Row | None:
        named = {f"p_{name}": value for name, value in appointment.items()}
        return _row(await self._write("book_appointment", key, **named)) or None

    async def cancel(self, appointment_id: str, calendar: str, phone: str) -> bool:
        # Sent again it changes nothing more.
        cancelled = await self._read("cancel_appointment", p_id=appointment_id, p_calendar=calendar, p_phone=phone)
        return bool(_row(cancelled).get("canceled"))

    async def customer(self, phone: str) -> Row | None:
        return _row(await self._read("customer_of", p_phone=phone)) or None

    # --- asking the project -------------------------------------------------------------------------------------

    async def _read(self, function: str, **arguments: Any) -> Any:
        return await self._ask(function, arguments, again=True)

    async def _write(self, function: str, key: str | None, **arguments: Any) -> Any:
        return await self._ask(function, arguments | {"p_key": key}, again=key is not None)

    async def _ask(self, function: str, arguments: Row, *, again: bool) -> Any:
        """again: whether the same may be sent once more."""
        try:
            try:
                return await self._project.call(function, arguments)
            except Unavailable as error:
                if not again or error.retry_after_s or not error.lost:
                    raise
                return await self._project.call(function, arguments)
        except (Unavailable, Misconfigured) as error:
            raise TablesAway(f"{function}: {error}") from error


def _rows(answer: Any) -> list[Row]:
    if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
        raise TablesAway("the project's functions are not ours: apply the migrations of this version")
    return answer


def _row(answer: Any) -> Row:
    return _rows([answer])[0]
