"""Whether channels of a layer are alike: what a sample of channels takes for granted (Section III-E of DeepVigor+)."""

from __future__ import annotations

import numpy as np

from onnxfi.vigor.measured import Measured

_SPREAD = (
    0.5  # of the VFs of channels, relative to their mean, from which on a few channels say little about the others
)
_SHUFFLES, _CHANCE = 499, 0.01


def spread(m: Measured) -> float | None:
    """How far the VFs of a layer's channels spread about their mean, relative to it; None where they are alike.

    The part of the spread that comes from the few sites of each channel is taken off; and it must be more than sites
    shuffled among the channels show, but for one time in a hundred.
    """
    numbers, index, sizes = np.unique(m.drawn.channel, return_inverse=True, return_counts=True)
    rates, mean = m.sites, float(m.sites.mean())
    if m.drawn.all_sites or len(numbers) < 3 or mean <= 0 or len(rates) == len(numbers):
        return None
    own = np.bincount(index, rates) / sizes
    within = float(((rates - own[index]) ** 2).sum() / (len(rates) - len(numbers)))
    between = float(own.var(ddof=1)) - within * float((1 / sizes).mean())
    found = np.sqrt(max(0.0, between)) / mean
    rng = np.random.default_rng(0)
    others = [(np.bincount(index, rng.permutation(rates)) / sizes).var(ddof=1) for _ in range(_SHUFFLES)]
    by_chance = (1 + int((np.array(others) >= own.var(ddof=1)).sum())) / (1 + _SHUFFLES)
    return float(found) if found > _SPREAD and by_chance <= _CHANCE else None
