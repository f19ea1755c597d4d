"""More and more talking calls on one core, until the caller's sound is late at the model."""

from __future__ import annotations

import asyncio

from bench.contenders import Contender, running
from bench.figures import Span, percentile
from bench.trial import ANSWER_EVERY_S, SETTLE_S, FarSides, cost

FIRST, STEP = 10, 50
BROKEN_MS = 20.0


async def climb(contender: Contender, core: int, seconds: float, most: int) -> int:
    """Print a line for each number of calls. Returns the last one whose "in" p99 was within 20 ms of the first's."""
    far = FarSides()
    base_ms, passed = None, 0
    print(f"{contender.name}: every bot talking, until in p99 is {BROKEN_MS:.0f} ms over that of {FIRST} calls")
    async with far.listening(), running(contender, far.model_port, core) as gateway:
        for calls in [FIRST, *range(STEP, most + 1, STEP)]:
            far.hush()
            while len(far.calls) < calls:
                await far.open(gateway.port)
            await asyncio.sleep(ANSWER_EVERY_S)
            far.talk()
            await asyncio.sleep(ANSWER_EVERY_S + SETTLE_S)
            span = await Span.begin(gateway.pid, core, counts=False)
            far.forget()
            await asyncio.sleep(seconds)
            spent = span.end()
            p99 = percentile(far.in_ms, 0.99)
            base_ms = p99 if base_ms is None else base_ms
            late = 1000 * percentile(far.metronome.lateness_s, 0.99)
            print(
                f"{calls:5} calls  in p50 {percentile(far.in_ms, 0.5):7.2f}  p99 {p99:7.2f}  out p99 "
                f"{percentile(far.out_ms, 0.99):7.2f} ms  {cost(spent, calls)[0]:6.2f} ms/call-s  core "
                f"{spent.gateway_s / spent.seconds:4.0%}  far sides {spent.far_share:4.0%} (late p99 {late:.1f} ms)  "
                f"others {spent.others_share:4.0%}",
                flush=True,
            )
            if far.lost or not p99 <= base_ms + BROKEN_MS:
                print(f"broken at {calls}; {passed} calls passed{', connections were lost' if far.lost else ''}\n")
                return passed
            passed = calls
        await far.close()
    print(f"not brought to failure: {passed} calls passed\n")
    return passed
