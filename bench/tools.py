"""What a tool call costs beside the tool's own work, and what fifty calls that use tools do to the sound of calls.

alone    in this process: from the model's function call to its output ready to be sent: bridge, schema check, dispatch,
         effects once, the answer as JSON, both entries of the record. Milliseconds; goal: p99 of 2.
between  in a gateway of its own on another core, with calls that talk all the time: from the function call at the
         model's socket until its output is there again; for `handoff_to`, until the `session.update` with the other
         persona is there, which the model confirms at once. Goal for that: 10 ms.
handoff  in this process: our own part of a handoff, and of telling another session what was said (bench/handoff.py).
sound    the same calls, by turns with and without tools: the delays of `bench/run.py` over all seconds, and over the
         quiet ones: in them and just before them nobody else, a hypervisor included, had more than 1 % of either core.
         Goal: p99 of 5 with tools.

`idle` tools do nothing (bench/idle_tools.py); `lookup_menu` and `take_message` are the house's, over SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import orjson
import uvloop

from bench import contenders, handoff, trial
from bench.figures import Span, percentile
from bench.idle_tools import ARGUMENTS
from bench.run import wait_for_quiet
from bench.sides import Model
from voice_gateway.agent.cast import Role
from voice_gateway.agent.own import whole_toolbox
from voice_gateway.agent.personas import Persona
from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.journal import Journal
from voice_gateway.model import outgoing
from voice_gateway.ops import logs
from voice_gateway.store.local_rows import LocalRows
from voice_gateway.store.records import new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.store.tables import Tables
from voice_gateway.workshop import Workshop

IDLE_TOOLS = str(contenders.ROOT / "bench" / "idle_tools.py")
IDLE = ("on_the_loop", "in_a_thread", "once")
HOUSE = (
    ("lookup_menu", '{"query":"two cappuccinos, please"}'),
    ("take_message", '{"name":"Aline","message":"Please call me back, %d"}'),
)
ASK_AT_S = (0.7, 1.3)
"""When in each answer's two seconds a tool is called: the model has said all by then, and the caller hears it."""

OVERHEAD_GOAL_MS, SOUND_GOAL_MS = 2.0, 5.0
QUIET_SHARE = 0.0101
PERSONA = """
name = "Bench"
greeting = ""
tools = ["on_the_loop", "in_a_thread", "once", "lookup_menu", "take_message", "handoff_to"]
handoff = ["{other}"]
instructions = "You are {own}, and you are measured."
"""
PERSONAS = {"first": "second", "second": "first"}
HANDOFF = "handoff_to"


def main() -> int:
    options = _options()
    far_core, gateway_core = contenders.cores()
    os.sched_setaffinity(0, {far_core})
    logs.configure("error")
    wait_for_quiet(far_core, options.patience)
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print(f"{'alone':28}{'calls':>8}{'p50':>9}{'p99':>9}{'worst':>9}{'loop p50':>9}{'loop p99':>9}", end="")
    print(f"   ms; goal: p99 of {OVERHEAD_GOAL_MS:g}")
    for name, (took, worked) in uvloop.run(alone(options.count)).items():
        _tell(name, took, worked)
    print("loop: processor time of the event loop's thread, which is what other calls wait for; others on this machine")
    print("do not lengthen it by taking turns.")
    for name, took in handoff.measure(options.count).items():
        _tell(f"handoff, {name}", took)
    wait_for_quiet(gateway_core, options.patience)
    found = uvloop.run(between(options.calls, options.seconds, options.rounds, gateway_core))
    print(f"\n{f'between, {options.calls} calls':28}{'calls':>8}{'p50':>9}{'p99':>9}{'worst':>9}   ms")
    for name, took in found.took.items():
        _tell(name, took)
    _tell_sound(found)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000, help="tool calls of each kind, alone")
    parser.add_argument("--calls", type=int, default=50, help="calls at once")
    parser.add_argument("--seconds", type=int, default=10, help="of each turn, with and without tools")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each kind")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for a quiet machine, each time")
    return parser.parse_args()


def _tell(name: str, took: list[float], worked: list[float] | None = None) -> None:
    figures = [percentile(took, 0.5), percentile(took, 0.99), max(took)]
    if worked is not None:
        figures += [percentile(worked, 0.5), percentile(worked, 0.99)]
    print(f"{name:28}{len(took):8}" + "".join(f"{figure:9.3f}" for figure in figures), flush=True)


# --- alone ------------------------------------------------------------------------------------------------------


Took: TypeAlias = tuple[list[float], list[float]]
"""Milliseconds of each call, by the clock and of the event loop's processor time."""


async def alone(count: int) -> dict[str, Took]:
    """Each tool called again and again, one call after the other."""
    with tempfile.TemporaryDirectory(prefix="voice-gateway-bench-") as folder:
        path = Path(folder) / "bench.sqlite3"
        async with _desk(path) as ask:
            gc.collect()
            gc.freeze()  # as the gateway does at its start
            took = {f"idle, {name}": await _many(ask, name, ARGUMENTS, 20 + count) for name in IDLE}
            for name, arguments in HOUSE:
                took[f"{name}, with its own work"] = await _many(ask, name, arguments, 20 + count // 3)
            return took


Ask = Callable[[str, str, str], Awaitable[str]]


@asynccontextmanager
async def _desk(path: Path) -> AsyncIterator[Ask]:
    """A call's bridge, record and tools without legs: gives what asks a tool as a model would."""
    store = SqliteStore(path)
    await store.start()
    toolbox = whole_toolbox([IDLE_TOOLS], [])
    role = Role(Persona("bench", "Bench", "You are measured."), toolbox)
    workshop = Workshop(Tables(LocalRows(path)), role=lambda _: role, tell=lambda _sid, _event: True)
    await workshop.start()
    journal = Journal(store, wall_clock=lambda: datetime.now(UTC), new_id=new_id)
    facts = ev.CallFacts("CA" + "b" * 32, "+15550100001", "+15550100002", persona="bench")
    record, bridge = journal.open(facts), Bridge(Policy(), 0.0)
    for event in (ev.CallerJoined("MZ1"), ev.ModelReady("sess_1", "bench")):
        bridge.handle(event, 0.0)

    async def ask(call_id: str, name: str, arguments: str) -> str:
        sent, now = "", 1.0  # the bridge's clock stands: nobody answers here when it asks the model to speak
        waiting = bridge.handle(ev.ToolCalled("resp_1", f"item_{call_id}", call_id, name, arguments), now)
        while waiting:
            command = waiting.pop(0)
            if isinstance(command, do.WriteEntry):
                record.write(command.entry)
            elif isinstance(command, do.RunTool):
                output, worked = await workshop.run(facts, command.name, command.arguments)
                waiting += bridge.handle(ev.ToolFinished(command.call_id, output, worked), now)
            elif isinstance(command, do.SendToolOutput):
                sent = outgoing.encode(outgoing.message(command)).decode()
        return sent

    try:
        yield ask
    finally:
        await workshop.close()
        await store.close()


async def _many(ask: Ask, name: str, arguments: str, count: int) -> Took:
    took, worked = [], []
    for number in range(count):
        given = arguments % number if "%d" in arguments else arguments
        # Each is another wish: what has an effect would only be told again.
        given = given.replace("rw-cap", f"item-{number}") if given == ARGUMENTS else given
        began, working = time.perf_counter(), time.thread_time()
        sent = await ask(f"{name}_{number}", name, given)
        worked.append(1000 * (time.thread_time() - working))
        took.append(1000 * (time.perf_counter() - began))
        if not sent or '{\\"error' in sent:
            raise RuntimeError(f"{name} does not work: {sent}")
        if number % 50 == 0:
            await asyncio.sleep(0.05)  # the record's writer has its own thread; it is not to be overrun
    return took[20:], worked[20:]


# --- between ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Second:
    """in_ms, out_ms: delays. core: the gateway's share of its core.

    others: everybody else's of either, the more, in this second or the one before.
    """

    tooled: bool
    in_ms: list[float]
    out_ms: list[float]
    core: float
    others: float


@dataclass
class Found:
    """took: milliseconds by tool."""

    took: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[Second] = field(default_factory=list)


class Asking(Model):
    """A model that also calls tools, while its answer is being heard."""

    def __init__(self, configured: asyncio.Queue[Model]) -> None:
        super().__init__(configured)
        self.took: dict[str, list[float]] = {}
        self.asks = False
        self._asked: dict[str, tuple[str, float]] = {}
        self._count = 0
        self._session: dict[str, Any] = {}
        self._persona = "first"
        self._swap_at = 0.0

    def _answer(self, length_s: float, every_s: float, interrupted_after_s: float) -> None:
        super()._answer(length_s, every_s, interrupted_after_s)
        if self.asks:
            for at_s in ASK_AT_S:
                self._loop.call_later(at_s, self._ask)

    def _ask(self) -> None:
        if self.gone or not self.asks or self.call is None:
            return
        self._count += 1
        swap = (HANDOFF, orjson.dumps({"persona": PERSONAS[self._persona]}).decode())
        tools = [*((name, ARGUMENTS) for name in IDLE), *HOUSE, swap]
        name, arguments = tools[self._count % len(tools)]
        if "%d" in arguments:
            arguments %= self._count
        call_id, response_id = f"call_{self._count}", f"tool_resp_{self._count}"
        arguments = arguments.replace("rw-cap", f"item-{call_id}") if name in IDLE else arguments
        item = {"id": f"tool_{self._count}", "type": "function_call", "call_id": call_id, "name": name}
        whole = item | {"status": "completed", "arguments": arguments}
        response = {"id": response_id, "object": "realtime.response"}
        self._say({"type": "response.created", "response": response | {"status": "in_progress"}})
        added = {"response_id": response_id, "item": item | {"status": "in_progress", "arguments": ""}}
        self._say({"type": "response.output_item.added"} | added)
        self._asked[call_id] = (name, time.monotonic())
        self._swap_at = time.monotonic() if name == HANDOFF else 0.0
        self._say({"type": "response.output_item.done", "response_id": response_id, "item": whole})
        self._say({"type": "response.done", "response": response | {"status": "completed", "output": [whole]}})

    def _change(self, session: dict[str, Any]) -> None:
        """Another persona, in the same session."""
        if self._swap_at:
            self.took.setdefault(f"{HANDOFF}, to the update", []).append(1000 * (time.monotonic() - self._swap_at))
            self._swap_at, self._persona = 0.0, PERSONAS[self._persona]
        changed = session.get("audio", {})
        audio = {leg: known | changed.get(leg, {}) for leg, known in self._session["audio"].items()}
        self._session = self._session | session | {"audio": audio}
        self._say({"type": "session.updated", "event_id": "event_2", "session": self._session})

    def told(self, payload: bytes) -> None:
        if b"session.update" in payload[:50]:
            session = orjson.loads(payload)["session"]
            if self._session:
                self._change(session)
                return
            self._session = session | {"id": "sess_1"}
        if b"conversation.item.create" not in payload[:60]:
            super().told(payload)
            return
        item = orjson.loads(payload)["item"]
        name, asked_at = self._asked.pop(item.get("call_id", ""), ("", 0.0))
        if name and name != HANDOFF:
            self.took.setdefault(name, []).append(1000 * (time.monotonic() - asked_at))
            if '"error"' in item["output"][:12]:
                raise RuntimeError(f"{name} does not work: {item['output'][:200]}")


async def between(calls: int, seconds: int, rounds: int, core: int) -> Found:
    """Calls that talk, by turns with and without tools, in one gateway."""
    found, far = Found(), trial.FarSides(Asking)
    with tempfile.TemporaryDirectory(prefix="voice-gateway-bench-") as folder:
        for own, other in PERSONAS.items():
            (Path(folder) / f"{own}.toml").write_text(PERSONA.format(own=own, other=other))
        settings = (("TOOLS_MODULES", IDLE_TOOLS), ("PERSONAS_DIR", folder), ("DEFAULT_PERSONA", "first"))
        gateway = contenders.CONTENDERS["gateway"]
        contender = replace(gateway, settings=(*gateway.settings, *settings))
        async with far.listening(), contenders.running(contender, far.model_port, core) as running:
            for _ in range(calls):
                await far.open(running.port)
            await asyncio.sleep(trial.SETTLE_S)
            far.talk()
            for number in range(2 * rounds + 1):  # the first turn, with tools, only warms up
                tooled = number % 2 == 0
                for model in far.models:
                    model.asks = tooled
                await asyncio.sleep(trial.ANSWER_EVERY_S + 0.2)
                if number == 0:
                    for model in far.models:
                        model.took.clear()
                    continue
                found.seconds += await _turn(far, running.pid, core, seconds, tooled=tooled)
            if far.lost:
                raise RuntimeError(f"{far.lost} of {2 * calls} connections were lost")
            for model in far.models:
                for name, took in model.took.items():
                    found.took.setdefault(name, []).extend(took)
            await far.close()
    return found


async def _turn(far: trial.FarSides, pid: int, core: int, count: int, *, tooled: bool) -> list[Second]:
    seconds = [await _second(far, pid, core, tooled=tooled) for _ in range(count + 1)]
    return [replace(each, others=max(each.others, before.others)) for before, each in pairwise(seconds)]


async def _second(far: trial.FarSides, pid: int, core: int, *, tooled: bool) -> Second:
    span = await Span.begin(pid, core, counts=False)
    far.forget()
    await asyncio.sleep(1.0)
    spent = span.end()
    others = max(spent.others_share, spent.others_far_share)
    return Second(tooled, far.in_ms, far.out_ms, spent.gateway_s / spent.seconds, others)


def _tell_sound(found: Found) -> None:
    heads = ("seconds", "in p50", "in p99", "out p50", "out p99", "core")
    print(
        f"\n{'sound':28}"
        + "".join(f"{head:>9}" for head in heads)
        + f"   ms; goal: p99 of {SOUND_GOAL_MS:g} with tools"
    )
    for name, most in (("", 1.0), (", quiet", QUIET_SHARE)):
        for tooled in (False, True):
            seconds = [each for each in found.seconds if each.tooled == tooled and each.others <= most]
            cells = [
                percentile([delay for each in seconds for delay in delays(each)], share)
                for delays in (attrgetter("in_ms"), attrgetter("out_ms"))
                for share in (0.5, 0.99)
            ]
            core = statistics.median([each.core for each in seconds]) if seconds else math.nan
            print(f"{('with tools' if tooled else 'without tools') + name:28}{len(seconds):9}", end="")
            print("".join(f"{cell:9.2f}" for cell in cells) + f"{core:9.0%}")
    print(f"Others had up to {max(each.others for each in found.seconds):.0%} of a core.")


if __name__ == "__main__":
    sys.exit(main())
