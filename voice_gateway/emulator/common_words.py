"""Words that everybody knows: those that say nothing, those that say yes or no, and what is a kind of what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from voice_gateway.emulator.wording import words

NEGATIONS: Final = {"no", "not", "without", "never", "dont", "skip"}

FILLERS: Final = frozenset(
    words(
        "a an the i i'd i'll i'm im me my you your we us it its that this there these those is are was am be been do"
        " does did have has had can could will would shall may might must let lets to of for from in on at by with as"
        " and or but if so then here please ok well um uh er hmm oh just also still some any more like love want need"
        " get give take bring make show tell know about what whats which how much many when where who why price cost"
        " costing charge say sorry pardon excuse wait actually hello yes yeah yep no not nope thanks goodbye"
        " order buy look find check search got all"
        " it's everything something anything else sir madam good morning afternoon evening sell serve offer available"
        " now try hear kind thing one ones very really again"
    )
)
"""Words of a request that do not say what it is about."""


KINDS: Final[Mapping[str, frozenset[str]]] = {
    "alcohol": frozenset(
        words(
            "alcoholic beer lager ale stout pilsner wine champagne prosecco cider cocktail whisky whiskey gin vodka rum"
            " tequila brandy cognac liqueur spirits margarita mojito martini daiquiri negroni schnapps"
        )
    ),
}
"""A word for many things, and words that are one of them."""

_YES: Final = re.compile(
    r"\W*(?:yes|yeah|yep|yup|sure|ok(?:ay)?|correct|right|exactly|certainly|of course|absolutely|perfect|please do"
    r"|go ahead|do (?:it|that|so)|that(?:'s| is| would be) (?:right|correct|fine|good|great|all right|perfect|it)"
    r"|sounds good|i confirm|confirmed)\b",
    re.IGNORECASE,
)
_NO: Final = re.compile(
    r"\W*(?:no|nope|not|don't|do not|never mind|wait|stop|wrong|that(?:'s| is) (?:not|wrong))\b", re.IGNORECASE
)


def meaning(line: str) -> set[str]:
    """The words of a line that carry meaning, as one compares them."""
    return set(words(line)) - FILLERS


def agrees(line: str) -> bool:
    return _YES.match(line) is not None


def declines(line: str) -> bool:
    return _NO.match(line) is not None


def is_about(kind: str, said: Iterable[str]) -> bool:
    """Whether words name a kind, or something that is one of it."""
    return bool(({kind} | KINDS.get(kind, frozenset())) & set(said))
