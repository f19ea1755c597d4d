"""What a traced call was like: who spoke when, what was heard of it, how long everybody waited, what went wrong.

Everything is read off the trace; all times are seconds since the call's webhook.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Final, Literal

import numpy as np

from voice_gateway.audio import g711
from voice_gateway.call import commands as do
from voice_gateway.call import entries
from voice_gateway.call import events as ev
from voice_gateway.trace.notes import Heading, Trace
from voice_gateway.trace.placing import (
    RATE_HZ,
    Act,
    Message,
    Receipt,
    Samples,
    Voice,
    acts,
    caller_sound,
    model_origins,
    place_voice,
)

_SHOWN: Final = (
    entries.CallStarted, entries.MediaStarted, entries.ModelJoined, entries.UserSpoke, entries.AssistantSpoke,
    entries.BargedIn, entries.ToolAsked, entries.ToolAnswered, entries.DigitReceived, entries.ResponseMetered,
    entries.FaultSeen, entries.CallEnded,
)  # fmt: skip
"""Entries that the picture shows as what they are, or has no need of."""

_TAIL_S: Final = 0.4
_CLOSE_S: Final = 0.03
_NOTHING_S: Final = 0.001
_FRAME_S: Final = 0.0201
_PRIMING: Final = g711.SILENCE * 160
_PADDING: Final = 184
"""Bytes: the filter's tail, and a frame filled up."""


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time. good: False for what failed or was cut short. detail: more about it."""

    from_s: float
    to_s: float
    name: str
    detail: str = ""
    good: bool = True


@dataclass(frozen=True, slots=True)
class Moment:
    at_s: float
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said. unheard: the words of ours that did not reach the ear, and unheard_s how long they were."""

    who: Literal["caller", "assistant"]
    from_s: float
    to_s: float
    text: str
    unheard: str = ""
    unheard_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How long the caller waited. stopped_s: his last sound. delta_s: the model's first. heard_s: first in the ear."""

    stopped_s: float
    delta_s: float
    heard_s: float

    @property
    def waited_s(self) -> float:
        return self.heard_s - self.stopped_s


@dataclass(frozen=True, slots=True)
class Story:
    """A call. caller, voice, unheard: 8 kHz from the webhook to length_s: the caller, ours as heard, and the rest.

    remarks: whatever else stands on its record.
    first_heard_s: from the media stream's start to our first sound in the ear; None when there was none.
    """

    heading: Heading
    length_s: float
    caller: Samples = field(repr=False)
    voice: Samples = field(repr=False)
    unheard: Samples = field(repr=False)
    first_heard_s: float | None
    turns: tuple[Turn, ...]
    answers: tuple[Answer, ...]
    cuts: tuple[Moment, ...]
    tools: tuple[Span, ...]
    responses: tuple[Span, ...]
    receipts: tuple[Receipt, ...]
    keys: tuple[Moment, ...]
    faults: tuple[Moment, ...]
    remarks: tuple[Moment, ...]
    ended: entries.CallEnded | None
    stopped: str

    @property
    def median_wait_s(self) -> float | None:
        return median(answer.waited_s for answer in self.answers) if self.answers else None


def tell(trace: Trace) -> Story:
    """Read a call off its trace."""
    played = acts(trace)
    length_s = max(0.0, trace.length_s) + _TAIL_S
    voice = place_voice(played)
    straight = trace.heading.policy.audio_format == "pcmu"
    received = _received(played, straight=straight)
    ours, ghosts = _our_turns(played, voice, received, length_s)
    written = [(act.at_s, entry) for act in played for entry in _entries(act)]
    turns = sorted([*_callers_turns(played, straight=straight), *ours], key=lambda turn: turn.from_s)
    return Story(
        heading=trace.heading,
        length_s=length_s,
        caller=caller_sound(played, length_s),
        voice=voice.sound(length_s),
        unheard=_lay_out(ghosts, length_s),
        first_heard_s=_first_heard(played, voice),
        turns=tuple(turns),
        answers=tuple(_answers(played, voice, straight=straight)),
        cuts=tuple(_cuts(played, voice)),
        tools=tuple(_tools(played, length_s)),
        responses=tuple(_responses(played, length_s)),
        receipts=voice.receipts,
        keys=tuple(Moment(act.at_s, act.event.digit) for act in played if isinstance(act.event, ev.DigitPressed)),
        faults=tuple(_faults(trace, written)),
        remarks=tuple(_remark(at_s, entry) for at_s, entry in written if not isinstance(entry, _SHOWN)),
        ended=next((entry for _, entry in written if isinstance(entry, entries.CallEnded)), None),
        stopped=trace.stopped,
    )


def _entries(act: Act) -> Iterator[entries.Entry]:
    return (command.entry for command in act.commands if isinstance(command, do.WriteEntry))


# --- turns ------------------------------------------------------------------------------------------------------


def _callers_turns(played: Sequence[Act], *, straight: bool) -> Iterator[Turn]:
    """Where the model heard him speak; the text may have come much later, or never."""
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    texts: dict[str, str] = {}
    for act, origin_s in model_origins(played, straight=straight):
        match act.event:
            case ev.SpeechStarted():
                began[act.event.item_id] = origin_s + act.event.audio_start_ms / 1000
            case ev.SpeechStopped():
                ended[act.event.item_id] = origin_s + act.event.audio_end_ms / 1000
            case ev.UserTranscribed():
                texts[act.event.item_id] = act.event.text.strip()
                began.setdefault(act.event.item_id, act.at_s)
    for item_id, from_s in began.items():
        yield Turn("caller", from_s, max(from_s, ended.get(item_id, from_s)), texts.get(item_id, ""))


@dataclass(frozen=True, slots=True)
class _Ghost:
    """Sound that was made and not heard, and where it would have been."""

    from_s: float
    samples: Samples


def _our_turns(
    played: Sequence[Act], voice: Voice, received: Mapping[str, Samples], length_s: float
) -> tuple[list[Turn], list[_Ghost]]:
    """Every turn takes the next messages of which something was heard: a message never holds two items."""
    heard = [message for message in voice.messages if message.was_heard]
    turns: list[Turn] = []
    ghosts: list[_Ghost] = []
    for act in played:
        free_s = min(length_s, act.at_s)
        for entry in _entries(act):
            if not isinstance(entry, entries.AssistantSpoke):
                continue
            mine = _take(heard, entry, act.at_s)
            from_s = mine[0].from_s if mine else free_s
            to_s = mine[-1].heard_to_s if mine else free_s
            unheard_s = max(0, entry.total_ms - entry.heard_ms) / 1000 if entry.interrupted else 0.0
            words = entry.generated.removeprefix(entry.text).strip() if entry.interrupted else ""
            turns.append(Turn("assistant", from_s, to_s, entry.text, words, unheard_s))
            if unheard_s:
                free_s = to_s if mine else free_s
                ghosts.append(_Ghost(free_s, received.get(entry.item_id, np.zeros(0, np.int16))[entry.heard_ms * 8 :]))
                free_s += unheard_s
    return turns, _clipped(ghosts, voice)


def _take(heard: list[Message], entry: entries.AssistantSpoke, at_s: float) -> list[Message]:
    """The messages of a turn that was written down at at_s. heard: all that belong to no turn yet; the taken go.

    A turn that was cut has whatever of it was sent before. One that was not ends in up to a frame of padding. A frame
    of silence before a turn was sent to measure the line, and is nobody's.
    """
    mine: list[Message] = []
    left_s, enough_s = entry.heard_ms / 1000, _NOTHING_S
    while left_s and heard and heard[0].ulaw == _PRIMING:
        heard.pop(0)
        enough_s = _FRAME_S  # or else it was the turn's own first frame
    while heard and left_s > enough_s:
        if entry.interrupted and heard[0].sent_s > at_s:
            break
        mine.append(heard.pop(0))
        left_s = _CLOSE_S if entry.interrupted else left_s - (mine[-1].heard_to_s - mine[-1].from_s)
        if mine[-1].heard_to_s < mine[-1].to_s and left_s < _CLOSE_S * 2:  # it was held, and a hold is reckoned
            break
    while mine and heard and len(heard[0].ulaw) <= _PADDING and heard[0].from_s - mine[-1].to_s < _NOTHING_S:
        mine.append(heard.pop(0))
    return mine


def _received(played: Sequence[Act], *, straight: bool) -> dict[str, Samples]:
    """All that the model said, by item, at 8 kHz; good enough to be looked at. straight: it speaks µ-law."""
    pieces: dict[str, list[bytes]] = {}
    for act in played:
        if isinstance(act.event, ev.AudioReceived):
            pieces.setdefault(act.event.item_id, []).append(act.event.audio)
    joined = {item_id: b"".join(sound) for item_id, sound in pieces.items()}
    return {item_id: g711.decode(sound) if straight else _at_8k(sound) for item_id, sound in joined.items()}


def _at_8k(audio: bytes) -> Samples:
    return np.frombuffer(audio, "<i2", len(audio) // 2)[::3].astype(np.int16)


def _clipped(ghosts: Iterable[_Ghost], voice: Voice) -> list[_Ghost]:
    """What was not heard ends in the picture where the next thing was."""
    starts = [message.from_s for message in voice.messages if message.was_heard]
    clipped = []
    for ghost in ghosts:
        end_s = next((start_s for start_s in starts if start_s > ghost.from_s + _CLOSE_S), np.inf)
        kept = len(ghost.samples) if end_s == np.inf else round((end_s - ghost.from_s) * RATE_HZ)
        clipped.append(_Ghost(ghost.from_s, ghost.samples[: max(0, kept)]))
    return clipped


def _lay_out(ghosts: Iterable[_Ghost], length_s: float) -> Samples:
    sound = np.zeros(max(0, round(length_s * RATE_HZ)), np.int16)
    for ghost in ghosts:
        start = max(0, round(ghost.from_s * RATE_HZ))
        room = sound[start : start + len(ghost.samples)]
        room[:] = ghost.samples[: len(room)]
    return sound


# --- waits and cuts ---------------------------------------------------------------------------------------------


def _answers(played: Sequence[Act], voice: Voice, *, straight: bool) -> Iterator[Answer]:
    """From the caller's last sound to the first of the answer that he heard. A turn that he went on with has none."""
    stopped_s: float | None = None
    for act, origin_s in model_origins(played, straight=straight):
        match act.event:
            case ev.SpeechStarted():
                stopped_s = None
            case ev.SpeechStopped():
                stopped_s = min(act.at_s, origin_s + act.event.audio_end_ms / 1000)
            case ev.AudioReceived() if stopped_s is not None:
                heard_s = next((m.from_s for m in voice.messages if m.sent_s >= act.at_s and m.was_heard), None)
                if heard_s is not None:
                    yield Answer(stopped_s, act.at_s, heard_s)
                stopped_s = None


def _first_heard(played: Sequence[Act], voice: Voice) -> float | None:
    joined_s = next((act.at_s for act in played if isinstance(act.event, ev.CallerJoined)), None)
    sounding = (message for message in voice.messages if message.was_heard and message.ulaw != _PRIMING)
    heard_s = next((message.from_s for message in sounding), None)
    return None if joined_s is None or heard_s is None else heard_s - joined_s


def _cuts(played: Sequence[Act], voice: Voice) -> Iterator[Moment]:
    """Where our voice was stopped or held, and what was lost by it. A hold that is confirmed clears nothing more."""
    cuts = iter(voice.cuts)
    for act in played:
        cleared = [next(cuts) for command in act.commands if isinstance(command, do.ClearPlayout)]
        barged = [entry for entry in _entries(act) if isinstance(entry, entries.BargedIn)]
        for entry in barged:
            heard, unheard = entry.heard_ms / 1000, entry.unheard_ms / 1000
            told = f"{heard:.2f} s were heard, {unheard:.2f} s were not"
            yield Moment(cleared[0] if cleared else act.at_s, "cut in", told)
        if cleared and not barged:
            yield Moment(cleared[0], "held", "our voice stopped, and may go on")


# --- the rest ---------------------------------------------------------------------------------------------------


def _tools(played: Sequence[Act], length_s: float) -> Iterator[Span]:
    """From the call to its answer; one that never came reaches to the end."""
    asked: dict[str, tuple[float, do.RunTool]] = {}
    for act in played:
        if isinstance(act.event, ev.ToolFinished) and act.event.call_id in asked:
            from_s, tool = asked.pop(act.event.call_id)
            yield Span(from_s, act.at_s, tool.name, f"{tool.arguments}\n{act.event.output}", act.event.ok)
        asked |= {command.call_id: (act.at_s, command) for command in act.commands if isinstance(command, do.RunTool)}
    for from_s, tool in asked.values():
        yield Span(from_s, length_s, tool.name, f"{tool.arguments}\nno answer", good=False)
    yield from _tools_of_supervisor(played, length_s)


def _tools_of_supervisor(played: Sequence[Act], length_s: float) -> Iterator[Span]:
    asked: dict[str, tuple[float, ev.SupervisorCalledTool]] = {}
    for act in played:
        if isinstance(act.event, ev.SupervisorCalledTool):
            asked[act.event.call_id] = (act.at_s, act.event)
        elif isinstance(act.event, ev.SupervisorToolFinished) and act.event.call_id in asked:
            from_s, tool = asked.pop(act.event.call_id)
            detail = f"{tool.arguments}\n{act.event.output}"
            yield Span(from_s, act.at_s, f"supervisor: {tool.name}", detail, act.event.ok)
    for from_s, tool in asked.values():
        yield Span(from_s, length_s, f"supervisor: {tool.name}", f"{tool.arguments}\nno answer", good=False)


def _responses(played: Sequence[Act], length_s: float) -> Iterator[Span]:
    began: dict[str, float] = {}
    for act in played:
        if isinstance(act.event, ev.ResponseStarted):
            began[act.event.response_id] = act.at_s
        elif isinstance(act.event, ev.ResponseFinished):
            done = act.event
            from_s = began.pop(done.response_id, act.at_s)
            detail = f"{done.response_id} {done.reason} {done.message}".strip()
            yield Span(from_s, act.at_s, done.status, detail, done.status == "completed")
    for response_id, from_s in began.items():
        yield Span(from_s, length_s, "unfinished", response_id, good=False)


def _faults(trace: Trace, written: Iterable[tuple[float, entries.Entry]]) -> Iterator[Moment]:
    for at_s, entry in written:
        if isinstance(entry, entries.FaultSeen):
            yield Moment(at_s, f"{entry.where}: {entry.code}", entry.message)
    for note in trace.notes:
        if note.raised:
            yield Moment(note.at - trace.heading.began_at, "gateway: fault", note.raised)
    yield from _stalls(trace)


def _remark(at_s: float, entry: entries.Entry) -> Moment:
    """An entry that has no place of its own in the picture, by its name."""
    name = re.sub(r"(?<!^)([A-Z])", lambda letter: f" {letter[0].lower()}", type(entry).__name__)
    fields = ((field.name, getattr(entry, field.name)) for field in dataclasses.fields(entry))
    return Moment(at_s, name, ", ".join(f"{name} {value}" for name, value in fields if value not in ("", None)))


def _stalls(trace: Trace) -> Iterator[Moment]:
    """The caller's sound stayed away for a second or more."""
    frames = [note.at for note in trace.notes if isinstance(note.event, ev.CallerAudio)]
    for before, after in pairwise(frames):
        if after - before >= 1.0:
            at_s = before - trace.heading.began_at
            yield Moment(at_s, "caller: no sound", f"nothing came for {after - before:.1f} s")
