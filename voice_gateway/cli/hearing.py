"""A call followed by ear: what the caller says, and what he hears, in the order it began."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio import g711
from voice_gateway.cli.show import Teller
from voice_gateway.cli.stopwatch import HOP_S, RATE_HZ, loud
from voice_gateway.emulator.performance import PAUSE_S, Cue
from voice_gateway.emulator.phone_call import PhoneCall
from voice_gateway.emulator.speech import WhisperEar, missing

_SHORTEST_S: Final = 0.1


class Hearing:
    """Tells a call while the context is open; leaving it waits until all that was heard is told.

    What was heard is written down by Whisper where it is installed (texts); otherwise only how long it was.
    """

    def __init__(self, teller: Teller, call: PhoneCall) -> None:
        self._teller = teller
        self._call = call
        self._ear = None if missing() else WhisperEar()
        self._cues: asyncio.Queue[Cue | None] = asyncio.Queue()
        self.texts: list[str] = []
        self._told_s = 0.0
        self._telling: asyncio.Task[None] | None = None

    def cue(self, cue: Cue) -> None:
        self._cues.put_nowait(cue)

    async def __aenter__(self) -> Self:
        self._telling = asyncio.create_task(self._tell())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cues.put_nowait(None)
        if self._telling is not None:
            await self._telling

    async def _tell(self) -> None:
        while (cue := await self._cues.get()) is not None:
            await self._call.until_quiet(PAUSE_S)  # so that the words a cut-in ended are told before it
            await self._tell_heard(cue.at_s - self._call.stream_at_s)
            if cue.act in {"speaks", "cuts in"}:
                self._teller.line(cue.at_s, "caller", cue.text, "cuts in" if cue.act == "cuts in" else "")
            else:
                self._teller.line(cue.at_s, "caller", f"{cue.act} {cue.text}".rstrip())
        await self._tell_heard(self._call.length_s)

    async def _tell_heard(self, until_s: float) -> None:
        """All stretches that began before a moment of the recording and were not told yet."""
        samples = g711.decode(self._call.heard_ulaw())
        for start_s, end_s in stretches(samples):
            if not self._told_s <= start_s < until_s:
                continue
            self._told_s = end_s
            sound = samples[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]
            text = await asyncio.to_thread(self._ear.transcribe, sound, RATE_HZ) if self._ear else ""
            length = f"{end_s - start_s:.1f} s"
            if text:
                self.texts.append(text)
            at_s = self._call.stream_at_s + start_s
            self._teller.line(at_s, "heard", text or f"{length} of sound", length if text else "")


def stretches(samples: NDArray[np.int16]) -> list[tuple[float, float]]:
    """From when to when somebody spoke, in seconds; breaths within are left in. samples: one side at 8 kHz."""
    found: list[tuple[float, float]] = []
    for hop in np.flatnonzero(loud(samples)):
        start_s, end_s = float(hop) * HOP_S, float(hop + 1) * HOP_S
        if found and start_s - found[-1][1] < PAUSE_S:
            found[-1] = (found[-1][0], end_s)
        else:
            found.append((start_s, end_s))
    return [(start_s, end_s) for start_s, end_s in found if end_s - start_s >= _SHORTEST_S]
