"""`voice-gateway call`: place an emulated call against a running gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from voice_gateway import config
from voice_gateway.audio import wav
from voice_gateway.cli.cast import caller_part
from voice_gateway.cli.hearing import Hearing
from voice_gateway.cli.judging import ENDED, Record, judge, record_of, tell_judgement
from voice_gateway.cli.show import Teller, latencies, weather_told
from voice_gateway.cli.stopwatch import RATE_HZ, measure
from voice_gateway.emulator.carrier import Carrier, Manners, PhoneCall, Weather
from voice_gateway.emulator.carrier_web import is_loopback
from voice_gateway.emulator.performance import Cue, Part, perform
from voice_gateway.emulator.phone_call import CarrierWarning
from voice_gateway.emulator.scenario import Scenario
from voice_gateway.emulator.verdict import Happened
from voice_gateway.errors import GatewayError
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import mask_number

WEBHOOK_PATH = "/twilio/answer"
CALLER = "+15550100001"
GOOD_ENDS = frozenset({"caller-hung-up", "completed", "transferred"})


@dataclass(frozen=True, slots=True)
class Dialling:
    """What is called, and by whom. webhook: as the gateway knows itself. origin: where it is really reached."""

    webhook: str
    origin: str
    from_number: str
    to_number: str


def call(  # noqa: PLR0913, PLR0917 - the options of a command
    url: Annotated[
        str,
        typer.Argument(
            help="The gateway's webhook; /twilio/answer is added to a bare host. By default this machine's.",
            show_default=False,
        ),
    ] = "",
    say: Annotated[list[str] | None, typer.Option(help="Say this, wait for the answer; may be repeated.")] = None,
    wav_in: Annotated[
        list[Path] | None, typer.Option(help="Play this WAV file, wait for the answer; may be repeated.")
    ] = None,
    scenario: Annotated[
        str, typer.Option(help="Play a named caller, and check what came of it. They are listed below.")
    ] = "",
    keys: Annotated[
        str,
        typer.Option(
            help="Pressed where the carrier asks for a key before the conversation, as for the consent to a recording.",
            show_default=False,
        ),
    ] = "",
    record: Annotated[
        Path | None,
        typer.Option(
            help="The gateway's STORE_PATH, to check which tools were called. By default that of this machine's "
            "settings, when this machine is dialled.",
            show_default=False,
        ),
    ] = None,
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
    from_number: Annotated[
        str,
        typer.Option(
            "--from", help="Who calls; by default as the scenario has it, or +15550100001.", show_default=False
        ),
    ] = "",
    to_number: Annotated[str, typer.Option("--to", help="Who is called.")] = "+15550100002",
    delay_ms: Annotated[int, typer.Option(help="Network delay, each way.", min=0)] = 50,
    jitter_ms: Annotated[int, typer.Option(help="A packet takes up to so much longer.", min=0)] = 0,
    jitter_buffer_ms: Annotated[int, typer.Option(help="The carrier collects so long before it plays.", min=0)] = 60,
) -> None:
    """Call a running gateway as Twilio would, listen, and say how it went.

    Shows what was said and what was heard, as text where the offline voice is installed, and who waited how long.

    Writes the call as a stereo WAV. The exit code is 1 when no conversation came about, and when a scenario did not
    come out: a tool that had to be called was not, words that were to be heard were not, or another ended the call.

    Example: voice-gateway call http://127.0.0.1:8787 --say "What coffee do you have?" --say "Thank you, goodbye."
    """
    logs.configure("warning")
    teller = Teller()
    settings = config.load()
    token = auth_token or next(iter(settings.twilio_auth_tokens), "")
    part = caller_part(teller, scenario, say or [], wav_in or [], keys)
    numbers = (from_number or part.scenario.number or CALLER, to_number)
    dialling = _dialling(
        url or f"http://{settings.host}:{settings.port}", public_url, settings.public_base_url, numbers
    )
    weather = Weather(delay_ms / 1000, jitter_ms / 1000, jitter_buffer_ms / 1000)
    carrier = Carrier(
        settings.twilio_account_sid or "AC" + "0" * 32,
        token or "none",
        weather=weather,
        signing="sha1" if token else "none",
        reach={urlsplit(dialling.webhook).netloc: dialling.origin},
        manners=Manners(plain_ws=True, rest_port=None, dial_status=part.scenario.colleague),
    )
    if not token:
        teller.out("Without TWILIO_AUTH_TOKEN the webhook is not signed; most gateways refuse that.", "yellow")
    teller.facts([("weather", weather_told(weather)), ("signed", dialling.webhook if token else "not at all")])
    teller.blank()
    file = record or (Path(settings.store_path) if is_loopback(urlsplit(dialling.origin).hostname or "") else None)
    placed = asyncio.run(_place(teller, carrier, dialling, part, file if scenario else None))
    failed = _conclude(teller, placed, wav_out)
    if scenario and not failed:
        failed = _check(teller, placed, part.scenario, settings.zone, file, surely=record is not None)
    raise typer.Exit(1 if failed else 0)


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


@dataclass(frozen=True, slots=True)
class Placed:
    """A call that is over. heard: what the caller's own ear understood. record: the gateway's, if it could be read."""

    call: PhoneCall
    heard: Sequence[str]
    record: Record | None


async def _place(teller: Teller, carrier: Carrier, dialling: Dialling, part: Part, file: Path | None) -> Placed:
    """file: where the gateway's record may be read afterwards."""
    async with carrier:
        numbers = f"{mask_number(dialling.from_number)} dials {mask_number(dialling.to_number)}"
        teller.line(0.0, "call", f"{numbers} at {dialling.origin}")
        call = await carrier.dial(dialling.webhook, from_number=dialling.from_number, to_number=dialling.to_number)
        if call.twiml:
            teller.line(call.now_s, "call", "TwiML is here")
        untold = _untold(teller, call)
        untold()
        hearing = Hearing(teller, call)

        def cue(cue: Cue) -> None:
            untold()  # such as the question that a key answers
            hearing.cue(cue)

        async with teller.meters(call), hearing:
            await perform(call, part, tell=cue)
        untold()
    record = await record_of(file, call.call_sid) if file is not None and call.stream_at_s else None
    return Placed(call, hearing.texts, record)


def _untold(teller: Teller, call: PhoneCall) -> Callable[[], None]:
    """Tells what the carrier's voice has said in the call since it was asked last."""
    told = 0

    def tell() -> None:
        nonlocal told
        for sentence in call.said[told:]:
            teller.line(None, "gateway", sentence, "spoken by the carrier")
            told += 1

    return tell


def _check(
    teller: Teller, placed: Placed, scenario: Scenario, zone: tzinfo | None, file: Path | None, *, surely: bool
) -> list[str]:
    """Hold a scenario against what happened, and tell. surely: that the record is not there is a failing."""
    teller.blank()
    outcome = placed.call.outcome
    if placed.record is not None:
        happened, day = placed.record.happened(outcome), placed.record.day(zone)
    else:
        day = datetime.now().astimezone(zone).date()
        happened = Happened(placed.heard, None, "gateway" if outcome == "completed" else ENDED.get(outcome, ""))
    if placed.record is None and scenario.expected.uses:
        where = f"no closed record of this call is in {file}" if file else "another machine keeps its record"
        unknown = f"which tools were called cannot be checked: {where}; name the gateway's STORE_PATH with --record"
        if surely:
            teller.failure(f"The scenario {scenario.name} cannot be judged: {unknown}.")
            return [unknown]
        teller.out(f"  Not checked: {unknown}.", "yellow")
        if not placed.heard:
            scenario = replace(scenario, expected=replace(scenario.expected, hears=()))
            teller.out("  Not checked: what was heard; nobody here could write it down.", "yellow")
    failed = judge(scenario, happened, day)
    tell_judgement(teller, scenario, happened, failed)
    return failed


def _why(error: CarrierWarning) -> str:
    """What went wrong before a media stream, and what to look at."""
    reason = f"{error.reason} (Twilio would log {error.code})"
    if "403" in error.reason:
        return f"{reason}: the signature was refused; are TWILIO_AUTH_TOKEN and PUBLIC_BASE_URL those of the gateway?"
    if "404" in error.reason or "405" in error.reason:
        return f"{reason}: no voice webhook is there; the gateway's is {WEBHOOK_PATH}"
    return f"{reason}: is the gateway running, and is this its address?"


def _conclude(teller: Teller, placed: Placed, wav_out: Path) -> list[str]:
    """Tell how the call ended and what it was like. Returns why it was none."""
    call = placed.call
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
        teller.failure(f"No conversation came about: {failing}{'' if failing.endswith('?') else '.'}")
    return failings
