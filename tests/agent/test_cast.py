"""Who is there to answer, while the operator's files change."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from voice_gateway.agent.cast import LivingCast, Sources
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import ToolContext
from voice_gateway.call.events import HandoffAsked, InnerEvent
from voice_gateway.errors import GatewayError

OWN = 'name = "Porter"\ninstructions = "You open doors."\ngreeting = "{greeting}"\ntools = ["take_message"]\n'


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "personas"
    folder.mkdir()
    (folder / "porter.toml").write_text(OWN.format(greeting="Good evening."))
    return folder


def living(folder: Path | None, routes: Path | None = None, default: str = "waiter") -> LivingCast:
    return LivingCast(Sources(house_toolbox(), default, folder, routes))


def test_ones_own_personas_stand_beside_those_of_the_house(own: Path) -> None:
    cast = living(own, default="porter")
    assert {"waiter", "porter"} <= set(cast.keys)
    role = cast.role(cast.choose("+15550100001", "+15550100002"))
    assert (role.persona.name, role.toolbox.names) == ("Porter", ("take_message",))


async def test_a_changed_file_counts_from_the_next_call_on(own: Path) -> None:
    cast = living(own)
    (own / "porter.toml").write_text(OWN.format(greeting="A different greeting."))
    await cast.look()
    assert cast.role("porter").persona.greeting == "A different greeting."


@pytest.mark.parametrize(
    "line",
    [
        "turn_detection = { type = [] }",
        "idle = { prompts = 99999999999999999999 }",
        pytest.param(f"voice = {'[' * 3000}{']' * 3000}", id="nested"),
    ],
)
async def test_a_file_that_no_value_fits_into_turns_no_caller_away(own: Path, line: str) -> None:
    cast = living(own)
    (own / "porter.toml").write_text(f"{OWN.format(greeting='New.')}{line}\n")
    await cast.look()
    assert cast.role("porter").persona.greeting == "Good evening."
    with pytest.raises(GatewayError, match="porter"):
        living(own)


async def test_a_pipe_among_the_personas_turns_no_caller_away(own: Path) -> None:
    cast = living(own)
    os.mkfifo(own / "pipe.toml")
    await cast.look()
    assert cast.role("porter").persona.greeting == "Good evening."
    with pytest.raises(GatewayError, match=r"pipe\.toml: cannot be read: it is no plain file"):
        living(own)


async def test_routes_of_the_wrong_kind_turn_no_caller_away(own: Path, tmp_path: Path) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\npersona = "porter"\n')
    cast = living(own, routes)
    routes.write_text("[[route]]\npersona = [1]\n")
    await cast.look()
    assert cast.choose("", "") == "porter"
    with pytest.raises(GatewayError, match="persona"):
        living(own, routes)


@pytest.mark.parametrize(
    "asked",
    [
        lambda cast: "valet" in cast.keys,
        lambda cast: "valet" in [role.persona.key for role in cast.roles],
        lambda cast: cast.role("valet").persona.key == "valet",
        lambda cast: cast.closed("valet") is not None,
    ],
)
async def test_a_persona_that_came_since_can_take_over_before_the_next_call(
    own: Path, asked: Callable[[LivingCast], bool]
) -> None:
    cast = living(own)
    never = '[hours]\nzone = "UTC"\nsay = "Never."\nopen = { mon = [] }\n'
    (own / "valet.toml").write_text(OWN.format(greeting="Your car, please.") + never)
    assert not asked(cast), "not looked at yet"
    await cast.look()
    assert asked(cast)


async def test_a_mistake_leaves_the_last_good_cast_until_it_is_mended(own: Path) -> None:
    cast = living(own)
    (own / "porter.toml").write_text("name = ")
    await cast.look()
    assert cast.role("porter").persona.greeting == "Good evening."
    (own / "porter.toml").write_text(OWN.format(greeting="Mended."))
    await cast.look()
    assert cast.role("porter").persona.greeting == "Mended."


async def test_a_persona_taken_away_still_serves_the_call_that_has_it(own: Path) -> None:
    cast = living(own)
    (own / "porter.toml").unlink()
    await cast.look()
    assert "porter" not in cast.keys
    assert cast.role("porter").persona.name == "Porter"
    assert cast.role("never heard of").persona.key == "waiter"


async def test_files_are_read_beside_the_calls(own: Path) -> None:
    cast = living(own)
    (own / "porter.toml").write_text(OWN.format(greeting="Later."))
    looking = asyncio.create_task(cast.look())
    await asyncio.sleep(0)
    assert not looking.done(), "the loop goes on meanwhile"
    assert cast.role(cast.choose("", "")).persona.key == "waiter"
    assert cast.role("porter").persona.greeting == "Good evening."
    await looking
    assert cast.role("porter").persona.greeting == "Later."


async def test_a_cast_follows_its_files_past_every_mistake(own: Path) -> None:
    cast = living(own)
    following = asyncio.create_task(cast.follow(0.001))
    for wrong, greeting in (("name = ", "One."), ("name = 3", "Two.")):
        (own / "porter.toml").write_text(wrong)
        await asyncio.sleep(0.005)
        (own / "porter.toml").write_text(OWN.format(greeting=greeting))
        async with asyncio.timeout(10):
            while cast.role("porter").persona.greeting != greeting:  # noqa: ASYNC110 - what calls see, not an event
                await asyncio.sleep(0.001)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_routes_and_personas_may_change_together(own: Path, tmp_path: Path) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\npersona = "porter"\nto = "+15550100002"\n')
    cast = living(own, routes)
    assert cast.choose("", "+15550100002") == "porter"
    (own / "valet.toml").write_text(OWN.format(greeting="Your car, please."))
    routes.write_text('[[route]]\npersona = "valet"\n')
    await cast.look()
    assert cast.choose("", "+15550100002") == "valet"


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ('["fly"]', "persona porter: tools: there is no tool named fly"),
        ('["take_mesage", "end-call"]', "stop_recording; did you mean take_message, end_call?"),
        ('["take_message", "take_message"]', "porter"),
    ],
)
def test_a_persona_with_impossible_tools_is_refused_at_start(own: Path, tools: str, said: str) -> None:
    (own / "porter.toml").write_text(OWN.replace('["take_message"]', tools))
    with pytest.raises(GatewayError) as told:
        living(own)
    assert said in str(told.value)


def test_a_default_nobody_plays_is_refused_at_start(own: Path) -> None:
    with pytest.raises(GatewayError, match=r"DEFAULT_PERSONA is ghost; there are .*porter, receptionist, waiter$"):
        living(own, default="ghost")
    with pytest.raises(GatewayError, match=r"DEFAULT_PERSONA is recepcionist; there .*; did you mean receptionist\?"):
        living(own, default="recepcionist")


# --- business hours -----------------------------------------------------------------------------------------------

DAY = (
    OWN.format(greeting="Good day.")
    + '[hours]\nzone = "Africa/Kigali"\n{outside}\n[hours.open]\nmon-sun = "08:00-18:00"\n'
)
NOON = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
NIGHT = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)


def at_hours(folder: Path, outside: str, at: datetime) -> LivingCast:
    (folder / "porter.toml").write_text(DAY.format(outside=outside))
    (folder / "night-desk.toml").write_text(OWN.format(greeting="Good night."))
    return LivingCast(Sources(house_toolbox(), "porter", folder), lambda: at)


def test_another_persona_answers_outside_the_hours(own: Path) -> None:
    assert at_hours(own, 'persona = "night-desk"', NOON).choose("", "") == "porter"
    assert at_hours(own, 'persona = "night-desk"', NIGHT).choose("", "") == "night-desk"


def test_where_nobody_answers_instead_the_hours_tell_what_to_say(own: Path) -> None:
    cast = at_hours(own, 'say = "Closed."', NIGHT)
    assert cast.choose("", "") == "porter"
    closed = cast.closed("porter")
    assert closed is not None
    assert closed.say == "Closed."
    assert cast.closed("night-desk") is None
    assert at_hours(own, 'say = "Closed."', NOON).closed("porter") is None


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("nobody", "persona porter: hours.persona: there is no nobody; there are bartender, "),
        ("porter", "persona porter: hours.persona: porter -> porter goes round; one of them must answer or tell when"),
    ],
)
def test_hours_that_lead_nowhere_are_an_error_at_the_start(own: Path, instead: str, said: str) -> None:
    with pytest.raises(GatewayError) as caught:
        at_hours(own, f'persona = "{instead}"', NIGHT)
    assert str(caught.value).startswith(said)


def test_a_persona_says_whose_menu_it_needs(own: Path) -> None:
    text = OWN.format(greeting="Hi.").replace("take_message", "lookup_menu") + 'market = "KE"\n'
    (own / "porter.toml").write_text(text)
    assert living(own).role("porter").needs_menu_of == "KE"
    (own / "porter.toml").write_text(text.replace("lookup_menu", "take_message"))
    assert living(own).role("porter").needs_menu_of == ""


def test_a_market_is_a_country(own: Path) -> None:
    (own / "porter.toml").write_text(OWN.format(greeting="Hi.") + 'market = "UK"\n')
    with pytest.raises(GatewayError, match="market: must be a country of two letters such as RW or MT, not 'UK'"):
        living(own)


SUPERVISED = """
name = "Porter"
instructions = "You open doors."
tools = ["take_message", "get_next_response_from_supervisor"]
[supervisor]
instructions = "Doors open inwards."
tools = ["lookup_menu"]
"""


def test_a_persona_that_lists_the_way_to_a_supervisor_has_it_where_there_is_one(own: Path) -> None:
    (own / "porter.toml").write_text(SUPERVISED)
    alone = LivingCast(Sources(house_toolbox(), "porter", own)).role("porter")
    assert (alone.toolbox.names, alone.supervisor) == (("take_message",), None)
    led = LivingCast(Sources(house_toolbox(), "porter", own, supervised=True)).role("porter")
    assert led.toolbox.names == ("take_message", "get_next_response_from_supervisor")
    assert led.supervisor is not None
    assert led.supervisor.names == ("lookup_menu",)
    assert set(led.tool_names) == {"take_message", "get_next_response_from_supervisor", "lookup_menu"}
    assert led.persona.instructions == "You open doors."


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('tools = ["get_next_response_from_supervisor"]', "a supervisor cannot ask itself"),
        ('tools = ["lookup_moon"]', "supervisor.tools: there is no tool named lookup_moon"),
        ('tools = ["end_call"]', "supervisor.tools: end_call is used by the voice"),
        ('voice_tools = ["take_message"]', "supervisor.voice_tools: without get_next_response_from_supervisor"),
        ('reasoning_effort = "heroic"', "it must be one of none, minimal"),
        ("deadline_s = 600", "it must be from 0 to 60"),
        ('patience = "long"', "supervisor.patience: no such field; there are instructions, tools"),
    ],
)
def test_a_supervision_that_cannot_be_is_told_by_file_and_field(own: Path, wrong: str, told: str) -> None:
    (own / "porter.toml").write_text(SUPERVISED.replace('tools = ["lookup_menu"]', wrong))
    with pytest.raises(GatewayError, match="porter") as problem:
        LivingCast(Sources(house_toolbox(), "porter", own))
    assert told in str(problem.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ('tools = ["handoff_to"]\nhandoff = ["nobody"]', "handoff: there is no nobody; there are bartender, cfo"),
        ('tools = ["handoff_to"]\nhandoff = ["porter"]', "handoff: is this persona itself"),
        ('handoff = ["cfo"]', "handoff: needs the tool handoff_to; add it to tools"),
        ('tools = ["handoff_to"]', "tools: handoff_to needs to know whom to hand over to; name them in handoff"),
        ('[keys]\n9 = "nobody"', "keys.9: there is no nobody"),
    ],
)
def test_a_handoff_to_nobody_is_told(own: Path, fields: str, told: str) -> None:
    (own / "porter.toml").write_text(f'name = "Porter"\ninstructions = "You open doors."\n{fields}\n')
    with pytest.raises(GatewayError, match=f"persona porter: {told}"):
        living(own)


async def test_the_tool_hands_over_to_those_alone_whom_the_persona_names() -> None:
    cast = living(None)
    toolbox = cast.role("waiter").toolbox
    (spec,) = [spec for spec in toolbox.specs() if spec["name"] == "handoff_to"]
    persona = spec["parameters"]["properties"]["persona"]
    assert persona["enum"] == ["cfo"]
    assert "Finance chief" in persona["description"]
    told: list[InnerEvent] = []

    def tell(event: InnerEvent) -> bool:
        told.append(event)
        return True

    context = ToolContext(tell=tell)
    wrong = await toolbox.run("handoff_to", '{"persona": "bartender"}', context)
    assert not wrong.ok
    assert "should be 'cfo'" in wrong.output
    assert told == []
    assert (await toolbox.run("handoff_to", '{"persona": "cfo", "reason": "tax"}', context)).ok
    assert told == [HandoffAsked("cfo", "tool", "tax")]
    assert not (await toolbox.run("handoff_to", '{"persona": "cfo"}', ToolContext(tell=lambda _: False))).ok
