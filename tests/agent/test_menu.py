"""The waiter's tools over real rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import ToolContext
from voice_gateway.store.local_rows import LocalRows
from voice_gateway.store.tables import Tables


@pytest.fixture
async def context(tmp_path: Path) -> ToolContext:
    tables = Tables(LocalRows(tmp_path / "tables.db"))
    await tables.start()
    return ToolContext("CA1", tables=tables)


async def ask(context: ToolContext, name: str, **arguments: Any) -> tuple[Any, bool]:
    outcome = await house_toolbox().run(name, orjson.dumps(arguments).decode(), context)
    return orjson.loads(outcome.output), outcome.ok


async def test_the_menu_is_looked_up_with_its_prices(context: ToolContext) -> None:
    answer, ok = await ask(context, "lookup_menu", query="two cappucinos please")
    assert ok
    assert answer == {
        "items": [
            {
                "id": "rw-cap",
                "name": "Cappuccino",
                "price": 3000,
                "currency": "RWF",
                "description": "Rwandan arabica, steamed milk",
                "image_url": None,
                "category": "coffee",
            }
        ]
    }


async def test_what_is_not_on_the_menu_is_answered_with_what_kinds_there_are(context: ToolContext) -> None:
    answer, ok = await ask(context, "lookup_menu", query="pizza")
    assert ok
    assert answer["items"] == []
    assert {"beer", "coffee", "food"} <= set(answer["categories"])


async def test_what_goes_well_is_recommended(context: ToolContext) -> None:
    answer, ok = await ask(context, "recommend_pairing", itemId="rw-til")
    assert ok
    assert [each["item"]["name"] for each in answer["pairings"]] == ["Passion Fruit Juice"]
    assert await ask(context, "recommend_pairing", itemId="unknown") == ({"pairings": []}, True)


async def test_without_tables_the_waiter_is_told_to_go_on_without() -> None:
    answer, ok = await ask(ToolContext("CA1"), "lookup_menu", query="tea")
    assert not ok
    assert "The records are not at hand" in answer["message"]
