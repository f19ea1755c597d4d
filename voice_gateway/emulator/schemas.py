"""Reading a function tool's JSON schema: what it takes, what it needs, and what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from voice_gateway.emulator.wording import readable, words

Schema: TypeAlias = Mapping[str, Any]

_QUERY_NAMES: Final = {"query", "q", "search", "question", "text", "term", "keyword", "topic"}


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


def is_identifier(name: str) -> bool:
    """Whether a parameter names a row by its id, which nobody says aloud."""
    return bool({"id", "uuid", "sid"} & set(words(readable(name))))


def is_search(tool: Schema) -> bool:
    """Whether a tool answers free questions: the one thing it needs is a text named like a query."""
    schemas = properties(tool)
    needed = required(tool) or list(schemas)
    if len(needed) != 1 or needed[0] not in schemas or choices(schemas[needed[0]]):
        return False
    return schemas[needed[0]].get("type", "string") == "string" and bool(set(words(readable(needed[0]))) & _QUERY_NAMES)
