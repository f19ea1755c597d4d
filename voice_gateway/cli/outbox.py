"""`voice-gateway outbox`: what waits to be told or brought, and what is set aside."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from voice_gateway import config
from voice_gateway.cli.env_file import DEFAULT, EnvFile
from voice_gateway.errors import GatewayError
from voice_gateway.ops.privacy import scrub
from voice_gateway.store import waiting


def outbox(
    retry: Annotated[bool, typer.Option("--retry", help="Have all that is set aside tried again.")] = False,  # noqa: FBT002 - a flag
    drop: Annotated[
        list[str] | None,
        typer.Option(help="Give one up for good, by its id, such as supabase:12; `all` is every one."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before something is given up.")] = False,  # noqa: FBT002 - a flag
    env_file: EnvFile = DEFAULT,
) -> None:
    """Show what waits to reach Supabase, the webhook and the bucket of recordings, and what is set aside, and why.

    What a destination will never take is set aside, so that it holds up nothing. Put right what is to blame, and
    --retry: a gateway that is running goes on with it within seconds; every start does it as well. What is dropped is
    never told or brought; the record in the file at STORE_PATH and the file of a recording stay.

    Example: voice-gateway outbox --drop supabase:12
    """
    settings = config.load(env_file=env_file)
    path = settings.store_path
    if not path.exists():
        raise GatewayError(f"There is no file at STORE_PATH ({path}): nothing was recorded here.")
    try:
        if drop:
            _drop(path, drop, yes=yes)
        if retry:
            typer.echo(f"To be tried again: {waiting.retry(path)}.")
        _show(path, settings)
    except sqlite3.Error as fault:
        raise GatewayError(f"{path}: {fault}. Try again; if that does not help, look at the file.") from None


def _drop(path: Path, ids: Sequence[str], *, yes: bool) -> None:
    asides = waiting.named(path, ids)
    _list(asides)
    if asides and not yes:
        typer.confirm(f"Give up these {len(asides)} for good?", abort=True)
    typer.echo(f"Given up: {waiting.drop(path, asides)}.")


def _show(path: Path, settings: config.Settings) -> None:
    typer.echo(f"{'for':10}{'waiting':>9}{'set aside':>11}  oldest")
    for each in waiting.queues(path):
        since = "" if each.oldest is None else f"{_length(time.time() - each.oldest)} ago"
        lacking = _lacking(each.name, settings) if each.depth else ""
        typer.echo(f"{each.name:10}{each.depth:9}{each.refused:11}  {since}{lacking}".rstrip())
    asides = waiting.set_aside(path)
    if asides:
        typer.echo("\nSet aside, and why:")
        _list(asides)
    if len(asides) >= waiting.LISTED:
        typer.echo(f"At most {waiting.LISTED} of each are shown.")


def _lacking(name: str, settings: config.Settings) -> str:
    """Why nothing leaves: the setting that would name the destination is empty here."""
    there = {
        "supabase": ("SUPABASE_URL", settings.supabase_url),
        "webhook": ("CALL_WEBHOOK_URL", settings.call_webhook_url.get_secret_value()),
        "storage": ("RECORDINGS_BUCKET", settings.recordings_bucket),
    }
    setting, value = there[name]
    return "" if value else f"; {setting} is not set here: kept until it is, as far as STORE_MAX_MB allows"


def _list(asides: Sequence[waiting.Aside]) -> None:
    for each in asides:
        at = datetime.fromtimestamp(each.since, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        typer.echo(f"{each.id}  {at}  {scrub(each.call_sid)}  {scrub(each.what)}\n    {scrub(each.reason)}")


def _length(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
