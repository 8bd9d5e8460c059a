"""The papers' experiments on a complete DeepVigor+ analysis, as they stand in vigor.json, in files and in a terminal.

In vigor.json, where they were asked for:

    resampling  [{target, ratio, repeats, cvf_mean, cvf_max, lvf_mean, lvf_max, simulations, seconds}], fields of
                onnxfi.vigor.experiments.Resampled
    batches     [{start, images, weights, activations, total}], fields of onnxfi.vigor.experiments.Batch

resampling.csv and batches.csv hold the same rows. `onnxfi vigor --count --json` prints a list of {target, kind, sites,
sampled, exhaustive, layer, data_unaware, data_aware}, fields of onnxfi.vigor.costs.Count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import RenderableType

from onnxfi.report.tables import table, titled
from onnxfi.study import place
from onnxfi.vigor.analysis import Analysis
from onnxfi.vigor.costs import Count
from onnxfi.vigor.experiments import batches, resample
from onnxfi.vigor.settings import Experiments

_FILES = ("resampling", "batches")


def facts(analysis: Analysis, asked: Experiments) -> dict[str, Any]:
    """What the module's docstring tells of, for what was asked. Raises StudyError."""
    found: dict[str, Any] = {}
    if asked.ratios:
        found["resampling"] = [asdict(row) for row in resample(analysis, asked.ratios, asked.repeats)]
    if asked.batches is not None:
        found["batches"] = [asdict(row) for row in batches(analysis, asked.batches)]
    return found


def write(folder: Path, found: dict[str, Any]) -> None:
    """Write the files of what is in `found` into `folder`. Raises StudyError for a full or read-only disk."""
    with place.trouble(folder):
        for name in _FILES:
            if name in found:
                pd.DataFrame(found[name]).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def blocks(found: dict[str, Any]) -> Iterator[RenderableType]:
    """Tables of what is in `found`."""
    if "resampling" in found:
        yield _resampling(found)
    if "batches" in found:
        yield _batches(found)


def _resampling(found: dict[str, Any]) -> RenderableType:
    rows = found["resampling"]
    title = f"Samples of channels against all of them, {rows[0]['repeats']} each: errors in points"
    made = table("target", "channels", "CVF mean", "max", "LVF mean", "max", "simulations", "seconds")
    for row in rows:
        errors = (f"{100 * row[name]:.3f}" for name in ("cvf_mean", "cvf_max", "lvf_mean", "lvf_max"))
        cost = f"{row['simulations']:,.0f}", f"{row['seconds']:.1f}"
        made.add_row(row["target"], f"{100 * row['ratio']:g} %", *errors, *cost)
    return titled(title, made)


def _batches(found: dict[str, Any]) -> RenderableType:
    rows = found["batches"]
    names = [name for name in ("weights", "activations", "total") if rows[0][name] is not None]
    made = table("images", *names)
    for row in rows:
        label = f"{row['start'] + 1}-{row['start'] + row['images']}"
        made.add_row(label, *(f"{100 * row[name]:.3f}" for name in names))
    values = 100 * np.array([[row[name] for name in names] for row in rows])
    made.add_row("standard deviation", *(f"{value:.3f}" for value in values.std(axis=0, ddof=1)))
    made.add_row("largest less smallest", *(f"{value:.3f}" for value in np.ptp(values, axis=0)))
    return titled("MVF of batches of images, %", made)


def count_json(counts: tuple[Count, ...]) -> str:
    """What was counted, as text."""
    return json.dumps([asdict(count) for count in counts], indent=2) + "\n"


def counted(counts: tuple[Count, ...], ratio: float) -> RenderableType:
    """What was counted, as a table."""
    made = table("", *(f"{row.target} ({row.kind})" for row in counts))
    for label, name in (
        ("sites, all", "sites"),
        (f"sites, {100 * ratio:g} % of channels", "sampled"),
        ("faults, exhaustive", "exhaustive"),
        ("layer-wise, 1 % at 95 %", "layer"),
        ("data-unaware", "data_unaware"),
        ("data-aware, p of weights", "data_aware"),
    ):
        values = [getattr(row, name) for row in counts]
        made.add_row(label, *("-" if value is None else f"{value:,}" for value in values))
    return titled("Counted, with nothing run: a site takes two or three simulations, a fault one", made)
