"""From what was found to rates with intervals: CVF, LVF, BVF, MVF and MVF_total.

A site's bits are all decided together, so bits are no source of sampling error: each rate is a mean over sites, of
strata by bit where one bit is asked for. Sites come in channels, drawn first; how alike the sites of a channel are is
estimated from all layers of a target together, for one layer has too few channels to tell. Where nothing was left out
the interval is a point; what the search itself errs by is for the audit to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.bits import Word
from onnxfi.faults.space import Stratum, Target
from onnxfi.metrics.clustered import cluster_variance, intraclass_correlation, moment_interval
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.factors import Factors, Weights
from onnxfi.study.scheme import factors_of
from onnxfi.study.targets import Targets
from onnxfi.vigor.measured import Measured

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of a mean over the sites of a region: value, variance, and what one draw more may add or take away."""

    value: float
    variance: float
    up: float
    down: float


_NOTHING = Moments(0.0, 0.0, 0.0, 0.0)


class Estimates:
    """Rates of the regions that were `measured`, in the order of the fault space of `targets`."""

    def __init__(self, targets: Targets, measured: Sequence[Measured], confidence: float) -> None:
        self.targets, self.measured, self.confidence = targets, tuple(measured), confidence
        self.strata = targets.space.strata(classes=lambda word, bits: (bits,))
        self.factors: Factors = factors_of(targets, self.strata)

    @cached_property
    def no_answer(self) -> Estimates:
        """The same rates, of faults alone that leave a logit NaN or infinite."""
        return Estimates(self.targets, [m.no_answer for m in self.measured], self.confidence)

    @cached_property
    def moments(self) -> tuple[Moments, ...]:
        """Of the VF of each region."""
        return tuple(self._moments(m, m.sites, m.bits) for m in self.measured)

    @property
    def sizes(self) -> tuple[list[int], list[int]]:
        """N_l and W_l of Eq. 15, by layer index: words that a layer's op writes for one image, and its weight sites."""
        targets = self.targets
        indices = range(1 + targets.layers[-1].index)
        return [targets.outputs.get(i, 0) for i in indices], [targets.weight_sites(i) for i in indices]

    def estimate(self, weights: Weights | None) -> Estimate | None:
        """The factor whose share of each stratum is `weights` (H,); None for None."""
        return None if weights is None else self._joined(self.shares(weights), self.moments)

    def bit(self, target: Target, dtype: str, bit: int) -> Estimate:
        """BVF: every word of `dtype` of the target is equally likely."""
        found, words = [], []
        for m in self.measured:
            mine = (m.region.target, m.region.dtype) == (target, dtype) and bit in m.region.bits
            place = m.region.bits.index(bit) if mine else 0
            found.append(self._moments(m, m.bits[:, place], m.bits[:, [place]]) if mine else _NOTHING)
            words.append(float(m.region.sites) if mine else 0.0)
        return self._joined(np.array(words) / sum(words), found)

    def channels(self, number: int) -> Iterator[tuple[int, Estimate]]:
        """CVF of every channel of the `number`-th region that was looked at."""
        m = self.measured[number]
        numbers, index, sizes = np.unique(m.drawn.channel, return_inverse=True, return_counts=True)
        each, images = max(1, m.drawn.sites // m.drawn.channels), m.drawn.image.shape[1]
        within = m.sites - (np.bincount(index, m.sites) / sizes)[index]
        spread = float((within**2).sum() / max(1, len(within) - len(sizes)))
        for place, channel in enumerate(numbers):
            count, mine = int(sizes[place]), index == place
            left = 0.0 if m.drawn.all_sites else max(0.0, 1 - count / each)
            found = Moments(float(m.sites[mine].mean()), spread * left / count, *_steps(m.bits[mine], float(left > 0)))
            low, high = self._interval(found)
            yield int(channel), Estimate(found.value, low, high, count * images, each * len(m.region.bits))

    def shares(self, weights: Weights) -> Array:
        """A stratum's weight, shared among its regions by their faults."""
        shares = np.zeros(len(self.measured))
        for weight, stratum in zip(weights, self.strata, strict=True):
            for number, m in enumerate(self.measured):
                if _holds(stratum, m):
                    shares[number] += weight * m.region.population / stratum.population
        return shares

    def _joined(self, shares: Array, moments: Sequence[Moments]) -> Estimate:
        value = float(sum(share * m.value for share, m in zip(shares, moments, strict=True)))
        variance = float(sum(share**2 * m.variance for share, m in zip(shares, moments, strict=True)))
        up = float(max(share * m.up for share, m in zip(shares, moments, strict=True)))
        down = float(max(share * m.down for share, m in zip(shares, moments, strict=True)))
        low, high = self._interval(Moments(value, variance, up, down))
        part = [m for share, m in zip(shares, self.measured, strict=True) if share > 0]
        return Estimate(
            value, low, high, sum(m.tried + m.audit.values for m in part), sum(m.region.population for m in part)
        )

    def _interval(self, m: Moments) -> tuple[float, float]:
        return moment_interval(m.value, m.variance, m.up, m.down, self.confidence)

    def _moments(self, m: Measured, rates: Array, bits: Array) -> Moments:
        """Of the mean of `rates` (S,), themselves means over `bits` (S, B)."""
        value, drawn, draws = float(rates.mean()), m.drawn, len(rates)
        if drawn.all_sites and drawn.all_images:
            return Moments(value, 0.0, 0.0, 0.0)
        images = drawn.image.shape[1]
        if drawn.all_sites:
            between = float(m.pairs.var(axis=1, ddof=1).mean()) if images > 1 else float(m.pairs.var())
            left = 1 - images / drawn.images
            return Moments(value, between * left / (draws * images), *_steps(bits, 1 / images))
        spread = float(rates.var(ddof=1)) if draws > 1 else self._spread[m.region.target]
        rho, clusters = self._alike[m.region.target], len(np.unique(drawn.channel))
        variance = cluster_variance(spread, rho, clusters, drawn.channels, draws, drawn.sites)
        return Moments(value, variance, *_steps(bits, 1 + (draws / clusters - 1) * rho))

    @cached_property
    def _spread(self) -> dict[str, float]:
        """Variance of the VF of sites, by target: the largest of its layers, for layers of one site that was drawn."""
        found: dict[str, float] = {}
        for m in self.measured:
            own = float(m.sites.var(ddof=1)) if len(m.sites) > 1 else 0.0
            found[m.region.target] = max(own, found.get(m.region.target, 0.0))
        return found

    @cached_property
    def _alike(self) -> dict[str, float]:
        """Intraclass correlation of sites within channels, by target."""
        groups: dict[str, list[tuple[Array, NDArray[np.int64]]]] = {}
        for m in self.measured:
            groups.setdefault(m.region.target, []).append((m.sites, m.drawn.channel))
        return {target: intraclass_correlation(samples) for target, samples in groups.items()}


def _steps(bits: Array, draw: float) -> tuple[float, float]:
    """What one draw more adds where it is critical, and takes away where it is not from bits that mostly are.

    bits (S, B): VF of each bit of each site; draw: how many of the S draws one counts for.
    """
    step = draw / bits.size
    return step, step if bool((bits.mean(axis=0) > 0.5).any()) else 0.0


def _holds(stratum: Stratum, m: Measured) -> bool:
    region = m.region
    same = (stratum.target, stratum.layer, stratum.dtype) == (region.target, region.layer, region.dtype)
    return same and stratum.bits == Word(region.dtype).check_bits(region.bits)
