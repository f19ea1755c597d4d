"""Every scenario of every persona, typed: the emulated mind, the persons' own tools, real tables, no sound."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typed_calls import _read, fresh_tables, play

from voice_gateway.agent.personas import load_persona, load_personas
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.emulator.faculties import Line, Situation, UseTool
from voice_gateway.emulator.mind import RuleMind
from voice_gateway.emulator.scenario import Expected, Scenario, Use, conversation
from voice_gateway.emulator.scenarios import SCENARIOS
from voice_gateway.emulator.verdict import Happened, Used, failings

A_SATURDAY = datetime(2026, 11, 21, 10, tzinfo=UTC)
TYPED = [scenario for scenario in SCENARIOS.values() if scenario.persona]


async def happened(scenario: Scenario, folder: Path, now: datetime = A_SATURDAY) -> list[str]:
    """What a scenario expected and did not get, after the one that must come before."""
    tables = await fresh_tables(folder)
    if scenario.after:
        await play(SCENARIOS[scenario.after], tables, now, "CA0")
    return failings(scenario.expected, await play(scenario, tables, now), now.date())


@pytest.mark.parametrize("scenario", TYPED, ids=[scenario.name for scenario in TYPED])
async def test_what_a_scenario_expects_happens(scenario: Scenario, tmp_path: Path) -> None:
    assert scenario.expected.uses
    assert await happened(scenario, tmp_path) == []


@pytest.mark.parametrize("day", [22, 23, 24, 25, 27])
async def test_days_are_right_whatever_the_day_of_the_call(day: int, tmp_path: Path) -> None:
    now = datetime(2026, 11, day, 23, 30, tzinfo=UTC)
    assert await happened(SCENARIOS["appointment"], tmp_path, now) == []


def test_every_shipped_persona_has_its_callers() -> None:
    assert {scenario.persona for scenario in TYPED} == set(load_personas())


def test_a_scenario_names_only_scenarios_and_personas_there_are() -> None:
    personas = load_personas()
    for scenario in SCENARIOS.values():
        assert not scenario.after or scenario.after in SCENARIOS
        assert not scenario.persona or scenario.persona in personas


async def test_what_did_not_happen_is_told(tmp_path: Path) -> None:
    wanted = Expected(
        uses=(Use("place_order", {"quantity": 3}), Use("end_call")), never=("lookup_menu",), hears=("ten",)
    )
    told = await happened(replace(SCENARIOS["order"], expected=wanted), tmp_path)
    assert [line.split(",")[0] for line in told] == [
        "place_order was called",
        "lookup_menu must not be called",
        "lookup_menu must not be called",
        "the caller was to hear ten",
    ]
    assert "quantity was 2, not 3" in told[0]


async def test_a_caller_who_says_no_has_nothing_done_for_him(tmp_path: Path) -> None:
    lines = conversation("Please order two cappuccinos.", "No, leave it.", "Goodbye.")
    scenario = Scenario("no", "", lines, persona="waiter", expected=Expected(never=("place_order",), ends="gateway"))
    assert await happened(scenario, tmp_path) == []


async def test_a_correction_is_read_back_before_anything_is_done(tmp_path: Path) -> None:
    lines = conversation("Please order two cappuccinos.", "No, three cappuccinos please.", "Yes.", "Goodbye.")
    wanted = Expected(
        uses=(Use("place_order", {"item": "rw-cap", "quantity": 3}),),
        hears=("2 Cappuccino.*?Shall I go ahead", "3 Cappuccino.*?Shall I go ahead", "9,000"),
    )
    assert await happened(Scenario("three", "", lines, persona="waiter", expected=wanted), tmp_path) == []


DESKS = [scenario for scenario in SCENARIOS.values() if scenario.desk]


@pytest.mark.parametrize("scenario", DESKS, ids=[scenario.name for scenario in DESKS])
def test_a_persona_that_a_scenario_brings_does_what_its_caller_wants(scenario: Scenario, tmp_path: Path) -> None:
    (tmp_path / "desk.toml").write_text(scenario.desk, encoding="utf-8")
    desk = load_persona(tmp_path / "desk.toml")
    lines = [Line("assistant", desk.greeting), Line("user", scenario.lines[0])]
    acts = RuleMind().respond(Situation(desk.role_instructions, lines, house_toolbox().pick(desk.tools).specs()))
    (wanted,) = scenario.expected.uses
    (called,) = [act for act in acts if isinstance(act, UseTool)]
    happened = Happened(uses=[Used(called.name, _read(called), '{"ok":true}')], ended=scenario.expected.ends)
    assert failings(replace(scenario.expected, hears=()), happened, A_SATURDAY.date()) == []
    assert called.name == wanted.tool
