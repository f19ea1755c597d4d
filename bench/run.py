"""What a call costs: processor time, added delay, barge-in and memory, next to a G.711 pass-through in the same run.

The gateway runs as the product starts it, alone on one core; both far sides are in this process, on another core.
Contenders take turns, so that a busy hour of the machine falls on all alike; a figure is the median of the rounds.
Read the ratios: they travel between machines, milliseconds do not.

cost     milliseconds of the gateway's processor time (and million instructions, where the machine counts them) for
         each second of each call; listening: the caller speaks; talking: so does the model, 95 % of the time
in       marked sound sent by the phone until its first loud sample is at the model, less the filter's own 3.0 ms
out      the first delta of an answer sent by the model until its sound is at the phone
barge-in speech_started sent by the model until the clear is at the phone
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvloop

from bench import contenders, figures, picture, ramp, trial
from bench.figures import percentile
from bench.trial import Result

PICTURE = contenders.ROOT / "var" / "bench" / "bench.svg"
QUIET_SHARE, DISTURBED_SHARE, FULL_SHARE = 0.2, 0.1, 0.9

Figure = Callable[[Result], float]
COLUMNS: tuple[tuple[str, str, Figure], ...] = (
    ("listening", "7.2f", lambda r: r.listening_ms),
    ("talking", "7.2f", lambda r: r.talking_ms),
    ("in p50", "6.2f", lambda r: percentile(r.in_ms, 0.5)),
    ("in p99", "6.2f", lambda r: percentile(r.in_ms, 0.99)),
    ("out p50", "6.2f", lambda r: percentile(r.out_ms, 0.5)),
    ("out p99", "6.2f", lambda r: percentile(r.out_ms, 0.99)),
    ("clear p50", "6.2f", lambda r: percentile(r.clear_ms, 0.5)),
    ("clear p99", "6.2f", lambda r: percentile(r.clear_ms, 0.99)),
    ("MB/call", "7.3f", lambda r: r.mb_per_call),
)
INSTRUCTIONS: tuple[tuple[str, str, Figure], ...] = (
    ("listening Mi", "7.2f", lambda r: r.listening_minstr or float("nan")),
    ("talking Mi", "7.2f", lambda r: r.talking_minstr or float("nan")),
)
GOALS = {"in p99": 5.0, "out p99": 5.0, "clear p99": 5.0, "MB/call": 0.5}


def main() -> int:
    options = _options()
    far_core, gateway_core = contenders.cores()
    os.sched_setaffinity(0, {far_core})
    counts = figures.counts_instructions()
    _introduce(far_core, gateway_core, counts=counts)
    chosen = [contenders.CONTENDERS[name] for name in options.contenders.split(",")]
    if options.ramp:
        _ramp(options, chosen, gateway_core)
        return 0
    results = _measure(options, chosen, gateway_core, counts=counts)
    columns = (*INSTRUCTIONS, *COLUMNS) if counts else COLUMNS
    _tell(results, [contender.name for contender in chosen], columns)
    _draw(results, [contender.name for contender in chosen])
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", default="25,50,100,150", help="calls at once, separated by commas")
    parser.add_argument("--rounds", type=int, default=1, help="trials of each contender for each number of calls")
    parser.add_argument("--seconds", type=float, default=5.0, help="of listening, and as much of talking")
    parser.add_argument(
        "--contenders",
        default="gateway,passthrough",
        help=f"of {', '.join(contenders.CONTENDERS)}; the last one is what the others are compared with",
    )
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for a quiet machine, each time")
    parser.add_argument("--ramp", action="store_true", help="more and more calls instead, until the delay breaks")
    parser.add_argument("--ramp-to", type=int, default=300, help="the most calls of the ramp")
    parser.add_argument("--ramp-step", type=int, default=25, help="calls that each step of the ramp adds")
    options = parser.parse_args()
    unknown = set(options.contenders.split(",")) - set(contenders.CONTENDERS)
    if unknown:
        parser.error(f"there is no contender {', '.join(sorted(unknown))}")
    return options


def _introduce(far_core: int, gateway_core: int, *, counts: bool) -> None:
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; ", end="")
    print(f"far sides on core {far_core}, gateway on core {gateway_core}")
    if far_core == gateway_core:
        print("There is one core only: gateway and far sides share it, and every delay holds the far sides' work too.")
    if not counts:
        print("This machine counts no instructions for us (perf stat: not supported): cost is processor time.")
    print()


def _ramp(options: argparse.Namespace, chosen: Sequence[contenders.Contender], core: int) -> None:
    """Each contender's ramp, and how many calls it carries for each one that the last of them carries."""
    passed = {
        each.name: uvloop.run(ramp.climb(each, core, options.seconds, options.ramp_to, options.ramp_step))
        for each in chosen
    }
    yardstick = chosen[-1].name
    for name, calls in passed.items():
        ratio = f"{calls / passed[yardstick]:.2f} of {yardstick}" if passed[yardstick] else "no yardstick"
        print(f"{name:18}{calls:5} talking calls on one core   {ratio}")


def _measure(
    options: argparse.Namespace, chosen: Sequence[contenders.Contender], core: int, *, counts: bool
) -> list[Result]:
    results = []
    for calls in (int(number) for number in options.calls.split(",")):
        for _ in range(options.rounds):
            for contender in chosen:
                waited = wait_for_quiet(core, options.patience)
                before, began = figures.cpu_by_process(), time.monotonic()
                result = uvloop.run(trial.run(contender, calls, options.seconds, core, counts=counts))
                after, seconds = figures.cpu_by_process(), time.monotonic() - began
                results.append(result)
                _log(result, figures.others(before, after, {os.getpid()}, seconds), waited)
    return results


def wait_for_quiet(core: int, patience_s: float) -> float:
    """Until the gateway's core had next to nothing to do for a second. Returns how long that took, or all patience."""
    began = time.monotonic()
    while time.monotonic() - began < patience_s:
        busy = figures.core_busy_seconds(core)
        time.sleep(1.0)
        if figures.core_busy_seconds(core) - busy < QUIET_SHARE:
            break
    return time.monotonic() - began


def _log(result: Result, others: Sequence[tuple[str, float]], waited: float) -> None:
    besides = ", ".join(f"{name} {share:.0%}" for name, share in others[:3] if name)
    print(
        f"{result.calls:4} calls, {result.contender:17} its core {result.gateway_share:4.0%}, "
        f"far sides {result.far_share:4.0%} (late p99 {result.late_p99_ms:.1f} ms), "
        f"others on its core {result.others_share:4.0%}"
        f"{f', waited {waited:.0f} s' if waited > 1.5 else ''}{f'; besides: {besides}' if besides else ''}",
        flush=True,
    )


# --- the end: tables, ratios, picture ---------------------------------------------------------------------------


def medians(results: Sequence[Result], name: str, calls: int, figure: Figure) -> float:
    """The median over the trials of a contender with so many calls; of the undisturbed ones, if there are any."""
    trials = [r for r in results if (r.contender, r.calls) == (name, calls)]
    quiet = [r for r in trials if r.others_share <= DISTURBED_SHARE]
    return statistics.median([figure(r) for r in quiet or trials])


def _tell(results: Sequence[Result], names: Sequence[str], columns: Sequence[tuple[str, str, Figure]]) -> None:
    print(f"\n{'calls':>5} {'':18}" + "".join(f"{title:>13}" for title, _, _ in columns))
    print(f"{'':24}" + "".join(f"{unit(title):>13}" for title, _, _ in columns))
    for calls in sorted({result.calls for result in results}):
        for name in names:
            cells = [f"{medians(results, name, calls, figure):{form}}" for _, form, figure in columns]
            print(f"{calls:5} {name:18}" + "".join(f"{cell:>13}" for cell in cells))
        for name in names[:-1]:
            ratios = [
                medians(results, name, calls, figure) / medians(results, names[-1], calls, figure)
                for _, _, figure in columns
            ]
            print(f"{'':5} {'  as a ratio':18}" + "".join(f"{ratio:13.2f}" for ratio in ratios))
    full = {(r.calls, r.contender) for r in results if r.gateway_share > FULL_SHARE}
    for calls, name in sorted(full):
        print(f"\n{name} had its core full at {calls} calls: its delays there are those of a queue that grows.")
    disturbed = sum(result.others_share > DISTURBED_SHARE for result in results)
    if disturbed:
        print(
            f"\nIn {disturbed} of {len(results)} trials others took more than {DISTURBED_SHARE:.0%} of the gateway's "
            "core. They are left out where there was a quiet one beside them; else their delays hold the waiting for "
            "it: `--rounds 3` on a quieter machine tells more."
        )


def unit(title: str) -> str:
    if title.endswith("Mi"):
        return "M instr"
    return "ms/call-s" if title in {"listening", "talking"} else "" if title == "MB/call" else "ms"


def _draw(results: Sequence[Result], names: Sequence[str]) -> None:
    shown = [column for column in COLUMNS if not column[0].endswith("p50")]
    panels = [
        picture.Panel(
            f"{title}, {unit(title)}".rstrip(", "),
            {
                name: [
                    (calls, medians(results, name, calls, figure))
                    for calls in sorted({r.calls for r in results if r.contender == name})
                ]
                for name in names
            },
            GOALS.get(title),
        )
        for title, _, figure in shown
    ]
    footing = f"calls at once; dashed: the goal. Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(picture.draw(panels, "Cost of a call, next to a plain G.711 pass-through", footing))
    print(f"\nPicture: {PICTURE.relative_to(contenders.ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
