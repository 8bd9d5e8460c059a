"""Where an index of a fault list points: the same weight as PyTorch, Keras and an ONNX file each lay it out.

    layer                 PyTorch              Keras
    Conv                  (o, i, h, w)         (h, w, i, o)
    Conv, grouped         (o, i of group, h, w)  (h, w, i of group, o)
    Conv, depthwise       (c * M + m, 0, h, w)   (h, w, c, m) in a DepthwiseConv2D of multiplier M
    Linear, Dense         (o, i)               (i, o)

Each is a way to walk over the stored words with fixed steps, so that one record says them all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layout:
    """A tensor of `shape` over stored words: index (a, b, ...) is the word a * steps[0] + b * steps[1] + ...."""

    shape: tuple[int, ...]
    steps: tuple[int, ...]

    @classmethod
    def plain(cls, shape: Sequence[int]) -> Layout:
        """The words in the order in which they are stored, the last axis running fastest.

        >>> Layout.plain((2, 3, 4)).steps
        (12, 4, 1)
        """
        return cls(tuple(shape), tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape))))

    @property
    def stored_in_order(self) -> bool:
        """Whether the words come as they are stored."""
        return self == Layout.plain(self.shape)

    def transposed(self, axes: Sequence[int]) -> Layout:
        """Axis k of the result is axis `axes[k]` of this."""
        return Layout(tuple(self.shape[axis] for axis in axes), tuple(self.steps[axis] for axis in axes))

    def keras(self) -> Layout:
        """The Keras form of a weight in PyTorch's form: spatial axes first, outputs last.

        >>> Layout.plain((16, 3, 5, 7)).keras().shape
        (5, 7, 3, 16)
        """
        return self.transposed((*range(2, len(self.shape)), 1, 0))

    def depthwise(self, channels: int) -> Layout:
        """(h, w, c, m) of a depthwise weight (c * M + m, 0, h, w) over `channels` channels."""
        multiplier, (out, *_) = self.shape[0] // channels, self.steps
        inner = self.transposed(range(2, len(self.shape)))
        return Layout((*inner.shape, channels, multiplier), (*inner.steps, multiplier * out, out))

    def holds(self, index: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each index, (T, axes), is inside, bool (T,); all False where the number of axes is another."""
        if index.ndim != 2 or index.shape[1] != len(self.shape):
            return np.zeros(len(index), bool)
        return np.asarray(((index >= 0) & (index < np.array(self.shape))).all(axis=1))

    def sites(self, index: NDArray[Any]) -> NDArray[np.int64]:
        """The stored words, int64 (T,), of indices (T, axes) that are inside."""
        return np.asarray(index, np.int64) @ np.array(self.steps, np.int64)

    def indices(self, sites: NDArray[Any]) -> NDArray[np.int64]:
        """The indices, int64 (T, axes), of stored words (T,): the inverse of `sites`.

        Right for every layout that is made here out of a plain one: each step divides all larger ones.
        """
        flat = np.asarray(sites).astype(np.int64)[:, None]
        return np.asarray(flat // np.array(self.steps, np.int64) % np.array(self.shape, np.int64))
