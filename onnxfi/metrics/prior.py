"""p of each bit, the criticality that a data-aware plan expects before it has injected anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onnxfi.faults.bits import Word

Array = NDArray[np.float64]

FLOOR, CEILING = 1e-4, 0.5
"""p is kept within: below, a stratum would get next to no faults; p (1 - p) is largest at one half."""

_AT_ONCE = 1 << 20  # weights

_DATE23 = {
    31: 0.00214,
    30: 0.4917,
    29: 0.00045,
    28: 0.00045,
    27: 0.00046,
    26: 0.00341,
    25: 0.02772,
    24: 0.00524,
    23: 0.00036,
}


def date23_table() -> Array:
    """p of bit 0 to 31 of a float32 weight, (32,), as the authors of the data-aware plan used it.

    Ruospo et al., DATE 2023: one p a bit for ResNet-20 and MobileNetV2 alike. They publish the faults of each layer and
    bit (GabrieleGavarini/ExhaustiveFaultInjection, fault_injection/number_of_samples/*/n_tuning_scenario_1.csv); these
    p are the shortest numbers that give every one of them.
    """
    return np.array([_DATE23.get(bit, FLOOR) for bit in range(32)])


def from_weights(tensors: Iterable[NDArray[Any]], word: Word) -> Array:
    """p of each bit, (word.width,), out of stored weights of one dtype: by how far a flip takes a weight on average.

    After Ruospo et al., DATE 2023: D_avg(i) = f0(i) D01(i) + f1(i) D10(i), the mean distance between a weight and the
    same with bit i flipped, scaled linearly to [0, 0.5]. Outliers, which would press all other bits to 0, get 0.5: here
    a bit is one if its D_avg is beyond the range of the weights, largest less smallest (bit 30 of a float32, where a
    flip multiplies by 2^128). A flip to Inf or NaN is infinitely far. Never below FLOOR. All bits get 0.5 where they
    cannot be told apart.
    """
    distance, count = np.zeros(word.width), 0
    low, high = np.inf, -np.inf
    for tensor in tensors:
        flat = np.ascontiguousarray(tensor).ravel()
        for start in range(0, len(flat), _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            distance += _distances(part, word)
            count += len(part)
            values = part.astype(np.float64)
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    mean = distance / max(count, 1)
    usual = mean <= high - low
    p = np.full(word.width, CEILING)
    if usual.any():
        least, most = mean[usual].min(), mean[usual].max()
        if most > least:
            p[usual] = CEILING * (mean[usual] - least) / (most - least)
    return np.asarray(np.clip(p, FLOOR, CEILING))


def _distances(values: NDArray[Any], word: Word) -> Array:
    """Summed distance over the values, (word.width,), of each bit's flip."""
    words, golden = word.words(values), values.astype(np.float64)
    sums = np.zeros(word.width)
    with np.errstate(over="ignore", invalid="ignore"):
        for bit in range(word.width):
            faulty = word.values(words ^ words.dtype.type(1 << bit)).astype(np.float64)
            apart = np.abs(faulty - golden)
            sums[bit] = np.where(np.isnan(apart), np.inf, apart).sum()
    return sums


def from_pilot(critical: ArrayLike, drawn: ArrayLike) -> Array:
    """p = (x + 1/2) / (n + 1), kept within [FLOOR, CEILING], of x critical among n drawn faults, elementwise."""
    x, n = np.asarray(critical, np.float64), np.asarray(drawn, np.float64)
    return np.asarray(np.clip((x + 0.5) / (n + 1), FLOOR, CEILING))
