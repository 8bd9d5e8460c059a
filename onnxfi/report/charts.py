"""The kinds of charts there are, as Vega-Lite specifications: marks in, a drawing out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onnxfi.report.svg import NARROW, WIDE, Chart, Spec, drawn

COLORS = {"weights": "var(--weights)", "activations": "var(--activations)", "total": "var(--total)"}
_MANY = 24  # names on one axis, beyond which they are set small


@dataclass(frozen=True)
class Bar:
    """A rate in percent with its limits: of `group` (a target) at `place` (a layer, a bit). `text` is read aloud."""

    place: str
    group: str
    value: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Cell:
    """A rate in percent at a row and a column; a column is a number, or a name."""

    row: str
    column: int | str
    value: float
    text: str


@dataclass(frozen=True)
class Reach:
    """From `low` to `high` at a place, of a group; in `inner` the part of it that is drawn stronger."""

    place: str
    group: str
    low: float
    high: float
    inner: tuple[float, float]
    text: str


@dataclass(frozen=True)
class Point:
    """A rate in percent with its limits, after so many trials."""

    trials: int
    group: str
    value: float
    low: float
    high: float


def across(label: str, places: Sequence[str], bars: Sequence[Bar], axis: str, upto: float | None = None) -> Chart:
    """Horizontal bars with intervals, a row a place, in the order of `places`. upto: end of the axis, where several
    charts are to be compared."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    y = {"field": "place", "type": "nominal", "sort": None, "title": None, "scale": {"domain": list(places)}}
    offset = {"field": "group", "scale": {"domain": groups}}
    x: Spec = {"field": "value", "type": "quantitative", "title": axis}
    if upto is not None:
        x["scale"] = {"domain": [0, upto], "nice": True}
    limits = {"x": {**x, "field": "low"}, "x2": {"field": "high"}}
    return drawn(
        label,
        {
            "data": {"values": _rows(bars)},
            "height": {"step": _thickness(len(places)) if len(groups) > 1 else 18},
            "encoding": {"y": y, **({"yOffset": offset} if len(groups) > 1 else {})},
            "layer": [
                {
                    "mark": "bar",
                    "encoding": {"x": x, "color": _color(groups), "description": {"field": "text"}},
                },
                {"mark": {"type": "rule", "color": "var(--ink)", "aria": False}, "encoding": limits},
            ],
        },
    )


def upright(label: str, places: Sequence[str], bars: Sequence[Bar], axis: str, title: str) -> Chart:
    """Upright bars with intervals, a column a place, one panel above another for each group."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    y = {"field": "value", "type": "quantitative", "title": axis}
    panels = [
        {
            "height": 150,
            "title": {"text": group, "anchor": "start"} if len(groups) > 1 else "",
            "transform": [{"filter": {"field": "group", "equal": group}}],
            "encoding": {
                "x": {
                    "field": "place",
                    "type": "nominal",
                    "sort": None,
                    "title": title if group == groups[-1] else None,
                    "scale": {"domain": list(places)},
                    "axis": {"labelAngle": -90, "labelLimit": 70},
                }
            },
            "layer": [
                {
                    "mark": {"type": "bar", "color": COLORS[group]},
                    "encoding": {"y": y, "description": {"field": "text"}},
                },
                {
                    "mark": {"type": "rule", "color": "var(--ink)", "aria": False},
                    "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
                },
            ],
        }
        for group in groups
    ]
    return drawn(label, {"data": {"values": _rows(bars)}, "vconcat": panels}, inner=70)


def reaches(label: str, places: Sequence[str], marks: Sequence[Reach], axis: str) -> Chart:
    """Horizontal bars around 0 on a logarithmic axis to both sides, a row a place; each drawn twice, the inner part
    stronger. What is not bounded reaches the end of the axis."""
    groups = list(dict.fromkeys(mark.group for mark in marks))
    limits = [abs(limit) for mark in marks for limit in (mark.low, mark.high, *mark.inner)]
    power = math.ceil(math.log10(max([limit for limit in limits if 0 < limit < math.inf], default=1.0))) + 1
    end = 10.0**power

    def held(value: float) -> float:
        return max(-end, min(end, value))

    rows = [
        {**vars(mark), "low": held(mark.low), "high": held(mark.high), "from": held(low), "to": held(high)}
        for mark in marks
        for low, high in (mark.inner,)
    ]
    y = {"field": "place", "type": "nominal", "sort": None, "title": None, "scale": {"domain": list(places)}}
    offset = {"field": "group", "scale": {"domain": groups}}
    x = {
        "field": "low",
        "type": "quantitative",
        "title": axis,
        "scale": {"type": "symlog", "constant": 1e-3, "domain": [-end, end], "nice": False},
        "axis": {
            "values": [sign * 10.0 ** (power * part // 2) for sign in (-1, 1) for part in (1, 2)] + [0],
            "labelExpr": "datum.value == 0 ? '0' : format(datum.value, '.0e')",
            "labelOverlap": "greedy",
        },
    }
    bar = {"color": _color(groups), "description": {"field": "text"}}
    return drawn(
        label,
        {
            "data": {"values": rows},
            "height": {"step": _thickness(len(places)) if len(groups) > 1 else 18},
            "encoding": {"y": y, **({"yOffset": offset} if len(groups) > 1 else {})},
            "layer": [
                {"mark": {"type": "bar", "opacity": 0.35}, "encoding": {"x": x, "x2": {"field": "high"}, **bar}},
                {
                    "mark": {"type": "bar", "aria": False},
                    "encoding": {"x": {**x, "field": "from"}, "x2": {"field": "to"}, "color": bar["color"]},
                },
            ],
        },
    )


def heat(label: str, rows: Sequence[str], cells: Sequence[Cell], color: str, axis: str, legend: str) -> Chart:
    """A row a place; cells as opaque as their rate is high, on a square-root scale. Columns by number or by name: by
    name they are those of the rows, and what else the cells have. Many names make a chart that no narrow page holds."""
    numbered = all(isinstance(cell.column, int) for cell in cells)
    dense = not numbered and len(rows) > _MANY
    small = {"labelFontSize": 7, "labelLimit": 90} if dense else {}
    x: Spec = {"field": "column", "type": "ordinal", "title": axis}
    if numbered:
        x["sort"] = sorted({cell.column for cell in cells}, key=int)
        x["axis"] = {"labels": False, "ticks": False}
    else:
        x["sort"] = None
        x["axis"] = {"labelAngle": -90 if dense else -40, "labelLimit": 140, **small}
        x["scale"] = {"domain": list(dict.fromkeys([*rows, *(str(cell.column) for cell in cells)]))}
    return drawn(
        label,
        {
            "data": {"values": _rows(cells)},
            "height": {"step": 15 if numbered else 8 if dense else 22},
            "mark": {"type": "rect", "color": color, "stroke": "var(--paper)", "strokeWidth": 0.5},
            "encoding": {
                "y": {
                    "field": "row",
                    "type": "nominal",
                    "sort": None,
                    "title": None,
                    "scale": {"domain": list(rows)},
                    "axis": small,
                },
                "x": x,
                "opacity": {
                    "field": "value",
                    "type": "quantitative",
                    "scale": {"type": "sqrt", "range": [0.1 if dense else 0.04, 1], "domainMin": 0, "nice": True},
                    "legend": {
                        "title": legend,
                        "orient": "top",
                        "symbolType": "square",
                        "symbolFillColor": color,
                        "symbolStrokeWidth": 0,
                        "tickCount": 5,
                    },
                },
                "description": {"field": "text"},
            },
        },
        widths=(WIDE,) if dense else (WIDE, NARROW),
    )


def course(label: str, points: Sequence[Point], axis: str) -> Chart:
    """How rates and their intervals went with the number of trials."""
    groups = list(dict.fromkeys(point.group for point in points))
    x = {
        "field": "trials",
        "type": "quantitative",
        "title": "trials",
        "scale": {"type": "log", "nice": False},
        "axis": {"labelOverlap": "greedy", "labelSeparation": 8, "format": ",", "grid": False},
    }
    y = {"field": "low", "type": "quantitative", "title": axis, "scale": {"zero": False}}
    return drawn(
        label,
        {
            "data": {"values": _rows(points)},
            "height": 200,
            "encoding": {"x": x, "color": _color(groups)},
            "layer": [
                {"mark": {"type": "area", "opacity": 0.22}, "encoding": {"y": y, "y2": {"field": "high"}}},
                {
                    "mark": {"type": "line", "point": False, "strokeWidth": 2},
                    "encoding": {"y": {**y, "field": "value"}},
                },
            ],
        },
    )


def _thickness(places: int) -> int:
    """Of one of several bars, in pixels: deep networks stay on a few pages."""
    return 18 if places <= 12 else 12 if places <= 40 else 8


def _color(groups: Sequence[str]) -> Spec:
    known = [COLORS.get(group, f"var(--series-{place % 6})") for place, group in enumerate(groups)]
    legend = None if len(groups) == 1 else {"orient": "top", "title": None, "symbolOpacity": 1}
    return {"field": "group", "type": "nominal", "scale": {"domain": list(groups), "range": known}, "legend": legend}


def _rows(marks: Sequence[Bar | Cell | Point]) -> list[Spec]:
    return [dict(vars(mark)) for mark in marks]
