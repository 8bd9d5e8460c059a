"""Stored words as integers in the order of their values, so that a search over values is a search over integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.faults.bits import Word

Array = NDArray[Any]


class Order:
    """Keys of one dtype: signed integers of its width, ordered as its values are.

    For floats -0 is next below +0 and a NaN is beyond the infinity of its sign. Finite values have keys within
    (`below`, `above`), the keys of the infinities; for integers every key is.
    """

    def __init__(self, dtype: str) -> None:
        self.word = Word(dtype)
        width = self.word.width
        self.dtype = np.dtype(f"int{width}")
        self._float = self.word.mantissa is not None
        self._top = self.dtype.type(np.iinfo(self.dtype).max)
        if self.word.mantissa is None:
            self.above, self.below = 1 << (width - 1), -(1 << (width - 1)) - 1
        else:
            mantissa = self.word.mantissa
            self.above = ((1 << (width - 1 - mantissa)) - 1) << mantissa
            self.below = -1 - self.above

    def keys(self, values: Array) -> Array:
        """Keys, same shape, of `values`."""
        words = self.word.words(np.ascontiguousarray(values))
        if self._float:
            return self._turned(words.view(self.dtype))
        if np.issubdtype(values.dtype, np.unsignedinteger):
            words = words ^ words.dtype.type(1 << (self.word.width - 1))
        return words.view(self.dtype)

    def values(self, keys: Array) -> Array:
        """The values, same shape, behind `keys`."""
        if self._float:
            return self.word.values(self._turned(np.ascontiguousarray(keys)).view(self.word.unsigned))
        words = np.ascontiguousarray(keys).view(self.word.unsigned)
        if self.word.dtype.startswith("u"):
            words = words ^ words.dtype.type(1 << (self.word.width - 1))
        return self.word.values(words)

    def finite(self, keys: Array) -> NDArray[np.bool_]:
        """Which keys are those of finite values."""
        if not self._float:
            return np.ones(keys.shape, bool)
        return np.asarray((keys > self.below) & (keys < self.above))

    def _turned(self, keys: Array) -> Array:
        """Sign and magnitude to two's complement, and back: below zero all bits but the sign are inverted."""
        return np.asarray(keys ^ ((keys >> self.dtype.type(self.word.width - 1)) & self._top))
