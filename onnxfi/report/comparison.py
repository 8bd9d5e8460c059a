"""Several studies side by side, on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxfi.metrics.estimate import Estimate
from onnxfi.report import charts
from onnxfi.report.charts import Bar, Chart
from onnxfi.report.document import Head, Section, document
from onnxfi.report.meaning import Safety
from onnxfi.report.summary import Summary
from onnxfi.report.words import SETTINGS, numbered, percent
from onnxfi.study.corruption import Corruption
from onnxfi.study.scm import FaultFree, Setting


@dataclass(frozen=True)
class Compared:
    """One study under the name that the page has for it."""

    name: str
    folder: str
    summary: Summary

    @property
    def corruption(self) -> tuple[Corruption, ...]:
        return self.summary.meaning.corruption if self.summary.meaning else ()

    @property
    def safety(self) -> Safety | None:
        return self.summary.meaning.safety if self.summary.meaning else None

    @property
    def settings(self) -> tuple[Setting, ...]:
        return self.safety.settings if self.safety else ()

    @property
    def fault_free(self) -> FaultFree | None:
        return self.safety.fault_free if self.safety else None

    @property
    def groups(self) -> str:
        return self.safety.groups.name if self.safety else ""


def comparison(runs: Sequence[tuple[Path, Summary]]) -> str:
    """One HTML page: MVF of each model, total LVF along each network, what becomes of answers, SCM by setting."""
    names = numbered([summary.model for _, summary in runs])
    compared = [Compared(name, str(folder), summary) for name, (folder, summary) in zip(names, runs, strict=True)]
    head = Head("Side by side", f"{len(compared)} studies", warnings=_differences(compared))
    models = {"drawn": _mvf(compared), "runs": compared}
    layers = [part for run in compared if (part := _profile(run))]
    answers = {"drawn": _corruption(compared), "runs": compared}
    sections = [
        Section("models", "Models", "comparison/models.html", models),
        Section("layers", "Layers", "comparison/layers.html", {"parts": layers}),
        Section("answers", "Answers", "comparison/answers.html", answers),
    ]
    scm = [chart for name in SETTINGS if name != "all" and (chart := _scm(compared, name))]
    if scm:
        safety = {"drawn": scm, "runs": compared, "setting_names": SETTINGS}
        sections.append(Section("safety", "Safety", "comparison/safety.html", safety))
    sections.append(Section("again", "Studies", "comparison/studies.html", {"runs": compared}))
    return document(head, sections)


def _mvf(runs: Sequence[Compared]) -> Chart:
    bars = []
    for run in runs:
        s = run.summary
        for group, rate in (("weights", s.mvf_weights), ("activations", s.mvf_activations), ("total", s.mvf_total)):
            bars += _bars(run.name, group, rate)
    label = "MVF of weights, of activations and in total (Eq. 15) of each model, with its interval."
    return charts.across(label, [run.name for run in runs], bars, "MVF, %")


def _profile(run: Compared) -> dict[str, Any] | None:
    """Eq. 15 layer by layer; without it the one target there is. What comparison/layers.html shows."""
    layers = numbered([row.layer for row in run.summary.layers])
    targets = {"weights": run.summary.mvf_weights, "activations": run.summary.mvf_activations}
    total = run.summary.mvf_total is not None
    columns = ["total"] if total else [target for target, rate in targets.items() if rate]
    bars = [
        bar
        for layer, row in zip(layers, run.summary.layers, strict=True)
        for column in columns
        for bar in _bars(layer, column, getattr(row, column))
    ]
    words = "Total LVF (Eq. 15)" if total else "LVF"
    drawn = charts.across(f"{words} of each layer of {run.name}.", layers, bars, "LVF, %")
    return {"run": run, "columns": columns, "drawn": drawn} if bars else None


def _corruption(runs: Sequence[Compared]) -> Chart:
    bars = [bar for run in runs for part in run.corruption for bar in _bars(run.name, part.target, part.sdc_1)]
    label = "SDC-1 of each model, every bit equally likely, with its interval."
    return charts.across(label, [run.name for run in runs], bars, "SDC-1, % of trials")


def _scm(runs: Sequence[Compared], setting: str) -> Chart | None:
    bars = []
    for run in runs:
        if run.fault_free:
            bars += _bars(run.name, "no fault", run.fault_free.share)
        for row in run.settings:
            if row.name == setting:
                bars += _bars(run.name, row.target, row.share)
    if not any(bar.group != "no fault" for bar in bars):
        return None
    places = [run.name for run in runs if run.safety]
    label = f"SCM among misclassifications, on images that are {SETTINGS[setting]}; and of the model's own mistakes."
    return charts.across(label, places, bars, "SCM, % of misclassifications")


def _differences(runs: Sequence[Compared]) -> list[str]:
    """What makes these studies hard to compare, in sentences."""
    found = []
    if len({run.summary.activation for run in runs}) > 1:
        found.append("The studies ask about different activation sites, whose rates are different questions.")
    if len({str(run.summary.settings["target"]["fault_model"]) for run in runs}) > 1:
        found.append("The studies are of different fault models.")
    if len({float(run.summary.settings["precision"]["confidence"]) for run in runs}) > 1:
        found.append("The intervals are of different confidence.")
    if len({run.groups for run in runs if run.groups}) > 1:
        found.append("SCM is told by different groups.")
    return found


def _bars(place: str, group: str, rate: Estimate | None) -> list[Bar]:
    if rate is None or rate.value is None:
        return []
    text = f"{place}, {group}: {percent(rate)}"
    return [Bar(place, group, 100 * rate.value, 100 * rate.low, 100 * rate.high, text)]
