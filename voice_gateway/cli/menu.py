"""`voice-gateway menu`: what is on the menu, and an operator's own put in."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from voice_gateway import config
from voice_gateway.agent.cast import Role
from voice_gateway.cli.env_file import DEFAULT, EnvFile
from voice_gateway.cli.show import Teller
from voice_gateway.config import Settings
from voice_gateway.errors import GatewayError
from voice_gateway.makings import rows_of
from voice_gateway.store.local_rows import EXAMPLES
from voice_gateway.store.markets import money
from voice_gateway.store.menu import MenuError, MenuFile, read_menu
from voice_gateway.store.remote import RemoteError
from voice_gateway.store.rows import TablesAway
from voice_gateway.store.tables import Tables


def menu(
    source: Annotated[Path | None, typer.Option("--import", help="A menu to put in: .csv or .json, UTF-8.")] = None,
    market: Annotated[str, typer.Option(help="A country of two letters (ISO 3166-1): the menu that is meant.")] = "",
    currency: Annotated[str, typer.Option(help="ISO 4217, for items that name none: USD.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="What the market has besides is sold no more.")] = False,  # noqa: FBT002 - a flag
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check it and tell what would change.")] = False,  # noqa: FBT002 - a flag
    env_file: EnvFile = DEFAULT,
) -> None:
    """Show what is on the menu, or put your own in, at the place that TOOLS_STORE names.

    A CSV file names its columns in the first line: name, category and price must be there, and there may be id,
    currency, description, image_url, tags (with | between them), available (yes or no) and pairings, what goes well
    with it: us-cola: A cold cola with that? | us-fries: Some fries? JSON is a list of objects with the same names. A
    price is a number such as 3000 or 3.50, with no more digits behind the point than its currency has. Each item is
    added, or takes the place of the one with its id; without one it is made of market and name. Where the field
    pairings is absent, those that are there stay.

    All lines are checked first, and all or none is written; the gateway may be running, and reads it at the next
    question. With --replace, what the file does not name is no longer offered; its row stays, for orders refer to it.
    Then write the market into the persona: market = "US".

    Example: voice-gateway menu --import menu.csv --market US --currency USD --dry-run
    """
    if source is None and (currency or replace or dry_run):
        raise GatewayError("--currency, --replace and --dry-run go with --import FILE.")
    if source is not None and not market:
        raise GatewayError("--import needs --market: the country whose menu it is, such as --market US.")
    settings = config.load(env_file=env_file)
    if source is None:
        asyncio.run(_show(settings, market.strip().upper()))
    else:
        given = read_menu(source, market, currency)
        asyncio.run(_put(settings, given, replace=replace, dry_run=dry_run))


async def menu_doubts(settings: Settings, roles: Sequence[Role]) -> list[str]:
    """A sentence for each persona whose tools would find the menu empty."""
    wanted = {role.persona.key: role.needs_menu_of for role in roles if role.needs_menu_of}
    if not wanted:
        return []
    try:
        async with _tables(settings) as tables:
            there = {item.market for item in await tables.menu()}
    except GatewayError as error:
        return [f"Whether there is a menu cannot be told: {error}"]
    if not there and settings.tools_store == "local":
        there = set(EXAMPLES)
    return [
        f"persona {key}: market: the menu has nothing of {market} yet; put it in: "
        f"voice-gateway menu --import FILE --market {market}"
        for key, market in wanted.items()
        if market not in there
    ]


@asynccontextmanager
async def _tables(settings: Settings) -> AsyncIterator[Tables]:
    """The tools' tables, where they are. What goes wrong comes as a `GatewayError`."""
    rows = rows_of(settings, seed=False)
    if settings.tools_store == "local":
        await rows.start()
    try:
        yield Tables(rows)
    except (TablesAway, RemoteError) as error:
        raise GatewayError(f"the menu cannot be reached: {error}") from None
    finally:
        await rows.close()


async def _put(settings: Settings, given: MenuFile, *, replace: bool, dry_run: bool) -> None:
    async with _tables(settings) as tables:
        counts = await tables.put_menu(given, replace=replace, dry_run=dry_run)
    problems = [f"id: {each} is an item of another market; give it another id" for each in counts["strangers"]]
    problems += [f"pairings: {each} is no item of this market" for each in counts["unknown"]]
    if problems:
        raise MenuError(problems)
    told = f"{counts['added']} added, {counts['replaced']} replaced, {counts['withdrawn']} withdrawn"
    typer.echo(f"Menu of {given.market}, {settings.tools_store}: {told}.")
    if dry_run:
        typer.echo("Nothing was written: leave out --dry-run to do it.")


async def _show(settings: Settings, market: str) -> None:
    async with _tables(settings) as tables:
        items = await tables.menu(market or None)
    if not items:
        typer.echo(
            f"There is nothing on the menu{f' of {market}' if market else ''} yet: put it in with --import FILE."
        )
        return
    teller = Teller()
    if not market:
        counts = Counter((item.market, item.currency) for item in items)
        teller.table(("market", "currency", "items"), [(*key, str(count)) for key, count in sorted(counts.items())])
        typer.echo("--market shows the items of one.")
        return
    teller.table(
        ("id", "name", "category", "price"),
        [(item.id, item.name, item.category, money(item.price, item.currency)) for item in items],
    )
