"""How sure one may be of a rate: intervals of weighted sums of binomials, and the field's sample sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaincinv, ndtri

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A rate with its interval, the trials that it rests on, and the number of faults that it speaks for.

    All three rates are fractions; `value` is None where nothing was seen.
    """

    value: float | None
    low: float
    high: float
    trials: int
    population: int

    @property
    def half_width(self) -> float:
        """The larger one-sided half-width."""
        return max(self.high - self.value, self.value - self.low) if self.value is not None else 1.0


def stratified_interval(
    weight: ArrayLike, x: ArrayLike, n: ArrayLike, N: ArrayLike, confidence: float
) -> tuple[Array, Array, Array]:
    """Value, low and high, each (R,), of R weighted sums of the rates of H independent strata.

    weight (R, H) or (H,), not negative; x (H,) critical trials (or sums of fractions in [0, 1]); n (H,) trials; N (H,)
    population of trials, drawn without replacement.

    The interval is Fay and Feuer's gamma interval (Statistics in Medicine 16, 1997, p. 791), taken on the rare side of
    each stratum: strata with x <= n/2 count y = x critical trials, the others y = n - x that are not. Of either side
    theta = sum W y/n, v = sum W^2 (y/n)(1 - y/n)/n (1 - n/N) and m = max W/n, and its limits are those of gamma
    distributions of mean theta and variance v (lower), and theta + m and v + m^2 (upper); the two sides are independent
    and join by root of sum of squares. A stratum that was seen whole (n = N) is a known constant; one not seen at all
    (n = 0) adds half of its weight to the value and spans all of it.

    Where x sums fractions (each fault on all images, between 0 and 1) the binomial variance is the largest that a
    fraction of that mean can have, so that the interval is conservative.
    """
    W = np.atleast_2d(np.asarray(weight, np.float64))
    seen, trials, size = (np.asarray(array, np.float64) for array in (x, n, N))
    unseen, whole = trials <= 0, trials >= size
    rare = seen <= trials / 2
    count = np.maximum(trials, 1)
    rate = np.where(rare, seen, trials - seen) / count
    spread = rate * (1 - rate) / count * (1 - trials / np.maximum(size, 1))
    tail = (1 - confidence) / 2

    def side(members: NDArray[np.bool_]) -> tuple[Array, Array, Array]:
        open_ = members & ~unseen & ~whole
        theta = W[:, open_] @ rate[open_]
        v = W[:, open_] ** 2 @ spread[open_]
        m = np.max(W[:, open_] / count[open_], axis=1, initial=0.0)
        low = _gamma_quantile(theta, v, tail)
        high = _gamma_quantile(theta + m, v + m**2, 1 - tail)
        known = W[:, members & whole] @ rate[members & whole]
        return theta + known, low + known, high + known

    a, a_low, a_high = side(rare)
    b, b_low, b_high = side(~rare)
    half = W[:, unseen].sum(axis=1) / 2
    value = a + W[:, ~rare].sum(axis=1) - b + half
    low = value - np.hypot(a - a_low, b_high - b) - half
    high = value + np.hypot(a_high - a, b - b_low) + half
    return value, np.clip(low, 0.0, None), np.clip(high, None, np.maximum(W.sum(axis=1), value))


def _gamma_quantile(mean: Array, variance: Array, probability: float) -> Array:
    """Quantile of the gamma distribution of that mean and variance; the mean itself where the variance is 0."""
    free = variance > 0
    spread, centre = np.where(free, variance, 1.0), np.where(free, mean, 1.0)
    return np.where(free, gammaincinv(centre**2 / spread, probability) * spread / centre, mean)


def normal_deviate(confidence: float) -> float:
    """t, so that a standard normal number lies within +-t with probability `confidence`.

    1.9600 at 95 %, 2.5758 at 99 %; the papers of the field round the latter to 2.58.
    """
    return float(ndtri((1 + confidence) / 2))


def sample_size(N: ArrayLike, margin: float, t: float, p: ArrayLike = 0.5) -> Array:
    """n = N / (1 + e^2 (N - 1) / (t^2 p (1 - p))), not rounded; arrays broadcast, N at least 1, p in (0, 1).

    Faults to draw out of N so that a rate is known to +-margin (Leveugle et al., DATE 2009, Eq. 1, solved for n).
    """
    size, rate = np.asarray(N, np.float64), np.asarray(p, np.float64)
    return np.asarray(size / (1 + margin**2 * (size - 1) / (t**2 * rate * (1 - rate))))


def achieved_margin(n: ArrayLike, N: ArrayLike, t: float, p: ArrayLike = 0.5) -> Array:
    """e = t sqrt(p (1 - p) / n (N - n) / (N - 1)): the margin that n faults out of N reach, `sample_size` inverted."""
    drawn, size, rate = (np.asarray(array, np.float64) for array in (n, N, p))
    return np.asarray(t * np.sqrt(rate * (1 - rate) / drawn * (size - drawn) / np.maximum(size - 1, 1)))
