"""DeepVigor+ of both networks: rates of the matched layers, and how far a word may be off before it matters.

Each network's sites and images are drawn on its own (of two layouts, the same draw is other sites), so that differences
carry the intervals of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Target
from onnxfi.metrics.combine import difference
from onnxfi.parity.compare import Change, LayerPairs
from onnxfi.parity.twins import Twins
from onnxfi.study.evidence import bounds
from onnxfi.vigor.analysis import Analysis, analyze
from onnxfi.vigor.settings import Listener, Question


@dataclass(frozen=True)
class Reach:
    """Of the pairs of site and image of a layer: medians of delta- and delta+, the deviations beyond which the answer
    changes (infinite where that of most pairs never does), and the share of pairs that no deviation harms."""

    lower: float
    upper: float
    safe: float


@dataclass(frozen=True)
class ThresholdChange:
    """One layer in both networks."""

    target: Target
    layer_a: str
    layer_b: str
    change: Change
    reach_a: Reach
    reach_b: Reach


@dataclass(frozen=True)
class Vigors:
    """mvf: by target."""

    a: Analysis
    b: Analysis
    mvf: Mapping[Target, Change]
    layers: tuple[ThresholdChange, ...]


def analyze_both(twins: Twins, a: Question, b: Question, progress: Listener | None = None) -> Vigors:
    """DeepVigor+ on both, and the matched layers compared."""
    one, other = analyze(twins.path_a, _unshared(a), progress), analyze(twins.path_b, _unshared(b), progress)
    pairs = [(pair.a.layer.index, pair.b.layer.index) for pair in twins.matching.pairs]
    mvf: dict[Target, Change] = {}
    for target in one.estimates.factors.targets:
        mine = one.estimates.estimate(one.estimates.factors.mvf(target))
        there = other.estimates.estimate(other.estimates.factors.mvf(target))
        if mine is not None and there is not None:
            mvf[target] = Change(mine, there, difference(bounds(mine), bounds(there)))
    return Vigors(one, other, mvf, tuple(_layers(one, other, pairs)))


def _unshared(question: Question) -> Question:
    return replace(question, target=replace(question.target, unshare=True))


def _layers(one: Analysis, other: Analysis, pairs: LayerPairs) -> list[ThresholdChange]:
    names = [{layer.index: layer.id for layer in analysis.targets.layers} for analysis in (one, other)]
    found = []
    for target in one.estimates.factors.targets:
        for i, j in pairs:
            mine = one.estimates.estimate(one.estimates.factors.lvf(target, i))
            there = other.estimates.estimate(other.estimates.factors.lvf(target, j))
            reach = _reach(one, target, i), _reach(other, target, j)
            if mine is None or there is None or reach[0] is None or reach[1] is None:
                continue
            change = Change(mine, there, difference(bounds(mine), bounds(there)))
            found.append(ThresholdChange(target, names[0][i], names[1][j], change, reach[0], reach[1]))
    return found


def _reach(analysis: Analysis, target: Target, layer: int) -> Reach | None:
    home = analysis.targets.home(target, layer)
    mine = [m for m in analysis.estimates.measured if (m.region.target, m.region.layer) == (target, home)]
    if not mine:
        return None
    lower, upper = (np.concatenate([getattr(m, side).ravel() for m in mine]) for side in ("lower", "upper"))
    return Reach(_median(lower), _median(upper), float((np.isinf(lower) & np.isinf(upper)).mean()))


def _median(values: NDArray[Any]) -> float:
    """The median, of which half of the values, infinite ones too, lie on either side."""
    return float(np.sort(values)[len(values) // 2])
