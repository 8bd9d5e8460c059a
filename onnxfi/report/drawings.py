"""From a study's numbers to the charts and the rows of its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.report import charts
from onnxfi.report.charts import Bar, Cell, Point, Reach
from onnxfi.report.meaning import Meaning
from onnxfi.report.ranges import Span, shown_limits
from onnxfi.report.summary import BitRate, LayerRates
from onnxfi.report.svg import Chart
from onnxfi.report.tables import positions
from onnxfi.report.words import CORRUPTION, SETTINGS, numbered, percent
from onnxfi.study.channels import ChannelRate
from onnxfi.study.confusion import Confusion
from onnxfi.study.history import Step
from onnxfi.study.scm import FaultFree, Setting

CELLS = 64
"""Cells in a row of the channel map, at most: of a wider layer each stands for the worst of several channels."""
_CHANNELS = 50  # rows of the table of channels
CLASSES = 110
"""Classes or groups that a confusion matrix is drawn of, at most."""
_CELLS_DRAWN = 1500  # of a confusion matrix: each is a shape of its own on the page


@dataclass(frozen=True)
class Place:
    """A row of the table of layers."""

    layer: str
    op: str
    target: str
    rate: Estimate


def places(layers: Sequence[LayerRates]) -> list[Place]:
    """Every LVF, the worst first."""
    found = [
        Place(row.layer, row.op, target, rate)
        for row in layers
        for target, rate in (("weights", row.weights), ("activations", row.activations))
        if rate
    ]
    return sorted(found, key=lambda place: -(place.rate.value if place.rate.value is not None else -1.0))


def worst_channels(channels: Sequence[ChannelRate]) -> list[ChannelRate]:
    """Those with any critical trial, the worst first."""
    return sorted((row for row in channels if row.value), key=lambda row: -(row.value or 0.0))[:_CHANNELS]


def layer_profile(layers: Sequence[LayerRates]) -> Chart | None:
    """LVF of weights and activations along the network."""
    names = numbered([row.layer for row in layers])
    bars = [
        bar
        for name, row in zip(names, layers, strict=True)
        for target, rate in (("weights", row.weights), ("activations", row.activations))
        if (bar := _bar(name, target, rate))
    ]
    if not bars:
        return None
    return charts.across("LVF of each layer, from the input to the output, with its interval.", names, bars, "LVF, %")


def bit_profile(bits: Sequence[BitRate]) -> list[Chart]:
    """BVF of each bit or class of bits, over all layers; a chart for each dtype."""
    found = []
    for dtype in sorted({row.dtype for row in bits}):
        rows = [row for row in bits if row.dtype == dtype]
        places = [positions(those) for those in sorted({row.bits for row in rows}, key=max, reverse=True)]
        bars = [bar for row in rows if (bar := _bar(positions(row.bits), row.target, row.rate))]
        if bars:
            label = f"Vulnerability of each bit of {dtype} words, over all layers, with its interval."
            found.append(charts.upright(label, places, bars, "BVF, %", f"bit of {dtype}; 0 is the lowest"))
    return found


def channel_map(channels: Sequence[ChannelRate], target: Target) -> Chart | None:
    """VF of channels, a row a layer."""
    by_layer: dict[str, list[ChannelRate]] = {}
    for row in channels:
        if row.target == target:
            by_layer.setdefault(row.layer, []).append(row)
    names = numbered(list(by_layer))
    cells = []
    for name, rows in zip(names, by_layer.values(), strict=True):
        size = -(-len(rows) // CELLS)
        for start in range(0, len(rows), size):
            seen = [row for row in rows[start : start + size] if row.value is not None]
            if not seen:
                continue
            worst = max(seen, key=lambda row: row.value or 0.0)
            assert worst.value is not None and worst.low is not None and worst.high is not None
            said = percent(Estimate(worst.value, worst.low, worst.high, worst.trials, 0))
            text = f"{name}, channel {worst.channel}: {said}, {worst.trials} trials"
            cells.append(Cell(name, start // size, 100 * worst.value, text))
    if not cells:
        return None
    label = f"VF of each channel ({target}), a row a layer."
    return charts.heat(
        label, names, cells, charts.COLORS[target], "channels that were looked at, in their order", "VF, %"
    )


def corruption_profile(meaning: Meaning) -> Chart:
    """SDC of every kind."""
    bars = [
        bar
        for field, place in CORRUPTION.items()
        for part in meaning.corruption
        if (bar := _bar(place, part.target, getattr(part, field)))
    ]
    return charts.across(
        "Silent data corruption of each kind, with its interval.", list(CORRUPTION.values()), bars, "%"
    )


def setting_profile(settings: Sequence[Setting], fault_free: FaultFree | None) -> Chart | None:
    """The share of SCM among misclassifications, without faults and in each setting."""
    bars = [bar for row in settings if (bar := _bar(SETTINGS[row.name], row.target, row.share))]
    places = list(dict.fromkeys(SETTINGS[row.name] for row in settings))
    if fault_free and (bar := _bar("fault-free", "no fault", fault_free.share)):
        bars.insert(0, bar)
        places.insert(0, "fault-free")
    if not bars:
        return None
    label = "Share of safety-critical ones among misclassifications, with its interval."
    return charts.across(label, places, bars, "SCM, % of misclassifications")


def confusion_map(matrix: Confusion, order: Sequence[int]) -> Chart | None:
    """From which class or group to which the answer turns; rows and columns in that order. Beyond CLASSES of them none
    is drawn."""
    if len(matrix.names) > CLASSES or not matrix.cells:
        return None
    names = numbered(matrix.names)
    cells = []
    for turn in matrix.cells[:_CELLS_DRAWN]:
        after = names[turn.after] if turn.after >= 0 else "no answer"
        text = f"{names[turn.before]} to {after}: {percent(turn.rate)}"
        cells.append(Cell(names[turn.before], after, 100 * (turn.rate.value or 0.0), text))
    part = f" The {_CELLS_DRAWN:,} most frequent." if len(cells) < len(matrix.cells) else ""
    label = f"Faults in {matrix.target}: from the {matrix.by} without faults (row) to that under one (column).{part}"
    color = charts.COLORS[matrix.target]
    return charts.heat(
        label, [names[n] for n in order], cells, color, "answer under the fault", "% of trials of the row"
    )


def safe_ranges(spans: Sequence[Span]) -> Chart | None:
    """Which deviations are safe, layer by layer."""
    ids = list(dict.fromkeys(span.layer for span in spans))
    names = dict(zip(ids, numbered(ids), strict=True))
    marks = [
        Reach(
            names[span.layer],
            span.target,
            *span.median,
            span.nearest,
            f"{names[span.layer]}, {span.target}: safe for all {shown_limits(span.nearest)}, "
            f"median {shown_limits(span.median)}",
        )
        for span in spans
    ]
    label = "Deviations of a word that are safe: strong, for all that was looked at; light, for the middle one."
    return charts.reaches(label, list(names.values()), marks, "deviation of the word") if marks else None


def shrinking(steps: Sequence[Step]) -> Chart | None:
    """How the MVF and its interval went, round by round."""
    points = [
        Point(step.trials, target, 100 * (rate.value or 0.0), 100 * rate.low, 100 * rate.high)
        for step in steps
        for target, rate in step.mvf.items()
    ]
    if len(steps) < 2:
        return None
    return charts.course("MVF and its interval, by the number of trials so far.", points, "MVF, %")


def _bar(place: str, group: str, rate: Estimate | None) -> Bar | None:
    if rate is None or rate.value is None:
        return None
    text = f"{place}, {group}: {percent(rate)}, {rate.trials:,} trials"
    return Bar(place, group, 100 * rate.value, 100 * rate.low, 100 * rate.high, text)
