"""What a call sounded like, measured from the carrier's own ledger: who waited for whom, and how long.

Nothing here is reported by the gateway. The clock is the recording's, which starts with the media stream; sounds are
found in hops of 20 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voice_gateway.emulator.phone_call import PhoneCall

RATE_HZ: Final = 8000
HOP_S: Final = 0.02
LOUD_DBFS: Final = -45.0
BREATH_S: Final = 0.6
"""Pauses within what one person says are shorter."""
JUST_NOW_S: Final = 0.2
"""Whoever sounded so shortly before is still speaking, between two syllables."""

Hops: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Turn:
    """Something the caller said. from_s, to_s: its first and last sound.

    quiet_s: for a cut-in, when the other voice fell silent. answer_s: when an answer was first heard.
    """

    from_s: float
    to_s: float
    quiet_s: float | None = None
    answer_s: float | None = None

    @property
    def stopped_after_s(self) -> float | None:
        """From the caller's first sound to the other voice's silence; None when he cut nobody off."""
        return None if self.quiet_s is None else max(0.0, self.quiet_s - self.from_s)

    @property
    def answered_after_s(self) -> float | None:
        """From the caller's last sound to the first sound of the answer in his ear."""
        return None if self.answer_s is None else self.answer_s - self.to_s


@dataclass(frozen=True, slots=True)
class Waits:
    """twiml_s, stream_s, first_heard_s: since the number was dialled. turns: on the recording's clock."""

    twiml_s: float | None
    stream_s: float | None
    first_heard_s: float | None
    turns: tuple[Turn, ...]


def measure(call: PhoneCall) -> Waits:
    """A call that is over, or as far as it has come."""
    twiml_s = next((happening.t for happening in call.events if happening.name == "twiml"), None)
    if not call.stream_at_s:
        return Waits(twiml_s, None, None, ())
    sound = call.recording()
    heard = loud(sound[:, 1])
    first = heard.argmax() * HOP_S if heard.any() else None
    first_heard_s = None if first is None else call.stream_at_s + float(first)
    return Waits(twiml_s, call.stream_at_s, first_heard_s, tuple(_turns(call, loud(sound[:, 0]), heard)))


def loud(samples: NDArray[np.int16]) -> Hops:
    """Which hops of 20 ms an ear would notice. samples: one side at 8 kHz."""
    hop = round(RATE_HZ * HOP_S)
    blocks = samples[: len(samples) // hop * hop].astype(np.float64).reshape(-1, hop)
    found: Hops = np.square(blocks).mean(axis=1) >= (32768.0 * 10 ** (LOUD_DBFS / 20)) ** 2
    return found


def _turns(call: PhoneCall, said: Hops, heard: Hops) -> Iterator[Turn]:
    spans = [
        span
        for happening in call.events
        if happening.name == "caller speaks"
        and (span := _span(said, happening.details["from_s"], happening.details["seconds"]))
    ]
    ends = [*(span[0] for span in spans[1:]), len(heard)]
    for (first, last), until in zip(spans, ends, strict=False):  # without spans there is an end all the same
        quiet = _quiet_after(heard, first)
        begin = last if quiet is None else max(last, quiet)
        answers = np.flatnonzero(heard[begin:until])
        yield Turn(
            first * HOP_S,
            last * HOP_S,
            None if quiet is None else quiet * HOP_S,
            (begin + int(answers[0])) * HOP_S if answers.size else None,
        )


def _span(said: Hops, from_s: float, seconds: float) -> tuple[int, int] | None:
    """First hop and the one after the last that were loud in an utterance."""
    start = round(from_s / HOP_S)
    found = np.flatnonzero(said[start : start + round(seconds / HOP_S) + 1])
    return (start + int(found[0]), start + int(found[-1]) + 1) if found.size else None


def _quiet_after(heard: Hops, at: int) -> int | None:
    """The hop from which the voice that sounded at a moment is silent; None when it was silent before."""
    since = max(0, at - round(JUST_NOW_S / HOP_S))
    before = np.flatnonzero(heard[since : at + 1])
    if not before.size:
        return None
    last = since + int(before[-1])
    for hop in np.flatnonzero(heard[last:]) + last:
        if hop - last > round(BREATH_S / HOP_S):
            break
        last = int(hop)
    return last + 1
