"""How a call is shown: one line for each thing that happens, in colours on a terminal and plain when piped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from voice_gateway.call import entries
from voice_gateway.call.events import CallFacts
from voice_gateway.ops.privacy import mask_number

_STYLES = {"caller": "cyan", "assistant": "green", "tool": "magenta", "gateway": "dim", "cut in": "bold yellow"}
_LONGEST_ANSWER = 96
_WHO_WIDTH = 9


class Screen:
    """Prints a call as it goes. clock: seconds since it was dialled."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock

    def line(self, who: str, what: str, *, note: str = "", dim: bool = False) -> None:
        """One thing that happened now. note: what stands behind it. dim: a remark to the line before."""
        minutes, seconds = divmod(max(0.0, self._clock()), 60)
        at = f"{minutes:02.0f}:{seconds:04.1f}"
        text = Text(what, style="dim" if dim else "")
        if note:
            text.append(f"  ({note})", style="dim")
        if not self._console.is_terminal:
            self._console.print(f"{at}  {who:<9}  {text.plain}", soft_wrap=True, markup=False)
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(style=_STYLES.get(who, ""), width=_WHO_WIDTH, no_wrap=True)
        grid.add_column()
        grid.add_row(at, who, text)
        self._console.print(grid)

    def entry(self, _facts: CallFacts, entry: entries.Entry) -> None:
        """A listener of the journal: shows what goes on the record."""
        match entry:
            case entries.CallStarted():
                numbers = f"{mask_number(entry.from_number)} → {mask_number(entry.to_number)}"
                self.line("gateway", f"call {numbers}, answered by the {entry.persona}")
            case entries.UserSpoke():
                self.line("", f"understood: {entry.text}", dim=True)
            case entries.AssistantSpoke():
                self._assistant(entry)
            case entries.BargedIn():
                heard, total = entry.heard_ms / 1000, (entry.heard_ms + entry.unheard_ms) / 1000
                self.line("cut in", f"{heard:.2f} s of the answer were heard, {total - heard:.2f} s were not")
            case entries.ToolAsked():
                self.line("tool", f"{entry.name}({' '.join(entry.arguments.split())})")
            case entries.ToolAnswered():
                self.line("", f"{_told(entry.output)}  ({entry.duration_ms} ms)", dim=True)
            case entries.DigitReceived():
                self.line("caller", f"pressed {entry.digit}")
            case entries.FaultSeen():
                self.line("gateway", f"{entry.where}: {entry.code}: {entry.message}")
            case entries.CallEnded():
                self.line("gateway", f"call ended: {entry.reason}, after {entry.duration_ms / 1000:.1f} s")

    def _assistant(self, entry: entries.AssistantSpoke) -> None:
        latency = "" if entry.latency_ms is None else f"first sound after {entry.latency_ms} ms"
        if not entry.interrupted:
            self.line("assistant", entry.text, note=latency)
            return
        self.line("assistant", f"{entry.text} —" if entry.text else "—", note=latency)
        unheard = entry.generated.removeprefix(entry.text).strip()
        self.line("", f"never heard: {unheard}", dim=True)


def show_record(console: Console, row: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    """A call's row and its events as they stand in the database; numbers masked."""
    shown = ("call_sid", "from_number", "to_number", "status", "end_reason", "duration_ms", "persona", "model")
    calls = Table(title="calls", title_justify="left", show_header=False, box=SIMPLE)
    for column in shown:
        value = row[column]
        calls.add_row(column, mask_number(value) if column.endswith("_number") else str(value))
    calls.add_row("transcript", str(row["transcript"]))
    console.print(calls)
    console.print("call_events\n", style="italic")
    for event in events:
        kept = {key: value for key, value in event["payload"].items() if key != "transcript"}
        masked = {key: mask_number(value) if key.endswith("_number") else value for key, value in kept.items()}
        line = Text(
            f"{event['seq']:>4}  {event['occurred_at'][11:23]}  ", style="dim", no_wrap=True, overflow="ellipsis"
        )
        line.append(f"{event['event_type']:<20}  ", style="bold")
        line.append(orjson.dumps(masked).decode())
        if console.is_terminal:
            console.print(line, no_wrap=True, overflow="ellipsis")
        else:
            console.print(line, soft_wrap=True)


def _told(output: str) -> str:
    """A tool's answer in a few words: how many rows and the first of them, else the beginning of its JSON."""
    try:
        answer = orjson.loads(output)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        for name, rows in answer.items():
            if isinstance(rows, list) and rows and isinstance(rows[0], dict) and "name" in rows[0]:
                first = ", ".join(str(row.get("name")) for row in rows[:4])
                return f"{len(rows)} {name}: {first}{', ...' if len(rows) > 4 else ''}"
    return output if len(output) <= _LONGEST_ANSWER else f"{output[: _LONGEST_ANSWER - 1]}…"
