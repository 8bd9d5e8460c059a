"""The sections of a study's page, in reading order: each a function from the study to a Section, or None."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from onnxfi.metrics.fit import ASIL_D
from onnxfi.metrics.safety import load_groups, shipped
from onnxfi.report import drawings
from onnxfi.report.document import Section
from onnxfi.report.glossary import glossary
from onnxfi.report.meaning import Meaning
from onnxfi.report.ranges import VigorRun
from onnxfi.report.summary import Summary
from onnxfi.report.vigor_page import ranges
from onnxfi.report.words import CORRUPTION, PUBLISHED, SETTINGS, command, confidence, happening
from onnxfi.study.confusion import Confusion
from onnxfi.study.finding import Finding

T = TypeVar("T")

_TURNS = 20  # rows of a table of changes of class


@dataclass(frozen=True)
class Study:
    """What the page tells of."""

    finding: Finding
    summary: Summary
    meaning: Meaning
    vigor: VigorRun | None = None


def sections(study: Study) -> list[Section]:
    """Those that this study has something for."""
    return _some(make(study) for make in _ALL)


def _layers(study: Study) -> Section:
    summary = study.summary
    values = {
        "fault": happening(summary.settings),
        "confidence": confidence(summary.settings),
        "drawn": drawings.layer_profile(summary.layers),
        "places": drawings.places(summary.layers),
        "totals": [row for row in summary.layers if row.total],
    }
    return Section("layers", "Layers", "study/layers.html", values)


def _bits(study: Study) -> Section:
    summary = study.summary
    values = {
        "fault": happening(summary.settings),
        "drawn": drawings.bit_profile(summary.bits),
        "rows": summary.bits,
        "pooled": any(len(row.bits) > 1 for row in summary.bits),
    }
    return Section("bits", "Bits", "study/bits.html", values)


def _channels(study: Study) -> Section | None:
    finding = study.finding
    maps = _some(drawings.channel_map(finding.channels, target) for target in finding.scheme.factors.targets)
    if not maps:
        return None
    values = {"cells": drawings.CELLS, "drawn": maps, "worst": drawings.worst_channels(finding.channels)}
    return Section("channels", "Channels", "study/channels.html", values)


def _ranges(study: Study) -> Section | None:
    return ranges(study.vigor, study.summary) if study.vigor else None


def _answers(study: Study) -> Section:
    summary, meaning = study.summary, study.meaning
    values = {
        "m": meaning,
        "answers": meaning.answers,
        "drawn": drawings.corruption_profile(meaning),
        "targets": [part.target for part in meaning.corruption],
        "outcomes": _some((summary.outcomes_weights, summary.outcomes_activations)),
        "corruption_names": CORRUPTION,
        "golden": summary.golden_accuracy,
    }
    return Section("answers", "Answers", "study/answers.html", values)


def _safety(study: Study) -> Section | None:
    meaning, safety = study.meaning, study.meaning.safety
    if safety is None:
        return None
    values = {
        "m": meaning,
        "drawn": drawings.setting_profile(safety.settings, safety.fault_free),
        "drawn_settings": drawings.setting_profile(meaning.drawn_settings, None),
        "setting_names": SETTINGS,
        "published": PUBLISHED.get(meaning.drawn.groups) if meaning.drawn else None,
    }
    return Section("safety", "Safety", "study/safety.html", values)


def _turns(study: Study) -> Section | None:
    meaning = study.meaning
    parts = [
        {
            "summary": f"The most frequent changes of {matrix.by}, faults in {matrix.target}",
            "drawn": drawings.confusion_map(matrix, _order(matrix, meaning)),
            "names": matrix.names,
            "rows": matrix.cells[:_TURNS],
        }
        for matrix in meaning.confusions
        if matrix.cells
    ]
    return Section("turns", "From answer to answer", "study/turns.html", {"parts": parts}) if parts else None


def _order(matrix: Confusion, meaning: Meaning) -> list[int]:
    """Classes of one group side by side."""
    numbers = range(len(matrix.names))
    if meaning.safety is None or matrix.by == "group":
        return list(numbers)
    home = meaning.safety.groups.of(np.arange(len(matrix.names)))
    return sorted(numbers, key=lambda number: (int(home[number]), number))


def _fit(study: Study) -> Section | None:
    meaning = study.meaning
    if meaning.per_mbit is None:
        return None
    values = {"per_mbit": meaning.per_mbit, "limit": ASIL_D, "rows": meaning.fit}
    return Section("fit", "Failures in time", "study/fit.html", values)


def _sure(study: Study) -> Section:
    summary, steps = study.summary, study.finding.history
    values = {
        "s": summary,
        "state": f"plan {summary.plan['kind']}, " + ("finished" if summary.converged else "not finished"),
        "drawn": drawings.shrinking(steps),
        "targets": list(study.finding.scheme.factors.targets),
        "steps": steps,
    }
    return Section("sure", "How sure", "study/sure.html", values)


def _again(study: Study) -> Section:
    finding, summary = study.finding, study.summary
    values = {
        "s": summary,
        "command": command(summary.model, summary.settings) + _read_by(study.meaning),
        "data": finding.about.get("data", ""),
        "data_sha256": finding.identity["data"].get("sha256", ""),
        "arithmetic": finding.identity["arithmetic"],
        "settings_json": json.dumps(summary.settings, indent=2, ensure_ascii=False),
    }
    return Section("again", "Again", "study/again.html", values)


def _words(study: Study) -> Section:
    return Section("words", "What the numbers mean", "words.html", {"glossary": glossary(study.summary, study.meaning)})


_ALL: tuple[Callable[[Study], Section | None], ...] = (
    _layers,
    _bits,
    _channels,
    _ranges,
    _answers,
    _safety,
    _turns,
    _fit,
    _sure,
    _again,
    _words,
)


def _read_by(meaning: Meaning) -> str:
    """The options that say how trials are read, as they stand at the end of the command."""
    words = []
    if meaning.safety:
        groups = meaning.safety.groups
        words.append("--groups " + next((n for n in shipped() if load_groups(n) == groups), "YOUR-GROUPS.json"))
    if meaning.per_mbit is not None:
        words.append(f"--fit-per-mbit {meaning.per_mbit:g}")
    if meaning.drawn:
        words.append("--preset tensorfi+")
    return "".join(f" {word}" for word in words)


def _some(found: Iterable[T | None]) -> list[T]:
    return [one for one in found if one is not None]
