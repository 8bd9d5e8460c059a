"""Rates of classes of bits, out of a study that drew from whole layers.

Within one stratum of a study every fault of a class of bits is as likely to be drawn as any other, so the draws that
fell into the class are a fair sample of it (post-stratification).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import FaultSpace
from onnxfi.metrics.outcome import CRITICAL, MASKED, NON_CRITICAL
from onnxfi.study.rates import Rates
from onnxfi.study.result import Result


def told_apart(space: FaultSpace, rates: Rates, results: Iterable[Result]) -> Rates:
    """The counts of `rates` by the space's own strata, which hold one class of bits each; `rates` where they did so.

    results: all units of the study.
    """
    fine = space.strata()
    if len(fine) <= len(rates.strata):
        return rates
    home = np.full((len(space.regions), 64), -1, np.int64)
    for number, region in enumerate(space.regions):
        for place, stratum in enumerate(fine):
            if (stratum.target, stratum.layer, stratum.dtype) == (region.target, region.layer, region.dtype):
                home[number, list(stratum.bits)] = place
    counts = np.zeros((len(fine), 4), np.int64)
    for result in results:
        region_of, _, bit = space.locate(result.records["fault"])
        counts += _counted(home[region_of, bit], result, len(fine))
    each = rates.images if rates.crossed else 1
    return Rates(fine, counts[:, :3].sum(axis=1) // each, counts, rates.images, rates.crossed, rates.confidence)


def _counted(place: NDArray[np.int64], result: Result, places: int) -> NDArray[np.int64]:
    """masked, non-critical, critical and non-finite trials, i8 (places, 4)."""
    outcome = result.records["outcome"]
    ends = [outcome == kind for kind in (MASKED, NON_CRITICAL, CRITICAL)] + [result.records["finite"] == 0]
    return np.stack([np.bincount(place[end], minlength=places) for end in ends], axis=1)
