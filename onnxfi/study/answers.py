"""What the fault-free model says of every image: kept in study.json, so that its numbers can be told without the model.

As plain JSON values (`Answers.to_dict`), each list by image unless said otherwise:

    outputs      classes that the model tells apart
    top1         its class
    confidence   in that class: the softmax of the logits, or the output itself where it is a distribution
    labels       the right class; null without labels
    classes      names by class number, or null
    images       file names, or null
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.metrics.outcome import top1
from onnxfi.study.dataset import Dataset


@dataclass(frozen=True)
class Answers:
    """See the module's docstring: top1 i8 (N,), confidence f8 (N,), labels i8 (N,)."""

    outputs: int
    top1: NDArray[np.int64]
    confidence: NDArray[np.float64]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...] | None = None
    images: tuple[str, ...] | None = None

    @classmethod
    def of(cls, logits: NDArray[Any], dataset: Dataset) -> Answers:
        """From golden logits (N, C)."""
        said = top1(logits, logits)
        return cls(
            logits.shape[1],
            said["top1"].astype(np.int64),
            said["confidence"].astype(np.float64),
            dataset.labels,
            dataset.classes,
            dataset.names,
        )

    @classmethod
    def restore(cls, values: Mapping[str, Any]) -> Answers:
        """What `to_dict` wrote."""
        return cls(
            values["outputs"],
            np.array(values["top1"], np.int64),
            np.array(values["confidence"], np.float64),
            None if values["labels"] is None else np.array(values["labels"], np.int64),
            None if values["classes"] is None else tuple(values["classes"]),
            None if values["images"] is None else tuple(values["images"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; a confidence with the nine digits that a float32 needs."""
        return {
            "outputs": self.outputs,
            "top1": self.top1.tolist(),
            "confidence": [float(f"{value:.9g}") for value in self.confidence],
            "labels": None if self.labels is None else self.labels.tolist(),
            "classes": None if self.classes is None else list(self.classes),
            "images": None if self.images is None else list(self.images),
        }

    @property
    def right(self) -> NDArray[np.bool_] | None:
        """(N,): whether the fault-free top-1 is the label."""
        return None if self.labels is None else self.top1 == self.labels

    def class_name(self, number: int) -> str:
        """The class's name, or its number."""
        known = self.classes is not None and number < len(self.classes)
        return self.classes[number] if known and self.classes is not None else str(number)

    def image_name(self, number: int) -> str:
        """The image's file name, or its number."""
        return self.images[number] if self.images is not None else f"image {number}"
