"""Tools of the operator's own: from the modules that TOOLS_MODULES names, and from installed packages.

A module is named as Python imports it (`shop.tools`) or by its file (`/etc/voice-gateway/shop.py`). Its tools are the
functions that it defines itself and marks:

    from voice_gateway.agent.tools import tool

    @tool
    def opening_hours(day: date) -> str:
        '''Tell when the shop is open.'''

A package offers its tools by the entry-point group `voice_gateway.tools`; each entry point is such a module, or one
function. A persona names the tools it uses, these like those of the house. Whatever is wrong is an error at the start:
it says which module and function, and what is missing. `examples/delivery.py` is a whole module.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Final

from voice_gateway.agent.toolbox import HOUSE_TOOLS
from voice_gateway.agent.tools import Tool, Toolbox, ToolError, is_marked, tool_from

GROUP: Final = "voice_gateway.tools"
VARIABLE: Final = "TOOLS_MODULES"


def whole_toolbox(modules: Sequence[str] = (), packages: Iterable[EntryPoint] | None = None) -> Toolbox:
    """The house's tools and the operator's own. Raises `ToolError`.

    modules: names or paths, of which one given twice counts once. packages: those that are installed, when None.
    """
    return Toolbox([*HOUSE_TOOLS, *own_tools(modules, packages)])


def own_tools(modules: Sequence[str], packages: Iterable[EntryPoint] | None = None) -> list[Tool]:
    """The operator's own tools alone; see `whole_toolbox`."""
    found: dict[object, Tool] = {}
    for name in modules:
        where = f"{VARIABLE} names {name}"
        _gather(found, where, _load(where, name))
    for point in entry_points(group=GROUP) if packages is None else packages:
        package = f"of {point.dist.name} " if point.dist is not None else ""
        where = f"the entry point {point.name} {package}({GROUP}) names {point.value}"
        try:
            loaded = point.load()
        except (Exception, SystemExit) as error:
            raise ToolError(f"{where}, which cannot be loaded: {_told(error)}") from error
        _gather(found, where, loaded)
    return list(found.values())


def _gather(found: dict[object, Tool], where: str, source: object) -> None:
    """Add what a module or a function offers; the same function, reached by two ways, is one tool."""
    if isinstance(source, ModuleType):
        functions = [each for each in vars(source).values() if is_marked(each) and each.__module__ == source.__name__]
        if not functions:
            raise ToolError(
                f"{where}, which has no tool: write `@tool` (from voice_gateway.agent.tools import tool) above each "
                "function of its own that is one"
            )
    elif callable(source):
        functions = [source]
    else:
        raise ToolError(f"{where}, which is neither a module nor a function")
    for function in functions:
        if function not in found:
            try:
                found[function] = tool_from(function)
            except ToolError as error:
                raise ToolError(f"{where}: {error}") from error


def _load(where: str, name: str) -> ModuleType:
    by_file = name.endswith(".py") or "/" in name
    try:
        return _from_file(Path(name)) if by_file else importlib.import_module(name)
    except FileNotFoundError as error:
        if error.filename != str(Path(name).resolve()):
            raise ToolError(f"{where}, which cannot be imported: {_told(error)}") from error
        raise ToolError(f"{where}, which is not there") from error
    except ModuleNotFoundError as error:
        if by_file or error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ToolError(f"{where}, which cannot be imported: {_told(error)}") from error
        raise ToolError(f"{where}, which is not there: put its folder on PYTHONPATH, or name its file") from error
    except (Exception, SystemExit) as error:
        raise ToolError(f"{where}, which cannot be imported: {_told(error)}") from error


def _from_file(path: Path) -> ModuleType:
    """A module by its file, under a name that no other has; imported once."""
    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file: its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass or a type hint in it looks the module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _told(error: BaseException) -> str:
    """The kind and first line of an error, and where a file of Python's is wrong."""
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
