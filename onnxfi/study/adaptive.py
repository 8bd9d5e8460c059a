"""The adaptive plan: which strata the next round should draw from, as a pure function of what was seen so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Stratum
from onnxfi.metrics.allocation import needed_trials
from onnxfi.metrics.estimate import stratified_interval
from onnxfi.metrics.factors import Factors
from onnxfi.study.settings import Precision

START = 8
"""Trials that every stratum gets in the first round, or all it has."""
_LEAST, _MOST = 0.10, 0.25  # growth of the total in a round
_KIN = 8.0  # trials that a stratum's kin weigh against its own when its next share is planned


@dataclass(frozen=True)
class Tally:
    """What was seen in each stratum: i8 (H, 4), masked, non-critical, critical and non-finite trials (these last are
    critical, too). Tallies of disjoint trials add."""

    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, strata: int) -> Tally:
        """Nothing seen yet."""
        return cls(np.zeros((strata, 4), np.int64))

    @classmethod
    def of(cls, strata: int, places: Sequence[int] | NDArray[np.int64], counts: NDArray[np.int64]) -> Tally:
        """From rows of counts, i8 (P, 4), of the strata at `places` (P,); a stratum may come more than once."""
        total = np.zeros((strata, 4), np.int64)
        np.add.at(total, np.asarray(places, np.int64), counts)
        return cls(total)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.counts + other.counts)

    @property
    def trials(self) -> NDArray[np.int64]:
        """Trials of each stratum, (H,)."""
        return np.asarray(self.counts[:, :3].sum(axis=1))

    @property
    def masked(self) -> NDArray[np.int64]:
        """Masked trials of each stratum, (H,)."""
        return self.counts[:, 0]

    @property
    def non_critical(self) -> NDArray[np.int64]:
        """Non-critical trials of each stratum, (H,)."""
        return self.counts[:, 1]

    @property
    def critical(self) -> NDArray[np.int64]:
        """Critical trials of each stratum, (H,)."""
        return self.counts[:, 2]

    @property
    def non_finite(self) -> NDArray[np.int64]:
        """Critical trials with a non-finite logit, (H,)."""
        return self.counts[:, 3]


@dataclass(frozen=True)
class Design:
    """What an adaptive study is to reach, in arrays.

    population (H,): (fault, image) pairs of each stratum. kin (H,): strata of one kind in different layers share a
    number. weights (R, H) and goals (R,): the factors, and the half-widths that they are to reach.
    """

    population: NDArray[np.int64]
    kin: NDArray[np.int64]
    weights: NDArray[np.float64]
    goals: NDArray[np.float64]
    confidence: float
    budget: int | None

    @classmethod
    def of(cls, strata: Sequence[Stratum], images: int, factors: Factors, precision: Precision) -> Design:
        """The MVF of each target to `precision.model`, each LVF to `precision.layer`."""
        numbers: dict[object, int] = {}
        kin = [numbers.setdefault(stratum.kin, len(numbers)) for stratum in strata]
        rows, goals = [], []
        for target in factors.targets:
            asked = [(factors.mvf(target), precision.model)]
            asked += [(factors.lvf(target, layer), precision.layer) for layer in factors.own_layers(target)]
            for weights, goal in asked:
                if weights is not None:
                    rows.append(weights)
                    goals.append(goal)
        population = np.array([stratum.population * images for stratum in strata], np.int64)
        return cls(population, np.array(kin), np.array(rows), np.array(goals), precision.confidence, precision.budget)


def half_widths(design: Design, tally: Tally) -> NDArray[np.float64]:
    """The larger one-sided half-width, (R,), of each factor that the design asks for."""
    value, low, high = stratified_interval(
        design.weights, tally.critical, tally.trials, design.population, design.confidence
    )
    return np.asarray(np.maximum(high - value, value - low))


def propose(design: Design, tally: Tally) -> NDArray[np.int64] | None:
    """Further trials of each stratum, i8 (H,), for the next round; None when the goals or the budget are reached.

    Every stratum first gets START trials. Each later round takes a step towards what every factor that is
    still too wide would need (`needed_trials`), with the total growing by 10 to 25 %.
    """
    trials, population = tally.trials, design.population
    total = int(trials.sum())
    left = int((population - trials).sum())
    if design.budget is not None:
        left = min(left, design.budget - total)
    if left <= 0:
        return None
    first = np.maximum(np.minimum(START, population) - trials, 0)
    if first.any():
        return _rounded(first.astype(np.float64), population - trials, left)
    wide = half_widths(design, tally) > design.goals
    if not wide.any():
        return None
    rate = planning_rates(design, tally)
    goals = design.goals[wide]
    step = np.zeros(len(trials))
    while step.sum() < _LEAST * total and (trials + step < population).any():
        step = _needed(design.weights[wide], goals, trials, rate, design) - trials
        goals = goals * 0.95
    step *= min(1.0, _MOST * total / step.sum())
    return _rounded(step, population - trials, left)


def planning_rates(design: Design, tally: Tally) -> NDArray[np.float64]:
    """Rates to plan with, (H,)."""
    x, n = tally.critical, tally.trials
    pooled = (np.bincount(design.kin, x) + 0.5) / (np.bincount(design.kin, n) + 1.0)
    return np.asarray((x + _KIN * pooled[design.kin]) / (n + _KIN))


def _needed(
    weights: NDArray[np.float64],
    goals: NDArray[np.float64],
    trials: NDArray[np.int64],
    rate: NDArray[np.float64],
    design: Design,
) -> NDArray[np.float64]:
    """The trials, (H,), that satisfy every goal: factors of equally many strata are solved together."""
    most: NDArray[np.float64] = trials.astype(np.float64)
    sizes = np.count_nonzero(weights, axis=1)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        places = np.nonzero(weights[rows])[1].reshape(len(rows), size)
        needed = needed_trials(
            np.take_along_axis(weights[rows], places, axis=1),
            trials[places].astype(np.float64),
            design.population[places].astype(np.float64),
            rate[places],
            goals[rows],
            design.confidence,
        )
        np.maximum.at(most, places, needed)
    return most


def _rounded(step: NDArray[np.float64], room: NDArray[np.int64], left: int) -> NDArray[np.int64]:
    """Whole trials: `step` rounded up within `room`, or cut to `left` by largest remainder where that is less."""
    whole = np.asarray(np.minimum(np.ceil(step - 1e-9), room), np.int64)
    if whole.sum() <= left:
        return whole
    share = whole * (left / whole.sum())
    cut = np.asarray(np.floor(share), np.int64)
    rest = np.argsort(cut - share, kind="stable")[: left - int(cut.sum())]
    cut[rest] += 1
    return cut
