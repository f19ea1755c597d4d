"""Callers who try how a call is led: interruptions, silence, keys. With answers for a model that cannot think."""

from __future__ import annotations

from typing import Final

from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.scenario import (
    Expected,
    HangUp,
    InterruptAfter,
    Press,
    SayText,
    Scenario,
    StaySilent,
    Use,
    WaitForAnswer,
)
from voice_gateway.emulator.scripted import When

GREETING: Final = "Hello, you have reached the coffee bar. What can I get you?"
_LATTE = (
    "A caffe latte is three thousand two hundred francs. We make it with two shots of espresso and much steamed milk, "
    "and until eleven there is a piece of banana bread with every one of them."
)

_MENU = Scenario(
    "menu",
    "asks for a drink on the menu, cuts the answer short with another, thanks and says goodbye",
    (
        WaitForAnswer(),
        SayText("Hello, how much is a caffe latte?"),
        InterruptAfter(1.5, "And an espresso?"),
        WaitForAnswer(),
        SayText("Thank you, goodbye."),
        WaitForAnswer(),
        HangUp(),
    ),
    (
        GREETING,
        When(r"espresso", (Say("An espresso is two thousand francs. Anything else?"),)),
        When(r"latte", (Say(_LATTE),)),
        When(r"thank", (Say("You are welcome. Goodbye!"),)),
    ),
    persona="waiter",
    expected=Expected(
        uses=(
            Use("lookup_menu", {"query": r".*latte"}, "rw-lat"),
            Use("lookup_menu", {"query": r".*espresso"}, "rw-esp"),
        ),
        hears=(r"latte", r"2[,. ]?000|two thousand"),
        ends="gateway",
    ),
)
_DINNER = Scenario(
    "dinner",
    "asks what coffee there is, cuts the answer short, asks for dishes of the menu, says goodbye",
    (
        WaitForAnswer(),
        SayText("Good evening, what coffee do you have?"),
        InterruptAfter(2.3, "Sorry, do you have grilled tilapia?"),
        WaitForAnswer(),
        SayText("And what does a cappuccino cost?"),
        WaitForAnswer(),
        SayText("Thank you very much, goodbye."),
        WaitForAnswer(),
        HangUp(),
    ),
    (
        "Hello, and welcome! What can I get you today?",
        When(r"what coffee", (UseTool("lookup_menu", {"query": "coffee"}),)),
        When(r"tilapia", (UseTool("lookup_menu", {"query": "grilled tilapia"}),)),
        When(r"cappuccino", (UseTool("lookup_menu", {"query": "cappuccino"}),)),
        When(
            r"espresso.*mocha",
            (Say("We have cappuccino, African coffee, espresso, caffe latte, mocha and iced coffee."),),
            tool="lookup_menu",
        ),
        When(r"tilapia", (Say("Yes, grilled tilapia, for twelve thousand francs."),), tool="lookup_menu"),
        When(r"cappuccino", (Say("A cappuccino is three thousand francs."),), tool="lookup_menu"),
        When(r"thank", (Say("You are welcome. Goodbye!"),)),
    ),
    persona="waiter",
    expected=Expected(
        uses=(
            Use("lookup_menu", {"query": r".*coffee"}, "rw-ice"),
            Use("lookup_menu", {"query": r".*tilapia"}, "rw-til"),
            Use("lookup_menu", {"query": r".*cappuccino"}, "rw-cap"),
        ),
        hears=(r"12[,. ]?000|twelve thousand", r"3[,. ]?000|three thousand"),
        ends="gateway",
    ),
)
_SILENT = Scenario(
    "silent",
    "calls, says nothing, and hangs up",
    (WaitForAnswer(), StaySilent(12.0), HangUp()),
    (GREETING, "Are you still there?"),
    expected=Expected(ends="caller"),
)
_IMPATIENT = Scenario(
    "impatient",
    "cuts in twice",
    (
        WaitForAnswer(),
        SayText("What do you have?"),
        InterruptAfter(1.0, "No, only the coffee please."),
        InterruptAfter(1.0, "Just an espresso."),
        WaitForAnswer(),
        HangUp(),
    ),
    (
        GREETING,
        "We have coffee, tea, hot chocolate, lemonade, three kinds of cake, sandwiches, and soup from noon until two.",
        "Of coffee we have latte, cappuccino, flat white, americano, espresso, mocha, and a filter coffee of the day.",
        "One espresso, right away.",
    ),
    expected=Expected(ends="caller"),
)
_KEYPAD = Scenario(
    "keypad",
    "answers with the keys of the telephone, from the consent to a recording on, where it is asked for by key",
    (WaitForAnswer(), Press("1"), WaitForAnswer(), Press("42#"), WaitForAnswer(), HangUp()),
    ("For orders press one.", "Please type your order number and finish with the hash key.", "Thank you, it is ready."),
    keys_first="1",
    expected=Expected(ends="caller"),
)
CALLERS: Final = (_MENU, _SILENT, _IMPATIENT, _KEYPAD, _DINNER)
