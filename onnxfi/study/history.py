"""How an adaptive study's intervals shrank, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from onnxfi.faults.space import Target
from onnxfi.metrics.estimate import Estimate
from onnxfi.metrics.factors import Factors
from onnxfi.study.journal import Journal
from onnxfi.study.rates import Rates


@dataclass(frozen=True)
class Step:
    """After a round: all trials so far, and the MVF of each target."""

    trials: int
    mvf: Mapping[Target, Estimate]


def history(journal: Journal, rates: Rates, factors: Factors) -> tuple[Step, ...]:
    """One step a round, from the journal's counts."""
    table = np.zeros((len(rates.strata), 5), np.int64)
    steps = []
    for number in range(len(journal.rounds())):
        table = table + journal.counts(number, len(rates.strata))
        so_far = replace(rates, drawn=table[:, 0], counts=table[:, 1:])
        mvf = {target: so_far.estimate(factors.mvf(target)) for target in factors.targets}
        known = {target: estimate for target, estimate in mvf.items() if estimate is not None}
        steps.append(Step(int(so_far.trials.sum()), known))
    return tuple(steps)
