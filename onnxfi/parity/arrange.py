"""The same numbers in another order: how one array's elements lie in another, as arithmetic on flat indices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Arrangement:
    """An array is reshaped to `shape`, its axes are ordered by `order`, and it is reshaped to `after`.

    >>> Arrangement((2, 3), (1, 0), (3, 2)).at(np.array([1]))
    array([2])
    """

    shape: Shape
    order: tuple[int, ...]
    after: Shape

    @property
    def same(self) -> bool:
        """Whether nothing moves."""
        return self.order == tuple(range(len(self.order)))

    def of(self, array: Array) -> Array:
        """The array, of as many elements, so arranged."""
        return array.reshape(self.shape).transpose(self.order).reshape(self.after)

    def at(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the elements at flat `index` (T,) go: `of(array).flat[at(index)] == array.flat[index]`."""
        where = np.unravel_index(index, self.shape)
        moved = tuple(self.shape[axis] for axis in self.order)
        return np.asarray(np.ravel_multi_index(tuple(where[axis] for axis in self.order), moved), np.int64)

    @property
    def back(self) -> Arrangement:
        """The other way: from the order that this makes to the one it was made from."""
        moved = tuple(self.shape[axis] for axis in self.order)
        order = tuple(self.order.index(axis) for axis in range(len(self.order)))
        return Arrangement(moved, order, self.shape)

    def __str__(self) -> str:
        """'as it is', or '(64, 4, 4) -> (4, 4, 64)'."""
        if self.same:
            return "as it is"
        return f"{self.shape} -> {tuple(self.shape[axis] for axis in self.order)}"


def transpose(shape: Shape, order: tuple[int, ...]) -> Arrangement:
    """An array of this shape with its axes in another order."""
    return Arrangement(shape, order, tuple(shape[axis] for axis in order))


def follow(steps: Sequence[Arrangement], index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the elements at flat `index` (T,) are after one arrangement after the other."""
    for step in steps:
        index = step.at(index)
    return index


def weight_arrangements(a: Shape, b: Shape, rows: frozenset[Shape]) -> Iterator[Arrangement]:
    """Ways in which a weight of shape `a` may be one of shape `b`, output channel first in both; the likely first.

    The axes behind the output channel may stand in another order. Where one layer reads what the other reads
    flattened, the flat axis may run channels first or channels last: `rows` are the shapes that may lie behind it, in
    one order of their axes or another.
    """
    if math.prod(a) != math.prod(b) or not a or not b or a[0] != b[0]:
        return
    seen: set[tuple[Shape, tuple[int, ...]]] = set()
    behind = (each for row in sorted(rows, key=str) for each in permutations(_bare(row)))
    for shape in (_without_ones(a), *((a[0], *row) for row in behind)):
        if math.prod(shape) != math.prod(a):
            continue
        for tail in permutations(range(1, len(shape))):
            order = (0, *tail)
            moved = tuple(shape[axis] for axis in order)
            if (shape, order) in seen or not (len(b) == 2 or moved == _without_ones(b)):
                continue
            seen.add((shape, order))
            yield Arrangement(shape, order, b)


def row_arrangements(a: Shape, b: Shape) -> Iterator[Arrangement]:
    """Ways in which a tensor's row of shape `a` may be one of shape `b`: its axes in another order."""
    shape, wanted = _bare(a), _bare(b)
    for order in permutations(range(len(shape))):
        if tuple(shape[axis] for axis in order) == wanted:
            yield Arrangement(shape, order, b)


def _without_ones(shape: Shape) -> Shape:
    return (shape[0], *(size for size in shape[1:] if size != 1))


def _bare(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1) or (1,)
