"""What the API takes, and that its document says the same."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from voice_gateway.web import shapes
from voice_gateway.web.doors import read_shape
from voice_gateway.web.problem import KINDS, Problem

SCHEMA = Draft202012Validator(shapes.SayInWriting.model_json_schema())
BODIES = st.one_of(
    st.fixed_dictionaries(
        {"text": st.text(max_size=20)},
        optional={
            "session_id": st.one_of(st.none(), st.text("ab_-. ", max_size=70)),
            "persona": st.one_of(st.none(), st.text("aB1-", max_size=5)),
            "stream": st.one_of(st.booleans(), st.just(1), st.just("true")),
            "call_sid": st.one_of(st.none(), st.just("CA1")),
            "other": st.none(),
        },
    ),
    st.recursive(
        st.none() | st.text(max_size=3) | st.integers(), lambda inner: st.lists(inner, max_size=2), max_leaves=3
    ),
)


@given(BODIES)
def test_what_is_taken_is_what_the_document_says(body: object) -> None:
    try:
        shapes.SayInWriting.model_validate(body)
    except ValidationError:
        taken = False
    else:
        taken = True
    assert taken == SCHEMA.is_valid(body)


@given(st.text(min_size=1, max_size=30))
def test_a_text_has_something_to_read_and_nothing_that_controls(text: str) -> None:
    taken = re.search(shapes.READABLE, text) is not None
    controls = any(unicodedata.category(each) == "Cc" and each not in "\t\n\r" for each in text)
    if controls or not text.strip():
        assert not taken
    elif any(each.isalnum() for each in text):
        assert taken


@pytest.mark.parametrize(
    "text", ["", " ", "\n\t", "\u3000", "\ufeff", "\u200b", "a\x00b", "a\x1bb", "a\x85b", "x" * 5001]
)
def test_a_text_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refused:
        read_shape({"text": text}, shapes.SayInWriting)
    assert refused.value.status == 422
    assert [mistake.pointer for mistake in refused.value.errors] == ["/text"]
    assert "\\x" not in refused.value.detail, "people read this"


@pytest.mark.parametrize("text", ["?", "Größe", "你好", "\t- one\r\n- two\n", "👍🏽", "x" * 5000])
def test_a_text_in_any_language_is_taken(text: str) -> None:
    assert read_shape({"text": text}, shapes.SayInWriting).text == text


def test_every_mistake_is_told_at_once_and_what_was_sent_is_not() -> None:
    with pytest.raises(Problem) as refused:
        read_shape({"text": 5, "call_sid": "secret!", "mood": "x", "interrupt": "yes"}, shapes.SayInCall)
    assert {mistake.pointer for mistake in refused.value.errors} == {"/text", "/call_sid", "/mood", "/interrupt"}
    assert "secret" not in refused.value.detail


@pytest.mark.parametrize(
    ("shape", "body", "said"),
    [
        (shapes.SayInWriting, {"text": "Hi", "mode": "ask"}, "/mode: goes with the call_sid of a live call alone"),
        (shapes.SayInCall, {"text": "Hi", "call_sid": "CA1", "stream": True}, "/stream: goes with no call_sid"),
        (shapes.PersonaInCall, {"key": "cfo", "call_sid": "CA1", "session_id": "a"}, "/session_id: goes with no call"),
        (
            shapes.SayInWriting,
            {"text": "Hi", "sesion_id": "a"},
            "there is no such field here; there are text,",
        ),
        (shapes.SayInWriting, {"text": "Hi", "sesion_id": "a"}, "did you mean session_id?"),
    ],
)
def test_a_field_that_is_not_taken_here_is_told_with_where_it_is(
    shape: type[shapes.Shape], body: dict[str, object], said: str
) -> None:
    with pytest.raises(Problem) as refused:
        read_shape(body, shape)
    assert said in refused.value.detail


def test_every_kind_of_problem_is_an_error_with_a_title() -> None:
    assert all(400 <= status <= 599 and title for status, title in KINDS.values())
