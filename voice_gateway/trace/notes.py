"""What stands in a trace: a file of JSON lines, the heading first, then a line for each event of the call.

    {"trace":1,"version":"0.1.0","started":"2026-05-04T10:20:30Z","began_at":1234.5,"facts":{...},"policy":{...}}
    {"at":1234.52,"event":{"CallerAudio":{"ulaw":"/v7+...","timestamp_ms":0}},"do":[{"Appended":{...}}]}

`at` is the clock of `now`; `do` is what the bridge answered, in order, and absent when that was nothing. The caller's
sound stands in the event; what the model was given of it stands as its length and level alone (`Appended`), which
keeps four fifths of a frame out of the file. A bridge that raised stands as `raised`. A trace that reached its size
limit ends with a line that says so (`stopped`), and one whose writer was killed in the midst of a line.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import orjson

from voice_gateway.audio import g711
from voice_gateway.call import commands as do
from voice_gateway.call.bridge import Policy
from voice_gateway.call.events import CallFacts, Event
from voice_gateway.ops.privacy import mask_number
from voice_gateway.trace.codec import TraceError, decode, encode

FORMAT: Final = 1
_SILENT_DBFS: Final = -96.0


class Out(Protocol):
    """What a trace is written to."""

    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Appended:
    """Stands for `AppendAudio`. length: its bytes. dbfs: how loud it was."""

    length: int
    dbfs: float


@dataclass(frozen=True, slots=True)
class Heading:
    """The first line. started: wall clock, ISO 8601. began_at: when the webhook was answered, on the clock of `now`."""

    facts: CallFacts
    policy: Policy
    began_at: float
    started: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One event, and what the bridge answered. do: the commands as they stand in the file (`read_command`).

    raised: the exception that came instead of an answer; empty when none did.
    """

    at: float
    event: Event
    do: tuple[Any, ...] = ()
    raised: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """A call's trace, read. stopped: why it ends before the call did; empty when it does not."""

    heading: Heading
    notes: tuple[Note, ...] = field(repr=False)
    stopped: str = ""

    @property
    def length_s(self) -> float:
        """From the webhook to the last event."""
        return self.notes[-1].at - self.heading.began_at if self.notes else 0.0


# --- writing ----------------------------------------------------------------------------------------------------


def heading_line(heading: Heading) -> bytes:
    """The first line of a file; numbers are masked."""
    return _line(
        {
            "trace": FORMAT,
            "version": heading.version,
            "started": heading.started,
            "began_at": heading.began_at,
            "facts": encode(heading.facts, mask_number),
            "policy": encode(heading.policy, mask_number),
        }
    )


def note_line(
    at: float, event: Event, commands: Iterable[do.Command], raised: str, audio_format: Literal["pcm16", "pcmu"]
) -> bytes:
    """A line of a file. audio_format: the model leg's."""
    return _note_line(at, event, write_commands(commands, audio_format), raised)


def _note_line(at: float, event: Event, noted: list[Any], raised: str) -> bytes:
    line: dict[str, Any] = {"at": at, "event": encode(event, mask_number)}
    if noted:
        line["do"] = noted
    if raised:
        line["raised"] = raised
    return _line(line)


def stop_line(reason: str) -> bytes:
    """The last line of a trace that ends before its call."""
    return _line({"stopped": reason})


def write_commands(commands: Iterable[do.Command], audio_format: Literal["pcm16", "pcmu"]) -> list[Any]:
    """Commands as they stand in a file."""
    return [
        encode(_appended(command.audio, audio_format) if isinstance(command, do.AppendAudio) else command, mask_number)
        for command in commands
    ]


def _appended(audio: bytes, audio_format: Literal["pcm16", "pcmu"]) -> Appended:
    samples = g711.decode(audio) if audio_format == "pcmu" else np.frombuffer(audio, "<i2", len(audio) // 2)
    wide = samples.astype(np.float32)
    power = float(np.dot(wide, wide)) / max(1, len(wide)) / 32768.0**2
    return Appended(len(audio), round(10 * math.log10(power), 1) if power > 0 else _SILENT_DBFS)


def _line(data: Any) -> bytes:
    try:
        return orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate or a number above 64 bits; the standard library writes both
        return json.dumps(data).encode() + b"\n"


def write_trace(file: Out, trace: Trace) -> None:
    """Write a whole trace, as when it was changed."""
    file.write(heading_line(trace.heading))
    for note in trace.notes:
        line: dict[str, Any] = {"at": note.at, "event": encode(note.event, mask_number)}
        file.write(
            _line(line | ({"do": note.do} if note.do else {}) | ({"raised": note.raised} if note.raised else {}))
        )
    if trace.stopped:
        file.write(stop_line(trace.stopped))


# --- reading ----------------------------------------------------------------------------------------------------


def read_command(noted: Any) -> do.Command | Appended:
    """A command of a note as an object."""
    command: do.Command | Appended = decode(do.Command | Appended, noted)
    return command


def read(path: Path) -> Trace:
    """Read a trace, packed (`.gz`) or not. A last line that was cut off is left out. Raises TraceError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            lines = list(enumerate(file, 1))
    except (OSError, EOFError, zlib.error) as fault:
        reason = getattr(fault, "strerror", None) or str(fault)
        raise TraceError(f"{path} cannot be read: {reason}") from None
    if not lines:
        raise TraceError(f"{path} is empty: a trace begins with a heading")
    if not lines[-1][1].endswith(b"\n"):
        lines.pop()
    told = _Told(path)
    (number, first), *rest = lines or [(1, b"")]
    heading = told.heading(number, first)
    return Trace(heading, tuple(told.notes(rest)), told.stopped)


class _Told:
    """Reads a file's lines and says of each that cannot be read where it stands. stopped: see `Trace`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stopped = ""

    def heading(self, number: int, line: bytes) -> Heading:
        data = self._parsed(number, line)
        if "trace" not in data or "policy" not in data:
            raise TraceError(f"{self._path} is no trace: its first line is not the heading of one")
        if data["trace"] != FORMAT:
            raise TraceError(f"{self._path} is of format {data['trace']}, and this version reads format {FORMAT}")
        try:
            facts: CallFacts = decode(CallFacts, data["facts"])
            policy: Policy = decode(Policy, data["policy"])
            return Heading(facts, policy, float(data["began_at"]), data.get("started", ""), data.get("version", ""))
        except (TraceError, KeyError, TypeError, ValueError) as fault:
            raise TraceError(f"{self._path}, line {number}: {fault}") from None

    def notes(self, lines: Iterable[tuple[int, bytes]]) -> Iterator[Note]:
        for number, line in lines:
            data = self._parsed(number, line)
            if "stopped" in data:
                self.stopped = data["stopped"]
                return
            try:
                event: Event = decode(Event, data["event"])
                yield Note(float(data["at"]), event, tuple(data.get("do", ())), data.get("raised", ""))
            except (TraceError, KeyError, TypeError, ValueError) as fault:
                raise TraceError(f"{self._path}, line {number}: {fault}") from None

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise TraceError(f"{self._path}, line {number}: not a line of a trace")
        return data
