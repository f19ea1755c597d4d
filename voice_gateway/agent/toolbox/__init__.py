"""The tools of the house, one file a subject. A persona names those it uses; see `agent/tools.py` for writing one."""

from __future__ import annotations

from voice_gateway.agent.toolbox.asking import get_next_response_from_supervisor
from voice_gateway.agent.toolbox.ending import end_call, transfer_to_human
from voice_gateway.agent.toolbox.finance import check_tax_rule, fetch_financials
from voice_gateway.agent.toolbox.handing_over import handoff_to
from voice_gateway.agent.toolbox.keys import send_dtmf
from voice_gateway.agent.toolbox.menu import lookup_menu, recommend_pairing
from voice_gateway.agent.toolbox.ordering import check_id, get_menu, place_order, take_message
from voice_gateway.agent.toolbox.reception import (
    book_appointment,
    cancel_appointment,
    check_availability,
    lookup_customer,
)
from voice_gateway.agent.toolbox.recording import pause_recording, resume_recording, stop_recording
from voice_gateway.agent.toolbox.savings import get_member_balance, redeem_voucher
from voice_gateway.agent.toolbox.speech import set_language
from voice_gateway.agent.tools import Toolbox, ToolFunction

HOUSE_TOOLS: tuple[ToolFunction, ...] = (
    lookup_menu, recommend_pairing, get_menu, place_order, check_id,
    fetch_financials, check_tax_rule,
    get_member_balance, redeem_voucher,
    lookup_customer, check_availability, book_appointment, cancel_appointment,
    take_message, end_call, handoff_to, transfer_to_human, send_dtmf, set_language,
    get_next_response_from_supervisor,
    pause_recording, resume_recording, stop_recording,
)  # fmt: skip


def house_toolbox() -> Toolbox:
    """All tools there are; `pick` takes those of a persona."""
    return Toolbox(HOUSE_TOOLS)
