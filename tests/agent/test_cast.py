"""Who is there to answer, while the operator's files change."""

from __future__ import annotations

from pathlib import Path

import pytest

from voice_gateway.agent.cast import LivingCast, Sources
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.errors import GatewayError

OWN = 'name = "Porter"\ninstructions = "You open doors."\ngreeting = "{greeting}"\ntools = ["take_message"]\n'


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "personas"
    folder.mkdir()
    (folder / "porter.toml").write_text(OWN.format(greeting="Good evening."))
    return folder


def living(folder: Path | None, clock: Clock, routes: Path | None = None, default: str = "waiter") -> LivingCast:
    return LivingCast(Sources(house_toolbox(), default, folder, routes), clock)


def test_ones_own_personas_stand_beside_those_of_the_house(own: Path) -> None:
    cast = living(own, Clock(), default="porter")
    assert {"waiter", "porter"} <= set(cast.keys)
    role = cast.role(cast.choose("+15550100001", "+15550100002"))
    assert (role.persona.name, role.toolbox.names) == ("Porter", ("take_message",))


def test_a_changed_file_counts_from_the_next_call_on(own: Path) -> None:
    clock = Clock()
    cast = living(own, clock)
    (own / "porter.toml").write_text(OWN.format(greeting="A different greeting."))
    clock.now += 3.0
    cast.choose("", "")
    assert cast.role("porter").persona.greeting == "A different greeting."


def test_a_mistake_leaves_the_last_good_cast_until_it_is_mended(own: Path) -> None:
    clock = Clock()
    cast = living(own, clock)
    (own / "porter.toml").write_text("name = ")
    clock.now += 3.0
    cast.choose("", "")
    assert cast.role("porter").persona.greeting == "Good evening."
    (own / "porter.toml").write_text(OWN.format(greeting="Mended."))
    clock.now += 3.0
    cast.choose("", "")
    assert cast.role("porter").persona.greeting == "Mended."


def test_a_persona_taken_away_still_serves_the_call_that_has_it(own: Path) -> None:
    clock = Clock()
    cast = living(own, clock)
    (own / "porter.toml").unlink()
    clock.now += 3.0
    cast.choose("", "")
    assert "porter" not in cast.keys
    assert cast.role("porter").persona.name == "Porter"
    assert cast.role("never heard of").persona.key == "waiter"


def test_files_are_not_looked_at_for_every_call_of_a_rush(own: Path) -> None:
    clock = Clock()
    cast = living(own, clock)
    (own / "porter.toml").write_text(OWN.format(greeting="Too early."))
    clock.now += 1.0
    cast.choose("", "")
    assert cast.role("porter").persona.greeting == "Good evening."


def test_routes_and_personas_may_change_together(own: Path, tmp_path: Path) -> None:
    clock = Clock()
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\npersona = "porter"\nto = "+15550100002"\n')
    cast = living(own, clock, routes)
    assert cast.choose("", "+15550100002") == "porter"
    (own / "valet.toml").write_text(OWN.format(greeting="Your car, please."))
    routes.write_text('[[route]]\npersona = "valet"\n')
    clock.now += 3.0
    assert cast.choose("", "+15550100002") == "valet"


@pytest.mark.parametrize(
    ("tools", "said"),
    [('["fly"]', "persona porter: tools: there is no tool named fly"), ('["take_message", "take_message"]', "porter")],
)
def test_a_persona_with_impossible_tools_is_refused_at_start(own: Path, tools: str, said: str) -> None:
    (own / "porter.toml").write_text(OWN.replace('["take_message"]', tools))
    with pytest.raises(GatewayError) as told:
        living(own, Clock())
    assert said in str(told.value)


def test_a_default_nobody_plays_is_refused_at_start(own: Path) -> None:
    with pytest.raises(GatewayError, match=r"DEFAULT_PERSONA is ghost; there are .*porter"):
        living(own, Clock(), default="ghost")
