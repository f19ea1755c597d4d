"""What a finance chief looks up."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.toolbox.at_hand import tables
from voice_gateway.agent.tools import ToolContext, ToolFailed


async def fetch_financials(
    period: Annotated[
        str, Field(description="A month as 2026-08, a quarter as 2026-Q3, or a year as 2026.", max_length=20)
    ],
    context: ToolContext,
) -> dict[str, Any]:
    """Read the profit and loss of a period: revenue, cost of goods sold, EBITDA, and each account's line."""
    books = tables(context).books
    try:
        statement = await books.statement(period)
    except ValueError as error:
        raise ToolFailed(str(error)) from None
    if statement is None:
        known = ", ".join(await books.periods()) or "no month"
        raise ToolFailed(f"Nothing is booked in {period}. There is something in: {known}.")
    return {
        "period": statement.period,
        "currency": statement.currency,
        "revenue": _number(statement.revenue),
        "cogs": _number(statement.cogs),
        "opex": _number(statement.opex),
        "ebitda": _number(statement.ebitda),
        "lines": [
            {"account": line.account, "name": line.name, "class": line.kind, "amount": _number(line.amount)}
            for line in statement.lines
        ],
    }


async def check_tax_rule(
    jurisdiction: Annotated[str, Field(description="US, CA, EU, UK or MT.", max_length=40)],
    topic: Annotated[
        str,
        Field(
            description="What about: vat, gst, corporate income tax, revenue recognition, leases ...", max_length=120
        ),
    ],
    context: ToolContext,
) -> dict[str, Any]:
    """Look up a rule of tax or accounting with the standard to cite. Cite its authority, never another."""
    books = tables(context).books
    found = await books.rules(jurisdiction, topic, context.now.date())
    if not found:
        known = ", ".join(await books.jurisdictions())
        raise ToolFailed(f"There is no such rule on file; there are rules of {known}. Say that you will look it up.")
    first, *others = (
        {
            "jurisdiction": rule.jurisdiction,
            "topic": rule.topic,
            "rule": rule.rule,
            "rate": rule.rate,
            "authority": rule.authority,
            "notes": rule.notes,
        }
        for rule in found
    )
    return {**first, "others": others}


def _number(amount: Decimal) -> int | float:
    """Whole amounts as whole numbers: a voice reads `120000.0` badly."""
    return int(amount) if amount == amount.to_integral_value() else float(amount)
