"""`voice-gateway serve`: the gateway for real calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer

from voice_gateway import app, config, launch
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.routes import Routes
from voice_gateway.agent.supervision import CONSULT
from voice_gateway.agent.toolbox import HOUSE_TOOLS
from voice_gateway.cli.env_file import DEFAULT, EnvFile
from voice_gateway.cli.menu import menu_doubts
from voice_gateway.cli.show import Teller
from voice_gateway.config import Settings
from voice_gateway.makings import tighter
from voice_gateway.ops import logs
from voice_gateway.ops.privacy import scrub


def serve(
    env_file: EnvFile = DEFAULT,
    port: Annotated[int | None, typer.Option(help="Instead of PORT.", min=0, max=65535)] = None,
    check: Annotated[bool, typer.Option("--check", help="Only show what is set; 1 if no call can be served.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Serve calls. Settings come from the environment and .env; .env.example explains each.

    SIGTERM drains: no new calls, live ones go on until DRAIN_SECONDS. A second signal stops at once.
    """
    settings = config.load(env_file=env_file)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    variables = config.variables(env_file)
    if check:
        raise typer.Exit(0 if _check(settings, variables) else 1)
    logs.configure(settings.log_level, secrets=settings.secrets())
    launch.run(settings, variables)


def _check(settings: Settings, variables: Mapping[str, str]) -> bool:
    """Show what a gateway would do with these settings, and what is doubtful. False: no call could be served."""
    gateway = launch.prepare(settings, variables)
    teller = Teller()
    _show_settings(teller, settings)
    _show_personas(teller, gateway, settings)
    _show_routes(teller, gateway.routes)
    _show_tools(teller, gateway)
    teller.blank()
    menuless = asyncio.run(menu_doubts(settings, gateway.roles))
    missing = settings.missing()
    doubts = (*gateway.unpriced(), *gateway.doubts(), *gateway.routes.doubts(), *menuless)
    for sentence in (*missing, *settings.warnings_at_start(), *doubts):
        typer.secho(sentence, fg="yellow", err=True)
    if missing:
        typer.secho(launch.UNSERVED, fg="yellow", err=True)
    elif settings.takes_calls:
        teller.out("Calls can be served.")
    else:
        teller.out("Calls are switched off: callers hear DISABLED_SENTENCE.")
    return not missing


def _show_settings(teller: Teller, settings: Settings) -> None:
    """What is not as it comes."""
    usual = Settings.model_validate({}).public()
    own = {name: value for name, value in settings.public().items() if value != usual[name]}
    teller.heading("Settings")
    for name, value in own.items():
        teller.out(f"  {name}={str(value).lower() if isinstance(value, bool) else value}")
    teller.out(f"  All {'others' if own else 'of them'} are as in .env.example.")


def _show_personas(teller: Teller, gateway: app.Gateway, settings: Settings) -> None:
    """Who answers, with what each uses where its own file names nothing."""
    teller.heading("Personas")
    columns = ("persona", "voice", "model", "languages", "market", "limits", "hours", "recording", "tools")
    teller.table(columns, [_row(role.persona, settings) for role in gateway.roles])


def _show_routes(teller: Teller, routes: Routes) -> None:
    """Who answers which call; the first row that fits decides. Numbers are masked."""
    teller.heading("Who answers")
    rows = [
        (
            ", ".join(map(scrub, route.written["to"])) or "any",
            ", ".join(map(scrub, route.written["from"])) or "anybody",
            ", ".join(route.languages) or "any",
            f"{route.percent:g} %",
            route.persona,
        )
        for route in routes.routes
    ]
    others = ("any other", "anybody", "any", "100 %") if rows else ("any", "anybody", "any", "100 %")
    teller.table(("number called", "caller", "language", "share", "persona"), [*rows, (*others, routes.default)])


def _show_tools(teller: Teller, gateway: app.Gateway) -> None:
    """Every tool that a persona may name, and where it stands."""
    teller.heading("Tools")
    rows = [
        (
            tool.name,
            "once" if tool.has_effect else "",
            f"{tool.timeout_s:g} s" + ("" if tool.limit is None else f", {tool.limit} at a time"),
            tool.filler,
            "the house" if tool.function in HOUSE_TOOLS else tool.place,
        )
        for tool in gateway.toolbox.tools
    ]
    teller.table(("tool", "effect", "limits", "filler", "from"), rows)


def _row(persona: Persona, settings: Settings) -> tuple[str, ...]:
    seconds = tighter(settings.max_call_seconds, persona.limits.max_call_seconds)
    usd = tighter(settings.max_call_usd, persona.limits.max_call_usd)
    model = persona.model or settings.openai_realtime_model
    method = settings.recording_consent if persona.consent is None else persona.consent.method
    return (
        f"{persona.key} (default)" if persona.key == settings.default_persona else persona.key,
        persona.voice or settings.openai_realtime_voice,
        f"{model}, {persona.reasoning_effort}" if persona.reasoning_effort else model,
        ", ".join(persona.languages) or persona.language or "any",
        persona.market or "all",
        f"{seconds:g} s" + (f", {usd:g} USD" if usd else ""),
        f"in {persona.hours.zone}" if persona.hours else "always",
        method if settings.recording_enabled else "off",
        (", ".join(persona.tools) or "none") + _supervised(persona),
    )


def _supervised(persona: Persona) -> str:
    if CONSULT not in persona.tools:
        return ""
    return f"; its supervisor: {', '.join(persona.supervisor.tools) or 'none'}"
