"""What a call costs: each response by its tokens, the telephone line by its minutes, added up as it goes.

Cached tokens are a subset of the input tokens of their modality and are billed at a price of their own. For sound that
price is a small fraction, so a sum that counts them as fresh is wrong by up to eighty times.

All amounts are in US dollars. A price per million tokens is the same number as millionths of a dollar per token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

from voice_gateway.call import entries
from voice_gateway.call.events import AsideFinished, ResponseFinished, TextModelAnswered
from voice_gateway.call.policy import Policy
from voice_gateway.call.usage import Tariff, Usage

SPOKEN_MS_PER_TOKEN = 50
"""How long a token of the model's sound is (OpenAI's guide to Realtime costs); a caller's is twice as long."""


def estimated(received_ms: float) -> Usage:
    """The least that a response used of which the model told nothing: the sound that was received of it."""
    return Usage(output_audio=math.ceil(received_ms / SPOKEN_MS_PER_TOKEN))


class Rate(NamedTuple):
    """What a response is billed by. model: as its session calls itself. tariff: None where no price is known."""

    model: str
    tariff: Tariff | None


@dataclass(slots=True)
class Meter:
    """One call's running account.

    tariff: None where no price is known; then the model's share stays 0. line_usd_per_minute: the carrier's price, for
    every minute begun. transcription_usd_per_minute: of the caller's words, billed beside the session. limit_usd: 0 for
    none. text_tariff: of the text model, where there is one. model: as its session calls itself.
    """

    began_at: float
    tariff: Tariff | None = None
    line_usd_per_minute: float = 0.0
    transcription_usd_per_minute: float = 0.0
    limit_usd: float = 0.0
    text_tariff: Tariff | None = None
    model_usd: float = 0.0
    model: str = ""

    @classmethod
    def of(cls, policy: Policy, began_at: float) -> Self:
        """A call's, by how it is led."""
        return cls(
            began_at,
            policy.tariff,
            policy.line_usd_per_minute,
            policy.transcription_usd_per_minute,
            policy.max_cost_usd,
            policy.text_tariff,
            model_usd=policy.earlier.model_usd if policy.earlier else 0.0,
        )

    @property
    def rate(self) -> Rate:
        """Of the session in use."""
        return Rate(self.model, self.tariff)

    def book(self, event: ResponseFinished, received_ms: float, now: float) -> entries.ResponseMetered:
        """A response of the call, as it goes on the record. received_ms: its sound, where the model told no usage."""
        used = estimated(received_ms) if event.usage is None else event.usage
        return self._book(used, (event.response_id, event.status, event.reason, event.usage), now, self.rate)

    def book_aside(self, event: AsideFinished, purpose: str, rate: Rate, now: float) -> entries.ResponseMetered:
        """A response of the model's outside the conversation. rate: of the session that was asked."""
        told = (event.response_id, event.status, event.reason, event.usage)
        return self._book(event.usage or Usage(), told, now, rate, purpose)

    def book_text(self, event: TextModelAnswered, now: float) -> entries.ResponseMetered:
        """An answer of the text model's."""
        told = (event.response_id, "failed" if event.fault else "completed", event.fault, event.usage)
        return self._book(event.usage or Usage(), told, now, Rate(event.model, self.text_tariff), event.purpose)

    def _book(
        self, used: Usage, told: tuple[str, str, str, Usage | None], now: float, rate: Rate, purpose: str = ""
    ) -> entries.ResponseMetered:
        cost = None if rate.tariff is None else rate.tariff.cost(used)
        self.model_usd += cost or 0.0
        return entries.ResponseMetered(
            *told,
            None if cost is None else round(cost, 6),
            round(self.total_usd(now), 6),
            rate.model,
            "" if rate.tariff is None else rate.tariff.book,
            purpose,
        )

    def add_transcription(self, seconds: float) -> None:
        """Book the writing down of so much of the caller's speech."""
        self.model_usd += self.transcription_usd_per_minute * max(0.0, seconds) / 60

    def line_usd(self, now: float) -> float:
        """The telephone line so far. Carriers bill by whole minutes."""
        return self.line_usd_per_minute * math.ceil(max(0.0, now - self.began_at) / 60)

    def total_usd(self, now: float) -> float:
        return self.model_usd + self.line_usd(now)

    def is_over(self, now: float) -> bool:
        """Has the call used what it may?"""
        return bool(self.limit_usd) and self.total_usd(now) >= self.limit_usd
