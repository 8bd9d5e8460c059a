"""What an analysis cost, next to what statistical fault injection would: the columns of Tables V and VI."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.bits import Word
from onnxfi.faults.space import FaultSpace, Target
from onnxfi.graph.network import Network
from onnxfi.metrics.estimate import normal_deviate
from onnxfi.metrics.prior import from_weights
from onnxfi.study.classic import fault_counts, fixed_strata
from onnxfi.study.targets import Targets
from onnxfi.vigor.estimates import Estimates

_MARGIN, _CONFIDENCE = 0.01, 0.95  # as the papers plan theirs


@dataclass(frozen=True)
class Simulations:
    """Simulations, each a forward pass of all images, of one target.

    analysis    values tried, audit included, over images: what this analysis ran
    complete    of a complete one, at the same number of tries a pair
    exhaustive  one for each fault
    layer, data_unaware, data_aware  statistical plans, margin 1 % at 95 %; the last with p of each bit as found here,
                None where bits were not told apart
    """

    target: str
    analysis: float
    complete: float
    exhaustive: int
    layer: int
    data_unaware: int
    data_aware: int | None


@dataclass(frozen=True)
class Count:
    """What can be counted of one target without running anything but a look at the shapes.

    sites       weights, words, or of mac neurons: what a complete analysis decides
    sampled     of these, what a sample decides (Eq. 16)
    exhaustive, layer, data_unaware, data_aware  as in Simulations; data_aware with p of each bit out of the stored
                weights (Ruospo et al., DATE 2023), None for activations, of which nothing is stored

    How many simulations a site takes, an analysis finds out by searching: two or three on trained networks.
    """

    target: str
    kind: str
    sites: int
    sampled: int
    exhaustive: int
    layer: int
    data_unaware: int
    data_aware: int | None


def simulations(estimates: Estimates, target: Target, by_bit: bool) -> Simulations:
    """Of the layers' regions of `target`."""
    mine = [m for m in estimates.measured if m.region.target == target]
    space = FaultSpace([m.region for m in mine])
    tried = [(m.tried + m.audit.values) / m.drawn.images for m in mine]
    whole = [m.drawn.sites * (m.tried + m.audit.values) / m.pairs.size for m in mine]
    found = _statistical(space, lambda dtype, bit: estimates.bit(target, dtype, bit).value if by_bit else None)
    return Simulations(target, float(sum(tried)), float(sum(whole)), space.size, *found)


def counts(targets: Targets, network: Network, ratio: float) -> tuple[Count, ...]:
    """Of every target, with samples of `ratio` of the channels."""
    found = []
    for target in dict.fromkeys(region.target for region in targets.space.regions):
        mine = [pair for pair in zip(targets.space.regions, targets.channels, strict=True) if pair[0].target == target]
        space = FaultSpace([region for region, _ in mine])
        p: dict[str, NDArray[np.float64]] = {}
        if target == "weights":
            for dtype in dict.fromkeys(region.dtype for region in space.regions):
                stored = (network.stored(region.tensor) for region in space.regions if region.dtype == dtype)
                p[dtype] = from_weights(stored, Word(dtype))
        sites = [region.sites // region.operands for region in space.regions]
        each = [
            math.ceil(ratio * channels.count - 1e-9) * max(1, math.ceil(math.log2(max(1, n // channels.count))))
            for n, (_, channels) in zip(sites, mine, strict=True)
        ]
        plans = _statistical(space, lambda dtype, bit, p=p: float(p[dtype][bit]) if p else None)  # type: ignore[misc]
        found.append(Count(target, space.regions[0].kind, sum(sites), sum(each), space.size, *plans))
    return tuple(found)


def _statistical(space: FaultSpace, p: Callable[[str, int], float | None]) -> tuple[int, int, int | None]:
    """Faults of the layer-wise, the data-unaware and the data-aware plan, the last with `p` of each dtype and bit."""
    t = normal_deviate(_CONFIDENCE)
    layers, bits = fixed_strata("layer", space), fixed_strata("data-unaware", space)
    sizes, alone = [s.population for s in bits], list(range(len(bits)))
    known = [p(s.dtype, s.bits[0]) for s in bits]
    aware = None
    if None not in known:
        likely = np.clip(np.array(known, np.float64), 1e-4, 0.5)
        aware = int(fault_counts(sizes, alone, _MARGIN, t, likely).sum())
    return (
        int(fault_counts([s.population for s in layers], [s.layer for s in layers], _MARGIN, t).sum()),
        int(fault_counts(sizes, alone, _MARGIN, t).sum()),
        aware,
    )
