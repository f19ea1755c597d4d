"""Tools of other programs in a persona's list: named by pattern, there or not there, given as they were written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from voice_gateway.agent.cast import LivingCast, Sources
from voice_gateway.agent.toolbox import house_toolbox
from voice_gateway.agent.tools import MOST_TOOLS, Tool, Toolbox, ToolContext, ToolError, tool_from
from voice_gateway.errors import GatewayError

PORTER = 'name = "Porter"\ninstructions = "You open doors."\ntools = ["take_message", "mcp:weather.get_*"]\n'


async def _echo(given: dict[str, Any]) -> dict[str, Any]:
    return {"given": given}


def foreign(name: str) -> Tool:
    return Tool(name, "Told elsewhere.", {"type": "object"}, 5.0, _echo, None)


class Weather:
    """One other program, whose tools come and go."""

    def __init__(self) -> None:
        self.there: list[Tool] = []
        self.asked: list[tuple[str, ...]] = []

    def check(self, pattern: str) -> None:
        if not pattern.startswith("weather"):
            raise ToolError(f"there is no MCP server named {pattern}")

    def tools(self, patterns: Sequence[str], room: int) -> Sequence[Tool]:
        self.asked.append(tuple(patterns))
        return self.there[:room]


def cast_with(tmp_path: Path, elsewhere: Weather | None, persona: str = PORTER) -> LivingCast:
    (tmp_path / "porter.toml").write_text(persona)
    return LivingCast(Sources(house_toolbox(), "porter", tmp_path, elsewhere=elsewhere))


def test_a_role_has_the_tools_of_elsewhere_that_are_there_when_it_is_asked_for(tmp_path: Path) -> None:
    weather = Weather()
    cast = cast_with(tmp_path, weather)
    before = cast.role("porter")
    weather.there = [foreign("weather_get_rain")]
    after = cast.role("porter")
    assert before.toolbox.names == ("take_message",)
    assert after.toolbox.names == ("take_message", "weather_get_rain")
    assert weather.asked == [("weather.get_*",)] * 2


def test_a_persona_of_the_house_alone_asks_nobody(tmp_path: Path) -> None:
    weather = Weather()
    cast_with(tmp_path, weather).role("waiter")
    assert weather.asked == []


def test_a_name_of_the_house_stays_the_houses(tmp_path: Path) -> None:
    weather = Weather()
    weather.there = [foreign("take_message"), foreign("weather_get_rain")]
    box = cast_with(tmp_path, weather).role("porter").toolbox
    assert [each.arguments is None for each in box.tools] == [False, True]


@pytest.mark.parametrize("tools", ['["mcp:stocks"]', '["mcp:"]'])
def test_a_server_that_nobody_named_keeps_the_cast_from_being_used(tmp_path: Path, tools: str) -> None:
    with pytest.raises(GatewayError, match="persona porter: tools: there is no MCP server named"):
        cast_with(tmp_path, Weather(), f'name = "Porter"\ninstructions = "You open doors."\ntools = {tools}\n')


def test_without_a_file_of_servers_it_is_told_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match=r"mcp:weather.get_. names an MCP server, but MCP_SERVERS_FILE is not set"):
        cast_with(tmp_path, None)


def test_a_model_is_never_given_more_tools_than_it_takes(tmp_path: Path) -> None:
    weather = Weather()
    weather.there = [foreign(f"weather_{number}") for number in range(300)]
    assert len(cast_with(tmp_path, weather).role("porter").toolbox.names) == MOST_TOOLS == 128


async def test_a_tool_of_elsewhere_is_given_what_the_model_wrote() -> None:
    box = Toolbox([foreign("weather_get_rain")])
    outcome = await box.run("weather_get_rain", '{"city": "Kigali", "days": [1, null]}', ToolContext())
    assert orjson.loads(outcome.output) == {"given": {"city": "Kigali", "days": [1, None]}}
    for wrong in ("[1]", "{", '"Kigali"'):
        assert not (await box.run("weather_get_rain", wrong, ToolContext())).ok


def test_what_works_on_a_call_alone_is_marked() -> None:
    marked = {each.name for each in house_toolbox().tools if each.in_call}
    assert {"end_call", "pause_recording", "resume_recording", "stop_recording", "cancel_appointment"} <= marked
    assert not marked & {"lookup_menu", "place_order", "get_member_balance", "redeem_voucher", "check_availability"}
    assert not tool_from(_documented).in_call


def _documented() -> None:
    """Say nothing."""
