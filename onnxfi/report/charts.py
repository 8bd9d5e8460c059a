"""Charts as SVG, drawn by Vega-Lite when the report is written: nothing has to run to see them.

Colours are variables of the page's style sheet, so that one drawing serves light, dark and paper. Every mark carries
its numbers as a label, which screen readers read and the page shows on pointing. Each chart is drawn for a wide and
for a narrow page, and the style sheet shows one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert

WIDE, NARROW = 820, 340
COLORS = {"weights": "var(--weights)", "activations": "var(--activations)", "total": "var(--total)"}
_MANY = 24  # names on one axis, beyond which they are set small
_FONT = "Arial, Helvetica, Liberation Sans, sans-serif"  # widths as measured when drawn

Spec = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """`wide` and `narrow`: the same drawing as SVG text; without a narrow one the wide one is scrolled.

    label: what it shows, in a sentence.
    """

    label: str
    wide: str
    narrow: str = ""


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
class Point:
    """A rate in percent with its limits, after so many trials."""

    trials: int
    group: str
    value: float
    low: float
    high: float


def across(label: str, places: Sequence[str], bars: Sequence[Bar], axis: str) -> Chart:
    """Horizontal bars with intervals, a row a place, in the order of `places`."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    y = {"field": "place", "type": "nominal", "sort": None, "title": None, "scale": {"domain": list(places)}}
    offset = {"field": "group", "scale": {"domain": groups}}
    x = {"field": "value", "type": "quantitative", "title": axis}
    limits = {"x": {**x, "field": "low"}, "x2": {"field": "high"}}
    return _drawn(
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
    return _drawn(label, {"data": {"values": _rows(bars)}, "vconcat": panels}, inner=70)


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
    return _drawn(
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
    return _drawn(
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


def _rows(marks: Sequence[Bar] | Sequence[Cell] | Sequence[Point]) -> list[Spec]:
    return [dict(vars(mark)) for mark in marks]


def _drawn(label: str, spec: Spec, inner: int = 0, widths: Sequence[int] = (WIDE, NARROW)) -> Chart:
    """`inner`: what axes take of the width where Vega-Lite cannot fit a composed chart into it."""
    return Chart(label, *(_svg(spec, width, inner) for width in widths))


def _svg(spec: Spec, width: int, inner: int) -> str:
    sized = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", **spec, "config": _config(width)}
    if inner:
        sized["vconcat"] = [{**panel, "width": width - inner} for panel in spec["vconcat"]]
    else:
        sized |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    drawn: str = vl_convert.vegalite_to_svg(sized)
    # A drawing without height and width of its own scales with the page.
    return re.sub(r'^<svg ([^>]*?) width="[\d.]+" height="[\d.]+"', r"<svg \1", drawn, count=1)


def _config(width: int) -> Spec:
    axis = {
        "labelColor": "var(--ink)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--rule)",
        "domainColor": "var(--rule)",
        "tickColor": "var(--rule)",
        "labelFont": _FONT,
        "titleFont": _FONT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 300,
    }
    return {
        "background": "transparent",
        "font": _FONT,
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"labelPadding": 4, "labelExpr": _ending(34 if width > 500 else 16)},
        "axisQuantitative": {"tickCount": 8 if width > 500 else 5},
        "legend": {
            **({} if width > 500 else {"columns": 4}),
            "labelColor": "var(--ink)",
            "titleColor": "var(--muted)",
            "labelFont": _FONT,
            "titleFont": _FONT,
            "titleFontWeight": "normal",
            "labelFontSize": 12,
            "titleFontSize": 12,
        },
        "title": {"color": "var(--ink)", "font": _FONT, "fontSize": 12, "fontWeight": 600},
    }


def _ending(longest: int) -> str:
    """A label's last characters, where it is too long: names of layers differ in their ends."""
    return f"length(datum.label) > {longest} ? '…' + slice(datum.label, -{longest - 1}) : datum.label"
