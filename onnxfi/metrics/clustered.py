"""Intervals of means over samples in clusters: sites drawn within channels that were drawn first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

Array = NDArray[np.float64]


def moment_interval(value: float, variance: float, up: float, down: float, confidence: float) -> tuple[float, float]:
    """Low and high of a rate known by an estimate, its variance, and what one draw more may add or take away.

    Fay and Feuer's gamma interval (Statistics in Medicine 16, 1997, p. 791), from moments: limits of gamma
    distributions of mean `value` and that variance (lower), and value + up and variance + up^2 (upper); of a rate above
    one half the same for its complement. `down` is for a part that was critical whenever it was drawn: its upper limit
    of not being so, that of a gamma distribution of mean and deviation `down`, joins the lower side by root of sum of
    squares. A rate with neither variance nor steps is known.
    """
    if value > 0.5:
        low, high = moment_interval(1 - value, variance, down, up, confidence)
        return 1 - high, 1 - low
    tail = (1 - confidence) / 2
    below = value - _quantile(value, variance, tail)
    high = _quantile(value + up, variance + up**2, 1 - tail)
    return max(0.0, value - math.hypot(below, down * math.log(1 / tail))), min(high, 1.0)


def intraclass_correlation(samples: Sequence[tuple[Array, NDArray[np.int64]]]) -> float:
    """How alike draws of one cluster are, from 0 to 1, pooled over samples, each values (S,) and clusters (S,).

    Of one-way analysis of variance: the share of the variance between clusters in all of it. 0 where no sample has two
    clusters of two draws.
    """
    between = within = 0.0
    for values, cluster in samples:
        _, index, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
        clusters, draws = len(sizes), len(values)
        if clusters < 2 or draws <= clusters:
            continue
        means = np.bincount(index, values) / sizes
        inside = float(((values - means[index]) ** 2).sum() / (draws - clusters))
        among = float((sizes * (means - values.mean()) ** 2).sum() / (clusters - 1))
        size = (draws - (sizes**2).sum() / draws) / (clusters - 1)
        between += max(0.0, (among - inside) / float(size))
        within += inside
    return between / (between + within) if between + within > 0 else 0.0


def cluster_variance(spread: float, rho: float, clusters: int, of: int, draws: int, population: int) -> float:
    """Variance of the mean of `draws` values in `clusters` clusters of `of`, drawn without replacement.

    spread: variance of one value; rho: intraclass correlation. Two-stage sampling of clusters of equal size: s^2 (rho
    (1 - m/M)/m + (1 - rho)(1 - n/N)/n).
    """
    first = rho * (1 - clusters / of) / clusters
    return spread * (first + (1 - rho) * (1 - draws / population) / draws)


def _quantile(mean: float, variance: float, probability: float) -> float:
    if variance <= 0 or mean <= 0:
        return mean
    return float(gammaincinv(mean**2 / variance, probability) * variance / mean)
