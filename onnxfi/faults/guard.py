"""What a guard makes of a stored word, flipped or not: the arithmetic of the nodes that onnxfi.graph.guards writes.

A mask puts back the bits that all words of a tensor share; it costs no storage beyond two words. A range check takes a
value outside the tensor's own range for wrong. Neither changes a word of the tensor as it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxfi.errors import FaultError
from onnxfi.faults.bits import Word

Array = NDArray[Any]


@dataclass(frozen=True)
class Guard:
    """First word' = (word & keep) | put, then a value outside [low, high], or NaN, becomes 0 (or, `clamp`, the bound).

    keep, put   masks of the dtype's width; all ones and 0 where there is no mask
    low, high   inclusive, numbers of the dtype; None where there is no check. A clamp lets NaN pass, as Clip does
    """

    dtype: str
    keep: int
    put: int = 0
    low: float | None = None
    high: float | None = None
    clamp: bool = False

    def __post_init__(self) -> None:
        word = Word(self.dtype)
        if self.keep | self.put | word.mask != word.mask or self.keep & self.put != self.put:
            raise FaultError(f"masks {self.keep:#x} and {self.put:#x} do not go together in a word of {self.dtype}")

    @property
    def masked(self) -> bool:
        """Whether any bit is put back."""
        return self.keep != Word(self.dtype).mask or self.put != 0

    @property
    def checked(self) -> bool:
        """Whether a range is kept."""
        return self.low is not None

    @property
    def empty(self) -> bool:
        """Whether it does nothing at all."""
        return not self.masked and not self.checked

    @property
    def restored(self) -> tuple[int, ...]:
        """Bits whose flip it undoes for certain, from high to low."""
        fixed = (Word(self.dtype).mask & ~self.keep) | self.put
        return tuple(bit for bit in reversed(range(Word(self.dtype).width)) if fixed >> bit & 1)

    def apply(self, values: Array) -> Array:
        """What the reader gets for `values`, of the dtype, any shape: a new array."""
        word = Word(self.dtype)
        words = word.words(np.ascontiguousarray(values))
        kept = word.values((words & words.dtype.type(self.keep)) | words.dtype.type(self.put))
        if self.low is None or self.high is None:
            return kept
        low, high = (kept.dtype.type(bound) for bound in (self.low, self.high))
        if self.clamp:
            return np.asarray(np.clip(kept, low, high))
        with np.errstate(invalid="ignore"):
            return np.where((kept >= low) & (kept <= high), kept, kept.dtype.type(0))


def constant_bits(values: Array) -> tuple[int, int]:
    """(keep, put) of the bits that all words of `values` share: 0 in keep where all have 0, 1 in put where all have 1.

    >>> [hex(mask) for mask in constant_bits(np.array([1.0, -1.5], np.float32))]
    ['0xbfc00000', '0x3f800000']
    """
    word = Word(values.dtype.name)
    words = word.words(np.ascontiguousarray(values)).reshape(-1)
    if not words.size:
        return word.mask, 0
    return int(np.bitwise_or.reduce(words)), int(np.bitwise_and.reduce(words))
