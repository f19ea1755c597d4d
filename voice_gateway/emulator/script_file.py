"""A scripted model out of a file, for exact tests in any language: what it says and calls, response by response.

A JSON list. An entry is one response: a text, or a list of acts, used up in order; or what answers a certain line,
as often as it fits, or `once`:

    [
      "Hello, and welcome!",
      [{"say": "Let me see.", "phase": "commentary"}, {"call": "lookup_menu", "arguments": {"query": "mocha"}},
       {"call": "lookup_menu", "arguments": "{not JSON"}],
      {"when": "goodbye|thank", "acts": [{"say": "Goodbye!"}, {"call": "end_call"}]},
      {"when": "mocha", "tool": "lookup_menu", "once": true, "acts": [{"say": "It is there: {output}"}]}
    ]
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from voice_gateway.emulator.faculties import Act, Say, UseTool
from voice_gateway.emulator.scripted import Reply, When


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


class _Say(BaseModel):
    model_config = ConfigDict(extra="forbid")
    say: str
    phase: Literal["", "commentary", "final_answer"] = ""

    def act(self) -> Act:
        return Say(self.say, self.phase)


class _Call(BaseModel):
    model_config = ConfigDict(extra="forbid")
    call: str
    arguments: dict[str, Any] | str = Field(default_factory=dict)

    def act(self) -> Act:
        return UseTool(self.call, self.arguments)


class _When(BaseModel):
    model_config = ConfigDict(extra="forbid")
    when: Annotated[str, AfterValidator(_pattern)]
    acts: list[_Say | _Call]
    tool: str | None = None
    once: bool = False


_SCRIPT: TypeAdapter[list[str | list[_Say | _Call] | _When]] = TypeAdapter(list[str | list[_Say | _Call] | _When])


def read_script(path: Path) -> list[Reply]:
    """The replies for a `ScriptedMind`. Raises ValueError that names the file, the entry and what it should be."""
    try:
        entries = _SCRIPT.validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise ValueError(f"{path}: {_complaint(error)}") from None
    return [_reply(entry) for entry in entries]


def _reply(entry: str | list[_Say | _Call] | _When) -> Reply:
    if isinstance(entry, str):
        return entry
    if isinstance(entry, _When):
        return When(entry.when, tuple(each.act() for each in entry.acts), entry.tool, entry.once)
    return [each.act() for each in entry]


def _complaint(error: ValidationError) -> str:
    """The first entry that is wrong, and what an entry may be."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = next((place for place in first["loc"] if isinstance(place, int)), None)
    if where is None:
        return f"{first['msg']}; a script is a JSON list of responses"
    told = [
        f"{each['loc'][-1]}: {each['msg']}" for each in error.errors(include_input=False) if where in each["loc"][:1]
    ]
    return (
        f"entry {where + 1} is no response: a text, a list of acts ({{say, phase}} or {{call, arguments}}), or "
        f"{{when, acts, tool, once}} ({'; '.join(dict.fromkeys(told[:3]))})"
    )
