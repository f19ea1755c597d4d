"""The mind: which tool, with which arguments, and what is said about its answer. No speech and no model in here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_gateway.emulator.faculties import Act, Line, Say, Situation, UseTool
from voice_gateway.emulator.mind import Manners, RuleMind

MANNERS = Manners()


def function(
    name: str, description: str, needed: tuple[str, ...] = (), /, **parameters: dict[str, Any]
) -> dict[str, Any]:
    schema = {"type": "object", "properties": parameters, "required": list(needed)}
    return {"type": "function", "name": name, "description": description, "parameters": schema}


TEXT = {"type": "string"}
COUNT = {"type": "integer"}
LOOKUP_MENU = function("lookup_menu", "Find dishes and drinks on the menu, with prices.", ("query",), query=TEXT)
END_CALL = function("end_call", "End the call when the caller says goodbye.")
TRANSFER = function("transfer_call", "Transfer the caller to a human colleague.", reason=TEXT)
BALANCE = function("get_balance", "The balance of an account.", ("account",), account={"enum": ["savings", "current"]})
ADD_ITEM = function("add_to_order", "Add an item to the order.", ("item", "quantity"), item=TEXT, quantity=COUNT)
BOOK_TABLE = function(
    "book_table",
    "Book a table.",
    ("name", "party_size"),
    name=TEXT,
    party_size={"type": "integer", "description": "How many people."},
    date=TEXT,
    time=TEXT,
    outside={"type": "boolean"},
)
WAITER = (LOOKUP_MENU, END_CALL, TRANSFER)
INSTRUCTIONS = (
    "You are the waiter of Café Umucyo. Be brief.\n"
    'Greet the caller with: "Welcome to Café Umucyo, what would you like?"\n'
    "Dear to guests: Mützig 65cl, Goat Brochette and Kinnie."
)
GREETING = "Welcome to Café Umucyo, what would you like?"


def answer(*said: str, tools: tuple[dict[str, Any], ...] = WAITER, **more: Any) -> list[Act]:
    """The acts after the caller's lines, spoken one after the other before anybody could answer."""
    lines = [Line("assistant", GREETING), *(Line("user", text) for text in said)]
    return list(RuleMind().respond(Situation(INSTRUCTIONS, lines, tools, **more)))


def converse(*said: str, tools: tuple[dict[str, Any], ...]) -> list[Act]:
    """The acts after the last of the caller's lines, each of which was answered by the mind."""
    mind, lines, acts = RuleMind(), [Line("assistant", GREETING)], []
    for text in said:
        lines.append(Line("user", text))
        acts = list(mind.respond(Situation(INSTRUCTIONS, lines, tools)))
        lines.extend(Line("assistant", act.text) for act in acts if isinstance(act, Say))
    return acts


@pytest.mark.parametrize(
    "instructions",
    [
        INSTRUCTIONS,
        f"Greet the caller with: \u201c{GREETING}\u201d",
        f"Greet the caller with: {GREETING}",
        f'Open the conversation by saying "{GREETING}" and wait.',
        f'Say exactly: "{GREETING}"',
    ],
)
def test_the_greeting_is_the_one_in_the_instructions(instructions: str) -> None:
    assert RuleMind().respond(Situation(instructions, [])) == [Say(GREETING)]


def test_without_a_greeting_in_the_instructions_it_greets_in_its_own_way() -> None:
    assert RuleMind().respond(Situation("You are a waiter.", [])) == [Say(MANNERS.greeting)]


def test_a_response_that_was_told_what_to_say_says_it_whatever_the_caller_said() -> None:
    lines = [Line("user", "How much is the Kinnie?")]
    situation = Situation('Say: "The kitchen closes in ten minutes."', lines, WAITER)
    assert RuleMind().respond(situation) == [Say("The kitchen closes in ten minutes.")]


def test_a_note_to_act_on_is_acted_on_and_not_what_the_instructions_quote() -> None:
    note = Line("system", "A note. Act on it now, in your own words: The kitchen closes. Last orders, please.")
    rules = 'You are a waiter. Before the sum, say "totals".'
    situation = Situation(rules, [Line("user", "Hello?"), Line("assistant", "Hello!"), note], WAITER)
    assert RuleMind().respond(situation) == [Say("The kitchen closes. Last orders, please.")]
    asked = Situation(rules, [note, Line("user", "How much is a cappuccino?")], WAITER)
    assert RuleMind().respond(asked)[0] == UseTool("lookup_menu", {"query": "cappuccino"}), "a note is acted on once"


def test_a_name_in_quotes_behind_a_rule_to_say_something_is_not_said() -> None:
    rules = 'You are a waiter. Say the order in one sentence; where there are "totals" in two currencies, say both.'
    lines = [Line("user", "Hello?"), Line("assistant", "Hello!")]
    assert RuleMind().respond(Situation(rules, lines, WAITER)) == [Say(Manners().go_on)]


def test_a_rule_that_quotes_a_sentence_does_not_silence_the_rest() -> None:
    instructions = 'Be kind. When a guest is rude, say only "I see".'
    acts = RuleMind().respond(Situation(instructions, [Line("user", "Do you have coffee?")], WAITER))
    assert acts == [UseTool("lookup_menu", {"query": "coffee"})]


@pytest.mark.parametrize(
    ("said", "query"),
    [
        ("How much is the cappuccino?", "cappuccino"),
        ("Can you tell me what the grilled tilapia costs, please?", "grilled tilapia"),
        ("I'd like the ftira with tuna.", "ftira tuna"),
        ("Do you have any coffee?", "coffee"),
        ("Passion fruit juice.", "Passion fruit juice"),
        ("What is on the menu?", ""),
        ("What do you have?", ""),
    ],
)
def test_a_question_or_wish_goes_to_the_tool_that_searches(said: str, query: str) -> None:
    assert answer(said) == [UseTool("lookup_menu", {"query": query})]


def test_two_things_named_are_two_searches_at_once() -> None:
    assert answer("I would like a cappuccino and a butter croissant, please.") == [
        UseTool("lookup_menu", {"query": "cappuccino"}),
        UseTool("lookup_menu", {"query": "butter croissant"}),
    ]


def test_a_name_of_the_domain_is_put_right_where_the_ear_was_off() -> None:
    assert answer("Do you have Mutsig?") == [UseTool("lookup_menu", {"query": "Mützig"})]


def test_names_from_rows_already_told_are_known_afterwards() -> None:
    lines = [
        Line("tool_output", '{"items": [{"name": "Pastizzi"}]}', "lookup_menu", "c1"),
        Line("assistant", "We have Pastizzi."),
        Line("user", "Pastitzi."),
    ]
    assert RuleMind().respond(Situation("", lines, WAITER)) == [UseTool("lookup_menu", {"query": "Pastizzi"})]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("Thank you very much.", MANNERS.thanks),
        ("Hello?", MANNERS.hello),
        ("Bye bye.", MANNERS.goodbye),
        ("Yes please.", MANNERS.go_on),
        ("", MANNERS.fallback),
    ],
)
def test_courtesies_need_no_tool(said: str, sentence: str) -> None:
    assert answer(said, tools=(LOOKUP_MENU,)) == [Say(sentence)]


def test_what_fits_no_tool_is_asked_again() -> None:
    assert answer("Purple elephants dance.", tools=(BOOK_TABLE,)) == [Say(MANNERS.fallback)]


def test_a_remark_that_asks_for_nothing_is_not_searched() -> None:
    lines = [Line("assistant", "One moment."), Line("user", "Rain falls on roofs.")]
    assert RuleMind().respond(Situation("", lines, WAITER)) == [Say(MANNERS.fallback)]


def test_goodbye_ends_the_call_where_a_tool_does_that() -> None:
    assert answer("Thanks, goodbye!") == [UseTool("end_call", {})]


def test_a_word_of_a_description_is_enough_for_a_wish() -> None:
    assert answer("Can I talk to a human, please?") == [UseTool("transfer_call", {})]


def test_a_question_prefers_the_tool_that_looks_up_and_a_wish_the_one_that_acts() -> None:
    drinks = {"type": "string", "enum": ["latte", "cappuccino"]}
    order = function("order_drink", "Order a drink.", ("drink",), drink=drinks)
    assert answer("How much is a cappuccino?", tools=(order, LOOKUP_MENU)) == [
        UseTool("lookup_menu", {"query": "cappuccino"})
    ]
    assert answer("I'd like a cappuccino.", tools=(LOOKUP_MENU, order)) == [
        UseTool("order_drink", {"drink": "cappuccino"})
    ]


def test_names_numbers_days_and_switches_are_taken_from_one_sentence() -> None:
    said = "I'd like to book a table for four people tomorrow at seven under the name Anna Borg, outside please."
    assert answer(said, tools=(BOOK_TABLE, LOOKUP_MENU)) == [
        UseTool(
            "book_table",
            {"name": "Anna Borg", "party_size": 4, "date": "tomorrow", "time": "seven", "outside": True},
        )
    ]


def test_what_a_tool_lacks_is_asked_for_and_the_answer_completes_the_call() -> None:
    assert converse("Can we have a table for two?", tools=(BOOK_TABLE,)) == [Say("What is the name, please?")]
    acts = converse("Can we have a table for two?", "Anna Borg.", tools=(BOOK_TABLE,))
    assert acts == [UseTool("book_table", {"name": "Anna Borg", "party_size": 2})]


def test_missing_choices_are_read_out() -> None:
    asked = "What account would you like? You can choose savings or current."
    assert converse("What is my balance?", tools=(BALANCE,)) == [Say(asked)]
    assert converse("What is my balance?", "The savings one.", tools=(BALANCE,)) == [
        UseTool("get_balance", {"account": "savings"})
    ]


def test_an_article_counts_as_one_and_a_number_as_itself() -> None:
    assert answer("Add a cappuccino to my order.", tools=(ADD_ITEM,)) == [
        UseTool("add_to_order", {"item": "cappuccino", "quantity": 1})
    ]
    assert answer("Please add two brochettes to the order.", tools=(ADD_ITEM,)) == [
        UseTool("add_to_order", {"item": "brochettes", "quantity": 2})
    ]


def test_a_sentence_cut_in_two_by_the_endpoint_is_understood_as_one() -> None:
    size = {"type": "string", "enum": ["small", "large"]}
    drink = {"type": "string", "enum": ["latte", "mocha"]}
    order = function("order_drink", "Order a drink.", ("drink", "size"), drink=drink, size=size)
    assert answer("I'd like a large", "mocha please", tools=(order,)) == [
        UseTool("order_drink", {"size": "large", "drink": "mocha"})
    ]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "transfer_call"}])
def test_a_forced_tool_choice_is_obeyed_though_nothing_fits(choice: Any) -> None:
    tools = (TRANSFER,) if choice == "required" else WAITER
    assert answer("Purple elephants dance.", tools=tools, tool_choice=choice) == [UseTool("transfer_call", {})]


def test_no_tool_is_called_when_tools_are_forbidden() -> None:
    assert answer("How much is the Kinnie?", tool_choice="none") == [Say(MANNERS.fallback)]


def test_outputs_of_parallel_calls_are_told_together() -> None:
    rows = [
        {"name": "Cappuccino", "price": 3000, "currency": "RWF"},
        {"name": "Kinnie", "price": 2.8, "currency": "EUR"},
    ]
    lines = [
        Line("user", "A cappuccino and a Kinnie"),
        *(Line("tool_call", '{"query": "x"}', "lookup_menu", f"c{number}") for number in (1, 2)),
        *(Line("tool_output", json.dumps({"items": [row]}), "", f"c{number}") for number, row in enumerate(rows, 1)),
    ]
    assert RuleMind().respond(Situation(INSTRUCTIONS, lines, WAITER)) == [
        Say("Cappuccino costs 3,000 RWF. Kinnie costs 2.80 EUR.")
    ]


def test_an_output_already_spoken_about_is_not_told_again() -> None:
    lines = [
        Line("tool_output", '{"items": []}', "lookup_menu", "c1"),
        Line("assistant", "I am sorry, I found nothing."),
        Line("user", "Thank you"),
    ]
    assert RuleMind().respond(Situation("", lines, WAITER)) == [Say(MANNERS.thanks)]


PAIRING = function("recommend_pairing", "Find what goes well with an item.", ("itemId",), itemId=TEXT)


def test_an_identifier_is_taken_from_the_row_that_was_named() -> None:
    rows = [{"id": "rw-cap", "name": "Cappuccino"}, {"id": "rw-bro", "name": "Goat Brochette"}]
    lines = [
        Line("tool_output", json.dumps({"items": rows}), "lookup_menu", "c1"),
        Line("assistant", "We have Cappuccino and Goat Brochette. Which one would you like?"),
        Line("user", "What goes well with the brochette?"),
    ]
    acts = RuleMind().respond(Situation("", lines, (LOOKUP_MENU, PAIRING)))
    assert acts == [UseTool("recommend_pairing", {"itemId": "rw-bro"})]


def test_an_identifier_nobody_gave_yet_is_searched_for_first() -> None:
    acts = answer("What goes well with the brochette?", tools=(LOOKUP_MENU, PAIRING))
    assert [act.name for act in acts if isinstance(act, UseTool)] == ["lookup_menu"]


def test_a_greeting_to_be_said_exactly_is_said_even_when_the_caller_was_first() -> None:
    instructions = f'Greet the caller. Say exactly this and nothing else: "{GREETING}"'
    assert RuleMind().respond(Situation(instructions, [Line("user", "Hello?")], WAITER)) == [Say(GREETING)]


_TYPE = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null"])
_SCHEMA = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPE | st.lists(_TYPE, max_size=2),
            "enum": st.lists(st.text(max_size=6) | st.integers() | st.none(), max_size=3),
            "description": st.text(max_size=12),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": _TYPE,
            "properties": st.dictionaries(
                st.sampled_from(["query", "name", "id", "date", "quantity"]), inner, max_size=3
            ),
            "required": st.lists(st.sampled_from(["query", "name", "id", "other"]), max_size=2),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
        },
    ),
    max_leaves=6,
)


@given(
    said=st.text(max_size=40) | st.sampled_from(["two large ones", "what is it?", "a query please"]),
    parameters=st.none() | _SCHEMA,
    choice=st.sampled_from(["auto", "required"]),
)
def test_whatever_the_schema_and_the_words_there_is_an_act(said: str, parameters: Any, choice: str) -> None:
    tool = {"type": "function", "name": "do_it", "description": "Do a query.", "parameters": parameters}
    assert RuleMind().respond(Situation("", [Line("user", said)], [tool], choice))


def test_an_apology_for_cutting_in_is_nothing_to_look_up() -> None:
    spec = {
        "type": "function",
        "name": "lookup_menu",
        "description": "Find food and drinks on the menu, with their prices.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    }
    acts = RuleMind().respond(
        Situation("You are a waiter.", [Line("user", "Sorry, do you have grilled tilapia?")], [spec])
    )
    assert acts == [UseTool("lookup_menu", {"query": "grilled tilapia"})]
