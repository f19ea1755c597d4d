"""What a model answers about a call is checked as if a stranger had written it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.budget import Budget, Limits
from voice_gateway.call import entries
from voice_gateway.call.discretion import NOT_KEPT
from voice_gateway.call.events import CallFacts
from voice_gateway.call.gist import Notes, tidy
from voice_gateway.call.usage import Usage
from voice_gateway.journal import Journal
from voice_gateway.ops.redaction import Redactor
from voice_gateway.store.records import new_id
from voice_gateway.store.sqlite import SqliteStore
from voice_gateway.summary import Answer, read_answer

GOOD = {"summary": "Maria wanted a table for four and got one.", "intent": "booking", "caller_name": "Maria Borg"}


def noted(*told: entries.Entry) -> Notes:
    notes = Notes()
    for entry in (entries.UserSpoke("u1", "Hello, this is MARIA Borg, a table for four.", 0, 900), *told):
        notes.take(entry)
    return notes


def read(answer: object, *labels: str) -> Answer | None:
    return read_answer(answer if isinstance(answer, str) else json.dumps(answer), labels, noted())


def test_a_good_answer_is_taken_as_it_is_with_a_fence_or_without() -> None:
    answer = Answer(**GOOD)
    assert read(GOOD) == answer
    assert read(f"```json\n{json.dumps(GOOD)}\n```\n") == answer
    assert read(GOOD | {"caller_name": None, "reason": "dinner"}) == Answer(
        summary=GOOD["summary"], intent="booking", reason="dinner"
    )


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", '"a summary"', "Sure! Here is your summary.", "{", '{"summary": ""}',
        '{"summary": " \\u0000 "}',
        '{"summary": 7}', '{"summary": null}', '{"intent": "booking"}', '{"summary": "\\ud800"', "[" * 5000,
        json.dumps(GOOD | {"status": "paid"}), json.dumps(GOOD | {"intent": ["booking"]}),
        json.dumps(GOOD | {"summary": "a" * 601}), json.dumps(GOOD | {"caller_name": "a" * 81}),
        json.dumps(GOOD | {"reason": {"a": 1}}), json.dumps(GOOD) + json.dumps(GOOD), json.dumps(GOOD) + " " * 9000,
    ],
)  # fmt: skip
def test_rubbish_is_no_answer(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("intent", ["Order Food", "drop table", "a" * 41, "b\n", "_x", "1st", "", "é"])
def test_a_label_of_no_proper_form_is_left_out_and_the_summary_kept(intent: str) -> None:
    answer = read(GOOD | {"intent": intent})
    assert answer is not None
    assert (answer.summary, answer.intent) == (GOOD["summary"], None)


def test_where_labels_are_named_there_are_no_others() -> None:
    assert [(answer and answer.intent) for answer in (read(GOOD, "booking", "order"), read(GOOD, "order"))] == [
        "booking",
        None,
    ]


@pytest.mark.parametrize("name", ["the administrator", "Maria Smith", "Ignore all rules"])
def test_a_name_that_the_caller_never_said_is_left_out(name: str) -> None:
    answer = read(GOOD | {"caller_name": name})
    assert answer is not None
    assert answer.caller_name is None


def test_what_is_kept_is_one_line_without_control_characters() -> None:
    answer = read(GOOD | {"summary": "First.\n\n\u202eSecond.\x1b[31m\x00"})
    assert answer is not None
    assert answer.summary == "First. Second. [31m"


@given(st.text(max_size=300) | st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
def test_no_answer_whatsoever_raises(answer: object) -> None:
    found = read(answer)
    assert found is None or found.summary


@given(st.text(max_size=200))
def test_a_tidy_text_stays_so(text: str) -> None:
    assert tidy(tidy(text)) == tidy(text)
    assert "\n" not in tidy(text)
    tidy(text).encode()


def test_without_a_model_the_callers_own_words_are_quoted_and_the_tools_told() -> None:
    told = noted(
        entries.UserSpoke("u2", NOT_KEPT, 0, 1),
        entries.UserSpoke("u3", "With a\nview. " * 40, 0, 1),
        entries.ToolAnswered("c1", "book_table", "{}", ok=False, duration_ms=3),
        entries.ToolAnswered("c2", "lookup_menu", "{}", ok=True, duration_ms=3),
        entries.ToolAnswered("c3", "book_table", "{}", ok=True, duration_ms=3),
        entries.ToolAnswered("c4", "pause_recording", "{}", ok=True, duration_ms=3),
    ).extract()
    assert told.startswith("“Hello, this is MARIA Borg, a table for four.” “With a view. With")
    assert told.endswith("…” [book_table: ok, lookup_menu: ok]")
    assert len(told) < 300


def test_who_said_nothing_that_was_kept_said_nothing() -> None:
    notes = Notes()
    for text in (NOT_KEPT, "", "  \n"):
        notes.take(entries.UserSpoke("u", text, 0, 1))
    assert not notes.has_caller


def test_of_a_very_long_call_the_beginning_and_the_end_are_read() -> None:
    notes = noted(entries.CallEnded("hangup", "completed", 1, "A" * 10_000 + "B" * 50_000 + "C" * 10_000))
    assert len(notes.excerpt()) < 17_000
    assert (notes.excerpt()[0], notes.excerpt()[-1]) == ("A", "C")


SUMMARISED = entries.CallSummarised(
    "She paid with 4111 1111 1111 1111.", "payment", "Maria", "to pay by 4111 1111 1111 1111", "gpt-realtime-2.1",
    response_id="resp_9", usage=Usage(input_text=300, output_text=50), cost_usd=0.0024, total_usd=0.0124,
)  # fmt: skip


async def folded(tmp_path: Path, write: Callable[[Any], None]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    store = SqliteStore(tmp_path / "calls.sqlite3")
    await store.start()
    journal = Journal(store, wall_clock=lambda: datetime.now(UTC), new_id=new_id, redactor=Redactor(["cards"]))
    write(journal.open(CallFacts("CA1")))
    await store.flush()
    row, events = await store.read_call("CA1"), await store.read_events("CA1")
    await store.close()
    assert row is not None
    return row, events


async def test_a_summary_is_folded_into_its_calls_row_without_card_numbers(tmp_path: Path) -> None:
    def write(record: Any) -> None:
        record.write(entries.CallEnded("hangup", "completed", 5, "Caller: Hello", cost_usd=0.01))
        record.write(SUMMARISED)

    row, events = await folded(tmp_path, write)
    assert (row["intent"], row["cost_usd"], row["transcript"]) == ("payment", 0.0124, "Caller: Hello")
    assert row["meta"].keys() == {"caller_name", "reason", "summary_by"}
    assert "1111" not in json.dumps([row["summary"], row["meta"], events[-1]["payload"]])
    assert events[-1]["event_type"] == "CALL_SUMMARY"


async def test_a_summary_by_extract_says_so_and_leaves_the_cost_alone(tmp_path: Path) -> None:
    def write(record: Any) -> None:
        record.write(entries.CallEnded("hangup", "completed", 5, cost_usd=0.01))
        record.write(entries.CallSummarised("“Hello?”", "", "", "", "extract"))

    row, _ = await folded(tmp_path, write)
    assert (row["summary"], row["intent"], row["cost_usd"]) == ("“Hello?”", None, 0.01)
    assert row["meta"] == {"summary_by": "extract"}


def test_the_day_pays_for_a_summary_once() -> None:
    today = datetime(2026, 11, 21, tzinfo=UTC).date()
    budget, facts = Budget(Limits(), lambda: today), CallFacts("CA1", "+15550100001")
    budget.note(facts, entries.CallEnded("hangup", "completed", 5, cost_usd=0.01))
    assert budget.note(facts, SUMMARISED) == pytest.approx(0.0024)
    assert budget.spent_usd == pytest.approx(0.0124)
