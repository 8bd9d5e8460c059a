"""Two engines that are asked as one: each trial runs in both networks, and comes back with both outcomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import FaultSpace
from onnxfi.parity.mirror import Steps, mirrored
from onnxfi.study.source import Here, Opened

TWICE = np.dtype(
    [
        ("fault", "<u8"), ("image", "<u4"), ("outcome_a", "u1"), ("outcome_b", "u1"),
        ("top1_a", "<i4"), ("top1_b", "<i4"), ("margin_a", "<f4"), ("margin_b", "<f4"),
    ]
)  # fmt: skip
"""One trial in both networks: fault id in the first, and of each what metrics.outcome.RECORD has."""


@dataclass(frozen=True)
class BothHere:
    """Where both engines were prepared; `space` and `steps` as parity.mirror.mirrored has them."""

    a: Here
    b: Here
    space: FaultSpace
    steps: tuple[Steps, ...]

    def open(self) -> Both:
        """Opens both engines in this process."""
        return Both(self.a.open(), self.b.open(), self)


class Both:
    """As a bench wants an engine."""

    def __init__(self, a: Opened, b: Opened, source: BothHere) -> None:
        self._a, self._b, self._source = a, b, source

    @property
    def image_inferences(self) -> int:
        return self._a.image_inferences + self._b.image_inferences

    @property
    def equivalent_inferences(self) -> float:
        return self._a.equivalent_inferences + self._b.equivalent_inferences

    def run(self, trials: NDArray[Any]) -> NDArray[Any]:
        """TWICE (T,) of the first network's TRIAL (T,), in the same order."""
        answers = (
            ("a", self._a.run(trials)),
            ("b", self._b.run(mirrored(trials, self._source.space, self._source.steps))),
        )
        found = np.zeros(len(trials), TWICE)
        found["fault"], found["image"] = trials["fault"], trials["image"]
        for side, records in answers:
            for field in ("outcome", "top1", "margin"):
                found[f"{field}_{side}"] = records[field]
        return found

    def close(self) -> None:
        self._a.close()
        self._b.close()
