"""How fast our voice falls silent when a caller interrupts, and how often it is held for nobody.

    python bench/barge_in.py                    about a minute; --callers 24 --seconds 120 for the whole
    python bench/barge_in.py --one-way-ms 80

The bridge, the detector and the emulated carrier's line are the real ones; the clock is not, so the figures do not
depend on the machine. The carrier is --one-way-ms away, its packets up to --jitter-ms later, and it collects
--jitter-buffer-ms before it plays. Our voice is a synthetic one, the callers are recordings of real people.

Silence is counted from a caller's first sound at his mouth to the last sound of ours in his ear. In server mode that
depends on when the model's word comes: it is counted for some delays of that word (from the caller's first sound at the
gateway to `speech_started` back there), because how long a real model takes depends on the model and the way to it.

Holds for nobody are counted in whole calls in which the model never says a word, so all of them are in vain. The echo
is what the ear really hears, later and weaker, so it stops when we stop.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from bench import line_sounds as sounds
from bench.line_sounds import RATE_HZ, Sound
from voice_gateway.audio import g711
from voice_gateway.audio.activity import Silero
from voice_gateway.audio.onset import OnsetDetector
from voice_gateway.call import commands as do
from voice_gateway.call import events as ev
from voice_gateway.call.bridge import Bridge, Policy
from voice_gateway.emulator.phone_line import PlayoutLine, render
from voice_gateway.emulator.weather import Weather

FRAME_S = 0.02
WORDS_AFTER_MS = (150, 300, 500)
"""Delays of the model's word that are counted in server mode."""


@dataclass
class Call:
    """One call in emulated time. mouth: what the caller's telephone sends, without our echo."""

    weather: Weather
    mouth: Sound
    ours: bytes
    silero: Silero | None = None
    echo_loss_db: float | None = None
    echo_delay_s: float = 0.0
    word_at: float | None = None
    now: float = 0.0
    cleared: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = PlayoutLine(self.weather)
        self.chance = self.weather.chance("from the mouth")
        policy = Policy(audio_format="pcmu", barge_in_mode="server" if self.silero is None else "edge", confirm_s=0.7)
        self.bridge = Bridge(policy, 0.0, None if self.silero is None else OnsetDetector(self.silero))

    def run(self) -> Call:
        """From the first frame to the last; our voice begins after half a second."""
        self.tell(ev.ModelReady("sess_1", "bench"))
        self.tell(ev.CallerJoined("MZ1"))
        began = False
        arrives = 0.0
        for k in range(len(self.mouth) // 160):
            taken = (k + 1) * FRAME_S
            late = self.chance.uniform(0.0, self.weather.jitter_s) if self.weather.jitter_s else 0.0
            arrives = max(arrives, taken + self.weather.one_way_s + late)
            self.pass_until(arrives)
            if not began and taken >= 0.5:
                began = True
                self.speak()
            if self.word_at is not None and self.now >= self.word_at:
                self.word_at = None
                self.tell(ev.SpeechStarted("user_1", 0))
            self.tell(ev.CallerAudio(self.frame(k), 20 * k))
        return self

    def speak(self) -> None:
        self.tell(ev.ResponseStarted("resp_1"))
        for start in range(0, len(self.ours), 800):
            self.tell(ev.AudioReceived("resp_1", "item_1", 0, self.ours[start : start + 800]))
        self.tell(ev.AudioFinished("resp_1", "item_1", 0))
        self.tell(ev.ResponseFinished("resp_1", "completed"))

    def frame(self, k: int) -> bytes:
        said = self.mouth[k * 160 : (k + 1) * 160]
        if self.echo_loss_db is not None:
            start = k * FRAME_S - self.echo_delay_s
            heard = g711.decode(render(self.line.played(self.now), start, start + FRAME_S))
            said = said + heard * 10 ** (-self.echo_loss_db / 20)
        return sounds.to_ulaw(said)

    def pass_until(self, end: float) -> None:
        while True:
            woken, marked = self.bridge.deadline(), self.line.deadline()
            back = None if marked is None else marked + self.weather.one_way_s
            due = min((at for at in (woken, back, self.word_at) if at is not None), default=end)
            if due > end:
                break
            self.now = max(self.now, due)
            if back == due:
                for mark in self.line.due(self.now - self.weather.one_way_s + 1e-9):  # there and back is not exact
                    self.tell(ev.MarkReached(mark.name))
            if self.word_at == due:
                self.word_at = None
                self.tell(ev.SpeechStarted("user_1", 0))
            elif woken == due:
                self.tell(ev.Woke())
        self.now = max(self.now, end)

    def tell(self, event: ev.Event) -> None:
        for command in self.bridge.handle(event, self.now):
            match command:
                case do.PlayAudio():
                    self.line.receive(self.now, command.ulaw)
                case do.SendMark():
                    self.line.mark(self.now, command.name)
                case do.ClearPlayout():
                    self.line.clear(self.now)
                    self.cleared.append(self.now)


def silence_after(call: Call, spoke_at: float) -> float | None:
    """Seconds from the caller's first sound to the last of ours before the first pause of a quarter second."""
    last = spoke_at
    for segment in call.line.schedule:
        if segment.end_s <= spoke_at:
            continue
        if segment.start_s > last + 0.25:
            return last - spoke_at
        last = segment.end_s
    return last - spoke_at if last < call.now - 0.25 else None


def reaction(args: argparse.Namespace, ours: bytes, people: list[Sound], word_ms: int, silero: Silero | None,
             loss_db: float | None) -> tuple[list[float], int, int]:  # fmt: skip
    """Times to silence; callers who were not heard before the model's word; holds before anybody spoke."""
    chance = np.random.default_rng(11)
    times, missed, early = [], 0, 0
    for k, person in enumerate(people):
        spoke_at = 0.02 * int(chance.integers(125, 250))
        weather = weather_of(args, seed=k)
        mouth = sounds.noise(chance, spoke_at + 2.5, -60)
        start = round((spoke_at - sounds.LEAD_S) * RATE_HZ)
        mouth[start:] += person[: len(mouth) - start]
        call = Call(
            weather, mouth, ours, silero, loss_db, float(chance.choice([0.04, 0.12, 0.2, 0.3])),
            word_at=spoke_at + weather.one_way_s + word_ms / 1000,
        ).run()  # fmt: skip
        early += sum(at < spoke_at for at in call.cleared)
        quiet = silence_after(call, spoke_at)
        if quiet is None or (silero is not None and quiet > (word_ms / 1000 + weather.one_way_s)):
            missed += 1
        if quiet is not None:
            times.append(quiet)
    return times, missed, early


def weather_of(args: argparse.Namespace, seed: int = 0) -> Weather:
    return Weather(
        one_way_s=args.one_way_ms / 1000,
        jitter_s=args.jitter_ms / 1000,
        jitter_buffer_s=args.jitter_buffer_ms / 1000,
        seed=seed,
    )


def print_reaction(args: argparse.Namespace, ours: bytes, people: list[Sound], silero: Silero) -> None:
    print(f"caller's first sound -> silence in his ear; {len(people)} callers and our voice at -20 dBFS")
    print(f"carrier {args.one_way_ms} ms away, jitter {args.jitter_ms} ms, buffer {args.jitter_buffer_ms} ms\n")
    print(f"{'mode':<8} {'echo':>7} {'model word':>11} {'p50 ms':>7} {'p90 ms':>7} {'max ms':>7}  not held  held early")
    rows: list[tuple[str, float | None, int]] = [("server", None, word) for word in WORDS_AFTER_MS]
    rows += [("edge", loss, 500) for loss in (None, 40.0, 20.0)]
    for mode, loss_db, word_ms in rows:
        judge = silero if mode == "edge" else None
        times, missed, early = reaction(args, ours, people, word_ms, judge, loss_db)
        p50, p90, most = (1000 * float(np.percentile(times, q)) for q in (50, 90, 100))
        echo = "none" if loss_db is None else f"-{loss_db:.0f} dB"
        unheard = f"{missed:>8} {early:>11}" if judge else f"{'':>8} {'':>11}"
        print(f"{mode:<8} {echo:>7} {word_ms:>8} ms {p50:7.0f} {p90:7.0f} {most:7.0f}  {unheard}")


def print_in_vain(args: argparse.Namespace, ours: bytes, people: list[Sound], silero: Silero) -> None:
    chance = np.random.default_rng(5)
    seconds = args.seconds
    quiet = sounds.noise(chance, seconds, -60)
    rooms: list[tuple[str, Callable[[], Sound], float | None]] = [
        ("echo -40 dB", lambda: quiet, 40.0),
        ("echo -20 dB", lambda: quiet, 20.0),
        ("echo -12 dB", lambda: quiet, 12.0),
        ("echo -6 dB", lambda: quiet, 6.0),
        ("white noise -50 dBFS", lambda: sounds.noise(chance, seconds, -50), None),
        ("white noise -30 dBFS", lambda: sounds.noise(chance, seconds, -30), None),
        ("pink noise -40 dBFS", lambda: sounds.noise(chance, seconds, -40, pink=True), None),
        ("keys, knocks", lambda: quiet + sounds.keys(seconds) + np.roll(sounds.knocks(chance, seconds), 6000), None),
        ("coughs", lambda: quiet + sounds.coughs(chance, seconds), None),
    ]
    for voices in (8, 4, 2, 1):
        for dbfs in (-45, -40, -35, -30):
            if people:
                far = lambda v=voices, d=dbfs: quiet + sounds.babble(chance, people, v, seconds, d)  # noqa: E731 - a row
                rooms.append((f"{voices} far voice{'s' * (voices > 1)} {dbfs} dBFS", far, None))
    print(f"\nholds in vain per minute of our voice, {seconds:.0f} s each, nobody ever confirmed\n")
    for name, room, loss_db in rooms:
        holds = spoken = 0.0
        for delay_s in (0.04, 0.12, 0.2, 0.3) if loss_db is not None else (0.0,):
            call = Call(weather_of(args), room(), ours, silero, loss_db, delay_s).run()
            holds += len(call.cleared)
            spoken += sum(segment.length for segment in call.line.played(call.now)) / RATE_HZ / 60
        print(f"{name:<26} {holds / spoken:6.1f}   ({holds:.0f} in {60 * spoken:.0f} s)")


def print_cost(ours: bytes, silero: Silero) -> None:
    print("\nthe detector while our voice is audible, µs a frame")
    for name, dbfs in (("a silent line, -65 dBFS", -65.0), ("a noisy line, -45 dBFS", -45.0)):
        came = sounds.to_ulaw(sounds.noise(np.random.default_rng(0), 20, dbfs))
        detector = OnsetDetector(silero)
        detector.begin(came[:8000], None)
        began = time.thread_time()  # what others do on this machine is no cost of ours
        for start in range(0, len(came) - 159, 160):
            if start % 1600 == 0:
                detector.play(ours[start : start + 1600], start)
            detector.hear(came[start : start + 160], start + 160)
        spent = 1e6 * (time.thread_time() - began) / (len(came) // 160)
        print(f"{name:<26} {spent:6.0f}   ({spent / 200:.2f} % of a core)")


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast our voice stops, and how often it is held for nobody.")
    parser.add_argument("--one-way-ms", type=int, default=50)
    parser.add_argument("--jitter-ms", type=int, default=10)
    parser.add_argument("--jitter-buffer-ms", type=int, default=60)
    parser.add_argument("--callers", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    people = sounds.callers()
    once = sounds.to_ulaw(sounds.our_voice())
    ours = once * (1 + int(args.seconds * 2 * RATE_HZ / len(once)))
    silero = Silero()
    if people:
        print_reaction(args, once, people[: args.callers], silero)
    else:
        print("no recordings: set VOICE_GATEWAY_SHARED to the folder with data/orders for callers and far voices")
    print_in_vain(args, ours, people, silero)
    print_cost(once, silero)


if __name__ == "__main__":
    main()
