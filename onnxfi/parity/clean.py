"""Both networks without faults: what they compute for the same images, tensor by tensor and in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.engine.probe import Probe, Rows
from onnxfi.engine.session import STEP, Session
from onnxfi.graph.cut import with_outputs
from onnxfi.graph.network import Network
from onnxfi.parity.arrange import Arrangement, row_arrangements
from onnxfi.parity.match import Pair

Array = NDArray[Any]

Progress = Callable[[int, int], None]
"""Told the images done, and how many there are."""

_LOOK = 8  # images on which tensors inside are compared


@dataclass(frozen=True)
class Side:
    """One of the two networks, its batch freed where that is safe, and how its tensors are made of images."""

    network: Network
    probe: Probe

    def rows(self, images: Array, tensors: Sequence[str], progress: Progress | None = None) -> Mapping[str, Array]:
        """Rows (N, ...) of `tensors` for images (N, ...) as the network reads them, run exactly as written."""
        network, probe = self.network, self.probe
        inside = [name for name in dict.fromkeys(tensors) if name != network.input.name]
        session = Session(with_outputs(network.model, inside).SerializeToString(), what=f"{network.path}")
        chunk = probe.batch or 16 * STEP
        parts: dict[str, list[Array]] = {name: [] for name in inside}
        for start in range(0, len(images), chunk):
            stop = min(start + chunk, len(images))
            fed = np.ascontiguousarray(images[np.minimum(np.arange(start, start + chunk), stop - 1)])
            for name, value in zip(inside, session.run({network.input.name: fed}, inside), strict=True):
                parts[name].append(probe.rows(name).split(value, chunk)[: stop - start])
            if progress is not None:
                progress(stop, len(images))
        found = {name: np.concatenate(part) for name, part in parts.items()}
        return found | ({network.input.name: images} if network.input.name in tensors else {})

    def has_rows(self, tensor: str) -> bool:
        """Whether the tensor holds one row an image."""
        return isinstance(self.probe.kinds.get(tensor), Rows)


@dataclass(frozen=True)
class Clean:
    """The fault-free answers of both on the same images.

    logits_a, logits_b  (N, C)
    difference, mean    largest and mean absolute difference of two logits; None where they are of different types
    largest             absolute logit
    """

    logits_a: Array
    logits_b: Array

    @property
    def images(self) -> int:
        return len(self.logits_a)

    @property
    def difference(self) -> float | None:
        return None if self._apart is None else float(np.abs(self._apart).max())

    @property
    def mean(self) -> float | None:
        return None if self._apart is None else float(np.abs(self._apart).mean())

    @property
    def largest(self) -> float:
        return float(np.abs(self.logits_b.astype(np.float64)).max())

    @property
    def agree(self) -> NDArray[np.bool_]:
        """(N,): whether the top-1 is the same."""
        return np.asarray(self.logits_a.argmax(axis=1) == self.logits_b.argmax(axis=1))

    @property
    def _apart(self) -> NDArray[np.float64] | None:
        if self.logits_a.dtype.kind != self.logits_b.dtype.kind:
            return None
        return self.logits_a.astype(np.float64) - self.logits_b.astype(np.float64)


def same_tensor(one: Array, other: Array) -> tuple[Arrangement, float] | None:
    """How rows `other` (N, ...) are rows `one` (N, ...) with their axes in another order, and how far they are apart.

    The largest difference, relative to the largest number. None where no order fits.
    """
    largest = max(float(np.abs(other.astype(np.float64)).max(initial=0.0)), 1e-300)
    found = [
        (each, float(np.abs(_arranged(each, one) - other.astype(np.float64)).max(initial=0.0)) / largest)
        for each in row_arrangements(one.shape[1:], other.shape[1:])
    ]
    return min(found, key=lambda pair: pair[1]) if found else None


def _arranged(each: Arrangement, rows: Array) -> NDArray[np.float64]:
    return np.stack([each.of(row) for row in rows]).astype(np.float64)


def verify(a: Side, b: Side, images_a: Array, images_b: Array, pairs: Sequence[Pair]) -> dict[int, float]:
    """By place in `pairs`, how far the two layers' answers lie apart on a few images, relative to the largest.

    Compared is what a layer makes with all that scales and shifts it: so equal answers say that the layers stand at the
    same place of the same network. A pair is left out where the files have no tensor of one shape there.
    """
    ends = [(pair.a.affine.end, pair.b.affine.end) for pair in pairs]
    known = [a.has_rows(one) and b.has_rows(other) for one, other in ends]
    rows_a = a.rows(images_a[:_LOOK], [one for (one, _), ok in zip(ends, known, strict=True) if ok])
    rows_b = b.rows(images_b[:_LOOK], [other for (_, other), ok in zip(ends, known, strict=True) if ok])
    apart: dict[int, float] = {}
    for place, ((one, other), ok) in enumerate(zip(ends, known, strict=True)):
        if ok and (found := same_tensor(rows_a[one], rows_b[other])) is not None:
            apart[place] = found[1]
    return apart
