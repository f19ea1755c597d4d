"""More and more talking calls on one core, until the caller's sound is late at the model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bench.contenders import Contender, Running, running
from bench.figures import Span, percentile
from bench.trial import ANSWER_EVERY_S, SETTLE_S, FarSides, cost

FIRST = 10
BROKEN_MS = 20.0
DISTURBED_SHARE, TRIES = 0.1, 4


@dataclass(frozen=True)
class Step:
    """One number of calls, measured once."""

    p99_ms: float
    lost: int
    others_share: float

    def holds(self, base_ms: float) -> bool:
        """Within 20 ms of what few calls had, and nobody lost. Without any figure it does not hold."""
        return not self.lost and self.p99_ms <= base_ms + BROKEN_MS


async def climb(contender: Contender, core: int, seconds: float, most: int, step_calls: int) -> int:
    """Print a line for each number of calls. Returns the last one whose "in" p99 was within 20 ms of the first's.

    A step that fails while others use the gateway's core is tried again: it tells nothing about the gateway.
    """
    far = FarSides()
    base_ms, passed = None, 0
    print(f"{contender.name}: every bot talking, until in p99 is {BROKEN_MS:.0f} ms over that of {FIRST} calls")
    async with far.listening(), running(contender, far.model_port, core) as gateway:
        for calls in [FIRST, *(calls for calls in range(step_calls, most + 1, step_calls) if calls > FIRST)]:
            while len(far.calls) < calls:
                await far.open(gateway.port)
            for _ in range(TRIES):
                step = await _measure(far, gateway, core, seconds)
                if step.lost or step.others_share <= DISTURBED_SHARE or (base_ms and step.holds(base_ms)):
                    break
            base_ms = step.p99_ms if base_ms is None else base_ms
            if not step.holds(base_ms):
                why = f"{step.lost} connections were lost" if step.lost else "too late"
                disturbed = ", but others used its core all the while" if step.others_share > DISTURBED_SHARE else ""
                print(f"broken at {calls} ({why}{disturbed}); {passed} calls passed\n")
                return passed
            passed = calls
        await far.close()
    print(f"not brought to failure: {passed} calls passed\n")
    return passed


async def _measure(far: FarSides, gateway: Running, core: int, seconds: float) -> Step:
    far.hush()
    await asyncio.sleep(ANSWER_EVERY_S)
    far.talk()
    await asyncio.sleep(ANSWER_EVERY_S + SETTLE_S)
    span = await Span.begin(gateway.pid, core, counts=False)
    far.forget()
    await asyncio.sleep(seconds)
    spent = span.end()
    late_ms = 1000 * percentile(far.metronome.lateness_s, 0.99)
    p99_ms = percentile(far.in_ms, 0.99)
    print(
        f"{len(far.calls):5} calls  in p50 {percentile(far.in_ms, 0.5):7.2f}  p99 {p99_ms:7.2f}  out p99 "
        f"{percentile(far.out_ms, 0.99):7.2f} ms  {cost(spent, len(far.calls))[0]:6.2f} ms/call-s  core "
        f"{spent.gateway_s / spent.seconds:4.0%}  far sides {spent.far_share:4.0%} (late p99 {late_ms:.1f} ms)  "
        f"others {spent.others_share:4.0%}",
        flush=True,
    )
    return Step(p99_ms, far.lost, spent.others_share)
