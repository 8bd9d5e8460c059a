"""The confusion matrix of a study: from the answer without faults to the answer under them, by class or by group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.safety import Groups
from onnxfi.study.evidence import Evidence
from onnxfi.study.fragile import Turn, turns


@dataclass(frozen=True)
class Confusion:
    """One target's matrix. A row is what has images of that fault-free answer, and its rates add up to 1.

    names   of classes or groups, by number
    cells   every change that a trial showed, the most frequent first; a change that is not there was not seen
    stays   of each row, the trials that stay: with the same class, or in the same group
    """

    target: Target
    by: Literal["class", "group"]
    names: tuple[str, ...]
    cells: tuple[Turn, ...]
    stays: tuple[Turn, ...]


def confusion(evidence: Evidence, target: Target, groups: Groups | None = None) -> Confusion:
    """By class; where `groups` are given by group, a change within a group being none."""
    outputs = np.arange(evidence.answers.outputs)
    home = groups.of(outputs) if groups else outputs
    names = (group.name for group in groups.groups) if groups else map(evidence.answers.class_name, outputs.tolist())
    cells = tuple(turn for turn in turns(evidence, target, home) if turn.before != turn.after)
    return Confusion(target, "group" if groups else "class", tuple(names), cells, tuple(_stays(evidence, target, home)))


def _stays(evidence: Evidence, target: Target, home: NDArray[np.int64]) -> Iterator[Turn]:
    weights, hits = evidence.population(target), evidence.hits
    assert weights is not None
    of_image = home[evidence.answers.top1]
    before = of_image[hits["image"]]
    left = (hits["finite"] == 0) | (home[hits["top1"]] != before)
    for number, images in zip(*np.unique(of_image, return_counts=True), strict=True):
        rate = evidence.estimate(weights, evidence.counted(left & (before == number)), images / len(of_image))
        yield Turn(int(number), int(number), _rest(rate))


def _rest(rate: Estimate) -> Estimate:
    value = None if rate.value is None else 1 - rate.value
    return replace(rate, value=value, low=1 - rate.high, high=1 - rate.low)
