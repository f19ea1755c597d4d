"""A call as a picture: both voices on one clock, what was heard and what was not, and who waited for whom. SVG.

Lanes from top to bottom: the clock, the caller's words and voice, the waits, our voice and words, and what the machine
did: responses, tools, receipts, and notes of keys, faults and whatever else is on the record. A second is `scale` units
wide; colours are those of `STYLE`, for light and for dark. Every mark of the picture says what it is when one points at
it (`<title>`).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from voice_gateway.trace.placing import RATE_HZ, Samples
from voice_gateway.trace.story import Answer, Moment, Span, Story, Turn

AXIS: Final = 26
CALLER_WORDS: Final = 34
CALLER: Final = 90
WAITS: Final = 166
VOICE: Final = 196
VOICE_WORDS: Final = 272
WORK: Final = 338
RECEIPTS: Final = 386
NOTICES: Final = 404
HEIGHT: Final = 436
"""Where the lanes begin, from the top."""

WAVE: Final = 72
ROW: Final = 18
LANES: Final = (
    (CALLER + WAVE // 2, "Caller"),
    (WAITS + 15, "Waits"),
    (VOICE + WAVE // 2, "Assistant"),
    (WORK + 12, "Model"),
    (WORK + 12 + ROW + 4, "Tools"),
    (RECEIPTS + 8, "Receipts"),
    (NOTICES + 12, "Notes"),
)

_LINE: Final = 15
_LETTER: Final = 6.2
_NOT_XML: Final = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

STYLE: Final = """
.film{--paper:#fff;--ink:#1b2230;--soft:#667085;--line:#e4e7ec;--stripe:#f7f8fa;--caller:#2563eb;--voice:#0d8f6f;
--ghost:#98a2b3;--cut:#d9480f;--wait:#667085;--model:#7c5cd6;--tool:#b7791f;--bad:#d92d20;
font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media (prefers-color-scheme:dark){.film{--paper:#12161f;--ink:#e6e9ef;--soft:#98a2b3;--line:#2a3140;--stripe:#171c27;
--caller:#6ea8fe;--voice:#4cc9a4;--ghost:#5d6779;--cut:#ff8a4c;--wait:#98a2b3;--model:#a78bfa;--tool:#e3b341;
--bad:#ff6b5e}}
.film .paper{fill:var(--paper)}.film .stripe{fill:var(--stripe)}.film text{font-size:11.5px;fill:var(--ink)}
.film .soft{fill:var(--soft);font-size:10.5px}.film .grid{stroke:var(--line);stroke-width:1}
.film .base{stroke:var(--line)}.film .caller{fill:var(--caller)}.film .voice{fill:var(--voice)}
.film .ghost{fill:var(--ghost);opacity:.55}.film .lost{fill:var(--soft);text-decoration:line-through}
.film .veil{fill:var(--ghost);opacity:.1}.film .speech{fill:var(--caller);opacity:.09}
.film .spoke{fill:var(--voice);opacity:.09}.film .cut{stroke:var(--cut);stroke-width:1.6}
.film .cutname{fill:var(--cut);font-weight:600;font-size:10.5px}
.film .wait{stroke:var(--wait);stroke-width:1.4;fill:none}.film .delta{fill:var(--model)}
.film .waited{font-weight:600;font-size:10.5px}.film .model{fill:var(--model);opacity:.8}
.film .tool{fill:var(--tool);opacity:.85}.film .bad{fill:var(--bad)}.film .spoilt{opacity:.35}
.film .receipt{fill:var(--voice);opacity:.75}.film .cleared{fill:var(--paper);stroke:var(--ghost)}
.film .remark{fill:var(--soft)}.film .hold{stroke-dasharray:3 3}
.film .key{fill:var(--paper);stroke:var(--caller);stroke-width:1.3}.film .keyname{font-weight:600;text-anchor:middle}
"""


def clean(text: str) -> str:
    """Text for XML and HTML: escaped, and without what neither may hold."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def default_scale(length_s: float) -> float:
    """So many units a second that words find room, a short call fills a screen, and an hour still opens."""
    if length_s <= 20:
        return min(160.0, 1120.0 / max(length_s, 1.0))
    return 56.0 if length_s <= 180 else 32.0 if length_s <= 900 else 14.0


@dataclass(frozen=True, slots=True)
class Size:
    """scale: units a second."""

    scale: float
    width: float

    def x(self, at_s: float) -> float:
        return round(min(max(0.0, at_s * self.scale), self.width), 1)


def draw(story: Story, scale: float | None = None, *, labelled: bool = True) -> str:
    """The picture, an `<svg>` element. labelled: with the names of the lanes at its left."""
    per_second = scale or default_scale(story.length_s)
    size = Size(per_second, max(360.0, round(story.length_s * per_second, 1)))
    left = 92 if labelled else 0
    parts = [
        *_ground(story, size),
        *_axis(story, size),
        *_voices(story, size),
        *_words(story, size),
        *(part for answer in story.answers for part in _wait(answer, size)),
        *(part for cut in story.cuts for part in _cut(cut, size)),
        *_work(story, size),
        *_receipts(story, size),
        *_notices(story, size),
    ]
    about = clean(f"Timeline of a call of {story.length_s:.0f} seconds; the same is told as text in the trace.")
    names = "".join(f'<text class="soft" x="{-left + 10}" y="{y + 4}">{name}</text>' for y, name in LANES)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="film" role="img" aria-label="{about}" '
        f'viewBox="{-left} 0 {size.width + left:g} {HEIGHT}" width="{size.width + left:g}" height="{HEIGHT}">'
        f"<title>{about}</title><style>{STYLE}</style>"
        f'<rect class="paper" x="{-left}" width="{size.width + left:g}" height="{HEIGHT}"/>'
        f"{names if labelled else ''}{''.join(parts)}</svg>\n"
    )


# --- ground and clock -------------------------------------------------------------------------------------------


def _ground(story: Story, size: Size) -> Iterator[str]:
    for y in (CALLER, VOICE):
        yield f'<rect class="stripe" x="0" y="{y}" width="{size.width:g}" height="{WAVE}"/>'
    for turn in story.turns:
        y, kind = (CALLER, "speech") if turn.who == "caller" else (VOICE, "spoke")
        yield _box(kind, size.x(turn.from_s), y, size.x(turn.to_s), WAVE, _turn_told(turn))
        if turn.unheard_s:
            end_s = min(turn.to_s + turn.unheard_s, _next_voice(story, turn.to_s))
            yield _box("veil", size.x(turn.to_s), y, size.x(end_s), WAVE, _turn_told(turn))


def _next_voice(story: Story, after_s: float) -> float:
    later = (turn.from_s for turn in story.turns if turn.who == "assistant" and turn.from_s > after_s)
    return min(later, default=story.length_s)


def _turn_told(turn: Turn) -> str:
    name = "Caller" if turn.who == "caller" else "Assistant"
    told = f"{name}, {turn.from_s:.2f} to {turn.to_s:.2f} s: {turn.text or '(no text)'}"
    return f"{told}\nNot heard, {turn.unheard_s:.2f} s: {turn.unheard}" if turn.unheard_s else told


def _axis(story: Story, size: Size) -> Iterator[str]:
    step = next(step for step in (1, 2, 5, 10, 30, 60, 300, 600, 3600) if step * size.scale >= 48 or step == 3600)
    for second in range(0, int(story.length_s) + 1, step):
        x = size.x(second)
        yield f'<path class="grid" d="M{x:g} {AXIS - 4}V{HEIGHT}"/>'
        yield f'<text class="soft" x="{x + 4:g}" y="{AXIS - 8}">{clock(second)}</text>'


def clock(seconds: float, digits: int = 0) -> str:
    """`1:05`, as on a watch. digits: of a second's fraction."""
    tens = int(seconds * 10**digits)
    minutes, rest = divmod(tens, 60 * 10**digits)
    return f"{minutes}:{rest / 10**digits:0{3 + digits if digits else 2}.{digits}f}"


# --- sounds and words -------------------------------------------------------------------------------------------


def _voices(story: Story, size: Size) -> Iterator[str]:
    for kind, y, sound in (
        ("caller", CALLER, story.caller),
        ("ghost", VOICE, story.unheard),
        ("voice", VOICE, story.voice),
    ):
        middle = y + WAVE / 2
        if kind != "ghost":
            yield f'<path class="base" d="M0 {middle:g}H{size.width:g}"/>'
        for start, heights in _stretches(_heights(sound, size.scale)):
            yield f'<path class="{kind}" d="{_outline(start, heights, middle)}"/>'


def _heights(sound: Samples, scale: float) -> list[int]:
    """How loud it was at each unit of width, as half a height; quiet sounds are raised so that they are seen."""
    count = int(len(sound) / RATE_HZ * scale)
    if not count:
        return []
    starts = (np.arange(count) * RATE_HZ / scale).astype(np.intp)
    peaks = np.maximum.reduceat(np.abs(sound.astype(np.int32)), starts)
    heights: list[int] = (
        np.rint((peaks / 32768.0) ** 0.6 * (WAVE / 2 - 2) * 1.25).clip(0, WAVE / 2 - 2).astype(int).tolist()
    )
    return heights


def _stretches(heights: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Where there is something to be seen."""
    edges = [0, *(at for at, (a, b) in enumerate(pairwise(heights), 1) if (a > 0) != (b > 0)), len(heights)]
    for start, end in pairwise(edges):
        if heights[start:end] and heights[start]:
            yield start, heights[start:end]


def _outline(start: int, heights: list[int], middle: float) -> str:
    over = "".join(f"L{start + at} {middle - height:g}" for at, height in enumerate(heights))
    under = "".join(f"L{start + at} {middle + height:g}" for at, height in reversed(list(enumerate(heights))))
    return f"M{start} {middle:g}{over}L{start + len(heights)} {middle:g}{under}Z"


def _words(story: Story, size: Size) -> Iterator[str]:
    for who, y, rows in (("caller", CALLER_WORDS, 3), ("assistant", VOICE_WORDS, 4)):
        turns = [turn for turn in story.turns if turn.who == who]
        for turn, following in zip(turns, [*turns[1:], None], strict=False):
            x = size.x(turn.from_s)
            end = size.width if following is None else size.x(following.from_s)
            words = [*((word, "") for word in turn.text.split()), *((word, "lost") for word in turn.unheard.split())]
            lines = _wrapped(words, max(60.0, min(end - x - 10, 380.0)), rows)
            top = y + (rows - len(lines)) * _LINE if who == "caller" else y
            told = clean(_turn_told(turn))
            for row, line in enumerate(lines):
                at = f'x="{x:g}" y="{top + (row + 1) * _LINE - 3:g}"'
                yield f"<text {at}>{''.join(_piece(*piece) for piece in line)}<title>{told}</title></text>"


def _piece(text: str, kind: str) -> str:
    return f'<tspan class="{kind}">{clean(text)}</tspan> ' if kind else f"{clean(text)} "


def _wrapped(words: Iterable[tuple[str, str]], width: float, rows: int) -> list[list[tuple[str, str]]]:
    """Words in lines; those of a kind in a line are one piece. The last line ends in dots if there were more."""
    lines: list[list[tuple[str, str]]] = []
    free = 0.0
    for word, kind in words:
        needed = (len(word) + 1) * _LETTER
        if not lines or needed > free:
            if len(lines) == rows:
                text, last = lines[-1][-1]
                lines[-1][-1] = (f"{text} …", last)
                break
            lines.append([])
            free = width
        free -= needed
        if lines[-1] and lines[-1][-1][1] == kind:
            lines[-1][-1] = (f"{lines[-1][-1][0]} {word}", kind)
        else:
            lines[-1].append((word, kind))
    return lines


# --- what happened between --------------------------------------------------------------------------------------


def _wait(answer: Answer, size: Size) -> Iterator[str]:
    """A bracket from the caller's last sound to the first in his ear; a dot where the model's first sound came."""
    x, delta, heard = size.x(answer.stopped_s), size.x(answer.delta_s), size.x(answer.heard_s)
    told = (
        f"Waited {answer.waited_s:.2f} s: {answer.delta_s - answer.stopped_s:.2f} s from the caller's last sound "
        f"to the model's first, {answer.heard_s - answer.delta_s:.2f} s more to the ear"
    )
    y = WAITS + 14
    yield (
        f'<g><title>{clean(told)}</title><path class="wait" d="M{x:g} {CALLER + WAVE}V{y}H{heard:g}V{VOICE}"/>'
        f'<circle class="delta" cx="{delta:g}" cy="{y}" r="3.5"/>'
        f'<text class="waited" x="{x + 5:g}" y="{y - 4}">{answer.waited_s:.2f} s</text></g>'
    )


def _cut(cut: Moment, size: Size) -> Iterator[str]:
    x = size.x(cut.at_s)
    yield (
        f"<g><title>{clean(f'{cut.name} at {cut.at_s:.2f} s {cut.detail}'.strip())}</title>"
        f'<path class="cut{" hold" if cut.name == "held" else ""}" d="M{x:g} {CALLER + WAVE}V{VOICE + WAVE}"/>'
        f'<text class="cutname" x="{x + 5:g}" y="{VOICE + 12}">{clean(cut.name)}</text></g>'
    )


def _box(kind: str, x: float, y: float, to_x: float, height: float, told: str) -> str:
    width = max(1.0, round(to_x - x, 1))
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3">'
        f"<title>{clean(told)}</title></rect>"
    )


# --- what the machine did ---------------------------------------------------------------------------------------


def _work(story: Story, size: Size) -> Iterator[str]:
    for span in story.responses:
        yield _bar("model", span, "Response", WORK + 6, size)
    for span in story.tools:
        yield _bar("tool", span, "Tool", WORK + 6 + ROW + 4, size)
        x = size.x(span.to_s) + 6
        took = f"{span.name} {(span.to_s - span.from_s) * 1000:,.0f} ms"
        yield f'<text class="soft" x="{x:g}" y="{WORK + 6 + ROW + 14}">{clean(took)}</text>'


def _bar(kind: str, span: Span, what: str, y: float, size: Size) -> str:
    told = f"{what} {span.name}, {span.from_s:.2f} s, took {span.to_s - span.from_s:.2f} s\n{span.detail}"
    x = size.x(span.from_s)
    shown = kind if span.good else f"{kind} spoilt" if kind == "model" else "bad"
    return _box(shown, x, y, max(x + 3, size.x(span.to_s)), 12, told)


def _receipts(story: Story, size: Size) -> Iterator[str]:
    for receipt in story.receipts:
        if receipt.back_s is None:
            told = f"Mark {receipt.name}, sent at {receipt.sent_s:.2f} s, never came back"
        else:
            late = f"came back {receipt.back_s - receipt.sent_s:.2f} s after it was sent"
            told = f"Mark {receipt.name} {late}{', after a clear: it says nothing' if receipt.cleared else ''}"
        kind = "cleared" if receipt.cleared or receipt.back_s is None else "receipt"
        x = size.x(receipt.sent_s if receipt.back_s is None else receipt.back_s)
        yield f'<circle class="{kind}" cx="{x:g}" cy="{RECEIPTS + 8}" r="2.6"><title>{clean(told)}</title></circle>'


def _notices(story: Story, size: Size) -> Iterator[str]:
    y = NOTICES + 12
    for key in story.keys:
        x = size.x(key.at_s)
        told = clean(f"Key {key.name} at {key.at_s:.2f} s")
        yield (
            f'<g><title>{told}</title><rect class="key" x="{x - 8:g}" y="{y - 9}" width="16" height="18" rx="4"/>'
            f'<text class="keyname" x="{x:g}" y="{y + 4}">{clean(key.name)}</text></g>'
        )
    for remark in story.remarks:
        x = size.x(remark.at_s)
        told = clean(f"{remark.name} at {remark.at_s:.2f} s\n{remark.detail}".strip())
        yield (
            f'<g><title>{told}</title><path class="remark" d="M{x:g} {y - 6}l6 6l-6 6l-6 -6z"/>'
            f'<text class="soft" x="{x + 10:g}" y="{y + 4}">{clean(remark.name)}</text></g>'
        )
    for fault in story.faults:
        x = size.x(fault.at_s)
        told = clean(f"{fault.name} at {fault.at_s:.2f} s\n{fault.detail}")
        yield (
            f'<g><title>{told}</title><path class="bad" d="M{x:g} {y - 8}l8 14h-16z"/>'
            f'<text class="soft" x="{x + 12:g}" y="{y + 4}">{clean(fault.name)}</text></g>'
        )
