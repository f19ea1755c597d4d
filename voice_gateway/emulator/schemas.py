"""Reading a function tool: what it takes, what it needs, and the rules that its description gives for its use."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from voice_gateway.emulator.wording import readable, stem, words

Schema: TypeAlias = Mapping[str, Any]

_QUERY_NAMES: Final = {"query", "q", "search", "question", "text", "term", "keyword", "topic"}
_CONFIRMED: Final = re.compile(
    r"\bconfirm(?:s|ed|ation)?\b|\bread (?:it|them|this) back\b|\brepeat\b[^.]*\bto the (?:caller|guest|customer)\b",
    re.IGNORECASE,
)
_ONE_EACH: Final = re.compile(
    r"\b(?:once|one call|separately) for each\b|\bone (?:item|thing) at a time\b", re.IGNORECASE
)
_ASK_FIRST: Final = re.compile(r"\bask (?:\w+ )?for (?:the|their|its|his|her) (\w+)", re.IGNORECASE)
_SHOWS: Final = re.compile(
    r"\bempty (?:to see|shows|lists)\b|\bwithout (?:it|an id)\b[^.]*\b(?:shows|lists|tells)\b", re.IGNORECASE
)
_LEFT_OUT: Final = re.compile(r"\bempty\b[^.;]*\b(?:they|the caller|he|she) calls? from\b", re.IGNORECASE)
_ADVICE: Final = re.compile(
    r"\bwhat to (?:say|answer|reply)\b|\bask (?:your|the|a) (?:supervisor|superior)\b", re.IGNORECASE
)
_FILLER: Final = re.compile(r"\b(?:filler|say)\b[^.\"\u201c]*[\"\u201c]([^\"\u201d]{2,80})[\"\u201d]", re.IGNORECASE)
_ENDS: Final = re.compile(r"\bhangs? up\b|\bends? the (?:call|conversation)\b", re.IGNORECASE)
_CALLERS_WISH: Final = re.compile(
    r"\bwhat the (?:caller|customer|guest|user) (?:wants|needs|asks|said)\b", re.IGNORECASE
)
_BEFORE: Final = re.compile(r"\bbefore ([^.,;]+)", re.IGNORECASE)
_CODES: Final = re.compile(r"(?:one of |either )?([A-Z]{2,4}(?:, [A-Z]{2,4})*,? (?:or|and) [A-Z]{2,4})\b", re.ASCII)


def properties(tool: Schema) -> dict[str, Schema]:
    """The parameters of a function tool by name, each with one plain `type`: references resolved, null left out."""
    parameters = tool.get("parameters") or {}
    definitions = parameters.get("$defs") or parameters.get("definitions") or {}
    return {name: _plain(schema, definitions) for name, schema in (parameters.get("properties") or {}).items()}


def _plain(schema: Any, definitions: Schema) -> Schema:
    if not isinstance(schema, Mapping):
        return {}
    if "$ref" in schema:
        schema = {**(definitions.get(str(schema["$ref"]).rpartition("/")[2]) or {}), **schema}
    options = [each for each in schema.get("anyOf") or () if isinstance(each, Mapping) and each.get("type") != "null"]
    if options:
        without = {key: value for key, value in schema.items() if key not in {"anyOf", "$ref"}}
        return {**_plain(options[0], definitions), **without}
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "string")
    plain = {**schema, "$defs": definitions} if definitions else dict(schema)
    if kind is not None:
        plain["type"] = kind
    if "items" in plain:
        plain["items"] = _plain(plain["items"], definitions)
    return plain


def required(tool: Schema) -> list[str]:
    """The names of the parameters a call may not leave out."""
    return list((tool.get("parameters") or {}).get("required") or ())


def choices(schema: Schema) -> list[Any]:
    """The values a parameter, or each entry of a list parameter, is limited to."""
    entries = schema.get("items") if schema.get("type") == "array" else schema
    return list((entries or {}).get("enum") or ())


def names_of(value: Any, schema: Schema) -> list[str]:
    """What a choice is called: itself, and the name that the description gives it (`cfo: Finance chief; ...`)."""
    about = str(schema.get("description") or "")
    found = (
        re.search(rf"(?<![\w-]){re.escape(str(value))}: ([^;.,]{{2,40}})", about) if value not in ("", None) else None
    )
    return [readable(str(value)), *([found[1].strip()] if found else [])]


def codes(schema: Schema) -> list[str]:
    """Short codes that a description gives as all there are: `US, CA, EU or UK`."""
    found = _CODES.match(str(schema.get("description") or ""))
    return re.findall(r"[A-Z]{2,4}", found[1]) if found else []


def is_text(schema: Schema) -> bool:
    """Whether a parameter takes words as they come."""
    return schema.get("type", "string") == "string" and not choices(schema)


def is_identifier(name: str) -> bool:
    """Whether a parameter names a row by its id, which nobody says aloud."""
    return bool({"id", "uuid", "sid"} & set(words(readable(name))[-1:]))


def is_search(tool: Schema) -> bool:
    """Whether a tool answers free questions: the one thing it needs is a text named like a query."""
    schemas = properties(tool)
    needed = required(tool) or list(schemas)
    if len(needed) != 1 or needed[0] not in schemas or choices(schemas[needed[0]]):
        return False
    return schemas[needed[0]].get("type", "string") == "string" and bool(set(words(readable(needed[0]))) & _QUERY_NAMES)


# --- rules for the use of a tool, as its description gives them ---


def purpose(tool: Schema) -> str:
    return str(tool.get("description") or "")


def wants_confirmation(tool: Schema) -> bool:
    """Whether the caller has to say yes first."""
    return _CONFIRMED.search(purpose(tool)) is not None


def takes_one_each(tool: Schema) -> bool:
    """Whether several things are several calls."""
    return _ONE_EACH.search(purpose(tool)) is not None


def asked_first(tool: Schema) -> str:
    """The parameter that is to be asked for though it may be left out; empty: none."""
    found = _ASK_FIRST.search(purpose(tool))
    return next((name for name in properties(tool) if found and found[1].lower() in words(readable(name))), "")


def callers_own(tool: Schema) -> set[str]:
    """The parameters that are left out where the number that somebody calls from is meant."""
    about = {name: str(schema.get("description") or "") for name, schema in properties(tool).items()}
    return {name for name, text in about.items() if _LEFT_OUT.search(text)}


def advises(tool: Schema) -> bool:
    """Whether a tool tells what to say, where nothing else does."""
    return _ADVICE.search(purpose(tool)) is not None


def filler(tool: Schema) -> str:
    """What is to be said while a tool works: `say a short filler first, such as "Let me see."`; empty: nothing."""
    found = _FILLER.search(purpose(tool))
    return found[1].strip() if found else ""


def ends_call(tool: Schema) -> bool:
    """Whether a tool hangs up, which wants more than a word of its description."""
    return _ENDS.search(purpose(tool)) is not None


def wants_callers_words(schema: Schema) -> bool:
    """Whether a parameter is to say what the caller wants, so that his own sentence will do."""
    return _CALLERS_WISH.search(str(schema.get("description") or "")) is not None


def shown_when_empty(tool: Schema) -> str:
    """The identifier that is left out to see what there is to choose from; empty: none."""
    optional = {name: schema for name, schema in properties(tool).items() if name not in required(tool)}
    about = {name: str(schema.get("description") or "") for name, schema in optional.items() if is_identifier(name)}
    return next((name for name, text in about.items() if _SHOWS.search(text)), "")


def source(schema: Schema, tools: Iterable[Schema]) -> Schema | None:
    """The search that a parameter's value comes from: `as lookup_thing gave it`."""
    about = set(re.findall(r"\w+", str(schema.get("description") or "")))
    return next((tool for tool in tools if tool.get("name") in about and is_search(tool)), None)


def gates(tool: Schema, tools: Iterable[Schema]) -> list[tuple[Schema, set[str]]]:
    """The tools to be used before this one, each with what makes it necessary: `check it before alcohol is ordered`."""
    own = {stem(word) for word in words(readable(str(tool.get("name", ""))))}
    found = []
    for other in tools:
        for clause in _BEFORE.findall(purpose(other)) if other is not tool else ():
            said = words(clause)
            if own & {stem(word) for word in said}:
                found.append((other, {word for word in said if stem(word) not in own and len(word) > 3}))
    return found


def named(tools: Sequence[Schema], name: object) -> Schema | None:
    return next((tool for tool in tools if tool.get("name") == name), None)
