"""Where on the clock of a call its sounds were: the caller's as it was spoken, ours as it reached the ear.

Seconds count from the call's webhook. The caller's frames lie where the carrier's media clock puts them, anchored at
the frame that came with the least delay. Our messages lie one behind the other from when the carrier got them, and
where the receipt of one came back, it says when its last sound was played: half a round trip before. A clear ends what
is heard half a round trip after it was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voice_gateway.audio import g711
from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.trace.codec import TraceError
from voice_gateway.trace.notes import Appended, Trace, read_command

RATE_HZ: Final = g711.RATE_HZ
_USUAL_ROUND_TRIP_S: Final = 0.1
_SNAP_S: Final = 0.03
"""A message that begins so near the end of the one before is its continuation."""

Samples: TypeAlias = NDArray[np.int16]


class Act(NamedTuple):
    """One event of a trace, and the commands it led to that this version knows."""

    at_s: float
    event: ev.Event
    commands: list[do.Command | Appended]


def acts(trace: Trace) -> list[Act]:
    """A trace with its times from the webhook on."""
    return [Act(note.at - trace.heading.began_at, note.event, list(_known(note.do))) for note in trace.notes]


def _known(noted: Sequence[object]) -> Iterator[do.Command | Appended]:
    for one in noted:
        try:
            yield read_command(one)
        except TraceError:
            continue  # a command of another version: there is no picture of it


# --- the caller -------------------------------------------------------------------------------------------------


def caller_origin(played: Sequence[Act]) -> float:
    """When, on the call's clock, the caller's media clock stood at its first frame."""
    frames = [(act.at_s, act.event.timestamp_ms / 1000) for act in played if isinstance(act.event, ev.CallerAudio)]
    if not frames:
        return 0.0
    first_ms = frames[0][1]
    return min(at_s - (stamp_s - first_ms) for at_s, stamp_s in frames)


def model_origins(played: Sequence[Act], *, straight: bool) -> Iterator[tuple[Act, float]]:
    """Each act with the time at which the model's clock stood at 0, which is that of the sound it was given.

    A session that was put in (`SwapModel`) counts from what it was given first. straight: in µ-law.
    """
    origin_s, bytes_per_s = caller_origin(played), RATE_HZ if straight else 48_000
    for act in played:
        yield act, origin_s
        swap = next((at for at, each in enumerate(act.commands) if isinstance(each, do.SwapModel)), None)
        if swap is not None:
            given = sum(each.length for each in act.commands[swap:] if isinstance(each, Appended))
            origin_s = act.at_s - given / bytes_per_s


def caller_sound(played: Sequence[Act], length_s: float) -> Samples:
    """What the caller said, from the webhook on. What lies outside the call by its time stamp is left out."""
    sound = np.zeros(max(0, round(length_s * RATE_HZ)), np.int16)
    origin_s, first_ms = caller_origin(played), None
    for act in played:
        if isinstance(act.event, ev.CallerAudio):
            first_ms = act.event.timestamp_ms if first_ms is None else first_ms
            _lay(sound, origin_s + (act.event.timestamp_ms - first_ms) / 1000, g711.decode(act.event.ulaw))
    return sound


def _lay(sound: Samples, from_s: float, samples: Samples) -> None:
    """Put samples where they belong; what lies outside is left out."""
    if not -1.0 < from_s < len(sound) / RATE_HZ:
        return
    start = round(from_s * RATE_HZ)
    samples = samples[max(0, -start) : max(0, len(sound) - start)]
    sound[max(0, start) : max(0, start) + len(samples)] = samples


# --- our voice --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Message:
    """Sound handed to the carrier in one piece. to_s: when it was over, or would have been.

    heard_to_s: when it was cut off, or to_s. Before from_s nothing of it was heard.
    """

    sent_s: float
    ulaw: bytes
    from_s: float
    to_s: float
    heard_to_s: float

    @property
    def was_heard(self) -> bool:
        return self.heard_to_s > self.from_s


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mark. back_s: when it came back; None when it never did. cleared: a clear had been sent before that."""

    name: str
    sent_s: float
    back_s: float | None
    cleared: bool


@dataclass(frozen=True, slots=True)
class Voice:
    """All that was handed to the carrier. cuts: when a clear took effect at the ear. round_trip_s: as measured."""

    messages: tuple[Message, ...]
    receipts: tuple[Receipt, ...]
    cuts: tuple[float, ...]
    round_trip_s: float

    def sound(self, length_s: float) -> Samples:
        """What the caller heard of us, from the webhook on."""
        heard = np.zeros(max(0, round(length_s * RATE_HZ)), np.int16)
        for message in self.messages:
            if message.was_heard:
                samples = g711.decode(message.ulaw)[: round((message.heard_to_s - message.from_s) * RATE_HZ)]
                _lay(heard, message.from_s, samples)
        return heard


def place_voice(played: Sequence[Act]) -> Voice:
    """Find out when our voice was heard."""
    half_s = _round_trip(played) / 2
    placing = _Placing(_receipts(played), half_s)
    for act in played:
        for command in act.commands:
            match command:
                case do.PlayAudio():
                    placing.play(act.at_s, command.ulaw)
                case do.SendMark():
                    placing.mark(act.at_s, command.name)
                case do.ClearPlayout():
                    placing.cuts.append(act.at_s + half_s)
                    placing.cut(act.at_s + half_s)
                case do.EndCall():
                    placing.cut(act.at_s)
    return Voice(tuple(placing.messages), tuple(placing.receipts.values()), tuple(placing.cuts), 2 * half_s)


def _receipts(played: Sequence[Act]) -> dict[str, Receipt]:
    back = {act.event.name: act.at_s for act in reversed(played) if isinstance(act.event, ev.MarkReached)}
    clears = [act.at_s for act in played if any(isinstance(command, do.ClearPlayout) for command in act.commands)]
    found: dict[str, Receipt] = {}
    for act in played:
        for command in act.commands:
            if isinstance(command, do.SendMark):
                back_s = back.get(command.name)
                cleared = any(act.at_s <= clear_s and (back_s is None or clear_s < back_s) for clear_s in clears)
                found[command.name] = Receipt(command.name, act.at_s, back_s, cleared)
    return found


def _round_trip(played: Sequence[Act]) -> float:
    """The shortest time that a mark took which no sound went before."""
    back = {act.event.name: act.at_s for act in reversed(played) if isinstance(act.event, ev.MarkReached)}
    measured: list[float] = []
    for act in played:
        playing = False
        for command in act.commands:
            if isinstance(command, do.PlayAudio):
                playing = True
            elif isinstance(command, do.SendMark):
                if not playing and command.name in back:
                    measured.append(back[command.name] - act.at_s)
                playing = False
    return max(0.0, min(measured, default=_USUAL_ROUND_TRIP_S))


class _Placing:
    """Follows the commands of a call in their order."""

    def __init__(self, receipts: dict[str, Receipt], half_s: float) -> None:
        self._half_s = half_s
        self._open: list[Message] = []
        self.receipts = receipts
        self.messages: list[Message] = []
        self.cuts: list[float] = []

    def play(self, at_s: float, ulaw: bytes) -> None:
        before_s = self._open[-1].to_s if self._open else 0.0
        from_s = max(before_s, at_s + self._half_s)
        to_s = from_s + len(ulaw) / RATE_HZ
        message = Message(at_s, ulaw, from_s, to_s, to_s)
        self._open.append(message)
        self.messages.append(message)

    def mark(self, at_s: float, name: str) -> None:
        """A mark right behind a message: its receipt says when that was over."""
        receipt = self.receipts[name]
        if not self._open or self._open[-1].sent_s != at_s or receipt.back_s is None or receipt.cleared:
            return
        message = self._open[-1]
        over_s = receipt.back_s - self._half_s
        if abs(over_s - message.to_s) > _SNAP_S:
            message.from_s, message.to_s, message.heard_to_s = over_s - len(message.ulaw) / RATE_HZ, over_s, over_s

    def cut(self, cut_s: float) -> None:
        """Nothing of what is on its way is heard from now on."""
        for message in self._open:
            message.heard_to_s = min(message.to_s, max(message.from_s, cut_s))
        self._open.clear()
