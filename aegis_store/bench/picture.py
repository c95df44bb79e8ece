"""The figures as a picture: SVG of our own making, a bar for each ratio to a peer.

A bar says how many times better we are than the peer, on a logarithmic scale, so that twice as good and twice as bad are as
long: to the right of the line at 1 we are better, to the left the peer is. The thin line on a bar goes from the least to the
most of the rounds. Nothing is loaded from anywhere; colours follow the reader's light or dark theme where it is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from aegis_store.bench.measure import Figure
from aegis_store.bench.results import Result
from aegis_store.bench.table import number, spread

WIDTH: Final = 960
LEFT, RIGHT = 420, 110
ROW, BAR, TOP, FOOT = 44, 16, 76, 54
HEADING: Final = 38
TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
#: The scale reaches at least so far to both sides.
REACH_MIN: Final = 2.0

STYLE: Final = """
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; font-size: 14px; fill: #1f2328; }
  .title { font-size: 20px; font-weight: 600; } .head { font-size: 15px; font-weight: 600; }
  .faint { fill: #59636e; font-size: 12px; } .page { fill: #ffffff; }
  .grid { stroke: #d1d9e0; } .one { stroke: #59636e; stroke-width: 1.5; }
  .good { fill: #1a7f5a; } .bad { fill: #b35900; } .range { stroke: #1f2328; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .faint { fill: #9198a1; } .page { fill: #0d1117; }
    .grid { stroke: #3d444d; } .one { stroke: #9198a1; }
    .good { fill: #2f9d6e; } .bad { fill: #d0762a; } .range { stroke: #e6edf3; }
  }
"""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """How many times better than the peer: median, least and most of the rounds."""

    label: str
    peer: str
    median: float
    least: float
    most: float
    told: str


def bars(result: Result) -> list[Bar]:
    """The bars of a workload: of every figure that is a ratio."""
    return [bar(each) for each in result.outcome.figures if each.comparison == "ratio" and each.compared.min > 0]


def bar(figure: Figure) -> Bar:
    """A ratio as times better: of times and bytes, less is better."""
    ratio = figure.compared
    median, least, most = ratio.median, ratio.min, ratio.max
    if figure.better == "less":
        median, least, most = 1 / median, 1 / most, 1 / least
    return Bar(
        label=figure.title,
        peer=f"{figure.ours} against {figure.peer}",
        median=median,
        least=least,
        most=most,
        told=f"{figure.title}: {figure.ours} {spread(figure.ours_value)} {figure.unit}, {figure.peer}"
        + ("" if figure.peer_value is None else f" {spread(figure.peer_value)} {figure.unit}"),
    )


def draw(results: Sequence[Result]) -> str:
    """The picture of all of them, a group a workload."""
    groups = [(result, bars(result)) for result in results]
    groups = [(result, found) for result, found in groups if found]
    scale = _Scale([each for _, found in groups for each in found])
    height = TOP + sum(HEADING + ROW * len(found) for _, found in groups) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img"'
        ' aria-labelledby="title">',
        '<title id="title">aegis bench: times better than each peer</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        _text(24, 34, "aegis bench", "title"),
        _text(24, 56, "times better than the peer, on the same work in the same run; left of 1 the peer is better", "faint"),
    ]
    y = TOP
    for result, found in groups:
        parts.append(_text(24, y + 24, f"{result.name}: {result.promise}", "head"))
        y += HEADING
        parts += _grid(scale, y, y + ROW * len(found))
        for each in found:
            parts += _row(each, scale, y)
            y += ROW
    parts += [_text(scale.x(each), y + 16, f"{each:g}×", "faint", "middle") for each in scale.ticks()]
    parts += [*_foot(results, height), "</svg>"]
    return "\n".join(parts) + "\n"


class _Scale:
    """Logarithmic, and far enough for every bar and its range."""

    def __init__(self, found: Sequence[Bar]) -> None:
        self.low: Final = min([1 / REACH_MIN, *(each.least for each in found)]) / 1.1
        self.high: Final = max([REACH_MIN, *(each.most for each in found)]) * 1.1

    def x(self, value: float) -> float:
        """Where a ratio stands."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def ticks(self) -> list[float]:
        """Those in sight, and not so many that they touch."""
        seen = [each for each in TICKS if self.low <= each <= self.high]
        if len(seen) > 9:
            seen = [each for each in seen if round(math.log10(each), 6).is_integer()]
        return seen


def _grid(scale: _Scale, top: int, bottom: int) -> list[str]:
    return [
        f'<line class="{"one" if tick == 1 else "grid"}" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/>'
        for tick, x in ((tick, scale.x(tick)) for tick in scale.ticks())
    ]


def _row(each: Bar, scale: _Scale, y: int) -> list[str]:
    one, end = scale.x(1), scale.x(each.median)
    middle = y + ROW // 2
    kind = "good" if each.median >= 1 else "bad"
    low, high = scale.x(each.least), scale.x(each.most)
    return [
        f"<g><title>{escape(each.told)}</title>",
        _text(LEFT - 14, middle - 3, each.label, "", "end"),
        _text(LEFT - 14, middle + 13, each.peer, "faint", "end"),
        f'<rect class="{kind}" x="{min(one, end)}" y="{middle - BAR // 2}" width="{max(1.5, round(abs(end - one), 1))}"'
        f' height="{BAR}" rx="2"/>',
        f'<line class="range" x1="{low}" y1="{middle}" x2="{high}" y2="{middle}"/>',
        _text(WIDTH - RIGHT + 16, middle + 5, f"{number(each.median)}×", ""),
        "</g>",
    ]


def _foot(results: Sequence[Result], height: int) -> list[str]:
    if not results:
        return []
    facts = results[0].facts
    quick = "quick run, figures mean little; " if any(each.quick for each in results) else ""
    where = f"{quick}{facts.cores} cores, {facts.cpu}, {facts.file_system.partition(' ')[0]}, {facts.system}, {facts.at[:10]}"
    return [_text(24, height - 12, where, "faint")]


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
