"""Words, numbers and choices: what was said, as arguments; and the words the ear should expect."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.emulator.faculties import Line
from voice_gateway.emulator.slots import fill
from voice_gateway.emulator.vocabulary import SIZE, vocabulary
from voice_gateway.emulator.wording import number_words, words

_ORDERS = run_path(str(Path(__file__).with_name("order_slots.py")))
ORDER_TOOL, same_slots = _ORDERS["ORDER_TOOL"], _ORDERS["same_slots"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Twelve ounces", "12 ounce"),
        ("12oz", "12 ounce"),
        ("a double shot", "a 2 shot"),
        ("two shots", "2 shot"),
        ("three thousand five hundred francs", "3500 franc"),
        ("3,500 francs", "3500 franc"),
        ("twenty five", "25"),
        ("five five", "5 5"),
        ("one hundred and two", "102"),
        ("one and two", "1 and 2"),
        ("Mützig, Café!", "mutzig cafe"),
        ("I'm fine", "im fine"),
    ],
)
def test_the_same_thing_said_differently_gives_the_same_words(text: str, expected: str) -> None:
    assert words(text) == expected.split()


@given(st.integers(min_value=0, max_value=999_999_999_999))
def test_a_number_in_words_is_read_back(number: int) -> None:
    assert words(number_words(number)) == [str(number)]


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    assert all(word and (word.isalpha() or word[0].isdigit()) for word in words(text))


@pytest.mark.parametrize(
    ("said", "slots"),
    [
        ("a medium, dark roast cappuccino", {"size": "medium", "roast": "dark roast", "coffeeDrink": "cappuccino"}),
        ("a medium roast coffee", {"roast": "medium roast", "coffeeDrink": "coffee"}),
        ("two shots, 12 ounce latte", {"numberOfShots": "double shot", "size": "twelve ounce", "coffeeDrink": "latte"}),
        ("a mocha without sugar", {"coffeeDrink": "mocha"}),
        ("a latte with no milk but honey", {"coffeeDrink": "latte", "sugarAmount": "honey"}),
        (
            "a large house coffee, lots of cream",
            {"size": "large", "coffeeDrink": "house coffee", "milkAmount": "lots of cream"},
        ),
        ("brew a dark roast has coffee", {"roast": "dark roast", "coffeeDrink": "house coffee"}),
        ("an espreso", {"coffeeDrink": "espresso"}),
        ("a small, no wait, a large latte", {"size": "large", "coffeeDrink": "latte"}),
        ("good morning", {}),
    ],
)
def test_choices_are_found_by_their_words(said: str, slots: dict[str, str]) -> None:
    assert fill(ORDER_TOOL, [said]) == slots


def test_a_later_line_corrects_an_earlier_one() -> None:
    assert fill(ORDER_TOOL, ["a small latte", "make it large"]) == {"size": "large", "coffeeDrink": "latte"}


def test_numbers_go_to_the_parameter_whose_words_are_near() -> None:
    tool = {
        "name": "book_room",
        "parameters": {"properties": {"nights": {"type": "integer"}, "guests": {"type": "integer"}}},
    }
    assert fill(tool, ["a room for three guests and two nights"]) == {"guests": 3, "nights": 2}


def test_a_list_of_objects_takes_what_was_said_as_its_one_entry() -> None:
    entry: dict[str, Any] = {
        "type": "object",
        "properties": {"size": {"enum": ["small", "large"]}, "quantity": {"type": "integer"}},
        "required": ["size", "quantity"],
    }
    tool = {"name": "order", "parameters": {"properties": {"items": {"type": "array", "items": entry}}}}
    assert fill(tool, ["three large ones"]) == {"items": [{"size": "large", "quantity": 3}]}
    assert fill(tool, ["large ones"]) == {}


def test_references_and_optional_types_are_read_as_their_plain_type() -> None:
    parameters = {
        "$defs": {"Size": {"type": "string", "enum": ["small", "large"]}},
        "properties": {
            "size": {"$ref": "#/$defs/Size"},
            "count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "to_go": {"type": ["boolean", "null"]},
            "extra": {"anyOf": [{"$ref": "#/$defs/Size"}, {"type": "null"}], "default": None},
        },
    }
    filled = fill({"name": "order", "parameters": parameters}, ["two large ones to go"])
    assert filled == {"size": "large", "count": 2, "to_go": True}


def test_a_type_that_holds_itself_is_filled_one_level_deep() -> None:
    node: dict[str, Any] = {
        "type": "object",
        "properties": {"count": {"type": "integer"}, "parts": {"items": {"$ref": "#/$defs/Node"}}},
    }
    node["properties"]["parts"]["type"] = "array"
    tool = {"name": "t", "parameters": {"$defs": {"Node": node}, "properties": {"node": {"$ref": "#/$defs/Node"}}}}
    assert fill(tool, ["three of them"]) == {"node": {"count": 3}}


def test_a_list_of_choices_takes_all_that_were_named() -> None:
    tool = {
        "name": "top",
        "parameters": {"properties": {"extras": {"type": "array", "items": {"enum": ["milk", "honey"]}}}},
    }
    assert fill(tool, ["honey and milk"]) == {"extras": ["honey", "milk"]}


def test_orders_are_compared_by_words_and_by_every_slot() -> None:
    assert same_slots({"size": "twelve ounce", "sugarAmount": " sugar"}, {"sugarAmount": "sugar", "size": "12 ounces"})
    assert not same_slots({"milkAmount": "some almond milk"}, {"milkAmount": "almond milk"})
    assert not same_slots({"size": "small"}, {"size": "small", "roast": "dark roast"})


def test_the_ear_is_told_choices_rows_and_names_but_not_what_begins_a_sentence() -> None:
    lines = [Line("tool_output", '{"items": [{"name": "Butter Croissant"}]}')]
    instructions = "You are a waiter in Kigali. Dear to us are Mützig 65cl or Ftira with Tuna. Never argue."
    tool = {"name": "t", "description": "Also for Kinnie.", "parameters": {"properties": {"size": {"enum": ["small"]}}}}
    found = vocabulary(instructions, [tool], lines)
    assert found == ["small", "Butter Croissant", "Kigali", "Mützig 65cl", "Ftira with Tuna", "Kinnie"]


def test_the_ear_is_told_what_a_text_gives_as_examples_also_across_lines() -> None:
    instructions = "You serve coffee such as mocha, iced coffee\nand flat white, and dishes like brochette and tilapia."
    assert vocabulary(instructions, []) == ["mocha", "iced coffee", "flat white", "brochette", "tilapia"]


def test_phrases_made_of_known_words_are_left_out_and_the_whole_is_limited() -> None:
    milk = {"enum": ["milk", "some milk", "soy milk", "some soy milk"]}
    assert vocabulary("", [{"parameters": {"properties": {"milk": milk}}}]) == ["milk", "some milk", "soy milk"]
    many = {"enum": [f"choice{letter}{other}" for letter in "abcdefghij" for other in "abcdefghij"]}
    assert len(vocabulary("", [{"parameters": {"properties": {"many": many}}}])) == SIZE
