"""Charts as SVG, drawn by Vega-Lite when the report is written: nothing has to run to see them.

Colours are variables of the page's style sheet, so that one drawing serves light, dark and paper. Every mark carries
its numbers as a label, which the page shows on pointing. A chart is drawn for a wide and for a narrow page, and the
style sheet shows one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert

WIDE, NARROW = 820, 340
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


def drawn(label: str, spec: Spec, inner: int = 0, widths: Sequence[int] = (WIDE, NARROW)) -> Chart:
    """`inner`: what axes take of the width where Vega-Lite cannot fit a composed chart into it."""
    return Chart(label, *(_svg(spec, width, inner) for width in widths))


def _svg(spec: Spec, width: int, inner: int) -> str:
    sized = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", **spec, "config": _config(width)}
    if inner:
        sized["vconcat"] = [{**panel, "width": width - inner} for panel in spec["vconcat"]]
    else:
        sized |= {"width": width, "autosize": {"type": "fit-x", "contains": "padding"}}
    drawn: str = vl_convert.vegalite_to_svg(sized)
    # A drawing without height and width of its own scales with the page. Its marks are not read aloud one by one: the
    # figure has a name, and a table its numbers.
    return re.sub(r'^<svg ([^>]*?) width="[\d.]+" height="[\d.]+"', r'<svg aria-hidden="true" \1', drawn, count=1)


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
        "axisY": {"labelPadding": 4, "labelExpr": _ending(34 if width > 500 else 20)},
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
