"""`voice-gateway replay`: a traced call through today's bridge."""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from voice_gateway.cli.show import Teller
from voice_gateway.trace.notes import Note, Trace, read, write_trace
from voice_gateway.trace.replay import Difference, accepted, first_difference, first_unwoken, side_by_side, told_event

_BEFORE: Final = 4
"""So many events that led up to a difference are shown; frames of sound are not worth it."""
_LONGEST: Final = 160
_COMMON: Final = frozenset({"CallerAudio", "AudioReceived", "Woke"})


def replay(
    files: Annotated[list[Path], typer.Argument(help="Traces, as TRACE_DIR collects them; .gz is fine.")],
    accept: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--accept", help="Write today's answers into the files: from now on they are what is right.")
    ] = False,
) -> None:
    """Lead traced calls again: the same events at the same times, through today's bridge.

    Says of each file whether every command is the one that was given then, and shows the first that is not. Where
    today's bridge has a limit that nobody kept then, it says until when the trace tells of it.

    The exit code is 1 when there was a difference.

    A bad call becomes a test: copy its trace into tests/call/traces; the suite replays every file there.

    Change the code until the call goes right, look at what changed, and keep it with --accept.

    Example: voice-gateway replay var/traces/20260504T102030Z-CA0123.jsonl
    """
    teller = Teller()
    different = 0
    for path in files:
        trace = read(path)
        difference = first_difference(trace)
        if difference is None:
            _tell_same(teller, path, trace)
            continue
        different += 1
        _tell(teller, path, trace, difference)
        if accept:
            _replace(path, accepted(trace))
            teller.out(f"{path}: today's answers are written into it", "yellow")
    raise typer.Exit(1 if different and not accept else 0)


def _tell_same(teller: Teller, path: Path, trace: Trace) -> None:
    at_s = first_unwoken(trace)
    if at_s is None:
        teller.out(f"{path}: {_about(trace)}: the same today", "green")
        return
    # Nobody woke it then, so the trace does not hold what it would do about it, nor what would follow.
    teller.out(
        f"{path}: {_about(trace)}: the same until {at_s:.3f} s into the call, when today's bridge would have acted by "
        "itself; its answers to what came then are those of then",
        "yellow",
    )


def _about(trace: Trace) -> str:
    by = f", recorded by {trace.heading.version}" if trace.heading.version else ""
    stopped = f" (ends early: {trace.stopped})" if trace.stopped else ""
    return f"{len(trace.notes):,} events in {trace.length_s:.1f} s{by}{stopped}"


def _tell(teller: Teller, path: Path, trace: Trace, difference: Difference) -> None:
    at_s = difference.then.at - trace.heading.began_at
    teller.out(f"{path}: {_about(trace)}", "bold")
    teller.out(f"Differs {at_s:.3f} s into the call, at event {difference.number:,} (line {difference.number + 1:,}):")
    teller.blank()
    for note in [*_before(trace, difference.number), difference.then]:
        teller.out(
            f"  {note.at - trace.heading.began_at:8.3f}  {told_event(note)}", "" if note is difference.then else "dim"
        )
    teller.blank()
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    grid.add_column("")
    grid.add_column("then", overflow="fold", ratio=1)
    grid.add_column("today", overflow="fold", ratio=1)
    for pair in side_by_side(difference):
        style = "" if teller.plain or pair.same else "bold yellow"
        grid.add_row("" if pair.same else "≠", Text(pair.then or "-", style), Text(pair.now or "-", style))
    if not grid.rows:
        grid.add_row("", "-", "-")
    teller.console.print(Padding(grid, (0, 0, 1, 2)))


def _before(trace: Trace, number: int) -> list[Note]:
    """The last events before the one of this number that are worth showing."""
    earlier = (note for note in reversed(trace.notes[: number - 1]) if type(note.event).__name__ not in _COMMON)
    return [note for note, _ in zip(earlier, range(_BEFORE), strict=False)][::-1]


def _replace(path: Path, trace: Trace) -> None:
    """Write a trace over its file, all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
                write_trace(packed, trace)
        else:
            write_trace(file, trace)
    Path(name).replace(path)
