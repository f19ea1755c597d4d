"""Plays a caller: a scenario's steps, done on a phone call as a person would do them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from voice_gateway.emulator.faculties import Samples, Voice
from voice_gateway.emulator.phone_call import CallOverError, PhoneCall
from voice_gateway.emulator.scenarios import (
    HangUp,
    InterruptAfter,
    Press,
    SayText,
    Scenario,
    StaySilent,
    Step,
    WaitForAnswer,
)

BEGINNING_S = 0.2
"""So much sound is an answer's beginning."""
PAUSE_S = 0.9
"""After so much silence it is the caller's turn; between two sentences there is less."""


class Performance:
    def __init__(
        self, call: PhoneCall, voice: Voice, tell: Callable[[str, str], None] = lambda _what, _text: None
    ) -> None:
        """voice: the caller's. tell: hears of each step as it begins: `says`, `interrupts`, `presses`, `hangs up`."""
        self._call = call
        self._voice = voice
        self._tell = tell

    async def play(self, scenario: Scenario) -> None:
        """Do every step. Ends early, without an error, when the other side ends the call. TimeoutError: it hangs."""
        sounds = {text: self._sound(text) for text in scenario.lines}
        try:
            for step in scenario.steps:
                await self._do(step, sounds)
        except CallOverError:
            return

    def _sound(self, text: str) -> Samples:
        return np.concatenate([np.zeros(0, np.int16), *self._voice.speak(text)])

    async def _do(self, step: Step, sounds: dict[str, Samples]) -> None:
        call = self._call
        match step:
            case WaitForAnswer():
                await call.until_heard(BEGINNING_S, step.timeout_s)
                await call.until_quiet(PAUSE_S)
            case SayText():
                self._tell("says", step.text)
                await call.say(sounds[step.text], self._voice.rate_hz)
            case InterruptAfter():
                await call.until_heard(step.seconds, step.timeout_s)
                self._tell("interrupts", step.text)
                await call.say(sounds[step.text], self._voice.rate_hz)
            case Press():
                self._tell("presses", step.digits)
                call.press(step.digits)
            case StaySilent():
                await call.until_quiet(step.seconds)
            case HangUp():
                self._tell("hangs up", "")
                await call.hang_up()
