"""A mind, a voice and an ear that need no model: what they say, do and hear is written down beforehand.

With these the emulated model answers the same every time and without the extra `[local]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import Final, TypeAlias

import numpy as np

from voice_gateway.emulator.faculties import Act, Line, Samples, Say, Situation, UseTool


@dataclass(frozen=True, slots=True)
class When:
    """Acts for a certain last line.

    pattern: a regular expression, searched without regard to case. tool: the acts answer this tool's output, and the
    pattern is searched in it; without, they answer the caller. once: not a second time. `{heard}` and `{output}` in a
    `Say` stand for the caller's last line and the last tool output.
    """

    pattern: str
    acts: tuple[Act, ...]
    tool: str | None = None
    once: bool = False


Reply: TypeAlias = str | Sequence[Act] | When


class ScriptedMind:
    """Replies by what was said, else in order, else the last resort.

    replies: `When`s are tried first, in their order, as often as they fit. Texts and lists of acts are used up one by
    one. May be asked from several threads; the order is then one for all. asides: the replies outside the conversation,
    used up one by one, then nothing is said there; None: they are as all others.

    left: what was to be used up and is not. surprises: the situations that no reply was written for. For an exact test
    both are empty in the end.
    """

    def __init__(
        self,
        replies: Sequence[Reply] = (),
        *,
        otherwise: str = "Sorry, I did not get that.",
        asides: Sequence[str | Sequence[Act]] | None = None,
    ) -> None:
        self._asides = None if asides is None else list(asides)
        self.situations: list[Situation] = []
        self.surprises: list[Situation] = []
        self._fitting = [reply for reply in replies if isinstance(reply, When)]
        self._in_order = [reply for reply in replies if not isinstance(reply, When)]
        self._otherwise = otherwise
        self._lock = Lock()

    def respond(self, situation: Situation) -> Sequence[Act]:
        with self._lock:
            self.situations.append(situation)
            if situation.aside and self._asides is not None:
                return _acts(self._asides.pop(0)) if self._asides else ()
            return [_filled(act, situation.lines) for act in self._chosen(situation)]

    @property
    def left(self) -> list[Reply]:
        with self._lock:
            return [*(reply for reply in self._fitting if reply.once), *self._in_order]

    def _chosen(self, situation: Situation) -> Sequence[Act]:
        last = next((line for line in reversed(situation.lines) if line.role in {"user", "tool_output"}), None)
        for fitting in self._fitting:
            if last is not None and _fits(fitting, last):
                if fitting.once:
                    self._fitting.remove(fitting)
                return fitting.acts
        if not self._in_order:
            self.surprises.append(situation)
            return (Say(self._otherwise),)
        return _acts(self._in_order.pop(0))


def _acts(reply: str | Sequence[Act]) -> Sequence[Act]:
    return (Say(reply),) if isinstance(reply, str) else reply


def _fits(reply: When, last: Line) -> bool:
    wanted = "user" if reply.tool is None else "tool_output"
    about = reply.tool is None or reply.tool == last.name
    return last.role == wanted and about and re.search(reply.pattern, last.text, re.IGNORECASE) is not None


def _filled(act: Act, lines: Sequence[Line]) -> Act:
    if isinstance(act, UseTool):
        return act
    texts = {line.role: line.text for line in lines}
    heard, output = texts.get("user", ""), texts.get("tool_output", "")
    return replace(act, text=act.text.replace("{heard}", heard).replace("{output}", output))


class ToneVoice:
    """A hum of 60 ms a letter, rising and falling four times a second as syllables do, at a pitch of its own per text.

    The first text hums at 300 Hz, the next at 350, and so on up to 1850 and from the start again; a text that comes
    again has the pitch it had. So a recording tells which text was heard, and how far.
    """

    rate_hz = 24000
    MS_PER_LETTER: Final = 60
    LEVEL: Final = 6000.0  # about -18 dBFS

    def __init__(self) -> None:
        self.spoken: list[str] = []
        self._lock = Lock()

    def pitch_hz(self, text: str) -> int:
        """The pitch of a text; a new one is given to a new text."""
        with self._lock:
            if text not in self.spoken:
                self.spoken.append(text)
            return 300 + 50 * (self.spoken.index(text) % 32)

    def length_ms(self, text: str) -> int:
        return self.MS_PER_LETTER * len(text)

    def speak(self, text: str) -> Iterator[Samples]:
        total = self.length_ms(text) * self.rate_hz // 1000
        yield from (_hum(self.pitch_hz(text), start, total) for start in range(0, total, self.rate_hz))


@lru_cache(maxsize=64)
def _hum(pitch_hz: int, start: int, total: int) -> Samples:
    """At most a second of a hum of `total` samples, from sample `start` on. Read only, for it is kept."""
    rate_hz = ToneVoice.rate_hz
    at = np.arange(start, min(start + rate_hz, total))
    seconds = at / rate_hz
    syllables = 0.65 - 0.35 * np.cos(2 * np.pi * 4 * seconds)
    edges = np.clip(np.minimum(at, total - at) / (0.005 * rate_hz), 0, 1)
    sound = np.sin(2 * np.pi * pitch_hz * seconds) + 0.3 * np.sin(4 * np.pi * pitch_hz * seconds)
    hum = (ToneVoice.LEVEL * syllables * edges * sound).astype(np.int16)
    hum.flags.writeable = False
    return hum


class TypedEar:
    """Hears what was typed beforehand, turn by turn, whatever the sound; then nothing any more."""

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self.lengths_s: list[float] = []
        self._texts = list(texts)
        self._lock = Lock()

    def type(self, text: str) -> None:
        """Have one more turn understood as this."""
        with self._lock:
            self._texts.append(text)

    def transcribe(self, samples: Samples, rate_hz: int, *, vocabulary: Sequence[str] = ()) -> str:
        del vocabulary  # what was typed needs no hints
        with self._lock:
            self.lengths_s.append(len(samples) / rate_hz)
            return self._texts.pop(0) if self._texts else ""
