"""Rates on drawn images next to published counts, with the error of the draw known exactly.

Every fault runs on images drawn for it alone, without replacement. If engine and campaign agree, a fault that is
critical for c of the campaign's 10,000 images gives a hypergeometric number of critical trials (10,000, c, images),
independent of all others. So the distribution of each sum is known exactly, and each count is held against its own
central 99 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Ints = NDArray[np.int64]

IMAGES = 10_000
CONFIDENCE = 0.99


def drawn(rows: int, each: int, seed: int) -> tuple[Ints, Ints]:
    """Row (rows * each,) and image of each trial: `each` images for every row, without replacement, for it alone."""
    rng = np.random.default_rng(seed)
    images = np.stack([rng.choice(IMAGES, each, replace=False) for _ in range(rows)])
    return np.repeat(np.arange(rows), each), images.reshape(-1)


@dataclass(frozen=True)
class Line:
    """One bit or layer: published and own rate over the same faults; critical trials seen, expected and allowed.

    `low` to `high`: the central 99 % of the count, if engine and campaign agree.
    """

    label: int
    faults: int
    trials: int
    published: float
    own: float
    seen: int
    expected: float
    z: float
    low: int
    high: int

    @property
    def inside(self) -> bool:
        """Whether the count is within its central 99 %."""
        return self.low <= self.seen <= self.high


def lines(critical: Ints, labels: Ints, each: int, found: NDArray[np.bool_]) -> list[Line]:
    """One line for each label, from the highest.

    `critical` (rows,): published critical images of each row; `labels` (rows,): its bit or layer; `found`
    (rows * each,): which of the trials that `drawn` gave were critical.
    """
    result = []
    hits = found.reshape(-1, each).sum(axis=1)
    for label in np.unique(labels)[::-1]:
        mine = np.flatnonzero(labels == label)
        published, seen = critical[mine], int(hits[mine].sum())
        total = sum_of_draws(published, each)
        at = np.arange(len(total))
        mean = float(total @ at)
        spread = float(np.sqrt(total @ (at - mean) ** 2))
        below = np.cumsum(total)
        tail = (1 - CONFIDENCE) / 2
        low, high = int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1 - tail))
        trials = len(mine) * each
        z = (seen - mean) / spread
        line = Line(int(label), len(mine), trials, published.mean() / IMAGES, seen / trials, seen, mean, z, low, high)
        result.append(line)
    return result


def sum_of_draws(marked: Ints, each: int) -> NDArray[np.float64]:
    """Distribution, from 0 up, of the images met that are marked: `each` of 10,000 drawn for each of `marked`.

    The product of the characteristic functions, at as many points as the sum has values.
    """
    kinds, times = np.unique(marked[marked > 0], return_counts=True)
    values = int(np.minimum(kinds, each) @ times) + 1
    one = np.asarray(stats.hypergeom.pmf(np.arange(each + 1)[:, None], IMAGES, kinds, each))
    product = np.ones(values // 2 + 1, complex)
    for kind, repeats in enumerate(times):
        product *= np.fft.rfft(one[:values, kind], values) ** repeats
    return np.asarray(np.fft.irfft(product, values))
