"""From counts to estimates: one table of counts a study, and every rate of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Stratum
from onnxfi.metrics.estimate import Estimate, stratified_interval
from onnxfi.metrics.factors import Weights

Outcome = Literal["masked", "non_critical", "critical", "non_finite"]
OUTCOMES: tuple[Outcome, ...] = ("masked", "non_critical", "critical", "non_finite")


@dataclass(frozen=True)
class Rates:
    """The counts of a study, by stratum.

    strata      (H,)
    drawn       i8[H]: draws so far, of (fault, image) pairs, or where the plan is `crossed` of faults, each of which
                ran on all images
    counts      i8[H, 4]: masked, non-critical, critical and non-finite trials
    images      in the data set
    confidence  of the intervals
    """

    strata: Sequence[Stratum]
    drawn: NDArray[np.int64]
    counts: NDArray[np.int64]
    images: int
    crossed: bool
    confidence: float

    def estimate(self, weights: Weights | None, outcome: Outcome = "critical") -> Estimate | None:
        """The rate whose share of each stratum is `weights` (H,), from metrics.factors; None for None."""
        return None if weights is None else self.of(weights, self.counts[:, OUTCOMES.index(outcome)])

    def of(self, weights: Weights, count: NDArray[np.int64]) -> Estimate:
        """The rate of the trials that `count` (H,) counts in each stratum, such as those of one outcome.

        Of a crossed plan what was drawn is faults, each with the share of its images that `count` counts.
        """
        return self.each(np.atleast_2d(weights), count)[0]

    def each(self, weights: Weights, count: NDArray[np.int64]) -> list[Estimate]:
        """The same for many rates at once, weights (R, H)."""
        seen = count / (self.images if self.crossed else 1)
        bounds = stratified_interval(weights, seen, self.drawn, self.size, self.confidence)
        part = weights > 0
        trials = part @ self.trials
        population = part @ np.array([stratum.population for stratum in self.strata], np.int64)
        return [
            Estimate(float(value) if n else None, float(low), float(high), int(n), int(N))
            for value, low, high, n, N in zip(*bounds, trials, population, strict=True)
        ]

    def correlation(self, weights: Weights, a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
        """Of the estimates of two kinds of trials that exclude each other, counted (H,) each: 0, or below."""
        n = np.maximum(self.trials, 1)
        p, q, spread = a / n, b / n, weights**2 / n
        variances = float(spread @ (p * (1 - p))), float(spread @ (q * (1 - q)))
        if min(variances) <= 0:
            return 0.0
        return -float(spread @ (p * q)) / float(np.sqrt(variances[0] * variances[1]))

    @property
    def trials(self) -> NDArray[np.int64]:
        """Trials of each stratum (H,)."""
        return self.drawn * (self.images if self.crossed else 1)

    @property
    def size(self) -> NDArray[np.float64]:
        """What can be drawn from each stratum (H,): pairs, or faults."""
        faults = np.array([float(stratum.population) for stratum in self.strata])
        return faults if self.crossed else faults * self.images
