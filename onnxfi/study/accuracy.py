"""How good the fault-free model is on the images at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import DataError

_NEAR = 0.1  # above chance: what a model fed with the wrong preprocessing may still reach


@dataclass(frozen=True)
class Accuracy:
    """Shares of `images` whose label is the first, or among the first five, of the fault-free logits."""

    top1: float
    top5: float
    images: int
    classes: int

    @property
    def near_chance(self) -> bool:
        """Hardly better than guessing: these are not the model's images, or not as it reads them."""
        return self.top1 < 1 / self.classes + _NEAR


def accuracy(logits: NDArray[Any], labels: NDArray[np.int64]) -> Accuracy:
    """Of logits (N, C) and labels (N,). Equal logits: the lower class is first, as argmax has it.

    Raises DataError for a label that the model has no output for.
    """
    classes = logits.shape[1]
    if labels.max() >= classes:
        raise DataError(
            f"A label is {labels.max()}, but the model has {classes} outputs (0 to {classes - 1}); "
            "give the images that it was trained for."
        )
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    lower = np.arange(classes) < labels[:, None]
    rank = ((logits > own) | ((logits == own) & lower)).sum(axis=1)
    return Accuracy(float((rank < 1).mean()), float((rank < 5).mean()), len(labels), classes)
