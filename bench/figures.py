"""Figures of a run: percentiles, a process's time and memory, and what else the machine was doing. Reads /proc."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
MEGABYTE = 2**20


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed; NaN without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads that live: nanoseconds where the kernel counts them, else its ticks."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        return sum(_ticks(Path(f"/proc/{pid}/stat").read_text())) / _TICKS


def _ticks(stat: str) -> tuple[int, int]:
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


def rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / MEGABYTE


def core_busy_seconds(core: int) -> float:
    """Time that a core was not idle since the machine started; what a hypervisor took away counts as busy."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            fields = [int(field) for field in line.split()[1:9]]
            return (sum(fields) - fields[3] - fields[4]) / _TICKS
    return 0.0


def cpu_by_process() -> dict[int, tuple[str, float]]:
    """Processor time of every process: pid to (name, seconds)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
            except OSError:
                continue
            name = " ".join(Path(word).name for word in words[:3]) or stat.partition("(")[2].rpartition(")")[0]
            found[int(entry.name)] = (name[:40], sum(_ticks(stat)) / _TICKS)
    return found


def others(
    before: dict[int, tuple[str, float]], after: dict[int, tuple[str, float]], ours: set[int], seconds: float
) -> list[tuple[str, float]]:
    """Processes that are not ours and took more than 3 % of a core in between: (name, share), the hungriest first."""
    shares = [
        (name, (used - before.get(pid, (name, 0.0))[1]) / seconds)
        for pid, (name, used) in after.items()
        if pid not in ours
    ]
    return sorted((pair for pair in shares if pair[1] > 0.03), key=lambda pair: -pair[1])


# --- instructions, where the machine counts them ----------------------------------------------------------------


@dataclass
class Counter:
    """`perf stat` on one process, from its making to `stop`."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, pid: int) -> Counter:
        command = ["perf", "stat", "-x", ",", "-e", "instructions", "-p", str(pid)]
        return cls(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))

    def stop(self) -> int | None:
        self.process.send_signal(2)  # as Ctrl-C: perf writes its figures and ends
        return instructions(self.process.communicate(timeout=10)[1])


def instructions(perf_output: str) -> int | None:
    """The count in `perf stat -x,` output; None where it says that there is none."""
    for line in perf_output.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].startswith("instructions") and fields[0].isdigit():
            return int(fields[0])
    return None


def counts_instructions() -> bool:
    """Does this machine count instructions for us? Most virtual ones do not."""
    if shutil.which("perf") is None:
        return False
    tried = subprocess.run(
        ["perf", "stat", "-x", ",", "-e", "instructions", "true"], capture_output=True, text=True, check=False
    )
    return instructions(tried.stderr) is not None


@dataclass(frozen=True)
class Spent:
    """seconds: of wall clock. gateway_s: its processor time. far_share, others_share: of a core, 0 to 1.

    others_share: on the gateway's core. others_far_share: on the far sides', where they were put on one of their own.
    """

    seconds: float
    gateway_s: float
    far_share: float
    others_share: float
    instructions: int | None
    others_far_share: float = 0.0


@dataclass
class Span:
    """Processor time of the gateway, of the far sides (this process) and of the gateway's core, over a while."""

    pid: int
    core: int
    counter: Counter | None
    began: tuple[float, float, float, float, float]

    @classmethod
    async def begin(cls, pid: int, core: int, *, counts: bool) -> Span:
        counter = Counter.start(pid) if counts else None
        if counter:
            await asyncio.sleep(0.3)  # until perf has attached itself
        return cls(pid, core, counter, _now(pid, core))

    def end(self) -> Spent:
        seconds, gateway_s, far_s, core_s, far_core_s = (
            b - a for a, b in zip(self.began, _now(self.pid, self.core), strict=True)
        )
        counted = self.counter.stop() if self.counter else None
        others, others_far = (
            max(0.0, busy - ours) / seconds for busy, ours in ((core_s, gateway_s), (far_core_s, far_s))
        )
        return Spent(seconds, gateway_s, far_s / seconds, others, counted, others_far)


def _now(pid: int, core: int) -> tuple[float, float, float, float, float]:
    ours = os.sched_getaffinity(0)
    far_core_s = core_busy_seconds(min(ours)) if len(ours) == 1 and core not in ours else time.process_time()
    return time.monotonic(), cpu_seconds(pid), time.process_time(), core_busy_seconds(core), far_core_s
