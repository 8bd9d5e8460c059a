"""What was found of one region: the parts of its jobs put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import Region
from onnxfi.vigor.deepvigor_plus import Part
from onnxfi.vigor.gradient import NO_SKIPS, Skips
from onnxfi.vigor.pairs import Audit
from onnxfi.vigor.sample import Drawn


@dataclass(frozen=True)
class Measured:
    """Of `region`, at the sites and images `drawn`.

    bits     (S, B): VF of each bit of each site, mean over its images
    pairs    (S, I): VF of each pair
    lower    (S, I): delta-, -inf where no negative deviation is critical; upper: delta+, likewise
    tried    values run, without those of the audit
    wild     (S, B) and (S, I): as `bits` and `pairs`, of faults that leave a logit NaN or infinite
    seconds  wall time
    skips    of the gradient test, where it is on
    """

    region: Region
    drawn: Drawn
    bits: NDArray[np.float64]
    pairs: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    tried: int
    audit: Audit
    wild: tuple[NDArray[np.float64], NDArray[np.float32]]
    seconds: float = 0.0
    skips: Skips = NO_SKIPS

    @property
    def no_answer(self) -> Measured:
        """The same, of the faults alone that leave a logit NaN or infinite; bounds are those of all."""
        return replace(self, bits=self.wild[0], pairs=self.wild[1])

    @property
    def sites(self) -> NDArray[np.float64]:
        """VF of each site, (S,)."""
        return np.asarray(self.bits.mean(axis=1))

    def channels(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The channels that were looked at, and the mean VF of the sites of each."""
        numbers, index, sizes = np.unique(self.drawn.channel, return_inverse=True, return_counts=True)
        return numbers, np.bincount(index, self.sites) / sizes


def gather(region: Region, drawn: Drawn, parts: Iterator[Part], told: Callable[[int], None]) -> Measured:
    """The next of `parts`, in their order: as many as hold the pairs of `drawn`; `told`: how many were there so far."""
    started = time.monotonic()
    sites, images = drawn.image.shape
    bits, wild_bits = (np.zeros((sites, len(region.bits))) for _ in range(2))
    pairs, lower, upper, wild = (np.empty(sites * images, np.float32) for _ in range(4))
    at, tried, audit, skips = 0, 0, Audit(), Skips()
    while at < sites * images:
        told(at)
        part = next(parts)
        here = np.arange(at, at + len(part.hits))
        site, first = np.unique(here // images, return_index=True)
        bits[site] += np.add.reduceat(part.hits, first, axis=0)
        wild_bits[site] += np.add.reduceat(part.wild, first, axis=0)
        pairs[here], lower[here], upper[here] = part.hits.mean(axis=1), part.lower, part.upper
        wild[here] = part.wild.mean(axis=1)
        at, tried, audit, skips = at + len(here), tried + part.tried, audit + part.audit, skips + part.skips
    shape = (sites, images)
    pairs, lower, upper, wild = (part.reshape(shape) for part in (pairs, lower, upper, wild))
    no_answer = wild_bits / images, wild
    return Measured(
        region, drawn, bits / images, pairs, lower, upper, tried, audit, no_answer, time.monotonic() - started, skips
    )
