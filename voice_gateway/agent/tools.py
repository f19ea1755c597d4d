"""A typed function with a docstring becomes a tool of the model.

    def lookup_menu(query: Annotated[str, Field(description="What they ask for")], context: ToolContext) -> list[Item]:
        '''Find items on the menu.'''

Its name, its docstring and its signature are what the model is told; a parameter named `context` is given by the house
and hidden from the model. `async` functions run on the event loop, all others in a thread of their own, so that a slow
one never holds a call. Whatever goes wrong becomes a text that the model can act on: `Toolbox.run` never raises.

What else there is to say of it stands in a decorator:

    @tool(timeout_s=20, limit=4, filler="One moment, I am looking that up.", effect=True)
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, get_type_hints, overload

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from voice_gateway.agent.running import Ended, Gate, TooLong, Work, in_thread, on_loop, written
from voice_gateway.call.events import InnerEvent
from voice_gateway.call.kept import KeptTurn
from voice_gateway.errors import GatewayError, there_are
from voice_gateway.store.records import clean_text
from voice_gateway.store.rows import TablesAway
from voice_gateway.store.tables import Tables

ToolFunction: TypeAlias = Callable[..., Any]
Function = TypeVar("Function", bound=ToolFunction)

TIMEOUT_S = 10.0
LONGEST_TIMEOUT_S = 300.0
RESULT_BYTES = 16 * 1024
ARGUMENTS_CHARACTERS = 64 * 1024
MOST_TOOLS = 128
"""So many a model takes; a session that names more is refused (OpenAI)."""
COMPLAINTS = 5
"""So many of an arguments' mistakes are told at a time."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a tool may know of the call it works for, and do to it. market: whose menu and prices; None for all.

    language: in which the call is led; languages: those it may be led in, where these are several. digits: the keys
    that the caller has pressed so far. now: when the tool was asked. key: the same for a repetition of
    the same wish, so that what has an effect is done once; empty outside a call. tell: tells the call something, True
    when it is live; for async tools alone, which run on the event loop. transcript: the conversation so far, as it is
    kept. consult: asks the call's supervisor, where it has one; returns what to tell the model.
    """

    call_sid: str = ""
    from_number: str = field(default="", repr=False)
    to_number: str = field(default="", repr=False)
    persona: str = ""
    language: str = ""
    languages: tuple[str, ...] = ()
    digits: str = field(default="", repr=False)
    market: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    key: str = field(default="", repr=False)
    tables: Tables | None = field(default=None, repr=False)
    tell: Callable[[InnerEvent], bool] | None = field(default=None, repr=False)
    transcript: Callable[[], Sequence[KeptTurn]] = field(default=tuple, repr=False)
    consult: Callable[[str], Awaitable[dict[str, Any]]] | None = field(default=None, repr=False)


class ToolOutcome(NamedTuple):
    """What goes back to the model. output: JSON text; when not ok, `{"error": code, "message": what to do}`."""

    output: str
    ok: bool


class ToolFailed(Exception):  # noqa: N818 - raised by a tool to tell the model why: the sentence, not a class, matters
    """Raised by a tool: its text is meant for the model. The text of any other exception is not shown to it."""


class ToolError(GatewayError):
    """A function cannot be a tool, or a tool is not there. The text names it and says what is missing."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function with what the model is told of it. Made by `tool_from`.

    limit: how many of it work at a time, over all calls; None for any number. filler: what a caller may be told while
    it works for long; empty for nothing. place: where the function stands, for people. in_call: it is of no use without
    a live call. undoes: the tool whose effects it takes back. arguments: None for a tool of elsewhere, which is given
    `given`, the JSON object as the model wrote it.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    timeout_s: float
    function: ToolFunction = field(repr=False)
    arguments: type[BaseModel] | None = field(repr=False)
    takes_context: bool = False
    has_effect: bool = False
    in_call: bool = False
    undoes: str = ""
    limit: int | None = None
    filler: str = ""
    place: str = ""
    gate: Gate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gate", Gate(self.limit))

    def spec(self) -> dict[str, Any]:
        """As a function tool of a session (OpenAI Realtime, `session.tools`)."""
        return {
            "type": "function",
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }

    def read(self, arguments: str) -> dict[str, Any]:
        """Python values by parameter name from the model's JSON text. Raises ValueError in words for the model."""
        if len(arguments) > ARGUMENTS_CHARACTERS:
            raise ValueError(f"the arguments have {len(arguments)} characters, {ARGUMENTS_CHARACTERS} are allowed")
        try:
            given = orjson.loads(arguments) if arguments.strip() else {}
        except ValueError:
            raise ValueError("the arguments are not JSON; send one JSON object") from None
        if given is None:
            given = {}
        if not isinstance(given, dict):
            raise ValueError("the arguments must be one JSON object")  # noqa: TRY004 - a wrong value of the far side's
        if self.arguments is None:
            return {"given": given}
        try:
            read = self.arguments.model_validate(given)
        except ValidationError as error:
            mistakes = error.errors(include_input=False, include_url=False, include_context=False)
            raise ValueError("; ".join(_complaint(each) for each in mistakes[:COMPLAINTS])) from None
        return {name.removeprefix(_PREFIX): getattr(read, name) for name in self.arguments.model_fields}

    def start(self, values: Mapping[str, Any], context: ToolContext) -> Work:
        """Begin to work, on the running loop or in a thread, and leave the gate when that is over."""
        keywords = dict(values) | ({"context": context} if self.takes_context else {})
        if inspect.iscoroutinefunction(self.function):
            return on_loop(self.function(**keywords), self.gate.leave)
        return in_thread(lambda: self.function(**keywords), self.name, self.gate.leave)


class Toolbox:
    """The tools there are. Holds nothing of any call."""

    def __init__(
        self,
        tools: Iterable[Tool | ToolFunction] = (),
        *,
        timeout_s: float = TIMEOUT_S,
        result_bytes: int = RESULT_BYTES,
    ) -> None:
        """timeout_s: for tools without a limit of their own. result_bytes: the longest answer a model is given."""
        self._tools: dict[str, Tool] = {}
        self._timeout = timeout_s
        self._result_bytes = result_bytes
        self._log = structlog.get_logger()
        for each in tools:
            tool = each if isinstance(each, Tool) else tool_from(each, timeout_s=timeout_s)
            if tool.name in self._tools:
                places = " and ".join(filter(None, (self._tools[tool.name].place, tool.place)))
                raise ToolError(f"two tools are named {tool.name}: {places}; give one of them another name")
            self._tools[tool.name] = tool

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def has_effect(self, name: str) -> bool:
        """Whether a tool changes something; False for one that is not there."""
        return name in self._tools and self._tools[name].has_effect

    @property
    def tools(self) -> tuple[Tool, ...]:
        return tuple(self._tools.values())

    def undoes(self, name: str) -> str:
        """The tool whose effects this one takes back; empty for none, and for one that is not there."""
        return self._tools[name].undoes if name in self._tools else ""

    def pick(self, names: Sequence[str]) -> Toolbox:
        """A toolbox with these tools alone, in this order. Raises `ToolError` for one that is not there."""
        missing = [name for name in names if name not in self._tools]
        if missing:
            raise ToolError(f"there is no tool named {', '.join(missing)}; {there_are(self._tools, *missing)}")
        return Toolbox([self._tools[name] for name in names], timeout_s=self._timeout, result_bytes=self._result_bytes)

    def without(self, name: str) -> Toolbox:
        """A toolbox that lacks one tool, if it is here."""
        kept = [each for each in self._tools.values() if each.name != name]
        return Toolbox(kept, timeout_s=self._timeout, result_bytes=self._result_bytes)

    @property
    def room(self) -> int:
        """How many more tools a model can be given."""
        return max(0, MOST_TOOLS - len(self._tools))

    def joined(self, others: Iterable[Tool]) -> Toolbox:
        """A toolbox with these tools too; a name that is here already stays the house's."""
        more = {each.name: each for each in others if each.name not in self._tools}
        tools = [*self._tools.values(), *more.values()]
        return Toolbox(tools, timeout_s=self._timeout, result_bytes=self._result_bytes)

    def specs(self) -> list[dict[str, Any]]:
        """All tools as function tools of a session."""
        return [tool.spec() for tool in self._tools.values()]

    async def run(self, name: str, arguments: str, context: ToolContext) -> ToolOutcome:
        """Run a tool. arguments: JSON text as the model wrote it. Only cancellation leaves here as an exception."""
        tool = self._tools.get(name)
        if tool is None:
            return failure(
                "unknown_tool", f"There is no tool named {name[:64]!r}. There are: {', '.join(self._tools)}."
            )
        try:
            values = tool.read(arguments)
        except ValueError as error:
            return failure("invalid_arguments", f"{error}. Correct the arguments and call {name} again.")
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        if not await tool.gate.enter(tool.timeout_s):
            self._log.warning("tool.busy", tool=name, callSid=context.call_sid, limit=tool.limit)
            return failure("busy", f"{name} is at work for as many callers as it can. Say so, or try once more later.")
        try:
            work = tool.start(values, context)
        except RuntimeError as error:  # no thread can be had
            tool.gate.leave()
            self._log.error("tool.unstarted", tool=name, callSid=context.call_sid, reason=str(error))
            return _useless(name)
        limit = asyncio.timeout(None)
        # Its time ends in two steps: what a thread has said while something kept the loop goes in between, and counts.
        bell = loop.call_at(asked_at + tool.timeout_s, limit.reschedule, 0.0)
        with suppress(TimeoutError):
            try:
                # Only to be told is given up: a tool that does not heed its cancellation must not hold the call either.
                async with limit:
                    await work
            finally:
                bell.cancel()
        if work.cancelled():
            self._log.warning("tool.timeout", tool=name, callSid=context.call_sid, seconds=tool.timeout_s)
            return failure("timeout", f"{name} took longer than {tool.timeout_s:g} s. {_advice(tool)}")
        return self._outcome(tool, work.result(), context)

    def _outcome(self, tool: Tool, ended: Ended, context: ToolContext) -> ToolOutcome:
        fault = ended.fault
        if isinstance(fault, ToolFailed):
            return failure("failed", _said(fault) or f"{tool.name} failed and does not say why. Do without it.")
        if isinstance(fault, TablesAway):
            self._log.error("tool.tables_away", tool=tool.name, callSid=context.call_sid, reason=_said(fault))
            return failure("unavailable", f"The records cannot be reached at the moment. {_advice(tool)}")
        if fault is not None:
            self._log.error("tool.failed", tool=tool.name, callSid=context.call_sid, exc_info=fault)
            return _useless(tool.name)
        try:
            return ToolOutcome(written(ended.result, self._result_bytes).decode(), ok=True)
        except TooLong as error:
            self._log.warning("tool.too_long", tool=tool.name, callSid=context.call_sid, answer=str(error))
            return failure("too_long", f"The answer has {error}, {self._result_bytes} are allowed. Ask for less.")
        except BaseException as error:  # noqa: BLE001 - to be written, an answer runs code of its own, sys.exit included
            self._log.error("tool.unreadable", tool=tool.name, callSid=context.call_sid, reason=_said(error))
            return failure("failed", f"{tool.name} gave an answer that cannot be read. Do without it.")


def _said(fault: BaseException) -> str:
    """The text of a fault; empty where it cannot be had, for that too is code of the tool's."""
    try:
        return str(fault)
    except BaseException:  # noqa: BLE001 - whatever it raises
        return ""


def _useless(name: str) -> ToolOutcome:
    return failure("failed", f"{name} does not work at the moment. Do without it, and say so if it matters.")


def _advice(tool: Tool) -> str:
    """After an end that leaves open what was done."""
    if tool.has_effect:
        return (
            f"It is not known whether it was done, so do not say that it was: call {tool.name} again with the same "
            "arguments, which does nothing twice, or take leave of it."
        )
    return "Say so, or try once more."


def failure(code: str, message: str) -> ToolOutcome:
    """An outcome that tells the model what went wrong and what it can do."""
    return ToolOutcome(orjson.dumps({"error": code, "message": clean_text(message)}).decode(), ok=False)


# --- from a function to a tool ----------------------------------------------------------------------------------

_MARK = "__voice_gateway_tool__"
_PREFIX = "a_"  # so that no parameter can be named like something of pydantic's own


@dataclass(frozen=True, slots=True)
class Mark:
    """What `tool` says of a function; None leaves it to the toolbox."""

    timeout_s: float | None = None
    limit: int | None = None
    filler: str = ""
    effect: bool = False
    in_call: bool = False
    undoes: str = ""


@overload
def tool(function: Function, /) -> Function: ...
@overload
def tool(
    *,
    timeout_s: float | None = None,
    limit: int | None = None,
    filler: str = "",
    effect: bool = False,
    in_call: bool = False,
    undoes: str = "",
) -> Callable[[Function], Function]: ...
def tool(
    function: Function | None = None,
    /,
    *,
    timeout_s: float | None = None,
    limit: int | None = None,
    filler: str = "",
    effect: bool = False,
    in_call: bool = False,
    undoes: str = "",
) -> Function | Callable[[Function], Function]:
    """Mark a function as a tool.

    timeout_s: after which the model is told that it takes too long. limit: how many of it work at a time, over all
    calls of the process; one more waits within its time limit. filler: said to a caller while it works for long.
    effect: it changes something; the same wish of a call, said again, is not done again (`agent/once.py`), and it finds
    a key in its context, the same for a repetition, to keep with what it writes. in_call: it works on the live call or
    for its caller alone, and is not offered elsewhere. undoes: the name of the tool whose effect it takes back when it
    answers `"success": true`; the same wish is then a new one. Raises `ToolError` for what cannot be.
    """
    if timeout_s is not None and not 0 < timeout_s <= LONGEST_TIMEOUT_S:
        raise ToolError(f"timeout_s of a tool is above 0 and up to {LONGEST_TIMEOUT_S:.0f} seconds, not {timeout_s}")
    if limit is not None and limit < 1:
        raise ToolError(f"limit of a tool is 1 or more, not {limit}")

    def mark(marked: Function) -> Function:
        setattr(marked, _MARK, Mark(timeout_s, limit, " ".join(filler.split()), effect, in_call, undoes))
        return marked

    return mark if function is None else mark(function)


def is_marked(value: object) -> bool:
    """Whether `tool` has marked it."""
    return isinstance(getattr(value, _MARK, None), Mark)


def tool_from(function: ToolFunction, *, timeout_s: float = TIMEOUT_S) -> Tool:
    """Make a tool of a function. Raises `ToolError` that says what the function lacks, and where it stands.

    Every parameter needs a type; what stands under `Args:` in the docstring becomes its description. A parameter that
    the model shall see under another name says so: `item_id: Annotated[str, Field(alias="itemId")]`. timeout_s: for one
    that does not say.
    """
    place = place_of(function)
    name = getattr(function, "__name__", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ToolError(f"{place}: {name or function} is no name for a tool: letters, digits, _ and -, at most 64")
    description, notes = _read_docstring(function)
    if not description:
        raise ToolError(f"{place}: the tool {name} needs a docstring: it is all that the model knows of it")
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception as error:
        raise ToolError(f"{place}: a type of the tool {name} cannot be read: {error}") from error
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name != "context":
            fields[_PREFIX + parameter.name] = _field(f"{place}: the tool {name}", parameter, hints, notes)
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="ignore", arbitrary_types_allowed=True), **fields)
        parameters = {**_untitled(arguments.model_json_schema()), "additionalProperties": False}
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ToolError(f"{place}: a parameter of the tool {name} is nothing a model can give: {reason}") from error
    mark = getattr(function, _MARK, Mark())
    return Tool(
        name=name,
        description=description,
        parameters=parameters,
        timeout_s=mark.timeout_s or timeout_s,
        function=function,
        arguments=arguments,
        takes_context="context" in inspect.signature(function).parameters,
        has_effect=mark.effect,
        in_call=mark.in_call,
        undoes=mark.undoes,
        limit=mark.limit,
        filler=mark.filler,
        place=place,
    )


def place_of(function: ToolFunction) -> str:
    """Where a function stands, for people: its module, its name, file and line."""
    name = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"
    code = getattr(inspect.unwrap(function), "__code__", None)
    return name if code is None else f"{name} ({code.co_filename}:{code.co_firstlineno})"


def _field(tool: str, parameter: inspect.Parameter, hints: Mapping[str, Any], notes: Mapping[str, str]) -> Any:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise ToolError(f"{tool} takes {parameter}; each of its parameters needs a name the model can give")
    if parameter.name not in hints:
        raise ToolError(f"{tool} does not say what type {parameter.name} has")
    stated = FieldInfo.from_annotation(hints[parameter.name])
    extra: dict[str, Any] = {"alias": stated.alias or parameter.name}
    if stated.description is None and parameter.name in notes:
        extra["description"] = notes[parameter.name]
    default = ... if parameter.default is parameter.empty else parameter.default
    return Annotated[hints[parameter.name], Field(**extra)], default


def _read_docstring(function: ToolFunction) -> tuple[str, dict[str, str]]:
    """What a tool does, and what is said of each parameter (Google's style: a section `Args:`)."""
    text = inspect.getdoc(function) or ""
    description, _, rest = text.partition("\nArgs:")
    section = re.split(r"\n(?=\S)", rest)[0]
    notes: dict[str, str] = {}
    for entry in re.split(r"\n(?= {4}\S)", section):
        name, colon, note = entry.strip().partition(":")
        if colon:
            notes[name.split(" ")[0]] = " ".join(note.split())
    return " ".join(re.split(r"\n(?=[A-Z]\w+:\n)", description)[0].split()), notes


def _untitled(schema: Any) -> Any:
    """A JSON schema without the titles that pydantic adds; they cost tokens and say nothing."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _untitled(each) for name, each in value.items()}
        if key in ("properties", "$defs")
        else _untitled(value)
        for key, value in schema.items()
        if key != "title"
    }


def _complaint(error: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    return f"{where}: {error['msg']}" if where else str(error["msg"])
