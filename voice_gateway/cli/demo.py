"""`voice-gateway demo`: a whole spoken call on this machine."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from voice_gateway import app
from voice_gateway.audio import wav
from voice_gateway.call import entries
from voice_gateway.cli.show import Screen, show_record
from voice_gateway.cli.stage import Stage, stage
from voice_gateway.config import Settings
from voice_gateway.emulator import speech
from voice_gateway.emulator.faculties import Voice
from voice_gateway.emulator.performance import Performance
from voice_gateway.emulator.realtime import RealtimeServer
from voice_gateway.emulator.scenarios import (
    HangUp,
    InterruptAfter,
    SayText,
    Scenario,
    ToneVoice,
    WaitForAnswer,
    scenario_named,
)
from voice_gateway.ops import logs

PHONE_RATE_HZ = 8000

DINNER = Scenario(
    "dinner",
    "asks what coffee there is, cuts the answer short with another question, and says goodbye",
    (
        WaitForAnswer(),
        SayText("Good evening. What coffee do you have?"),
        InterruptAfter(2.5, "Sorry, do you have grilled tilapia?"),
        WaitForAnswer(),
        SayText("And what does a cappuccino cost?"),
        WaitForAnswer(),
        SayText("Thank you very much, goodbye."),
        WaitForAnswer(),
        HangUp(),
    ),
)


def demo(
    wav_out: Annotated[
        Path, typer.Option("--wav", help="Where the call goes as a stereo WAV: left the caller, right what he heard.")
    ] = Path("var/demo/call.wav"),
    database: Annotated[
        Path | None, typer.Option(help="The SQLite file for the record; a temporary one when not given.")
    ] = None,
    tones: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--tones", help="Hum instead of speaking, as without the extra `local`.")
    ] = False,
) -> None:
    """Put a spoken call through the gateway, on this machine: no key, no network.

    A caller is greeted, asks, interrupts, is understood and answered, and hangs up.
    Everything but the two far sides is the real thing: webhook, media stream, transcoding, barge-in, tools, database.

    Times are those at which a thing is known: an assistant's turn when its last word was heard.

    Example: voice-gateway demo --wav my-call.wav
    """
    console = Console(highlight=False)
    missing = [] if tones else speech.missing()
    if missing:
        console.print(f"The offline voice is not installed ({', '.join(missing)}): you will hear tones, not words.")
        console.print("To be understood and answered in speech: make demo (or pip install -r requirements/local.txt)\n")
    logs.configure("warning")
    with tempfile.TemporaryDirectory() as folder:
        ok = asyncio.run(
            _run(console, database or Path(folder) / "demo.sqlite3", wav_out, spoken=not (missing or tones))
        )
    if not ok:
        raise typer.Exit(1)


async def _run(console: Console, database: Path, wav_out: Path, *, spoken: bool) -> bool:
    console.print("Starting the gateway between an emulated carrier and an emulated model ...", style="dim")
    scenario, model, voice = _cast(spoken=spoken)
    loop = asyncio.get_running_loop()
    dialled_at = loop.time()
    screen = Screen(console, lambda: loop.time() - dialled_at)
    heard: list[entries.Entry] = []

    def make(settings: Settings) -> app.Gateway:
        return app.build(settings, listeners=[screen.entry, lambda _facts, entry: heard.append(entry)])

    async with stage(model, database, make=make) as running:
        console.print(f"Dialling. The caller {scenario.about}.\n", style="dim")
        dialled_at = loop.time()
        call = await running.carrier.dial(running.webhook_url)
        await call.answered()
        await Performance(call, voice, lambda what, text: _tell(screen, what, text)).play(scenario)
        recording = call.recording()
        await _written(running, call.call_sid)
        row = await running.gateway.store.read_call(call.call_sid)
        events = await running.gateway.store.read_events(call.call_sid)
    wav_out.parent.mkdir(parents=True, exist_ok=True)
    wav.write(wav_out, recording, PHONE_RATE_HZ)
    length = f"{len(recording) / PHONE_RATE_HZ:.1f} s"
    console.print(
        f"\nThe call as it was: {wav_out}\n({length}; left the caller, right what the caller heard)", soft_wrap=True
    )
    console.print("\nRead back from the database:\n")
    if row is not None:
        show_record(console, row, events)
    return _came_out(console, heard)


def _cast(*, spoken: bool) -> tuple[Scenario, RealtimeServer, Voice]:
    """The scenario, the emulated model and the caller's voice."""
    if not spoken:
        scenario = scenario_named("menu")
        return scenario, RealtimeServer(mind=scenario.mind(), voice=ToneVoice(), ear=scenario.ear()), ToneVoice()
    ear, voice = speech.WhisperEar(), speech.HibariVoice()
    ear.load()
    voice.load()
    return DINNER, RealtimeServer(mind=speech.RuleMind(), voice=voice, ear=ear), speech.NanoVoice()


def _tell(screen: Screen, what: str, text: str) -> None:
    """What the caller does, as it begins."""
    if what == "interrupts":
        screen.line("caller", text, note="speaks into the answer")
    else:
        screen.line("caller", text or what, note="" if text == "" or what == "says" else what)


async def _written(running: Stage, call_sid: str) -> None:
    """Wait until the call is closed and on disk."""
    async with asyncio.timeout(10):
        while running.gateway.switchboard.find(call_sid) is not None:  # noqa: ASYNC110 - a gauge, not an event
            await asyncio.sleep(0.02)
    await running.gateway.store.flush()


def _came_out(console: Console, heard: list[entries.Entry]) -> bool:
    """Did the conversation happen as it should? Says what did not."""
    wanted = {
        "the caller was greeted": any(isinstance(e, entries.AssistantSpoke) and not e.interrupted for e in heard),
        "the caller was understood": any(isinstance(e, entries.UserSpoke) for e in heard),
        "the caller interrupted and was noticed": any(isinstance(e, entries.BargedIn) for e in heard),
        "the call was closed by its hang-up": any(
            isinstance(e, entries.CallEnded) and e.reason == "hangup" for e in heard
        ),
    }
    for sentence, happened in wanted.items():
        if not happened:
            console.print(f"This did not happen: {sentence}.", style="bold red")
    return all(wanted.values())
