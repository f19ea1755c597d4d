"""Finds full phone numbers and keys in what was written, by rules of its own: none of them is the product's.

    leaks = find_leaks(everything_logged, secrets=[token, key], numbers=["+15551234567"])
    assert not leaks

`secrets` and `numbers` are those of the test; a number is found in any spelling, since only its digits are compared.
Without them it still finds what looks like one. Ids and times that the logs are full of are taken out first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_HARMLESS = [
    re.compile(r"\b[A-Z]{2}[0-9a-f]{32}\b"),
    re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    re.compile(r"\b(?:item|resp|event|sess|conv|call|rtc)_\w{16,}"),
    re.compile(r"\b[0-9a-f]{32,}\b"),
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|[+-]\d\d:\d\d)"),
    re.compile(r"\d+\.\d{5,}"),
    re.compile(r"\b1[5-9]\d{8}(?:\d{3})?\b"),
]
_NUMBER_LIKE = re.compile(r"\+[ (]?\d(?:[ ().-]{0,2}\d){6,}|(?<![\w.])\d{9,15}(?!\w)|\b\d{3}-\d{3}-\d{4}\b")
_KEY_LIKE = re.compile(
    r"\bsk-[\w-]{12,}|\bek_\w{8,}|\bsb_secret_\w+|\beyJ\w{6,}\.|(?i:\bbearer\s+)[^\s*]{6,}|://[^\s/:@]*:[^\s/@*]+@"
)


def find_leaks(text: str, secrets: Iterable[str] = (), numbers: Iterable[str] = ()) -> list[str]:
    """Return what must not be in `text`, each with the few characters around it; an empty list is the good answer."""
    leaks = [_around(text, text.index(secret), len(secret)) for secret in secrets if secret and secret in text]
    for number in numbers:
        digits = re.sub(r"\D", "", number)
        spelled = re.search(r"\D{0,2}".join(digits), text) if len(digits) >= 7 else None
        if spelled:
            leaks.append(_around(text, spelled.start(), len(spelled.group())))
    rest = text
    for harmless in _HARMLESS:
        rest = harmless.sub("<id>", rest)
    for pattern in (_NUMBER_LIKE, _KEY_LIKE):
        leaks += [_around(rest, found.start(), len(found.group())) for found in pattern.finditer(rest)]
    return leaks


def _around(text: str, start: int, length: int) -> str:
    return text[max(0, start - 30) : start + length + 10]
