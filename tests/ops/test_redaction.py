"""Card and ID numbers in what was said: found however they are written or spoken, and nothing else is touched."""

from __future__ import annotations

import re
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.ops.redaction import CARD, ID, Redactor, luhn

BOTH = Redactor({"cards", "ids"})
CARDS = Redactor({"cards"})
SPOKEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
BEGINNINGS = (
    ("4", 16),
    ("4", 13),
    ("4", 19),
    ("51", 16),
    ("2221", 16),
    ("34", 15),
    ("37", 15),
    ("36", 14),
    ("6011", 16),
)


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    beginning, length = draw(st.sampled_from(BEGINNINGS))
    body = beginning + draw(
        st.text("0123456789", min_size=length - 1 - len(beginning), max_size=length - 1 - len(beginning))
    )
    return next(body + check for check in "0123456789" if luhn(body + check))


@st.composite
def tellings(draw: st.DrawFn, number: str) -> str:
    """A number as people say it or as it is written down for them."""
    ways = ("{0}", " {0}", " {1} ", "-{0}", ", {0}")
    return "".join(draw(st.sampled_from(ways)).format(digit, SPOKEN[int(digit)]) for digit in number)


@given(st.data())
def test_a_card_number_is_hidden_however_it_is_told(data: st.DataObject) -> None:
    number = data.draw(card_numbers())
    told = data.draw(tellings(number))
    before, after = data.draw(
        st.sampled_from([("", ""), ("my card is ", " thank you"), ("two coffees, and it is ", ".")])
    )
    hidden = CARDS.text(f"{before}{told}{after}")
    assert CARD in hidden
    assert not re.search(r"\d", hidden)
    assert hidden.startswith(before.partition(",")[0].rstrip())
    assert hidden.endswith(after)


@given(
    st.text()
    | st.text("0123456789 -,.", max_size=60)
    | st.lists(st.sampled_from(["double", "forty", "oh", "um", "4", *SPOKEN])).map(" ".join)
)
def test_any_text_is_taken_and_hiding_twice_changes_nothing(text: str) -> None:
    hidden = BOTH.text(text)
    assert BOTH.text(hidden) == hidden


@given(
    st.text(st.characters(exclude_categories=["Nd", "Cs"]), max_size=80).filter(
        lambda t: not re.search("|".join(SPOKEN), t.lower())
    )
)
def test_text_without_numbers_stays_as_it_is(text: str) -> None:
    assert CARDS.text(text) == text


@given(st.text("0123456789", min_size=1, max_size=12), st.sampled_from(["", " "]))
def test_shorter_numbers_stay_for_cards(digits: str, gap: str) -> None:
    text = f"call me at {gap.join(digits)} please"
    assert CARDS.text(text) == text


@given(st.text("0123456789", min_size=16, max_size=16).filter(lambda d: d[0] in "01789"))
def test_long_numbers_that_are_no_card_stay(digits: str) -> None:
    if not any(luhn(digits[a : a + n]) for a in range(4) for n in (13, 14, 15) if a + n <= 16):
        assert CARDS.text(f"order {digits}") == f"order {digits}"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda c: st.lists(c) | st.dictionaries(st.text(), c),
    )
)
def test_json_stays_json(value: object) -> None:
    text = orjson.dumps(value).decode()
    orjson.loads(BOTH.json(text))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("It's 4111 1111 1111 1111, thanks.", f"It's {CARD}, thanks."),
        ("4111-1111-1111-1111 12/27 123", CARD),
        ("It is four one one one, one one one one, um, one one one one, one one one one.", f"It is {CARD}."),
        ("four triple one one one one one double one double one one one one one ok", f"{CARD} ok"),
        ("forty-one eleven eleven eleven eleven eleven eleven eleven", CARD),
        ("Three seven eight two eight two two four six three one oh oh oh five", CARD),
        ("My table is number four, for two at seven thirty.", "My table is number four, for two at seven thirty."),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("call +250 788 000 123 or 35621000456", "call +250 788 000 123 or 35621000456"),
        ("CA0123456789abcdef0123456789abcdef", "CA0123456789abcdef0123456789abcdef"),
    ],
)  # fmt: skip
def test_cards_as_they_are_said(said: str, kept: str) -> None:
    assert CARDS.text(said) == kept


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("It's 123-45-6789.", f"It's {ID}."),
        ("my social security number is one two three, four five, six seven eight nine ok",
         f"my social security number is {ID} ok"),
        ("passport number: AB 123456", f"passport number: {ID}"),
        ("AB 12 34 56 C is mine", f"{ID} is mine"),
        ("1 1990 8 0012345 6 78", ID),
        ("0123456M", ID),
        ("send it to MT84 MALT 0110 0001 2345 MTLC AST0 01S", f"send it to {ID}"),
        ("an idea of 12 things", "an idea of 12 things"),
        ("order number 12345678", "order number 12345678"),
        ("call 555-123-4567", "call 555-123-4567"),
    ],
)  # fmt: skip
def test_ids_by_their_shape_or_by_the_word_before(said: str, kept: str) -> None:
    assert Redactor({"ids"}).text(said) == kept


def test_only_what_is_asked_for_is_hidden() -> None:
    said = "4111 1111 1111 1111 and 123-45-6789"
    assert CARDS.text("4111 1111 1111 1111") == CARD
    assert Redactor({"ids"}).text(said) == f"4111 1111 1111 1111 and {ID}"
    assert Redactor(()).text(said) == said


def test_numbers_in_json_are_hidden_and_it_stays_json() -> None:
    given_ = '{"card":4111111111111111,"note":["4111 1111 1111 1111",7,true,1.5],"id":null}'
    assert orjson.loads(CARDS.json(given_)) == {"card": CARD, "note": [CARD, 7, True, 1.5], "id": None}
    assert CARDS.json("no json 4111111111111111") == f"no json {CARD}"
    assert CARDS.json('{"a": 1}') == '{"a": 1}', "what needs nothing stays to the letter"


@pytest.mark.parametrize("text", ["1", "one ", "id ", "double ", "AB12", "1 , ", "4111", "passport 1"])
def test_long_texts_take_time_in_proportion(text: str) -> None:
    began = time.process_time()
    BOTH.text(text * (60_000 // len(text)))
    assert time.process_time() - began < 3
