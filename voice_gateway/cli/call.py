"""`voice-gateway call`: place an emulated call against a running gateway."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from voice_gateway import config
from voice_gateway.audio import wav
from voice_gateway.cli.cast import caller_part, scenario_list
from voice_gateway.cli.hearing import Hearing
from voice_gateway.cli.show import Teller, latencies, weather_told
from voice_gateway.cli.stopwatch import RATE_HZ, measure
from voice_gateway.emulator.carrier import Carrier, Manners, PhoneCall, Weather
from voice_gateway.emulator.carrier_web import is_loopback
from voice_gateway.emulator.performance import Part, perform
from voice_gateway.emulator.phone_call import CarrierWarning
from voice_gateway.errors import GatewayError
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import mask_number

WEBHOOK_PATH = "/twilio/answer"
GOOD_ENDS = frozenset({"caller-hung-up", "completed", "transferred"})


@dataclass(frozen=True, slots=True)
class Dialling:
    """What is called, and by whom. webhook: as the gateway knows itself. origin: where it is really reached."""

    webhook: str
    origin: str
    from_number: str
    to_number: str


def call(  # noqa: PLR0913, PLR0917 - the options of a command
    url: Annotated[str, typer.Argument(help="The gateway's webhook; /twilio/answer is added to a bare host.")],
    say: Annotated[list[str] | None, typer.Option(help="Say this, wait for the answer; may be repeated.")] = None,
    wav_in: Annotated[
        list[Path] | None, typer.Option(help="Play this WAV file, wait for the answer; may be repeated.")
    ] = None,
    scenario: Annotated[str, typer.Option(help=f"Play a named caller. {scenario_list()}.")] = "",
    wav_out: Annotated[
        Path, typer.Option(help="Where the call goes as a stereo WAV: left the caller, right what he heard.")
    ] = Path("var/call.wav"),
    auth_token: Annotated[
        str, typer.Option(help="Signs the webhooks. By default TWILIO_AUTH_TOKEN, also from .env.", show_default=False)
    ] = "",
    public_url: Annotated[
        str,
        typer.Option(
            help="What the gateway takes for its own address, when another one is dialled; signatures are made for it. "
            "By default PUBLIC_BASE_URL, also from .env.",
            show_default=False,
        ),
    ] = "",
    from_number: Annotated[str, typer.Option("--from", help="Who calls.")] = "+15550100001",
    to_number: Annotated[str, typer.Option("--to", help="Who is called.")] = "+15550100002",
    delay_ms: Annotated[int, typer.Option(help="Network delay, each way.", min=0)] = 50,
    jitter_ms: Annotated[int, typer.Option(help="A packet takes up to so much longer.", min=0)] = 0,
    jitter_buffer_ms: Annotated[int, typer.Option(help="The carrier collects so long before it plays.", min=0)] = 60,
) -> None:
    """Call a running gateway as Twilio would, listen, and say how it went.

    Shows what was said and what was heard, as text where the offline voice is installed, and who waited how long.

    Writes the call as a stereo WAV. The exit code is 1 when no conversation came about.

    Example: voice-gateway call http://127.0.0.1:8787 --say "What coffee do you have?" --say "Thank you, goodbye."
    """
    logs.configure("warning")
    teller = Teller()
    settings = config.load()
    token = auth_token or next(iter(settings.twilio_auth_tokens), "")
    dialling = _dialling(url, public_url, settings.public_base_url, (from_number, to_number))
    weather = Weather(delay_ms / 1000, jitter_ms / 1000, jitter_buffer_ms / 1000)
    carrier = Carrier(
        settings.twilio_account_sid or "AC" + "0" * 32,
        token or "none",
        weather=weather,
        signing="sha1" if token else "none",
        reach={urlsplit(dialling.webhook).netloc: dialling.origin},
        manners=Manners(plain_ws=True, rest_port=None),
    )
    part = caller_part(teller, scenario, say or [], wav_in or [])
    if not token:
        teller.out("Without TWILIO_AUTH_TOKEN the webhook is not signed; most gateways refuse that.", "yellow")
    teller.facts([("weather", weather_told(weather)), ("signed", dialling.webhook if token else "not at all")])
    teller.blank()
    placed = asyncio.run(_place(teller, carrier, dialling, part))
    _conclude(teller, placed, wav_out)


def _dialling(url: str, public: str, own: str, numbers: tuple[str, str]) -> Dialling:
    """public: the address to sign for, when given. own: that of the gateway on this machine, as its settings say."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise GatewayError(f"{url!r} is no address to call; it should be like http://127.0.0.1:8787{WEBHOOK_PATH}")
    origin = f"{parts.scheme}://{parts.netloc}"
    path = parts.path if parts.path.strip("/") else WEBHOOK_PATH
    query = f"?{parts.query}" if parts.query else ""
    if not is_loopback(parts.hostname):
        own = ""  # what this machine's gateway is called says nothing about another
    return Dialling((public or own or origin).rstrip("/") + path + query, origin, *numbers)


async def _place(teller: Teller, carrier: Carrier, dialling: Dialling, part: Part) -> PhoneCall:
    async with carrier:
        numbers = f"{mask_number(dialling.from_number)} dials {mask_number(dialling.to_number)}"
        teller.line(0.0, "call", f"{numbers} at {dialling.origin}")
        call = await carrier.dial(dialling.webhook, from_number=dialling.from_number, to_number=dialling.to_number)
        if call.twiml:
            teller.line(call.now_s, "call", "TwiML is here")
        for sentence in call.said:
            teller.line(None, "gateway", sentence, "spoken by the carrier")
        already_said = len(call.said)
        hearing = Hearing(teller, call)
        async with teller.meters(call), hearing:
            await perform(call, part, tell=hearing.cue)
        for sentence in call.said[already_said:]:
            teller.line(None, "gateway", sentence, "spoken by the carrier")
        return call


def _why(error: CarrierWarning) -> str:
    """What went wrong before a media stream, and what to look at."""
    reason = f"{error.reason} (Twilio would log {error.code})"
    if "403" in error.reason:
        return f"{reason}: the signature was refused; are TWILIO_AUTH_TOKEN and PUBLIC_BASE_URL those of the gateway?"
    if "404" in error.reason or "405" in error.reason:
        return f"{reason}: no voice webhook is there; the gateway's is {WEBHOOK_PATH}"
    return f"{reason}: is the gateway running, and is this its address?"


def _conclude(teller: Teller, call: PhoneCall, wav_out: Path) -> None:
    """Tell how the call ended and what it was like. Exits with 1 when it was none."""
    teller.line(call.now_s, "call", f"over: {call.outcome}")
    failings = []
    if call.error is not None:
        failings.append(_why(call.error))
    elif call.outcome not in GOOD_ENDS:
        failings.append(f"it ended as {call.outcome}")
    for warning in call.warnings:
        teller.out(f"Twilio would warn: {warning.code} {warning.reason}", "yellow")
    if call.stream_at_s:
        waits = measure(call)
        teller.heading("In the caller's ear")
        teller.facts(latencies(waits))
        wav_out.parent.mkdir(parents=True, exist_ok=True)
        wav.write(wav_out, call.recording(), RATE_HZ)
        teller.blank()
        teller.out(f"  To listen to: {wav_out} ({call.length_s:.0f} s; left the caller, right what he heard)", "bold")
        if waits.first_heard_s is None:
            failings.append("nothing was heard; the gateway's log says why")
    elif not failings:
        failings.append("there was never a media stream")
    for failing in failings:
        teller.failure(f"No conversation came about: {failing}.")
    raise typer.Exit(1 if failings else 0)
