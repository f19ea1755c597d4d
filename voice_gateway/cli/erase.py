"""`voice-gateway erase`: remove a person everywhere, and prove it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from voice_gateway import config
from voice_gateway.cli.env_file import DEFAULT, EnvFile
from voice_gateway.errors import GatewayError
from voice_gateway.ops.privacy import mask_number, scrub
from voice_gateway.store.person import Person

if TYPE_CHECKING:
    from voice_gateway.config import Settings
    from voice_gateway.erase import Eraser, Report


_SEARCHED: Final = {
    "local rows": "tables", "local bytes": "files", "Storage": "buckets", "Supabase rows": "tables",
}  # fmt: skip
"""What is counted in a place that has many."""


def erase(
    number: Annotated[str, typer.Option(help="A telephone number with its country code: +250788000123.")] = "",
    call: Annotated[list[str] | None, typer.Option(help="A call's id, CA...; may be given several times.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without this it is only told what would go.")] = False,  # noqa: FBT002 - a flag
    env_file: EnvFile = DEFAULT,
) -> None:
    """Remove a person everywhere, search every place again, and tell what was searched.

    Places: the local file, with its unshipped facts and its free parts; recordings; traces; Supabase and its
    Storage. Their calls go with all that belongs to them, and orders, messages, appointments and the customer's row;
    in the calls of others the number is replaced by [erased]. The gateway may be running. Exit code 1: something is
    left; it is told.

    Example: voice-gateway erase --number +250788000123 --yes
    """
    calls = frozenset(filter(None, call or []))
    if not number and not calls:
        raise GatewayError("name a person with --number +250788000123, or calls with --call CA...")
    settings, person = config.load(env_file=env_file), Person.of(number, calls)
    if person.digits and settings.twilio_from_number.removeprefix("+") == person.digits:
        raise GatewayError("--number is TWILIO_FROM_NUMBER, a line of your own and no person")
    raise typer.Exit(asyncio.run(_run(settings, person, number, yes=yes)))


async def _run(settings: Settings, person: Person, number: str, *, yes: bool) -> int:
    from voice_gateway.erase import Eraser, Places  # noqa: PLC0415 - serves this verb alone

    remote = storage = None
    if settings.supabase_url:
        from voice_gateway.store.bucket import Bucket  # noqa: PLC0415 - costs a third of a second
        from voice_gateway.store.erasure_bucket import BucketErasure  # noqa: PLC0415 - as above
        from voice_gateway.store.erasure_remote import RemoteErasure  # noqa: PLC0415 - as above

        url, key = settings.supabase_url, settings.supabase_key
        remote, storage = RemoteErasure(url, key), BucketErasure(lambda name: Bucket(url, key, name))
    local = (settings.store_path, settings.recordings_dir, settings.trace_dir)
    places = Places(*local, remote, storage, settings.recordings_bucket)
    try:
        return await _perform(Eraser(places, tell=typer.echo), person, mask_number(number), yes=yes)
    finally:
        if remote is not None and storage is not None:
            await remote.close()
            await storage.close()
        if settings.call_webhook_url.get_secret_value():
            typer.echo("What was sent to the webhook is with its owner: have it erased there.")


async def _perform(eraser: Eraser, person: Person, shown: str, *, yes: bool) -> int:
    found = await eraser.search(person)
    who = shown or "the calls named"
    calls = len(found.person.call_sids)
    known = f"Of {who} there is ({calls} call{'' if calls == 1 else 's'}):"
    typer.echo(known if found.total else f"Of {who} there is nothing.")
    _table(found)
    if found.lines:
        typer.secho(f"Calls came in on {who}: it is a line of yours and no person. Nothing is done.", err=True)
        return 2
    if not yes:
        _problems(found)
        typer.echo("Nothing was changed. Add --yes to erase it." if found.total else "Nothing was changed.")
        return 1 if found.problems else 0
    after = await eraser.erase(person)
    typer.echo("Searched again, this is left:")
    _table(after)
    _problems(after)
    if after.live:
        typer.secho("A call is going on, or was until just now: run it again half a minute after its end.", err=True)
    clean = not (after.total or after.problems or after.live)
    typer.echo(f"Nothing of {who} is left." if clean else "Not everything is done.")
    return 0 if clean else 1


def _table(report: Report) -> None:
    """What was found, place by place, and in one line where else it was looked for."""
    for place, counts in report.counts.items():
        for name, count in counts.items():
            if count:
                typer.echo(f"  {place:14} {scrub(name):32} {count}")
    empty = {place: sum(not count for count in counts.values()) for place, counts in report.counts.items()}
    told = [
        f"{place} ({count} {_SEARCHED[place]})" if place in _SEARCHED else place
        for place, count in empty.items()
        if count
    ]
    if told:
        typer.echo(f"  Searched, and nothing there: {', '.join(told)}.")


def _problems(report: Report) -> None:
    for problem in report.problems:
        typer.secho(scrub(problem), fg="yellow", err=True)
