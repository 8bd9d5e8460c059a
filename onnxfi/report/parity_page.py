"""Two models side by side, as a page: what matched, how the same faults end in both, and where they do not agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxfi.report import charts
from onnxfi.report.charts import Bar
from onnxfi.report.document import Card, Head, Section, document
from onnxfi.report.parity_tables import points, rate, small
from onnxfi.report.parity_trials import OUTCOMES
from onnxfi.report.svg import Chart
from onnxfi.report.tables import plain

_MOST = 200  # rows of a table of disagreements


def parity_page(found: Mapping[str, Any]) -> str:
    """The page of the object of parity.json."""
    head = Head(
        kind="Parity",
        title=f"{found['a']['model']} and {found['b']['model']}",
        asked="are the two files one network, and do they fail alike?",
        answer=found["answer"],
        warnings=found["warnings"],
        cards=list(_cards(found)),
    )
    return document(head, [section for section in _sections(found) if section])


def _cards(found: Mapping[str, Any]) -> list[Card]:
    cards = []
    for target, row in found["mvf"].items():
        for side in ("a", "b"):
            value, _, limits = rate(row[side]).partition(" [")
            cards.append(Card(f"MVF of {target}, {side.upper()}", f"{value} %", f"[{limits}", charts.COLORS[target]))
        value, _, limits = points(row["difference"]).partition(" [")
        cards.append(Card(f"A less B, {target}, in points", value, f"[{limits}"))
    return cards


def _sections(found: Mapping[str, Any]) -> list[Section | None]:
    match, clean = found["match"], found["clean"]
    return [
        Section(
            "layers", "Layers", "parity/match.html", {"match": match, "small": small, "left_out": found["left_out"]}
        )
        if match
        else None,
        Section("clean", "Without faults", "parity/clean.html", {"clean": clean}) if clean else None,
        Section("trials", "The same faults", "parity/trials.html", {"tables": _tables(found)})
        if found["cells"]
        else None,
        Section("rates", "Vulnerability", "parity/rates.html", {"drawn": _drawn(found), "rows": _rates(found)}),
        Section("apart", "Where they disagree", "parity/apart.html", _apart(found)) if found["paired"] else None,
    ]


def _tables(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """By target, the three rows of counts and shares."""
    return [
        {
            "target": target,
            "trials": sum(map(sum, found["confusion"][target])),
            "outcomes": OUTCOMES,
            "rows": [
                (name, list(zip(counts, map(rate, shares), strict=True)))
                for name, counts, shares in zip(OUTCOMES, found["confusion"][target], cells, strict=True)
            ],
        }
        for target, cells in found["cells"].items()
    ]


def _rates(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    whole = [
        {"name": "MVF, mean of the layers", "other": "", "target": target, **_shown(row)}
        for target, row in found["mvf"].items()
    ]
    return whole + [
        {"name": row["layer_a"], "other": row["layer_b"], "target": row["target"], **_shown(row)}
        for row in found["layers"]
    ]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cells": [
            (row["a"]["value"], rate(row["a"])),
            (row["b"]["value"], rate(row["b"])),
            (row["difference"]["value"], points(row["difference"])),
        ]
    }


def _drawn(found: Mapping[str, Any]) -> Chart | None:
    """The differences of the LVFs with their intervals."""
    bars = []
    for row in found["layers"]:
        apart, name = row["difference"], plain(row["layer_a"])
        limits = (100 * apart["value"], 100 * apart["low"], 100 * apart["high"])
        bars.append(Bar(name, row["target"], *limits, f"{name}, {row['target']}: {points(apart)}"))
    places: Sequence[str] = list(dict.fromkeys(bar.place for bar in bars))
    if not bars:
        return None
    return charts.across("LVF of A less LVF of B, layer by layer, with intervals.", places, bars, "A less B, points")


def _apart(found: Mapping[str, Any]) -> dict[str, Any]:
    rows = found["disagreements"]
    return {"rows": rows[:_MOST], "count": len(rows), "trials": found["trials"], "most": _MOST}
