"""The menu: found by what a speech recogniser makes of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.store.database import StoreError, set_aside
from voice_gateway.store.local_rows import LocalRows
from voice_gateway.store.search import alike, rank, words
from voice_gateway.store.tables import Tables


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tables.db"


@pytest.fixture
async def tables(path: Path) -> Tables:
    tables = Tables(LocalRows(path))
    await tables.start()
    return tables


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("Cappuccino", "Cappuccino"),
        ("cappucino", "Cappuccino"),
        ("cap u chino", "Cappuccino"),
        ("I'd like a large skinny cappuccino, please", "Cappuccino"),
        ("expresso", "Espresso"),
        ("double espresso with oat milk", "Espresso"),
        ("moca", "Mocha"),
        ("triple shot mocha dark roast", "Mocha"),
        ("cafe late", "Caffe Latte"),
        ("iced coffee", "Iced Coffee"),
        ("african cofee", "African Coffee"),
        ("brochettes", "Goat Brochette"),
        ("goat", "Goat Brochette"),
        ("tilapia fish", "Grilled Tilapia"),
        ("GRILLED TILAPIA", "Grilled Tilapia"),
        ("mutzig", "Mützig 65cl"),
        ("muetzig beer", "Mützig 65cl"),
        ("passionfruit juice", "Passion Fruit Juice"),
        ("sisk", "Cisk Lager"),
        ("kinney", "Kinnie"),
        ("pastitsi", "Pastizzi"),
        ("tuna ftira", "Ftira with Tuna"),
        ("ccino", "Cappuccino"),
    ],
)
async def test_an_item_is_found_as_it_was_heard(query: str, best: str, tables: Tables) -> None:
    assert [item.name for item in await tables.lookup_menu(query)] == [best]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("coffee", {"African Coffee", "House Coffee", "Iced Coffee", "Caffe Latte", "Cappuccino", "Espresso", "Mocha"}),
        ("beer", {"Cisk Lager", "Mützig 65cl"}),
        ("something spicy", {"Goat Brochette", "Grilled Tilapia"}),
        ("vegetarian food", {"Pastizzi", "Butter Croissant"}),
        ("what alcohol do you have?", {"Cisk Lager", "Mützig 65cl", "Margarita"}),
        ("two goat brochettes and a cold beer", {"Goat Brochette", "Cisk Lager", "Mützig 65cl"}),
        ("pizza", set()),
        ("tea", set()),
        ("' or 1=1 --", set()),
    ],
)
async def test_a_kind_finds_all_of_it_and_nothing_else(query: str, names: set[str], tables: Tables) -> None:
    assert {item.name for item in await tables.lookup_menu(query)} == names


async def test_the_name_comes_before_the_kind(tables: Tables) -> None:
    names = [item.name for item in await tables.lookup_menu("coffee")]
    assert names[:3] == ["African Coffee", "House Coffee", "Iced Coffee"]


async def test_a_market_has_its_own_menu_and_prices(tables: Tables) -> None:
    assert [(each.price, each.currency) for each in await tables.lookup_menu("beer", "MT")] == [(3.5, "EUR")]
    assert [(each.price, each.currency) for each in await tables.lookup_menu("beer", "RW")] == [(2500, "RWF")]
    assert await tables.menu("XX") == []


@pytest.mark.parametrize("query", ["", "  ", "the menu, please", "what do you have?"])
async def test_a_query_without_a_telling_word_means_the_menu(query: str, tables: Tables) -> None:
    assert await tables.lookup_menu(query, limit=100) == await tables.menu()
    assert len(await tables.lookup_menu(query)) == 10


async def test_what_is_not_to_be_had_is_not_told(tables: Tables, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update menu_items set available = false where id in ('rw-cap', 'rw-afc')")
    assert await tables.lookup_menu("cappuccino") == []
    assert await tables.pairings("rw-cap") == []


async def test_pairings_come_with_their_sentence(tables: Tables) -> None:
    (pairing,) = await tables.pairings("rw-bro")
    assert (pairing.item.name, pairing.upsell) == ("Mützig 65cl", "A cold Mützig goes well with the brochette.")
    assert await tables.pairings("nothing") == []


async def test_a_menu_of_ones_own_is_never_filled_up(tables: Tables, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("delete from menu_items where id <> 'rw-cap'")
    await tables.start()
    assert [item.name for item in await tables.menu()] == ["Cappuccino"]


async def test_a_file_begun_anew_is_filled_again(tables: Tables, path: Path) -> None:
    set_aside(path, "a test")
    assert [item.name for item in await tables.lookup_menu("cappuccino")] == ["Cappuccino"]


async def test_a_market_without_a_menu_has_nothing_made_anew(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(_: object) -> None:
        pytest.fail("the file was read through again, which takes long")

    monkeypatch.setattr(LocalRows, "_make", made)
    assert await tables.menu("KW") == []


async def test_without_a_seed_the_menu_is_empty(tmp_path: Path) -> None:
    tables = Tables(LocalRows(tmp_path / "own.db", seed=False))
    await tables.start()
    assert await tables.menu() == []


async def test_tables_that_cannot_be_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be opened"):
        await LocalRows(tmp_path / "file" / "tables.db").start()


async def test_the_seed_is_the_one_of_the_migrations(tables: Tables, path: Path) -> None:
    repository = Path(__file__).parents[2]
    assert (repository / "migrations/seed/menu.sql").samefile(repository / "voice_gateway/store/seed.sql")
    with closing(sqlite3.connect(path)) as db:
        for (tags,) in db.execute("select tags from menu_items"):
            assert all(isinstance(tag, str) for tag in json.loads(tags))


@given(st.text(max_size=60), st.lists(st.text(max_size=20), max_size=5))
def test_any_query_over_any_rows_finds_rows_of_them_at_most_once(query: str, rows: list[str]) -> None:
    found = rank(query, enumerate(rows), lambda row: [(row[1], 1.0)], 3)
    assert len(found) == len(set(found)) <= 3
    assert set(found) <= set(enumerate(rows))


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_likeness_is_mutual_and_whole_for_the_same(one: str, other: str) -> None:
    assert alike(one, one) == 1.0
    assert 0.0 <= alike(one, other) <= 1.0


def test_words_lose_case_accents_and_plural() -> None:
    assert words("Crêpes, d'Été & GLASS") == ("crepe", "dete", "glass")
