"""`voice-gateway call`: place an emulated call against a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
import typer
from dotenv import dotenv_values
from rich.console import Console

from voice_gateway.audio import g711, resample, wav
from voice_gateway.cli.show import Screen
from voice_gateway.cli.timeline import figures, spoken_stretches
from voice_gateway.emulator import speech
from voice_gateway.emulator.carrier import CallOverError, Carrier, Manners, PhoneCall, Weather
from voice_gateway.emulator.faculties import Samples, Voice
from voice_gateway.emulator.performance import Performance
from voice_gateway.emulator.scenarios import SCENARIOS, HangUp, SayText, Scenario, ToneVoice, WaitForAnswer
from voice_gateway.errors import GatewayError
from voice_gateway.ops import logs

PHONE_RATE_HZ = 8000
LOUD = 600
"""A sample above it is sound: about -35 dBFS."""


class CallError(GatewayError):
    """The call did not come to a conversation. The text says where it ended and what to look at."""


def call(  # noqa: PLR0913, PLR0917 - the options of a command
    url: Annotated[str, typer.Argument(help="The voice webhook, such as http://127.0.0.1:8787/twilio/answer")],
    say: Annotated[list[str] | None, typer.Option(help="Say this, wait for the answer; may be repeated.")] = None,
    wav_in: Annotated[
        list[Path] | None, typer.Option(help="Play this WAV file, wait for the answer; may be repeated.")
    ] = None,
    scenario: Annotated[str, typer.Option(help=f"Play a named caller: {', '.join(SCENARIOS)}.")] = "",
    wav_out: Annotated[Path, typer.Option(help="Where the call goes: left the caller, right what he heard.")] = Path(
        "var/call.wav"
    ),
    auth_token: Annotated[
        str,
        typer.Option(
            envvar="TWILIO_AUTH_TOKEN", help="Signs the webhooks; from .env when not given.", show_default=False
        ),
    ] = "",
    public_url: Annotated[
        str,
        typer.Option(
            envvar="PUBLIC_BASE_URL", help="The gateway's PUBLIC_BASE_URL, when it is not the address dialled."
        ),
    ] = "",
    from_number: Annotated[str, typer.Option(help="Who calls.")] = "+15550100001",
    delay_ms: Annotated[int, typer.Option(help="Network delay, one way.", min=0)] = 50,
    jitter_ms: Annotated[int, typer.Option(help="A packet takes up to so much longer.", min=0)] = 0,
    jitter_buffer_ms: Annotated[int, typer.Option(help="The carrier collects so long before it plays.", min=0)] = 60,
) -> None:
    """Call a running gateway as a carrier would, and see and hear what comes back.

    Shows what was said and heard, a timeline with latencies, and writes the call as a stereo WAV.

    Example: voice-gateway call http://127.0.0.1:8787/twilio/answer --say "What coffee do you have?"
    """
    logs.configure("warning")
    console = Console(highlight=False)
    token = auth_token or (dotenv_values(".env").get("TWILIO_AUTH_TOKEN") or "").split(",")[0]
    public = public_url or dotenv_values(".env").get("PUBLIC_BASE_URL") or ""
    played, voice = _cast(console, say or [], wav_in or [], scenario)
    weather = Weather(delay_ms / 1000, jitter_ms / 1000, jitter_buffer_ms / 1000)
    carrier = Carrier(
        "AC" + "0" * 32, token or "unsigned", weather=weather, signing="sha1" if token else "none",
        public_base_url=public or None, reach=_reach(public, url), manners=Manners(plain_ws=True, rest_port=None),
    )  # fmt: skip
    phone_call = asyncio.run(_place(console, carrier, url, from_number, played, voice))
    wav_out.parent.mkdir(parents=True, exist_ok=True)
    wav.write(wav_out, phone_call.recording(), PHONE_RATE_HZ)
    _show(console, phone_call)
    console.print(f"\nThe call as it was: {wav_out} (left the caller, right what the caller heard)", soft_wrap=True)
    if not any(segment.audible for segment in phone_call.played):
        raise CallError("nothing was heard in this call; the gateway's log says why")


async def _place(
    console: Console, carrier: Carrier, url: str, from_number: str, scenario: Scenario, voice: Voice
) -> PhoneCall:
    async with carrier:
        call = await carrier.dial(url, from_number=from_number)
        screen = Screen(console, lambda: call.now_s)
        screen.line("carrier", f"dials {url}")
        already_said = len(call.said)
        for sentence in call.said:
            screen.line("gateway", f"has the carrier say: {sentence}")
        try:
            await call.answered()
        except (CallOverError, TimeoutError) as over:
            raise CallError(f"the call ended before a media stream: {_why(call)}") from over
        screen.line("carrier", "media stream is up")
        try:
            await Performance(call, voice, lambda what, text: screen.line("caller", text or what)).play(scenario)
        except TimeoutError:
            screen.line("gateway", "says nothing; the caller hangs up")
        if not call.outcome:
            await call.hang_up()
        for sentence in call.said[already_said:]:
            screen.line("gateway", f"has the carrier say: {sentence}")
        screen.line("carrier", f"call over: {call.outcome}")
        return call


def _why(call: PhoneCall) -> str:
    """How the call ended, and what to look at."""
    if call.error is None:
        return call.outcome or "no media stream was opened in time"
    reason = f"{call.error.reason} ({call.error.code})"
    if "403" in reason:
        return f"{reason}: the signature was refused. Are TWILIO_AUTH_TOKEN and PUBLIC_BASE_URL those of the gateway?"
    if "404" in reason or "405" in reason:
        return f"{reason}: no voice webhook is there. The gateway's ends in /twilio/answer"
    return f"{reason}: is the gateway running, and is this its address?"


def _cast(console: Console, texts: list[str], files: list[Path], name: str) -> tuple[Scenario, Voice]:
    """What the caller does and with which voice."""
    if sum(map(bool, (texts, files, name))) > 1:
        raise CallError("give one of --say, --wav-in and --scenario")
    if name:
        if name not in SCENARIOS:
            raise CallError(f"no scenario is called {name!r}; there are: {', '.join(SCENARIOS)}")
        return SCENARIOS[name], _voice(console)
    if files:
        voice = _Records(files)
        return _one_by_one([str(path) for path in files]), voice
    return _one_by_one(texts), _voice(console) if texts else ToneVoice()


def _one_by_one(lines: list[str]) -> Scenario:
    steps = [step for line in lines for step in (SayText(line), WaitForAnswer())]
    return Scenario("given", "says what was given", (WaitForAnswer(), *steps, HangUp()))


def _voice(console: Console) -> Voice:
    missing = speech.missing()
    if not missing:
        return speech.NanoVoice()
    console.print(f"The caller hums: the offline voice is not installed ({', '.join(missing)}).")
    console.print("To let it speak: pip install -r requirements/local.txt\n")
    return ToneVoice()


class _Records:
    """A voice that plays files: a text is a file's path."""

    rate_hz = PHONE_RATE_HZ

    def __init__(self, files: list[Path]) -> None:
        self._sounds = {str(path): _read(path) for path in files}

    def speak(self, text: str) -> Iterator[Samples]:
        yield self._sounds[text]


def _read(path: Path) -> Samples:
    try:
        samples, rate_hz = wav.read(path)
    except (OSError, ValueError, EOFError) as fault:
        raise CallError(f"{path} cannot be played: {fault}") from fault
    mono = samples if samples.ndim == 1 else samples[:, 0]
    return _trimmed(np.asarray(resample.convert(mono, rate_hz, PHONE_RATE_HZ), np.int16))


def _trimmed(samples: Samples) -> Samples:
    """Without the silence at both ends: latencies count from the last sound."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > LOUD)
    return samples[loud[0] : loud[-1] + 1] if len(loud) else samples


def _reach(public: str, url: str) -> dict[str, str]:
    """Where a public host is really served: at the address that is dialled."""
    dialled = urlsplit(url)
    if not public or urlsplit(public).netloc == dialled.netloc:
        return {}
    return {urlsplit(public).netloc: f"{dialled.scheme}://{dialled.netloc}"}


def _show(console: Console, call: PhoneCall) -> None:
    """What was heard, as text where there is an ear, and the figures."""
    ear = speech.WhisperEar() if not speech.missing() else None
    console.print(f"\nHeard by the caller{' (text: as the offline ear understood it)' if ear else ''}:")
    for start_s, end_s in spoken_stretches(call):
        text = ear.transcribe(g711.decode(call.heard_between(start_s, end_s)), PHONE_RATE_HZ) if ear else ""
        console.print(f"  {start_s:6.2f} to {end_s:6.2f} s  {text}", soft_wrap=True)
    console.print("\nTimeline:")
    for name, value in figures(call):
        console.print(f"  {name:<52} {value}", soft_wrap=True)
