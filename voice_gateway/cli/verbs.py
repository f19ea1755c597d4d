"""The verbs of the command line."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from voice_gateway import __version__
from voice_gateway.cli import call, clips, demo, emulate, erase, mcp, menu, migrate, outbox, replay, serve, timeline
from voice_gateway.cli.cast import scenario_guide

app = typer.Typer(
    name="voice-gateway",
    help=(
        "A telephony voice gateway: people dial an ordinary number and talk with an AI.\n\n"
        "Start with [bold]voice-gateway demo[/bold]: a whole spoken call on this machine, without a key or a network."
    ),
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("call", epilog=scenario_guide())(call.call)
app.command("replay")(replay.replay)
app.command("timeline")(timeline.timeline)
app.command("migrate")(migrate.migrate)
app.command("menu")(menu.menu)
app.command("erase")(erase.erase)
app.command("outbox")(outbox.outbox)
app.command("clips")(clips.clips)
app.command("mcp")(mcp.mcp)
app.add_typer(emulate.app, name="emulate")


def _flowing(text: str) -> str:
    """A docstring as a help text: each paragraph one line, for the terminal to break, and brackets as they stand."""
    return "\n\n".join(escape(" ".join(paragraph.split())) for paragraph in text.split("\n\n"))


for _verb in (*app.registered_commands, *emulate.app.registered_commands):
    _verb.help = _flowing(_verb.callback.__doc__ or "") if _verb.callback else None


def _show_version(value: bool) -> None:  # noqa: FBT001 - the shape of typer's callbacks
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
