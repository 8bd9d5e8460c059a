"""Every record of a study, counted for what its trials mean; and estimates of shares that follow from the counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Target
from onnxfi.metrics.combine import Bounds
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.factors import Factors, Weights
from onnxfi.metrics.outcome import CRITICAL
from onnxfi.metrics.sdc import SDCS, accuracy_flags, sdc_flags
from onnxfi.study.answers import Answers
from onnxfi.study.rates import Rates
from onnxfi.study.result import Result

HIT = np.dtype([("stratum", "<u4"), ("image", "<u4"), ("top1", "<i4"), ("finite", "u1")])
"""A critical trial: its stratum, image, faulty top-1, and 0 where a logit is not finite."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Evidence:
    """seen: trials of each stratum, i8 (H,), of each measure in metrics.sdc.SDCS, and, with labels, those that broke a
    right answer or mended a wrong one ('broke', 'mended'). hits: HIT of every critical trial."""

    rates: Rates
    factors: Factors
    answers: Answers
    seen: Mapping[str, Counts]
    hits: NDArray[Any]

    def population(self, target: Target) -> Weights | None:
        """Weights of the strata when every fault of the target is equally likely."""
        return self.factors.population(target)

    def counted(self, chosen: NDArray[np.bool_]) -> Counts:
        """Of the `chosen` hits (bool, one each), how many lie in each stratum, i8 (H,)."""
        return np.bincount(self.hits["stratum"][chosen], minlength=len(self.rates.strata)).astype(np.int64)

    def estimate(self, weights: Weights, count: Counts, share: float = 1.0) -> Estimate:
        """The rate of trials of `count` (H,), among the trials on images that are `share` of all.

        The share is known, not drawn: so the rate over all images is divided by it, and no stratum is ever empty.
        """
        whole = self.rates.of(weights, count)
        value = None if whole.value is None else min(whole.value / share, 1.0)
        low, high = (min(bound / share, 1.0) for bound in (whole.low, whole.high))
        return Estimate(value, low, high, whole.trials, whole.population)

    def correlation(self, weights: Weights, a: Counts, b: Counts) -> float:
        """Of the estimates of two kinds of trials that exclude each other: 0, or below."""
        return self.rates.correlation(weights, a, b)


def bounds(estimate: Estimate) -> Bounds:
    """The limits alone; half-way between them where nothing was seen."""
    value = (estimate.low + estimate.high) / 2 if estimate.value is None else estimate.value
    return Bounds(value, estimate.low, estimate.high)


def gather(results: Iterable[Result], rates: Rates, factors: Factors, answers: Answers) -> Evidence:
    """Read every record once."""
    names = [*SDCS, *(() if answers.labels is None else ("broke", "mended"))]
    seen = {name: np.zeros(len(rates.strata), np.int64) for name in names}
    hits: list[NDArray[Any]] = []
    for result in results:
        records, image = result.records, result.records["image"].astype(np.int64)
        strata = strata_of(result)
        flags = sdc_flags(records, answers.confidence[image])
        if answers.labels is not None:
            label = answers.labels[image]
            flags["broke"], flags["mended"] = accuracy_flags(records, answers.top1[image] == label, label)
        for name in names:
            seen[name] += np.bincount(strata[flags[name]], minlength=len(rates.strata))
        critical = records["outcome"] == CRITICAL
        found = np.zeros(int(critical.sum()), HIT)
        found["stratum"] = strata[critical]
        for field in ("image", "top1", "finite"):
            found[field] = records[field][critical]
        hits.append(found)
    return Evidence(rates, factors, answers, seen, np.concatenate(hits) if hits else np.zeros(0, HIT))


def strata_of(result: Result) -> NDArray[np.int64]:
    """The stratum of each record of a unit, (T,)."""
    draws = [piece.stop - piece.start for piece in result.unit.pieces]
    each = len(result.records) // max(1, sum(draws))
    return np.repeat([piece.stratum for piece in result.unit.pieces], np.array(draws) * each)
