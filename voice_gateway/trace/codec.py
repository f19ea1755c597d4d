"""Dataclasses as JSON and back: how events, commands, entries and policies stand in a trace.

A dataclass is `{"Name": {"field": value, ...}}`. All fields are written, those with their default too: what a trace
lacks is then known to be younger than the trace. Bytes are base64, tuples are lists, and a number that JSON cannot
write (`inf`) is its name as text. Nothing here knows a single event by name: what can be written and read follows from
the type hints, so that an event, command or field added tomorrow needs no line here.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import pybase64

from voice_gateway.errors import GatewayError

Decoder: TypeAlias = Callable[[Any], Any]
Mask: TypeAlias = Callable[[str], str]
Encoder: TypeAlias = Callable[[Any, Mask | None], Any]

NUMBER_FIELD: Final = "_number"
"""A field whose name ends so holds a telephone number."""


class TraceError(GatewayError):
    """A trace cannot be read; the text says where and why."""


# --- to JSON ----------------------------------------------------------------------------------------------------


def encode(value: object, mask: Mask | None = None) -> Any:
    """A value as JSON can hold it. mask: what every telephone number goes through (`NUMBER_FIELD`).

    Raises TypeError for a value that no event, command or entry should hold.
    """
    kind: Any = type(value)
    return _encoder(kind)(value, mask)


@lru_cache(maxsize=256)
def _encoder(kind: Any) -> Encoder:
    for known, encoder in _ENCODERS:
        if issubclass(kind, known):
            return encoder
    if dataclasses.is_dataclass(kind):
        return _from_dataclass
    raise TypeError(f"a {kind.__name__} cannot stand in a trace: give it a dataclass, or add it to trace/codec.py")


def _from_dataclass(value: Any, mask: Mask | None) -> Any:
    kind: Any = type(value)
    return {kind.__name__: {name: _field(value, name, mask) for name in _names(kind)}}


def _field(owner: object, name: str, mask: Mask | None) -> Any:
    value = getattr(owner, name)
    return mask(value) if mask and isinstance(value, str) and name.endswith(NUMBER_FIELD) else encode(value, mask)


@lru_cache(maxsize=256)
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


_ENCODERS: Final[tuple[tuple[type | tuple[type, ...], Encoder], ...]] = (
    (Enum, lambda value, _: value.value),
    ((bool, int, str, type(None)), lambda value, _: value),
    (float, lambda value, _: value if math.isfinite(value) else str(value)),
    (bytes, lambda value, _: pybase64.b64encode(value).decode("ascii")),
    ((list, tuple), lambda value, mask: [encode(each, mask) for each in value]),
    ((set, frozenset), lambda value, mask: sorted(encode(each, mask) for each in value)),
    (Mapping, lambda value, mask: {str(key): encode(each, mask) for key, each in value.items()}),
)


# --- from JSON --------------------------------------------------------------------------------------------------


def decode(hint: Any, data: Any) -> Any:
    """What `encode` wrote, as the hint says: a dataclass, or a union of them, `bytes`, `tuple[str, ...]` and so on.

    Fields that the data lacks take their defaults, and fields that are no more are left out.
    Raises TraceError when the data is of no kind that this version knows.
    """
    return _decoder(hint)(data)


@lru_cache(maxsize=1024)
def _decoder(hint: Any) -> Decoder:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return _one_of(arguments)
    if origin is tuple and arguments[-1:] != (Ellipsis,):
        return _fixed(arguments)
    if origin in {tuple, list, frozenset, set, Sequence}:
        return _many(tuple if origin is Sequence else origin, arguments[0])
    if origin in {dict, Mapping}:
        return _table(arguments[1])
    return _as_it_is if origin is Literal else _of_class(hint)


def _of_class(kind: Any) -> Decoder:
    if kind in {float, bytes}:
        return float if kind is float else _bytes
    if kind in {bool, int, str, type(None), Any, object}:
        return _as_it_is
    if dataclasses.is_dataclass(kind):
        return _one_of((kind,))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    raise TypeError(f"{kind} cannot be read from a trace: add it to trace/codec.py")


def _as_it_is(data: Any) -> Any:
    return data


def _bytes(data: Any) -> bytes:
    if not isinstance(data, str):
        raise TraceError(f"base64 was to stand here, and not {data!r}")
    try:
        return pybase64.b64decode(data, validate=True)
    except ValueError:
        raise TraceError("what stands for a sound is not base64") from None


def _many(kind: Callable[[Any], Any], each: Any) -> Decoder:
    decoder = _decoder(each)
    return lambda data: kind(decoder(one) for one in data)


def _fixed(each: tuple[Any, ...]) -> Decoder:
    decoders = [_decoder(one) for one in each]
    return lambda data: tuple(decoder(one) for decoder, one in zip(decoders, data, strict=True))


def _table(each: Any) -> Decoder:
    decoder = _decoder(each)
    return lambda data: {key: decoder(value) for key, value in data.items()}


def _one_of(kinds: tuple[Any, ...]) -> Decoder:
    """A dataclass is told by its name, all else by its JSON type: of those a union may hold one each."""
    named = {kind.__name__: kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)}
    others = [kind for kind in kinds if kind is not type(None) and kind not in named.values()]
    plain = {_json_type(kind): kind for kind in others}
    if float in plain:
        plain = {int: float, str: float} | plain  # a whole number, or the name of one that JSON lacks
    if len(set(map(_json_type, others))) < len(others) and not all(get_origin(kind) is Literal for kind in others):
        raise TypeError(f"what stands in a trace could not be told apart: {kinds}")

    def decoder(data: Any) -> Any:
        if data is None and type(None) in kinds:
            return None
        if named and isinstance(data, dict) and len(data) == 1:
            name, fields = next(iter(data.items()))
            if name in named:
                return _make(named[name], fields)
            raise TraceError(f"this version knows nothing called {name}")
        found = plain.get(type(data))
        if found is None:
            raise TraceError(f"{data!r} is none of {', '.join([*named, *(str(kind) for kind in others)])}")
        return _decoder(found)(data)

    return decoder


def _json_type(hint: Any) -> type:
    origin = get_origin(hint) or hint
    if origin is Literal:
        return type(get_args(hint)[0])
    if origin in {tuple, list, set, frozenset, Sequence}:
        return list
    if origin in {dict, Mapping}:
        return dict
    return str if origin is bytes else origin


def _make(kind: type, fields: Any) -> Any:
    if not isinstance(fields, dict):
        raise TraceError(f"{kind.__name__} has no fields")
    given = {name: decoder(fields[name]) for name, decoder in _fields(kind).items() if name in fields}
    lacking = [name for name in _needed(kind) if name not in given]
    if lacking:
        raise TraceError(f"{kind.__name__} lacks {', '.join(lacking)}")
    return kind(**given)


@lru_cache(maxsize=256)
def _needed(kind: Any) -> tuple[str, ...]:
    none = dataclasses.MISSING
    return tuple(
        field.name
        for field in dataclasses.fields(kind)
        if field.init and field.default is none and field.default_factory is none
    )


@lru_cache(maxsize=256)
def _fields(kind: type) -> Mapping[str, Decoder]:
    hints = get_type_hints(kind)
    return {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(kind) if field.init}
