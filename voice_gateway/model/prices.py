"""The price list: a TOML file of prices by model and date, and by the minute for the telephone line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voice_gateway.call.usage import Tariff
from voice_gateway.errors import GatewayError
from voice_gateway.values import read_toml

BUILT_IN = Path(__file__).with_suffix(".toml")
_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


class PriceError(GatewayError):
    """A price list cannot be used. The text names the file, the field, and what it should hold."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Dated(_Strict):
    names: tuple[str, ...] = Field(min_length=1)
    since: date


class _Price(_Dated):
    text_in: float = Field(ge=0)
    text_cached: float = Field(ge=0)
    text_out: float = Field(ge=0)
    audio_in: float = Field(ge=0)
    audio_cached: float = Field(ge=0)
    audio_out: float = Field(ge=0)


class _Text(_Dated):
    text_in: float = Field(ge=0)
    text_cached: float = Field(ge=0)
    text_out: float = Field(ge=0)


class _Transcription(_Dated):
    usd_per_minute: float = Field(ge=0)


class _Line(_Strict):
    inbound_usd_per_minute: float = Field(default=0.0, ge=0)
    outbound_usd_per_minute: float = Field(default=0.0, ge=0)


class _File(_Strict):
    line: _Line = _Line()
    model: tuple[_Price, ...] = ()
    text: tuple[_Text, ...] = ()
    transcription: tuple[_Transcription, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceList:
    """What was read. Every look-up gives None where the list does not say.

    name: the file's, without its folder, or `built-in`; with a price's first day it tells what a sum was reckoned by.
    """

    inbound_usd_per_minute: float
    outbound_usd_per_minute: float
    name: str
    _models: tuple[_Price, ...]
    _transcriptions: tuple[_Transcription, ...]
    _texts: tuple[_Text, ...] = ()

    def tariff(self, model: str, on: date) -> Tariff | None:
        """A model's prices on a day."""
        price = _chosen(self._models, model, on)
        if price is None:
            return None
        return Tariff(**price.model_dump(exclude={"names", "since"}), book=f"{self.name} {price.since.isoformat()}")

    def text_tariff(self, model: str, on: date) -> Tariff | None:
        """A text model's prices on a day."""
        price = _chosen(self._texts, model, on)
        if price is None:
            return None
        told = price.model_dump(exclude={"names", "since"})
        return Tariff(**told, audio_in=0, audio_cached=0, audio_out=0, book=f"{self.name} {price.since.isoformat()}")

    def transcription_usd_per_minute(self, model: str, on: date) -> float | None:
        """What it costs on a day to have a minute of speech written down."""
        price = _chosen(self._transcriptions, model, on)
        return None if price is None else price.usd_per_minute


_AnyPrice = TypeVar("_AnyPrice", bound=_Dated)


def _chosen(prices: tuple[_AnyPrice, ...], model: str, on: date) -> _AnyPrice | None:
    """The newest that has begun, under the model's own name or, for a dated snapshot, under the model's."""
    for name in (model, _SNAPSHOT.sub("", model)):
        begun = [price for price in prices if name in price.names and price.since <= on]
        if begun:
            return max(begun, key=lambda price: price.since)
    return None


def load_prices(path: Path = BUILT_IN) -> PriceList:
    """Read a price list. Raises `PriceError` with everything that is wrong in it."""
    try:
        given, _ = read_toml(path)
        # Through JSON, whose strict reading takes lists as tuples and texts as dates, and nothing else for anything.
        read = _File.model_validate_json(orjson.dumps(given))
    except OSError as error:
        raise PriceError(f"PRICES_FILE: {path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = [f"{path}: {_where(each['loc'])}: {each['msg']}" for each in error.errors(include_input=False)]
        raise PriceError("\n".join(problems)) from None
    except (ValueError, RecursionError) as error:  # a number may be too long to be read
        raise PriceError(f"{path}: cannot be read as TOML: {error}") from error
    return PriceList(
        read.line.inbound_usd_per_minute,
        read.line.outbound_usd_per_minute,
        "built-in" if path == BUILT_IN else path.name,
        read.model,
        read.transcription,
        read.text,
    )


def _where(location: tuple[Any, ...]) -> str:
    """`model[2].text_in`: which field, counted from 1 as people count."""
    named = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in location)
    return named.removeprefix(".")
