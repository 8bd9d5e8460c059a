"""How many trials each stratum should get so that the interval of `estimate` becomes as narrow as was asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]

_PEAKS = np.geomspace(0.05, 0.25, 6)  # m, in units of the precision
_HALVINGS = 16


def needed_trials(weight: Array, n: Array, N: Array, rate: Array, precision: Array, confidence: float) -> Array:
    """Trials, (R, H), of each stratum at which each of R weighted sums has the larger one-sided half-width `precision`.

    All but `confidence` have shape (R, H), or (R,) for `precision`: weights, all above 0; trials so far; populations;
    and rates to plan with, between 0 and 1. Never below `n` nor above `N`; equal to `N` where less would not do.

    The half-width of the gamma interval depends on m, the largest W/n, and on the variance. For a given m and Neyman
    multiplier lambda a stratum needs max(n, W/m, W sqrt(rate (1 - rate)) / lambda). Bisection finds lambda, and the
    best of a few m wins. Quantiles are the normal ones with the gamma's skewness (Cornish and Fisher, 1938).
    """
    z = float(ndtri(1 - (1 - confidence) / 2))
    bend = (z * z - 1) / 3
    W, cap, done, p = (array[:, None, :] for array in (weight, N, n, rate))
    rare = p <= 0.5
    variance = p * (1 - p)
    goal = precision[:, None]
    base = np.maximum(done, W / (goal * _PEAKS)[..., None])
    theta: list[Array] = [np.where(side, W * np.minimum(p, 1 - p), 0.0).sum(axis=-1) for side in (rare, ~rare)]

    def trials(log_lambda: Array) -> Array:
        spread = W * np.sqrt(variance) / np.exp(log_lambda)[..., None]
        return np.asarray(np.minimum(np.maximum(base, spread), cap))

    def width(count: Array) -> Array:
        v_each = W**2 * variance / count * (1 - count / cap)
        m_each = np.where(count < cap, W / count, 0.0)
        above, below = [], []
        for side, mean in zip((rare, ~rare), theta, strict=True):
            v = np.where(side, v_each, 0.0).sum(axis=-1)
            m = np.where(side, m_each, 0.0).max(axis=-1)
            s = v + m**2
            above.append(m + z * np.sqrt(s) + bend * s / np.maximum(mean + m, 1e-300))
            below.append(np.maximum(z * np.sqrt(v) - bend * v / np.maximum(mean, 1e-300), 0.0))
        return np.asarray(np.maximum(np.hypot(above[0], below[1]), np.hypot(above[1], below[0])))

    low = np.full(base.shape[:2], np.log(1e-9))
    high = np.zeros_like(low)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = width(trials(middle)) <= goal
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    found = trials(low)
    total = np.where(width(found) <= goal * (1 + 1e-6), found.sum(axis=-1), np.inf)
    best = total.argmin(axis=1)
    chosen = found[np.arange(len(found)), best]
    return np.where(np.isfinite(total.min(axis=1))[:, None], chosen, N)
