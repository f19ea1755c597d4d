"""`voice-gateway clips`: the spoken greetings that are kept."""

from __future__ import annotations

from typing import Annotated

import typer

from voice_gateway import config
from voice_gateway.cli.env_file import DEFAULT, EnvFile
from voice_gateway.errors import GatewayError
from voice_gateway.store.clips import Clips


def clips(
    env_file: EnvFile = DEFAULT,
    forget: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--forget", help="Remove them all: the model's next greeting is kept anew.")
    ] = False,
) -> None:
    """Show the spoken greetings that are kept, or forget them.

    With GREETING_CLIPS on, the model's own first greeting is kept as a WAV file beside STORE_PATH. Later calls play it
    at once.

    A change of greeting, instructions, voice or model needs no forgetting: it has a clip of its own. Forget one that
    does not sound well. A gateway that is running plays what it has until it is started again.

    Example: voice-gateway clips --forget
    """
    kept = Clips(config.load(env_file=env_file).clips_folder)
    if forget:
        try:
            count = kept.forget()
        except OSError as fault:
            raise GatewayError(f"{kept.folder} cannot be emptied: {fault.strerror}") from None
        typer.echo(f"Forgotten: {count}. A gateway that is running must be started again.")
        return
    found = False
    for path, key, clip in kept.listed():
        found = True
        if key is None or clip is None:
            typer.echo(f"{path}\n  cannot be read; the next greeting takes its place")
        else:
            typer.echo(f"{path}\n  {key.persona}, voice {key.voice} of {key.model}, {clip.duration_ms / 1000:.1f} s")
            typer.echo(f"  {clip.text}")
    if not found:
        typer.echo(f"No greeting is kept in {kept.folder}.")
