"""What a call is made of when another persona takes it over."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from voice_gateway import config
from voice_gateway.agent.cast import Cast, Role
from voice_gateway.agent.hours import OpeningHours
from voice_gateway.agent.personas import Persona, PersonaError
from voice_gateway.agent.routes import Routes
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.call.events import CallFacts
from voice_gateway.makings import Makings
from voice_gateway.ops.metrics import Metrics

SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
CLOSED = OpeningHours(ZoneInfo("UTC"), spans=((),) * 7, say="Closed.")
PERSONAS = (
    Persona("waiter", "Waiter", "You wait.", tools=("end_call",)),
    Persona("cfo", "Finance chief", "You count.", introduction="Finance here.", keys={"0": "waiter"}),
    Persona("porter", "Porter", "You open doors.", hours=CLOSED),
)


@pytest.fixture
def makings(tmp_path: Path) -> Makings:
    environment = {"OPENAI_API_KEY": "sk-x", "STORE_PATH": str(tmp_path / "calls.sqlite3")}
    roles = {each.key: Role(each, house_toolbox().pick(each.tools)) for each in PERSONAS}
    cast = Cast(roles, Routes((), "waiter"), wall_clock=lambda: SUNDAY)
    return Makings(config.load(environment, env_file=None), cast, metrics=Metrics(version="x"), secret=b"x")


def test_everything_is_that_of_the_persona_in_the_facts(makings: Makings) -> None:
    waiter, cfo = CallFacts("CA1", persona="waiter"), CallFacts("CA1", persona="cfo")
    assert makings.settings(waiter).instructions.startswith("You wait.")
    assert makings.settings(cfo).instructions.startswith("You count.")
    assert (makings.policy(waiter).may_end, makings.policy(cfo).may_end) == (True, False)
    policy = makings.policy(cfo)
    assert (policy.persona, policy.name, policy.introduction) == ("cfo", "Finance chief", "Finance here.")
    assert policy.keys == {"0": "waiter"}
    assert policy.clip is None
    assert policy.greeting_to_keep == ""


@pytest.mark.parametrize(("persona", "told"), [("nobody", "there is no persona"), ("porter", "outside its hours")])
def test_nobody_takes_over_who_is_not_there(makings: Makings, persona: str, told: str) -> None:
    with pytest.raises(PersonaError, match=told):
        makings.settings(CallFacts("CA1", persona=persona))
