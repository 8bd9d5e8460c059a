"""What a fault list did in both networks.

Rates are those of a list whose rows were drawn uniformly within each layer, as the published network-wise ones are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.listing import FaultList, parse_list
from onnxfi.faults.space import FaultSpace, Stratum
from onnxfi.graph.channels import Channels
from onnxfi.parity.compare import Rows, View, side_by_side
from onnxfi.parity.kernels import Kernel
from onnxfi.parity.ledger import Told
from onnxfi.parity.lists import Task
from onnxfi.parity.paired import Paired
from onnxfi.study.rates import Rates
from onnxfi.study.scheme import factors_of
from onnxfi.study.targets import LayerName, Targets


@dataclass(frozen=True)
class Listed:
    """entries: the list, in its own order. cells: i8 (rows, 3, 3), by row of the list, trials by outcome in the first
    and in the second network. images: that every row has run on, and `asked` how many there are. targets: the first
    network's, which the disagreements in `paired` speak of."""

    entries: FaultList
    cells: NDArray[np.int64]
    images: int
    asked: int
    paired: Paired
    rows: Rows
    targets: Targets
    confidence: float


def listed(task: Task, told: Told, confidence: float) -> Listed:
    """Rates of the list's faults in both networks."""
    asked = task.replay
    strata = _strata(asked.space)
    home = {stratum.layer: number for number, stratum in enumerate(strata)}
    region, _, _ = asked.space.locate(asked.ids)
    stratum = np.array([home[r.layer] for r in asked.space.regions])[region]
    confusion = np.zeros((len(strata), 3, 3), np.int64)
    np.add.at(confusion, stratum, told.cells)
    drawn = np.bincount(stratum, minlength=len(strata)).astype(np.int64)
    images = int(told.images.min())

    def view(space: FaultSpace, kernels: list[Kernel], outcomes: NDArray[np.int64]) -> View:
        counts = np.column_stack([outcomes, np.zeros(len(outcomes), np.int64)])
        rates = Rates(_strata(space), drawn, counts, max(images, 1), True, confidence)
        factors = factors_of(_targets(space, kernels), rates.strata)
        return View(rates, factors, {kernel.layer.index: kernel.layer.id for kernel in kernels})

    a, b = [pair.a for pair in task.pairs], [pair.b for pair in task.pairs]
    paired = Paired(confusion, told.apart)
    layers = [(pair.a.layer.index, pair.b.layer.index) for pair in task.pairs]
    rows = side_by_side(
        view(asked.space, a, confusion.sum(axis=2)), view(task.space, b, confusion.sum(axis=1)), layers, paired
    )
    cells = np.empty_like(told.cells)
    cells[asked.order] = told.cells
    about: dict[str, Any] = dict(asked.about)
    entries = parse_list(str(about["list"]), str(about["source"]))
    return Listed(entries, cells, images, task.blocks.images, paired, rows, _targets(asked.space, a), confidence)


def _strata(space: FaultSpace) -> tuple[Stratum, ...]:
    """A layer each."""
    return space.strata(classes=lambda word, bits: (bits,))


def _targets(space: FaultSpace, kernels: list[Kernel]) -> Targets:
    names = tuple(LayerName(kernel.layer.index, kernel.layer.id, kernel.layer.op) for kernel in kernels)
    return Targets(space, names, tuple(Channels() for _ in space.regions), {}, {}, ())
