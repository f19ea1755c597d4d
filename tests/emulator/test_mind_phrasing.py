"""What a tool returned, as a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.emulator.phrasing import phrase

CAPPUCCINO = {
    "id": "rw-cap",
    "name": "Cappuccino",
    "price": 3000,
    "currency": "RWF",
    "description": "Rwandan arabica, steamed milk",
    "image_url": "https://example.org/c.png",
}
CISK = {"id": "mt-cis", "name": "Cisk Lager", "price": "3.50", "currency": "EUR", "description": "33cl"}


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ({"items": [CAPPUCCINO]}, "Cappuccino costs 3,000 RWF. Rwandan arabica, steamed milk."),
        (
            {"items": [CAPPUCCINO, CISK]},
            "We have Cappuccino for 3,000 RWF and Cisk Lager for 3.50 EUR. Which one would you like?",
        ),
        ([CAPPUCCINO], "Cappuccino costs 3,000 RWF. Rwandan arabica, steamed milk."),
        ({"items": []}, "I am sorry, I found nothing for pizza."),
        (
            {"items": [], "categories": ["beer", "coffee"]},
            "I am sorry, I found nothing for pizza. The categories are beer and coffee.",
        ),
        ({"pairings": [{"item": {"name": "Kinnie"}, "upsell": "A Kinnie with it?"}]}, "A Kinnie with it?"),
        ({"error": "The kitchen is closed."}, "I am sorry, that did not work: The kitchen is closed."),
        ({"error": {"code": "not_found"}}, "I am sorry, that did not work: not found."),
        ({"ok": False}, "I am sorry, that did not work: there was a problem on our side."),
        ({"ok": True}, "Done: pizza."),
        ({"ok": True, "message": "your order is on its way"}, "Your order is on its way."),
        ({"balance": 1234.5, "currency": "EUR"}, "The balance is 1,234.50 EUR."),
        ({"balance": 0.125, "currency": "KWD"}, "The balance is 0.125 KWD."),
        ({"order": {"total": 9000, "currency": "RWF", "id": "o1"}}, "The order total is 9,000 RWF."),
        ("Table seven is free", "Table seven is free."),
        (42, "The answer is 42."),
        (None, "Done: pizza."),
    ],
)
def test_json_becomes_a_sentence(output: Any, sentence: str) -> None:
    assert phrase(json.dumps(output), {"query": "pizza"}) == sentence


def test_a_long_choice_is_cut_short_and_counted() -> None:
    rows = [{"name": f"Dish {number}"} for number in range(12)]
    assert phrase(json.dumps({"items": rows})) == (
        "We have Dish 0, Dish 1, Dish 2 and Dish 3. There are 8 more. Which one would you like?"
    )


def test_plain_text_is_spoken_as_it_is() -> None:
    assert phrase("the chef says yes") == "The chef says yes."


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["name", "price", "error", "ok", "message", "items", "total", "id", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_json_gives_something_to_say(output: Any) -> None:
    assert phrase(json.dumps(output)).strip()
