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
    low, high   inclusive, numbers of the dtype; empty where there is no check. A clamp lets NaN pass, as Clip does

    Each is one number for the whole tensor, or one for each slice along its first axis, of `row` numbers.

    vote        keep and put are two more copies of every word, and the majority of each bit is what counts
    """

    dtype: str
    keep: tuple[int, ...]
    put: tuple[int, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    row: int = 0
    clamp: bool = False
    vote: bool = False

    def __post_init__(self) -> None:
        word = Word(self.dtype)
        for keep, put in zip(self.keep, self.put, strict=True):
            if keep | put | word.mask != word.mask or keep & put != put:
                raise FaultError(f"masks {keep:#x} and {put:#x} do not go together in a word of {self.dtype}")
        if not self.row and max(len(self.keep), len(self.low)) > 1:
            raise FaultError("a guard with a mask or a range for each row must say how long a row is")

    @property
    def masked(self) -> bool:
        """Whether any bit is put back."""
        ones = Word(self.dtype).mask
        return any(keep != ones for keep in self.keep) or any(self.put)

    @property
    def checked(self) -> bool:
        """Whether a range is kept."""
        return bool(self.low)

    @property
    def empty(self) -> bool:
        """Whether it does nothing at all."""
        return not self.masked and not self.checked

    @property
    def restored(self) -> tuple[int, ...]:
        """Bits whose flip it undoes for certain, in every row, from high to low."""
        word = Word(self.dtype)
        fixed = word.mask
        for keep, put in zip(self.keep, self.put, strict=True):
            fixed &= ~keep | put
        return tuple(bit for bit in reversed(range(word.width)) if fixed >> bit & 1)

    def apply(self, values: Array, site: Array | None = None) -> Array:
        """What the reader gets for `values`, of the dtype: a new array of the same shape.

        `site`: flat places of the values in the tensor; None: `values` is the whole tensor.
        """
        word = Word(self.dtype)
        flat = np.ascontiguousarray(values).reshape(-1)
        where = np.arange(flat.size) if site is None else site.reshape(-1)
        words = word.words(flat)
        keep, put = (self._each(masks, where, words.dtype) for masks in (self.keep, self.put))
        kept = word.values((words & keep) | put)
        if self.checked:
            low, high = (self._each(bounds, where, kept.dtype) for bounds in (self.low, self.high))
            if self.clamp:
                kept = np.asarray(np.clip(kept, low, high))
            else:
                with np.errstate(invalid="ignore"):
                    kept = np.where((kept >= low) & (kept <= high), kept, kept.dtype.type(0))
        return kept.reshape(values.shape)

    def _each(self, numbers: tuple[Any, ...], where: Array, dtype: np.dtype[Any]) -> Array:
        """The number that stands for each place."""
        table = np.array(numbers, dtype)
        return table[where // self.row] if len(table) > 1 else table


def no_mask(dtype: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(keep, put) that leave every word as it is."""
    return (Word(dtype).mask,), (0,)


def vote_of(values: Array) -> Guard:
    """Two more copies of each word of `values`: a fault in one of the three is outvoted."""
    words = tuple(map(int, Word(values.dtype.name).words(np.ascontiguousarray(values)).reshape(-1)))
    return Guard(values.dtype.name, words, words, row=1, vote=True)


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
