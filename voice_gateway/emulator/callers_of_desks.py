"""Callers who want what no shipped persona can do, for it takes an operator's own: a human's number, a second language.

Each brings the file of a persona that can, for a world where there is none; a running gateway has its own.
"""

from __future__ import annotations

from typing import Final

from voice_gateway.emulator.scenario import Expected, Scenario, Use, WaitForAnswer, conversation

_BYE: Final = "Thank you very much, goodbye."
_DESK: Final = """
name = "Front desk"
greeting = "Good day, this is the front desk. What can I do for you?"
instructions = "You are at the front desk. Put callers who ask for a human through to the manager."
tools = ["transfer_to_human", "take_message", "end_call"]
[transfer]
to = "+15550100009"
name = "the manager"
announcement = "One moment please, I put you through."
"""
_HOTEL: Final = """
name = "Hotel"
greeting = "Good day, this is the hotel. What can I do for you?"
instructions = "You are at the desk of a hotel. Speak the caller's language."
languages = ["en", "fr"]
tools = ["set_language", "end_call"]
"""
CALLERS_OF_DESKS: Final = (
    Scenario(
        "human",
        "asks for a human, and is put through",
        conversation("Hello, please put me through to a human colleague."),
        desk=_DESK,
        expected=Expected(uses=(Use("transfer_to_human", {"reason": r".+"}),), ends="transfer"),
    ),
    Scenario(
        "nobody",
        "asks for a human, whom nobody answers, so that the model takes him back",
        (
            *conversation("Hello, please put me through to a human colleague.")[:-1],
            WaitForAnswer(),  # the model is there again
            *conversation(_BYE)[1:],
        ),
        desk=_DESK,
        colleague="no-answer",
        expected=Expected(
            uses=(Use("transfer_to_human", {"reason": r".+"}),),
            hears=(r"nobody|no one|not (?:available|answer)|unavailable",),
            ends="gateway",
        ),
    ),
    Scenario(
        "language",
        "asks to go on in another language",
        conversation("Hello, can we go on in French, please?", _BYE),
        desk=_HOTEL,
        expected=Expected(uses=(Use("set_language", {"language": "fr"}, r'"ok":\s*true'),), ends="gateway"),
    ),
)
