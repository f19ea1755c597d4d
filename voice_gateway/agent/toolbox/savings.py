"""What a savings group's agent looks up and does."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from voice_gateway.agent.toolbox.at_hand import tables
from voice_gateway.agent.tools import ToolContext, tool

_REFUSED = {
    "not_found": "There is no voucher with this code. Spell it back to the caller and ask again.",
    "expired": "This voucher has expired.",
    "already_redeemed": "This voucher was redeemed before. It can be used once only.",
}


async def get_member_balance(
    member_id: Annotated[
        str,
        Field(
            alias="memberId",
            description="The member's id, or the telephone number with country code. Empty: the number they call from.",
            max_length=60,
        ),
    ] = "",
    *,
    context: ToolContext,
) -> dict[str, Any]:
    """Read what a member has saved. Only for the member: ask for the id first, and tell nobody else's balance."""
    asked = member_id.strip() or context.from_number
    account = await tables(context).savings.account(asked)
    if account is None:
        return {"success": False, "memberId": asked, "error": "not_found", "message": "There is no such member."}
    if account.status != "active":
        return {"success": False, "memberId": account.member_id, "error": "blocked", "message": "Offer a colleague."}
    return {
        "success": True,
        "memberId": account.member_id,
        "balance": account.balance,
        "currency": account.currency,
    }


@tool(effect=True)
async def redeem_voucher(
    code: Annotated[str, Field(description="The voucher's code as the caller spells it.", min_length=1, max_length=60)],
    context: ToolContext,
) -> dict[str, Any]:
    """Redeem a voucher, once and for good. Repeat the code to the caller and have it confirmed before."""
    voucher = await tables(context).savings.redeem(code, context.call_sid, context.now)
    if isinstance(voucher, str):
        return {"success": False, "code": code.strip().upper(), "error": voucher, "message": _REFUSED[voucher]}
    told = {"id": voucher.id, "value": voucher.value, "type": voucher.type}
    again = {"repeat": True} if voucher.repeat else {}
    return {"success": True, "code": voucher.code, "voucher": told, "currency": voucher.currency, **again}
