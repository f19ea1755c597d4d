"""Instructions of a gateway's own process for each second of a call, counted by valgrind's callgrind.

For machines whose processor counts none for us, and for small differences: milliseconds move with every neighbour,
these figures hardly do. The kernel's share is not in them. A contender takes one to two minutes.

listening: frames as fast as they are taken, each counted as 20 ms. talking: what an answer adds, for each second of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvloop

from bench import contenders, trial
from bench.sides import DELTA_S

CALLS, FRAMES, TALKING_S = 4, 2000, 20.0
SETTLE_S = 4.0
OPTIONS = ("--tool=callgrind", "--dump-instr=no")
# valgrind does not know io_uring; opening a call takes seconds under it, and between two measurements no frame comes.
SETTINGS = (
    ("UV_USE_IO_URING", "0"),
    ("START_TIMEOUT_SECONDS", "50"),
    ("OPENAI_CONNECT_TIMEOUT_SECONDS", "50"),
    ("MEDIA_STALL_SECONDS", "0"),
)
LOST_S = 60.0
"""A frame that has not come through by then never will: the call is over."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contenders", default="gateway,passthrough", help=f"of {', '.join(contenders.CONTENDERS)}")
    options = parser.parse_args()
    if shutil.which("callgrind_control") is None:
        print("valgrind is not installed: there is nothing to count with.")
        return 1
    print(f"{'':18}{'listening':>11}{'talking adds':>14}   M instructions per call-second")
    for name in options.contenders.split(","):
        listening, talking = uvloop.run(count(contenders.CONTENDERS[name]))
        print(f"{name:18}{listening:11.2f}{talking:14.2f}", flush=True)
    return 0


async def count(contender: contenders.Contender) -> tuple[float, float]:
    """Million instructions for a second of listening, and what a second of talking adds."""
    far = trial.FarSides()
    with tempfile.TemporaryDirectory(prefix="voice-gateway-bench-") as folder:
        watched = contenders.watched(contender, ("valgrind", *OPTIONS, f"--callgrind-out-file={folder}/out"), SETTINGS)
        core = contenders.cores()[1]
        async with far.listening(), contenders.running(watched, far.model_port, core, patience_s=300) as gateway:
            for _ in range(CALLS):
                await far.open(gateway.port)
            far.metronome.clear()
            await asyncio.sleep(SETTLE_S)
            await _pour(far, FRAMES // 5)
            await _control("-z", gateway.pid)
            await _pour(far, FRAMES)
            listening = await _dump(folder, gateway.pid)
            far.talk()
            await asyncio.sleep(SETTLE_S)
            await _control("-z", gateway.pid)
            before = sum(model.deltas for model in far.models)
            await asyncio.sleep(TALKING_S)
            talking = await _dump(folder, gateway.pid)
            talked_s = (sum(model.deltas for model in far.models) - before) * DELTA_S
    return listening / FRAMES * 50 / 1e6, talking / talked_s / 1e6


async def _pour(far: trial.FarSides, frames: int) -> None:
    """As many frames as asked for, over all calls; a phone waits until the model has nearly all that it said."""
    for phone, call in zip(far.phones, far.calls, strict=True):
        phone.mark_never()
        call.marked_at = None
    for number in range(frames):
        turn = number % CALLS
        goal = far.models[turn].appends + 1
        far.phones[turn].beat()
        async with asyncio.timeout(LOST_S):
            while far.models[turn].appends < goal:  # noqa: ASYNC110 - an event for each frame would cost more
                await asyncio.sleep(0)


async def _control(order: str, pid: int) -> None:
    process = await asyncio.create_subprocess_exec(
        "callgrind_control", order, str(pid), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    await asyncio.wait_for(process.wait(), 60)


async def _dump(folder: str, pid: int) -> int:
    await _control("-d", pid)
    newest = max(Path(folder).glob("out*"), key=os.path.getmtime)  # noqa: ASYNC240 - nothing is measured meanwhile
    return total(newest.read_text(errors="replace"))


def total(dump: str) -> int:
    """All instructions of a callgrind dump."""
    return max(int(figure) for figure in re.findall(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE))


if __name__ == "__main__":
    sys.exit(main())
