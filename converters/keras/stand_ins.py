"""Each weight told from all others, and found again in the ONNX file.

While a graph is exported each variable is represented by a stand-in, seeded random values of which no two tensors
share any: what a conversion merges, folds or drops for its values (equal ones, zeros, ones) is then left as it is, and
what stands in the file is known by its values, however the exporter has called it and whichever way it has turned it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Place:
    """Where a variable stands in the file: its axes in the order `axes`, then reshaped to `shape`."""

    variable: str
    axes: tuple[int, ...]
    shape: tuple[int, ...]

    def turned(self, stored: Array) -> Array:
        """The variable's values as the file has them."""
        return np.ascontiguousarray(stored.transpose(self.axes).reshape(self.shape))


def stand_ins(real: Mapping[str, Array]) -> dict[str, Array]:
    """One for each floating-point array of `real`, of its shape and dtype, in [0.5, 1.5): fit to be variances too."""
    random = np.random.default_rng(0)
    return {
        path: (0.5 + random.random(array.shape, np.float32)).astype(array.dtype)
        for path, array in real.items()
        if array.dtype.kind == "f"
    }


def places(values: Mapping[str, Array], tensors: Mapping[str, Array]) -> dict[str, Place]:
    """{tensor of the file: the variable it is}, for those of `tensors` that hold a stand-in of `values`, turned or not.

    A tensor that is no variable (a shape, an axis, a bound) is left out.
    """
    alike: dict[tuple[Any, ...], list[str]] = {}
    for path, value in values.items():
        alike.setdefault(_key(value), []).append(path)
    found = {}
    for name, tensor in tensors.items():
        candidates = (_place(path, values[path], tensor) for path in alike.get(_key(tensor), ()))
        place = next((place for place in candidates if place is not None), None)
        if place is not None:
            found[name] = place
    return found


def _key(array: Array) -> tuple[Any, ...]:
    """What no turning of the axes changes."""
    return (array.dtype.str, array.size, *((array.min(), array.max()) if array.size else ()))


def _place(path: str, stored: Array, found: Array) -> Place | None:
    for axes in itertools.permutations(range(stored.ndim)):
        place = Place(path, axes, found.shape)
        if np.array_equal(place.turned(stored), found):
            return place
    return None
