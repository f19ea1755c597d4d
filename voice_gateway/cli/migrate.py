"""`voice-gateway migrate`: the record's tables in a PostgreSQL or a Supabase project."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voice_gateway import config
from voice_gateway.cli.env_file import DEFAULT, EnvFile
from voice_gateway.errors import GatewayError

if TYPE_CHECKING:
    from voice_gateway.store.migrate import Outcome


def migrate(
    env_file: EnvFile = DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything, undo it, and tell what it was.")] = False,  # noqa: FBT002 - a flag
    seed: Annotated[bool, typer.Option("--seed", help="Also add the demonstration's rows.")] = False,  # noqa: FBT002 - a flag
    folder: Annotated[Path | None, typer.Option(help="The files, if not those that came with the program.")] = None,
) -> None:
    """Make or update the tables of the record in the database at DATABASE_URL.

    Each file of migrations/ is applied once, in order and all in one transaction: if one fails, nothing was
    changed. Run it before each start of a new version; where nothing is missing it does nothing. `psql` and the
    Supabase CLI take the same files.

    Example: DATABASE_URL=postgresql://postgres:secret@127.0.0.1:5432/postgres voice-gateway migrate --dry-run
    """
    from voice_gateway.store import migrate as migrations  # noqa: PLC0415 - PostgreSQL's driver serves this verb alone

    url = config.load(env_file=env_file).database_url.get_secret_value()
    if not url:
        raise GatewayError("DATABASE_URL is not set: put postgresql://user:password@host:5432/database into .env.")
    folder = folder or migrations.migrations_folder()
    outcome = migrations.migrate(
        url,
        migrations.read_migrations(folder),
        seed=migrations.read_seed(folder) if seed else (),
        dry_run=dry_run,
    )
    for name in [*(each.file for each in outcome.applied), *outcome.seeded]:
        typer.echo(f"{'would apply' if dry_run else 'applied'} {name}")
    for name in outcome.later:
        typer.secho(f"{name} is in the database and not here: it is of a later version.", fg="yellow", err=True)
    typer.echo(_summary(outcome, dry_run=dry_run))


def _summary(outcome: Outcome, *, dry_run: bool) -> str:
    count = len(outcome.applied)
    if not count:
        return f"Nothing is missing: {outcome.known} migrations were applied before."
    if dry_run:
        return f"{count} migrations are missing; they were tried and undone."
    return f"{count} applied, {outcome.known} were there before."
