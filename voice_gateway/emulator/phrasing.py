"""What a tool returned, as a sentence: rows with names and prices, balances, success and errors.

Any JSON is understood as far as its shape tells: a list of objects is a choice, a flat object a set of facts, a text
under `message` or the like is spoken as it is. Identifiers, links and pictures are not read aloud.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from voice_gateway.emulator.wording import listed, readable

ROWS_SPOKEN: Final = 4
LONGEST: Final = 400  # characters of a plain text that are read aloud

_SPOKEN_AS_IS: Final = ("speech", "say", "message", "summary", "answer", "text", "reply")
_ROW_NAMES: Final = ("name", "title", "label", "product", "item", "drink")
_ROW_PRICES: Final = ("price", "cost", "amount", "total", "balance")
_CURRENCIES: Final = ("currency", "currency_code", "currencyCode")
_SILENT: Final = re.compile(
    r"(?:^|_)(?:id|uuid|sid|key|token|url|uri|image|picture|photo|icon|ok|success|succeeded|status|result|count|tags?"
    r"|currency|currency_code|market|slug|hash|version|limit|offset|(?:created|updated)_at)$",
    re.IGNORECASE,
)
_WHOLE: Final = re.compile(r"\S+\s.*[.!?]", re.DOTALL)
_FAILED: Final = {"error", "failed", "failure", "denied", "rejected", "unavailable", "not_found"}


def phrase(output: str, arguments: Mapping[str, Any] | None = None) -> str:
    """One or two sentences about the output of a tool that was called with these arguments."""
    try:
        content = json.loads(output)
    except ValueError:
        content = output
    if isinstance(content, str):
        return _plain(content) or _done(arguments)
    if isinstance(content, list):
        return _rows(content, arguments)
    if isinstance(content, dict):
        return _object(content, arguments)
    return _done(arguments) if content in (None, True) else f"The answer is {_value(content)}."


def _object(content: Mapping[str, Any], arguments: Mapping[str, Any] | None) -> str:
    if problem := failure(content):
        return f"I am sorry, that did not work: {problem.rstrip('.')}."
    for key in _SPOKEN_AS_IS:
        if isinstance(content.get(key), str) and content[key].strip():
            return _plain(content[key])
    for value in content.values():
        if isinstance(value, list) and (not value or isinstance(value[0], Mapping)):
            return _rows(value, arguments) + ("" if value else _instead(content))
    if _first(content, _ROW_NAMES) and _money(content):
        return _one_row(content)
    facts = [f"your {name} is {value}" for name, value in _facts(content)]
    return _sentence(listed(facts)) if facts else _done(arguments)


def failure(content: Mapping[str, Any]) -> str:
    """Why a tool says it failed, or an empty text."""
    error = content.get("error") or content.get("errors")
    refused = any(content.get(key) is False for key in ("ok", "success", "succeeded"))
    status = str(content.get("status", "")).lower()
    if not error and not refused and status not in _FAILED:
        return ""
    inner = (error.get("message"), error.get("code")) if isinstance(error, Mapping) else (error,)
    told = (*inner, content.get("message"), content.get("reason"), content.get("detail"))
    reason = next((text for text in told if isinstance(text, str) and text.strip()), "")
    if not reason:
        return "there was a problem on our side"
    return readable(reason) if re.fullmatch(r"[\w.]+", reason) else _plain(reason)


def _rows(rows: Sequence[Any], arguments: Mapping[str, Any] | None) -> str:
    sentences = [_told(row) for row in rows]
    if rows and all(sentences):
        return sentences[0]
    if not rows:
        wanted = [value for value in (arguments or {}).values() if isinstance(value, str) and value]
        return f"I am sorry, I found nothing for {wanted[0]}." if wanted else "I am sorry, I found nothing."
    if len(rows) == 1 and isinstance(rows[0], Mapping):
        return _one_row(rows[0])
    shown = [_row(row) for row in rows[:ROWS_SPOKEN]]
    more = len(rows) - len(shown)
    ending = f" There are {more} more." if more > 1 else " There is one more." if more else ""
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
        return _sentence(listed([f"the {key} is {value}" for key, value in _facts(row)])) or "Done."
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
    name, money = _first(row, _ROW_NAMES), _money(row)
    if name:
        return f"{name} for {money}" if money else name
    return " ".join(value for _, value in _facts(row))


def _money(row: Mapping[str, Any]) -> str:
    """`3,500 RWF`: whole amounts without decimals, others with two."""
    amount = next((row[key] for key in _ROW_PRICES if isinstance(row.get(key), int | float | str)), None)
    if amount is None or isinstance(amount, bool) or amount == "":
        return ""
    return f"{_value(amount)} {_first(row, _CURRENCIES)}".strip()


def _facts(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values worth telling; an object inside an object is told with its name before its own."""
    for key, value in content.items():
        name = f"{prefix} {readable(key)}".strip()
        if value is None or value == "" or isinstance(value, bool) or _SILENT.search(readable(key).replace(" ", "_")):
            continue
        if isinstance(value, Mapping):
            yield from _facts(value, name) if not prefix else ()
        elif isinstance(value, list):
            if value:
                yield name, listed([_row(entry) for entry in value[:ROWS_SPOKEN]])
        else:
            money = key in _ROW_PRICES and not isinstance(value, str)
            yield name, f"{_value(value)} {_first(content, _CURRENCIES)}".strip() if money else _value(value)


def _first(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next((str(row[key]) for key in keys if isinstance(row.get(key), str) and row[key]), "")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and re.fullmatch(r"-?\d+\.\d+", value):
        value = float(value)
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _done(arguments: Mapping[str, Any] | None) -> str:
    """Repeat what was asked for, so that the caller hears a misunderstanding."""
    named = [
        _value(value) for value in (arguments or {}).values() if isinstance(value, str | int | float) and value != ""
    ]
    return f"Done: {listed(named)}." if named else "Done."


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
