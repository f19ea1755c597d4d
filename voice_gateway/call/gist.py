"""The gist: what a call was about, as far as it can be told without a model, by the caller's own words.

`Notes` takes its facts from the entries of the record as they are kept: what must not be kept, because a recording was
paused or a number was taken out, is not in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from voice_gateway.call import entries
from voice_gateway.call.discretion import NOT_KEPT, SWITCHES

FIRST_TURNS: Final = 3
TURN_LENGTH: Final = 160
MOST_TOOLS: Final = 8
HEAD_LENGTH: Final = 6_000
TAIL_LENGTH: Final = 10_000
LEFT_OUT: Final = "\n[...]\n"
_WORD: Final = re.compile(r"\w+")


@dataclass(slots=True)
class Notes:
    """What is known of one call. first: the caller's first turns. words: all of the caller's, without regard to case.

    tools: what was used, and whether it worked at last. transcript, total_usd: known when the call has ended.
    """

    first: list[str] = field(default_factory=list)
    words: set[str] = field(default_factory=set)
    tools: dict[str, bool] = field(default_factory=dict)
    transcript: str = ""
    total_usd: float = 0.0

    @property
    def has_caller(self) -> bool:
        """Did the caller say anything that was kept?"""
        return bool(self.first)

    def take(self, entry: entries.Entry) -> None:
        match entry:
            case entries.UserSpoke() if entry.text != NOT_KEPT and entry.text.strip():
                self.words.update(words(entry.text))
                if len(self.first) < FIRST_TURNS:
                    self.first.append(entry.text)
            case entries.ToolAnswered() if entry.name not in SWITCHES:
                self.tools[entry.name] = entry.ok
            case entries.CallEnded():
                self.transcript, self.total_usd = entry.transcript, entry.cost_usd

    def said(self, name: str) -> bool:
        """Did the caller say every word of it himself?"""
        return set(words(name)) <= self.words

    def excerpt(self) -> str:
        """The transcript, of a very long one the beginning and the end."""
        if len(self.transcript) <= HEAD_LENGTH + TAIL_LENGTH:
            return self.transcript
        return self.transcript[:HEAD_LENGTH] + LEFT_OUT + self.transcript[-TAIL_LENGTH:]

    def extract(self) -> str:
        """The caller's first turns as quotations, and the tools that were used: no word of it is made up."""
        quoted = [f"\u201c{_cut(tidy(turn))}\u201d" for turn in self.first]
        used = [f"{name}: {'ok' if ok else 'failed'}" for name, ok in list(self.tools.items())[:MOST_TOOLS]]
        return " ".join([*quoted, *([f"[{', '.join(used)}]"] if used else [])])


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def tidy(text: str) -> str:
    """One line without control characters; joiners, which some scripts need inside of words, stay."""
    if text.isprintable():
        return " ".join(text.split())
    kept = (letter if letter.isprintable() or letter in "\u200c\u200d" else " " for letter in text)
    return " ".join("".join(kept).split())


def _cut(text: str) -> str:
    return text if len(text) <= TURN_LENGTH else f"{text[:TURN_LENGTH].rsplit(' ', 1)[0]}\u2026"
