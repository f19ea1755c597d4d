"""Replaying a trace: the same events at the same times through today's bridge, and where its answers differ.

The bridge reads no clock and knows nothing but its events, so equal answers are what is to be expected; a difference is
a change of ours. What counts as equal: the same commands in the same order, each with every field that the trace holds
(a field younger than the trace is not looked at). Times and figures may differ by what arithmetic on another machine
does to them, and a sound by one step of its code.

The events are those that really came. What a bridge that answers otherwise would have made happen afterwards nobody
knows: therefore only the first difference is worth telling. Among them are the times at which the bridge was woken; one
that would like to be woken at others is told by `first_unwoken`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import numpy as np
import pybase64

from voice_gateway.audio.activity import Silero
from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.call.bridge import Bridge
from voice_gateway.trace.codec import encode
from voice_gateway.trace.notes import Heading, Note, Trace, write_commands

_SOUNDS: Final = frozenset({"ulaw", "audio"})
_DECIBELS: Final = 0.5
_LATE_S: Final = 1.0
"""A busy process may have woken the bridge so late."""

_RANKS: Final = np.array([code - 127 if code < 128 else 255 - code for code in range(256)], np.int16)
"""µ-law bytes in the order of their samples; the two zeros are one."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first event that today's bridge answers otherwise. number: of the event, from 1. now: today's answer."""

    number: int
    then: Note
    now: Note


class Pair(NamedTuple):
    """A command then and now, as text; empty where there was none."""

    then: str
    now: str
    same: bool


def rebuild(heading: Heading) -> Bridge:
    """Today's bridge for the call of a trace."""
    listens = heading.policy.barge_in and heading.policy.barge_in_mode == "edge"
    return Bridge(heading.policy, heading.began_at, OnsetDetector(Silero()) if listens else None)


def replayed(trace: Trace) -> Iterator[Note]:
    """Every note of a trace as today's bridge would have it."""
    bridge = rebuild(trace.heading)
    for note in trace.notes:
        try:
            commands = bridge.handle(note.event, note.at)
        except Exception as fault:  # noqa: BLE001 - a bridge that raises is what this looks for
            yield Note(note.at, note.event, raised=f"{type(fault).__name__}: {fault}")
        else:
            yield Note(note.at, note.event, tuple(write_commands(commands, trace.heading.policy.audio_format)))


def first_difference(trace: Trace) -> Difference | None:
    """None when today's bridge leads this call as it was led."""
    for number, (then, now) in enumerate(zip(trace.notes, replayed(trace), strict=True), 1):
        if not same(list(then.do), list(now.do)) or _kind(then.raised) != _kind(now.raised):
            return Difference(number, then, now)
    return None


def first_unwoken(trace: Trace) -> float | None:
    """When today's bridge wanted to be woken and was not, in seconds into the call; None when that never was so.

    Then it has a limit that the bridge of then had not, or had later: what it would have done about it does not show.
    """
    bridge = rebuild(trace.heading)
    for note in trace.notes:
        wanted = bridge.deadline()
        if wanted is not None and note.at - wanted > _LATE_S:
            return wanted - trace.heading.began_at
        with suppress(Exception):  # one that raises is told by `first_difference`, where it did not then
            bridge.handle(note.event, note.at)
    return None


def accepted(trace: Trace) -> Trace:
    """The same events with today's answers: a trace to hold later versions against."""
    return replace(trace, notes=tuple(replayed(trace)))


def _kind(raised: str) -> str:
    return raised.partition(":")[0]


# --- what counts as equal ---------------------------------------------------------------------------------------


def same(then: Any, now: Any, field: str = "") -> bool:
    """Are these, as they stand in a trace, equal? field: the name under which they stand."""
    if isinstance(then, dict) and isinstance(now, dict):
        return all(same(value, now[name], name) for name, value in then.items() if name in now) and (
            bool(then.keys() & now.keys()) or not then
        )
    if isinstance(then, list) and isinstance(now, list):
        return len(then) == len(now) and all(map(same, then, now))
    if isinstance(then, float) or isinstance(now, float):
        return _same_number(then, now, field)
    if field in _SOUNDS and isinstance(then, str) and isinstance(now, str):
        return then == now or _same_sound(then, now)
    return bool(then == now)


def _same_number(then: Any, now: Any, field: str) -> bool:
    if not isinstance(then, int | float) or not isinstance(now, int | float):
        return False
    tolerance = _DECIBELS if field.endswith("dbfs") else 1e-6
    return math.isclose(then, now, rel_tol=1e-6, abs_tol=tolerance)


def _same_sound(then: str, now: str) -> bool:
    """Within a step of µ-law, sample by sample: a filter's last bit is not the same on every processor."""
    codes = [np.frombuffer(pybase64.b64decode(sound), np.uint8) for sound in (then, now)]
    if len(codes[0]) != len(codes[1]):
        return False
    ranks = [_RANKS.take(code) for code in codes]
    return bool((np.abs(ranks[0] - ranks[1]) <= 1).all())


# --- in people's words ------------------------------------------------------------------------------------------


def told(noted: Any) -> str:
    """A command, as it stands in a trace, as text: `TruncateItem item_id=item_1 audio_end_ms=1,340`."""
    name, fields = next(iter(noted.items()))
    if name == "WriteEntry":
        return f"WriteEntry {told(fields['entry'])}"
    return " ".join([name, *(f"{field}={_told(value, field)}" for field, value in fields.items())])


def told_event(note: Note) -> str:
    return told(encode(note.event))


def _told(value: Any, field: str) -> str:
    if field in _SOUNDS and isinstance(value, str):
        return f"{len(pybase64.b64decode(value)):,} bytes"
    if isinstance(value, dict) and len(value) == 1:
        return f"({told(value)})"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return repr(value) if isinstance(value, str) and (" " in value or not value) else str(value)


def side_by_side(difference: Difference) -> list[Pair]:
    """Both answers, like beside like."""
    then, now = list(difference.then.do), list(difference.now.do)
    alike = SequenceMatcher(None, [_name(each) for each in then], [_name(each) for each in now], autojunk=False)
    pairs: list[Pair] = []
    for _, a, b, c, d in alike.get_opcodes():
        pairs.extend(_pair(*both) for both in zip_longest(then[a:b], now[c:d]))
    if difference.then.raised or difference.now.raised:
        pairs.append(Pair(f"raised {difference.then.raised}", f"raised {difference.now.raised}", same=False))
    return pairs


def _name(noted: Any) -> str:
    name, fields = next(iter(noted.items()))
    return f"{name} {_name(fields['entry'])}" if name == "WriteEntry" else str(name)


def _pair(then: Any, now: Any) -> Pair:
    if then is None or now is None:
        return Pair("" if then is None else told(then), "" if now is None else told(now), same=False)
    return Pair(told(then), told(now), same(then, now))
