"""Who is to be erased: a telephone number in every form it may be written in, and calls."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import orjson

from voice_gateway.errors import GatewayError

ERASED: Final = "[erased]"

_GAP: Final = r"[- ().\t/]{0,3}"
_TWO_DIGIT_CODES: Final = tuple(map(str, (
    20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82, 84, 86,
    *range(90, 96), 98,
)))  # fmt: skip
"""Country codes of two digits (ITU-T E.164, list of assigned codes); 1 and 7 have one, all others three."""

LONGEST_FIELD: Final = 64
"""What is longer is no number, nor an address that holds one."""

SHORTEST_NATIONAL: Final = 8
"""A number without its country code is looked for when it is this long: shorter ones are somebody else's too often."""


class NoNumberError(GatewayError):
    """What was given is no telephone number with its country code."""


@dataclass(frozen=True)
class Person:
    """digits: a number with its country code, without the plus; empty where only calls are named. call_sids: theirs."""

    digits: str = field(default="", repr=False)
    call_sids: frozenset[str] = frozenset()

    @classmethod
    def of(cls, number: str, call_sids: frozenset[str] = frozenset()) -> Person:
        """number: as +250 788 000 123, or nothing. Raises `NoNumberError`."""
        compact = re.sub(r"[\s().\-/]", "", number)
        if compact and not re.fullmatch(r"\+[1-9][0-9]{6,14}", compact):
            raise NoNumberError("--number takes a number with its country code: + and 7 to 15 digits.")
        return cls(compact.removeprefix("+"), call_sids)

    def with_calls(self, call_sids: frozenset[str]) -> Person:
        return replace(self, call_sids=self.call_sids | call_sids)

    @cached_property
    def _split(self) -> tuple[str, str]:
        """Country code and the rest."""
        length = 1 if self.digits[:1] in "17" else 2 if self.digits[:2] in _TWO_DIGIT_CODES else 3
        return self.digits[:length], self.digits[length:]

    @cached_property
    def forms(self) -> tuple[str, ...]:
        """The digits of a field that holds this number and nothing else."""
        if not self.digits:
            return ()
        rest = self._split[1]
        national = (rest, f"0{rest}") if len(rest) >= SHORTEST_NATIONAL else ()
        return (self.digits, f"00{self.digits}", f"011{self.digits}", *national)

    @cached_property
    def pattern(self) -> str:
        """A regular expression, for Python and for PostgreSQL alike, that finds the number in text."""
        if not self.digits:
            return ""
        code, rest = self._split
        full = rf"(?:(?:\+|00|011){_GAP})?{_spaced(code)}{_GAP}(?:\(?0\)?{_GAP})?{_spaced(rest)}"
        national = rf"|(?<!\w)(?:0{_GAP})?{_spaced(rest)}(?!\w)" if len(rest) >= SHORTEST_NATIONAL else ""
        return rf"(?<!\d){full}(?!\d){national}"

    @cached_property
    def _in_text(self) -> re.Pattern[str] | None:
        return re.compile(self.pattern) if self.digits else None

    @cached_property
    def in_bytes(self) -> re.Pattern[bytes] | None:
        """Finds the number with its country code, and the ids of the calls, in the raw bytes of a file."""
        spelt = [re.escape(sid) for sid in sorted(self.call_sids)]
        if self.digits:
            spelt.append(_spaced(self.digits))
        return re.compile("|".join(spelt).encode()) if spelt else None

    def is_this(self, number: str | None) -> bool:
        """Whether a field holds this number; `sip:` and other addresses count by the part before the @."""
        if not (number and self.digits) or len(str(number)) > LONGEST_FIELD:
            return False
        return re.sub(r"\D", "", str(number).partition("@")[0]) in self.forms

    def mentioned(self, text: object) -> bool:
        return self._in_text is not None and isinstance(text, str) and self._in_text.search(text) is not None

    def erased_from(self, text: str) -> str:
        """The text with a word in brackets in the number's place. JSON stays JSON."""
        if self._in_text is None:
            return text
        if text[:1] in "{[":
            try:
                return orjson.dumps(self._erased(orjson.loads(text))).decode()
            except orjson.JSONDecodeError:
                pass
        return self._in_text.sub(ERASED, text)

    def _erased(self, value: Any) -> Any:
        assert self._in_text is not None  # noqa: S101 - asked for above
        match value:
            case str():
                return self._in_text.sub(ERASED, value)
            case int() if not isinstance(value, bool) and self._in_text.fullmatch(str(value)):
                return ERASED
            case dict():
                return {self._in_text.sub(ERASED, name): self._erased(each) for name, each in value.items()}
            case list():
                return [self._erased(each) for each in value]
            case _:
                return value


def is_theirs(person: Person, direction: str | None, from_number: str | None, to_number: str | None) -> bool:
    """Whether a call is this person's: who called us, or whom we called. The line called into is not a person."""
    return person.is_this(to_number if (direction or "").startswith("outbound") else from_number)


def _spaced(digits: str) -> str:
    return _GAP.join(digits)
