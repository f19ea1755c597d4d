"""The one at the telephone: plays a scenario on a call, in real time, from its first step to the hand-set's going down.

    part = learn(scenario_named("waiter"), NanoVoice())     # slow: makes the sound of every line; use a thread
    call = await carrier.dial("http://127.0.0.1:8787/twilio/answer")
    await perform(call, part, tell=print)

He is patient, but not for ever: where no answer comes he says his next line all the same. When the other side ends the
call he says no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from voice_gateway.audio import resample
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

LINE_RATE_HZ: Final = 8000
PAUSE_S: Final = 0.9
"""Silence after which an answer is taken to be over: longer than a breath between two sentences."""
MOMENT_S: Final = 2.0
"""Where a supervisor is asked, what is shorter is the request for a moment, and no answer yet."""
PATIENCE_S: Final = 8.0
"""So long a caller who was asked for a moment waits for more."""

Act: TypeAlias = Literal["speaks", "cuts in", "presses", "hears nothing", "hangs up"]


@dataclass(frozen=True, slots=True)
class Cue:
    """Something the caller does. at_s: on the call's clock. text: what he says or presses."""

    at_s: float
    act: Act
    text: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A scenario learned by heart. sounds: its lines at 8 kHz, made before the call, so that none comes late."""

    scenario: Scenario
    sounds: Mapping[str, Samples]


def learn(scenario: Scenario, voice: Voice) -> Part:
    """Make the sound of every line. May compute for long: call it in a thread."""
    return Part(scenario, {text: _sound(voice, text) for text in scenario.lines})


async def perform(
    call: PhoneCall, part: Part, *, tell: Callable[[Cue], None] | None = None, pause_s: float = PAUSE_S
) -> None:
    """Play a part on a call that was dialled. tell: hears of everything the caller does, the moment he does it.

    Returns when the call is over, whoever ended it; `call.outcome` says how.
    """
    player = _Player(call, part, tell or _nobody, pause_s)
    try:
        while await call.answered_or_asked():
            await player.answer_with_keys()
        for step in part.scenario.steps:
            await player.do(step)
    except CallOverError:
        await call.ended()  # the other side was first
    except TimeoutError:
        await player.hang_up()  # neither a media stream nor an end: the caller gives up
    else:
        if not call.outcome:
            await player.hang_up()


class _Player:
    def __init__(self, call: PhoneCall, part: Part, tell: Callable[[Cue], None], pause_s: float) -> None:
        self._call = call
        self._part = part
        self._tell = tell
        self._pause_s = pause_s

    async def do(self, step: Step) -> None:
        match step:
            case SayText():
                await self._say("speaks", step.text)
            case WaitForAnswer():
                await self._listen(step.timeout_s)
            case InterruptAfter():
                cut_in = await self._heard_into(step)
                await self._say("cuts in" if cut_in else "speaks", step.text)
            case Press():
                self._cue("presses", step.digits)
                self._call.press(step.digits)
            case StaySilent():
                await self._stay_silent(step.seconds)
            case HangUp():
                await self.hang_up()

    async def answer_with_keys(self) -> None:
        """The carrier asks for keys before the conversation. Who has none to press waits for it to go on."""
        if keys := self._part.scenario.keys_first:
            await self.do(Press(keys))

    async def hang_up(self) -> None:
        self._cue("hangs up")
        await self._call.hang_up()

    def _cue(self, act: Act, text: str = "") -> None:
        self._tell(Cue(self._call.now_s, act, text))

    async def _say(self, act: Act, text: str) -> None:
        self._cue(act, text)
        await self._call.say(self._part.sounds[text], LINE_RATE_HZ)

    async def _listen(self, timeout_s: float) -> None:
        """Hear an answer to its end."""
        before_s = self._heard_s()
        if not await self._hears(timeout_s):
            self._cue("hears nothing")
        elif self._part.scenario.supervised and self._heard_s() - before_s < MOMENT_S:
            await self._hears(PATIENCE_S)

    async def _hears(self, timeout_s: float) -> bool:
        """Hear something to its end. False when nothing began in time."""
        try:
            await self._call.until_heard(0.1, timeout_s)
        except TimeoutError:
            return False
        await self._call.until_quiet(self._pause_s)
        return True

    def _heard_s(self) -> float:
        return sum(segment.length for segment in self._call.played if segment.audible) / LINE_RATE_HZ

    async def _heard_into(self, step: InterruptAfter) -> bool:
        """Wait for the moment to cut in. False when the answer was over before, or never came."""
        try:
            await self._call.until_heard(0.1, step.timeout_s)
        except TimeoutError:
            self._cue("hears nothing")
            return False
        return await _first(self._call.until_heard(max(0.0, step.seconds - 0.1)), self._call.until_quiet(self._pause_s))

    async def _stay_silent(self, seconds: float) -> None:
        try:
            await self._call.ended(seconds)
        except TimeoutError:
            return
        raise CallOverError(f"the call ended while the caller was silent: {self._call.outcome}")


async def _first(wanted: Coroutine[Any, Any, None], other: Coroutine[Any, Any, None]) -> bool:
    """Whether the first of two waits is over before the second. What the first raises is raised."""
    tasks = [asyncio.create_task(wanted), asyncio.create_task(other)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            return False
        tasks[0].result()
        return True
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _sound(voice: Voice, text: str) -> Samples:
    pieces = list(voice.speak(text))
    whole = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
    return whole if voice.rate_hz == LINE_RATE_HZ else resample.convert(whole, voice.rate_hz, LINE_RATE_HZ)


def _nobody(_cue: Cue) -> None: ...
