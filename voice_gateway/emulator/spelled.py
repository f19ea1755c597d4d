"""What people spell: numbers digit by digit, codes letter by letter, with the signs between them by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from voice_gateway.emulator.wording import words

_SIGNS: Final = {
    "underscore": "_", "dash": "-", "hyphen": "-", "minus": "-", "dot": ".", "point": ".", "slash": "/", "plus": "+",
    "at": "@",
}  # fmt: skip
_SOUNDS_LIKE: Final = {
    "for": "4", "fore": "4", "to": "2", "too": "2", "ate": "8", "won": "1", "oh": "0", "o": "0", "niner": "9",
}  # fmt: skip
"""What an ear writes for a digit: one of them only next to another digit."""

_TIMES: Final = {"double": 2, "triple": 3}
_TOKEN: Final = re.compile(r"[A-Za-z0-9@+_./-]*[A-Za-z0-9+]")
_LED_IN: Final = re.compile(
    r"\b(?:code|number|id|identity|passport|card)\b(?:\s+(?:is|would be))?[\s:,]+", re.IGNORECASE
)
_BEGINNING: Final = re.compile(r"^\W*(?:it is|it's|that is|that's|yes|sure)\b[\s,]*", re.IGNORECASE)
_AS_IN: Final = re.compile(r"\b([A-Za-z])[,.]? (?:as in|like|for) [A-Za-z]{3,}")
_STOPS: Final = frozenset("please and thanks thank you it that is for the my if i".split())  # noqa: SIM905 - words


def digits(text: str) -> str:
    """The longest number that was spelled, with a plus where one was said; empty: fewer than five digits in a row."""
    best = ""
    for run in _digit_runs(_numbered(text)):
        if len(run.lstrip("+")) > len(best.lstrip("+")):
            best = run
    return best if len(best.lstrip("+")) >= 5 else ""


def code(text: str) -> str:
    """A code or an id: what follows `the code is`, else the first run that no word of a language looks like."""
    text = _numbered(_AS_IN.sub(r"\1", text))
    for led in reversed(list(_LED_IN.finditer(text))):
        if found := _glued(_until_a_stop(text[led.end() :])):
            return found
    plain = _BEGINNING.sub("", text)
    if found := ("" if _SIGNS.keys() & set(words(plain)) else _spelled_out(plain)) or _glued(_until_a_stop(plain)):
        return found
    tokens = _TOKEN.findall(text)
    return next((token for token in tokens if re.search(r"\d", token) and re.search("[A-Za-z]", token)), "")


def _spelled_out(text: str) -> str:
    """The longest run of single letters and digits, of four signs at least; empty: there is none."""
    runs: list[list[str]] = [[]]
    for token in _TOKEN.findall(re.sub(r"(?<=\w)[-.](?=\w\b)", " ", text)):
        if len(token) == 1 or _is_number(token) or token.lower() == "oh":
            runs[-1].append("o" if token.lower() == "oh" else token)
        elif runs[-1]:
            runs.append([])
    pieces = ["".join(_pieces(run)) for run in runs]
    best = max(pieces, key=len)
    return best if len(best) >= 4 and len(max(runs, key=len)) > 2 else ""


def _numbered(text: str) -> str:
    """A text in which `for` and the like are the digits that they sound like, where they stand among digits."""
    pieces = re.split(r"(\W+)", text)  # words at the even places, what stands between them at the odd ones
    for place in range(0, len(pieces), 2):
        digit = _SOUNDS_LIKE.get(pieces[place].lower())
        before = pieces[place - 2] if place else ""
        behind = pieces[place + 2] if place + 2 < len(pieces) else ""
        spelled = _is_number(before) or (len(before) == 1 and before.isalpha() and before.lower() not in "ai")
        led = spelled or (before.lower() in {"is", "number"} and behind)
        if digit and led and (_is_number(behind) or not behind):
            pieces[place] = digit
    return "".join(pieces)


def _is_number(word: str) -> bool:
    found = words(word)
    return bool(found) and found[0][0].isdigit()


def _until_a_stop(text: str) -> list[str]:
    kept: list[str] = []
    for token in _TOKEN.findall(text):
        if kept and token.lower() in _STOPS:
            break
        if token.lower() not in _STOPS:
            kept.append(token)
    return kept


def _glued(tokens: list[str]) -> str:
    """The tokens as one, when they can be a code: with a digit or a sign in it, or spelled letter by letter."""
    pieces = list(_pieces(tokens))
    whole = "".join(pieces)
    lettered = len(pieces) > 2 and all(len(piece) == 1 for piece in pieces)
    return whole if len(whole) > 2 and (lettered or re.search(r"[\d_]", whole)) else ""


def _pieces(tokens: list[str]) -> Iterator[str]:
    times = 1
    for token in tokens:
        lower = token.lower().strip(".-/")
        if lower in _TIMES:
            times = _TIMES[lower]
            continue
        if lower in _SIGNS:
            yield _SIGNS[lower]
            continue
        number = words(token)
        piece = number[0] if len(number) == 1 and number[0].isdigit() else re.sub(r"[.-](?=\w(?:[.-]|$))", "", token)
        shouted = piece.isupper() or any(letter.isdigit() for letter in piece)
        yield (piece if shouted else piece.lower() if len(piece) > 1 else piece.upper()) * times
        times = 1


def _digit_runs(text: str) -> Iterator[str]:
    run = ""
    times = 1
    for token in re.findall(r"\+?\d+|[A-Za-z]+", text):
        lower = token.lower()
        if lower in _TIMES:
            times = _TIMES[lower]
            continue
        number = words(token)
        if lower == "plus":
            yield run
            run = "+"
        elif lower in ("o", "oh") and run:
            run += "0"
        elif token[0] in "+0123456789" or (number and number[0].isdigit()):
            piece = token if token[0] in "+0123456789" else number[0]
            if piece.startswith("+"):
                yield run
                run = ""
            run += piece * times
        else:
            yield run
            run = ""
        times = 1
    yield run
