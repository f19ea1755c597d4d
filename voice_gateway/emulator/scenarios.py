"""Conversations written down beforehand: a mind, a voice and an ear that need no model, and callers as lists of steps.

With these the emulated model answers the same every time and without the extra `[local]`. A `Scenario` is data alone:
what a caller does, in order, and what the scripted model says to it; who plays it is elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Final, TypeAlias

import numpy as np

from voice_gateway.emulator.faculties import Act, Line, Samples, Say, Situation, UseTool

# --- the model's side -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class When:
    """Acts for a certain last line.

    pattern: a regular expression, searched without regard to case. tool: the acts answer this tool's output, and the
    pattern is searched in it; without, they answer the caller. `{heard}` and `{output}` in a `Say` stand for the
    caller's last line and the last tool output.
    """

    pattern: str
    acts: tuple[Act, ...]
    tool: str | None = None


Reply: TypeAlias = str | Sequence[Act] | When


class ScriptedMind:
    """Replies by what was said, else in order, else the last resort.

    replies: `When`s are tried first, in their order, as often as they fit. Texts and lists of acts are used up one by
    one. May be asked from several threads; the order is then one for all. asides: the replies outside the conversation,
    used up one by one, then nothing is said there; None: they are as all others.
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

    def _chosen(self, situation: Situation) -> Sequence[Act]:
        last = next((line for line in reversed(situation.lines) if line.role in {"user", "tool_output"}), None)
        for fitting in self._fitting:
            if last is not None and _fits(fitting, last):
                return fitting.acts
        if not self._in_order:
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
    return Say(act.text.replace("{heard}", heard).replace("{output}", output))


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


# --- the caller's side ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SayText:
    """The caller speaks, and waits until it is said."""

    text: str


@dataclass(frozen=True, slots=True)
class WaitForAnswer:
    """Listen until the model has spoken and is silent again, or give up."""

    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class InterruptAfter:
    """Wait until the model has been heard for this long, then speak into it."""

    seconds: float
    text: str
    timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Press:
    """Keys of the telephone, one after the other."""

    digits: str


@dataclass(frozen=True, slots=True)
class StaySilent:
    """Only breathe."""

    seconds: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """The end of every scenario."""


Step: TypeAlias = SayText | WaitForAnswer | InterruptAfter | Press | StaySilent | HangUp


@dataclass(frozen=True, slots=True)
class Scenario:
    """A caller to play, and the answers a scripted model has for it."""

    name: str
    about: str
    steps: tuple[Step, ...]
    replies: tuple[Reply, ...] = field(default=())

    @property
    def lines(self) -> tuple[str, ...]:
        """What the caller says, in order."""
        return tuple(step.text for step in self.steps if isinstance(step, SayText | InterruptAfter))

    def mind(self) -> ScriptedMind:
        """A new mind with this scenario's replies."""
        return ScriptedMind(self.replies)

    def ear(self) -> TypedEar:
        """A new ear that understands this scenario's caller."""
        return TypedEar(self.lines)


GREETING: Final = "Hello, you have reached the coffee bar. What can I get you?"
_LATTE = (
    "A large latte is four dollars and fifty cents. We make it with two shots of espresso and steamed milk, and until "
    "eleven there is a croissant with every large drink."
)

_MENU = Scenario(
    "menu",
    "asks for a drink on the menu, cuts the answer short, thanks and hangs up",
    (
        WaitForAnswer(),
        SayText("Hello, how much is a large latte?"),
        InterruptAfter(1.5, "And with oat milk?"),
        WaitForAnswer(),
        SayText("Thank you, goodbye."),
        WaitForAnswer(),
        HangUp(),
    ),
    (
        GREETING,
        When(r"oat milk", (Say("Oat milk is sixty cents more. Anything else?"),)),
        When(r"latte", (Say(_LATTE),)),
        When(r"thank", (Say("You are welcome. Goodbye!"),)),
    ),
)
_DINNER = Scenario(
    "dinner",
    "asks what coffee there is, cuts the answer short, asks for dishes of the menu, says goodbye",
    (
        WaitForAnswer(),
        SayText("Good evening, what coffee do you have?"),
        InterruptAfter(2.3, "Sorry, do you have grilled tilapia?"),
        WaitForAnswer(),
        SayText("And what does a cappuccino cost?"),
        WaitForAnswer(),
        SayText("Thank you very much, goodbye."),
        WaitForAnswer(),
        HangUp(),
    ),
    (
        "Hello, and welcome! What can I get you today?",
        When(r"what coffee", (UseTool("lookup_menu", {"query": "coffee"}),)),
        When(r"tilapia", (UseTool("lookup_menu", {"query": "grilled tilapia"}),)),
        When(r"cappuccino", (UseTool("lookup_menu", {"query": "cappuccino"}),)),
        When(
            r"espresso.*mocha",
            (Say("We have cappuccino, African coffee, espresso, caffe latte, mocha and iced coffee."),),
            tool="lookup_menu",
        ),
        When(r"tilapia", (Say("Yes, grilled tilapia, for twelve thousand francs."),), tool="lookup_menu"),
        When(r"cappuccino", (Say("A cappuccino is three thousand francs."),), tool="lookup_menu"),
        When(r"thank", (Say("You are welcome. Goodbye!"),)),
    ),
)
_SILENT = Scenario(
    "silent",
    "calls, says nothing, and hangs up",
    (WaitForAnswer(), StaySilent(12.0), HangUp()),
    (GREETING, "Are you still there?"),
)
_IMPATIENT = Scenario(
    "impatient",
    "cuts in twice",
    (
        WaitForAnswer(),
        SayText("What do you have?"),
        InterruptAfter(1.0, "No, only the coffee please."),
        InterruptAfter(1.0, "Just an espresso."),
        WaitForAnswer(),
        HangUp(),
    ),
    (
        GREETING,
        "We have coffee, tea, hot chocolate, lemonade, three kinds of cake, sandwiches, and soup from noon until two.",
        "Of coffee we have latte, cappuccino, flat white, americano, espresso, mocha, and a filter coffee of the day.",
        "One espresso, right away.",
    ),
)
_KEYPAD = Scenario(
    "keypad",
    "answers with the keys of the telephone",
    (WaitForAnswer(), Press("1"), WaitForAnswer(), Press("42#"), WaitForAnswer(), HangUp()),
    ("For orders press one.", "Please type your order number and finish with the hash key.", "Thank you, it is ready."),
)
SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario for scenario in (_MENU, _SILENT, _IMPATIENT, _KEYPAD, _DINNER)
}


def scenario_named(name: str) -> Scenario:
    """A scenario by its name. Raises KeyError that lists the names there are."""
    if name not in SCENARIOS:
        raise KeyError(f"no scenario is called {name!r}; there are: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
