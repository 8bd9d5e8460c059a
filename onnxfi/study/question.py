"""Which trials a study's units stand for: the same in every process that has the question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.space import FaultSpace, Stratum
from onnxfi.study.units import Unit, draw, units


@dataclass(frozen=True)
class Question:
    """What is drawn from: picklable, small, and never a list of faults.

    strata: of `space`, in the order of the journal's numbers. images: how many there are. crossed: a draw is a fault
    that runs on all images; else it is a (fault, image) pair.
    """

    space: FaultSpace
    strata: tuple[Stratum, ...]
    images: int
    seed: int
    crossed: bool = False

    def trials(self, unit: Unit) -> NDArray[Any]:
        """faults.space.TRIAL[trials] of a unit."""
        return draw(unit, self.space, self.strata, self.images, self.seed, self.crossed)

    def describe(self, trial: Any) -> str:
        """One TRIAL in words, for messages."""
        region, site, bit = (int(part[0]) for part in self.space.locate(np.array([trial["fault"]])))
        home = self.space.regions[region]
        return (
            f"fault {trial['fault']} ({home.target} of layer {home.layer}, {home.tensor!r}, site {site}, bit {bit}) "
            f"on image {trial['image']}"
        )

    def units(self, round_: int, allocation: NDArray[np.int64], drawn: NDArray[np.int64]) -> Iterator[Unit]:
        """The units of a round that draws `allocation` (H,) after `drawn` (H,)."""
        return units(round_, allocation, drawn, self.strata, self.images, self.crossed)
