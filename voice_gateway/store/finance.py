"""The books: a period's profit and loss by account, and the rules of tax and accounting with what to cite."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from voice_gateway.store.records import Row, clean_text, whole
from voice_gateway.store.rows import Rows
from voice_gateway.store.search import rank

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_QUARTER = re.compile(r"(\d{4})-?Q([1-4])", re.IGNORECASE)
_YEAR = re.compile(r"\d{4}")
_NAMES = {
    "EUROPE": "EU", "EUROPEAN UNION": "EU", "UNITED KINGDOM": "UK", "GREAT BRITAIN": "UK", "BRITAIN": "UK", "GB": "UK",
    "ENGLAND": "UK", "UNITED STATES": "US", "USA": "US", "AMERICA": "US", "CANADA": "CA", "MALTA": "MT",
    "RWANDA": "RW",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AccountLine:
    account: str
    name: str
    kind: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """Profit and loss of a period. Amounts in currency (ISO 4217). ebitda: less cogs and opex."""

    period: str
    currency: str
    revenue: Decimal
    cogs: Decimal
    opex: Decimal
    lines: tuple[AccountLine, ...]

    @property
    def ebitda(self) -> Decimal:
        return self.revenue - self.cogs - self.opex


@dataclass(frozen=True, slots=True)
class TaxRule:
    """rate: percent, None where the rule is no rate. authority: what to cite."""

    id: str
    jurisdiction: str
    topic: str
    rule: str
    rate: float | None
    authority: str
    notes: str


def months_of(period: str) -> tuple[str, str]:
    """First and last month of `2026-08`, `2026-Q3` or `2026`. ValueError: it is none of these."""
    period = period.strip()
    if match := _MONTH.fullmatch(period):
        return match[0], match[0]
    if match := _QUARTER.fullmatch(period):
        first = 3 * int(match[2]) - 2
        return f"{match[1]}-{first:02}", f"{match[1]}-{first + 2:02}"
    if _YEAR.fullmatch(period):
        return f"{period}-01", f"{period}-12"
    raise ValueError(f"{period!r} is no period; write a month as 2026-08, a quarter as 2026-Q3, or a year as 2026")


class Books:
    """Every method may raise `TablesAway`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def statement(self, period: str, entity: str = "main") -> Statement | None:
        """None when nothing is booked in it. ValueError: see `months_of`."""
        rows = await self._rows.profit_and_loss(entity, *months_of(period))
        if not rows:
            return None
        currency = rows[0]["currency"]
        lines = tuple(
            AccountLine(row["account"], row["name"], row["kind"], _cents(row["amount"]))
            for row in rows
            if row["currency"] == currency
        )
        sums = {kind: sum((line.amount for line in lines if line.kind == kind), Decimal(0)) for kind in _COUNTED}
        return Statement(period.strip(), currency, sums["revenue"], sums["cogs"], sums["opex"], lines)

    async def periods(self, entity: str = "main") -> list[str]:
        """The months that something is booked in."""
        return await self._rows.periods(entity)

    async def rules(self, jurisdiction: str, topic: str, on: date, limit: int = 5) -> list[TaxRule]:
        """The rules in force on a day that a spoken topic may mean, best first."""
        rows = await self._rows.tax_rules(_code(clean_text(jurisdiction)), on.isoformat())
        found = [_rule(row) for row in rows]
        if not topic.strip():
            return found[:limit]
        return await asyncio.to_thread(rank, topic, found, _fields, limit)  # as the menu's

    async def jurisdictions(self) -> list[str]:
        return await self._rows.jurisdictions()


_COUNTED = ("revenue", "cogs", "opex")


def _cents(amount: float) -> Decimal:
    """SQLite adds money as binary fractions; a cent is the smallest there is."""
    return Decimal(str(amount)).quantize(Decimal("0.01"))


def _code(jurisdiction: str) -> str:
    name = jurisdiction.strip().upper().removeprefix("THE ")
    return _NAMES.get(name, name)


def _rule(row: Row) -> TaxRule:
    rate = row["rate"]
    return TaxRule(
        id=row["id"],
        jurisdiction=row["jurisdiction"],
        topic=row["topic"],
        rule=row["rule"],
        rate=None if rate is None else whole(rate),
        authority=row["authority"],
        notes=row["notes"],
    )


def _fields(rule: TaxRule) -> tuple[tuple[str, float], ...]:
    topic = rule.topic.replace("_", " ")
    return (topic, 1.0), (rule.rule, 0.8), (rule.authority, 0.7), (rule.notes, 0.3)
