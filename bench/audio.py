"""What a frame of sound costs in the transcoder, next to soxr's HQ stream in the same run.

Every operation is timed in short slices, all of them in turn, so that a busy moment of the machine falls on all alike;
of each the cheapest slice is shown. Read the ratios: they travel between machines, microseconds do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soxr

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voice_gateway.audio import g711
from voice_gateway.audio.level import Level
from voice_gateway.audio.resample import Downsampler, Upsampler
from voice_gateway.audio.transcode import ToCaller, ToModel

SLICE = 200  # calls
LIMIT_US = 25.0
LIMIT_RATIO = 3.0


def operations() -> dict[str, Callable[[], object]]:
    """Each costs one 20 ms frame, but for those named by their length. The sound is speech-like noise."""
    noise = np.random.default_rng(1).normal(0, 3000, 4800).astype(np.int16)
    phone, model, delta = noise[:160], noise[:480], noise
    ulaw, pcm, pcm_200 = g711.encode(phone), model.tobytes(), delta.tobytes()
    soxr_up = soxr.ResampleStream(8000, 24_000, 1, dtype="int16", quality="HQ")
    soxr_down = soxr.ResampleStream(24_000, 8000, 1, dtype="int16", quality="HQ")
    upsampler, downsampler, to_model, to_caller, level = Upsampler(), Downsampler(), ToModel(), ToCaller(), Level()
    return {
        "soxr HQ stream up": lambda: soxr_up.resample_chunk(phone),
        "soxr HQ stream down": lambda: soxr_down.resample_chunk(model),
        "upsampler": lambda: upsampler.process(phone),
        "downsampler": lambda: downsampler.process(model),
        "µ-law decode": lambda: g711.decode(ulaw),
        "µ-law encode": lambda: g711.encode(phone),
        "to the model": lambda: to_model.process(ulaw),
        "to the caller": lambda: to_caller.process(pcm),
        "to the caller, 200 ms": lambda: to_caller.process(pcm_200),
        "level": lambda: level.add(ulaw),
    }


def timed(rounds: int) -> dict[str, list[float]]:
    """Microseconds a call of each operation, one figure a round."""
    todo = operations()
    costs: dict[str, list[float]] = {name: [] for name in todo}
    for _ in range(rounds):
        for name, operation in todo.items():
            start = time.perf_counter()
            for _ in range(SLICE):
                operation()
            costs[name].append((time.perf_counter() - start) / SLICE * 1e6)
    costs["soxr HQ stream, a pair"] = added(costs["soxr HQ stream up"], costs["soxr HQ stream down"])
    costs["transcoder, a pair"] = added(costs["to the model"], costs["to the caller"])
    return costs


def added(first: list[float], second: list[float]) -> list[float]:
    return [a + b for a, b in zip(first, second, strict=True)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="slices of each operation (default 100: about 2 s)")
    rounds = parser.parse_args().rounds
    if rounds < 1:
        parser.error("--rounds must be 1 or more")
    costs = timed(rounds)
    best = {name: min(cost) for name, cost in costs.items()}
    pair, peer = best["transcoder, a pair"], best["soxr HQ stream, a pair"]
    by_round = zip(costs["transcoder, a pair"], costs["soxr HQ stream, a pair"], strict=True)
    paired = statistics.median(ours / theirs for ours, theirs in by_round)
    print(f"Python {platform.python_version()}, numpy {np.__version__}, soxr {soxr.__version__}, ", end="")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(f"{'':24}{'µs':>8}{'of a soxr pair':>17}")
    for name, cost_us in best.items():
        print(f"{name:24}{cost_us:8.2f}{cost_us / peer:17.2f}")
    print(f"\nPair by pair, the median of all rounds: {paired:.2f} times soxr's resamplers alone.")
    kept = pair <= LIMIT_US or pair <= LIMIT_RATIO * peer
    print(
        f"\nTarget: a pair of frames within {LIMIT_US:.0f} µs, or {LIMIT_RATIO:.0f} times soxr's resamplers alone: ",
        end="",
    )
    print("kept" if kept else "missed")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
