"""What a tool returned, as a sentence: rows with names and prices, balances, success and errors.

Any JSON is understood as far as its shape tells: a list of objects is a choice, a flat object a set of facts, a text
under `message` or the like is spoken as it is. Identifiers, links and pictures are not read aloud.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from voice_gateway.emulator.asking import when
from voice_gateway.emulator.common_words import meaning
from voice_gateway.emulator.wording import listed, readable, words

ROWS_SPOKEN: Final = 4
FACTS_SPOKEN: Final = 5
FACTS_WITH_ROWS: Final = 4  # from so many facts on, rows beside them are too much for an ear
LONGEST: Final = 400  # characters of a plain text that are read aloud

Fact: TypeAlias = tuple[str, str, bool]
"""A name, a value, and whether the value is several."""

_ROWS_OF_ANYTHING: Final = ("items", "results", "rows", "data")
_SPOKEN_AS_IS: Final = ("speech", "say", "message", "summary", "answer", "text", "reply")
_ROW_NAMES: Final = ("name", "title", "label", "product", "item", "drink")
_ROW_PRICES: Final = ("price", "cost", "amount", "total", "balance")
_CURRENCIES: Final = ("currency", "currency_code", "currencyCode")
_SILENT: Final = re.compile(
    r"(?:^|_)(?:id|uuid|sid|key|token|url|uri|image|picture|photo|icon|ok|success|succeeded|status|result|count|tags?"
    r"|currency|currency_code|market|slug|hash|version|limit|offset|(?:created|updated)_at|timezone|weekday|minutes"
    r"|until|repeat|others|next)$",
    re.IGNORECASE,
)
_ALWAYS_TOLD: Final = {"authority", "source", "citation", "standard"}
_AMOUNTS: Final = {"price", "cost", "amount", "total", "balance", "value"}
_NO_AMOUNTS: Final = {"quantity", "count", "rate", "percent", "percentage", "minute", "hour", "day", "year", "number"}
_IDENTIFIER: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[\w-]*_\w*\d[\w-]*", re.IGNORECASE)
_TO_BE_SAID: Final = ("speech", "say")
_WHOLE: Final = re.compile(r"\S+\s.*[.!?]", re.DOTALL)
_FAILED: Final = {"error", "failed", "failure", "denied", "rejected", "unavailable", "not_found"}


@dataclass(frozen=True, slots=True)
class Told:
    """What a tool answered. acted: whether it was called to do something, and not to look something up."""

    output: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    acted: bool = True


def phrase(output: str, arguments: Mapping[str, Any] | None = None, asked: str = "", *, acted: bool = True) -> str:
    """One or two sentences about the output of a tool that was called with these arguments.

    asked: what the caller wants to know; facts he names are told, and the others left out. acted: see `Told`.
    """
    content = _read(output)
    if isinstance(content, str):
        return _plain(content) or _done(arguments)
    if isinstance(content, list):
        return _rows(content, arguments)
    if isinstance(content, dict):
        return _object(content, arguments, asked, "Done. " if acted and _succeeded(content) else "")
    return _done(arguments) if content in (None, True) else f"The answer is {_value(content)}."


def _succeeded(content: Mapping[str, Any]) -> bool:
    return any(content.get(key) is True for key in ("ok", "success", "succeeded"))


def report(answers: Sequence[Told], asked: str = "") -> str:
    """The outputs of several calls in one go. What a later one tells anew is told once."""
    contents = [_read(answer.output) for answer in answers]
    told = [
        phrase(answer.output, answer.arguments, asked, acted=answer.acted)
        for place, answer in enumerate(answers)
        if not any(_grew_into(contents[place], later) for later in contents[place + 1 :])
    ]
    return " ".join(dict.fromkeys(told))


def own_words(output: str) -> str:
    """What an answer wants to be said as it stands; empty: it does not say."""
    content = _read(output)
    told = (content.get(key) for key in _TO_BE_SAID) if isinstance(content, dict) else ()
    return next((text for text in told if isinstance(text, str) and text.strip()), "")


def refusal(output: str) -> str:
    """Why an answer is a no: it failed, or one of its facts is false; empty: it is not."""
    content = _read(output)
    if not isinstance(content, dict):
        return ""
    if problem := failure(content):
        return _sentence(problem)
    if not any(value is False for value in content.values()):
        return ""
    sentence = next((value for value in content.values() if isinstance(value, str) and _WHOLE.fullmatch(value)), "No")
    return _first_sentence(sentence)


def _read(output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return output


def _grew_into(content: Any, later: Any) -> bool:
    """Whether a later answer tells a list that goes on with this one's: an order with one more line."""
    if not (isinstance(content, dict) and isinstance(later, dict)) or failure(content) or failure(later):
        return False
    grown = [(value, later.get(key)) for key, value in content.items() if isinstance(value, list) and value]
    return any(
        isinstance(more, list) and len(more) > len(value) and more[: len(value)] == value for value, more in grown
    )


def _object(content: Mapping[str, Any], arguments: Mapping[str, Any] | None, asked: str, done: str) -> str:
    if problem := failure(content):
        return f"I am sorry, that did not work: {problem.rstrip('.')}."
    if content.get("found") is False:
        return "I am sorry, I found nothing."
    spoken = [content[key] for key in _SPOKEN_AS_IS if isinstance(content.get(key), str) and content[key].strip()]
    if spoken:
        return _plain(spoken[0])
    facts = list(_facts(content))
    if wanted := _asked_about(facts, asked):
        return _sentence(listed([_fact(*fact) for fact in wanted]))
    return (
        _listings(content, facts, arguments, done) or _own_words(content, done) or _all(content, facts, done, arguments)
    )


def _listings(content: Mapping[str, Any], facts: Sequence[Fact], arguments: Mapping[str, Any] | None, done: str) -> str:
    """An object that is there for the rows in it; empty: it is not."""
    found = {key: value for key, value in content.items() if _is_rows(value)}
    if done and found:
        amounts = [_fact(*fact) for fact in facts if fact[0] in _AMOUNTS]
        return done + _sentence(listed([*(_listing(key, rows) for key, rows in found.items()), *amounts]))
    if not found or not all(many for _, _, many in facts):
        return ""
    key, rows = next(iter(found.items()))
    told = _rows(rows, arguments, "" if key in _ROWS_OF_ANYTHING else readable(key))
    return told + ("" if rows else _instead(content))


def _own_words(content: Mapping[str, Any], done: str) -> str:
    """An object that is a thing with a price, or that has a sentence for us; empty: it is neither."""
    if _first(content, _ROW_NAMES) and _money(content):
        return _one_row(content)
    sentence = next((value for value in content.values() if isinstance(value, str) and _WHOLE.fullmatch(value)), "")
    if not sentence:
        return ""
    return done + (_first_sentence(sentence) if False in content.values() else _sentence(sentence))


def _all(content: Mapping[str, Any], facts: Sequence[Fact], done: str, arguments: Mapping[str, Any] | None) -> str:
    if not facts:
        return _done(arguments)
    given = {_comparable(value) for value in (arguments or {}).values()}
    facts = [fact for fact in facts if _comparable(fact[1]) not in given] or facts  # what the caller said he knows
    rows = {key: value for key, value in content.items() if _is_rows(value) and not _is_silent(key)}
    rows = rows if len(facts) < FACTS_WITH_ROWS else {}
    told = [_fact(*fact) for fact in facts[:FACTS_SPOKEN]]
    return done + _sentence(listed([*told, *(_listing(key, value) for key, value in rows.items())]))


def _comparable(value: object) -> str:
    return " ".join(words(readable(str(value))))


def _listing(key: str, rows: Sequence[Any]) -> str:
    if not rows:
        return f"there are no {readable(key)}"
    return _fact(readable(key), listed([_row(row) for row in rows[:ROWS_SPOKEN]]), many=True)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and (not value or isinstance(value[0], Mapping))


def _asked_about(facts: Sequence[Fact], asked: str) -> list[Fact]:
    """The facts that were asked for by name, with what they rest on. None asked for: none."""
    said = meaning(asked)
    wanted = [fact for fact in facts if said & set(words(fact[0]))]
    if not wanted or len(wanted) == len(facts):
        return []
    names = {fact[0] for fact in wanted}
    return [fact for fact in facts if fact[0] in names or _ALWAYS_TOLD & set(fact[0].split())]


def _fact(name: str, value: str, many: bool = False) -> str:  # noqa: FBT001, FBT002 - the shape of a fact
    return f"the {name} {'are' if many and name.endswith('s') else 'is'} {value}"


def failure(content: Mapping[str, Any]) -> str:
    """Why a tool says it failed, or an empty text."""
    error = content.get("error") or content.get("errors")
    refused = any(content.get(key) is False for key in ("ok", "success", "succeeded"))
    status = str(content.get("status", "")).lower()
    if not error and not refused and status not in _FAILED:
        return ""
    inner = (error.get("message"), error.get("code")) if isinstance(error, Mapping) else (error,)
    told = [content.get("message"), content.get("reason"), content.get("detail"), *inner]
    told = [text for text in told if isinstance(text, str) and text.strip()]
    reason = next((text for text in told if not re.fullmatch(r"[\w.]+", text)), next(iter(told), ""))
    if not reason:
        return "there was a problem on our side"
    return readable(reason) if re.fullmatch(r"[\w.]+", reason) else _first_sentence(reason)


def _rows(rows: Sequence[Any], arguments: Mapping[str, Any] | None, called: str = "") -> str:
    """called: what the rows are; where it is given and they have no names, they are told as facts."""
    sentences = [_told(row) for row in rows]
    if rows and all(sentences):
        return sentences[0]
    if not rows:
        wanted = [value for value in (arguments or {}).values() if isinstance(value, str) and value]
        return f"I am sorry, I found nothing for {wanted[0]}." if wanted else "I am sorry, I found nothing."
    dated = any(isinstance(row, Mapping) and _moment(row) for row in rows)
    if len(rows) == 1 and isinstance(rows[0], Mapping) and not dated:
        return _one_row(rows[0])
    shown = [_row(row) for row in rows[:ROWS_SPOKEN]]
    more = len(rows) - len(shown)
    ending = f" There are {more} more." if more > 1 else " There is one more." if more else ""
    if dated:
        return f"{_sentence(_fact(called or 'dates', listed(shown), many=True))}{ending}"
    return f"We have {listed(shown)}.{ending} Which one would you like?"


def _instead(content: Mapping[str, Any]) -> str:
    """What a tool that found nothing lists in its place."""
    others = {key: value for key, value in content.items() if isinstance(value, list) and value}
    return "".join(
        f" The {readable(key)} are {listed([_row(entry) for entry in value])}." for key, value in others.items()
    )


def _one_row(row: Mapping[str, Any]) -> str:
    name, money = _first(row, _ROW_NAMES), _money(row)
    if not name:
        return _sentence(listed([_fact(*fact) for fact in _facts(row)])) or "Done."
    about = row.get("description")
    told = f" {_sentence(about)}" if isinstance(about, str) and about.strip() else ""
    return f"{name} costs {money}.{told}" if money else f"We have {name}.{told}"


def _told(row: Any) -> str:
    """The sentence a row has for us when it has no name of its own."""
    if not isinstance(row, Mapping) or _first(row, _ROW_NAMES):
        return ""
    return next((value for value in row.values() if isinstance(value, str) and _WHOLE.fullmatch(value)), "")


def _row(row: Any) -> str:
    if not isinstance(row, Mapping):
        return _value(row)
    if moment := _moment(row):
        about = [str(row[key]) for key in ("name", "reason", "title") if isinstance(row.get(key), str) and row[key]]
        return " ".join([moment, *(f"for {each}" for each in about[:1])])
    name, money = _first(row, _ROW_NAMES), _money(row)
    if name:
        count = f"{row['quantity']} " if isinstance(row.get("quantity"), int) else ""
        return f"{count}{name} for {money}" if money else f"{count}{name}"
    return " ".join(value for _, value, _ in _facts(row))


def _moment(row: Mapping[str, Any]) -> str:
    """`Tuesday 24 November at 10:00`, of a row with a date."""
    day = row.get("date") or row.get("day")
    if not isinstance(day, str) or when(day) == day:
        return ""
    at = row.get("time") or row.get("at")
    return f"{when(day)} at {at}" if isinstance(at, str) and at else when(day)


def _money(row: Mapping[str, Any]) -> str:
    """`3,500 RWF`: whole amounts without decimals, others with two, or three where they have them."""
    amount = next((row[key] for key in _ROW_PRICES if isinstance(row.get(key), int | float | str)), None)
    if amount is None or isinstance(amount, bool) or amount == "":
        return ""
    return f"{_value(amount)} {_first(row, _CURRENCIES)}".strip()


def _facts(content: Mapping[str, Any], prefix: str = "", currency: str = "") -> Iterator[Fact]:
    """Names and values worth telling, and whether they are many; an object's own are told with its name before."""
    currency = _first(content, _CURRENCIES) or currency
    for key, value in content.items():
        name = f"{prefix} {readable(key)}".strip()
        if value is None or value == "" or isinstance(value, bool) or _is_silent(key):
            continue
        if isinstance(value, Mapping):
            if moment := _moment(value):
                yield name, moment, False
            elif not prefix:
                yield from _facts(value, name, currency)
        elif isinstance(value, list):
            if value and not isinstance(value[0], Mapping):
                yield name, _some(value), True
        elif not (isinstance(value, str) and _IDENTIFIER.fullmatch(value)):
            yield name, _told_value(key, value, currency), False


def _is_silent(key: str) -> bool:
    return _SILENT.search(readable(key).replace(" ", "_")) is not None


def _some(values: Sequence[Any]) -> str:
    shown = [_row(entry) for entry in values[:ROWS_SPOKEN]]
    more = len(values) - len(shown)
    return f"{', '.join(shown)} and {more} more" if more else listed(shown)


def _told_value(key: str, value: Any, currency: str) -> str:
    own = set(words(readable(key)))
    if isinstance(value, int | float):
        if own & {"rate", "percent", "percentage"}:
            return f"{_value(value)} percent"
        if currency and not own & _NO_AMOUNTS:
            return f"{_value(value)} {currency}"
    return _value(value)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next((str(row[key]) for key in keys if isinstance(row.get(key), str) and row[key]), "")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and re.fullmatch(r"-?\d+\.\d+", value):
        value = float(value)
    elif isinstance(value, str):
        return when(value)
    if isinstance(value, float):
        digits = 3 if re.fullmatch(r"-?\d+\.\d{3}", str(value)) else 2  # 0.125 dinars are no 0.13
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.{digits}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _done(arguments: Mapping[str, Any] | None) -> str:
    """Repeat what was asked for, so that the caller hears a misunderstanding."""
    named = [
        _value(value)
        for value in (arguments or {}).values()
        if isinstance(value, str | int | float) and value != "" and not _IDENTIFIER.fullmatch(str(value))
    ]
    return f"Done: {listed(named)}." if named else "Done."


def _first_sentence(text: str) -> str:
    """What a tool says to the caller; what follows is often a hint for the model."""
    return re.split(r"(?<=[.!?])\s", _plain(text), maxsplit=1)[0]


def _plain(text: str) -> str:
    text = re.sub(r"\s+", " ", text).strip()
    if len(text) <= LONGEST:
        return _sentence(text)
    return _sentence(text[:LONGEST].rsplit(" ", 1)[0])


def _sentence(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
