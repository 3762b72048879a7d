"""
Charts as SVG, drawn on the server: they need no library, no script and no network, and read well in light and dark.

Pure. Colours are classes of the style sheet. A chart is an image with a title and a description in words, so that who
cannot see it reads the same: the latest value, the highest, and over what time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup, escape

WIDTH, HEIGHT = 320, 72
_FOOT = 4
"""Units below the lowest value, so that a line of noughts can be seen."""

_DAY = 86_400

Points = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a chart; None where nothing was measured."""

    name: str
    points: Points

    @property
    def latest(self) -> float | None:
        """Last measured point."""
        return next((point for point in reversed(self.points) if point is not None), None)

    @property
    def highest(self) -> float | None:
        """Highest measured point."""
        return max((point for point in self.points if point is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """
    A chart: what it shows, and over what time.

    ``filled`` draws the first curve as an area. Gaps between measurements stay gaps, unless ``gaps_are_zero``.
    """

    key: str
    title: str
    unit: str
    start: datetime
    step: int
    curves: tuple[Curve, ...]
    gaps_are_zero: bool = True

    def value(self, number: float | None) -> str:
        """Say a value with its unit."""
        return "no data" if number is None else f"{number_text(number)}{self.unit}"

    def now(self, curve: Curve) -> float | None:
        """
        Return the value of now: of the last two points, for the current one may not be written yet.

        What was measured earlier is not now: without a measurement it is 0 where gaps mean that, else None.
        """
        recent = Curve(name=curve.name, points=curve.points[-2:]).latest
        return 0.0 if recent is None and self.gaps_are_zero and curve.points else recent

    @property
    def headline(self) -> str:
        """Value of the first curve now, with its unit."""
        return self.value(self.now(self.curves[0]) if self.curves else None)

    @property
    def axis(self) -> tuple[str, str, str]:
        """Begin, highest value, and end of the chart, as its axes say them; times are UTC."""
        points = max((len(curve.points) for curve in self.curves), default=0)
        end = self.start + timedelta(seconds=self.step * points)
        form = "%H:%M" if (end - self.start).total_seconds() <= _DAY else "%d %b"
        highest = max((curve.highest for curve in self.curves if curve.highest is not None), default=None)
        top = "nothing measured" if highest is None else f"top {self.value(highest)}"
        return f"{self.start:{form}}", top, f"{end:{form}} UTC"

    def described(self) -> str:
        """Say the chart in words."""
        parts = [
            f"{curve.name}: now {self.value(self.now(curve))}, at most {self.value(curve.highest)}"
            for curve in self.curves
            if curve.highest is not None
        ]
        return "; ".join(parts) if parts else "Nothing was measured in this time."


def number_text(number: float) -> str:
    """Write a number as people do: no more than three digits that matter."""
    if number >= 1_000_000:  # noqa: PLR2004 -- a million
        return f"{number / 1_000_000:.1f} M"
    if number >= 10_000:  # noqa: PLR2004 -- from here on thousands are enough
        return f"{number / 1_000:.0f} k"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.2g}"  # noqa: PLR2004


def drawn(graph: Graph) -> Markup:
    """Return the chart as an SVG element."""
    top = max((curve.highest or 0.0 for curve in graph.curves), default=0.0) or 1.0
    shapes = [_curve(curve, number, top, graph) for number, curve in enumerate(graph.curves)]
    name = f"chart-{graph.key}"
    return Markup(
        '<svg class="chart" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{name}-title {name}-words"><title id="{name}-title">{title}</title>'
        '<desc id="{name}-words">{words}</desc>{shapes}</svg>'
    ).format(
        width=WIDTH,
        height=HEIGHT,
        name=name,
        title=graph.title,
        words=graph.described(),
        shapes=Markup("").join(shapes),
    )


def _curve(curve: Curve, number: int, top: float, graph: Graph) -> Markup:
    points = [0.0 if point is None and graph.gaps_are_zero else point for point in curve.points]
    runs = [run for run in _runs(points) if run]
    lines = Markup("").join(
        Markup('<path class="line line-{}" d="{}"/>').format(number, _path(run, top, len(points))) for run in runs
    )
    if number:
        return lines
    areas = Markup("").join(Markup('<path class="area" d="{}"/>').format(_area(run, top, len(points))) for run in runs)
    return areas + lines


def _runs(points: Points) -> list[list[tuple[int, float]]]:
    """Split at what was not measured."""
    runs: list[list[tuple[int, float]]] = [[]]
    for place, point in enumerate(points):
        if point is None:
            runs.append([])
        else:
            runs[-1].append((place, point))
    return runs


def _path(run: Sequence[tuple[int, float]], top: float, points: int) -> str:
    spots = [f"{_x(place, points):.1f} {_y(value, top):.1f}" for place, value in run]
    if len(spots) == 1:  # a single measurement would be no line: draw it one unit wide
        spots.append(f"{_x(run[0][0], points) + 1:.1f} {_y(run[0][1], top):.1f}")
    return "M" + "L".join(spots)


def _area(run: Sequence[tuple[int, float]], top: float, points: int) -> str:
    left, right = _x(run[0][0], points), _x(run[-1][0], points)
    return f"{_path(run, top, points)}L{right:.1f} {HEIGHT}L{left:.1f} {HEIGHT}Z"


def _x(place: int, points: int) -> float:
    return WIDTH * place / max(points - 1, 1)


def _y(value: float, top: float) -> float:
    return (HEIGHT - _FOOT) * (1 - min(max(value / top, 0.0), 1.0)) + _FOOT / 2


def legend(graph: Graph) -> Markup:
    """Return the names of the curves, marked as they are drawn; nothing for a single one."""
    if len(graph.curves) < 2:  # noqa: PLR2004 -- one needs no legend
        return Markup("")
    items = (Markup('<li class="key key-{}">{}</li>').format(n, escape(c.name)) for n, c in enumerate(graph.curves))
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))
