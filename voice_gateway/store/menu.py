"""An operator's menu: read from a CSV or JSON file, checked line by line, and put into an SQLite file.

    id,name,category,price,currency,description,image_url,tags,available
    us-burger,Cheeseburger,grill,12.50,USD,With fries,https://shop.example/burger.jpg,food|meat,yes

name, category and price must be there. id: made of market and name where there is none. currency: that of the whole
file where there is none. tags: in CSV with | between them. pairings: what goes well with it, the best first, in CSV as
`us-cola: A cold cola with that? | us-fries: Some fries?`, in JSON a list of objects with id and upsell; an item without
this field keeps those it has. JSON: a list of objects, or `{"items": [...]}`.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson

from voice_gateway.errors import GatewayError, there_are
from voice_gateway.store.markets import COUNTRIES, DIGITS, read_price
from voice_gateway.store.records import Row, clean_text
from voice_gateway.values import read_text

COLUMNS: Final = (
    "id", "market", "name", "category", "price", "currency", "description", "image_url", "tags", "available",
    "pairings",
)  # fmt: skip
NEEDED: Final = ("name", "category", "price")
MOST_ITEMS: Final = 5_000
MOST_BYTES: Final = 10 << 20
SHOWN: Final = 50
_LONGEST: Final = {"id": 80, "name": 120, "category": 60, "description": 1000, "image_url": 2000}
_YES: Final = frozenset({"", "true", "yes", "1"})
_NO: Final = frozenset({"false", "no", "0"})


class MenuError(GatewayError):
    """A menu that cannot be used; a line for each thing that is wrong in it. Nothing of it was written."""

    def __init__(self, problems: Sequence[str]) -> None:
        shown = [*problems[:SHOWN], *([f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else [])]
        super().__init__("\n  ".join(["the menu was not imported; nothing was changed:", *shown]))


@dataclass(frozen=True, slots=True)
class MenuFile:
    """The items of a market as `Rows.put_menu` takes them."""

    market: str
    items: tuple[Row, ...]


def read_menu(path: Path, market: str, currency: str = "") -> MenuFile:
    """Read a menu. Raises `MenuError` with all that is wrong in it.

    market: ISO 3166-1 alpha-2. currency: ISO 4217, of items that name none.
    """
    market, currency = market.strip().upper(), currency.strip().upper()
    _check_names(market, currency)
    problems: list[str] = []
    items: dict[str, Row] = {}
    places: dict[str, str] = {}
    for place, given in _given(path):
        try:
            item = _item(given, market, currency)
            if item["id"] in items:
                raise ValueError(f"id: {item['id']} is at {places[item['id']]} already; an id names one item")  # noqa: TRY301
        except ValueError as error:
            problems += [f"{place}: {problem}" for problem in error.args]
        else:
            items[item["id"]], places[item["id"]] = item, place
    if not items and not problems:
        problems.append(f"{path.name}: there is no item in it")
    if len(items) > MOST_ITEMS:
        problems.append(f"{path.name}: has {len(items)} items; {MOST_ITEMS} at most")
    if problems:
        raise MenuError(problems)
    return MenuFile(market, tuple(items.values()))


def _check_names(market: str, currency: str) -> None:
    problems = []
    if market not in COUNTRIES:
        problems.append(f"--market must be a country of two letters (ISO 3166-1) such as US, not {market[:20]!r}")
    if currency and currency not in DIGITS:
        problems.append(f"--currency must be one of ISO 4217 such as USD, not {currency[:20]!r}")
    if problems:
        raise MenuError(problems)


def put_menu(db: sqlite3.Connection, market: str, items: Sequence[Row], *, replace: bool, dry_run: bool) -> Row:
    """`Rows.put_menu` within a transaction; `put_menu_and_pairings` of migrations/ is the same."""
    there = {row["id"]: row for row in db.execute("select id, market, available from menu_items")}
    ids = {item["id"] for item in items}
    strangers = sorted(each for each in ids & there.keys() if there[each]["market"] != market)
    others = [each for each, row in there.items() if row["market"] == market and row["available"] and each not in ids]
    withdrawn = others if replace else []
    counts = {
        "added": len(ids - there.keys()),
        "replaced": len(ids & there.keys()),
        "withdrawn": len(withdrawn),
        "strangers": strangers,
    }
    paired = {item["id"]: item["pairings"] for item in items if item["pairings"] is not None}
    known = ids | {each for each, row in there.items() if row["market"] == market}
    counts["unknown"] = sorted({each["id"] for pairings in paired.values() for each in pairings} - known)
    if dry_run or strangers or counts["unknown"]:
        return counts
    db.executemany("update menu_items set available = false where id = ?", [[each] for each in withdrawn])
    db.executemany(
        "insert into menu_items (id, market, name, category, price, currency, description, image_url, tags, available) "
        "values (:id, :market, :name, :category, :price, :currency, :description, :image_url, :tags, :available) "
        "on conflict (id) do update set name = excluded.name, category = excluded.category, price = excluded.price, "
        "currency = excluded.currency, description = excluded.description, image_url = excluded.image_url, "
        "tags = excluded.tags, available = excluded.available",
        [item | {"market": market, "tags": orjson.dumps(item["tags"]).decode(), "pairings": None} for item in items],
    )
    db.executemany("delete from pairings where item_id = ?", [[each] for each in paired])
    db.executemany(
        "insert into pairings (item_id, paired_item_id, upsell, priority) values (?, ?, ?, ?)",
        [
            [item_id, each["id"], each["upsell"], len(pairings) - place]
            for item_id, pairings in paired.items()
            for place, each in enumerate(pairings, 1)
        ],
    )
    return counts


# --- reading ----------------------------------------------------------------------------------------------------


def _given(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """Each item as it stands in the file, or what is wrong with it, after its place for a person."""
    readers = {".csv": _from_csv, ".json": _from_json}
    if path.suffix.lower() not in readers:
        raise MenuError([f"{path.name}: must be a .csv or a .json file"])
    try:
        if path.stat().st_size > MOST_BYTES:
            raise MenuError([f"{path.name}: is larger than {MOST_BYTES >> 20} MB"])
        text = read_text(path, MOST_BYTES, "utf-8-sig")
    except OSError as error:
        raise MenuError([f"{path}: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise MenuError([f"{path.name}: is not UTF-8; save it as CSV UTF-8"]) from None
    return readers[path.suffix.lower()](path.name, text)


def _from_csv(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    head = text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        columns = [each.strip().lower() for each in next(lines, [])]
        unknown = [each for each in columns if each not in COLUMNS]
        missing = [each for each in NEEDED if each not in columns]
        if unknown or missing or len(set(columns)) < len(columns):
            what = (
                f"has no column {', '.join(missing)}"
                if missing
                else f"cannot use {', '.join(unknown) or 'a column twice'}"
            )
            raise MenuError([f"{name}:1: {what}; the first line names columns, of {', '.join(COLUMNS)}"])
        begins = lines.line_num + 1
        for fields in lines:
            place, begins = f"{name}:{begins}", lines.line_num + 1
            if not any(each.strip() for each in fields):
                continue
            if len(fields) != len(columns):
                yield place, f"has {len(fields)} fields for {len(columns)} columns; quote a text with a comma in it"
                continue
            given: dict[str, Any] = dict(zip(columns, fields, strict=True))
            if "tags" in given:
                given["tags"] = [each.strip() for each in given["tags"].split("|") if each.strip()]
            if "pairings" in given:
                given["pairings"] = [_paired(each) for each in given["pairings"].split("|") if each.strip()]
            yield place, given
    except csv.Error as error:
        raise MenuError([f"{name}:{lines.line_num}: {error}"]) from None


def _paired(text: str) -> Mapping[str, str]:
    item_id, _, upsell = text.partition(":")
    return {"id": item_id.strip(), "upsell": upsell.strip()}


def _from_json(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    try:
        whole = json.loads(text, parse_float=Decimal)  # as written: 1.10 is no float's 1.1
    except (ValueError, RecursionError) as error:
        raise MenuError([f"{name}: is no JSON: {error}"]) from None
    items = whole.get("items") if isinstance(whole, dict) else whole
    if not isinstance(items, list):
        raise MenuError([f'{name}: must be a list of items, or {{"items": [...]}}'])
    for n, item in enumerate(items, 1):
        if not isinstance(item, dict):
            yield f"{name}: item {n}", "must be an object"
        else:
            yield f"{name}: item {n}", item


def _item(given: Mapping[str, Any] | str, market: str, currency: str) -> Row:
    """A row of `menu_items`. Raises ValueError with a sentence for each thing that is wrong."""
    if isinstance(given, str):
        raise ValueError(given)  # noqa: TRY004 - a problem like the others
    problems = [f"{key}: no such field; {there_are(COLUMNS, str(key))}" for key in given if key not in COLUMNS]
    texts = {name: _text(given, name, problems) for name in (*_LONGEST, "market", "currency")}
    problems += [
        f"{name}: is missing" for name in ("name", "category") if not texts[name] and name not in _wrong(problems)
    ]
    if texts["market"].upper() not in ("", market):
        problems.append(f"market: is {texts['market'][:20]}, and this import is for {market}")
    if texts["image_url"] and not re.fullmatch(r"https?://[^\s]+", texts["image_url"]):
        problems.append("image_url: must begin with https:// and hold no space")
    code = texts["currency"].upper() or currency
    price = _price(given, code, problems)
    item_id = texts["id"] or _id(market, texts["name"], problems)
    row = {
        "id": item_id,
        "name": texts["name"],
        "category": texts["category"],
        "price": price,
        "currency": code,
        "description": texts["description"],
        "image_url": texts["image_url"] or None,
        "tags": _tags(given.get("tags"), problems),
        "available": _available(given.get("available"), problems),
        "pairings": _pairings(given.get("pairings"), item_id, problems),
    }
    if problems:
        raise ValueError(*problems)
    return row


def _wrong(problems: Sequence[str]) -> set[str]:
    return {each.partition(":")[0] for each in problems}


def _text(given: Mapping[str, Any], name: str, problems: list[str]) -> str:
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        problems.append(f"{name}: must be a text, not {str(value)[:40]}")
        return ""
    text = clean_text(value.strip())
    if len(text) > _LONGEST.get(name, 40):
        problems.append(f"{name}: has {len(text)} characters; {_LONGEST.get(name, 40)} at most")
    return text


def _price(given: Mapping[str, Any], currency: str, problems: list[str]) -> str:
    """As decimal digits."""
    if currency not in DIGITS:
        problems.append(
            f"currency: must be one of ISO 4217 such as USD, not {currency[:20]!r}"
            if currency
            else "currency: is missing; name it here, or --currency USD for the whole file"
        )
        return ""
    value = given.get("price")
    if value is None or value == "" or isinstance(value, bool):
        problems.append("price: is missing; write 0 for what is free")
        return ""
    try:
        return str(read_price(_digits(value), currency))
    except ValueError as error:
        problems.append(f"price: {error}")
        return ""


def _digits(value: object) -> str:
    """As written; 1e3 of a JSON file as 1000, where that is no page of digits."""
    return f"{value:f}" if isinstance(value, Decimal) and abs(value.adjusted()) < 20 else str(value)


def _id(market: str, name: str, problems: list[str]) -> str:
    """`us-creme-brulee` for Crème brûlée."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if name and not slug:
        problems.append("id: is missing, and none can be made of this name; write one, such as us-1")
    return f"{market.lower()}-{slug}"[: _LONGEST["id"]]


def _tags(value: Any, problems: list[str]) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        problems.append("tags: must be a list of words")
        return []
    return [clean_text(each) for each in value]


def _pairings(value: Any, item_id: str, problems: list[str]) -> list[Row] | None:
    """None where nothing is said of them."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, Mapping) and _is_pairing(each) for each in value):
        problems.append(
            "pairings: each must name the id of an item and, behind a colon, a sentence of at most "
            f"{_LONGEST['description']} characters to offer it with; in JSON objects with id and upsell"
        )
        return []
    found = [{"id": clean_text(each["id"].strip()), "upsell": clean_text(each["upsell"].strip())} for each in value]
    if len({each["id"] for each in found}) < len(found):
        problems.append("pairings: an item is named twice")
    if any(each["id"] == item_id for each in found):
        problems.append("pairings: it names the item itself")
    return found


def _is_pairing(given: Mapping[str, Any]) -> bool:
    texts = (given.get("id"), given.get("upsell"))
    return given.keys() == {"id", "upsell"} and all(
        isinstance(text, str) and 0 < len(text.strip()) <= _LONGEST["description"] for text in texts
    )


def _available(value: Any, problems: list[str]) -> bool:
    word = "" if value is None else str(value).strip().lower()
    if word not in _YES | _NO:
        problems.append(f"available: must be yes or no, not {word[:20]!r}")
    return word not in _NO
