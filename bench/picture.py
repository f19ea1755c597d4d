"""The figures as a picture: one panel a figure, calls at once to the right, a line for each contender. Plain SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, COLUMNS = 300, 190, 3
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 40, 30
# Told apart in light and in dark, and by whoever does not see red or green.
COLOURS = ("#2f7fd1", "#d9822b", "#8a63d2", "#2a9d8f")

_STYLE = """
text { font: 11px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 12px }
.faint { fill: #6a737d }
.axis { stroke: #8b949e; stroke-width: 1 }
.grid { stroke: #8b949e; stroke-opacity: .25 }
.goal { stroke: #6a737d; stroke-dasharray: 4 3 }
.ground { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .faint { fill: #9da7b1 } .ground { fill: #0d1117 } }
"""


@dataclass(frozen=True)
class Panel:
    """title: with its unit. lines: contender to (calls, value) points. goal: a line not to be crossed, if any."""

    title: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    goal: float | None = None


def draw(panels: Sequence[Panel], heading: str, footing: str) -> str:
    """The whole picture. The same contender has the same colour in every panel."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * WIDTH, rows * HEIGHT + 78
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(heading)}</title><style>{_STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
        f'<text class="title" x="12" y="20">{escape(heading)}</text>',
        *_legend(colours),
        *(
            f'<g transform="translate({number % COLUMNS * WIDTH},{48 + number // COLUMNS * HEIGHT})">'
            f"{_panel(panel, colours)}</g>"
            for number, panel in enumerate(panels)
        ),
        f'<text class="faint" x="12" y="{height - 10}">{escape(footing)}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(colours: Mapping[str, str]) -> list[str]:
    parts, x = [], 12
    for name, colour in colours.items():
        parts.append(
            f'<circle cx="{x + 4}" cy="38" r="4" fill="{colour}"/><text x="{x + 13}" y="42">{escape(name)}</text>'
        )
        x += 30 + 7 * len(name)
    return parts


def _panel(panel: Panel, colours: Mapping[str, str]) -> str:
    points = [point for line in panel.lines.values() for point in line if math.isfinite(point[1])]
    goal = [] if panel.goal is None else [panel.goal]
    top = ceiling(max([y for _, y in points] + goal, default=1.0))
    most = max((x for x, _ in points), default=1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / most
        return round(across, 1), round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top, 1)

    parts = [f'<text class="title" x="{LEFT}" y="24">{escape(panel.title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = at(0, top * share)[1]
        parts.append(
            f'<line class="{"grid" if share else "axis"}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        )
        parts.append(f'<text class="faint" x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{top * share:g}</text>')
    parts += [
        f'<text class="faint" x="{at(x, 0)[0]}" y="{HEIGHT - 14}" text-anchor="middle">{x:g}</text>'
        for x in sorted({x for x, _ in points})
    ]
    parts += [
        f'<line class="goal" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        for y in (at(0, value)[1] for value in goal)
    ]
    for name, line in panel.lines.items():
        there = [at(x, y) for x, y in line if math.isfinite(y)]
        path = " ".join(f"{x},{y}" for x, y in there)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colours[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colours[name]}"/>' for x, y in there]
    return "".join(parts)


def ceiling(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 ... that is not below the value."""
    if value <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= value)
