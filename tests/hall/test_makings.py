"""What a call is made of when another persona takes it over."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from voice_gateway import config
from voice_gateway.agent.cast import Cast, Role
from voice_gateway.agent.hours import OpeningHours, Span
from voice_gateway.agent.personas import Persona, PersonaError
from voice_gateway.agent.routes import Routes
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.call.clip import Clip
from voice_gateway.call.events import CallFacts
from voice_gateway.makings import Makings
from voice_gateway.ops.metrics import Metrics

SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)
CLOSED = OpeningHours(ZoneInfo("UTC"), spans=((),) * 7, say="Closed.")
ALWAYS = OpeningHours(ZoneInfo("Asia/Tokyo"), spans=((Span(0, 1440),),) * 7, say="Closed.")
PERSONAS = (
    Persona("waiter", "Waiter", "You wait.", tools=("end_call",)),
    Persona("cfo", "Finance chief", "You count.", introduction="Finance here.", keys={"0": "waiter"}),
    Persona("porter", "Porter", "You open doors.", hours=CLOSED),
    Persona("nurse", "Nurse", "You care.", greeting="Good day.", hours=ALWAYS, languages=("en", "fr")),
)


@pytest.fixture
def makings(tmp_path: Path) -> Makings:
    return made(tmp_path)


def made(tmp_path: Path, at: datetime = SUNDAY, **more: str) -> Makings:
    environment = {"OPENAI_API_KEY": "sk-x", "STORE_PATH": str(tmp_path / "calls.sqlite3"), **more}
    roles = {each.key: Role(each, house_toolbox().pick(each.tools)) for each in PERSONAS}
    cast = Cast(roles, Routes((), "waiter"), wall_clock=lambda: SUNDAY)
    return Makings(
        config.load(environment, env_file=None), cast, metrics=Metrics(version="x"), secret=b"x", wall_clock=lambda: at
    )


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


def test_who_is_in_a_call_when_his_hours_end_may_still_change_its_language(makings: Makings) -> None:
    porter = CallFacts("CA1", persona="porter")
    makings._hired["CA1"] = {}
    makings.role(porter)  # as when his call began
    assert makings.settings(replace(porter, language="fr")).instructions.startswith("You open doors.")
    with pytest.raises(PersonaError, match="outside its hours"):
        makings.settings(replace(porter, call_sid="CA2"))


@pytest.mark.parametrize(("persona", "told"), [("nobody", "there is no persona"), ("porter", "outside its hours")])
def test_nobody_takes_over_who_is_not_there(makings: Makings, persona: str, told: str) -> None:
    with pytest.raises(PersonaError, match=told):
        makings.settings(CallFacts("CA1", persona=persona))


LATE = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
KIGALI = "Today is Monday, 2026-11-23. It was 01:30 in the time zone Africa/Kigali (UTC+02:00) when you were told this."
TOKYO = "Today is Monday, 2026-11-23. It was 08:30 in the time zone Asia/Tokyo (UTC+09:00) when you were told this."


def test_a_model_is_told_the_date_and_the_time_where_its_persona_is(tmp_path: Path) -> None:
    makings = made(tmp_path, LATE, DIARY_ZONE="Africa/Kigali")
    waiter, nurse = CallFacts("CA1", persona="waiter"), CallFacts("CA1", persona="nurse")
    assert KIGALI in makings.settings(waiter).instructions
    assert TOKYO in makings.settings(nurse).instructions, "that of its hours goes before the diary's"
    french = makings.settings(replace(nurse, language="fr")).instructions
    assert "You now speak fr" in french
    assert TOKYO in french
    written = makings.text_settings(makings.role(waiter))
    assert KIGALI in written.instructions
    assert makings.now_for(makings.role(nurse).persona).isoformat() == "2026-11-23T08:30:00+09:00", "the supervisor's"


def test_without_a_zone_the_time_is_the_machines_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    try:
        told = made(tmp_path, LATE).settings(CallFacts("CA1", persona="waiter")).instructions
        assert "Today is Sunday, 2026-11-22. It was 20:30 in the time zone UTC-03:00 when" in told
        utc = made(tmp_path, LATE, DIARY_ZONE="UTC").settings(CallFacts("CA1", persona="waiter")).instructions
        assert "Today is Sunday, 2026-11-22. It was 23:30 in the time zone UTC when" in utc
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_a_greeting_that_was_kept_is_good_on_another_day(tmp_path: Path) -> None:
    greeter = CallFacts("CA1", persona="nurse")
    for at in (SUNDAY, LATE, LATE + timedelta(days=9)):
        makings = made(tmp_path, at)
        await makings.start()
        makings.keep_greeting(greeter, Clip(b"\x10" * 8000, "Good day."))
        await makings.close()
    assert len(list((tmp_path / "greetings").iterdir())) == 1
