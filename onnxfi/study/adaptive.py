"""The adaptive plan: which strata the next round should draw from, as a pure function of what was seen so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Stratum
from onnxfi.metrics.allocation import needed_trials
from onnxfi.metrics.estimate import stratified_interval
from onnxfi.metrics.factors import Factors
from onnxfi.study.settings import Precision

START = 8
"""Trials that every stratum gets in the first round, or all it has."""
_GROWTHS = (0.10, 0.15, 0.20, 0.25)
_PRIOR = 0.1  # critical trials, and as many others, that are taken as seen in each kin
_DOUBT = 0.25  # and in each stratum, beside its kin's


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
    return _widths(design, tally.critical, tally.trials)


def propose(design: Design, tally: Tally) -> NDArray[np.int64] | None:
    """Further trials of each stratum, i8 (H,), for the next round; None when the goals or the budget are reached.

    Every stratum first gets START trials. Then, for each factor that is still too wide, the trials under it grow by 10
    to 25 %, as little as promises to be enough, towards what it would need in the end (`needed_trials`, by
    `planning_rates`); a stratum gets the most that any factor wants of it.
    """
    trials, population = tally.trials, design.population
    room = population - trials
    left = int(room.sum())
    if design.budget is not None:
        left = min(left, design.budget - int(trials.sum()))
    if left <= 0:
        return None
    first = np.maximum(np.minimum(START, population) - trials, 0)
    if first.any():
        return _rounded(first.astype(np.float64), room, left)
    wide = half_widths(design, tally) > design.goals
    if not wide.any():
        return None
    few = replace(design, weights=design.weights[wide], goals=design.goals[wide])
    wanted = _wanted(few, tally)
    whole = (few.weights > 0) @ trials.astype(np.float64)
    growth = np.full(len(wanted), _GROWTHS[-1])

    def step(of_each: NDArray[np.float64] | float) -> NDArray[np.float64]:
        shares = wanted * np.minimum(1.0, of_each * whole / wanted.sum(axis=1))[:, None]
        joined = shares.max(axis=0)
        return np.asarray(joined * min(1.0, _GROWTHS[-1] * trials.sum() / joined.sum()))

    for size in reversed(_GROWTHS[:-1]):
        later = trials + _rounded(step(size), room, left)
        growth[_widths(few, tally.critical * (later / trials), later) <= few.goals] = size
    return _rounded(step(growth), room, left)


def planning_rates(design: Design, tally: Tally) -> NDArray[np.float64]:
    """Rates to plan with, (H,): those of all strata of one kin together, drawn towards 1/2 where trials are few.

    Never a stratum's own. Where its own luck sets its further share, a low estimate stays low and only a high one is
    mended, and that bias costs coverage. The same holds for a kin of few strata: without the second half of the rule
    99 % intervals of a network of three layers held the MVF in 96 % of studies.
    """
    critical = np.bincount(design.kin, tally.critical) + _PRIOR
    seen = np.bincount(design.kin, tally.trials) + 2 * _PRIOR
    rate = (critical / seen)[design.kin]
    return np.asarray((tally.trials * rate + _DOUBT) / (tally.trials + 2 * _DOUBT))


def _widths(design: Design, critical: NDArray[Any], trials: NDArray[np.int64]) -> NDArray[np.float64]:
    value, low, high = stratified_interval(design.weights, critical, trials, design.population, design.confidence)
    return np.asarray(np.maximum(high - value, value - low))


def _wanted(design: Design, tally: Tally) -> NDArray[np.float64]:
    """Further trials, (R, H), of each stratum for each factor, at least the smallest growth of what is under it.

    Where that much does not seem needed, but the interval is too wide all the same, a sharper goal gives the direction.
    """
    trials, rate, goals = tally.trials, planning_rates(design, tally), design.goals
    under = design.weights > 0
    least = np.minimum(_GROWTHS[0] * (under @ trials), under @ (design.population - trials))
    wanted = np.zeros(under.shape)
    while len(short := np.flatnonzero(wanted.sum(axis=1) < least)):
        wanted[short] = _needed(design.weights[short], goals[short], trials, rate, design)
        goals = goals * 0.8
    return wanted


def _needed(
    weights: NDArray[np.float64],
    goals: NDArray[np.float64],
    trials: NDArray[np.int64],
    rate: NDArray[np.float64],
    design: Design,
) -> NDArray[np.float64]:
    """Further trials, (R, H), that each factor needs: factors of equally many strata are solved together."""
    further = np.zeros(weights.shape)
    sizes = np.count_nonzero(weights, axis=1)
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)[:, None]
        places = np.nonzero(weights[rows[:, 0]])[1].reshape(len(rows), size)
        done = trials[places].astype(np.float64)
        population = design.population[places].astype(np.float64)
        needed = needed_trials(
            weights[rows, places], done, population, rate[places], goals[rows[:, 0]], design.confidence
        )
        further[rows, places] = needed - done
    return further


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
