"""Words and numbers: `12 ounce`, `twelve ounces` and `12oz` are the same to whoever listens."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_ONES: Final = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES: Final = ((1_000_000_000, "billion"), (1_000_000, "million"), (1000, "thousand"), (100, "hundred"))

_SMALL: Final = {word: value for value, word in enumerate(_ONES)} | {
    word: 20 + 10 * place for place, word in enumerate(_TENS)
}
_LARGE: Final = {word: value for value, word in _SCALES}
_SAME: Final = {
    "single": "1",
    "double": "2",
    "triple": "3",
    "quadruple": "4",
    "dozen": "12",
    "oz": "ounce",
    "okay": "ok",
    "hi": "hello",
    "hey": "hello",
    "bye": "goodbye",
    "thank": "thanks",
}
_WORD: Final = re.compile(r"[a-z]+|\d+(?:\.\d+)?")
_THOUSANDS: Final = re.compile(r"(?<=\d)[, \u00a0\u202f](?=\d{3}(?!\d))")
_I_WOULD: Final = re.compile(r"\b[Ii]['\u2019`]d\b")
_APOSTROPHE: Final = re.compile(r"['\u2019`]")


def number_words(number: int) -> str:
    """3500 -> three thousand five hundred. Negative numbers begin with minus."""
    if number < 0:
        return f"minus {number_words(-number)}"
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens = _TENS[number // 10 - 2]
        return f"{tens} {_ONES[number % 10]}" if number % 10 else tens
    scale, name = next((scale, name) for scale, name in _SCALES if number >= scale)
    head = f"{number_words(number // scale)} {name}"
    return f"{head} {number_words(number % scale)}" if number % scale else head


def words(text: str) -> list[str]:
    """The words of a text as one compares them: no case, accent, punctuation or plural, numbers in digits."""
    text = _I_WOULD.sub("I would", text)  # and no id
    plain = unicodedata.normalize("NFKD", _THOUSANDS.sub("", text)).encode("ascii", "ignore").decode().lower()
    return _in_digits([_one(word) for word in _WORD.findall(_APOSTROPHE.sub("", plain))])


def stem(word: str) -> str:
    """A word without the endings of a verb: ordered, ordering -> order; cancelled -> cancel."""
    for ending in ("ing", "ed"):
        bare = word.removesuffix(ending)
        if bare != word and len(bare) > 2:
            doubled = len(bare) > 5 and bare[-1] == bare[-2] != "s"
            return bare[:-1] if doubled else bare
    return word


def _one(word: str) -> str:
    word = _SAME.get(word, word)
    singular = word[:-1]
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return singular if plural and word != "thanks" and singular not in _SMALL else word


def _in_digits(found: list[str]) -> list[str]:
    """Gather runs of number words: twenty, five -> 25; three, thousand, five, hundred -> 3500; five, five stays two."""
    out: list[str] = []
    place = 0
    while place < len(found):
        value, used = _number(found, place)
        out.append(str(value) if used else found[place])
        place += used or 1
    return out


def _number(found: list[str], start: int) -> tuple[int, int]:
    """The number that begins at start and how many words it takes; none: (0, 0)."""
    total = part = 0
    place, last = start, 0
    while place < len(found):
        word = found[place]
        if word in _SMALL:
            if not _continues(last, _SMALL[word]):
                break
            part += _SMALL[word]
            last = _SMALL[word]
        elif word in _LARGE and last:
            total, part = _scaled(total, part, _LARGE[word])
            last = _LARGE[word]
        elif not (word == "and" and last >= 100 and place + 1 < len(found) and found[place + 1] in _SMALL):
            break
        place += 1
    return (total + part, place - start) if place > start else (0, 0)


def _continues(last: int, value: int) -> bool:
    """Whether a small number word goes on with the number: after nothing, a scale word, or tens before ones."""
    return last == 0 or last >= 100 or (20 <= last < 100 and 0 < value < 10)


def _scaled(total: int, part: int, scale: int) -> tuple[int, int]:
    return (total, part * scale) if scale == 100 else (total + part * scale, 0)


def readable(name: str) -> str:
    """`numberOfShots`, `number_of_shots` -> number of shots."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", spaced).strip().lower()


def listed(parts: list[str], last: str = "and") -> str:
    """A, B and C."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"
