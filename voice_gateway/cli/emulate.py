"""`voice-gateway emulate`: each far side alone, for anyone who wants to test a client or a server of his own."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
from collections.abc import Coroutine, Sequence
from dataclasses import fields
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console

from voice_gateway.emulator import speech
from voice_gateway.emulator.carrier import Carrier, Manners, PhoneCall, Weather
from voice_gateway.emulator.faculties import Ear, Mind, Voice
from voice_gateway.emulator.faults import Faults
from voice_gateway.emulator.realtime import RealtimeServer
from voice_gateway.emulator.scenarios import ScriptedMind, ToneVoice, TypedEar
from voice_gateway.errors import GatewayError
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import mask_number

app = typer.Typer(no_args_is_help=True, help="Run one far side alone: the model, or the carrier.")


@app.command("model")
def model(
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free port.", min=0, max=65535)] = 8790,
    api_key: Annotated[str, typer.Option(help="The only bearer to let in; any when not given.")] = "",
    speed: Annotated[float, typer.Option(help="Its voice comes this many times faster than it plays.", min=0.1)] = 5.0,
    say: Annotated[
        list[str] | None, typer.Option(help="Answer with these texts, in order, in tones; may be repeated.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Misbehave: NAME or NAME=VALUE, such as wrong_format or close_after_s=5; may be repeated."),
    ] = None,
) -> None:
    """Be an OpenAI Realtime server (GA): any client that speaks the protocol may connect.

    It hears, understands, calls tools and speaks with the offline voice; without the extra `local` it hums and says so.

    Example: voice-gateway emulate model --port 8790 --fault slow_first_audio_s=2
    """
    console = Console(highlight=False)
    faults = read_faults(fault or [])
    mind, voice, ear = _faculties(console, say)
    server = RealtimeServer(
        mind=mind,
        voice=voice,
        ear=ear,
        port=port,
        api_key=api_key or None,
        speed=speed,
        faults=faults,
    )
    _run(_serve_model(console, server))


async def _serve_model(console: Console, server: RealtimeServer) -> None:
    async with server:
        console.print(f"An emulated Realtime model listens at {server.url}?model=gpt-realtime-2.1")
        console.print("  the gateway:        OPENAI_REALTIME_ENDPOINT=" + server.url, soft_wrap=True)
        console.print(f'  the openai package: AsyncOpenAI(base_url="{server.http_url}", api_key="any")', soft_wrap=True)
        console.print("Ctrl-C ends it.\n")
        seen = 0
        async with _until_interrupted() as over:
            while not over.is_set():
                while seen < len(server.sessions):
                    seen += 1
                    console.print(f"session {seen}: {server.sessions[seen - 1].id}")
                await _pause(over)


def _faculties(console: Console, say: Sequence[str] | None) -> tuple[Mind, Voice, Ear]:
    missing = speech.missing()
    if say or missing:
        if missing and not say:
            console.print(
                f"The offline voice is not installed ({', '.join(missing)}): it hums and understands nothing."
            )
            console.print("To be understood and answered in speech: pip install -r requirements/local.txt\n")
        return ScriptedMind(list(say or ["Hello. I can only hum."]), otherwise="Hm."), ToneVoice(), TypedEar()
    ear, voice = speech.WhisperEar(), speech.HibariVoice()
    ear.load()
    voice.load()
    return speech.RuleMind(), voice, ear


@app.command("carrier")
def carrier(
    port: Annotated[
        int, typer.Option(help="Where its REST API listens; 0 takes a free port.", min=0, max=65535)
    ] = 8791,
    account_sid: Annotated[str, typer.Option(help="The account.")] = "AC" + "0" * 32,
    auth_token: Annotated[
        str, typer.Option(envvar="TWILIO_AUTH_TOKEN", help="Signs webhooks and opens the REST API.")
    ] = "0123456789abcdef0123456789abcdef",  # noqa: S107 - an emulated account's, told in --help
    public_url: Annotated[
        str, typer.Option(help="The PUBLIC_BASE_URL of the server that is called, when calls name another address.")
    ] = "",
    delay_ms: Annotated[int, typer.Option(help="Network delay, one way.", min=0)] = 50,
) -> None:
    """Be a Twilio: its REST resource for calls, webhooks, TwiML, media streams.

    A call created over REST dials the webhook that it names; the callee says nothing and hangs up after a minute.

    Example: voice-gateway emulate carrier --port 8791, then with Twilio's package: client.api.base_url = "http://127.0.0.1:8791"
    """
    manners = Manners(rest_port=port, plain_ws=True)
    weather = Weather(one_way_s=delay_ms / 1000)
    carrier = Carrier(account_sid, auth_token, weather=weather, manners=manners, public_base_url=public_url or None)
    _run(_serve_carrier(Console(highlight=False), carrier))


async def _serve_carrier(console: Console, carrier: Carrier) -> None:
    async with carrier:
        console.print(f"An emulated carrier's REST API listens at {carrier.rest_url}")
        console.print(f"  account {carrier.account_sid}, token of {len(carrier.auth_token)} characters")
        console.print(f'  Twilio\'s package: client.api.base_url = "{carrier.rest_url}"')
        console.print("Ctrl-C ends it.\n")
        callees: set[asyncio.Task[None]] = set()
        async with _until_interrupted() as over:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    call = await carrier.next_outbound(timeout_s=0.2)
                    callees.add(asyncio.ensure_future(_answer(console, call)))
        for callee in callees:
            callee.cancel()
        await asyncio.gather(*callees, return_exceptions=True)


async def _answer(console: Console, call: PhoneCall) -> None:
    """Be the callee: listen for a minute at most."""
    console.print(f"{call.call_sid}: rings at {mask_number(call.parties.to_number)}")
    try:
        outcome = await call.ended(60)
    except TimeoutError:
        await call.hang_up()
        outcome = call.outcome
    heard_s = sum(segment.length for segment in call.played if segment.audible) / 8000
    why = f"; {call.error.reason} ({call.error.code})" if call.error else ""
    console.print(f"{call.call_sid}: {outcome}; {heard_s:.1f} s were heard{why}", soft_wrap=True)


# --- both -------------------------------------------------------------------------------------------------------


def read_faults(words: Sequence[str]) -> Faults:
    """`NAME` or `NAME=VALUE` each. Raises `typer.BadParameter` that names the faults there are, or what is wanted."""
    known = [each.name for each in fields(Faults)]
    chosen: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name not in known:
            raise typer.BadParameter(f"there is no fault {name!r}; there are: {', '.join(known)}")
        chosen[name] = value if equals else "true"
    try:
        return TypeAdapter(Faults).validate_python(chosen)
    except ValidationError as error:
        problems = [f"{each['loc'][0]}: {each['msg']}" for each in error.errors()]
        raise typer.BadParameter("; ".join(problems)) from None


def _run(work: Coroutine[Any, Any, None]) -> None:
    logs.configure("warning")
    try:
        asyncio.run(work)
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            raise
        raise GatewayError("this port is taken by another program; choose one with --port, or 0 for any") from None


@contextlib.asynccontextmanager
async def _until_interrupted() -> Any:
    """An event that Ctrl-C and SIGTERM set."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    try:
        yield over
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _pause(over: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await over.wait()
