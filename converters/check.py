"""Is the ONNX file the same network? Weights bit for bit, logits within rounding, at several batch sizes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

Floats = NDArray[np.float32]

BATCHES = (1, 3, 17)
TOLERANCE = 1e-4  # times the largest golden logit


@dataclass(frozen=True)
class Report:
    """`difference`: largest |ONNX - framework| over all logits, NaN if any is; `limit`: what it may be.

    `identical` of the `expected` weight tensors are there bit for bit; `wrong` names the others. `shared` names the
    weight tensors with more than one reader.
    """

    difference: float
    limit: float
    expected: int
    wrong: tuple[str, ...]
    shared: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether weights and logits both agree."""
        return not self.wrong and self.difference <= self.limit

    def __str__(self) -> str:
        same = self.expected - len(self.wrong)
        lines = [
            f"weights: {same} of {self.expected} tensors bit-identical"
            if self.expected
            else "weights: folded, not compared",
            f"logits:  largest difference {self.difference:.2g} at batch {', '.join(map(str, BATCHES))}"
            f" (limit {self.limit:.2g})",
        ]
        lines += [f"wrong or missing: {', '.join(self.wrong)}"] if self.wrong else []
        lines += [f"read more than once: {', '.join(self.shared)}"] if self.shared else []
        return "\n".join([*lines, "check passed" if self.passed else "check FAILED"])


def check(
    path: Path,
    images: Floats,
    predict: Callable[[Floats], Floats],
    weights: Mapping[str, NDArray[np.generic]],
    expected: Collection[str],
) -> Report:
    """Compares the file with the framework.

    `images` float32 (17 or more, ...) as the network takes them; `predict` the framework's logits for a batch;
    `weights` what the framework stores; `expected` the names among them that the file has to hold.
    """
    model = onnx.load(path)
    found = {tensor.name: numpy_helper.to_array(tensor, str(path.parent)) for tensor in model.graph.initializer}
    wrong = tuple(name for name in sorted(expected) if not _same(found.get(name), weights[name]))
    readers = [name for node in model.graph.node for name in node.input]
    shared = tuple(name for name in sorted(expected) if readers.count(name) > 1)
    difference, limit = _compare_logits(path, images, predict)
    return Report(difference, limit, len(expected), wrong, shared)


def _same(found: NDArray[np.generic] | None, stored: NDArray[np.generic]) -> bool:
    if found is None or found.dtype != stored.dtype or found.shape != stored.shape:
        return False
    return found.tobytes() == stored.tobytes()


def _compare_logits(path: Path, images: Floats, predict: Callable[[Floats], Floats]) -> tuple[float, float]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = session.get_inputs()[0].name
    difference, largest = 0.0, 0.0
    for batch in BATCHES:
        golden = predict(images[:batch])
        (found,) = session.run(None, {feed: images[:batch]})
        difference = float(np.maximum(difference, np.abs(np.asarray(found) - golden).max()))
        largest = max(largest, float(np.abs(golden).max()))
    return difference, TOLERANCE * largest
