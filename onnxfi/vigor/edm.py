"""Error distribution maps of DeepVigor+ (Eq. 11 and 12, Fig. 7): how large the errors are that bit flips make.

Edges are the candidate vulnerability values +-2^rho, rho = -10..10, with 0 between them. Bins are half open, [a, b),
with one below -2^10 and one from 2^10 up: the paper's open bins would lose values that are a power of two, and both
tails. A NaN is beyond every edge. Errors are of real bit flips, of zeros too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LARGEST = 10
"""S of the paper: the largest exponent rho; the least is -S."""
_POWERS = 2.0 ** np.arange(-LARGEST, LARGEST + 1)
EDGES: NDArray[np.float64] = np.concatenate([-_POWERS[::-1], [0.0], _POWERS])
BINS = len(EDGES) + 1
_ZERO = len(_POWERS)  # place of the edge 0


def bins(errors: Array) -> NDArray[np.int64]:
    """The bin of each error, same shape: the number of edges that are at most the error, by its binary exponent."""
    fraction, exponent = np.frexp(errors)
    # 2^rho <= e < 2^(rho+1) has exponent rho + 1; -2^rho is the last of its octave, as [a, b) has it.
    up = np.clip(exponent + LARGEST, 0, _ZERO) + _ZERO + 1
    down = np.clip(LARGEST + 1 - exponent + (fraction == -0.5), 0, _ZERO)
    found = np.where(fraction < 0, down, np.where(fraction == 0, _ZERO + 1, up))
    return np.where(np.isnan(errors) | (errors == np.inf), BINS - 1, np.where(errors == -np.inf, 0, found))


def histogram(errors: Array) -> NDArray[np.float64]:
    """EDM (P, BINS) of errors (P, ...): the share of each bin (Eq. 12's distribution_ratio)."""
    flat = errors.reshape(len(errors), -1)
    place = bins(flat) + BINS * np.arange(len(flat))[:, None]
    counts = np.bincount(place.reshape(-1), minlength=BINS * len(flat)).reshape(len(flat), BINS)
    return counts / flat.shape[1]


def below(maps: NDArray[np.float64], edge: NDArray[np.int64]) -> NDArray[np.float64]:
    """F of Eq. 14, the aggregated EDM: P(error < EDGES[edge]) of maps (P, BINS) at edges (P,)."""
    cumulated = np.cumsum(maps, axis=1)
    return np.asarray(cumulated[np.arange(len(maps)), edge])


def occurring(maps: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """VVSS: which candidates -2^rho and 2^rho, rho from -10 up, (P, 21) each, stand for errors that occur.

    A candidate stands for the bin that ends at it: a positive one for the octave below it, a negative one for the
    octave beyond it, and the outermost for all that is beyond.
    """
    some = maps > 0
    return some[:, _ZERO - 1 :: -1], some[:, _ZERO + 1 : BINS - 1]


def negative_edge(rho: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place in EDGES of -2^rho."""
    return LARGEST - rho


def positive_edge(rho: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place in EDGES of 2^rho."""
    return _ZERO + 1 + LARGEST + rho
