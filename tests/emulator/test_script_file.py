"""A scripted model for exact tests: every act in its order, out of a file, and what was not played is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from voice_gateway.emulator.faculties import Line, Say, Situation, UseTool
from voice_gateway.emulator.realtime import INSTANT
from voice_gateway.emulator.script_file import read_script
from voice_gateway.emulator.scripted import ScriptedMind, When

SCRIPT = [
    "Hello, and welcome!",
    [
        {"say": "Let me see.", "phase": "commentary"},
        {"call": "lookup", "arguments": {"query": "mocha"}},
        {"call": "lookup", "arguments": "{not JSON"},
        {"call": "clock"},
    ],
    {"when": "bye", "acts": [{"say": "Goodbye!"}, {"call": "end_call"}]},
    {"when": "mocha", "tool": "lookup", "once": True, "acts": [{"say": "It is there: {output}"}]},
]


@pytest.fixture
def script(tmp_path: Path) -> Callable[[Any], Path]:
    def write(entries: Any) -> Path:
        path = tmp_path / "script.json"
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return path

    return write


def test_a_file_becomes_replies(script: Callable[[Any], Path]) -> None:
    calls = [UseTool("lookup", {"query": "mocha"}), UseTool("lookup", "{not JSON"), UseTool("clock", {})]
    assert read_script(script(SCRIPT)) == [
        "Hello, and welcome!",
        [Say("Let me see.", "commentary"), *calls],
        When("bye", (Say("Goodbye!"), UseTool("end_call", {}))),
        When("mocha", (Say("It is there: {output}"),), "lookup", once=True),
    ]


def test_the_model_plays_it_to_the_letter(script: Callable[[Any], Path], dialogue: Callable[..., Any]) -> None:
    mind = ScriptedMind(read_script(script(SCRIPT)))
    talk = dialogue(mind, latency=INSTANT)
    for _ in range(2):
        talk.send("response.create")
        talk.until("response.done")
    output = talk.all("response.done")[1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call", "function_call"]
    assert output[0]["phase"] == "commentary"
    assert [item["name"] for item in output[1:]] == ["lookup", "lookup", "clock"]
    assert json.loads(output[1]["arguments"]) == {"query": "mocha"}
    assert output[2]["arguments"] == "{not JSON"
    found = {"type": "function_call_output", "call_id": output[1]["call_id"], "output": "a mocha"}
    talk.send("conversation.item.create", item=found)
    talk.send("response.create")
    talk.until("response.done")
    assert talk.answer.transcript == "It is there: a mocha"
    assert mind.left == []
    assert mind.surprises == []


def test_what_was_not_played_and_what_nobody_foresaw_is_told() -> None:
    mind = ScriptedMind([When("tea", (Say("Tea."),), once=True), "One."], otherwise="What?")
    lines = [Line("user", "tea")]
    assert [list(mind.respond(Situation("", lines))) for _ in range(3)] == [
        [Say("Tea.")],
        [Say("One.")],
        [Say("What?")],
    ]
    assert mind.left == []
    assert [situation.lines for situation in mind.surprises] == [lines]
    assert ScriptedMind(["One.", "Two."]).left == ["One.", "Two."]


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ("no json", "a script is a JSON list of responses"),
        ({"say": "x"}, "a script is a JSON list of responses"),
        (["ok", 7], "entry 2 is no response: a text, a list of acts"),
        ([[{"says": "x"}]], "entry 1 is no response"),
        ([{"when": "(", "acts": []}], "is no regular expression"),
    ],
)
def test_what_is_no_script_is_told_with_its_place(entries: Any, told: str, script: Callable[[Any], Path]) -> None:
    with pytest.raises(ValueError, match=r"script\.json: ") as error:
        read_script(script(entries))
    assert told in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.json cannot be read: No such file"):
        read_script(tmp_path / "nothing.json")
