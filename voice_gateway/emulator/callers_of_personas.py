"""Callers for each persona that comes with the product: what they want, and what must have been done for them.

They need a mind that works with the tools it is given: the emulated one's, or a real model's.
"""

from __future__ import annotations

from typing import Final

from voice_gateway.emulator.scenario import Expected, Scenario, Step, Use, conversation

_BYE: Final = "Thank you very much, goodbye."
_SUCCESS: Final = r'"success":\s*true'
_CANCELLED: Final = Use("cancel_appointment", {"appointmentId": ".+"}, _SUCCESS)
_REDEEMING: Final = conversation(
    "Hello, I would like to redeem a voucher.",
    "The code is S as in sugar, A, V, E, 2, 0, 2, 4.",
    "Yes, that is right.",
    _BYE,
)


def _booking(hour: str) -> tuple[Step, ...]:
    """Asks for free times on Thursday, books one, and cancels it."""
    return conversation(
        "Hello, is there anything free on Thursday?",
        f"Please book me in on Thursday at {hour} o'clock. My name is Maria Brown.",
        "Yes, please.",
        "I am sorry, please cancel my appointment.",
        "Yes, please.",
        _BYE,
    )


def _booked(time: str) -> Use:
    """The appointment of that caller. time: a regular expression."""
    return Use("book_appointment", {"date": "{thursday}", "time": time, "name": "Maria Brown"}, _SUCCESS)


WAITER: Final = (
    Scenario(
        "order",
        "orders two cappuccinos and a tilapia, says yes, hears the total",
        conversation(
            "Good evening, please order two cappuccinos and one grilled tilapia.",
            "Yes, please.",
            _BYE,
        ),
        persona="waiter",
        expected=Expected(
            uses=(
                Use("lookup_menu", {"query": r".*cappuccinos?"}, r"rw-cap"),
                Use("place_order", {"item": r"rw-cap|cappuccinos?", "quantity": 2}, _SUCCESS),
                Use("place_order", {"item": r"rw-til|grilled tilapia"}, r'"total":\s*18000'),
            ),
            hears=(r"shall i go ahead|is that right|confirm", r"18[,. ]?000|eighteen thousand"),
            ends="gateway",
        ),
    ),
    Scenario(
        "pairing",
        "asks what goes well with a dish",
        conversation("Hello, which pairing do you recommend with the grilled tilapia?", _BYE),
        persona="waiter",
        expected=Expected(
            uses=(Use("lookup_menu"), Use("recommend_pairing", {"itemId": "rw-til"}, "rw-pas")),
            hears=("passion fruit",),
            ends="gateway",
        ),
    ),
    Scenario(
        "prices",
        "asks for a price in Rwanda and one in Malta: francs here, euros there",
        conversation("What does the cappuccino cost?", "And how much is the margarita?", _BYE),
        persona="waiter",
        expected=Expected(
            uses=(
                Use("lookup_menu", {"query": r".*cappuccino"}, r'"price":3000,"currency":"RWF"'),
                Use("lookup_menu", {"query": r".*margarita"}, r'"price":9.5,"currency":"EUR"'),
            ),
            hears=(r"3[,. ]?000 (?:RWF|francs)|three thousand", r"9[.,]50|nine euros? (?:and )?fifty"),
            ends="gateway",
        ),
    ),
)
CFO: Final = (
    Scenario(
        "ebitda",
        "wants the EBITDA of a quarter",
        conversation("Good morning, what was our EBITDA in the third quarter of 2026?", _BYE),
        persona="cfo",
        expected=Expected(
            uses=(Use("fetch_financials", {"period": "2026-?Q3"}, r'"ebitda":\s*70380'),),
            hears=(r"70[,. ]?380|seventy thousand",),
            ends="gateway",
        ),
    ),
    Scenario(
        "tax-rule",
        "asks which standard applies, and for a rate; both are cited word for word",
        conversation(
            "Which rule applies to revenue recognition in the European Union?",
            "And what is the corporate income tax in the United Kingdom?",
            _BYE,
        ),
        persona="cfo",
        expected=Expected(
            uses=(
                Use("check_tax_rule", {"jurisdiction": "EU|(the )?European Union", "topic": ".*revenue.*"}, "IFRS 15"),
                Use(
                    "check_tax_rule",
                    {"jurisdiction": "UK|(the )?United Kingdom", "topic": ".*(corporate|corporation).*"},
                    r"Finance Act 2021 s\.6",
                ),
            ),
            hears=(r"IFRS (15|fifteen)", r"25 ?(%|percent)|twenty[- ]five percent", r"Finance Act"),
            ends="gateway",
        ),
    ),
)
SWAPPED: Final = (
    Scenario(
        "swapped",
        "asks the waiter for a price, then for the finance chief and a figure, and for the waiter again",
        conversation(
            "Hello, how much is a cappuccino?",
            "Thank you. Can I talk to the finance chief, please?",
            "What was our EBITDA in the third quarter of 2026?",
            "Can I talk to the waiter again, please?",
            "And how much is an espresso?",
            _BYE,
        ),
        persona="waiter",
        expected=Expected(
            uses=(
                Use("lookup_menu", {"query": r".*cappuccino"}, "rw-cap"),
                Use("handoff_to", {"persona": "cfo"}),
                Use("fetch_financials", {"period": "2026-?Q3"}, r'"ebitda":\s*70380'),
                Use("handoff_to", {"persona": "waiter"}),
                Use("lookup_menu", {"query": r".*espresso"}, "rw-esp"),
            ),
            hears=(r"3[,. ]?000|three thousand", r"70[,. ]?380|seventy thousand", r"2[,. ]?000|two thousand"),
            ends="gateway",
            personas=("waiter", "cfo", "waiter"),
        ),
    ),
)
BARTENDER: Final = (
    Scenario(
        "id-checked",
        "orders a margarita, is asked for an ID, gives it, says yes",
        conversation(
            "Good evening, please order the margarita for me.",
            "My ID number is 1 1990 8 0012345 0 12.",
            "Yes, go ahead.",
            _BYE,
        ),
        persona="bartender",
        expected=Expected(
            uses=(
                Use("check_id", {"id_number": r"1[\s-]*1990[\d\s-]+"}, r'"valid":\s*true'),
                Use("place_order", {"item": r"mt-mar|.*margarita.*"}, _SUCCESS),
            ),
            hears=(r"\bid\b|identity|document", r"old enough|thank|order"),
            ends="gateway",
        ),
    ),
    Scenario(
        "under-age",
        "orders a margarita with the ID of a child, and once more: refused both times",
        conversation(
            "Good evening, please order the margarita for me.",
            "My ID number is 1 2015 8 0012345 0 12.",
            "Then please order the margarita for my father.",
            _BYE,
        ),
        persona="bartender",
        expected=Expected(
            uses=(Use("check_id", {"id_number": r"1[\s-]*2015[\d\s-]+"}, r'"valid":\s*false'),),
            never=("place_order",),
            hears=(r"younger|age|18|eighteen",),
            ends="gateway",
        ),
    ),
    Scenario(
        "invalid-id",
        "orders a margarita with a number that is none, then a drink without alcohol",
        conversation(
            "Good evening, please order the margarita for me.",
            "My ID number is 12 34.",
            "Then please order an espresso.",
            "Yes, please.",
            _BYE,
        ),
        persona="bartender",
        expected=Expected(
            uses=(
                Use("check_id", answer=r'"valid":\s*false'),
                Use("place_order", {"item": r"rw-esp|espresso"}, _SUCCESS),
            ),
            hears=(r"not (?:the number|a valid|valid)|cannot|sorry",),
            ends="gateway",
        ),
    ),
)
MEMBER_SERVICES: Final = (
    Scenario(
        "balance",
        "a member asks for the balance and calls from a number that is known",
        conversation("Hello, what is my balance?", "I do not know it, please take the number I am calling from.", _BYE),
        persona="member-services",
        number="+250788000123",
        expected=Expected(
            uses=(Use("get_member_balance", {}, r'"memberId":"member_123","balance":\s*50000'),),
            hears=(r"\bid\b|number", r"50[,. ]?000|fifty thousand"),
            ends="gateway",
        ),
    ),
    Scenario(
        "voucher",
        "redeems a voucher that was never used; needs tables in which it was not",
        _REDEEMING,
        persona="member-services",
        expected=Expected(
            uses=(Use("redeem_voucher", {"code": "SAVE ?2024"}, r'"success":\s*true.*"value":\s*1000'),),
            hears=(r"S A V E|save", r"1[,. ]?000|one thousand|a thousand"),
            ends="gateway",
        ),
    ),
    Scenario(
        "voucher-again",
        "tries to redeem a voucher a second time, in a call of its own: refused",
        _REDEEMING,
        persona="member-services",
        after="voucher",
        expected=Expected(
            uses=(Use("redeem_voucher", {"code": "SAVE ?2024"}, "already_redeemed"),),
            hears=(r"(redeemed|used) before|already",),
            ends="gateway",
        ),
    ),
    Scenario(
        "voucher-expired",
        "tries to redeem a voucher of long ago: refused",
        conversation("Hello, I would like to redeem a voucher.", "The code is O, L, D, 2, 0, 2, 0.", "Yes.", _BYE),
        persona="member-services",
        expected=Expected(
            uses=(Use("redeem_voucher", {"code": "OLD ?2020"}, "expired"),), hears=("expired",), ends="gateway"
        ),
    ),
)
RECEPTIONIST: Final = (
    Scenario(
        "known-caller",
        "calls from a number that is known, and is asked nothing",
        conversation("Good morning, am I known to you as a customer?", _BYE),
        persona="receptionist",
        number="+35699000111",
        expected=Expected(uses=(Use("lookup_customer", answer="Claire Borg"),), hears=("Claire Borg",), ends="gateway"),
    ),
    Scenario(
        "appointment",
        "asks for free times, books one, and cancels it",
        _booking("ten"),
        persona="receptionist",
        number="+35699000222",
        expected=Expected(
            uses=(
                Use("check_availability", {"date": "{thursday}"}, r'"available":\s*true'),
                _booked("10:00(:00)?"),
                Use("cancel_appointment", answer="Maria Brown"),
                _CANCELLED,
            ),
            hears=("free|slots|available", "Thursday.*?(10|ten)", "Maria Brown", "done|cancel"),
            ends="gateway",
        ),
    ),
    Scenario(
        "double-booking",
        "wants a time that was just given to another: refused, and offered others",
        conversation(
            "Please book an appointment on Wednesday at eleven o'clock. My name is Maria Brown.",
            "Yes, please.",
            "And please book another appointment on Wednesday at eleven o'clock, the name is Peter Brown.",
            "Yes, please.",
            "Please cancel my appointment.",
            "Yes, please.",
            _BYE,
        ),
        persona="receptionist",
        number="+35699000333",
        expected=Expected(
            uses=(
                Use("book_appointment", {"date": "{wednesday}", "name": "Maria Brown"}, _SUCCESS),
                Use("book_appointment", {"date": "{wednesday}", "name": "Peter Brown"}, '"taken"'),
                _CANCELLED,
            ),
            hears=("taken",),
            ends="gateway",
        ),
    ),
    Scenario(
        "supervised",
        "asks for free times and books one, with a receptionist who asks her supervisor (SUPERVISOR_MODEL)",
        _booking("eleven"),
        persona="receptionist",
        number="+35699000444",
        supervised=True,
        expected=Expected(
            uses=(
                Use("get_next_response_from_supervisor"),
                Use("check_availability", {"date": "{thursday}"}, r'"available":\s*true'),
                Use("get_next_response_from_supervisor"),
                _booked("11:00(:00)?"),
                _CANCELLED,
            ),
            hears=("moment|see|check", "free|slots|available", "Thursday.*?(11|eleven)", "Maria Brown"),
            ends="gateway",
        ),
    ),
    Scenario(
        "message",
        "leaves a message for somebody who is not there",
        conversation(
            "Hello, I would like to leave a message for Mister Borg.",
            "My name is Maria Brown.",
            "The contract is signed and he can come by on Friday.",
            "Yes, that is right.",
            _BYE,
        ),
        persona="receptionist",
        expected=Expected(
            uses=(Use("take_message", {"name": "Maria Brown", "message": ".*contract is signed.*"}, _SUCCESS),),
            hears=("name", "message", "contract is signed"),
            ends="gateway",
        ),
    ),
)
CALLERS_OF_PERSONAS: Final = (*WAITER, *SWAPPED, *CFO, *BARTENDER, *MEMBER_SERVICES, *RECEPTIONIST)
