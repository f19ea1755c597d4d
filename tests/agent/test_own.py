"""Tools of the operator's own: found, told apart, and every mistake in them told with its place."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voice_gateway.agent.own import GROUP, own_tools, whole_toolbox
from voice_gateway.agent.toolbox import HOUSE_TOOLS
from voice_gateway.agent.tools import Toolbox, ToolContext, ToolError

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = str(REPOSITORY / "examples/delivery.py")
MARKED = "from voice_gateway.agent.tools import tool\n"


@pytest.fixture
def module(tmp_path: Path) -> Callable[..., str]:
    """Writes a module and gives its path."""

    def write(text: str, name: str = "shop.py") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return str(path)

    return write


async def ask(toolbox: Toolbox, name: str, context: ToolContext, **arguments: Any) -> tuple[Any, bool]:
    outcome = await toolbox.run(name, orjson.dumps(arguments).decode(), context)
    return orjson.loads(outcome.output), outcome.ok


# --- finding them -----------------------------------------------------------------------------------------------


async def test_what_a_file_marks_is_a_tool_and_nothing_else(module: Callable[..., str]) -> None:
    path = module(
        """
        from __future__ import annotations
        from dataclasses import dataclass
        from voice_gateway.agent.toolbox.menu import lookup_menu
        from voice_gateway.agent.tools import tool

        @dataclass
        class Hours:
            opens: str

        @tool
        def opening_hours(day: str) -> Hours:
            '''Tell when the shop opens.'''
            return Hours(prepared(day))

        def prepared(day: str) -> str:
            '''A helper.'''
            return f"09:00 on {day}"
        """
    )
    (found,) = own_tools([path, path], [])
    assert (found.name, found.description) == ("opening_hours", "Tell when the shop opens.")
    assert f"{path}:11" in found.place
    answer = await ask(Toolbox([found]), "opening_hours", ToolContext(), day="Monday")
    assert answer == ({"opens": "09:00 on Monday"}, True)


def test_a_module_is_named_as_python_imports_it(
    module: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module("", "acme_shop/__init__.py")
    module(f"{MARKED}\n@tool\ndef stock() -> int:\n    'Count.'\n    return 3\n", "acme_shop/tools.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    toolbox = whole_toolbox(["acme_shop.tools"], [])
    assert toolbox.names == (*(each.__name__ for each in HOUSE_TOOLS), "stock")


def test_an_installed_package_offers_its_tools_by_entry_points(
    module: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(
        f"""{MARKED}
@tool
def quote(miles: int) -> int:
    'Quote.'
    return miles

def plain(miles: int) -> int:
    'Named by an entry point, which marks it enough.'
    return miles
""",
        "acme_transport.py",
    )
    module(
        f"[{GROUP}]\nall = acme_transport\none = acme_transport:plain\nagain = acme_transport:quote\n",
        "acme_transport-1.0.dist-info/entry_points.txt",
    )
    module("Metadata-Version: 2.1\nName: acme-transport\nVersion: 1.0\n", "acme_transport-1.0.dist-info/METADATA")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [each.name for each in own_tools([])] == ["quote", "plain"], "one by two ways is one"


# --- what is wrong with them ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1", r"which has no tool: write `@tool`"),
        (f"{MARKED}\n@tool\ndef find(query: str):\n    return query", r"shop.py:\d\): the tool find needs a docstring"),
        (f"{MARKED}\n@tool\ndef find(query):\n    'Find.'", r"the tool find does not say what type query has"),
        (f"{MARKED}\n@tool\ndef find(query: Unknown):\n    'Find.'", r"NameError"),
        (
            f"from __future__ import annotations\n{MARKED}\n@tool\ndef find(query: Unknown):\n    'Find.'",
            r"a type of the tool find cannot be read: name 'Unknown' is not defined",
        ),
        (
            f"import threading\n{MARKED}\n@tool\ndef find(lock: threading.Event):\n    'Find.'",
            r"a parameter of the tool find is nothing a model can give",
        ),
        (f"{MARKED}\n@tool(limit=0)\ndef find():\n    'Find.'", r"limit of a tool is 1 or more, not 0"),
        ("import nothing_of_that_name", r"cannot be imported: ModuleNotFoundError: No module named 'nothing_of"),
        ("def broken(:", r"cannot be imported: SyntaxError: "),
        ("raise SystemExit(3)", r"cannot be imported: SystemExit: 3"),
        ("open('/nowhere/at/all')", r"cannot be imported: FileNotFoundError"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, complaint: str, module: Callable[..., str]) -> None:
    path = module(text)
    with pytest.raises(ToolError, match=f"^TOOLS_MODULES names {re.escape(path)}.*{complaint}"):
        own_tools([path], [])


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"names .*gone\.py, which is not there$"):
        own_tools([str(tmp_path / "gone.py")], [])
    with pytest.raises(ToolError, match=r"names gone\.tools, which is not there: put its folder on PYTHONPATH"):
        own_tools(["gone.tools"], [])
    with pytest.raises(ToolError, match=r"no Python file"):
        own_tools([str(tmp_path / "tools.txt")], [])


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("gone_package", r"cannot be loaded: ModuleNotFoundError"),
        ("json:dumps", r"a type of the tool dumps|does not say what type"),
        ("math:pi", r"which is neither a module nor a function"),
        ("json", r"which has no tool"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_named(value: str, complaint: str) -> None:
    with pytest.raises(ToolError, match=rf"^the entry point mine .*names {value}.*({complaint})"):
        own_tools([], [EntryPoint("mine", value, GROUP)])


def test_two_tools_of_one_name_name_both_places(module: Callable[..., str]) -> None:
    path = module(f"{MARKED}\n@tool\ndef lookup_menu(query: str) -> str:\n    'Find.'\n    return query\n")
    with pytest.raises(ToolError) as error:
        whole_toolbox([path], [])
    told = str(error.value)
    assert told.startswith("two tools are named lookup_menu: voice_gateway.agent.toolbox.menu.lookup_menu (")
    assert f"{path}:3" in told


# --- the examples -----------------------------------------------------------------------------------------------


@pytest.fixture
async def couriers(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """A service of couriers; the keys it was asked with."""
    keys: list[str] = []

    async def order(request: Request) -> Response:
        keys.append(request.headers["idempotency-key"])
        if (await request.json())["district"] == "north":
            return JSONResponse({"reason": "nobody"}, 409)
        return JSONResponse({"courier": "Eric"})

    config = uvicorn.Config(
        Starlette(routes=[Route("/orders", order, methods=["POST"])]), port=0, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event to wait for
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("COURIER_URL", f"http://127.0.0.1:{port}/orders")
    yield keys
    server.should_exit = True
    await serving


async def test_the_example_module_works(couriers: list[str]) -> None:
    toolbox = Toolbox(own_tools([EXAMPLE], []))
    context = ToolContext("CA1", "+250788000001", key="CA1:wish:1")
    quote, _ = await ask(toolbox, "delivery_quote", context, district="north")
    assert (quote["fee"], quote["minutes"]) == (2500, 45)
    assert (await ask(toolbox, "delivery_quote", context, district="moon"))[0]["error"] == "invalid_arguments"
    ordered, ok = await ask(toolbox, "order_courier", context, district="south", street="KN 3 Rd 12")
    assert (ok, ordered["courier"], couriers) == (True, "Eric", ["CA1:wish:1"])
    refused, _ = await ask(toolbox, "order_courier", context, district="north", street="KN 3 Rd 12")
    assert refused["success"] is False
    (courier,) = (each for each in toolbox.tools if each.name == "order_courier")
    assert (courier.limit, courier.has_effect, courier.filler[:10]) == (5, True, "One moment")
    await sys.modules[courier.function.__module__].http.aclose()  # type: ignore[attr-defined]


async def test_the_example_of_the_page_on_tools_works(module: Callable[..., str]) -> None:
    text = (REPOSITORY / "docs/tools.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (block,) = (each for each in blocks if "import tool" in each or "ToolFailed, tool" in each)
    toolbox = Toolbox(own_tools([module(block, "page_tools.py")], []))
    context = ToolContext("CA1", "+250788000001")
    assert (await ask(toolbox, "parcel_status", context, parcel_number="RW-1042"))[0]["status"] == "on its way"
    unknown, ok = await ask(toolbox, "parcel_status", context, parcel_number="RW-1")
    assert (ok, unknown["error"]) == (False, "failed")
