"""The API for people to read: one page, of the same table as the OpenAPI document. No script, nothing from afar."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import BaseModel

from voice_gateway.web.doors import Door
from voice_gateway.web.problem import KINDS

_STYLE: Final = """
:root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d8dee4;--mark:#0a5bb5}
@media (prefers-color-scheme:dark){:root{--back:#0f1317;--card:#171c22;--ink:#e7ebf0;--soft:#9aa5b1;--line:#2b333c;
--mark:#79b8ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:900px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0 0 6px}
h2{font-size:17px;margin:0;display:flex;flex-wrap:wrap;gap:4px 10px;align-items:baseline}
h3{font-size:13px;margin:18px 0 6px;color:var(--soft);font-weight:600}
p{margin:6px 0;max-width:72ch}a{color:var(--mark)}nav ul{list-style:none;margin:16px 0 0;padding:0;columns:2 300px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:18px 20px;margin-top:18px}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
pre{background:var(--back);border:1px solid var(--line);border-radius:6px;padding:10px 12px;margin:6px 0;
white-space:pre-wrap}
h2 span{color:var(--mark);font:600 13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
dl{margin:0;display:grid;grid-template-columns:minmax(150px,max-content) 1fr;gap:0}
dt,dd{margin:0;padding:6px 0;border-top:1px solid var(--line);min-width:0}dt{padding-right:18px}
dt small,dd small{color:var(--soft)}dt small{display:block}
@media (max-width:640px){main{padding:20px 12px 40px}section{padding:14px}dl{grid-template-columns:1fr}
dd{border-top:0;padding-top:0}}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"
"""The page's Content-Security-Policy: its own style, and nothing else."""

_ABOUT: Final = """\
Every request carries a key of <code>AI_API_KEYS</code>, as <code>Authorization: Bearer …</code> or \
<code>X-API-Key: …</code>, except where none is needed. Each client may ask as often as <code>AI_RATE_LIMIT</code> \
says; <code>RateLimit-Remaining</code> tells what is left. Every error is a problem (RFC 9457): a status, a \
<code>code</code> for programs, and a <code>detail</code> that says what to do. For programs: \
<a href="openapi.json">openapi.json</a>."""


def page(doors: Sequence[Door], version: str) -> str:
    links = "".join(
        f'<li><a href="#{door.name}"><code>{door.method} {_clean(door.path)}</code></a></li>' for door in doors
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>The API of voice_gateway</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>The API of voice_gateway {_clean(version)}</h1><p>{_ABOUT}</p>"
        f'<nav aria-label="Doors"><ul>{links}</ul></nav>{"".join(map(_section, doors))}</main></body></html>\n'
    )


def _section(door: Door) -> str:
    return (
        f'<section id="{door.name}"><h2><span>{door.method}</span> <code>{_clean(door.path)}</code></h2>'
        f"<p>{_prose(door.advice or door.summary)}</p>"
        f"{'<p>No key is needed.</p>' if door.open else ''}"
        f"{''.join(_shape('Takes', shape) for shape in door.takes)}"
        f"{''.join(_example(door, name, body) for name, body in door.examples.items())}"
        f"{''.join(_shape('Answers', shape) for shape in door.answers)}{_problems(door)}</section>"
    )


def _shape(title: str, shape: type[BaseModel]) -> str:
    schema = shape.model_json_schema()
    fields = "".join(_field(title, name, each, schema) for name, each in schema["properties"].items())
    return f"<h3>{title}: {_prose((shape.__doc__ or '').strip())}</h3><dl>{fields}</dl>"


def _field(title: str, name: str, field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    taken = title == "Takes"
    needed = ", needed" if taken and name in schema.get("required", ()) else ""
    default = (
        f" Default: <code>{_clean(_json(field['default']))}</code>."
        if taken and field.get("default") is not None
        else ""
    )
    told = f"{_prose(str(field.get('description') or ''))}{default}"
    return f"<dt><code>{_clean(name)}</code> <small>{_clean(_kind(field))}{needed}</small></dt><dd>{told}</dd>"


def _kind(field: Mapping[str, Any]) -> str:
    """The type of a field in a few words."""
    if "const" in field:
        return _json(field["const"])
    if "enum" in field:
        return " or ".join(map(_json, field["enum"]))
    if "anyOf" in field:
        return " or ".join(_kind(each) for each in field["anyOf"])
    if "$ref" in field:
        return "object"
    if field.get("type") == "array":
        return f"list of {_kind(field['items'])}s"
    return str(field.get("type", "anything"))


def _example(door: Door, name: str, body: Mapping[str, Any]) -> str:
    shown = f"curl -s $GATEWAY{door.path} -H \"X-API-Key: $KEY\" -H 'Content-Type: application/json' -d '{_json(body)}'"
    return f"<h3>For example, {_clean(name.replace('_', ' '))}</h3><pre>{_clean(shown)}</pre>"


def _problems(door: Door) -> str:
    if not door.problems:
        return ""
    told = "".join(
        f"<dt><code>{code}</code> <small>{KINDS[code][0]}</small></dt><dd>{KINDS[code][1]}</dd>"
        for code in door.problems
    )
    return f"<h3>What may go wrong, besides a body that is not as it should be</h3><dl>{told}</dl>"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _clean(text: str) -> str:
    return html.escape(text)


def _prose(text: str) -> str:
    """A text with `names` in it."""
    return "".join(_spans(text))


def _spans(text: str) -> Iterator[str]:
    for number, part in enumerate(re.split(r"`", text)):
        yield f"<code>{_clean(part)}</code>" if number % 2 else _clean(part)
