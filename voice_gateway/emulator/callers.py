"""Callers who try how a call is led: interruptions, silence, keys. With answers for a model that cannot think."""

from __future__ import annotations

from typing import Final

from voice_gateway.emulator.faculties import Say, UseTool
from voice_gateway.emulator.scenario import (
    HangUp,
    InterruptAfter,
    Press,
    SayText,
    Scenario,
    StaySilent,
    WaitForAnswer,
)
from voice_gateway.emulator.scripted import When

GREETING: Final = "Hello, you have reached the coffee bar. What can I get you?"
_LATTE = (
    "A large latte is four dollars and fifty cents. We make it with two shots of espresso and steamed milk, and until "
    "eleven there is a croissant with every large drink."
)

_MENU = Scenario(
    "menu",
    "asks for a drink on the menu, cuts the answer short, thanks and hangs up",
    (
        WaitForAnswer(),
        SayText("Hello, how much is a large latte?"),
        InterruptAfter(1.5, "And with oat milk?"),
        WaitForAnswer(),
        SayText("Thank you, goodbye."),
        WaitForAnswer(),
        HangUp(),
    ),
    (
        GREETING,
        When(r"oat milk", (Say("Oat milk is sixty cents more. Anything else?"),)),
        When(r"latte", (Say(_LATTE),)),
        When(r"thank", (Say("You are welcome. Goodbye!"),)),
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
)
_SILENT = Scenario(
    "silent",
    "calls, says nothing, and hangs up",
    (WaitForAnswer(), StaySilent(12.0), HangUp()),
    (GREETING, "Are you still there?"),
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
)
_KEYPAD = Scenario(
    "keypad",
    "answers with the keys of the telephone",
    (WaitForAnswer(), Press("1"), WaitForAnswer(), Press("42#"), WaitForAnswer(), HangUp()),
    ("For orders press one.", "Please type your order number and finish with the hash key.", "Thank you, it is ready."),
)
CALLERS: Final = (_MENU, _SILENT, _IMPATIENT, _KEYPAD, _DINNER)
