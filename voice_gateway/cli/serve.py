"""`voice-gateway serve`: the gateway for real calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from voice_gateway import app, config, launch
from voice_gateway.agent.personas import Persona
from voice_gateway.agent.supervision import CONSULT
from voice_gateway.agent.toolbox import HOUSE_TOOLS
from voice_gateway.cli.menu import menu_doubts
from voice_gateway.cli.show import Teller
from voice_gateway.config import Settings
from voice_gateway.errors import ConfigError
from voice_gateway.makings import tighter
from voice_gateway.ops import logs


def serve(
    env_file: Annotated[Path, typer.Option(help="The file with the settings; may be absent.")] = Path(".env"),
    port: Annotated[int | None, typer.Option(help="Instead of PORT.", min=0, max=65535)] = None,
    check: Annotated[bool, typer.Option("--check", help="Only show what is set; 1 if no call can be served.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Serve calls. Settings come from the environment and .env; .env.example explains each.

    SIGTERM drains: no new calls, live ones go on until DRAIN_SECONDS. A second signal stops at once.
    """
    if env_file != Path(".env") and not env_file.exists():
        raise ConfigError([f"--env-file names {env_file}, which is not there."])
    settings = config.load(env_file=env_file)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    variables = config.variables(env_file)
    if check:
        gateway = app.build(settings, variables=variables)  # raises what would keep the gateway from starting
        launch.check_places(settings)
        for name, value in settings.public().items():
            typer.echo(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
        _show_personas(gateway, settings)
        _show_tools(gateway)
        menuless = asyncio.run(menu_doubts(settings, gateway.roles))
        doubts = (*settings.warnings_at_start(), *gateway.unpriced(), *gateway.doubts(), *menuless)
        for sentence in (*settings.missing(), *doubts):
            typer.secho(sentence, fg="yellow", err=True)
        if settings.missing():
            raise typer.Exit(1)
        return
    logs.configure(settings.log_level, secrets=settings.secrets())
    launch.run(settings, variables)


def _show_personas(gateway: app.Gateway, settings: Settings) -> None:
    """Who answers, with what each uses where its own file names nothing."""
    teller = Teller()
    teller.heading("Personas")
    columns = ("persona", "voice", "model", "languages", "market", "limits", "hours", "recording", "tools")
    teller.table(columns, [_row(role.persona, settings) for role in gateway.roles])


def _show_tools(gateway: app.Gateway) -> None:
    """Every tool that a persona may name, and where it stands."""
    teller = Teller()
    teller.heading("Tools")
    rows = [
        (
            tool.name,
            "once" if tool.has_effect else "",
            f"{tool.timeout_s:g} s",
            "any number" if tool.limit is None else str(tool.limit),
            tool.filler,
            "the house" if tool.function in HOUSE_TOOLS else tool.place,
        )
        for tool in gateway.toolbox.tools
    ]
    teller.table(("tool", "effect", "time limit", "at a time", "filler", "from"), rows)


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
