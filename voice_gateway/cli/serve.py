"""`voice-gateway serve`: the gateway for real calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voice_gateway import app, config, launch
from voice_gateway.errors import ConfigError
from voice_gateway.ops import logs


def serve(
    env_file: Annotated[Path, typer.Option(help="The file with the settings; may be absent.")] = Path(".env"),
    port: Annotated[int | None, typer.Option(help="Instead of PORT.", min=0, max=65535)] = None,
    check: Annotated[bool, typer.Option("--check", help="Only show the settings; 1 if no call can be served.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Serve calls. Settings come from the environment and .env; .env.example explains each.

    SIGTERM drains: no new calls, live ones go on until DRAIN_SECONDS. A second signal stops at once.
    """
    if env_file != Path(".env") and not env_file.exists():
        raise ConfigError([f"--env-file names {env_file}, which is not there."])
    settings = config.load(env_file=env_file)
    if port is not None:
        settings = settings.model_copy(update={"port": port})
    if check:
        app.build(settings)  # raises what would keep the gateway from starting
        for name, value in settings.public().items():
            typer.echo(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
        for sentence in (*settings.missing(), *settings.warnings_at_start()):
            typer.secho(sentence, fg="yellow", err=True)
        if settings.missing():
            raise typer.Exit(1)
        return
    logs.configure(settings.log_level, secrets=settings.secrets())
    launch.run(settings)
