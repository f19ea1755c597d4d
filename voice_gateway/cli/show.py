"""How the command line tells a call: in colours for people, plainly in a pipe and under NO_COLOR.

tell = Teller()
tell.line(3.9, "caller", "What coffee do you have?", "cuts in")
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from voice_gateway.audio import g711
from voice_gateway.cli.stopwatch import Waits
from voice_gateway.emulator.phone_call import PhoneCall
from voice_gateway.emulator.weather import Weather

STYLES: Final = {
    "caller": "bold cyan",
    "assistant": "bold green",
    "heard": "bold green",
    "tool": "magenta",
    "cut in": "bold yellow",
    "error": "bold red",
}
_WHO_WIDTH: Final = 9
_BLOCKS: Final = " ▁▂▃▄▅▆▇"
_METER_BARS: Final = 24
_METER_EVERY_S: Final = 0.08
_BAR_SAMPLES: Final = 640


class Teller:
    """Prints happenings as they come. plain: one line each, unstyled and unwrapped."""

    def __init__(self, console: Console | None = None) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character must not end a call
        self.console = console or Console(highlight=False, soft_wrap=False)
        self.plain = not self.console.is_terminal or self.console.no_color or self.console.is_dumb_terminal

    def line(self, at_s: float | None, who: str, text: str | Text, note: str = "") -> None:
        """Something that happened. at_s: seconds since the number was dialled. note: said beside it, quietly."""
        body = Text(text) if isinstance(text, str) else text.copy()
        at = "" if at_s is None else f"{at_s:.2f}"
        if self.plain:
            aside = f"  ({note})" if note else ""
            self.out(f"{at:>7}  {who:<{_WHO_WIDTH}}  {body.plain}{aside}".rstrip())
            return
        if note:
            body.append(f"  {note}", "dim")
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=7, justify="right", style="dim", no_wrap=True)
        grid.add_column(width=_WHO_WIDTH, style=STYLES.get(who, "dim"), no_wrap=True)
        grid.add_column()
        grid.add_row(at, who, body)
        self.console.print(grid)

    def heading(self, text: str) -> None:
        self.blank()
        if self.plain:
            self.out(text)
        else:
            self.console.print(Text(text, "bold"))

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Names and values, one below the other."""
        rows = list(facts)
        width = max((len(name) for name, _ in rows), default=0)
        if self.plain:
            for name, value in rows:
                self.out(f"  {name:<{width}}  {value}".rstrip().replace("\n", "\n" + " " * (width + 4)))
            return
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=width, style="dim", no_wrap=True)
        grid.add_column()
        for name, value in rows:
            grid.add_row(name, Text(value))
        self.console.print(Padding(grid, (0, 0, 0, 2)))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Rows under a heading; the last column takes the room that is left."""
        kept = [tuple(row) for row in rows]
        if self.plain:
            widths = [max(len(row[at]) for row in [tuple(columns), *kept]) for at in range(len(columns) - 1)]
            for row in [tuple(columns), *kept]:
                cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
                self.out("  " + "  ".join([*cells, row[-1]]).rstrip())
            return
        grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for at, column in enumerate(columns):
            last = at == len(columns) - 1
            grid.add_column(column, no_wrap=not last, style="" if at == len(columns) - 1 else "dim", overflow="fold")
        for row in kept:
            grid.add_row(*map(Text, row))
        self.console.print(Padding(grid, (0, 0, 0, 2)))

    def blank(self) -> None:
        self.out("")

    def out(self, text: str, style: str = "") -> None:
        """A line as it is."""
        self.console.print(Text(text, "" if self.plain else style), soft_wrap=True)

    def failure(self, text: str) -> None:
        """What went wrong, on standard error."""
        Console(stderr=True, highlight=False).print(Text(text, "bold red"), soft_wrap=True)

    @asynccontextmanager
    async def meters(self, call: PhoneCall) -> AsyncIterator[None]:
        """While a call lasts: a last line on the terminal that shows the clock and both voices. Nothing when plain."""
        if self.plain:
            yield
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            moving = asyncio.create_task(_move(live, call))
            try:
                yield
            finally:
                moving.cancel()
                with suppress(asyncio.CancelledError):
                    await moving


async def _move(live: Live, call: PhoneCall) -> None:
    while not call.outcome:
        live.update(_meter(call), refresh=True)
        await asyncio.sleep(_METER_EVERY_S)


def _meter(call: PhoneCall) -> RenderableType:
    line = Text.assemble((f"{call.now_s:7.2f}", "dim"))
    for who, ulaw in (("caller", call.caller_ulaw()), ("heard", call.heard_ulaw())):
        line.append(f"  {who} ", "dim")
        line.append(_bars(g711.decode(ulaw[-_METER_BARS * _BAR_SAMPLES :])), STYLES[who])
    return Group(Text(""), line)


def _bars(samples: NDArray[np.int16]) -> str:
    """A sound as a row of bars, one for each 80 ms: from -54 dBFS at the bottom in steps of 6 dB."""
    blocks = samples[: len(samples) // _BAR_SAMPLES * _BAR_SAMPLES].astype(np.float64).reshape(-1, _BAR_SAMPLES)
    levels = 20 * np.log10(np.maximum(np.sqrt(np.square(blocks).mean(axis=1)) / 32768, 1e-6))
    heights = np.clip((levels + 54) / 6, 0, len(_BLOCKS) - 1).astype(int)
    return "".join(_BLOCKS[height] for height in heights).rjust(_METER_BARS)


def seconds(value: float | None) -> str:
    """`0.84 s`, or a dash where there is nothing to measure."""
    return "-" if value is None else f"{value:.2f} s"


def weather_told(weather: Weather) -> str:
    """`50 ms each way, jitter buffer 60 ms`."""
    jitter = f" and up to {weather.jitter_s * 1000:.0f} more" if weather.jitter_s else ""
    return f"{weather.one_way_s * 1000:.0f} ms each way{jitter}, jitter buffer {weather.jitter_buffer_s * 1000:.0f} ms"


def latencies(waits: Waits) -> list[tuple[str, str]]:
    """What was measured, as names and values."""
    rows = [
        ("number dialled to TwiML", seconds(waits.twiml_s)),
        ("to the media stream", seconds(waits.stream_s)),
        ("to the first sound heard", seconds(waits.first_heard_s)),
    ]
    for number, turn in enumerate(waits.turns, 1):
        if turn.stopped_after_s is not None:
            rows.append((f"turn {number}, cutting in: his first sound to silence", seconds(turn.stopped_after_s)))
        rows.append((f"turn {number}: his last sound to the answer in his ear", seconds(turn.answered_after_s)))
    return rows
