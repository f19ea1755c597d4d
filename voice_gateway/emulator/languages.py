"""Languages by the names people give them, as the codes that programs want (ISO 639-1)."""

from __future__ import annotations

from typing import Final

from voice_gateway.emulator.wording import words

CODES: Final = {
    "english": "en", "french": "fr", "francais": "fr", "german": "de", "deutsch": "de", "spanish": "es",
    "espanol": "es", "italian": "it", "italiano": "it", "portuguese": "pt", "maltese": "mt", "malti": "mt",
    "kinyarwanda": "rw", "swahili": "sw", "kiswahili": "sw", "arabic": "ar", "dutch": "nl", "polish": "pl",
    "ukrainian": "uk", "russian": "ru", "turkish": "tr", "chinese": "zh", "mandarin": "zh", "japanese": "ja",
    "korean": "ko", "hindi": "hi", "greek": "el", "swedish": "sv", "danish": "da", "norwegian": "no", "finnish": "fi",
    "czech": "cs", "romanian": "ro", "hungarian": "hu",
}  # fmt: skip


def language_named(text: str) -> str:
    """The code of the language that a text names; empty: none."""
    return next((CODES[word] for word in words(text) if word in CODES), "")
