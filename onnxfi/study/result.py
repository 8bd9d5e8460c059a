"""What a unit gave: its records, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.metrics.facts import TALLY
from onnxfi.metrics.outcome import CRITICAL, MASKED, NON_CRITICAL
from onnxfi.study.units import Unit


@dataclass(frozen=True)
class Cost:
    """image_inferences: rows through any head, tail, golden or null run. equivalent_inferences: the same, weighed by
    multiply-accumulates of the whole network. seconds: wall time; all seconds of a study add up to what it took."""

    image_inferences: int = 0
    equivalent_inferences: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.image_inferences + other.image_inferences,
            self.equivalent_inferences + other.equivalent_inferences,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Result:
    """records: metrics.outcome.RECORD[trials], in the order of the unit's pieces, as many for each index of a piece.

    Of a replayed list they are metrics.facts.TALLY, one for each index.
    """

    unit: Unit
    records: NDArray[Any]
    cost: Cost

    def counts(self) -> NDArray[np.int64]:
        """i8[pieces, 4]: masked, non-critical, critical, and non-finite (critical, too) trials of each piece."""
        indices = [piece.stop - piece.start for piece in self.unit.pieces]
        each, rest = divmod(len(self.records), sum(indices))
        if rest or not each:
            raise ValueError(f"{len(self.records)} records cannot belong to a unit of {sum(indices)} indices")
        ends = np.cumsum(indices) * each
        rows: list[list[int]] = []
        for start, stop in zip(ends - np.array(indices) * each, ends, strict=True):
            if self.records.dtype == TALLY:
                rows.append(_added(self.records[start:stop]))
                continue
            outcome = self.records["outcome"][start:stop]
            shares = [int(np.count_nonzero(outcome == kind)) for kind in (MASKED, NON_CRITICAL, CRITICAL)]
            if sum(shares) != stop - start:
                raise ValueError("a record holds an unknown outcome")
            rows.append([*shares, int(np.count_nonzero(self.records["finite"][start:stop] == 0))])
        return np.array(rows, np.int64)


def _added(tally: NDArray[Any]) -> list[int]:
    images, masked, kept, finite = (int(tally[name].sum()) for name in ("images", "identical", "kept", "finite"))
    return [masked, kept - masked, images - kept, images - finite]
