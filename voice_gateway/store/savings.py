"""Members of a savings group, what they have saved, and vouchers that are redeemed once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from voice_gateway.store.database import fetch
from voice_gateway.store.records import iso_utc
from voice_gateway.store.writing import transaction

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
    """Every method blocks for a moment: call it in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def account(self, member: str) -> Account | None:
        """A member's account, by the member's id or telephone number; None when there is no such member."""
        sql = (
            "select m.id as member_id, m.full_name, s.balance, s.currency, m.status from members m "
            "join savings_accounts s on s.member_id = m.id where m.id = :member or m.phone = :member"
        )
        rows = fetch(self._path, sql, {"member": member.strip()})
        return Account(**rows[0]) if rows else None

    def redeem(self, code: str, call_sid: str, now: datetime) -> Voucher | Refused:
        """Redeem a voucher, once however many ask at the same moment; the call that did may ask again."""
        asked = "".join(code.split()).upper()
        with transaction(self._path) as db:
            row = db.execute("select * from vouchers where code = ?", [asked]).fetchone()
            if row is None:
                return "not_found"
            if row["redeemed_at"] is not None:
                own = bool(call_sid) and row["redeemed_call_sid"] == call_sid
                return _voucher(dict(row), repeat=True) if own else "already_redeemed"
            if row["expires_at"] is not None and row["expires_at"] <= iso_utc(now):
                return "expired"
            db.execute(
                "update vouchers set redeemed_at = ?, redeemed_call_sid = ? where id = ?",
                [iso_utc(now), call_sid or None, row["id"]],
            )
        return _voucher(dict(row))


def _voucher(row: dict[str, object], *, repeat: bool = False) -> Voucher:
    value = row["value"]
    return Voucher(
        id=str(row["id"]),
        code=str(row["code"]),
        value=value if isinstance(value, int | float) else 0,
        type=str(row["type"]),
        currency=str(row["currency"]),
        repeat=repeat,
    )
