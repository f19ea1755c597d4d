"""Taking phone numbers and secrets out of text that people other than the caller will read.

`mask_number` is for a field that is known to hold a number; `Scrubber.scrub` is for free text, where it must find them.
Scrubbing errs on the side of hiding: a ten-digit order number looks like a phone number and is masked as well.
What it leaves alone, because logs are useless without: carrier and model ids, UUIDs, long hex digests, dates and
times, Unix times and IPv4 addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

HIDDEN: Final = "***"

# Shorter values are not looked for: hiding every "a" or "1234" would make logs unreadable and hide nothing.
SHORTEST_SECRET: Final = 6

_TOO_LONG: Final = 8192
_TAIL: Final = 256
_TOO_DEEP: Final = 6

# What carriers send instead of a number when the caller withholds it.
_WITHHELD: Final = frozenset(
    {"anonymous", "blocked", "na", "n/a", "no caller id", "private", "restricted", "unavailable", "unknown", "withheld"}
)

_ALREADY_MASKED = re.compile(r"\+?[0-9]{0,4}\*\*\*[0-9]{0,4}")
_SEPARATORS = re.compile(r"[\s().\-/]+")
_NUMBER = re.compile(r"\+?\d+")


def mask_number(number: str) -> str:
    """Return a caller's or callee's id with its middle hidden: `+15551234567` becomes `+1555***4567`.

    At least three digits are always hidden, more of a short number. `client:` and `sip:` ids keep their scheme and
    host and the first letter of the name; words for a withheld number stay as they are. Masking twice changes nothing.
    """
    text = number.strip()
    if not text or text.lower() in _WITHHELD or _ALREADY_MASKED.fullmatch(text):
        return text
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in {"client", "sip", "sips", "tel", "whatsapp"}:
        return f"{scheme}:{_mask_address(rest)}"
    digits = _SEPARATORS.sub("", text)
    if _NUMBER.fullmatch(digits):
        return _mask_digits(digits)
    return _mask_name(text)


def _mask_address(address: str) -> str:
    """`user@host;parameters`: the user is masked, the host stays, parameters go (they may hold anything)."""
    user, at, host = address.partition("@")
    user = user.partition(";")[0]
    host = re.split(r"[;?>\s]", host, maxsplit=1)[0]
    like_a_number = _ALREADY_MASKED.fullmatch(user) or _NUMBER.fullmatch(_SEPARATORS.sub("", user))
    return f"{mask_number(user) if like_a_number else _mask_name(user)}{at}{host}"


def _mask_name(name: str) -> str:
    first = name[0] if name[:1].isalpha() else ""
    return f"{first}{HIDDEN}"


def _mask_digits(number: str) -> str:
    """`number` is digits with at most one plus in front. Longer ones keep more, since enough of them stays hidden."""
    plus = "+" if number.startswith("+") else ""
    digits = number[len(plus) :]
    count = len(digits)
    if count < 7:
        return f"{plus}{HIDDEN}{digits[-1:] if count > 3 else ''}"
    last = 4 if count >= 11 else 2
    first = min(4, count - last - 3)
    return f"{plus}{digits[:first]}{HIDDEN}{digits[-last:]}"


# --- free text --------------------------------------------------------------------------------------------------

# Tokens that hold many digits and are no phone numbers. They are matched first, so that nothing is cut out of them.
_KEEP: Final = r"""
    (?<![0-9A-Za-z]) (?:
        [A-Z]{2}[0-9a-f]{32}                                                        # carrier ids: CA, MZ, AC, RE ...
      | (?:item|resp|event|sess|conv|call|rtc|req|msg)_[0-9A-Za-z]{16,40}           # model ids
      | [0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}                        # UUID
      | (?=[0-9]*[a-f])[0-9a-f]{16,128}                                             # digests, trace ids
      | (?:19|20)\d\d-[01]\d-[0-3]\d(?:[T\ ][0-2]\d:[0-5]\d(?::[0-6]\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?
      | (?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)                                            # IPv4
      | 1[5-9]\d{8}(?:\.\d+|\d{3}|\d{6}|\d{9})?                                     # Unix time: s, ms, us, ns
    ) (?![0-9A-Za-z])
"""

# Digits with at most two separators between two of them; the last alternatives need no plus and are stricter.
_PHONE: Final = r"""
    (?:\+|%2[Bb]) (?: \d{7,15}(?!\d) | [\s(.\-]{0,2}\d(?:[\s().\-/]{0,2}\d){6,14}(?!\d) )
  | (?<![0-9A-Za-z]) (?<!\d\.) (?:
        \d{9,15}
      | (?:1[\s.\-/]?)? \(?[2-9]\d{2}\)?[\s.\-/]{0,2}\d{3}[\s.\-/]?\d{4}            # North America
      | \(?0\d{1,4}\)?(?:[\s.\-/]\d{2,7}){1,4}                                      # national, with trunk 0
      | \d(?:[\ ,.\-]{1,2}\d){8,14}                                                 # read out digit by digit
    ) (?! [0-9] | (?!(?:x|ext)\.?\ ?\d)[A-Za-z] )
"""

_KEY: Final = r"""
    (?<![0-9A-Za-z]) (?:
        sk-[0-9A-Za-z_\-]{12,}                                                      # OpenAI and the like
      | ek_[0-9A-Za-z_\-]{8,}                                                       # ephemeral keys
      | (?:sb_secret|sbp|whsec)_[0-9A-Za-z_+/=\-]{8,}                               # Supabase, webhook secrets
      | eyJ[0-9A-Za-z_\-]{6,}\.[0-9A-Za-z_\-]+(?:\.[0-9A-Za-z_\-]*)?                # JWT
    )
"""

# The word stays, the value goes: header lines, query strings, JSON and Python spellings of them.
_AFTER_A_WORD: Final = r"""
    (?P<word> (?i:\b(?:bearer|basic)\s+|\b(?:x-twilio-signature|x-api-key|apikey):\s*) ) [^\s"',;]{6,}
  | (?P<name> (?i:(?<![A-Za-z])(?:api[_-]?key|(?:access|auth|refresh)[_-]?token|token|secret|password|signature))
      (?: = | ["']\s*[:=]\s*["'] ) ) [^\s"'&,;]+
  | (?P<user> ://) [^\s/@:"']*:[^\s/@"']+@
"""

_TEXT = re.compile(f"(?P<keep>{_KEEP})|(?P<secret>{_KEY})|{_AFTER_A_WORD}|(?P<phone>{_PHONE})", re.VERBOSE)

# Most strings in a log line hold nothing of the kind; this looks once and is several times cheaper.
_SUSPECT = re.compile(r"\d.{0,2}\d.{0,3}\d.{0,3}\d|sk-|ek_|sb|whsec|eyJ|://|[=:]|(?i:bearer|basic)", re.DOTALL)


def _replace(match: re.Match[str]) -> str:
    found = match.group()
    match match.lastgroup:
        case "keep":
            return found
        case "phone":
            return _mask_found(found)
        case "word" | "name" | "user" as group:
            return f"{match.group(group)}{HIDDEN}{'@' if group == 'user' else ''}"
        case _:
            return f"{found[:3]}{HIDDEN}"


def _mask_found(found: str) -> str:
    digits = re.sub(r"\D", "", found)
    if found[:3].lower() == "%2b":
        return f"%2B{_mask_digits(digits[1:])}"
    if len(digits) < 7 or (len(digits) < 9 and found.startswith(("0", "(0"))):
        return found
    return _mask_digits(("+" if found.startswith("+") else "") + digits)


def _spellings(secret: str) -> set[str]:
    return {secret, quote(secret, safe="")}


class Scrubber:
    """Hides registered secret values, anything that looks like a key, and anything that looks like a phone number."""

    __slots__ = ("_registered",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """secrets: the values themselves, such as the carrier's token; those under 6 characters are ignored."""
        spellings = {s for secret in secrets if len(secret) >= SHORTEST_SECRET for s in _spellings(secret)}
        longest_first = sorted(spellings, key=len, reverse=True)
        self._registered = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __repr__(self) -> str:
        return "Scrubber(...)"

    def scrub(self, text: str) -> str:
        """Return `text` without secrets and full phone numbers, cut to 8,192 characters."""
        if len(text) > _TOO_LONG:
            # What the cut left of a key may be too short to be known as one, so the end goes after the scrubbing.
            return f"{self._scrub(text[:_TOO_LONG])[:-_TAIL]}... ({len(text)} characters)"
        return self._scrub(text)

    def _scrub(self, text: str) -> str:
        if self._registered is not None:
            text = self._registered.sub(HIDDEN, text)
        if _SUSPECT.search(text) is None:
            return text
        return _TEXT.sub(_replace, text)

    def scrub_value(self, value: object, depth: int = 0) -> object:
        """Return `value` for a log line: strings scrubbed at any depth, bytes as their length, others as their text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._scrub_many(value, depth) if depth < _TOO_DEEP else "..."
        return self.scrub(_text(value))

    def _scrub_many(self, values: Mapping[Any, object] | Iterable[object], depth: int) -> object:
        if isinstance(values, Mapping):
            return {self.scrub(_text(key)): self.scrub_value(value, depth + 1) for key, value in values.items()}
        return [self.scrub_value(value, depth + 1) for value in values]


def _text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    try:
        return str(value)
    except Exception:  # noqa: BLE001  # a foreign __str__ must not turn a log line into an error of the call
        return f"<{type(value).__name__}>"


_PLAIN = Scrubber()


def scrub(text: str) -> str:
    """`Scrubber.scrub` without registered secrets."""
    return _PLAIN.scrub(text)
