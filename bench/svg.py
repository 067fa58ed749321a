"""Line plots as small SVG files, without any library: logarithmic axes, several series, a legend."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, TOP, BOTTOM = 66, 130, 34, 46
COLOURS = ["#1b6ca8", "#d1495b", "#3a7d44", "#8d6a9f", "#e08e0b", "#555555"]


@dataclass
class Plot:
    title: str
    x_label: str
    y_label: str
    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.render())

    def render(self) -> str:
        points = [point for line in self.series.values() for point in line]
        x_axis = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
        y_axis = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="sans-serif" font-size="11">',
            '<rect width="100%" height="100%" fill="white"/>',
            _text(LEFT, 18, self.title, size=13),
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, self.x_label, anchor="middle"),
            f'<g transform="rotate(-90 14 {HEIGHT / 2:g})">{_text(14, HEIGHT / 2, self.y_label, anchor="middle")}</g>',
        ]
        for value in x_axis.ticks():
            x = x_axis.at(value)
            parts.append(_line(x, TOP, x, HEIGHT - BOTTOM, "#dddddd"))
            parts.append(_text(x, HEIGHT - BOTTOM + 15, short(value), anchor="middle"))
        for value in y_axis.ticks():
            y = y_axis.at(value)
            parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "#dddddd"))
            parts.append(_text(LEFT - 5, y + 4, short(value), anchor="end"))
        for index, (name, line) in enumerate(self.series.items()):
            colour = COLOURS[index % len(COLOURS)]
            places = [(x_axis.at(x), y_axis.at(y)) for x, y in line]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places]
            y = TOP + 10 + index * 16
            parts.append(_line(WIDTH - RIGHT + 8, y - 4, WIDTH - RIGHT + 24, y - 4, colour, width=2))
            parts.append(_text(WIDTH - RIGHT + 28, y, name))
        return "\n".join([*parts, "</svg>", ""])


class _Axis:
    """A logarithmic scale from the data onto the pixels first..last, ending at whole decades or at 1-2-5 steps."""

    def __init__(self, values: list[float], first: float, last: float) -> None:
        low, high = min(values), max(values)
        self.low, self.high = math.log10(_step_down(low)), math.log10(_step_up(high))
        if self.low == self.high:
            self.high += 1
        self.first, self.last = first, last

    def at(self, value: float) -> float:
        return self.first + (math.log10(value) - self.low) / (self.high - self.low) * (self.last - self.first)

    def ticks(self) -> list[float]:
        steps = (1,) if self.high - self.low > 2.2 else (1, 2, 5)
        every = 1 + int((self.high - self.low) // 7)  # at most some eight decades are named
        ticks = []
        for decade in range(math.floor(self.low), math.ceil(self.high) + 1):
            for step in steps:
                value = step * 10.0**decade
                if self.low - 1e-9 <= math.log10(value) <= self.high + 1e-9 and decade % every == 0:
                    ticks.append(value)
        return ticks


def _step_down(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return max(step * decade for step in (1, 2, 5) if step * decade <= value * 1.000001)


def _step_up(value: float) -> float:
    decade = 10.0 ** math.floor(math.log10(value))
    return min(step * decade for step in (1, 2, 5, 10) if step * decade >= value / 1.000001)


def short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'
