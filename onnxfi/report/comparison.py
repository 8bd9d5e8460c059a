"""Several studies side by side, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxfi.errors import StudyError
from onnxfi.metrics.estimate import Estimate
from onnxfi.report import charts
from onnxfi.report.charts import Bar
from onnxfi.report.document import Head, Section, document
from onnxfi.report.meaning import Safety
from onnxfi.report.ranges import VigorRun
from onnxfi.report.summary import LayerRates, Summary
from onnxfi.report.svg import Chart
from onnxfi.report.words import METHODS, SETTINGS, numbered, percent
from onnxfi.study.corruption import Corruption
from onnxfi.study.scm import FaultFree, Setting

TENSORFI = "activations, as TensorFI+"


@dataclass(frozen=True)
class Compared:
    """One study, or DeepVigor+ run, under the name that the page has for it.

    rates  MVF of weights, of activations, and total; layers: their LVFs. asked: what makes rates comparable
    """

    name: str
    said: str
    rates: Mapping[str, Estimate | None]
    layers: Sequence[LayerRates]
    population_vf: Estimate | None
    trials: int
    accuracy: float | None
    asked: Asked
    corruption: tuple[Corruption, ...] = ()
    safety: Safety | None = None
    drawn: tuple[Setting, ...] = ()

    @property
    def settings(self) -> tuple[Setting, ...]:
        return self.safety.settings if self.safety else ()

    @property
    def fault_free(self) -> FaultFree | None:
        return self.safety.fault_free if self.safety else None


@dataclass(frozen=True)
class Asked:
    """Kind of activation site, fault model, confidence, groups; None where there is none."""

    activation: str | None
    fault_model: str
    confidence: float
    groups: str | None


def comparison(runs: Sequence[tuple[Path, Summary | VigorRun]]) -> str:
    """One HTML page: MVF of each model, total LVF along each network, what becomes of answers, SCM by setting.

    Raises StudyError for a DeepVigor run by class, which has no rates.
    """
    names = numbered([_name(told) for _, told in runs])
    compared = [_compared(name, folder, told) for name, (folder, told) in zip(names, runs, strict=True)]
    head = Head("Side by side", f"{len(compared)} studies", warnings=_differences(compared))
    models = {"drawn": _mvf(compared), "runs": compared}
    rates = [getattr(row, column) for run in compared for row in run.layers for column in _columns(run)]
    highest = max((100 * rate.high for rate in rates if rate), default=None)
    layers = [part for run in compared if (part := _profile(run, highest))]
    sections = [
        Section("models", "Models", "comparison/models.html", models),
        Section("layers", "Layers", "comparison/layers.html", {"parts": layers}),
    ]
    if any(run.corruption for run in compared):
        answers = {"drawn": _corruption(compared), "runs": compared}
        sections.append(Section("answers", "Answers", "comparison/answers.html", answers))
    scm = [chart for name in SETTINGS if name != "all" and (chart := _scm(compared, name))]
    if scm:
        safety = {"drawn": scm, "runs": compared, "setting_names": SETTINGS}
        sections.append(Section("safety", "Safety", "comparison/safety.html", safety))
    sections.append(Section("again", "Studies", "comparison/studies.html", {"runs": compared}))
    return document(head, sections)


def _name(told: Summary | VigorRun) -> str:
    return told.model if isinstance(told, Summary) else f"{told.found['model']}, {METHODS[told.found['method']]}"


def _compared(name: str, folder: Path, told: Summary | VigorRun) -> Compared:
    if isinstance(told, VigorRun):
        return _vigor(name, folder, told)
    meaning, plan = told.meaning, told.plan["kind"] + ("" if told.converged else ", not finished")
    safety = meaning.safety if meaning else None
    return Compared(
        name,
        f"{folder}; SHA-256 {told.model_sha256}; plan {plan}, {told.trials:,} trials, on {told.provider}, "
        f"seed {told.seed}",
        {"weights": told.mvf_weights, "activations": told.mvf_activations, "total": told.mvf_total},
        told.layers,
        told.population_vf,
        told.trials,
        told.golden_accuracy.top1 if told.golden_accuracy else None,
        Asked(
            told.activation,
            str(told.settings["target"]["fault_model"]),
            float(told.settings["precision"]["confidence"]),
            safety.groups.name if safety else None,
        ),
        meaning.corruption if meaning else (),
        safety,
        meaning.drawn_settings if meaning else (),
    )


def _vigor(name: str, folder: Path, run: VigorRun) -> Compared:
    found = run.found
    if run.by_class:
        raise StudyError(f"{folder} holds ranges by class, which have no rates to compare; leave it out.")
    said = f"{folder}; SHA-256 {found['model_sha256']}; {METHODS[found['method']]}, {found['images']:,} images"
    return Compared(
        name,
        f"{said}, on {found['provider']}, seed {found['sampling']['seed']}",
        {target: run.rate("mvf", target) for target in ("weights", "activations", "total")},
        run.layers,
        run.rate("population_vf"),
        sum(row["tried"] for row in found["search"]),
        None,
        Asked(found["activation"], "bit-flip", float(found["confidence"]), None),
    )


def _mvf(runs: Sequence[Compared]) -> Chart:
    bars = [bar for run in runs for group, rate in run.rates.items() for bar in _bars(run.name, group, rate)]
    label = "MVF of weights, of activations and in total (Eq. 15) of each model, with its interval."
    return charts.across(label, [run.name for run in runs], bars, "MVF, %")


def _profile(run: Compared, highest: float | None) -> dict[str, Any] | None:
    """What comparison/layers.html shows of a run; highest: end of the axis, in percent."""
    layers, columns = numbered([row.layer for row in run.layers]), _columns(run)
    bars = [
        bar
        for layer, row in zip(layers, run.layers, strict=True)
        for column in columns
        for bar in _bars(layer, column, getattr(row, column))
    ]
    words = "Total LVF (Eq. 15)" if columns == ["total"] else "LVF"
    drawn = charts.across(f"{words} of each layer of {run.name}.", layers, bars, "LVF, %", highest)
    return {"run": run, "columns": columns, "drawn": drawn} if bars else None


def _columns(run: Compared) -> list[str]:
    """The LVFs to show: Eq. 15, or without it the one target there is."""
    return ["total"] if run.rates["total"] else [target for target, rate in run.rates.items() if rate]


def _corruption(runs: Sequence[Compared]) -> Chart:
    bars = [bar for run in runs for part in run.corruption for bar in _bars(run.name, part.target, part.sdc_1)]
    label = "SDC-1 of each model, every bit equally likely, with its interval."
    return charts.across(label, [run.name for run in runs if run.corruption], bars, "SDC-1, % of trials")


def _scm(runs: Sequence[Compared], setting: str) -> Chart | None:
    bars = []
    for run in runs:
        if run.fault_free:
            bars += _bars(run.name, "no fault", run.fault_free.share)
        for row in run.settings:
            if row.name == setting:
                bars += _bars(run.name, row.target, row.share)
        for row in run.drawn:
            if row.name == setting:
                bars += _bars(run.name, TENSORFI, row.share)
    if not any(bar.group != "no fault" for bar in bars):
        return None
    places = [run.name for run in runs if run.safety]
    label = f"SCM among misclassifications, on images that are {SETTINGS[setting]}; and of the model's own mistakes."
    return charts.across(label, places, bars, "SCM, % of misclassifications")


def _differences(runs: Sequence[Compared]) -> list[str]:
    """What makes these studies hard to compare, in sentences."""
    found = []
    if len({run.asked.activation for run in runs}) > 1:
        found.append("The studies ask about different activation sites, whose rates are different questions.")
    if len({run.asked.fault_model for run in runs}) > 1:
        found.append("The studies are of different fault models.")
    if len({run.asked.confidence for run in runs}) > 1:
        found.append("The intervals are of different confidence.")
    if len({run.asked.groups for run in runs if run.asked.groups}) > 1:
        found.append("SCM is told by different groups.")
    return found


def _bars(place: str, group: str, rate: Estimate | None) -> list[Bar]:
    if rate is None or rate.value is None:
        return []
    text = f"{place}, {group}: {percent(rate)}"
    return [Bar(place, group, 100 * rate.value, 100 * rate.low, 100 * rate.high, text)]
