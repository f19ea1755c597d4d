"""The colleague of a persona: a human to whom `transfer_to_human` puts the caller through, and how that is done.

[transfer]
to = "+250788123456"                   required: a number with its country code, or a SIP address, sip:desk@example.org
name = "the manager"                   who that is; the model is told
announcement = "One moment, please."   said word for word before; without it the model finds its own words
whisper = "A caller for you: {reason}" what the colleague hears before he has the caller on the line; {reason} is what
                                       the model gave, {summary} what the call was about; without it, nothing
rings_s = 25                           how long it rings, 5 to 120
unanswered = "Nobody answers ..."      said by the carrier's voice when nobody answered and the model cannot take the
                                       caller back
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from voice_gateway.agent.hours import ADDRESS, compact

LONGEST: Final = 500
_SLOTS: Final = ("reason", "summary")


@dataclass(frozen=True, slots=True)
class Transfer:
    """See the fields above."""

    to: str = field(repr=False)
    name: str = ""
    announcement: str = ""
    whisper: str = ""
    rings_s: int = 25
    unanswered: str = "I am sorry, nobody answers at the moment. Please call again later. Goodbye."

    def __post_init__(self) -> None:
        if not ADDRESS.fullmatch(self.number):
            raise ValueError("to: must be a number with + and country code, or an address such as sip:desk@example.org")
        if not 5 <= self.rings_s <= 120:
            raise ValueError(f"rings_s is {self.rings_s}; it must be from 5 to 120")
        for name in ("name", "announcement", "whisper", "unanswered"):
            if len(getattr(self, name)) > LONGEST:
                raise ValueError(f"{name} has more than {LONGEST} characters")
        unknown = [slot for slot in re.findall(r"\{([^{}]*)\}", self.whisper) if slot not in _SLOTS]
        if unknown or not self.unanswered.strip():
            raise ValueError(
                f"whisper: there is no {{{unknown[0]}}}, only {{reason}} and {{summary}}"
                if unknown
                else "unanswered: must not be empty: the caller would be left without a word"
            )

    @property
    def number(self) -> str:
        """As the carrier takes it."""
        return compact(self.to.strip())

    def whispered(self, reason: str, summary: str) -> str:
        """What the colleague hears. Both may be empty."""
        said = self.whisper.replace("{reason}", reason).replace("{summary}", summary)
        return " ".join(said.split())
