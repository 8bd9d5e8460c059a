"""Two journals of the same trials, laid side by side: how each trial ended here and there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import StudyError
from onnxfi.metrics.outcome import CRITICAL, NON_CRITICAL
from onnxfi.study.evidence import strata_of
from onnxfi.study.journal import Journal
from onnxfi.study.result import Result
from onnxfi.study.targets import Targets

DISAGREEMENT = np.dtype(
    [
        ("region", "<u4"), ("site", "<u8"), ("bit", "u1"), ("image", "<u4"), ("outcome_a", "u1"), ("outcome_b", "u1"),
        ("top1_a", "<i4"), ("top1_b", "<i4"), ("margin_a", "<f4"), ("margin_b", "<f4"),
    ]
)  # fmt: skip
"""A trial that is critical in one network only. Region and site are the first network's; margin: the faulty logit of
the golden top-1 less the best other, below 0 where another class wins, NaN where a logit is not finite."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Paired:
    """The outcomes of the same trials in both.

    confusion      (H, 3, 3): trials of each stratum by outcome in the first and in the second network, in the order
                   masked, non-critical, critical
    disagreements  DISAGREEMENT of every trial that is critical in one only
    """

    confusion: Counts
    disagreements: NDArray[Any]

    @property
    def trials(self) -> int:
        return int(self.confusion.sum())

    @property
    def only_a(self) -> Counts:
        """Trials of each stratum (H,) that are critical in the first network only."""
        return np.asarray(self.confusion[:, CRITICAL, :CRITICAL].sum(axis=1))

    @property
    def only_b(self) -> Counts:
        """Likewise, in the second only."""
        return np.asarray(self.confusion[:, :CRITICAL, CRITICAL].sum(axis=1))

    @property
    def agreement(self) -> float:
        """The share of trials that are critical in both or in neither."""
        return 1 - int((self.only_a + self.only_b).sum()) / max(self.trials, 1)


def lay_side_by_side(a: Journal, b: Journal, strata: int, targets: Targets) -> Paired:
    """Every trial of both journals, the second of which mirrors the first. `targets`: the first's.

    Raises StudyError where they hold different trials.
    """
    confusion = np.zeros((strata, 3, 3), np.int64)
    apart: list[NDArray[Any]] = []
    for one, other in _together(a, b):
        stratum = strata_of(one)
        np.add.at(confusion, (stratum, one.records["outcome"], other.records["outcome"]), 1)
        critical = [each.records["outcome"] == CRITICAL for each in (one, other)]
        here = np.flatnonzero(critical[0] != critical[1])
        apart.append(disagreements(targets, one.records[here], other.records[here]))
    return Paired(confusion, np.concatenate([np.zeros(0, DISAGREEMENT), *apart]))


def disagreements(targets: Targets, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """DISAGREEMENT (T,) of the same trials' RECORDs in both; fault ids are the first network's."""
    found = np.zeros(len(a), DISAGREEMENT)
    found["region"], found["site"], found["bit"] = targets.space.locate(a["fault"])
    found["image"] = a["image"]
    for side, records in (("a", a), ("b", b)):
        for field in ("outcome", "top1", "margin"):
            found[f"{field}_{side}"] = records[field]
    return found


def one_sided(a: Journal, b: Journal, first: bool) -> Iterator[Result]:
    """The units of `a` as if critical were only what is so in one network alone, the `first` or the second."""
    for one, other in _together(a, b):
        critical = [each.records["outcome"] == CRITICAL for each in (one, other)]
        only = critical[0] & ~critical[1] if first else critical[1] & ~critical[0]
        records = one.records.copy()
        records["outcome"] = np.where(only, CRITICAL, NON_CRITICAL)
        yield replace(one, records=records)


def _together(a: Journal, b: Journal) -> Iterator[tuple[Result, Result]]:
    """The units that both have."""
    for other in b.results():
        one = a.result(other.unit.round, other.unit.index)
        if one is None or one.unit != other.unit or (one.records["image"] != other.records["image"]).any():
            raise StudyError(
                f"{b.path} holds other trials than {a.path}: run the parity command again in an empty folder."
            )
        yield one, other
