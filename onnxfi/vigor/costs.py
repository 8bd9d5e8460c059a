"""What an analysis cost, next to what statistical fault injection would: the columns of Tables V and VI."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxfi.faults.space import FaultSpace, Target
from onnxfi.metrics.estimate import normal_deviate
from onnxfi.study.classic import fault_counts, fixed_strata
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


def simulations(estimates: Estimates, target: Target, by_bit: bool) -> Simulations:
    """Of the layers' regions of `target`."""
    mine = [m for m in estimates.measured if m.region.target == target]
    space = FaultSpace([m.region for m in mine])
    tried = [(m.tried + m.audit.values) / m.drawn.images for m in mine]
    whole = [m.drawn.sites * (m.tried + m.audit.values) / m.pairs.size for m in mine]
    t = normal_deviate(_CONFIDENCE)
    layers, bits = fixed_strata("layer", space), fixed_strata("data-unaware", space)
    sizes = [s.population for s in bits]
    alone = list(range(len(bits)))
    p = np.array([estimates.bit(target, s.dtype, s.bits[0]).value for s in bits])
    return Simulations(
        target,
        float(sum(tried)),
        float(sum(whole)),
        space.size,
        int(fault_counts([s.population for s in layers], [s.layer for s in layers], _MARGIN, t).sum()),
        int(fault_counts(sizes, alone, _MARGIN, t).sum()),
        int(fault_counts(sizes, alone, _MARGIN, t, np.clip(p, 1e-4, 0.5)).sum()) if by_bit else None,
    )
