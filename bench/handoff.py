"""What a handoff costs of our own time, between a persona asked for and the model's session that is its own.

update    the same voice: from `HandoffAsked` to the `session.update` ready to be sent (who takes over is looked up, his
          settings and his policy are made, what differs is written), and from `session.updated` to the ask for the new
          persona's first words. The model's own time lies between the two and is not counted.
retell    another voice: from the quiet moment to all that the second session is told, for calls of some lengths.

The shipped personas, by turns. Milliseconds; goal: p99 of 10 for an update.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import orjson

from bench.figures import percentile
from voice_gateway import config
from voice_gateway.agent.cast import LivingCast, Sources
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge
from voice_gateway.call.handoff import TEXT_PATIENCE_S
from voice_gateway.makings import Makings
from voice_gateway.model import outgoing
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.settings import ModelSettings, session_payload
from voice_gateway.ops import logs
from voice_gateway.ops.metrics import Metrics

GOAL_MS = 10.0
A_CALL = 20
"""Handoffs, before another call is begun."""

TURNS = (10, 100, 400)
FACTS = ev.CallFacts("CA" + "b" * 32, "+15550100001", "+15550100002", persona="waiter")

Took: TypeAlias = list[float]
"""Milliseconds of each handoff."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="handoffs of each kind")
    options = parser.parse_args()
    logs.configure("error")
    print(f"{'handoff':24}{'count':>8}{'p50':>9}{'p99':>9}{'worst':>9}   ms; goal: p99 of {GOAL_MS:g} for an update")
    for name, took in measure(options.count).items():
        print(f"{name:24}{len(took):8}{percentile(took, 0.5):9.3f}{percentile(took, 0.99):9.3f}{max(took):9.3f}")
    return 0


def measure(count: int) -> dict[str, Took]:
    with tempfile.TemporaryDirectory(prefix="voice-gateway-bench-") as folder:
        environment = {
            "OPENAI_API_KEY": "sk-bench",
            "STORE_PATH": str(Path(folder) / "bench.sqlite3"),
            "MEDIA_STALL_SECONDS": "0",
        }
        settings = config.load(environment, env_file=None)
        cast = LivingCast(Sources(house_toolbox(), "waiter"), time.monotonic)
        metrics = Metrics(version="bench", personas=cast.keys, tools=[], models=[settings.openai_realtime_model])
        makings = Makings(settings, cast, metrics=metrics, secret=b"bench")
        took = {"update": list(updates(makings, count))[count // 20 :]}
        for turns in TURNS:
            told = list(retellings(makings, turns, max(20, count // turns)))
            took[f"retell, {turns} turns"] = told
        return took


def _call(makings: Makings) -> tuple[Bridge, Dialect]:
    """A call that was just answered, and its session."""
    bridge, dialect = Bridge(makings.policy(FACTS), 0.0), Dialect(makings.settings(FACTS))
    dialect.configure()
    (ready,) = dialect.read(_updated(makings.settings(FACTS)))
    _said(bridge, 0.0, ev.CallerJoined("MZ1"), ready)
    _speak(bridge, 0, 0.0)
    return bridge, dialect


def _updated(wanted: ModelSettings) -> bytes:
    """What the server says when it has taken them."""
    return orjson.dumps({"type": "session.updated", "session": {"id": "sess_1", **session_payload(wanted)}})


def _said(bridge: Bridge, now: float, *events: ev.Event) -> list[do.Command]:
    return [command for event in events for command in bridge.handle(event, now)]


def _speak(bridge: Bridge, number: int, now: float) -> None:
    """A turn of the caller's, and an answer that is heard to its end."""
    user, response, item = f"user_{number}", f"resp_{number}", f"item_{number}"
    text = "And what would that be in a month, if we took two of them?"
    _said(bridge, now, ev.SpeechStarted(user, 0), ev.SpeechStopped(user, 0), ev.UserTranscribed(user, text))
    _said(bridge, now, ev.ResponseStarted(response), ev.ItemStarted(response, item, "message"))
    _said(bridge, now, ev.TextFinished(response, item, text), ev.AudioReceived(response, item, 0, bytes(960)))
    _said(bridge, now, ev.AudioFinished(response, item, 0), ev.ResponseFinished(response, "completed"))


def updates(makings: Makings, count: int) -> Iterator[float]:
    """The waiter hands over to the finance chief, who hands over to the waiter, and so on."""
    for number in range(1, count + 1):
        persona = ("waiter", "cfo")[number % 2]
        if number % A_CALL == 1:
            (bridge, dialect), now = _call(makings), 0.0
        now += 10.0
        _said(bridge, now, ev.Woke())
        facts = replace(FACTS, persona=persona)
        began = time.perf_counter()
        _said(bridge, now, ev.HandoffAsked(persona, "api"))
        settings = makings.settings(facts)
        commands = _said(bridge, now, ev.HandoffReady(persona, makings.policy(facts)))
        sent = dialect.change(settings, persona)
        took = time.perf_counter() - began
        if do.UpdateSession(persona) not in commands or b'"instructions"' not in sent:
            raise RuntimeError(f"nothing was handed over to {persona}: {commands}")
        echo = _updated(settings)
        began = time.perf_counter()
        commands = _said(bridge, now, *dialect.read(echo))
        written = [outgoing.encode(outgoing.message(each)) for each in commands if isinstance(each, _TO_MODEL)]
        took += time.perf_counter() - began
        if not written or do.CreateResponse() not in commands:
            raise RuntimeError(f"{persona} does not speak: {commands}")
        _speak(bridge, number, now)
        yield 1000 * took


_TO_MODEL = (do.AddNote, do.AddLine, do.AddToolCall, do.SendToolOutput, do.CreateResponse)


def retellings(makings: Makings, turns: int, count: int) -> Iterator[float]:
    """Another session takes over a call of so many turns."""
    policy = makings.policy(replace(FACTS, persona="cfo"))
    for _ in range(count):
        bridge, _ = _call(makings)
        for number in range(1, turns // 2):
            _speak(bridge, number, float(number))
        now = 10.0 + turns
        _said(bridge, now, ev.HandoffAsked("cfo", "api"), ev.HandoffReady("cfo", policy, "sess_2", "other"))
        now += TEXT_PATIENCE_S  # no carrier sends receipts here
        began = time.perf_counter()
        commands = _said(bridge, now, ev.Woke())
        told = [outgoing.encode(outgoing.message(each)) for each in commands if isinstance(each, _TO_MODEL)]
        yield 1000 * (time.perf_counter() - began)
        if do.SwapModel("cfo") not in commands or len(told) < min(turns, 50):
            raise RuntimeError(f"nothing was told: {len(told)} of {turns}")


if __name__ == "__main__":
    sys.exit(main())
