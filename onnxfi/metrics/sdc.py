"""Silent data corruption: by which measures a trial's answer is no longer the fault-free one.

Li et al., "Understanding Error Propagation in Deep Learning Neural Network (DNN) Accelerators and Applications"
(SC'17), with c the fault-free and c' the faulty confidence in the fault-free top-1:

    sdc_1    the top-1 is another one
    sdc_5    the fault-free top-1 is not among the first five
    sdc_10   |c' - c| > 0.1 c
    sdc_20   |c' - c| > 0.2 c

A trial with a non-finite logit has no answer: all four hold. So sdc_1 is `critical`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.metrics.outcome import CRITICAL

SDCS = ("sdc_1", "sdc_5", "sdc_10", "sdc_20", "non_finite")

Flags = NDArray[np.bool_]


def sdc_flags(records: NDArray[Any], confidence: NDArray[np.float64]) -> dict[str, Flags]:
    """bool (T,) of each measure, for RECORD (T,) and the fault-free confidence in the fault-free top-1, (T,)."""
    broken = records["finite"] == 0
    moved = np.abs(records["confidence"].astype(np.float64) - confidence)
    return {
        "sdc_1": records["outcome"] == CRITICAL,
        "sdc_5": broken | (records["rank"] >= 5),
        "sdc_10": broken | (moved > 0.1 * confidence),
        "sdc_20": broken | (moved > 0.2 * confidence),
        "non_finite": broken,
    }


def accuracy_flags(records: NDArray[Any], right: Flags, label: NDArray[np.int64]) -> tuple[Flags, Flags]:
    """Two bool (T,): the fault broke a right answer; it mended a wrong one.

    `right` (T,): whether the fault-free top-1 is the `label` (T,). No answer (a non-finite logit) is a wrong one.
    """
    after = (records["finite"] == 1) & (records["top1"] == label)
    masked = records["outcome"] != CRITICAL
    return right & ~after & ~masked, ~right & after & ~masked
