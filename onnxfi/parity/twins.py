"""Two files of one network brought together: loaded, matched, and folded where only one of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxfi.engine.prepare import look
from onnxfi.errors import DataError
from onnxfi.graph.folding import Fold, fold, foldable
from onnxfi.graph.network import Network
from onnxfi.graph.write import write
from onnxfi.parity.arrange import follow
from onnxfi.parity.clean import Clean, Progress, Side, verify
from onnxfi.parity.kernels import Kernel, kernels
from onnxfi.parity.match import Matching, match
from onnxfi.study.dataset import Dataset
from onnxfi.study.inputs import read_images
from onnxfi.study.settings import Data


@dataclass(frozen=True)
class Twins:
    """Both networks with their images, and which layer is which.

    path_a, path_b  the files that faults are put into: the models themselves, or what they became when folded
    apart           by place in `matching.pairs`: see clean.verify
    folded          layers of each side that BatchNormalization was folded into, so that stored words agree
    """

    a: Side
    b: Side
    path_a: Path
    path_b: Path
    images_a: Dataset
    images_b: Dataset
    matching: Matching
    apart: dict[int, float]
    clean: Clean
    folded: tuple[tuple[str, ...], tuple[str, ...]]


def bring_together(
    a: Path,
    b: Path,
    data_a: Data,
    data_b: Data,
    folder: Path,
    outputs: tuple[str | None, str | None],
    seed: int,
    progress: Progress | None = None,
) -> Twins:
    """Load both models and the images, match the layers, fold where only one side is folded (files go to `folder`).

    progress: of the fault-free run, once for either network.
    Raises ModelError, DataError, EngineError.
    """
    networks = [Network.load(path, output=output, unshare=True) for path, output in zip((a, b), outputs, strict=True)]
    images = [read_images(network, data, seed) for network, data in zip(networks, (data_a, data_b), strict=True)]
    _check_images(*images)
    paths = [a, b]
    sides = [_side(network, dataset) for network, dataset in zip(networks, images, strict=True)]
    found = [kernels(side.network, side.probe) for side in sides]
    matching = match(*found)
    folded: list[tuple[str, ...]] = [(), ()]
    for place, name in enumerate("ab"):
        mine = [getattr(pair, name) for pair in matching.pairs if pair.form == "folded"]
        mine = [kernel for kernel in mine if _can_fold(sides[place].network, kernel)]
        if mine:
            folded[place] = tuple(kernel.layer.id for kernel in mine)
            paths[place] = folder / f"{name}-folded.onnx"
            _write_folded(sides[place].network, mine, paths[place])
            network = Network.load(paths[place], output=networks[place].output, unshare=True)
            sides[place] = _side(network, images[place])
            found[place] = kernels(sides[place].network, sides[place].probe)
    if any(folded):
        matching = match(*found)
    logits = [
        np.ascontiguousarray(side.rows(dataset.images, [side.network.output], progress)[side.network.output])
        for side, dataset in zip(sides, images, strict=True)
    ]
    clean = Clean(*(each.reshape(len(each), -1) for each in logits))
    if clean.logits_a.shape != clean.logits_b.shape:
        raise DataError(
            f"{a} has {clean.logits_a.shape[1]} outputs and {b} {clean.logits_b.shape[1]}: "
            "give two files of one network."
        )
    apart = verify(sides[0], sides[1], images[0].images, images[1].images, matching.told)
    return Twins(
        sides[0], sides[1], paths[0], paths[1], images[0], images[1], matching, apart, clean, (folded[0], folded[1])
    )


def _side(network: Network, images: Dataset) -> Side:
    return Side(*look(network, images.images))


def _check_images(a: Dataset, b: Dataset) -> None:
    if len(a) != len(b):
        raise DataError(
            f"The first model gets {len(a)} images and the second {len(b)}: give both the same, in the same order."
        )
    if a.labels is not None and b.labels is not None and (a.labels != b.labels).any():
        raise DataError("The two models' images have other labels: give both the same images, in the same order.")


def _can_fold(network: Network, kernel: Kernel) -> bool:
    return kernel.affine.folds and kernel.steps is not None and foldable(network, kernel.layer.node, kernel.affine)


def _write_folded(network: Network, mine: Sequence[Kernel], path: Path) -> None:
    folds = []
    for kernel in mine:
        assert kernel.steps is not None
        values = kernel.effective.reshape(-1)[follow(kernel.steps, np.arange(kernel.weight.size))]
        stored = values.reshape(kernel.stored.shape).astype(np.dtype(kernel.stored.dtype))
        folds.append(Fold(kernel.layer.node, kernel.stored.tensor, stored, kernel.affine))
    path.parent.mkdir(parents=True, exist_ok=True)
    write(fold(network, folds), path)


def same_layers(a: Path, b: Path) -> list[tuple[int, int]]:
    """Indices of the layers that are one another's in two models. Raises ModelError, EngineError."""
    found = []
    for path in (a, b):
        network, probe = look(Network.load(path, unshare=True))
        found.append(kernels(network, probe))
    return [(pair.a.layer.index, pair.b.layer.index) for pair in match(found[0], found[1]).pairs]
