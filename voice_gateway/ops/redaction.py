"""Taking card and ID numbers out of what people said, before it is written down.

Written digits and digits said in English words are read alike ("4111 1111", "four one one one", "double one",
"forty-one eleven"), with the pauses between them. A card number is known by its length and beginning, as its network
issues it, and by its check digit (Luhn, ISO/IEC 7812-1); what follows in the same breath, its date and security code,
goes with it. An ID number is known by a shape of its own (US social security, UK national insurance, Rwandan and
Maltese identity, IBAN) or by the word before it ("passport number ...").

What is not found: a number that is spread over several turns, or said in another language. Pausing the record while it
is said (`agent/toolbox/recording.py`) keeps all of it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import orjson

CARD: Final = "[card number]"
ID: Final = "[ID number]"
KINDS: Final = ("cards", "ids")

AFTER_CARD: Final = 8
"""So many digits right after a card number are taken for its date and code."""

_UNITS: Final = {
    word: str(value)
    for value, words in enumerate(
        ("zero oh o nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine niner")
    )
    for word in words.split()
}
_TEENS: Final = (
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS: Final = {
    **_UNITS,
    **{word: str(value) for value, word in enumerate(_TEENS, 10)},
    **{word: str(value) for value, word in enumerate(_TENS, 2)},  # the second digit follows, or is a 0
}
_TIMES: Final = {"double": 2, "triple": 3, "treble": 3}

_WORD: Final = rf"(?:{'|'.join(sorted([*_WORDS, *_TIMES], key=len, reverse=True))})(?![^\W\d_])"
_UNIT: Final = rf"(?:\d|(?<![^\W_]){_WORD})"
_GAP: Final = r"[\s,.;:\-\u2010-\u2015/]{0,4}(?:(?:um+|uh+|er+|and|then|dash|space)[\s,.\-]{1,3})?"
_RUN: Final = re.compile(rf"{_UNIT}(?:{_GAP}{_UNIT}){{4,}}", re.IGNORECASE)
_TOKEN: Final = re.compile(rf"\d|{_WORD}", re.IGNORECASE)

_RWANDAN: Final = re.compile(r"1(?:19|20)\d\d[78]\d{10}")
_SHAPES: Final = (
    re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}[-\s](?!00)\d\d[-\s](?!0000)\d{4}(?![\w-])"),
    re.compile(r"(?<!\w)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?:\s?\d\d){3}\s?[A-D](?!\w)", re.IGNORECASE),
    re.compile(r"(?<!\w)\d{5,7}[MGAPLHBZ](?!\w)"),
)
_IBAN: Final = re.compile(r"(?<!\w)[A-Z]{2}\d\d(?:\s?[A-Z0-9]){11,30}(?!\w)")
_NAMED: Final = re.compile(
    r"(?<!\w)(?:passport|social\s+security|ssn|(?:national\s+)?(?:id|identity)(?:\s+card)?|driv(?:er'?s|ing)\s+licen[cs]e"
    r"|tax\s+(?:id|identification)|national\s+insurance)(?:\s+(?:number|no\.?))?(?:\s*(?::|,|is|it's|was))*\s*"
    rf"(?P<value>{_UNIT}(?:{_GAP}{_UNIT}){{4,}}|(?=(?:[\s-]?[A-Z]){{0,4}}(?:[\s-]?\d){{4}})[A-Z0-9](?:[\s-]?[A-Z0-9]){{4,19}})"
    r"(?!\w)",
    re.IGNORECASE,
)


class _Digit(NamedTuple):
    """A digit and the text it stands for: both ends of it are within the run."""

    value: str
    start: int
    end: int


class Redactor:
    """Hides what it is asked to: `cards`, `ids` or both."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self._kinds = frozenset(kinds)

    @property
    def hides_cards(self) -> bool:
        return "cards" in self._kinds

    def text(self, text: str) -> str:
        """The same text with a word in brackets for each number. Doing it twice changes nothing."""
        if "ids" in self._kinds:
            text = _hide_ids(text)
        if "cards" in self._kinds:
            text = _hide_runs(text, _cards, CARD)
        return text

    def json(self, text: str) -> str:
        """JSON text, its strings and whole numbers redacted; what is no JSON is taken as text."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self.text(text)
        redacted = self._value(value)
        return text if redacted == value else orjson.dumps(redacted).decode()

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self.text(value)
            case bool():
                return value
            case int():
                hidden = self.text(str(value))
                return value if hidden == str(value) else hidden
            case dict():
                return {self.text(name): self._value(each) for name, each in value.items()}
            case list():
                return [self._value(each) for each in value]
            case _:
                return value


# --- cards --------------------------------------------------------------------------------------------------------


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(int(digit) for digit in digits[::-2])) % 10 == 0


_ISSUED: Final = tuple(
    (re.compile(beginning), lengths)
    for beginning, lengths in (
        (r"4", (19, 16, 13)),
        (r"5[1-5]|35|2(?:2[0-9]{2}|[3-6][0-9]{2}|7[01][0-9]|720)", (16,)),
        (r"3[47]", (15,)),
        (r"3[0689]", (19, 18, 17, 16, 14)),
        (r"5[06-9]|6", (19, 18, 17, 16, 15, 14, 13)),
    )
)
"""How card numbers begin, and how many digits they then may have, the longest first."""


def _lengths(beginning: str) -> tuple[int, ...]:
    return next((lengths for begins, lengths in _ISSUED if begins.match(beginning)), ())


def _cards(digits: str) -> Iterator[tuple[int, int]]:
    """Where card numbers are, with what follows them."""
    at = 0
    while at + 13 <= len(digits):
        end = next(
            (at + n for n in _lengths(digits[at : at + 4]) if at + n <= len(digits) and luhn(digits[at : at + n])), 0
        )
        if not end:
            at += 1
            continue
        rest = len(digits) - end
        at, begin = (end + rest if rest <= AFTER_CARD else end), at
        yield begin, at


# --- ID numbers ---------------------------------------------------------------------------------------------------


def _hide_ids(text: str) -> str:
    for shape in _SHAPES:
        text = shape.sub(ID, text)
    text = _IBAN.sub(lambda found: ID if _is_iban(found.group()) else found.group(), text)
    text = _NAMED.sub(lambda found: found.group()[: found.start("value") - found.start()] + ID, text)
    return _hide_runs(text, _rwandan, ID)


def _is_iban(text: str) -> bool:
    """ISO 13616: moved round and read with letters as numbers, the remainder by 97 is 1."""
    compact = re.sub(r"\s", "", text)
    return int("".join(str(int(each, 36)) for each in compact[4:] + compact[:4])) % 97 == 1


def _rwandan(digits: str) -> Iterator[tuple[int, int]]:
    for found in _RWANDAN.finditer(digits):
        yield found.span()


# --- runs of digits -----------------------------------------------------------------------------------------------


def _hide_runs(text: str, find: Any, marker: str) -> str:
    def hide(run: re.Match[str]) -> str:
        said = run.group()
        digits = _read(said)
        parts, at = [], 0
        for begin, end in find("".join(digit.value for digit in digits)):
            parts += [said[at : digits[begin].start], marker]
            at = digits[end - 1].end
        return "".join([*parts, said[at:]])

    return _RUN.sub(hide, text)


def _read(said: str) -> list[_Digit]:
    """The digits of a run, in whatever way they are said."""
    digits: list[_Digit] = []
    times, times_start = 1, -1
    tens: tuple[int, int] | None = None  # of a "forty" that may be followed by its unit
    for token in _TOKEN.finditer(said):
        word, start, end = token.group().lower(), token.start(), token.end()
        if word in _TIMES:
            times, times_start = _TIMES[word], start
            continue
        value = _WORDS.get(word) or str(int(word))
        if tens is not None and not (word in _UNITS and value != "0"):
            digits.append(_Digit("0", *tens))
        tens = (start, end) if word in _TENS else None
        begin = times_start if times_start >= 0 else start
        digits += [_Digit(each, begin, end) for each in value * times]
        times, times_start = 1, -1
    if tens is not None:
        digits.append(_Digit("0", *tens))
    return digits
