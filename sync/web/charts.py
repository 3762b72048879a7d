"""
Charts as SVG, drawn on the server: they need no library, no script and no network, and read well in light and dark.

Pure. Colours are classes of the style sheet. A chart is an image with a title and a description in words for screen
readers: the latest value, the highest one, and the period. ``data-`` attributes hold the values, for the script that
shows them on hover and by arrow keys.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from markupsafe import Markup, escape

WIDTH, HEIGHT = 320, 72
_FOOT = 4
"""Units below the lowest value, so that a line of zeros is visible."""

_DAY = 86_400

FEWEST, USUAL, BEYOND, ROOM = 8, 0.9, 4.0, 1.5
"""Values from which on outliers are marked; share of values that is usual; multiple of the usual that is an outlier."""

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
    A chart: its values and its period.

    The first curve is drawn with its area. Gaps between measurements stay gaps, unless ``gaps_are_zero``.
    ``threshold`` is the value above which an alert is raised. ``incidents`` are the first and last places of points
    at which an alert was active.
    """

    key: str
    title: str
    unit: str
    start: datetime
    step: int
    curves: tuple[Curve, ...]
    gaps_are_zero: bool = True
    threshold: float | None = None
    incidents: tuple[tuple[int, int], ...] = ()

    @property
    def length(self) -> int:
        """Number of points."""
        return max((len(curve.points) for curve in self.curves), default=0)

    @property
    def highest(self) -> float | None:
        """Highest measured point of all curves."""
        return max((curve.highest for curve in self.curves if curve.highest is not None), default=None)

    @property
    def top(self) -> float:
        """
        Value at the upper edge: the highest one, unless it is an outlier, which would flatten all other values.

        An outlier exceeds `BEYOND` times the value below which nine tenths of the values lie. A near threshold is
        included in the scale.
        """
        values = sorted(point for curve in self.curves for point in curve.points if point)
        if not values:
            return 1.0
        usual = values[math.ceil(USUAL * len(values)) - 1] if len(values) >= FEWEST else values[-1]
        top = values[-1] if values[-1] <= BEYOND * usual else ROOM * usual
        if self.threshold and top < self.threshold <= 2 * top:
            return self.threshold
        return top

    def value(self, number: float | None) -> str:
        """Return a value with its unit."""
        return "no data" if number is None else f"{number_text(number)}{self.unit}"

    def now(self, curve: Curve) -> float | None:
        """
        Return the current value: of the last two points, because the newest one may not be written yet.

        Earlier measurements do not count: without a recent one, the value is 0 if gaps mean zero, else None.
        """
        recent = Curve(name=curve.name, points=curve.points[-2:]).latest
        return 0.0 if recent is None and self.gaps_are_zero and curve.points else recent

    @property
    def headline(self) -> str:
        """Current value of the first curve, with its unit."""
        return self.value(self.now(self.curves[0]) if self.curves else None)

    @property
    def scale(self) -> str:
        """The value at the upper edge, and the highest value with its time if it exceeds that edge."""
        highest = self.highest
        if highest is None:
            return "nothing measured"
        if highest <= self.top:
            return self.value(self.top if highest else 0.0)
        return f"{self.value(self.top)}, outlier {self.value(highest)} at {self._time(self._place_of(highest))}"

    @property
    def ticks(self) -> tuple[str, ...]:
        """Times of the first, middle and last point, in UTC; none while nothing was measured."""
        if not self.length:
            return ()
        last = self.length - 1
        return self._time(0), self._time(round(last / 2)), f"{self._time(last)} UTC"

    def described(self) -> str:
        """Return the chart's content in words."""
        parts = [
            f"{curve.name}: now {self.value(self.now(curve))}, at most {self.value(curve.highest)}"
            for curve in self.curves
            if curve.highest is not None
        ]
        if not parts:
            return "No measurements in this period."
        if self.threshold is not None:
            parts.append(f"an alert is raised above {self.value(self.threshold)}")
        if self.incidents:
            often = "once" if len(self.incidents) == 1 else f"{len(self.incidents)} times"
            parts.append(f"an alert was active {often}")
        return "; ".join(parts)

    @property
    def series(self) -> str:
        """
        Names and points of the curves as JSON: three digits each, and the number of consecutive repeats.

        Gaps are zeros if they mean zero.
        """
        return json.dumps([[curve.name, self._runs_of(curve)] for curve in self.curves], separators=(",", ":"))

    def _runs_of(self, curve: Curve) -> list[list[float | int | None]]:
        empty = 0 if self.gaps_are_zero else None
        points = (empty if point is None else _short(point) for point in curve.points)
        return [[point, sum(1 for _ in same)] for point, same in groupby(points)]

    def _time(self, place: int) -> str:
        whole = self.step * self.length
        form = "%H:%M" if whole <= _DAY else "%d %b %H:%M"
        return f"{self.start + timedelta(seconds=self.step * place):{form}}"

    def _place_of(self, value: float) -> int:
        return next(n for curve in self.curves for n, point in enumerate(curve.points) if point == value)


def number_text(number: float) -> str:
    """Format a number with at most three significant digits."""
    if number >= 1_000_000:  # noqa: PLR2004 -- a million
        return f"{number / 1_000_000:.1f} M"
    if number >= 10_000:  # noqa: PLR2004 -- from here on thousands are enough
        return f"{number / 1_000:.0f} k"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.2g}"  # noqa: PLR2004


def _short(point: float) -> float | int:
    short = float(f"{point:.3g}")
    return int(short) if short.is_integer() else short


def drawn(graph: Graph) -> Markup:
    """Return the chart as an SVG element."""
    shapes = [_incident(first, last, graph.length) for first, last in graph.incidents]
    shapes += [_curve(curve, number, graph) for number, curve in enumerate(graph.curves)]
    if graph.threshold is not None and graph.threshold <= graph.top:
        y = _y(graph.threshold, graph.top)
        shapes.append(Markup('<path class="limit" d="M0 {y:.1f}L{x} {y:.1f}"/>').format(y=y, x=WIDTH))
    name = f"chart-{graph.key}"
    return Markup(
        '<svg class="chart" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        'aria-labelledby="{name}-title {name}-words" data-start="{start}" data-step="{step}" data-unit="{unit}" '
        'data-series="{series}"><title id="{name}-title">{title}</title>'
        '<desc id="{name}-words">{words}</desc>{shapes}</svg>'
    ).format(
        width=WIDTH,
        height=HEIGHT,
        name=name,
        title=graph.title,
        words=graph.described(),
        shapes=Markup("").join(shapes),
        start=round(graph.start.timestamp()),
        step=graph.step,
        unit=graph.unit,
        series=graph.series,
    )


def _incident(first: int, last: int, points: int) -> Markup:
    edge = max(points - 1, 0)
    left, right = _x(min(first, edge), points), _x(min(last, edge), points)
    return Markup(
        '<path class="incident" d="M{left:.1f} 0L{right:.1f} 0L{right:.1f} {height}L{left:.1f} {height}Z"/>'
    ).format(left=left, right=max(right, left + 1), height=HEIGHT)


def _curve(curve: Curve, number: int, graph: Graph) -> Markup:
    top = graph.top
    points = [0.0 if point is None and graph.gaps_are_zero else point for point in curve.points]
    runs = [run for run in _runs(points) if run]
    shapes = Markup("").join(
        Markup('<path class="line line-{}" d="{}"/>').format(number, _path(run, top, len(points))) for run in runs
    )
    beyond = (place for place, point in enumerate(points) if point is not None and point > top)
    shapes += Markup("").join(_beyond(place, len(points)) for place in beyond)
    if number:
        return shapes
    areas = Markup("").join(Markup('<path class="area" d="{}"/>').format(_area(run, top, len(points))) for run in runs)
    return areas + shapes


def _beyond(place: int, points: int) -> Markup:
    """Mark an outlier by a wedge at the upper edge."""
    x = _x(place, points)
    left, right = max(x - 3, 0.0), min(x + 3, WIDTH)
    return Markup('<path class="beyond" d="M{:.1f} 0L{:.1f} 0L{:.1f} 9Z"/>').format(left, right, x)


def _runs(points: Points) -> list[list[tuple[int, float]]]:
    """Split the points at gaps."""
    runs: list[list[tuple[int, float]]] = [[]]
    for place, point in enumerate(points):
        if point is None:
            runs.append([])
        else:
            runs[-1].append((place, point))
    return runs


def _path(run: Sequence[tuple[int, float]], top: float, points: int) -> str:
    spots = [(_x(place, points), _y(value, top)) for place, value in run]
    if len(spots) == 1:  # a single measurement would be no line: draw it a few units wide
        x, y = spots[0]
        spots = [(max(x - 2, 0), y), (min(x + 2, WIDTH), y)]
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in _bends(spots))


def _bends(spots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out the points within a level section: most charts are level for most of the time."""
    last = len(spots) - 1
    return [
        spot
        for place, spot in enumerate(spots)
        if place in (0, last) or not spots[place - 1][1] == spot[1] == spots[place + 1][1]
    ]


def _area(run: Sequence[tuple[int, float]], top: float, points: int) -> str:
    left, right = _x(run[0][0], points), _x(run[-1][0], points)
    return f"{_path(run, top, points)}L{right:g} {HEIGHT}L{left:g} {HEIGHT}Z"


def _x(place: int, points: int) -> float:
    return round(WIDTH * place / max(points - 1, 1), 1)


def _y(value: float, top: float) -> float:
    return round((HEIGHT - _FOOT) * (1 - min(max(value / top, 0.0), 1.0)) + _FOOT / 2, 1)


def legend(graph: Graph) -> Markup:
    """Return the names of the curves and of the threshold, marked as they are drawn; nothing for a single curve."""
    items = [Markup('<li class="key key-{}">{}</li>').format(n, escape(c.name)) for n, c in enumerate(graph.curves)]
    if len(items) < 2:  # noqa: PLR2004 -- one needs no legend
        items = []
    if graph.threshold is not None:
        items.append(Markup('<li class="key key-limit">alert above {}</li>').format(graph.value(graph.threshold)))
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items)) if items else Markup("")
