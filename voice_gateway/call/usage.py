"""What a response used, in tokens, and the prices of those.

A price per million tokens is the same number as millionths of a dollar per token.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one response, by modality. cached_* are subsets of input_* (OpenAI Realtime, `response.done`)."""

    input_text: int = 0
    input_audio: int = 0
    cached_text: int = 0
    cached_audio: int = 0
    output_text: int = 0
    output_audio: int = 0


@dataclass(frozen=True, slots=True)
class Tariff:
    """Prices of one model, in US dollars per million tokens. book: the list they are from, and since when."""

    text_in: float
    text_cached: float
    text_out: float
    audio_in: float
    audio_cached: float
    audio_out: float
    book: str = ""

    def cost(self, usage: Usage) -> float:
        """Of one response. A cached count beyond its input count, which would be a mistake of theirs, is cut to it."""
        cached_text = min(usage.cached_text, usage.input_text)
        cached_audio = min(usage.cached_audio, usage.input_audio)
        return (
            (usage.input_text - cached_text) * self.text_in
            + cached_text * self.text_cached
            + usage.output_text * self.text_out
            + (usage.input_audio - cached_audio) * self.audio_in
            + cached_audio * self.audio_cached
            + usage.output_audio * self.audio_out
        ) / 1e6
