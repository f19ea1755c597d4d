"""`voice-gateway timeline`: a traced call as a picture."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from voice_gateway.cli.show import Teller
from voice_gateway.errors import GatewayError
from voice_gateway.trace.notes import read
from voice_gateway.trace.page import page
from voice_gateway.trace.picture import draw
from voice_gateway.trace.story import tell


def timeline(
    file: Annotated[Path, typer.Argument(help="A trace, as TRACE_DIR collects them; .gz is fine.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Where it goes: .html is a page with the call to listen to, .svg the picture alone. "
            "By default beside the trace, as a page.",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        float | None, typer.Option(help="Pixels a second; by default as the call's length allows.", min=1, max=400)
    ] = None,
    sound: Annotated[bool, typer.Option(help="Put the call into the page, some 20 kB a second.")] = True,  # noqa: FBT002 - a flag
) -> None:
    """Draw a traced call: both voices on one clock, what was heard and what was not, the waits, tools and faults.

    The page needs nothing but itself, opens on a telephone as well, and plays the call: click where you want to listen.

    It shows and tells what people said. It is readable by its owner alone; mind whom you send it to.

    Example: voice-gateway timeline var/traces/20260504T102030Z-CA0123.jsonl -o call.html
    """
    target = out or file.with_name(f"{file.name.split('.', 1)[0]}.html")
    if target.suffix not in {".html", ".svg"}:
        raise GatewayError(f"-o names {target}: it should end in .html or .svg")
    write_picture(file, target, scale, sound=sound)
    Teller().out(f"To look at: {target}", "bold")


def write_picture(trace: Path, target: Path, scale: float | None = None, *, sound: bool = True) -> None:
    """Draw a trace into a file of its owner's. Raises GatewayError."""
    story = tell(read(trace))
    text = draw(story, scale) if target.suffix == ".svg" else page(story, scale, sound=sound)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as fault:
        raise GatewayError(f"{target} cannot be written: {fault.strerror}") from None
