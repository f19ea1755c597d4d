"""A call as a page: its picture, its sound, its figures and its words in one HTML file that needs nothing else."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
import pybase64

from voice_gateway.audio import g711
from voice_gateway.trace.picture import HEIGHT, LANES, clean, clock, default_scale, draw
from voice_gateway.trace.placing import RATE_HZ
from voice_gateway.trace.story import Answer, Moment, Span, Story, Turn

_STYLE: Final = """
:root{color-scheme:light dark;--page:#f2f4f7;--card:#fff;--ink:#1b2230;--soft:#667085;--line:#e4e7ec;--caller:#2563eb;
--voice:#0d8f6f;--ghost:#98a2b3;--cut:#d9480f;--model:#7c5cd6;--tool:#b7791f;--bad:#d92d20}
@media (prefers-color-scheme:dark){:root{--page:#0b0e14;--card:#12161f;--ink:#e6e9ef;--soft:#98a2b3;--line:#2a3140;
--caller:#6ea8fe;--voice:#4cc9a4;--ghost:#5d6779;--cut:#ff8a4c;--model:#a78bfa;--tool:#e3b341;--bad:#ff6b5e}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);line-height:1.5;font-size:15px;
font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1440px;margin:0 auto;padding:28px 24px 48px}
h1{font-size:24px;letter-spacing:-.01em;margin:0;line-height:1.25}h2{font-size:16px;margin:32px 0 10px}
.facts{color:var(--soft);margin:4px 0 18px;overflow-wrap:anywhere}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:10px;margin:0 0 18px}
.figures div,.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
.figures div{padding:10px 14px}.figures dt{color:var(--soft);font-size:12.5px}
.figures dd{margin:0;font-size:21px;font-weight:600;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.figures .bad{color:var(--bad)}.card{overflow:hidden}
.frame{display:flex;overflow-x:auto;overscroll-behavior-x:contain;position:relative}
.frame:focus-visible{outline:2px solid var(--caller);outline-offset:-2px}
.lanes{position:sticky;left:0;z-index:2;flex:none;width:96px;margin:0;padding:0;list-style:none;background:var(--card);
border-right:1px solid var(--line)}
.lanes li{position:absolute;left:14px;transform:translateY(-50%);color:var(--soft);font-size:12px}
.stage{position:relative;flex:none;padding-right:24px}.stage svg{display:block}.plays{cursor:pointer}
.head{position:absolute;top:0;bottom:0;left:0;width:2px;background:var(--bad);pointer-events:none;display:none}
.below{border-top:1px solid var(--line);padding:12px 14px;display:flex;flex-wrap:wrap;gap:10px 18px;align-items:center}
.below audio{height:36px;flex:1 1 260px;min-width:0;max-width:440px}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0;padding:0;list-style:none;color:var(--soft);font-size:12.5px}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1.5px}
.words{margin:0;padding:0;list-style:none}
.words li{display:grid;grid-template-columns:58px 84px 1fr;gap:0 12px;padding:9px 14px;border-top:1px solid var(--line)}
.words li:first-child{border-top:0}.words time{color:var(--soft);font-variant-numeric:tabular-nums}
.words b{font-weight:600}.words .caller b{color:var(--caller)}.words .assistant b{color:var(--voice)}
.words .tool b{color:var(--tool)}.words .cut b{color:var(--cut)}.words .fault b{color:var(--bad)}
.words del{color:var(--soft)}.words small{color:var(--soft);display:block;overflow-wrap:anywhere}
.words p{margin:0;min-width:0;overflow-wrap:anywhere}
details{margin-top:24px;color:var(--soft)}summary{cursor:pointer}pre{white-space:pre-wrap;overflow-wrap:anywhere}
@media (max-width:640px){main{padding:18px 12px 32px}h1{font-size:20px}
.figures{grid-template-columns:repeat(auto-fit,minmax(102px,1fr));gap:8px}
.figures div{padding:8px 11px}.figures dt{font-size:12px}.figures dd{font-size:18px}
.lanes{width:74px}.lanes li{left:9px;font-size:11px}.words li{grid-template-columns:52px 1fr;gap:0 8px}
.words p{grid-column:2}}
"""

_PLAYING: Final = """
const sound=document.querySelector("audio"),head=document.querySelector(".head"),stage=document.querySelector(".stage"),
frame=document.querySelector(".frame"),scale=Number(stage.dataset.scale);
const show=()=>{const x=sound.currentTime*scale;head.style.display="block";head.style.transform=`translateX(${x}px)`;
if(sound.paused)return;const seen=x-frame.scrollLeft,wide=frame.clientWidth;
if(seen<0||seen>wide*.7)frame.scrollLeft=x-wide*.3;requestAnimationFrame(show)};
sound.addEventListener("play",show);sound.addEventListener("seeked",show);
stage.addEventListener("click",click=>{sound.currentTime=(click.clientX-stage.getBoundingClientRect().left)/scale});
"""

_LEGEND: Final = (
    ("caller", "caller"),
    ("voice", "assistant, as it was heard"),
    ("ghost", "made, and never heard"),
    ("cut", "our voice was cut"),
    ("model", "the model at work; dot: its first sound"),
    ("tool", "tools"),
    ("soft", "notes of the record"),
    ("bad", "faults"),
)


def page(story: Story, scale: float | None = None, *, sound: bool = True) -> str:
    """The whole page. sound: with the call to listen to, which takes some 20 kB a second."""
    per_second = scale or default_scale(story.length_s)
    title = f"A call of {clock(story.length_s)}" if story.length_s >= 60 else f"A call of {story.length_s:.0f} seconds"
    lanes = "".join(f'<li style="top:{y}px">{name}</li>' for y, name in LANES)
    legend = "".join(f'<li><i style="background:var(--{kind})"></i>{text}</li>' for kind, text in _LEGEND)
    player = f'<audio controls preload="metadata" src="{_sound(story)}"></audio>' if sound else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{clean(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>{clean(title)}</h1><p class="facts">{clean(_facts(story))}</p>'
        f'<dl class="figures">{"".join(_figures(story))}</dl>'
        f'<section class="card" aria-label="Timeline"><div class="frame" tabindex="0" role="region" '
        'aria-label="Timeline; scrolls sideways">'
        f'<ul class="lanes" style="height:{HEIGHT}px" aria-hidden="true">{lanes}</ul>'
        f'<div class="stage{" plays" if sound else ""}" data-scale="{per_second:g}">'
        f"{draw(story, per_second, labelled=False)}"
        '<div class="head"></div></div></div>'
        f'<div class="below">{player}<ul class="legend">{legend}</ul></div></section>'
        f'<h2>What was said</h2><ol class="words card">{"".join(_words(story))}</ol>'
        f"<details><summary>How the call was led</summary><pre>{clean(_policy(story))}</pre></details>"
        f"</main>{f'<script>{_PLAYING}</script>' if sound else ''}</body></html>\n"
    )


def _facts(story: Story) -> str:
    facts = story.heading.facts
    numbers = " to ".join(number for number in (facts.from_number, facts.to_number) if number)
    ended = f"ended by {story.ended.reason}, {story.ended.status}" if story.ended else "not seen to its end"
    parts = (
        story.heading.started[:19].replace("T", " ") + " UTC" if story.heading.started else "",
        numbers,
        facts.direction,
        facts.persona and f"persona {facts.persona}",
        ended,
        story.stopped,
        facts.call_sid,
    )
    return " · ".join(part for part in parts if part)


def _figures(story: Story) -> Iterator[str]:
    waits = [answer.waited_s for answer in story.answers]
    unheard_s = sum(turn.unheard_s for turn in story.turns)
    rows = (
        ("First sound", _seconds(story.first_heard_s), False),
        ("Answers", str(len(waits)), False),
        ("Median wait", _seconds(story.median_wait_s), False),
        ("Longest wait", _seconds(max(waits, default=None)), False),
        ("Cut in", str(sum(cut.name == "cut in" for cut in story.cuts)), False),
        ("Not heard", f"{unheard_s:.1f} s", False),
        ("Tools", str(len(story.tools)), not all(tool.good for tool in story.tools)),
        ("Faults", str(len(story.faults)), bool(story.faults)),
    )
    for name, value, bad in rows:
        yield f"<div><dt>{name}</dt><dd{' class=bad' if bad else ''}>{value}</dd></div>"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _words(story: Story) -> Iterator[str]:
    told = [
        *((turn.from_s, _turn(turn, story)) for turn in story.turns),
        *((tool.from_s, _tool(tool)) for tool in story.tools),
        *((cut.at_s, _line(cut.at_s, "cut", cut.name.capitalize(), clean(cut.detail))) for cut in story.cuts),
        *((key.at_s, _line(key.at_s, "caller", "Key", clean(key.name))) for key in story.keys),
        *((fault.at_s, _said("fault", "Fault", fault)) for fault in story.faults),
        *((remark.at_s, _said("remark", "Note", remark)) for remark in story.remarks),
    ]
    for _, line in sorted(told):
        yield line


def _turn(turn: Turn, story: Story) -> str:
    words = clean(turn.text) or ("" if turn.unheard else "<small>(no text)</small>")
    lost = f" <del>{clean(turn.unheard)}</del>" if turn.unheard else ""
    wait = next((one for one in story.answers if abs(one.heard_s - turn.from_s) < 0.05), None)
    notes = [
        *([_waited(wait)] if wait and turn.who == "assistant" else []),
        *([f"{turn.unheard_s:.1f} s were not heard"] if turn.unheard_s else []),
    ]
    small = f"<small>{'; '.join(notes)}</small>" if notes else ""
    return _line(turn.from_s, turn.who, turn.who.capitalize(), f"{words}{lost}{small}")


def _waited(wait: Answer) -> str:
    model_s = wait.delta_s - wait.stopped_s
    last = "the caller's last sound at the gateway"
    return f"{wait.waited_s:.2f} s after {last}, {model_s:.2f} s of it until the model's first"


def _tool(tool: Span) -> str:
    took = f"{(tool.to_s - tool.from_s) * 1000:,.0f} ms{'' if tool.good else ', failed'}"
    asked, _, answered = tool.detail.partition("\n{")
    shown = f"{' '.join(asked.split())} → {{{answered}" if answered else " ".join(tool.detail.split())
    cut = shown if len(shown) <= 300 else f"{shown[:300]}…"
    return _line(tool.from_s, "tool", "Tool", f"{clean(tool.name)}, {took}<small>{clean(cut)}</small>")


def _said(kind: str, who: str, moment: Moment) -> str:
    return _line(moment.at_s, kind, who, f"{clean(moment.name)}<small>{clean(moment.detail)}</small>")


def _line(at_s: float, kind: str, who: str, content: str) -> str:
    time = f'<time datetime="PT{max(0.0, at_s):.2f}S">{clock(max(0.0, at_s), 1)}</time>'
    return f'<li class="{kind}">{time}<b>{who}</b><p>{content}</p></li>'


def _policy(story: Story) -> str:
    policy = story.heading.policy
    shown = ((name, getattr(policy, name)) for name in policy.__dataclass_fields__)
    return "\n".join(f"{name} = {value!r}" for name, value in shown)


def _sound(story: Story) -> str:
    """The call as a WAV: left the caller, right what he heard of us; µ-law, as on the line."""
    both = np.stack([np.frombuffer(g711.encode(side), np.uint8) for side in (story.caller, story.voice)], axis=1)
    data = both.tobytes()
    shape = struct.pack("<HHIIHHH", 7, 2, RATE_HZ, 2 * RATE_HZ, 2, 8, 0)
    body = b"WAVEfmt " + struct.pack("<I", len(shape)) + shape
    body += b"fact" + struct.pack("<II", 4, len(data) // 2) + b"data" + struct.pack("<I", len(data)) + data
    wav = b"RIFF" + struct.pack("<I", len(body)) + body
    return f"data:audio/wav;base64,{pybase64.b64encode(wav).decode('ascii')}"
