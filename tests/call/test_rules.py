"""The rules at the heads of the modules are held by tests: each rule names at least one, and each named one exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from voice_gateway import text_session, transfers
from voice_gateway.call import (
    barge_in,
    bridge,
    dialling,
    errands,
    goodbye,
    handoff,
    opening,
    responses,
    saying,
    thinking,
    turns,
    watch,
)
from voice_gateway.caller import farewells

THERE_ARE = frozenset(
    name
    for path in Path(__file__).parents[1].glob("*/test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize(
    "module",
    [
        barge_in,
        bridge,
        turns,
        errands,
        goodbye,
        handoff,
        opening,
        responses,
        saying,
        thinking,
        dialling,
        watch,
        farewells,
        transfers,
        text_session,
    ],
    ids=lambda module: module.__name__,
)
def test_every_rule_names_a_test_that_exists(module: object) -> None:
    rules = re.split(r"^\d+\. ", (module.__doc__ or "").partition("Rules\n-----\n")[2], flags=re.MULTILINE)[1:]
    assert rules
    for number, rule in enumerate(rules, 1):
        named = set(re.findall(r"\btest_\w+", rule))
        assert named, f"rule {number} names no test"
        assert named <= THERE_ARE, f"rule {number} names {named - THERE_ARE}, which no file here holds"
