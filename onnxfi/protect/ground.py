"""What a remedy stands on: the network, its images in two halves, and the faults that are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.prepare import look
from onnxfi.engine.probe import Probe, Rows
from onnxfi.errors import DataError
from onnxfi.faults.space import Region, Stratum
from onnxfi.graph.macs import macs
from onnxfi.graph.network import Network
from onnxfi.metrics.factors import Factors
from onnxfi.protect.ask import Remedy
from onnxfi.study.dataset import Dataset
from onnxfi.study.inputs import read_images
from onnxfi.study.sampling import Permutation
from onnxfi.study.scheme import factors_of
from onnxfi.study.settings import Data, Target
from onnxfi.study.split import count_negative, split_strata
from onnxfi.study.targets import Targets, find_targets

_STREAM = -2  # of the permutation that parts the images


@dataclass(frozen=True)
class Field:
    """The faults of one target: its strata, and the factors over them."""

    target: str
    targets: Targets
    strata: tuple[Stratum, ...]
    factors: Factors


@dataclass(frozen=True)
class Ground:
    """`file`: the network as its file has it; `network`: as it is run, its batch freed where that is safe.

    known, unseen: images for the bounds and the plan, and images for the proof (numbers of `dataset`).
    fields: by target, those that can be injected.
    """

    file: Network
    network: Network
    probe: Probe
    dataset: Dataset
    known: NDArray[np.int64]
    unseen: NDArray[np.int64]
    targets: Targets
    fields: dict[str, Field]

    @property
    def regions(self) -> tuple[Region, ...]:
        """All of them, numbered as trials mean them."""
        return self.targets.space.regions

    def numbered(self, target: str) -> list[tuple[int, Region]]:
        """The regions of one target, with their numbers."""
        return [(n, r) for n, r in enumerate(self.regions) if r.target == target]

    @property
    def macs(self) -> int:
        """Multiply-adds of one image."""
        sizes = {name: kind.shape for name, kind in self.probe.kinds.items() if isinstance(kind, Rows)}
        sizes.update({p.tensor: p.shape for _, p in self.network.parameters("all")})
        return sum(macs(self.network.model, sizes).values())

    def images(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Images by number."""
        return np.ascontiguousarray(self.dataset.images[rows])


def lay(model: Path | str, data: Data, remedy: Remedy) -> Ground:
    """Read model and images, part the images, and find the faults.

    Raises ModelError, DataError, FaultError.
    """
    file = Network.load(model)
    dataset = read_images(file, data, remedy.seed)
    count = len(dataset)
    known = min(count - 1, max(1, round(count * remedy.calibration)))
    if count < 2:
        raise DataError("There is one image only: give at least two, some for the bounds and others for the proof.")
    order = Permutation(count, remedy.seed, _STREAM).at(np.arange(count)).astype(np.int64)
    network, probe = look(file, dataset.images)
    targets = find_targets(network, probe, Target())
    strata = split_strata(targets.space, count_negative(targets, network.stored), network.stored)
    fields = {}
    for target in ("weights", "activations"):
        mine = tuple(stratum for stratum in strata if stratum.target == target)
        if mine:
            fields[target] = Field(target, targets, mine, factors_of(targets, mine))
    return Ground(file, network, probe, dataset, np.sort(order[:known]), np.sort(order[known:]), targets, fields)


def moved(regions: Sequence[Region], tensors: dict[str, str]) -> list[Region]:
    """The regions at the tensors that guards write, `tensors`: guarded tensor -> what its readers get."""
    return [replace(region, tensor=tensors[region.tensor]) for region in regions]
