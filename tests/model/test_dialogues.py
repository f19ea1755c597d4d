"""Whole dialogues of the protocol: what the server says, what the call is told, what a command becomes on the wire.

One file each in `dialogues/`, a step a line: `server` (a message), `told` (the events it must become), `command` with
`client` (the message it must become, but for its `event_id`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types.realtime import RealtimeServerEvent

from voice_gateway.call import commands as do
from voice_gateway.model.realtime import Dialect
from voice_gateway.model.settings import ModelSettings

DIALOGUES = sorted((Path(__file__).parent / "dialogues").glob("*.jsonl"))
SERVER_CLASSES = {
    get_args(event.model_fields["type"].annotation)[0]: event for event in get_args(get_args(RealtimeServerEvent)[0])
}


def steps(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def follow(dialect: Dialect, step: dict[str, Any], told: list[str]) -> tuple[str, Any, Any]:
    """Perform one step; return what kind it is, what came of it and what should have."""
    match step:
        case {"server": message}:
            told[:] = [repr(event) for event in dialect.read(json.dumps(message))]
            return f"server  {message['type']}", None, None
        case {"told": expected}:
            return "told", list(told), expected
        case {"command": command, "client": message}:
            ((name, fields),) = command.items()
            sent = json.loads(dialect.write(getattr(do, name)(**fields)))
            assert sent.pop("event_id").startswith(f"{message['type']}:")
            return f"command {name}", sent, message
    raise AssertionError(step)


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_the_dialogue_goes_as_written(path: Path) -> None:
    dialect, told, log = Dialect(ModelSettings()), [], []
    for step in steps(path):
        what, got, expected = follow(dialect, step, told)
        log.append(what if got is None else f"{what}: {got}")
        assert got == expected, "\n".join(["", *log])
    assert not dialect.malformed
    assert not dialect.unknown


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_the_dialogue_is_made_of_messages_that_the_official_types_accept(path: Path) -> None:
    for step in steps(path):
        if message := step.get("server"):
            SERVER_CLASSES[message["type"]].model_validate(message)


def test_every_dialogue_is_found() -> None:
    assert len(DIALOGUES) >= 10
