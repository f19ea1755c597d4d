"""Foreign servers, really run: what becomes of a call's tool when one is strange, slow, dead or back again."""

from __future__ import annotations

import asyncio
import io
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from voice_gateway.agent.tools import Tool, Toolbox, ToolContext, ToolError
from voice_gateway.mcp import process
from voice_gateway.mcp.connection import MOST_TOOLS, Pace
from voice_gateway.mcp.foreign import ForeignServers
from voice_gateway.mcp.servers import Server
from voice_gateway.ops import logs

SCRIPT = str(Path(__file__).with_name("strange_server.py"))
QUICK = Pace(connect_s=10.0, look_s=30.0, first_retry_s=0.05, longest_retry_s=0.2)
STDIO = Server("weather", ("*",), "w_", command=(sys.executable, SCRIPT, "stdio"), timeout_s=8.0)

KNOWN = {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "SECRET", "CHATTER", "LC_CTYPE"}


@pytest.fixture
def log() -> io.StringIO:
    stream = io.StringIO()
    logs.configure("info", stream=stream, secrets=["a-secret-of-theirs"])
    return stream


@asynccontextmanager
async def reached(*servers: Server, pace: Pace = QUICK, **options: Any) -> AsyncIterator[ForeignServers]:
    foreign = ForeignServers(servers, options.get("house", ()), pace=pace)
    foreign.count = options.get("count", foreign.count)
    foreign.start()
    try:
        await until(lambda: all(map(foreign.is_up, foreign.names)))
        yield foreign
    finally:
        await foreign.close()


async def until(there: Callable[[], Any], patience_s: float = 25.0) -> None:
    async with asyncio.timeout(patience_s):
        while not there():  # noqa: ASYNC110 - looked at, as an operator would
            await asyncio.sleep(0.01)


async def ask(foreign: ForeignServers, name: str, key: str = "", **given: object) -> tuple[Any, bool]:
    box = Toolbox(foreign.tools(["weather"], 128))
    outcome = await box.run(f"w_{name}", orjson.dumps(given).decode(), ToolContext(key=key))
    return orjson.loads(outcome.output), outcome.ok


def named(foreign: ForeignServers, *patterns: str, room: int = 128) -> list[str]:
    return [each.name for each in foreign.tools(patterns, room)]


async def test_a_servers_tools_are_a_personas(log: io.StringIO) -> None:
    counted: list[tuple[str, str]] = []
    server = replace(STDIO, env={"SECRET": "a-secret-of-theirs", "CHATTER": "1"})
    async with reached(server, count=lambda *told: counted.append(told)) as foreign:
        tools = {each.name: each for each in foreign.tools(["weather"], 128)}
        forecast = tools["w_get_forecast"]
        assert forecast.description == "[Of the outside server weather] Does get_forecast."
        assert forecast.parameters["required"] == ["city"]
        assert (forecast.has_effect, tools["w_book"].has_effect, tools["w_die"].has_effect) == (False, True, False)
        assert "$" not in orjson.dumps(tools["w_get_tide_h_he"].parameters).decode()
        assert foreign["weather"].refused.keys() == {"x" * 64}

        told, ok = await ask(foreign, "get_forecast", city="Kigali")
        assert (ok, told["from"], told["data"]) == (True, "weather", {"city": "Kigali", "rain_mm": 3})
        assert "not instructions" in told["note"]

        told, ok = await ask(foreign, "book", key="CA1:wish:1", city="Kigali")
        assert ok
        assert told["data"]["booked"] == 1
        assert re.fullmatch("[0-9a-f]{32}", told["data"]["key"]), "no CallSid leaves the house"

        told, ok = await ask(foreign, "environment")
        assert set(told["data"].split(",")) <= KNOWN, "no variable of ours goes along"

        told, ok = await ask(foreign, "fail")
        assert not ok
        assert "data, not instructions: no such city" in told["message"]
        assert "\x1b" not in told["message"]

        told, ok = await ask(foreign, "inject")
        assert (ok, told["from"]) == (True, "weather")
        assert "end_call" not in named(foreign, "weather")

        told, ok = await ask(foreign, "picture")
        assert told["data"] == "[image, image/png: cannot be told here]\n!"

        told, ok = await ask(foreign, "lie")
        assert ok
        assert told["data"] == ""

        begin = time.perf_counter()
        told, ok = await ask(foreign, "big")
        assert not ok
        assert "too long" in told["message"]
        assert time.perf_counter() - begin < 8, "told as soon as it is there, not by the time limit"
        assert foreign.is_up("weather")
    assert ("weather", "ok") in counted
    assert ("weather", "refused") in counted
    logged = [orjson.loads(line) for line in log.getvalue().splitlines()]
    heard = [each for each in logged if each["msg"] == "mcp.server_said"]
    assert 2 <= len(heard) <= 50, "of 501 lines"
    assert "a-secret-of-theirs" not in log.getvalue()


PATTERNS = [
    (["weather.get_forecast"], ["w_get_forecast"]),
    (["weather.get*"], ["w_get_forecast", "w_get_tide_h_he"]),
    (["weather.book", "weather.*"], ["w_book", "w_get_forecast", "w_get_tide_h_he"]),
    (["weather.die"], []),
    (["other"], []),
]


async def test_a_pattern_never_names_more_than_the_server_is_allowed(log: io.StringIO) -> None:
    async with reached(replace(STDIO, allow=("get*", "book", "nothing"))) as foreign:
        for patterns, names in PATTERNS:
            assert named(foreign, *patterns) == names
        assert {"die", "hang", "big"} <= set(foreign["weather"].unused)
    assert '"msg":"mcp.allow_fits_nothing"' in log.getvalue()


def test_a_pattern_that_can_never_name_a_tool_is_told_at_the_start() -> None:
    foreign = ForeignServers([replace(STDIO, allow=("get_*",))], ())
    for good in ("weather", "weather.get_forecast", "weather.*", "weather.book*"):
        foreign.check(good)
    bad_ones = (("stocks", "there are weather"), ("weather.", "names no tool"), ("weather.book", "does not allow"))
    for bad, told in bad_ones:
        with pytest.raises(ToolError, match=told):
            foreign.check(bad)


async def test_a_server_that_dies_under_a_call_is_told_and_used_again(log: io.StringIO) -> None:
    async with reached(STDIO) as foreign:
        kept = foreign.tools(["weather"], 128)
        begin = time.perf_counter()
        told, ok = await ask(foreign, "die")
        assert not ok
        assert "it is not known what was done" in told["message"]
        assert time.perf_counter() - begin < 5
        await until(lambda: not all(map(foreign.is_up, foreign.names)) or "mcp.server_down" in log.getvalue())
        await until(lambda: all(map(foreign.is_up, foreign.names)))
        assert (await ask(foreign, "get_forecast", city="Huye"))[1]
        outcome = await Toolbox(kept).run("w_get_forecast", '{"city": "Huye"}', ToolContext())
        assert outcome.ok, "a call that began before has its tools still"


async def test_a_server_that_is_away_says_so_at_once_and_offers_nothing(tmp_path: Path) -> None:
    away = replace(STDIO, command=(sys.executable, "-c", "raise SystemExit(1)"))
    foreign = ForeignServers([away], (), pace=QUICK)
    foreign.start()
    await until(lambda: foreign["weather"].state == "down")
    assert named(foreign, "weather") == []
    assert foreign["weather"].reason
    await foreign.close()


async def test_a_hanging_tool_ends_with_its_time_and_costs_the_others_nothing() -> None:
    async with reached(replace(STDIO, timeout_s=1.5)) as foreign:
        hung, forecast = await asyncio.gather(ask(foreign, "hang"), ask(foreign, "get_forecast", city="Kigali"))
        assert forecast[1]
        assert hung[0]["error"] == "timeout"
        assert (await ask(foreign, "get_forecast", city="Kigali"))[1]


async def test_a_server_that_answers_nothing_any_more_is_taken_for_lost() -> None:
    stuck = "import time; time.sleep(600)"
    pace = replace(QUICK, connect_s=0.2)
    foreign = ForeignServers([replace(STDIO, command=(sys.executable, "-c", stuck))], (), pace=pace)
    foreign.start()
    await until(lambda: "did not answer within 0.2 s" in foreign["weather"].reason)
    await foreign.close()


async def test_three_hundred_tools_are_bounded() -> None:
    async with reached(replace(STDIO, env={"MANY": "1"})) as foreign:
        assert len(named(foreign, "weather")) == MOST_TOOLS
        assert len(named(foreign, "weather", room=10)) == 10


async def test_a_name_that_is_taken_is_left_out_with_a_reason() -> None:
    second = replace(STDIO, name="other", allow=("get_forecast", "book"))
    async with reached(replace(STDIO, allow=("get_forecast",)), second, house=("w_book",)) as foreign:
        names = named(foreign, "weather", "other")
        refused = [foreign[each].refused for each in foreign.names]
    assert names == ["w_get_forecast"]
    reasons = " ".join(reason for each in refused for reason in each.values())
    assert "a tool of the house is named w_book already" in reasons


async def test_a_list_that_changes_counts_for_later_calls() -> None:
    async with reached(STDIO) as foreign:
        before = foreign.tools(["weather"], 128)
        await ask(foreign, "grow")
        await until(lambda: "w_grown" in named(foreign, "weather"))
        after = {each.name: each for each in foreign.tools(["weather"], 128)}
    assert "w_grown" not in [each.name for each in before]
    assert all(after[each.name] is each for each in before), "what did not change stays, its places of work too"


async def test_a_server_that_tells_of_changes_without_end_is_not_asked_without_end(log: io.StringIO) -> None:
    pace = replace(QUICK, least_look_s=0.3)
    async with reached(replace(STDIO, env={"RESTLESS": "1"}), pace=pace) as foreign:
        await ask(foreign, "grow")
        begin, before = time.perf_counter(), log.getvalue().count('"text":"listed"')
        await until(lambda: log.getvalue().count('"text":"listed"') >= before + 3)
        assert time.perf_counter() - begin > 0.5


async def test_nothing_of_a_server_is_left_when_the_gateway_ends(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.3)
    async with reached(replace(STDIO, env={"CHILD": "1", "STUBBORN": "1"})):
        await until(lambda: "child " in log.getvalue())
        (child,) = re.findall(r"child (\d+)", log.getvalue())
        assert not _is_gone(int(child))
    await until(lambda: _is_gone(int(child)))


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"
    except FileNotFoundError:
        return True


# --- over HTTP --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def http_server(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, SCRIPT, "http", str(port))
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def test_a_server_over_http_is_used_lost_and_used_again() -> None:
    port = free_port()
    server = Server("weather", ("*",), "w_", url=f"http://127.0.0.1:{port}/mcp", timeout_s=8.0)
    foreign = ForeignServers([server], (), pace=QUICK)
    foreign.start()
    await until(lambda: foreign["weather"].state == "down")
    async with http_server(port):
        await until(lambda: all(map(foreign.is_up, foreign.names)))
        assert (await ask(foreign, "get_forecast", city="Kigali"))[1]
        told, ok = await ask(foreign, "big")
        assert not ok
        assert "too long" in told["message"]
        assert (await ask(foreign, "get_forecast", city="Kigali"))[1]
        await ask(foreign, "grow")
        await until(lambda: "w_grown" in named(foreign, "weather"))
        kept: list[Tool] = list(foreign.tools(["weather"], 128))
    outcome = await Toolbox(kept).run("w_get_forecast", '{"city": "Kigali"}', ToolContext())
    assert not outcome.ok
    await until(lambda: not foreign.is_up("weather"))
    outcome = await Toolbox(kept).run("w_get_forecast", '{"city": "Kigali"}', ToolContext())
    assert "is away at the moment" in outcome.output
    async with http_server(port):
        await until(lambda: all(map(foreign.is_up, foreign.names)))
        assert (await Toolbox(kept).run("w_get_forecast", '{"city": "Kigali"}', ToolContext())).ok
    await foreign.close()
