"""Members of a savings group, what they have saved, and vouchers that are redeemed once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from voice_gateway.store.records import clean_text, iso_utc, whole
from voice_gateway.store.rows import Rows

Refused = Literal["not_found", "expired", "already_redeemed"]


@dataclass(frozen=True, slots=True)
class Account:
    """What a member has saved. balance: in whole units of currency (ISO 4217)."""

    member_id: str
    full_name: str
    balance: float
    currency: str
    status: str


@dataclass(frozen=True, slots=True)
class Voucher:
    """repeat: this very call had redeemed it before."""

    id: str
    code: str
    value: float
    type: str
    currency: str
    repeat: bool = False


class Savings:
    """Every method may raise `TablesAway`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def account(self, member: str) -> Account | None:
        """A member's account, by the member's id or telephone number; None when there is no such member."""
        row = await self._rows.account(clean_text(member.strip()))
        return None if row is None else Account(**row | {"balance": whole(row["balance"])})

    async def redeem(self, code: str, call_sid: str, now: datetime) -> Voucher | Refused:
        """Redeem a voucher, once however many ask at the same moment; the call that did may ask again."""
        asked = clean_text("".join(code.split()).upper())
        answer = await self._rows.redeem(asked, call_sid or None, iso_utc(now))
        if not answer["success"]:
            refused: Refused = answer["error"]
            return refused
        voucher = answer["voucher"]
        return Voucher(
            id=voucher["id"],
            code=answer["code"],
            value=whole(voucher["value"]),
            type=voucher["type"],
            currency=voucher["currency"],
            repeat=answer.get("repeat", False),
        )
