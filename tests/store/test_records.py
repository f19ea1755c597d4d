"""The rows as values: what any database can hold, whatever came in."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.call import entries
from voice_gateway.store.records import (
    CallPatch,
    EventRecord,
    call_row,
    clean_text,
    iso_utc,
    json_text,
    new_id,
    order_in_call,
    payload_of,
)  # fmt: skip

WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec=None)) | st.integers(), inner)
    ),
    max_leaves=8,
)


@given(WILD)
def test_any_value_becomes_json_that_postgres_takes(value: object) -> None:
    text = json_text(value)
    orjson.loads(text)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode("utf-8")


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_utf8_without_nul(text: str) -> None:
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert "\0" not in cleaned
    assert clean_text(cleaned) == cleaned


def test_sound_text_stays_as_it_is() -> None:
    assert clean_text("Mützig 65cl 🍺") == "Mützig 65cl 🍺"
    assert clean_text("\ud83c\udf7a") == "🍺", "a pair of surrogates is a character"
    assert json_text({"path": "a\\u0000b"}) == '{"path":"a\\\\u0000b"}', "an escaped backslash is no NUL"


def test_what_json_cannot_hold_is_told_and_not_raised() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    assert json_text(deep) == json_text(Mute()) == '{"unstorable":true}'
    assert json_text(MappingProxyType({"a": frozenset({1})})) == '{"a":[1]}'


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 11, 21, 20, 0, 0, 1999, tzinfo=UTC),
        datetime(2026, 11, 21, 22, 0, 0, 1000, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 11, 21, 20, 0, 0, 1000),  # noqa: DTZ001 - without a zone is the case
        "2026-11-21T20:00:00.001Z",
        "2026-11-21T21:00:00.001+01:00",
    ],
)
def test_times_are_written_in_utc_with_milliseconds(at: datetime | str) -> None:
    assert iso_utc(at) == "2026-11-21T20:00:00.001Z"


def test_ids_are_version_seven_and_rise() -> None:
    ids = [new_id() for _ in range(100)]
    assert {uuid.UUID(each).version for each in ids} == {7}
    assert ids == sorted(ids)
    assert len(set(ids)) == 100


def test_a_later_leg_is_newer_than_any_entry_of_an_earlier_one() -> None:
    assert order_in_call(1, 7) == 7
    assert order_in_call(2, 1) > order_in_call(1, 1_000_000)


def test_an_empty_text_changes_nothing() -> None:
    row = call_row(CallPatch("CA1", persona="", ended_at="", summary="short", cost_usd=0.12345678))
    assert (row["persona"], row["ended_at"], row["summary"], row["cost_usd"]) == (None, None, "short", 0.123457)


def test_numbers_and_words_of_a_caller_stay_out_of_a_repr() -> None:
    patch = CallPatch("CA1", from_number="+250788000001", to_number="+250788000002", transcript="my secret")
    event = EventRecord(new_id(), "CA1", "CALL_STARTED", {"from_number": "+250788000001"}, "2026-11-21T20:00:00Z", 1)
    assert "788" not in repr(patch) + repr(event)
    assert "secret" not in repr(patch)


@given(st.from_type(entries.Entry))  # type: ignore[arg-type]  # a union is a type to hypothesis
def test_the_payload_of_an_entry_is_all_its_fields(entry: entries.Entry) -> None:
    assert payload_of(entry) == asdict(entry)
