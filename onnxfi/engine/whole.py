"""A whole model with some of its stored tensors open: fed with other words in every run. Slow, and plain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxfi.engine.session import STEP, Session
from onnxfi.graph.cut import Model
from onnxfi.graph.guards import opened

Array = np.ndarray[Any, Any]


class Whole:
    """`model` run as written, nothing optimised, with the initializers `tensors` as inputs.

    `batch`: images that every run must have; None where it is free.
    """

    def __init__(self, model: Model, tensors: Sequence[str], image_input: str, output: str, batch: int | None) -> None:
        self._session = Session(opened(model, tensors).SerializeToString(), what="the whole model")
        self._input, self._output, self._batch = image_input, output, batch or STEP

    def logits(self, images: Array, words: Mapping[str, Array]) -> Array:
        """(n, classes) of `images` (n, *shape), with `words` in the place of all open tensors."""
        parts = []
        for start in range(0, len(images), self._batch):
            some = images[start : start + self._batch]
            full = np.resize(some, (self._batch, *images.shape[1:])) if len(some) < self._batch else some
            answer = self._session.run({self._input: np.ascontiguousarray(full), **words}, [self._output])[0]
            parts.append(answer[: len(some)].reshape(len(some), -1))
        return np.concatenate(parts)
