"""What the model is told was heard, less what the carrier played: the table of errors, case by weather.

The calls are those of the tests: pure dialogues with a carrier on a seeded line, 20 to 150 ms each way and a jitter
buffer of 0 to 80 ms, drawn for each seed (`tests/call/heard_cases.py`). With `--loopback` the whole gateway also
answers callers who interrupt it, over real sockets, in the emulated carrier's weather. An error is what the model
believes of the item that was audible, less the truth; `wrong` counts barge-ins in which another item was cut.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/call"), str(ROOT / "tests/whole")]

import heard_cases  # noqa: E402 - found by the path above
from heard_cases import CASES, HARD_CASES, SKIES  # noqa: E402

from voice_gateway.emulator.weather import Weather  # noqa: E402

WEATHERS = {
    "no delay": Weather(one_way_s=0.0, jitter_buffer_s=0.0),
    "50 ms, buffer of 60 ms": Weather(one_way_s=0.05, jitter_buffer_s=0.06),
    "and jitter of 30 ms": Weather(one_way_s=0.05, jitter_s=0.03, jitter_buffer_s=0.06),
    "and 100 ms late": Weather(one_way_s=0.05, jitter_s=0.03, jitter_buffer_s=0.06, start_late_s=0.1),
    "150 ms, jitter of 30 ms": Weather(one_way_s=0.15, jitter_s=0.03, jitter_buffer_s=0.08),
}
AFTER_S = ([0.25], [1.0], [3.0], [1.0, 1.5])
"""How much each of the callers over loopback has heard of each answer when he cuts in."""

GOAL_MEDIAN_MS, GOAL_WORST_MS = 20.0, 40.0


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one case in one weather. errors_ms: of each barge-in; wrong: how many cut another item."""

    errors_ms: list[float]
    wrong: int = 0

    @property
    def median_ms(self) -> float:
        return median(map(abs, self.errors_ms)) if self.errors_ms else 0.0

    @property
    def worst_ms(self) -> float:
        return max(map(abs, self.errors_ms), default=0.0)

    @property
    def good(self) -> bool:
        return not self.wrong and self.median_ms <= GOAL_MEDIAN_MS and self.worst_ms <= GOAL_WORST_MS

    def __str__(self) -> str:
        errors = f"{self.median_ms:.0f} / {self.worst_ms:.0f}" if self.errors_ms else "-"
        return errors + (f", {self.wrong} wrong" if self.wrong else "")


def of_dialogues(case: heard_cases.Case, sky: heard_cases.Sky, seeds: int) -> Errors:
    judged = [each for seed in range(seeds) for each in heard_cases.play(case, sky, seed)[1]]
    return Errors([each.error_ms for each in judged if each.audible], sum(not each.right for each in judged))


async def of_calls(weather: Weather) -> Errors:
    """Callers at once, each in a call of his own."""
    from heard_calls import LONG, interrupt  # noqa: PLC0415 - the whole gateway, only where it is wanted

    from voice_gateway.cli.stage import stage  # noqa: PLC0415
    from voice_gateway.emulator.realtime import INSTANT, RealtimeServer  # noqa: PLC0415
    from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar  # noqa: PLC0415
    from voice_gateway.ops import logs  # noqa: PLC0415

    logs.configure("error")
    mind, ear = ScriptedMind(otherwise=LONG), TypedEar(["No."] * 99)
    with tempfile.TemporaryDirectory() as folder:
        model = RealtimeServer(mind=mind, voice=ToneVoice(), ear=ear, latency=INSTANT)
        async with stage(model, Path(folder) / "calls.sqlite3", weather=weather) as running:
            calls = await asyncio.gather(*(interrupt(running, after_s) for after_s in AFTER_S))
    return Errors([cut.error_ms for cuts in calls for cut in cuts])


def table(rows: dict[str, list[Errors]], heads: list[str]) -> Iterator[str]:
    """Lines of text; each row has a cell for each head."""
    first = max(map(len, rows)) + 2
    widths = [
        max(len(head), *(len(str(row[column])) for row in rows.values())) + 2 for column, head in enumerate(heads)
    ]
    yield " " * first + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True))
    for name, row in rows.items():
        yield f"{name:{first}}" + "".join(f"{cell!s:>{width}}" for cell, width in zip(row, widths, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=30, help="calls of each case in each weather (default 30)")
    parser.add_argument("--loopback", action="store_true", help="also whole calls over real sockets: about 40 s")
    wanted = parser.parse_args()
    if wanted.seeds < 1:
        parser.error("--seeds must be 1 or more")
    began = time.monotonic()
    rows = {
        name: [of_dialogues(case, sky, wanted.seeds) for sky in SKIES.values()]
        for name, case in {**CASES, **HARD_CASES}.items()
    }
    print(f"Dialogues, {wanted.seeds} of each, milliseconds: median / worst error\n")
    print("\n".join(table(rows, list(SKIES))))
    aimed_at = [errors for name in CASES for errors in rows[name]]
    missed = sum(not errors.good for errors in aimed_at)
    print(
        f"\nTarget: {GOAL_MEDIAN_MS:.0f} ms at the median, {GOAL_WORST_MS:.0f} ms at worst, the right item always: ",
        end="",
    )
    print(f"{'missed' if missed else 'kept'} in {missed or len(aimed_at)} of {len(aimed_at)} cells above the last line")
    if wanted.loopback:
        print("\nWhole calls over loopback, milliseconds: median / worst error\n")
        print(
            "\n".join(table({name: [asyncio.run(of_calls(weather))] for name, weather in WEATHERS.items()}, ["error"]))
        )
    print(f"\n{time.monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
