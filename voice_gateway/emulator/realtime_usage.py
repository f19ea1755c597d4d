"""What a response is billed for: sound by length, text by letters, and all that came before as input again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from voice_gateway.emulator.realtime_items import Item, Wire

USER_MS_PER_TOKEN: Final = 100
ASSISTANT_MS_PER_TOKEN: Final = 50
LETTERS_PER_TOKEN: Final = 4
CACHE_BLOCK: Final = 64  # caches hold whole blocks


@dataclass(frozen=True, slots=True)
class Tokens:
    text: int = 0
    audio: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.text + other.text, self.audio + other.audio)

    @property
    def total(self) -> int:
        return self.text + self.audio

    def in_blocks(self, limit: Tokens) -> Tokens:
        """The whole cache blocks of what both have."""
        return Tokens(
            min(self.text, limit.text) // CACHE_BLOCK * CACHE_BLOCK,
            min(self.audio, limit.audio) // CACHE_BLOCK * CACHE_BLOCK,
        )


def of_text(text: str) -> int:
    return ceil(len(text) / LETTERS_PER_TOKEN)


def of_item(item: Item) -> Tokens:
    """An item as input. Sound counts as sound alone, its transcript is free; cut sound counts as far as it goes."""
    if item.role == "user" and item.audio_ms:
        return Tokens(0, ceil(item.audio_ms / USER_MS_PER_TOKEN))
    if item.spoken:
        heard_ms = item.audio_ms if item.truncated_ms is None else item.truncated_ms
        return Tokens(0, ceil(heard_ms / ASSISTANT_MS_PER_TOKEN))
    return Tokens(of_text(item.text + item.name) + 3)


def of_output(item: Item) -> Tokens:
    """An item as output: of spoken answers both the transcript and the sound are generated."""
    if item.spoken:
        return Tokens(of_text(item.text), ceil(item.audio_ms / ASSISTANT_MS_PER_TOKEN))
    return Tokens(of_text(item.text + item.name))


def of_context(head: str, items: Iterable[Item]) -> Tokens:
    """head: instructions and tools as text."""
    return sum((of_item(item) for item in items), Tokens(of_text(head)))


def usage(context: Tokens, cached: Tokens, output: Tokens, *, reasoning: bool) -> Wire:
    """The `usage` of `response.done`."""
    details: dict[str, Any] = {"text_tokens": output.text, "audio_tokens": output.audio}
    if reasoning:
        details["reasoning_tokens"] = 0
    return {
        "total_tokens": context.total + output.total,
        "input_tokens": context.total,
        "output_tokens": output.total,
        "input_token_details": {
            "text_tokens": context.text,
            "audio_tokens": context.audio,
            "image_tokens": 0,
            "cached_tokens": cached.total,
            "cached_tokens_details": {"text_tokens": cached.text, "audio_tokens": cached.audio, "image_tokens": 0},
        },
        "output_token_details": details,
    }


def of_transcription(model: str, audio_ms: float, text: str) -> Mapping[str, Any]:
    """The `usage` of a finished transcription: whisper models are billed by the second, others by the token."""
    if "whisper" in model:
        return {"type": "duration", "seconds": round(audio_ms / 1000, 3)}
    heard, written = ceil(audio_ms / USER_MS_PER_TOKEN), of_text(text)
    return {
        "type": "tokens",
        "total_tokens": heard + written,
        "input_tokens": heard,
        "output_tokens": written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
    }
