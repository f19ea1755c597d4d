"""`voice-gateway demo`: a whole spoken call on this machine."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from voice_gateway import app
from voice_gateway.audio import wav
from voice_gateway.call import entries
from voice_gateway.cli.cast import Cast, cast, scenario_list, scenario_named, why_no_voice
from voice_gateway.cli.judging import Record, judge, tell_judgement
from voice_gateway.cli.record import Narrator, show_record
from voice_gateway.cli.show import Teller, latencies, weather_told
from voice_gateway.cli.stage import Stage, stage
from voice_gateway.cli.stopwatch import RATE_HZ, Waits, measure
from voice_gateway.cli.timeline import write_picture
from voice_gateway.emulator.carrier_office import Manners
from voice_gateway.emulator.performance import learn, perform
from voice_gateway.emulator.phone_call import PhoneCall
from voice_gateway.emulator.realtime import RealtimeServer
from voice_gateway.emulator.responses_server import ResponsesServer
from voice_gateway.emulator.scenarios import InterruptAfter, SayText, Scenario
from voice_gateway.emulator.speech import NanoVoice, RuleMind
from voice_gateway.emulator.text_mind import TextMind
from voice_gateway.emulator.weather import Weather
from voice_gateway.errors import GatewayError
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import mask_number

WEATHER = Weather()
CALLER, CALLED = "+15550100001", "+15550100002"


@dataclass(frozen=True, slots=True)
class Outcome:
    """All there is to know about the call afterwards. sound: left the caller, right what he heard, 8 kHz.

    by_script: the model's answers were written down beforehand.
    """

    call: PhoneCall
    entries: Sequence[entries.Entry]
    row: Mapping[str, Any] | None
    events: Sequence[Mapping[str, Any]]
    sound: NDArray[np.int16]
    waits: Waits
    by_script: bool = False


def demo(
    scenario: Annotated[
        str,
        typer.Option(help=f"Who calls, and so who answers. {scenario_list()}. See `call --help`."),
    ] = "dinner",
    wav_out: Annotated[
        Path, typer.Option("--wav", help="Where the call goes as a stereo WAV: left the caller, right what he heard.")
    ] = Path("var/demo/call.wav"),
    database: Annotated[Path, typer.Option(help="The SQLite file that the call is written to.")] = Path(
        "var/demo/calls.sqlite3"
    ),
    tones: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--tones", help="Hum instead of speaking, as without the extra `local`.")
    ] = False,
) -> None:
    """Put a spoken call through the gateway, on this machine: no key, no network.

    A caller is greeted, asks, interrupts, is understood and answered, and takes his leave.

    Everything but the two far sides is the real thing: webhook, media stream, transcoding, barge-in, tools, database.

    Example: voice-gateway demo --wav my-call.wav
    """
    logs.configure("warning")
    teller = Teller()
    played = scenario_named(scenario)
    if reason := "" if tones else why_no_voice():
        teller.out(f"{reason}\nUntil then the call is hummed, and its answers are written beforehand.", "yellow")
        teller.blank()
    with tempfile.TemporaryDirectory() as traces:
        outcome = asyncio.run(_run(teller, played, _prepare(database), Path(traces), spoken=not (tones or reason)))
        wav_out.parent.mkdir(parents=True, exist_ok=True)
        wav.write(wav_out, outcome.sound, RATE_HZ)
        pictures = [_keep_picture(trace, wav_out) for trace in Path(traces).iterdir()]
    _tell_figures(teller, outcome, wav_out)
    for picture in pictures:
        teller.out(f"  To look at:   {picture} (both voices, the waits, and what was not heard)", "bold")
    if outcome.row is not None:
        show_record(teller, outcome.row, outcome.events)
        teller.blank()
        teller.out(f"  The database, with full numbers: {database}", "dim")
    failings = list(_failings(outcome, played))
    for failing in failings:
        teller.failure(f"The conversation did not come out: {failing}.")
    missed = _judge(teller, outcome, played)
    raise typer.Exit(1 if failings or missed else 0)


def _judge(teller: Teller, outcome: Outcome, scenario: Scenario) -> list[str]:
    """Tell whether the scenario came out, where a mind of its own has answered."""
    if outcome.row is None or outcome.by_script:
        return []
    record = Record(outcome.row, outcome.events)
    happened = record.happened(outcome.call.outcome)
    missed = judge(scenario, happened, record.day(None))
    teller.blank()
    tell_judgement(teller, scenario, happened, missed)
    return missed


def _prepare(database: Path) -> Path:
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(database) as file:
            file.execute("pragma schema_version")
    except (OSError, sqlite3.DatabaseError) as error:
        raise GatewayError(f"--database {database} cannot be used: {error}") from error
    return database


def _keep_picture(trace: Path, wav_out: Path) -> Path:
    """The call's trace and its picture go beside the WAV."""
    shutil.copy(trace, wav_out.with_suffix(".jsonl"))  # as private as it was
    picture = wav_out.with_suffix(".html")
    write_picture(trace, picture)
    return picture


async def _run(teller: Teller, scenario: Scenario, database: Path, traces: Path, *, spoken: bool) -> Outcome:
    played = await asyncio.to_thread(cast, None if spoken else scenario, hum=not spoken)
    part = await asyncio.to_thread(learn, scenario, NanoVoice() if spoken else played.voice)
    model = RealtimeServer(mind=played.mind, voice=played.voice, ear=played.ear)
    loop = asyncio.get_running_loop()
    dialled_at = loop.time()
    narrator = Narrator(teller, lambda: loop.time() - dialled_at)
    make = partial(app.build, listeners=[narrator.entry])
    settings = {"TRACE_DIR": str(traces)} | ({"DEFAULT_PERSONA": scenario.persona} if scenario.persona else {})
    manners = Manners(dial_status=scenario.colleague)
    number = scenario.number or CALLER
    async with AsyncExitStack() as world:
        if scenario.supervised:
            settings |= await _supervisor(world)
        if scenario.desk:
            settings |= _desk(scenario, Path(world.enter_context(tempfile.TemporaryDirectory())))
        running = await world.enter_async_context(
            stage(model, database, weather=WEATHER, manners=manners, settings=settings, make=make)
        )
        _introduce(teller, running, played, scenario)
        dialled_at = loop.time()
        teller.line(0.0, "call", f"{mask_number(number)} dials {mask_number(CALLED)}")
        call = await running.carrier.dial(running.webhook_url, from_number=number, to_number=CALLED)
        async with teller.meters(call):
            await perform(call, part, tell=narrator.cue)
            await _on_record(running, call.call_sid)
        store = running.gateway.store
        row, events = await store.read_call(call.call_sid), await store.read_events(call.call_sid)
        by_script = not spoken and bool(scenario.replies)
        return Outcome(call, narrator.entries, row, events, call.recording(), measure(call), by_script)


def _desk(scenario: Scenario, folder: Path) -> dict[str, str]:
    """The persona that a scenario brings; returns the settings that have it answer."""
    (folder / f"{scenario.name}.toml").write_text(scenario.desk, encoding="utf-8")
    return {"PERSONAS_DIR": str(folder), "DEFAULT_PERSONA": scenario.name}


async def _supervisor(world: AsyncExitStack) -> dict[str, str]:
    """An emulated text model beside the call; returns the settings that have the voice ask it."""
    text_model = await world.enter_async_context(ResponsesServer(mind=TextMind(RuleMind())))
    return {
        "SUPERVISOR_MODEL": text_model.model,
        "SUPERVISOR_API_KEY": "offline",
        "OPENAI_RESPONSES_ENDPOINT": text_model.url,
    }


def _introduce(teller: Teller, running: Stage, played: Cast, scenario: Scenario) -> None:
    teller.heading("One phone call, and all it passes through, on this machine")
    teller.facts(
        [
            ("caller", f"{scenario.about} (scenario {scenario.name})"),
            *([("persona", scenario.persona)] if scenario.persona else []),
            ("carrier", f"emulated Twilio: signed webhook, media stream, {weather_told(WEATHER)}"),
            ("gateway", f"the product, at {running.base_url}"),
            ("model", f"emulated Realtime API: {played.about}"),
            *([("supervisor", "emulated Responses API: thinks by rules")] if scenario.supervised else []),
        ]
    )
    teller.blank()


async def _on_record(running: Stage, call_sid: str) -> None:
    """Wait until the call is closed, summed up and on disk."""
    async with asyncio.timeout(10):
        board = running.gateway.switchboard
        while board.find(call_sid) is not None or board.closing:  # noqa: ASYNC110 - a gauge, not an event
            await asyncio.sleep(0.02)
    await running.gateway.store.flush()


def _tell_figures(teller: Teller, outcome: Outcome, wav_out: Path) -> None:
    teller.heading("In the caller's ear, measured by the carrier")
    teller.facts(latencies(outcome.waits))
    teller.out(
        "  Counted in the caller's ear, with the network there and back and the carrier's buffer. Beside an answer\n"
        "  above stands what the gateway sees: from his last sound there to our first on its way; the page adds the\n"
        "  way to the ear. Every wait includes the silence that tells the model a turn is over.",
        "dim",
    )
    teller.blank()
    length_s = len(outcome.sound) / RATE_HZ
    teller.out(f"  To listen to: {wav_out} ({length_s:.0f} s; left the caller, right what the caller heard)", "bold")


def _failings(outcome: Outcome, scenario: Scenario) -> Iterator[str]:
    """What a good call would have and this one lacks."""
    told = outcome.entries
    wanted = sum(isinstance(step, InterruptAfter) for step in scenario.steps)
    if outcome.call.outcome != "caller-hung-up" and not _count(told, entries.GoodbyeBegun):
        yield f"the call ended by {outcome.call.outcome or 'itself'}, neither by the caller nor with a goodbye"
    if outcome.waits.first_heard_s is None:
        yield "the caller heard nothing"
    if any(isinstance(step, SayText) for step in scenario.steps) and not _count(told, entries.UserSpoke):
        yield "not a word of the caller was understood"
    if _count(told, entries.BargedIn) < wanted:
        yield f"the caller cut in {wanted} times and was noticed {_count(told, entries.BargedIn)} times"
    if outcome.row is None or outcome.row["status"] != "completed":
        yield "the call does not stand in the database as completed"


def _count(told: Sequence[entries.Entry], kind: type[entries.Entry]) -> int:
    return sum(isinstance(entry, kind) for entry in told)
