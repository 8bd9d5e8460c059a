"""A DeepVigor run as a page, and as a section of the page of a study of the same model."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.report import drawings
from onnxfi.report.charts import COLORS
from onnxfi.report.document import Card, Head, Section, document
from onnxfi.report.ranges import VigorRun
from onnxfi.report.summary import LayerRates, Summary
from onnxfi.report.tables import SITES
from onnxfi.report.words import METHODS, answered, command

_TARGETS: tuple[Target, ...] = ("weights", "activations")

_LOOKED = {
    False: "Looked at are the deviations that flips of its bits make.",
    True: "Looked at are steps, eight an octave; a range is that of a neuron and a class of answers, safe on all seen "
    "images of the class.",
}


def vigor_page(run: VigorRun) -> str:
    """The page of one run."""
    sections = [_classes(run)] if run.by_class else _rates(run)
    return document(_head(run), [*sections, ranges(run), *([] if run.by_class else [_search(run)]), _again(run)])


def ranges(run: VigorRun, summary: Summary | None = None) -> Section:
    """Which deviations are safe; beside a study, of that `summary`, what both say of each layer."""
    values: dict[str, Any] = {
        "said": f"{_how(run)} A deviation of a word within its range changes no answer. {_LOOKED[run.by_class]} "
        "Safe for all is what is within every range; the middle one is that of the ranges that are bounded.",
        "drawn": drawings.safe_ranges(run.spans),
        "spans": run.spans,
        "both": None,
        "inf": math.inf,
    }
    if summary and run.layers:
        values["both"] = _both(run.layers, summary.layers)
    return Section("ranges", "DeepVigor ranges", "vigor/ranges.html", values)


def _both(
    run: Iterable[LayerRates], study: Iterable[LayerRates]
) -> list[tuple[str, str, Estimate | None, Estimate | None]]:
    """Layer, target, and its LVF as both have it."""
    injected = {row.layer: row for row in study}
    return [
        (row.layer, target, rate, getattr(injected.get(row.layer), target, None))
        for row in run
        for target in _TARGETS
        if (rate := getattr(row, target))
    ]


def _how(run: VigorRun) -> str:
    """What was looked at, in a sentence or two."""
    found, sampling = run.found, run.found["sampling"]
    part = "every site" if sampling["channels"] is None else f"{100 * sampling['channels']:g} % of the channels"
    images = found["images"]["seen"] if run.by_class else found["images"]
    kind = found["activation"]
    words = f" Activations: {kind}, {SITES[kind]}." if kind else ""
    return f"By {METHODS[found['method']]}: {part}, {images:,} images.{words}"


def _head(run: VigorRun) -> Head:
    found = run.found
    asked = "beyond which deviations does a word change the answer, and how vulnerable is the model for that?"
    kind = "DeepVigor: ranges by class" if run.by_class else f"Vulnerability by {METHODS[found['method']]}"
    if run.by_class:
        whole = found["whole"]["unseen"]
        critical = round(whole["faults"] * (whole["critical"] or 0.0))
        answer = Markup(
            "Of {:,} faults on unseen images {:,} were critical, and the ranges called <b>{:,}</b> of these vulnerable."
        ).format(whole["faults"], critical, round(critical * (whole["recall"] or 0.0)))
        return Head(kind, found["model"], asked, answer, [_how(run)], found["warnings"])
    mvf = {target: run.rate("mvf", target) for target in (*_TARGETS, "total")}
    answer = answered("flips", mvf["weights"], mvf["activations"], f"{100 * found['confidence']:g} %")
    named = [(f"MVF of {target}", mvf[target], COLORS[target]) for target in _TARGETS]
    named += [("MVF total, Eq. 15", mvf["total"], COLORS["total"])]
    named += [("VF, every bit equally likely", run.rate("population_vf"), "var(--rule)")]
    cards = [Card.of(name, rate, edge) for name, rate, edge in named if rate]
    return Head(kind, found["model"], asked, answer, [_how(run)], found["warnings"], cards)


def _rates(run: VigorRun) -> list[Section]:
    """Layers, bits and channels, as the page of a study has them."""
    confidence = f"{100 * run.found['confidence']:g} %"
    layers = {
        "fault": "bit flip",
        "confidence": confidence,
        "drawn": drawings.layer_profile(run.layers),
        "places": drawings.places(run.layers),
        "totals": [row for row in run.layers if row.total],
    }
    sections = [Section("layers", "Layers", "study/layers.html", layers)]
    if run.bits:
        bits = {"fault": "bit flip", "drawn": drawings.bit_profile(run.bits), "rows": run.bits, "pooled": False}
        sections.append(Section("bits", "Bits", "study/bits.html", bits))
    maps = [drawn for target in _TARGETS if (drawn := drawings.channel_map(run.channels, target))]
    if maps:
        worst = drawings.worst_channels(run.channels)
        channels = {"cells": drawings.CELLS, "drawn": maps, "worst": worst}
        sections.append(Section("channels", "Channels", "study/channels.html", channels))
    return sections


def _classes(run: VigorRun) -> Section:
    rows = [*run.found["layers"], {"layer": "all", **run.found["whole"]}]
    return Section("classes", "Faults by category", "vigor/classes.html", {"rows": rows, "images": run.found["images"]})


def _search(run: VigorRun) -> Section:
    found, cost = run.found["search"], run.found["simulations"]
    rows = [
        ("pairs of site and image", [f"{row['pairs']:,}" for row in found]),
        ("values tried for each", [f"{row['tried'] / row['pairs']:.2f}" for row in found]),
        ("pairs without a critical deviation", [f"{100 * row['safe']:.1f} %" for row in found]),
        ("pairs tried whole, as an audit", [f"{row['audited']:,}" for row in found]),
        ("VF found less VF measured, in them", [_points(row["error"]) for row in found]),
        ("simulations of all images: this run", [_count(row["analysis"]) for row in cost]),
        ("exhaustive injection", [_count(row["exhaustive"]) for row in cost]),
        ("statistical injection, layer-wise, 1 % at 95 %", [_count(row["layer"]) for row in cost]),
    ]
    values = {"found": run.found, "targets": run.targets, "rows": rows}
    return Section("search", "The search", "vigor/search.html", values)


def _points(error: float | None) -> str:
    return "–" if error is None else f"{100 * error:+.4f} points"


def _count(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _again(run: VigorRun) -> Section:
    found = run.found
    said = ""
    if "settings" in found:
        sampling = found["sampling"]
        given = {
            "--paper": True if "published" in found["method"] else None,
            "--channel-sampling-ratio": sampling["channels"],
            "--channel-sites": sampling["sites"],
            "--site-images": sampling["images"],
            "--confidence": None if found["confidence"] == 0.99 else found["confidence"],
            "--seed": sampling["seed"] or None,
        }
        asked = {part: found["settings"][part] for part in ("target", "data", "machine")}
        said = command(found["model"], asked, "vigor")
        said += "".join(f" {name} {value}".removesuffix(" True") for name, value in given.items() if value is not None)
    return Section(
        "again", "Again", "vigor/again.html", {"found": found, "method": METHODS[found["method"]], "command": said}
    )
