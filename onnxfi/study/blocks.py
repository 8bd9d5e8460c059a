"""How a list is run: image by block of images, and in each block a few faults of one layer at a time.

The fault-free tensors of a block are kept while its faults run, so that ten thousand images need no more room than one
block. How images fall into blocks and faults into units follows from model, list and images, never from the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.probe import Probe
from onnxfi.engine.route import find_route, golden_tensors
from onnxfi.faults.space import FaultSpace, Region
from onnxfi.graph.network import Network
from onnxfi.study.source import Elsewhere, Here, Opened
from onnxfi.study.units import Piece, Unit

BYTES = 1 << 30
"""Fault-free tensors of a block, at most (and one image at least)."""

MOST = 2_048
"""Images in a block, at most."""

TRIALS = 2_048
"""Trials in a unit, at most (and one fault at least)."""

FAULTS, GOLDEN = 0, 1
"""The strata of a replay's journal: the list's rows, and the fault-free run of a block, its unit 0."""


def block_images(network: Network, regions: list[Region], probe: Probe, images: int) -> int:
    """Images in a block."""
    names = golden_tensors(network, [find_route(network, region, probe) for region in regions], probe)
    each = sum(probe.rows(name).size * np.dtype(probe.rows(name).dtype).itemsize for name in names)
    return min(images, MOST, max(1, BYTES // max(each, 1)))


@dataclass(frozen=True)
class Blocks:
    """`images` in blocks of `size`, the last one maybe smaller; the layer of each fault, sorted, in `layer` (rows,)."""

    images: int
    size: int
    layer: NDArray[np.int64]

    def __len__(self) -> int:
        return -(-self.images // self.size)

    @property
    def rows(self) -> int:
        """Faults of the list."""
        return len(self.layer)

    def span(self, block: int) -> slice:
        """The images of a block."""
        return slice(block * self.size, min((block + 1) * self.size, self.images))

    def units(self, block: int) -> Iterator[Unit]:
        """A block's units, from 1: pieces are rows of the list, which are of one layer. Every block has the same."""
        room = max(1, TRIALS // self.size)
        ends = [0, *(np.flatnonzero(np.diff(self.layer)) + 1).tolist(), self.rows]
        starts = [start for one, other in pairwise(ends) for start in range(one, other, room)]
        for index, (start, stop) in enumerate(pairwise([*starts, self.rows])):
            yield Unit(block, index + 1, (Piece(FAULTS, start, stop),))


@dataclass(frozen=True)
class BlockQuestion:
    """The trials of one block's units; images are numbered within it.

    `ids` (rows,): the fault of each row, in the order of the layers, which is the units' own.
    """

    space: FaultSpace
    ids: NDArray[np.uint64]
    images: int

    def rows(self, unit: Unit) -> NDArray[np.int64]:
        """The place in that order of each trial of a unit: fault after fault, each on all images."""
        return np.repeat(np.concatenate([np.arange(p.start, p.stop) for p in unit.pieces]), self.images)

    def trials(self, unit: Unit) -> NDArray[Any]:
        """TRIAL (T,)."""
        rows = self.rows(unit)
        return self.space.trials(self.ids[rows], np.resize(np.arange(self.images), len(rows)))

    def describe(self, trial: Any) -> str:
        """One TRIAL in words."""
        region, site, bit = (int(part[0]) for part in self.space.locate(np.array([trial["fault"]])))
        home = self.space.regions[region]
        return f"the fault of {home.tensor!r}, site {site}, bit {bit}, on image {trial['image']} of its block"


@dataclass(frozen=True)
class Judging:
    """Where a block's engines come from. `labels` (images,) of the block, or None."""

    source: Here | Elsewhere
    labels: NDArray[np.int64] | None

    def open(self) -> Judge:
        """As the source does."""
        return Judge(self.source.open(), self.labels)


class Judge:
    """An engine that answers with facts instead of outcomes."""

    def __init__(self, opened: Opened, labels: NDArray[np.int64] | None) -> None:
        self._opened, self._labels = opened, labels

    @property
    def image_inferences(self) -> int:
        return self._opened.image_inferences

    @property
    def equivalent_inferences(self) -> float:
        return self._opened.equivalent_inferences

    def run(self, trials: NDArray[Any]) -> NDArray[Any]:
        """metrics.facts.JUDGED (T,) of TRIAL (T,), in the same order."""
        return self._opened.judge(trials, self._labels)

    def close(self) -> None:
        self._opened.close()
