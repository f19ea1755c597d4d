"""`voice-gateway emulate`: each far side alone, for anyone who wants to test a client or a server of his own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import secrets
import signal
from collections.abc import Coroutine, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from voice_gateway.cli.cast import Cast, caller_part, cast, scenario_list, scenario_named, why_no_voice
from voice_gateway.cli.show import Teller, weather_told
from voice_gateway.cli.watch import watch
from voice_gateway.emulator.carrier import Carrier, Manners, PhoneCall, Weather
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.performance import Cue, Part, perform
from voice_gateway.emulator.realtime import RealtimeServer
from voice_gateway.emulator.responses_server import TEXT_MODEL, ResponsesServer, TextFaults
from voice_gateway.emulator.scenario import Scenario
from voice_gateway.emulator.scenarios import ScriptedMind
from voice_gateway.emulator.script_file import read_script
from voice_gateway.emulator.scripted import Reply
from voice_gateway.emulator.text_mind import TextMind
from voice_gateway.errors import GatewayError, there_are
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import mask_number

AnyFaults = TypeVar("AnyFaults", Faults, TextFaults)

FAULTS = ", ".join(each.name for each in fields(Faults))
A_MINUTE_S = 60.0

TEXT_FAULTS = ", ".join(each.name for each in fields(TextFaults))

app = typer.Typer(no_args_is_help=True, help="Run one far side alone: the model, the text model, or the carrier.")


@app.command("model")
def model(  # noqa: PLR0913, PLR0917 - the options of a command
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free port.", min=0, max=65535)] = 8790,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    api_key: Annotated[str, typer.Option(help="The only key to let in; any when not given.")] = "",
    say: Annotated[list[str] | None, typer.Option(help="Answer with this text; may be repeated, in order.")] = None,
    scenario: Annotated[str, typer.Option(help=f"Answer as a scenario has it. {scenario_list()}.")] = "",
    script: Annotated[
        Path | None,
        typer.Option(
            help="Answer as this JSON file has it, act by act; emulator/script_file.py shows how it is written.",
            show_default=False,
        ),
    ] = None,
    tones: Annotated[bool, typer.Option("--tones", help="Hum instead of speaking, hear no words.")] = False,  # noqa: FBT002 - a flag
    speed: Annotated[float, typer.Option(help="Its voice comes this many times faster than it plays.", min=0.1)] = 5.0,
    fault: Annotated[
        list[str] | None, typer.Option(help=f"Misbehave: NAME, or NAME=VALUE; may be repeated. {FAULTS}.")
    ] = None,
    events: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--events", help="Show every event by its type, not only what was said.")
    ] = False,
) -> None:
    """Be an OpenAI Realtime server (GA): any client that speaks the protocol may connect.

    It hears, thinks by rules over the tools it is given, and speaks.

    Without the extra `local` it hums what is written beforehand, and says what to install.

    Example: voice-gateway emulate model --port 8790 --fault slow_first_audio_s=2
    """
    logs.configure("warning")
    teller = Teller()
    faults = read_faults(fault or [], Faults)
    hum = tones
    if reason := "" if tones else why_no_voice():
        teller.out(f"{reason}\nUntil then the model hums and hears no words.", "yellow")
        hum = True
    answers: Scenario | Sequence[Reply] | None = scenario_named(scenario) if scenario else say
    answers = _read(script) if script else answers
    if hum and answers is None:
        answers = ["Hello. I can only hum.", "Type to me, or give me lines with --say."]
    played = cast(answers, hum=hum)
    server = RealtimeServer(
        mind=played.mind, voice=played.voice, ear=played.ear,
        host=host, port=port, api_key=api_key or None, speed=speed, faults=faults,
    )  # fmt: skip
    _serve(_serve_model(teller, server, played, key=api_key or "any", events=events))


def _read(script: Path) -> Sequence[Reply]:
    try:
        return read_script(script)
    except ValueError as error:
        raise GatewayError(f"--script {error}") from None


async def _serve_model(teller: Teller, server: RealtimeServer, played: Cast, *, key: str, events: bool) -> None:
    async with server:
        teller.heading(f"An emulated Realtime model at {server.url}?model=gpt-realtime-2.1")
        teller.facts(
            [
                ("it", played.about),
                ("key", "any" if key == "any" else "the one you gave, as a bearer"),
                ("openai package", f'AsyncOpenAI(base_url="{server.http_url}", api_key="{_shown(key)}")'),
                ("the gateway", f"OPENAI_REALTIME_ENDPOINT={server.url}"),
                ("to end it", "Ctrl-C"),
            ]
        )
        teller.blank()
        await watch(teller, server, every_event=events)


@app.command("text")
def text(
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free port.", min=0, max=65535)] = 8792,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    api_key: Annotated[str, typer.Option(help="The only key to let in; any when not given.")] = "",
    model: Annotated[str, typer.Option(help="The name that it answers to.")] = TEXT_MODEL,
    say: Annotated[list[str] | None, typer.Option(help="Answer with this text; may be repeated, in order.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help=f"Misbehave: NAME, or NAME=VALUE; may be repeated. {TEXT_FAULTS}.")
    ] = None,
) -> None:
    """Be an OpenAI Responses server, such as a supervisor is asked at; it does not stream.

    It thinks by rules over the tools it is given, and reads a call that is handed to it as JSON.

    Example: voice-gateway emulate text --port 8792 --fault hang_s=30
    """
    logs.configure("warning")
    mind = ScriptedMind(say) if say else TextMind(RuleMind())
    server = ResponsesServer(
        mind=mind, host=host, port=port, api_key=api_key or None, models=(model,),
        faults=read_faults(fault or [], TextFaults),
    )  # fmt: skip
    _serve(_serve_text(Teller(), server, key=api_key or "any"))


async def _serve_text(teller: Teller, server: ResponsesServer, *, key: str) -> None:
    async with server:
        teller.heading(f"An emulated text model at {server.url}/responses")
        teller.facts(
            [
                ("model", server.model),
                ("key", "any" if key == "any" else "the one you gave, as a bearer"),
                ("openai package", f'AsyncOpenAI(base_url="{server.url}", api_key="{_shown(key)}")'),
                ("the gateway", f"SUPERVISOR_MODEL={server.model} OPENAI_RESPONSES_ENDPOINT={server.url}"),
                ("to end it", "Ctrl-C"),
            ]
        )
        teller.blank()
        for count in itertools.count(1):
            await server.asked(count)
            teller.line(None, "asked", f"question {count}")


def _shown(key: str) -> str:
    return key if key == "any" else "..."


@app.command("carrier")
def carrier(  # noqa: PLR0913, PLR0917 - the options of a command
    port: Annotated[
        int, typer.Option(help="Where its REST API listens; 0 takes a free port.", min=0, max=65535)
    ] = 8791,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    account_sid: Annotated[str, typer.Option(help="The account.")] = "AC" + "0" * 32,
    auth_token: Annotated[
        str,
        typer.Option(
            envvar="TWILIO_AUTH_TOKEN",
            help="Signs webhooks and opens the REST API; made up when not given.",
            show_default=False,
        ),
    ] = "",
    public_url: Annotated[
        str, typer.Option(help="Your server's public address: it is signed for, a local one is dialled.")
    ] = "",
    say: Annotated[list[str] | None, typer.Option(help="Who is called says this; may be repeated.")] = None,
    wav_in: Annotated[list[Path] | None, typer.Option(help="Or plays this WAV file; may be repeated.")] = None,
    scenario: Annotated[str, typer.Option(help=f"Or does as a scenario has it. {scenario_list()}.")] = "",
    delay_ms: Annotated[int, typer.Option(help="Network delay, each way.", min=0)] = 50,
    jitter_ms: Annotated[int, typer.Option(help="A packet takes up to so much longer.", min=0)] = 0,
    jitter_buffer_ms: Annotated[int, typer.Option(help="It collects so long before it plays.", min=0)] = 60,
) -> None:
    """Be a Twilio: REST for calls, signed webhooks, TwiML, media streams.

    Create a call over REST, with Url or Twiml: a telephone rings, is picked up, and your server is asked how to go on.

    Who picks up listens for a minute, or does what is given here. To call in, use voice-gateway call.

    Example: voice-gateway emulate carrier --port 8791 --say "Hello, who is there?"
    """
    logs.configure("warning")
    teller = Teller()
    token = auth_token or secrets.token_hex(16)
    weather = Weather(delay_ms / 1000, jitter_ms / 1000, jitter_buffer_ms / 1000)
    given = bool(say or wav_in or scenario)
    part = caller_part(teller, scenario, say or [], wav_in or []) if given else None
    exchange = Carrier(
        account_sid, token, weather=weather, public_base_url=public_url or None,
        manners=Manners(plain_ws=True, rest_host=host, rest_port=port),
    )  # fmt: skip
    _serve(_serve_carrier(teller, exchange, weather, part, token="" if auth_token else token))


async def _serve_carrier(teller: Teller, exchange: Carrier, weather: Weather, part: Part | None, *, token: str) -> None:
    async with exchange, asyncio.TaskGroup() as telephones:
        teller.heading(f"An emulated carrier, its REST API at {exchange.rest_url}")
        calls_url = f"{exchange.rest_url}/2010-04-01/Accounts/{exchange.account_sid}/Calls.json"
        teller.facts(
            [
                ("account", exchange.account_sid),
                ("auth token", f"{token}  (made up; --auth-token gives another)" if token else "the one you gave"),
                ("weather", weather_told(weather)),
                ("twilio package", f'client = Client(account, token); client.api.base_url = "{exchange.rest_url}"'),
                ("curl", f"curl -u ACCOUNT:TOKEN {calls_url} -d To=+15550100003 -d From=+15550100002 -d Url=..."),
                ("to end it", "Ctrl-C"),
            ]
        )
        teller.blank()
        while True:
            with contextlib.suppress(TimeoutError):
                call = await exchange.next_outbound()
                telephones.create_task(_answer(teller, call, part))


async def _answer(teller: Teller, call: PhoneCall, part: Part | None) -> None:
    """Be who is called."""
    name = call.call_sid[-4:]

    def cue(cue: Cue) -> None:
        teller.line(cue.at_s, f"call {name}", f"{cue.act} {cue.text}".rstrip())

    teller.line(call.now_s, f"call {name}", f"{call.call_sid} rings at {mask_number(call.parties.to_number)}")
    if part is not None:
        await perform(call, part, tell=cue)
    else:
        with contextlib.suppress(TimeoutError):
            await call.ended(A_MINUTE_S)
        if not call.outcome:
            await call.hang_up()
    heard_s = sum(segment.length for segment in call.played if segment.audible) / 8000
    reason = f": {call.error.code} {call.error.reason}" if call.error else ""
    teller.line(call.now_s, f"call {name}", f"over: {call.outcome}{reason}; {heard_s:.1f} s were heard")
    for warning in call.warnings:
        teller.line(None, "", f"Twilio would warn: {warning.code} {warning.reason}")


# --- both -------------------------------------------------------------------------------------------------------


def read_faults(words: Sequence[str], kind: type[AnyFaults]) -> AnyFaults:
    """`NAME` or `NAME=VALUE` each. Raises `typer.BadParameter` that names the faults there are, or what is wanted."""
    known = [each.name for each in fields(kind)]
    chosen: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in known:
            raise typer.BadParameter(f"there is no fault {name!r}; {there_are(known, name)}")
        chosen[name] = value if equals else "true"
    try:
        return TypeAdapter(kind).validate_python(chosen)
    except ValidationError as error:
        problems = [f"{each['loc'][0]}: {each['msg']}" for each in error.errors()]
        raise typer.BadParameter("; ".join(problems)) from None


def _serve(work: Coroutine[Any, Any, None]) -> None:
    """Run until Ctrl-C or SIGTERM. A port that is taken is told in a sentence."""
    try:
        asyncio.run(_until_told(work))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise GatewayError("this port is taken by another program; choose one with --port, or 0 for any") from None


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
