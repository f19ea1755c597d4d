"""A request to the Responses API: what may stand in it, and what a mind is to know of it.

Written from the types of the `openai` package (3.52, `types/responses/response_create_params.py` and its neighbours):
fields that those name and this far side does not act on are taken and echoed, others are refused, as are shapes that
cannot be. Tools are functions alone; inputs are messages, function calls with their outputs, and reasoning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from voice_gateway.emulator.faculties import Line, Situation
from voice_gateway.emulator.realtime_items import Wire
from voice_gateway.emulator.realtime_schema import (
    Refused,
    anything,
    by_type,
    each,
    either,
    flag,
    integer,
    invalid,
    mapping,
    nullable,
    number,
    one_of,
    record,
    text,
)

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LEAST_TOKENS: Final = 16
MOST_TOKENS: Final = 128_000

_ROLES: Final[Mapping[str, Literal["system", "user", "assistant"]]] = {
    "user": "user", "assistant": "assistant", "system": "system", "developer": "system",
}  # fmt: skip
_status = nullable(one_of("in_progress", "completed", "incomplete"))
_parts = each(
    by_type(
        {
            "input_text": record(("text",), type=anything, text=text),
            "output_text": record(("text",), type=anything, text=text, annotations=each(mapping), logprobs=anything),
            "refusal": record(("refusal",), type=anything, refusal=text),
        }
    )
)
_message = record(
    ("role", "content"),
    type=anything,
    id=nullable(text),
    role=one_of(*_ROLES),
    content=either(str, text, _parts),
    status=_status,
    phase=nullable(one_of("commentary", "final_answer")),
)
_items = by_type(
    {
        "message": _message,
        "function_call": record(
            ("call_id", "name", "arguments"),
            type=anything, id=nullable(text), call_id=text, name=text, arguments=text, status=_status,
            namespace=nullable(text),
        ),
        "function_call_output": record(
            ("call_id", "output"),
            type=anything, id=nullable(text), call_id=text, output=either(str, text, _parts), status=_status,
        ),
        "reasoning": record(
            ("id", "summary"),
            type=anything, id=text, summary=each(mapping), content=nullable(each(mapping)),
            encrypted_content=nullable(text), status=_status,
        ),
    }
)  # fmt: skip


def _whole(value: Any, path: str) -> None:
    if value is not False:
        raise invalid(value, path, "false: answers come whole here")


def _item(value: Any, path: str) -> None:
    """A message may leave its type out."""
    mapping(value, path)
    (_items if "type" in value else _message)(value, path)


_tools = each(
    by_type(
        {
            "function": record(
                ("name", "parameters", "strict"),
                type=anything, name=text, description=nullable(text), parameters=nullable(mapping),
                strict=nullable(flag),
            )
        }
    )
)  # fmt: skip
_REQUEST: Final = record(
    ("model",),
    model=text,
    input=either(str, text, each(_item)),
    instructions=nullable(text),
    tools=_tools,
    tool_choice=either(
        str, one_of("none", "auto", "required"), by_type({"function": record(("name",), type=anything, name=text)})
    ),
    parallel_tool_calls=nullable(flag),
    max_output_tokens=nullable(integer(LEAST_TOKENS, MOST_TOKENS)),
    max_tool_calls=nullable(integer(1, 1000)),
    reasoning=nullable(record(effort=nullable(one_of(*EFFORTS)), summary=anything, context=anything, mode=anything)),
    text=record(format=mapping, verbosity=nullable(one_of("low", "medium", "high"))),
    include=nullable(each(text)),
    metadata=nullable(mapping),
    store=nullable(flag),
    temperature=nullable(number(0, 2)),
    top_p=nullable(number(0, 1)),
    truncation=nullable(one_of("auto", "disabled")),
    safety_identifier=nullable(text),
    prompt_cache_key=nullable(text),
    service_tier=nullable(text),
    user=text,
    stream=nullable(_whole),
)


def check(body: Any) -> None:
    """Raises `Refused` for what the service answers with HTTP 400."""
    _REQUEST(body, "")
    items = _input(body)
    called = {str(item["call_id"]) for item in items if item.get("type") == "function_call"}
    answered = {str(item["call_id"]) for item in items if item.get("type") == "function_call_output"}
    for call_id in sorted(answered - called):
        raise Refused("invalid_value", f"No tool call found for function call output with call_id {call_id}.", "input")
    for call_id in sorted(called - answered):
        raise Refused("invalid_value", f"No tool output found for function call {call_id}.", "input")


def situation(body: Mapping[str, Any]) -> Situation:
    """What a mind is asked. body: has passed `check`."""
    return Situation(
        str(body.get("instructions") or ""),
        [line for item in _input(body) for line in _lines(item, _names(body))],
        tuple(body.get("tools") or ()),
        body.get("tool_choice") or "auto",
    )


def _input(body: Mapping[str, Any]) -> Sequence[Wire]:
    given = body.get("input") or []
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _names(body: Mapping[str, Any]) -> Mapping[str, str]:
    """Which tool a call was for."""
    return {item["call_id"]: item["name"] for item in _input(body) if item.get("type") == "function_call"}


def _lines(item: Wire, names: Mapping[str, str]) -> Sequence[Line]:
    match item.get("type", "message"):
        case "message":
            return (Line(_ROLES[item["role"]], _text(item["content"])),)
        case "function_call":
            return (Line("tool_call", item["arguments"], item["name"], item["call_id"]),)
        case "function_call_output":
            return (Line("tool_output", _text(item["output"]), names[item["call_id"]], item["call_id"]),)
        case _:
            return ()


def _text(content: str | Sequence[Wire]) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in content)
