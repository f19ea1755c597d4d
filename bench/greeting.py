"""From the media stream's start to the first sound in the caller's ear: spoken by the model, and from a clip.

Whole calls over loopback without any network delay, by the emulated carrier's own ledger. The emulated model takes as
long as was seen of the real one: 30 ms to `response.created`, then 0.4 s to its first sound.

    python bench/greeting.py --calls 10
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from voice_gateway.cli.stage import Stage, stage
from voice_gateway.emulator.realtime import RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice
from voice_gateway.emulator.weather import CALM
from voice_gateway.ops import logs

GREETING = "Hello, and welcome! What can I get you today?"
"""The built-in persona's: only what it was asked to say becomes a clip."""


async def first_sound_ms(running: Stage) -> float:
    call = await running.carrier.dial(running.webhook_url)
    await call.answered()
    await call.until_heard(1.0)
    await call.hang_up()
    assert call.first_heard_s is not None
    return (call.first_heard_s - call.stream_at_s) * 1000


async def measure(calls: int, clips: str) -> list[float]:
    model = RealtimeServer(mind=ScriptedMind([GREETING] * (calls + 1)), voice=ToneVoice())
    with tempfile.TemporaryDirectory() as folder:
        async with stage(model, Path(folder) / "calls.sqlite3", weather=CALM, settings={"GREETING_CLIPS": clips}) as on:
            await first_sound_ms(on)  # the one that is kept
            return [await first_sound_ms(on) for _ in range(calls)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5)
    calls = parser.parse_args().calls
    logs.configure("error")
    print(f"Stream's start to first sound, {calls} calls each")
    for name, clips in (("spoken by the model", "false"), ("from a clip", "true")):
        took = asyncio.run(measure(calls, clips))
        print(f"  {name:20}  median {statistics.median(took):6.1f} ms   worst {max(took):6.1f} ms")


if __name__ == "__main__":
    main()
