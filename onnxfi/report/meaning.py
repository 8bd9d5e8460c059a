"""What a study's rates mean for the one who uses the model: a part of summary.json.

sdc       {weights, activations}: {sdc_1, sdc_5, sdc_10, sdc_20, non_finite, accuracy, accuracy_loss}, each a rate;
          sdc_5 null up to five classes, the last two null without labels
scm       null without --groups:
    groups        the documented object of onnxfi.metrics.safety
    fault_free    {images, wrong, scm, share}: the model's own mistakes; null without labels
    settings[]    {setting, target, images, sdc, scm, share}: setting is all, correct, wrong, wrong_scm or
                  wrong_non_scm, by the fault-free answer to the image; sdc and scm are rates of trials, share is
                  of SCM among misclassifications, null where there was none
    turns[]       {target, before, after, ...rate}: from group to group, of the trials on images of the first; after
                  is null for no answer
tensorfi  null without --preset tensorfi+: {groups, layers, population, settings[]}, settings as above, with faults
          drawn as TensorFI+ draws them; their intervals are binomial
fragile[] {target, images, classes, turns}: the worst ten of each: {image, name, ...rate}, {class, name, images,
          ...rate}, {before, after, ...rate} in class numbers
fit       null without --fit-per-mbit: {per_mbit, mbit, parts}; parts[]: {target, layer, bits, value, low, high} in
          FIT, layer null for the model
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from onnxfi.errors import DataError, StudyError
from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.fit import MBIT, failures_in_time
from onnxfi.metrics.safety import Groups
from onnxfi.study.answers import Answers
from onnxfi.study.assembly import Assembly
from onnxfi.study.confusion import Confusion, confusion
from onnxfi.study.corruption import Corruption, corruption
from onnxfi.study.evidence import Evidence
from onnxfi.study.finding import Finding
from onnxfi.study.fragile import Turn, Weak, class_turns, turns, weak_classes, weak_images
from onnxfi.study.inputs import class_count
from onnxfi.study.scm import FaultFree, Setting, fault_free, settings
from onnxfi.study.tensorfi import ThreeSettings


@dataclass(frozen=True)
class Safety:
    """SCM under one grouping; turns by target, from group to group."""

    groups: Groups
    fault_free: FaultFree | None
    settings: tuple[Setting, ...]
    turns: dict[Target, tuple[Turn, ...]]


@dataclass(frozen=True)
class Fragile:
    """The worst images, answers, and changes of class, of one target."""

    target: Target
    images: tuple[Weak, ...]
    classes: tuple[Weak, ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Fit:
    """FIT of one target: of a layer, or of the model (`layer` None). `rate.population` is the number of bits."""

    target: Target
    layer: str | None
    rate: Estimate


@dataclass(frozen=True)
class Meaning:
    """See the module's docstring; `confusions`, by class and with groups by group, are in confusion.csv."""

    answers: Answers
    confidence: float
    corruption: tuple[Corruption, ...]
    fragile: tuple[Fragile, ...]
    safety: Safety | None = None
    drawn: ThreeSettings | None = None
    per_mbit: float | None = None
    fit: tuple[Fit, ...] = ()
    confusions: tuple[Confusion, ...] = ()

    @property
    def drawn_settings(self) -> tuple[Setting, ...]:
        """The settings as TensorFI+ draws them."""
        return self.drawn.settings(self.confidence) if self.drawn else ()

    def to_dict(self) -> dict[str, Any]:
        """The documented object, of plain JSON types."""
        return {
            "sdc": {part.target: _corruption(part) for part in self.corruption},
            "scm": _safety(self.safety) if self.safety else None,
            "tensorfi": self._drawn() if self.drawn else None,
            "fragile": [self._fragile(part) for part in self.fragile],
            "fit": None if self.per_mbit is None else self._fit(),
        }

    def _fragile(self, part: Fragile) -> dict[str, Any]:
        name = self.answers
        return {
            "target": part.target,
            "images": [{"image": w.number, "name": name.image_name(w.number), **asdict(w.rate)} for w in part.images],
            "classes": [
                {"class": w.number, "name": name.class_name(w.number), "images": w.images, **asdict(w.rate)}
                for w in part.classes
            ],
            "turns": [_turn(turn) for turn in part.turns],
        }

    def _drawn(self) -> dict[str, Any]:
        assert self.drawn is not None
        whole = {"groups": self.drawn.groups, "layers": self.drawn.layers, "population": self.drawn.population}
        return {**whole, "settings": [_setting(setting) for setting in self.drawn_settings]}

    def _fit(self) -> dict[str, Any]:
        parts = [
            {
                "target": part.target,
                "layer": part.layer,
                "bits": part.rate.population,
                "value": part.rate.value,
                "low": part.rate.low,
                "high": part.rate.high,
            }
            for part in self.fit
        ]
        return {"per_mbit": self.per_mbit, "mbit": MBIT, "parts": parts}


def check_reading(assembly: Assembly, groups: Groups | None, per_mbit: float | None, tensorfi: bool) -> None:
    """Raise before a study what its reading would refuse after it: DataError, StudyError."""
    outputs = class_count(assembly.network)
    if groups is not None and outputs is not None:
        groups.check(outputs)
    if tensorfi and (groups is None or assembly.dataset.labels is None):
        raise DataError("--preset tensorfi+ tells safety-critical mistakes from others; give --groups, and labels.")
    if per_mbit is not None:
        _check_rate(assembly.targets.space.fault_model, per_mbit)


def interpret(
    finding: Finding,
    groups: Groups | None = None,
    per_mbit: float | None = None,
    drawn: ThreeSettings | None = None,
) -> Meaning:
    """From a study's records to their meaning.

    Raises StudyError for a study of an earlier version, which kept no fault-free answers, and for FIT of faults that
    are no upsets of stored bits; DataError for groups of other classes than the model's.
    """
    evidence = finding.evidence
    if evidence is None:
        raise StudyError(f"The study of {finding.about['model']} keeps no fault-free answers; run it in a new folder.")
    targets = evidence.factors.targets
    return Meaning(
        evidence.answers,
        evidence.rates.confidence,
        corruption(evidence),
        tuple(
            Fragile(
                target,
                weak_images(evidence, target),
                weak_classes(evidence, target),
                class_turns(evidence, target),
            )
            for target in targets
        ),
        _judge(evidence, groups) if groups else None,
        drawn,
        per_mbit,
        _failures(finding, per_mbit) if per_mbit is not None else (),
        tuple(confusion(evidence, target, by) for by in (None, groups)[: 2 if groups else 1] for target in targets),
    )


def _judge(evidence: Evidence, groups: Groups) -> Safety:
    answers = evidence.answers
    groups.check(answers.outputs)
    home = groups.of(np.arange(answers.outputs))
    return Safety(
        groups,
        fault_free(answers, groups, evidence.rates.confidence),
        settings(evidence, groups),
        {target: turns(evidence, target, home) for target in evidence.factors.targets},
    )


def _failures(finding: Finding, per_mbit: float) -> tuple[Fit, ...]:
    space, factors, rates = finding.targets.space, finding.scheme.factors, finding.rates
    _check_rate(space.fault_model, per_mbit)
    found = []
    for target in factors.targets:
        if any(region.kind == "mac" for region in space.regions if region.target == target):
            continue  # operands of multiplications are no memory
        whole = rates.estimate(factors.population(target))
        parts = [(None, whole)] + [
            (layer.id, rates.estimate(factors.lvf(target, layer.index)))
            for layer in finding.targets.layers
            if layer.index in factors.own_layers(target)
        ]
        found += [Fit(target, layer, failures_in_time(per_mbit, vf)) for layer, vf in parts if vf is not None]
    return tuple(found)


def _check_rate(fault_model: str, per_mbit: float) -> None:
    if fault_model != "bit-flip":
        raise StudyError(f"--fit-per-mbit is a rate of bit flips, and this study is of {fault_model} faults.")
    if not 0 <= per_mbit < float("inf"):
        raise StudyError(f"--fit-per-mbit is {per_mbit}; give a rate, such as 1000.")


def _corruption(part: Corruption) -> dict[str, Any]:
    return {name: value for name, value in asdict(part).items() if name != "target"}


def _safety(safety: Safety) -> dict[str, Any]:
    return {
        "groups": safety.groups.to_dict(),
        "fault_free": asdict(safety.fault_free) if safety.fault_free else None,
        "settings": [_setting(setting) for setting in safety.settings],
        "turns": [{"target": target, **_turn(turn)} for target, found in safety.turns.items() for turn in found],
    }


def _setting(setting: Setting) -> dict[str, Any]:
    values = asdict(setting)
    return {"setting": values.pop("name"), **values}


def _turn(turn: Turn) -> dict[str, Any]:
    return {"before": turn.before, "after": None if turn.after < 0 else turn.after, **asdict(turn.rate)}
