"""Rules that a tool's description gives, and how the mind keeps them; tools of the call itself, by their schemas."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.emulator.faculties import Act, Line, Say, Situation, UseTool
from voice_gateway.emulator.mind import RuleMind

TEXT = {"type": "string"}
HOUSE = {spec["name"]: spec for spec in house_toolbox().specs()}
HANDOFF = {
    "type": "function",
    "name": "handoff_to",
    "description": "Hand the caller over to a colleague, who knows all that was said.",
    "parameters": {
        "type": "object",
        "properties": {
            "persona": {
                "type": "string",
                "enum": ["cfo", "bartender"],
                "description": "Who takes over the call. cfo: Finance chief; bartender: Bartender.",
            },
            "reason": {"type": "string", "default": "", "description": "In a few words: what the caller wants there."},
        },
        "required": ["persona"],
    },
}
DESK = tuple(HOUSE[name] for name in ("lookup_customer", "take_message", "transfer_to_human", "send_dtmf", "end_call"))


def answer(text: str, *tools: Any, before: tuple[Line, ...] = ()) -> list[Act]:
    greeting = Line("assistant", "Hello, how can I help you?")
    return list(RuleMind().respond(Situation("", [greeting, *before, Line("user", text)], tools)))


def converse(*said: str, tools: tuple[Any, ...]) -> list[Act]:
    """The acts after the last line; what tools would answer is not needed."""
    mind, lines, acts = RuleMind(), [Line("assistant", "Hello!")], list[Act]()
    for text in said:
        lines.append(Line("user", text))
        acts = list(mind.respond(Situation("", lines, tools)))
        lines.extend(Line("assistant", act.text) for act in acts if isinstance(act, Say))
    return acts


def test_who_asks_for_a_human_is_put_through_with_what_he_wants() -> None:
    said = "Can I speak to a human, please?"
    assert answer(said, *DESK) == [UseTool("transfer_to_human", {"reason": said})]


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("Can I talk to the CFO?", "cfo"),
        ("I would like to speak to your finance chief, please.", "cfo"),
        ("Please hand me over to the bartender.", "bartender"),
    ],
)
def test_a_colleague_is_known_by_key_and_by_name(said: str, key: str) -> None:
    assert answer(said, HANDOFF, *DESK) == [UseTool("handoff_to", {"persona": key})]


@pytest.mark.parametrize(("said", "code"), [("Please speak French.", "fr"), ("Can we go on in Kinyarwanda?", "rw")])
def test_a_language_is_set_by_its_name(said: str, code: str) -> None:
    assert answer(said, HOUSE["set_language"], *DESK) == [UseTool("set_language", {"language": code})]


def test_keys_are_pressed_as_they_were_said() -> None:
    assert answer("Please press the keys one, two and hash.", *DESK) == [UseTool("send_dtmf", {"digits": "12#"})]


def test_a_word_of_its_description_does_not_hang_up() -> None:
    acts = answer("I want to leave my words for the line to be heard.", HOUSE["end_call"])
    assert all(isinstance(act, Say) for act in acts)


def test_an_id_that_must_be_asked_for_is_asked_for_and_read_as_it_was_spelled() -> None:
    tools = (HOUSE["get_member_balance"],)
    assert converse("What is my balance?", tools=tools) == [Say("What is the member id, please?")]
    acts = converse("What is my balance?", "It is member underscore one two three.", tools=tools)
    assert acts == [UseTool("get_member_balance", {"memberId": "member_123"})]


def test_a_number_that_is_spelled_in_two_breaths_is_one() -> None:
    tools = (HOUSE["check_id"],)
    lines = [
        Line("user", "Please check my ID."),
        Line("assistant", "What is the id number, please?"),
        Line("user", "1, 1990, 8"),
        Line("user", "0012345 0 12."),
    ]
    acts = RuleMind().respond(Situation("", lines, tools))
    assert acts == [UseTool("check_id", {"id_number": "1199080012345012"})]


def test_what_nobody_else_can_answer_is_asked_of_who_knows_better_with_a_filler() -> None:
    ask = HOUSE["get_next_response_from_supervisor"]
    said = "My cousin wants to know whether the garden is open."
    (argument,) = ask["parameters"]["properties"]
    assert answer(said, ask) == [Say("Let me see."), UseTool(ask["name"], {argument: said})]
    assert answer("Thank you.", ask) == [Say("You are welcome. Is there anything else I can do for you?")]


def test_a_yes_is_asked_for_where_the_description_wants_one_and_a_question_in_between_is_answered() -> None:
    book = {
        "type": "function", "name": "book_table", "description": "Book a table, once the guest has confirmed it.",
        "parameters": {"type": "object", "properties": {"date": {**TEXT, "format": "date"}}, "required": ["date"]},
    }  # fmt: skip
    hours = {"type": "function", "name": "check_hours", "description": "Our opening hours.", "parameters": {}}
    asked = converse("Please book a table on 2027-03-05.", tools=(book, hours))
    assert asked == [Say("That is on Friday 5 March. Shall I go ahead?")]
    assert converse("Please book a table on 2027-03-05.", "Yes, please.", tools=(book, hours)) == [
        UseTool("book_table", {"date": "2027-03-05"})
    ]
    assert converse("Please book a table on 2027-03-05.", "What are your opening hours?", tools=(book, hours)) == [
        UseTool("check_hours", {})
    ]


def test_an_answer_in_facts_tells_what_was_asked_and_what_it_rests_on() -> None:
    rule = {"rule": "Standard rate", "rate": 18, "authority": "VAT Act, Cap. 406", "notes": ""}
    lines = [
        Line("user", "What is the VAT rate in Malta?"),
        Line("tool_call", "{}", "check_tax_rule", "c1"),
        Line("tool_output", json.dumps(rule), "check_tax_rule", "c1"),
    ]
    told = RuleMind().respond(Situation("", lines, (HOUSE["check_tax_rule"],)))
    assert told == [Say("The rate is 18 percent and the authority is VAT Act, Cap. 406.")]


@pytest.mark.parametrize(
    ("told", "day"),
    [
        ("You book.\n\nToday is Friday, 2026-11-20. It was 14:05 when you were told this.", "2026-11-21"),
        ("Today's date: 2026-12-31.", "2027-01-01"),
        ("You book.", "2030-06-02"),
        ("Today is 2026-13-45.", "2030-06-02"),
    ],
)
def test_tomorrow_counts_from_the_day_that_the_instructions_tell(told: str, day: str) -> None:
    book = {
        "type": "function", "name": "book_table", "description": "Book a table.",
        "parameters": {"type": "object", "properties": {"date": {**TEXT, "format": "date"}}, "required": ["date"]},
    }  # fmt: skip
    mind, lines = RuleMind(today=lambda: date(2030, 6, 1)), [Line("user", "Please book a table for tomorrow.")]
    assert mind.respond(Situation(told, lines, (book,))) == [UseTool("book_table", {"date": day})]


def test_news_for_the_caller_are_told_in_their_words() -> None:
    news = "Tell the caller in one short sentence, in his language, that nobody answered, and offer to take a message."
    assert RuleMind().respond(Situation(news, [])) == [
        Say("I am sorry, nobody answered. Can I do anything for you myself?")
    ]
