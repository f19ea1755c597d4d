"""A menu of any country in any currency: read line by line, put in as a whole, in both places and in older files."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import postgres_server
import psycopg
import pytest
from far_side import SECRET_KEY, Supabase
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import ToolContext
from voice_gateway.cli.verbs import app
from voice_gateway.errors import GatewayError
from voice_gateway.store.database import open_database
from voice_gateway.store.markets import COUNTRIES, DIGITS, money, read_price
from voice_gateway.store.menu import MOST_ITEMS, MenuError, MenuFile, read_menu
from voice_gateway.store.tables import Tables

Read: TypeAlias = Callable[[str], list[tuple[Any, ...]]]
FIRST_VERSION = Path(__file__).parents[1] / "data/store_v1.sql"


def menu_of(folder: Path, text: str, market: str = "US", currency: str = "", name: str = "menu.csv") -> MenuFile:
    (folder / name).write_text(text, encoding="utf-8")
    return read_menu(folder / name, market, currency)


# --- reading ----------------------------------------------------------------------------------------------------


def test_a_csv_file_becomes_rows(tmp_path: Path) -> None:
    text = (
        "\ufeffName;Category;Price;Description;tags;available\r\n"
        'Crème brûlée;dessert;7.5;"Burnt; sweet";sweet|vegetarian;yes\r\n'
        "\r\n"
        "Lobster;fish;41;;;no\r\n"
    )
    brulee, lobster = menu_of(tmp_path, text, "us", "usd").items
    assert brulee == {
        "id": "us-creme-brulee", "name": "Crème brûlée", "category": "dessert", "price": "7.50", "currency": "USD",
        "description": "Burnt; sweet", "image_url": None, "tags": ["sweet", "vegetarian"], "available": True,
        "pairings": None,
    }  # fmt: skip
    assert (lobster["price"], lobster["available"]) == ("41.00", False)


def test_prices_of_a_json_file_are_exact(tmp_path: Path) -> None:
    items = '{"items": [{"id": "kw-1", "name": "شاي", "category": "tea", "price": 0.125, "currency": "KWD"},'
    items += '{"id": "jp-1", "name": "Tea", "category": "tea", "price": 1e3, "currency": "JPY", "tags": ["hot"]}]}'
    assert [row["price"] for row in menu_of(tmp_path, items, "KW", name="m.json").items] == ["0.125", "1000"]


def test_all_that_is_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    text = (
        "id,name,category,price,currency,image_url,available\n"
        "a,Tea,hot,3.505,USD,,\n"
        'b,"Two\nlines",hot,"3,50",USD,,\n'
        "a,,hot,,USD,ftp://x,maybe\n"
        "c,Tea,hot,1000.5,JPY,,\n"
        "d,Tea,hot,1,BTC,,\n"
        "e,Tea,hot,1\n"
        ",茶,hot,1,CNY,,\n"
        "f,Tea,hot,1000000000000,USD,,\n"
    )
    with pytest.raises(MenuError) as caught:
        menu_of(tmp_path, text)
    assert str(caught.value).splitlines()[1:] == [
        "  menu.csv:2: price: USD has 2 digits behind the point, and 3.505 has more",
        "  menu.csv:3: price: must be a number such as 3000 or 3.50, without a currency or a comma, not '3,50'",
        "  menu.csv:5: name: is missing",
        "  menu.csv:5: image_url: must begin with https:// and hold no space",
        "  menu.csv:5: price: is missing; write 0 for what is free",
        "  menu.csv:5: available: must be yes or no, not 'maybe'",
        "  menu.csv:6: price: JPY has no digits behind the point, and 1000.5 has more",
        "  menu.csv:7: currency: must be one of ISO 4217 such as USD, not 'BTC'",
        "  menu.csv:8: has 4 fields for 7 columns; quote a text with a comma in it",
        "  menu.csv:9: id: is missing, and none can be made of this name; write one, such as us-1",
        "  menu.csv:10: price: must be below a million millions",
    ]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("m.csv", "name,price\nTea,1\n", "m.csv:1: has no column category"),
        ("m.csv", "name,category,price,cost\nTea,hot,1,1\n", "m.csv:1: cannot use cost"),
        ("m.csv", "", "m.csv:1: has no column name, category, price"),
        ("m.csv", "name,category,price\n", "there is no item in it"),
        ("m.csv", 'name,category,price\n"Tea,hot,1\n', "m.csv:2: "),
        ("m.csv", "name,category,price\nTea,hot,1\n", "m.csv:2: currency: is missing; name it here, or --currency USD"),
        (
            "m.csv",
            "id,name,category,price,currency\na,T,h,1,USD\na,U,h,1,USD\n",
            "m.csv:3: id: a is at m.csv:2 already",
        ),
        (
            "m.csv",
            "market,name,category,price,currency\nCA,T,h,1,USD\n",
            "m.csv:2: market: is CA, and this import is for",
        ),
        ("m.json", "[{", "m.json: is no JSON"),
        ("m.json", "3", "m.json: must be a list"),
        ("m.json", "[[]]", "m.json: item 1: must be an object"),
        ("m.json", '[{"name": 3, "colour": "red"}]', "m.json: item 1: colour: no such field"),
        (
            "m.json",
            '[{"name": "T", "category": "h", "price": NaN, "currency": "USD"}]',
            "item 1: price: must be a number",
        ),
        ("m.xlsx", "", "must be a .csv or a .json file"),
    ],
)
def test_a_file_that_is_none_says_why(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(MenuError) as caught:
        menu_of(tmp_path, text, name=name)
    assert told in str(caught.value)


def test_a_market_and_a_currency_are_those_of_the_standards(tmp_path: Path) -> None:
    with pytest.raises(MenuError, match=r"--market must be a country.*'UK'") as caught:
        menu_of(tmp_path, "", "UK", "dollar")
    assert "--currency must be one of ISO 4217 such as USD, not 'DOLLAR'" in str(caught.value)
    assert len(COUNTRIES) == 250
    assert (DIGITS["RWF"], DIGITS["USD"], DIGITS["KWD"], DIGITS["CLF"]) == (0, 2, 3, 4)


@given(st.sampled_from(sorted(DIGITS)), st.integers(0, 10**12 - 1), st.data())
def test_any_price_of_a_currency_is_read_and_written_as_it_is(currency: str, units: int, data: st.DataObject) -> None:
    minor = data.draw(st.integers(0, 10 ** DIGITS[currency] - 1))
    exact = units + Decimal(minor).scaleb(-DIGITS[currency])
    assert read_price(str(exact), currency) == exact
    told = orjson.loads(orjson.dumps(float(exact)))
    assert Decimal(str(told)) == exact, "and a program that is told it as a number of JSON has the very same"
    assert money(told, currency) == f"{exact:.{DIGITS[currency]}f} {currency}"


# --- both places ------------------------------------------------------------------------------------------------

GULF = (
    "id,name,category,price,currency,tags\n"
    "kw-tea,Karak,tea,0.125,KWD,hot\nkw-cof,Qahwa,coffee,1.250,KWD,hot\nkw-dat,Dates,dessert,2,KWD,sweet\n"
)


@pytest.fixture
async def tables(tables_over: Callable[[], Awaitable[Tables]]) -> Tables:
    return await tables_over()


async def ask(tables: Tables, tool: str, market: str, /, **arguments: Any) -> Any:
    context = ToolContext("CA1", tables=tables, market=market)
    return orjson.loads((await house_toolbox().run(tool, orjson.dumps(arguments).decode(), context)).output)


async def test_a_menu_is_put_in_and_told_in_its_own_money(tables: Tables, tmp_path: Path, read: Read) -> None:
    before = len(await tables.menu())
    counts = {"added": 3, "replaced": 0, "withdrawn": 0, "strangers": [], "unknown": []}
    assert await tables.put_menu(menu_of(tmp_path, GULF, "KW"), dry_run=True) == counts
    assert len(await tables.menu()) == before
    assert await tables.put_menu(menu_of(tmp_path, GULF, "KW")) == counts
    assert await tables.put_menu(menu_of(tmp_path, GULF, "KW")) == counts | {"added": 0, "replaced": 3}
    await tables.put_menu(menu_of(tmp_path, "name,category,price\nMatcha,tea,450\n", "JP", "JPY"))
    assert (await ask(tables, "lookup_menu", "KW", query="qahwa"))["items"] == [
        {
            "id": "kw-cof", "name": "Qahwa", "price": 1.25, "currency": "KWD", "description": "", "image_url": None,
            "category": "coffee",
        },
    ]  # fmt: skip
    assert [(item.id, item.price) for item in await tables.menu("JP")] == [("jp-matcha", 450)]
    assert read("select cast(price as text) from menu_items where id = 'kw-tea'") == [("0.125",)]
    await ask(tables, "place_order", "KW", item="kw-tea", quantity=3)
    answer = await ask(tables, "place_order", "KW", item="kw-cof")
    assert (answer["total"], answer["currency"]) == (1.625, "KWD")


async def test_what_a_new_menu_leaves_out_is_withdrawn_and_its_orders_stay(tables: Tables, tmp_path: Path) -> None:
    await tables.put_menu(menu_of(tmp_path, GULF, "KW"))
    await ask(tables, "place_order", "KW", item="kw-dat")
    shorter = menu_of(tmp_path, GULF.replace("kw-dat,Dates,dessert,2,KWD,sweet\n", ""), "KW")
    assert (await tables.put_menu(shorter))["withdrawn"] == 0
    assert (await tables.put_menu(shorter, replace=True, dry_run=True))["withdrawn"] == 1
    assert len(await tables.menu("KW")) == 3
    assert (await tables.put_menu(shorter, replace=True))["withdrawn"] == 1
    assert [item.id for item in await tables.menu("KW")] == ["kw-cof", "kw-tea"]
    assert [line.item_id for line in await tables.orders.of_call("CA1")] == ["kw-dat"]
    assert len(await tables.menu("RW")) == 11, "another market's menu is its own"


async def test_an_item_of_another_market_is_not_taken_over(tables: Tables, tmp_path: Path) -> None:
    counts = await tables.put_menu(menu_of(tmp_path, GULF.replace("kw-tea", "rw-cap"), "KW"), replace=True)
    assert counts["strangers"] == ["rw-cap"]
    assert await tables.menu("KW") == []
    assert [item.name for item in await tables.lookup_menu("cappuccino")] == ["Cappuccino"]


def test_pairings_of_csv_and_json_are_the_same_and_checked(tmp_path: Path) -> None:
    head, row = "id,name,category,price,currency,pairings\n", "a,Tea,hot,1,USD,"
    (item,) = menu_of(tmp_path, f"{head}{row}b: A biscuit: with it? | c: Milk?\n").items
    same = '[{"id": "a", "name": "Tea", "category": "hot", "price": 1, "currency": "USD", "pairings": '
    same += '[{"id": "b", "upsell": "A biscuit: with it?"}, {"id": "c", "upsell": "Milk?"}]}]'
    assert item["pairings"] == [{"id": "b", "upsell": "A biscuit: with it?"}, {"id": "c", "upsell": "Milk?"}]
    assert menu_of(tmp_path, same, name="m.json").items == (item,)
    assert menu_of(tmp_path, f"{head}{row}\n").items[0]["pairings"] == [], "said to have none"
    for wrong, told in {
        "b": "each must name the id of an item and, behind a colon, a sentence",
        "a: Another?": "it names the item itself",
        "b: One? | b: Two?": "an item is named twice",
    }.items():
        with pytest.raises(MenuError, match=rf"menu.csv:2: pairings: {told}"):
            menu_of(tmp_path, f"{head}{row}{wrong}\n")


async def test_what_goes_well_with_an_item_comes_in_with_the_menu(tables: Tables, tmp_path: Path) -> None:
    async def offered() -> list[tuple[str, str]]:
        return [(each.item.id, each.upsell) for each in await tables.pairings("kw-tea")]

    def paired(with_tea: str) -> MenuFile:
        head, tea, *others = GULF.splitlines()
        lines = [f"{head},pairings", f"{tea},{with_tea}", *(f"{each}," for each in others)]
        return menu_of(tmp_path, "\n".join(lines), "KW")

    strange = await tables.put_menu(paired("kw-dat: Dates? | rw-cap: Coffee? | kw-no: What?"))
    assert (strange["unknown"], await tables.menu("KW")) == (["kw-no", "rw-cap"], [])
    assert (await tables.put_menu(paired("kw-dat: Dates? | kw-cof: Or coffee?")))["unknown"] == []
    assert await offered() == [("kw-dat", "Dates?"), ("kw-cof", "Or coffee?")]
    await tables.put_menu(menu_of(tmp_path, GULF, "KW"))
    assert len(await offered()) == 2, "a menu that says nothing of them leaves them"
    await tables.put_menu(paired("kw-cof: Coffee!"), dry_run=True)
    assert len(await offered()) == 2
    await tables.put_menu(paired("kw-cof: Coffee!"))
    assert await offered() == [("kw-cof", "Coffee!")]


# --- what was there before --------------------------------------------------------------------------------------


def test_an_older_file_takes_any_market_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(FIRST_VERSION.read_text(encoding="utf-8"))
        db.executescript(
            "create table orders (id text primary key not null, item_id text not null references menu_items(id));"
            "alter table menu_items add column allergens text; create index own on menu_items(allergens);"
            "create view dear as select name from menu_items where price > 3;"
            "create table seen (id); create trigger noted after insert on menu_items begin "
            "insert into seen values (new.id); end;"
            "insert into menu_items (id, market, name, category, price, currency, allergens) values "
            "('a', 'MT', 'Kinnie', 'soft', 2.80, 'EUR', 'none'), ('b', 'RW', 'Tea', 'hot', 3000, 'RWF', null), "
            "('c', 'MT', 'Odd', 'soft', 'free', 'EUR', null);"
            "insert into orders values ('o', 'a');"
            "insert into pairings (item_id, paired_item_id, upsell) values ('a', 'b', 'Tea?');"
        )
    for _ in range(2):
        with closing(open_database(path)) as db:
            assert db.execute("select id, price, typeof(price), allergens, available from menu_items").fetchall() == [
                ("a", "2.8", "text", "none", 1), ("b", "3000", "text", None, 1), ("c", "0", "text", None, 0),
            ]  # fmt: skip
            assert db.execute("select item_id, paired_item_id from pairings").fetchall() == [("a", "b")]
            assert db.execute("select item_id from orders").fetchall() == [("a",)]
            assert db.execute("pragma foreign_key_check").fetchall() == []
            assert db.execute("pragma foreign_keys").fetchone() == (1,)
            assert db.execute("select name from sqlite_schema where name in ('own', 'noted', 'dear')").fetchall()
    with closing(open_database(path)) as db:
        check_embedded(db)
        assert db.execute("select id from seen where id like 'new%'").fetchall() == [("new-1",), ("new-2",)]
        with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
            db.execute("insert into orders values ('p', 'nothing')")


def test_a_new_file_takes_any_market(tmp_path: Path) -> None:
    with closing(open_database(tmp_path / "new.db")) as db:
        check_embedded(db)


def check_embedded(db: sqlite3.Connection) -> None:
    insert = "insert into menu_items (id, market, name, category, price, currency) values (?, ?, 'Tea', 'hot', ?, ?)"
    db.execute(insert, ["new-1", "KW", "1.250", "KWD"])
    db.execute(insert, ["new-2", "US", 3.5, "USD"])
    assert db.execute("select price from menu_items where id like 'new%'").fetchall() == [("1.250",), ("3.5",)]
    for row in [
        ("us", "1", "USD"), ("USA", "1", "USD"), ("US", "1", "usd"), ("US", -1, "USD"), ("US", "3,50", "USD"),
        ("US", "1.00001", "USD"), ("US", "1.0.0", "USD"), ("US", "", "USD"), ("US", 1e300, "USD"), ("US", None, "USD"),
    ]:  # fmt: skip
        with pytest.raises(sqlite3.IntegrityError):
            db.execute(insert, ["bad", *row])


@pytest.mark.postgres
def test_an_older_database_takes_any_market_and_keeps_its_rows(
    postgres: postgres_server.Server, migrations: list[Path]
) -> None:
    (newest,) = [path for path in migrations if path.stem.endswith("_markets")]
    insert = (
        "insert into menu_items (id, market, name, category, price, currency) values (%s, %s, 'Tea', 'hot', %s, %s)"
    )
    with postgres.database("older_menu") as name, postgres.connect(name) as database:
        for path in migrations[: migrations.index(newest)]:
            database.execute(path.read_text())
        database.execute(insert, ["a", "MT", "2.80", "EUR"])
        with pytest.raises(psycopg.errors.CheckViolation):
            database.execute(insert, ["b", "KW", "1.250", "KWD"])
        database.execute(newest.read_text())
        database.execute(insert, ["b", "KW", "1.250", "KWD"])
        assert database.execute("select id, price::text from menu_items").fetchall() == [("a", "2.80"), ("b", "1.250")]
        for row in [
            ("us", "1", "USD"), ("USA", "1", "USD"), ("US", "1", "usd"), ("US", "-1", "USD"), ("US", "1.00001", "USD"),
            ("US", "1e12", "USD"), ("US", "NaN", "USD"),
        ]:  # fmt: skip
            with pytest.raises(psycopg.errors.CheckViolation):
                database.execute(insert, ["bad", *row])


# --- the verb ---------------------------------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--env-file", os.devnull], env=environment)


def test_the_verb_puts_a_menu_in_and_shows_it_and_serve_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/waitress.toml").write_text(
        'name = "W"\ninstructions = "Serve."\nmarket = "KW"\ntools = ["lookup_menu"]\n'
    )
    (tmp_path / "menu.csv").write_text(GULF)
    place = {"STORE_PATH": str(tmp_path / "store.db"), "PERSONAS_DIR": str(tmp_path / "own")}
    doubt = "persona waitress: market: the menu has nothing of KW yet; put it in: voice-gateway menu --import FILE"
    asked = ["menu", "--import", str(tmp_path / "menu.csv"), "--market", "KW"]
    assert doubt in run("serve", "--check", **place).output
    tried = run(*asked, "--dry-run", **place)
    assert tried.exit_code == 0, tried.output
    assert "3 added, 0 replaced, 0 withdrawn" in tried.output
    assert "Nothing was written" in tried.output
    assert "There is nothing on the menu yet" in run("menu", **place).output
    assert run(*asked, **place).exit_code == 0
    assert doubt not in run("serve", "--check", **place).output
    assert "1.250 KWD" in run("menu", "--market", "kw", **place).output
    assert "KW" in run("menu", **place).output
    refused = run("menu", "--import", str(tmp_path / "menu.csv"), **place)
    assert isinstance(refused.exception, GatewayError)
    assert "--market US" in str(refused.exception)


@pytest.mark.postgres
async def test_the_verb_reaches_a_project_and_says_what_it_lacks(
    tmp_path: Path, supabase: Supabase, database_of: Callable[[], psycopg.Connection[Any]]
) -> None:
    items = [{"id": f"kw-{n}", "name": f"Tea {n}", "category": "tea", "price": n} for n in range(MOST_ITEMS)]
    (tmp_path / "menu.json").write_bytes(orjson.dumps(items))
    place = {"TOOLS_STORE": "supabase", "SUPABASE_URL": supabase.url, "SUPABASE_SECRET_KEY": SECRET_KEY}
    place["STORE_PATH"] = str(tmp_path / "store.db")
    asked = ["menu", "--import", str(tmp_path / "menu.json"), "--market", "KW", "--currency", "KWD"]
    done = await asyncio.to_thread(run, *asked, **place)
    assert "Menu of KW, supabase: 5000 added, 0 replaced, 0 withdrawn." in done.output, done.exception
    with database_of() as database:
        assert database.execute("select count(*), max(price)::text from menu_items").fetchone() == (5000, "4999.000")
        database.execute("drop function put_menu")
    refused = await asyncio.to_thread(run, *asked, **place)
    assert isinstance(refused.exception, GatewayError)
    assert "apply the migrations (voice-gateway migrate)" in str(refused.exception)
